//! Inputs that take no photo but an array: signals, volumes, videos, tables.

use std::path::Path;

use ndarray::{ArrayD, Axis, IxDyn};
use ndarray_npy::ReadNpyExt;

use super::{
    network::{Network, axes},
    preprocessing::{Layout as PhotoLayout, Preprocessing},
};
use crate::{
    error::{Error, Result},
    layer::Layout,
    text::printable_path,
};

impl Network {
    /// Whether its input takes photos, or arrays of an image's axes; else arrays alone (`--tensor`), as they are.
    pub fn takes_photos(&self) -> bool {
        self.input().shape.len() == 4
    }

    /// Refuses photos where the input takes none.
    ///
    /// # Errors
    /// [`Error::ModelInput`] with the axes that the input has.
    pub fn refuse_photos(&self) -> Result<()> {
        if self.takes_photos() {
            return Ok(());
        }
        let reason = super::preprocessing::no_photo(&self.input().shape);
        Err(Error::ModelInput { path: printable_path(&self.path), reason })
    }

    /// Makes the input ready for arrays of that shape, a batch of one first.
    ///
    /// # Errors
    /// A sentence, where it was made ready for another shape.
    pub fn take_array(&mut self, shape: &[usize]) -> Result<(), String> {
        match &self.array {
            Some(known) if known != shape => Err(format!("{known:?}, as the array before, in one run")),
            _ => {
                self.array = Some(shape.to_vec());
                Ok(())
            }
        }
    }

    /// The shape of what the input is fed for one image, or for as many as the model fixes.
    ///
    /// # Errors
    /// [`Error::ArrayWanted`] if the input takes an array whose size it leaves open, and none was given.
    pub fn input_shape(&self, preprocessing: &Preprocessing) -> Result<Vec<usize>> {
        let input = self.input();
        let batch = input.batch().unwrap_or(1);
        if self.takes_photos() {
            let (height, width) = (preprocessing.size.0 as usize, preprocessing.size.1 as usize);
            return Ok(match preprocessing.layout {
                PhotoLayout::Nchw => vec![batch, preprocessing.channels(), height, width],
                PhotoLayout::Nhwc => vec![batch, height, width, preprocessing.channels()],
            });
        }
        let mut shape = match &self.array {
            Some(shape) => shape.clone(),
            None => {
                let fixed =
                    input.shape.iter().enumerate().map(|(axis, size)| if axis == 0 { Some(batch) } else { *size });
                let wanted = || Error::ArrayWanted { name: input.name.clone(), shape: axes(&input.shape) };
                fixed.collect::<Option<Vec<usize>>>().ok_or_else(wanted)?
            }
        };
        if let Some(first) = shape.first_mut() {
            *first = batch;
        }
        Ok(shape)
    }

    /// What the axes of the input mean, where that is known.
    pub fn input_layout(&self, preprocessing: &Preprocessing) -> Option<Layout> {
        if self.takes_photos() {
            return Some(match preprocessing.layout {
                PhotoLayout::Nchw => Layout::Nchw,
                PhotoLayout::Nhwc => Layout::Nhwc,
            });
        }
        let shape = self.input_shape(preprocessing).ok()?;
        match (shape.len(), channel_axis(&shape)?) {
            (3, 1) => Some(Layout::Ncl),
            (3, 2) => Some(Layout::Tokens { prefix: 0, height: 1, width: shape[1] }),
            (5, 1) => Some(Layout::Ncdhw),
            (5, 4) => Some(Layout::Ndhwc),
            _ => None,
        }
    }
}

/// Which axis of an array with a batch first holds its channels; `None` where none does, as in a table or a signal of one channel.
///
/// Of a signal it is the shorter of both axes. Of a volume or a video it is the second, unless another one has 1 or 3 entries and this
/// one doesn't.
pub fn channel_axis(shape: &[usize]) -> Option<usize> {
    let colours = |axis: usize| matches!(shape[axis], 1 | 3);
    match shape.len() {
        0..=2 => None,
        3 if shape[1] > shape[2] => Some(2),
        5 if !colours(1) && colours(4) => Some(4),
        5 if !colours(1) && colours(2) => Some(2),
        _ => Some(1),
    }
}

/// The names of an array's axes, where they are not the usual ones: channels second.
pub fn unusual_axes(shape: &[usize]) -> Option<&'static str> {
    match (shape.len(), channel_axis(shape)) {
        (3, Some(2)) => Some("batch, length, channels"),
        (5, Some(4)) => Some("batch, depth (or time), height, width, channels"),
        (5, Some(2)) => Some("batch, time (or depth), channels, height, width"),
        _ => None,
    }
}

/// An array with its channels second, of one channel where it has no axis for them: `[N, C, …]`.
pub fn channels_second(array: ArrayD<f32>) -> ArrayD<f32> {
    let moved = match channel_axis(array.shape()) {
        None if array.ndim() == 0 => array.insert_axis(Axis(0)).insert_axis(Axis(0)),
        None => array.insert_axis(Axis(1)),
        Some(channels) => {
            let rest = (1..array.ndim()).filter(|axis| *axis != channels);
            let order: Vec<usize> = [0, channels].into_iter().chain(rest).collect();
            array.permuted_axes(IxDyn(&order))
        }
    };
    moved.as_standard_layout().into_owned()
}

