//! What models are given to look at: photos, arrays, and a pattern where there is neither.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{
    Error, Result,
    image::{Photo, Seen},
    model::{Layout, Network, Preprocessing, Sidecar, Sizing, read_array, unusual_axes},
    text::printable_path,
};
use camscope_tui::worker::files::images_of;
use ndarray::{ArrayD, Axis, IxDyn};

use crate::{many_pictures::Picture, setup::note_all};

/// A photo, or an array in its place.
pub(crate) enum Input {
    Photo(Arc<Path>),
    Tensor(Arc<Path>, Box<ArrayD<f32>>),
}

impl Input {
    /// What the arguments name: photos, those of folders by name, and arrays. Arrays are read at once, since they say what size the model is to be made ready for.
    ///
    /// # Errors
    /// An array cannot be read, or does not fit the model; the model takes no photos.
    pub(crate) fn of(
        images: &[PathBuf],
        tensors: &[PathBuf],
        network: &mut Network,
        sidecar: &mut Sidecar,
    ) -> Result<Vec<Self>> {
        let photos = images.iter().flat_map(|path| photos(path)).map(Arc::from);
        Self::from_files(photos, tensors.iter().map(|path| Arc::from(path.as_path())), (network, sidecar))
    }

    /// The pictures, which are photos or, with `are_arrays`, arrays.
    ///
    /// # Errors
    /// As those of [`of`](Self::of).
    pub(crate) fn of_pictures(
        pictures: &[Picture],
        are_arrays: bool,
        network: &mut Network,
        sidecar: &mut Sidecar,
    ) -> Result<Vec<Self>> {
        let paths =
            |are_meant: bool| pictures.iter().filter(move |_| are_meant).map(|picture| Arc::clone(&picture.path));
        Self::from_files(paths(!are_arrays), paths(are_arrays), (network, sidecar))
    }

    fn from_files(
        images: impl Iterator<Item = Arc<Path>>,
        tensors: impl Iterator<Item = Arc<Path>>,
        (network, sidecar): (&mut Network, &mut Sidecar),
    ) -> Result<Vec<Self>> {
        let mut inputs: Vec<Self> = images.map(Self::Photo).collect();
        if !inputs.is_empty() {
            network.refuse_photos()?;
        }
        for path in tensors {
            let array = array_for(&path, network, sidecar)?;
            inputs.push(Self::Tensor(path, Box::new(array)));
        }
        if let (Some(Self::Tensor(_, array)), false) = (inputs.first(), network.takes_photos())
            && let Some(axes) = unusual_axes(array.shape())
        {
            eprintln!("note: by its shape, {:?}, the array's axes are taken as {axes}", array.shape());
        }
        Ok(inputs)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Photo(path) | Self::Tensor(path, _) => path,
        }
    }
}

/// How each of the inputs is prepared: all alike, but for sizes that follow the photos'. What many have is kept once.
pub(crate) fn prepared(inputs: &[Input], preprocessing: &Preprocessing) -> Vec<Arc<Preprocessing>> {
    let common = Arc::new(preprocessing.clone());
    let of = |input: &Input| match input {
        Input::Photo(path) if preprocessing.sizing != Sizing::Said && path.is_file() => {
            let size = Photo::upright_dimensions(path);
            let own = |(width, height)| Arc::new(preprocessing.for_photo(width, height));
            size.map_or_else(|| Arc::clone(&common), own)
        }
        _ => Arc::clone(&common),
    };
    inputs.iter().map(of).collect()
}

/// The path, or the photos of the folder that it is. A folder without any is left: reading it says what is wrong.
fn photos(path: &Path) -> Vec<PathBuf> {
    let images = path.is_dir().then(|| images_of(path).unwrap_or_default());
    images.filter(|images| !images.is_empty()).unwrap_or_else(|| vec![path.to_owned()])
}

/// Reads an array of floats; one of integers where the model's input takes them. Where it has an axis less than the input, that is the batch.
fn read_tensor(path: &Path, integers: bool, axes: usize) -> Result<ArrayD<f32>> {
    let array = read_array(path, integers)?;
    Ok(if array.ndim() + 1 == axes { array.insert_axis(Axis(0)) } else { array })
}

/// Refuses values that an input of integers would cut.
///
/// # Errors
/// There are such.
pub(crate) fn fit_values(path: &Path, array: &ArrayD<f32>, network: &Network) -> Result<()> {
    let cut = network.input().cuts(array);
    cut.map_or(Ok(()), |reason| {
        Err(Error::TensorValues { path: printable_path(path), input: network.input().name.clone(), reason })
    })
}

/// Makes the model ready for the array's size.
///
/// # Errors
/// It doesn't fit.
pub(crate) fn fit_tensor(path: &Path, array: &ArrayD<f32>, network: &mut Network, sidecar: &mut Sidecar) -> Result<()> {
    let shape = array.shape();
    fit_shape(path, shape, network)?;
    take_size(shape, &mut sidecar.preprocessing);
    if !network.takes_photos() {
        let input = network.input().name.clone();
        network.take_array(shape).map_err(|expected| Error::TensorShape {
            path: printable_path(path),
            found: shape.to_vec(),
            input,
            expected,
        })?;
    }
    Ok(())
}