/// Reads an array of 32- or 64-bit floats, and of integers where these are wanted.
///
/// # Errors
/// There is none, or it holds something else.
pub fn read_array(path: &Path, integers: bool) -> Result<ArrayD<f32>> {
    let open = || std::fs::File::open(path);
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NoSuchFile { what: "array", path: printable_path(path) },
        _ => Error::Io { action: "read", path: printable_path(path), source },
    };
    let read =
        |error: ndarray_npy::ReadNpyError| Error::NotAnArray { path: printable_path(path), reason: error.to_string() };
    let array = match ArrayD::<f32>::read_npy(open().map_err(unreadable)?) {
        Ok(array) => array,
        Err(ndarray_npy::ReadNpyError::WrongDescriptor(_)) if integers => {
            read_integers(path, &|| open().map_err(unreadable))?
        }
        Err(ndarray_npy::ReadNpyError::WrongDescriptor(_)) => {
            ArrayD::<f64>::read_npy(open().map_err(unreadable)?).map_err(read)?.mapv(|value| value as f32)
        }
        Err(error) => return Err(read(error)),
    };
    Ok(array)
}

/// Reads an array of integers of any kind, or of float64.
fn read_integers(path: &Path, open: &dyn Fn() -> Result<std::fs::File>) -> Result<ArrayD<f32>> {
    macro_rules! first_of {
        ($($type:ty),+) => {
            $(
                if let Ok(array) = ArrayD::<$type>::read_npy(open()?) {
                    return Ok(array.mapv(|value| value as f32));
                }
            )+
        };
    }
    first_of!(u8, i8, u16, i16, i32, i64, u32, u64);
    let read =
        |error: ndarray_npy::ReadNpyError| Error::NotAnArray { path: printable_path(path), reason: error.to_string() };
    Ok(ArrayD::<f64>::read_npy(open()?).map_err(read)?.mapv(|value| value as f32))
}

/// An array laid out in a plane, `[N, C, height, width]`: a signal is one row, the slices of a volume lie one below the other.
pub(crate) fn in_plane(array: ArrayD<f32>) -> Result<ArrayD<f32>> {
    let array = channels_second(array);
    let shape = array.shape();
    let (width, above) = match shape[2..].split_last() {
        Some((width, above)) => (*width, above.iter().product()),
        None => (1, 1),
    };
    let plane = [shape[0], shape[1], above, width];
    array.into_shape_with_order(IxDyn(&plane)).map_err(|error| Error::Value(error.to_string()))
}

/// The way back, for any number of images: `own` is the shape of the array before.
pub(crate) fn off_plane(plane: ArrayD<f32>, own: &[usize]) -> Result<ArrayD<f32>> {
    let fail = |error: ndarray::ShapeError| Error::Value(error.to_string());
    let images = plane.len_of(Axis(0));
    let channels = channel_axis(own);
    let mut shape: Vec<usize> = vec![images];
    shape.extend(channels.map(|axis| own[axis]));
    shape.extend((1..own.len()).filter(|axis| Some(*axis) != channels).map(|axis| own[axis]));
    let plane = plane.as_standard_layout().into_owned().into_shape_with_order(IxDyn(&shape)).map_err(fail)?;
    let Some(channels) = channels else { return Ok(plane) };
    // Where each axis of the array lies now.
    let order: Vec<usize> = (0..own.len())
        .map(|axis| match axis {
            0 => 0,
            axis if axis == channels => 1,
            axis if axis < channels => axis + 1,
            axis => axis,
        })
        .collect();
    Ok(plane.permuted_axes(IxDyn(&order)).as_standard_layout().into_owned())
}

/// The extents of an array's space: of all of its axes but the batch and the channels.
pub(crate) fn space(shape: &[usize]) -> Vec<usize> {
    let channels = channel_axis(shape);
    (1..shape.len()).filter(|axis| Some(*axis) != channels).map(|axis| shape[axis]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_found_by_their_number() {
        let cases: [(&[usize], Option<usize>); 9] = [
            (&[1, 40], None),
            (&[1, 12, 5000], Some(1)),
            (&[1, 5000, 12], Some(2)),
            (&[1, 8, 8], Some(1)),
            (&[1, 1, 16, 32, 32], Some(1)),
            (&[1, 16, 32, 32, 1], Some(4)),
            (&[1, 16, 3, 32, 32], Some(2)),
            (&[1, 4, 16, 32, 32], Some(1)),
            (&[1, 3, 3, 32, 32], Some(1)),
        ];
        for (shape, axis) in cases {
            assert_eq!(channel_axis(shape), axis, "{shape:?}");
        }
    }

    #[test]
    fn arrays_go_to_a_plane_and_back() {
        for shape in [&[1, 5][..], &[1, 2, 7], &[1, 7, 2], &[1, 2, 3, 4, 5], &[1, 4, 5, 6, 3], &[1, 4, 3, 5, 6]] {
            let count = shape.iter().product();
            let array = ArrayD::from_shape_vec(shape.to_vec(), (0..count).map(|at| at as f32).collect()).unwrap();
            let plane = in_plane(array.clone()).unwrap();
            assert_eq!(plane.ndim(), 4);
            assert_eq!(plane.len_of(Axis(1)), channel_axis(shape).map_or(1, |axis| shape[axis]));
            assert_eq!(space(shape).iter().product::<usize>(), plane.len_of(Axis(2)) * plane.len_of(Axis(3)));
            assert_eq!(off_plane(plane, shape).unwrap(), array, "{shape:?}");
        }
        let video = ArrayD::from_shape_fn(vec![1, 4, 3, 5, 6], |at| (at[2] * 100 + at[1] * 10 + at[3]) as f32);
        // Channel 2, frame 3, row 4.
        assert_eq!(in_plane(video).unwrap()[[0, 2, 3 * 5 + 4, 0]], 234.0);
    }
}