/// Refuses an array of another shape than the model takes.
///
/// # Errors
/// It has one.
pub(crate) fn fit_shape(path: &Path, shape: &[usize], network: &Network) -> Result<()> {
    let input = network.input();
    let fits = shape.len() == input.shape.len()
        && shape.first() == Some(&1)
        && shape.iter().zip(&input.shape).skip(1).all(|(&have, want)| have > 0 && want.is_none_or(|want| want == have));
    if !fits {
        let expected = input.shape.iter().enumerate().map(|(axis, size)| match (axis, size) {
            (0, _) => "1".to_owned(),
            (_, Some(size)) => size.to_string(),
            (_, None) => "any".to_owned(),
        });
        return Err(Error::TensorShape {
            path: printable_path(path),
            found: shape.to_vec(),
            input: input.name.clone(),
            expected: format!("[{}]", expected.collect::<Vec<_>>().join(", ")),
        });
    }
    Ok(())
}

/// Has photos prepared for an input of that shape; of arrays of other than four axes this is the size of a plane as large.
pub(crate) fn take_size(shape: &[usize], preprocessing: &mut Preprocessing) {
    let [height, width] = match shape {
        [_, _, _, _] => sides(preprocessing.layout).map(|axis| shape[axis]),
        _ => [1, shape.iter().product()],
    };
    (preprocessing.size, preprocessing.sizing) = ((height as u32, width as u32), Sizing::Said);
}

/// The axes of height and width.
pub(crate) fn sides(layout: Layout) -> [usize; 2] {
    match layout {
        Layout::Nchw => [2, 3],
        Layout::Nhwc => [1, 2],
    }
}

/// Whether a file that stands for a picture is an array.
pub(crate) fn is_array(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy"))
}

/// The array in a file, for a model that is made ready for its size.
///
/// # Errors
/// It cannot be read, or doesn't fit.
pub(crate) fn array_for(path: &Path, network: &mut Network, sidecar: &mut Sidecar) -> Result<ArrayD<f32>> {
    let array = read_tensor(path, sidecar.preprocessing.whole, network.input().shape.len())?;
    fit_values(path, &array, network)?;
    fit_tensor(path, &array, network, sidecar)?;
    Ok(array)
}

/// The tensor of a photo with what it shows of it, that of an array, or of something made up.
///
/// # Errors
/// The photo or the array cannot be read, or the model takes no photo; the size of an array is open.
pub(crate) fn photo_or_pattern(
    photo: Option<&Path>,
    network: &Network,
    preprocessing: &Preprocessing,
) -> Result<(ArrayD<f32>, Option<Seen>)> {
    let made_up = match photo {
        Some(path) if is_array(path) => read_tensor(path, preprocessing.whole, network.input().shape.len())?,
        Some(path) => {
            network.refuse_photos()?;
            let photo = Photo::open_for(path, preprocessing)?;
            note_all(&photo.notes.iter().map(|note| format!("{}: {note}", photo.name)).collect::<Vec<_>>());
            let prepared = photo.prepare(preprocessing)?;
            return Ok((prepared.tensor, Some(prepared.seen)));
        }
        None if !network.takes_photos() => {
            let shape = [&[1], &network.input_shape(preprocessing)?[1..]].concat();
            let plane = pattern(Layout::Nchw, 1, 1, shape.iter().product());
            let array = plane.into_shape_with_order(IxDyn(&shape)).map_err(|error| Error::Value(error.to_string()))?;
            if preprocessing.whole {
                array.mapv(|value| ((value / 5.0 + 0.5).clamp(0.0, 1.0) * 255.0).round())
            } else {
                array
            }
        }
        None => {
            let (height, width) = (preprocessing.size.0 as usize, preprocessing.size.1 as usize);
            let pattern = pattern(preprocessing.layout, preprocessing.channels(), height, width);
            let [low, high] = preprocessing.range;
            // Grey levels, where the input takes integers: from -2.5 to 2.5 of noise and waves.
            let level = |value: f32| (low + (value / 5.0 + 0.5).clamp(0.0, 1.0) * (high - low)).round();
            if preprocessing.whole { pattern.mapv(level) } else { pattern }
        }
    };
    Ok((made_up, None))
}

/// Something to look at where no photo is given: noise over waves, about as strong as a normalised photo.
fn pattern(layout: Layout, channels: usize, height: usize, width: usize) -> ArrayD<f32> {
    let mut state = 1u32;
    let mut value = |y: usize, x: usize, channel: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
        let phase = (channel + 1) as f32;
        (y as f32 / 9.0 * phase).sin() + (x as f32 / 13.0 + phase).cos() + noise
    };
    match layout {
        Layout::Nchw => ArrayD::from_shape_fn(IxDyn(&[1, channels, height, width]), |at| value(at[2], at[3], at[1])),
        Layout::Nhwc => ArrayD::from_shape_fn(IxDyn(&[1, height, width, channels]), |at| value(at[1], at[2], at[3])),
    }
}
