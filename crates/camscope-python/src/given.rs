//! What people give: Python objects as plain values.

use std::path::PathBuf;

use camscope_core::{image::Photo, model::Preprocessing, target, target::TargetRef};
use image::RgbImage;
use ndarray::{ArrayD, ArrayViewD, Axis, Ix3};
use numpy::{PyArrayDyn, PyArrayMethods};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyBytes, PyString},
};

use crate::error::exception;

/// An image, or an array in its place.
pub(crate) enum Image {
    /// A file.
    File(PathBuf),
    /// The content of a file.
    Bytes(Vec<u8>),
    /// Pixels that are upright.
    Pixels(RgbImage),
    /// What the model takes, as it is.
    Array(ArrayD<f32>),
}

impl Image {
    /// Reads a path, the bytes of an image file, a PIL image, or an array: one of 8-bit pixels is an image where the model takes photos.
    ///
    /// # Errors
    /// It is none of them.
    pub(crate) fn of(given: &Bound<'_, PyAny>, takes_photos: bool) -> PyResult<Self> {
        if let Ok(bytes) = given.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.as_bytes().to_vec()));
        }
        if given.is_instance_of::<PyString>() || given.hasattr("__fspath__")? {
            return Ok(Self::File(given.extract()?));
        }
        if is_pil(given)? {
            return Self::of_pil(given);
        }
        Self::of_array(given, takes_photos)
    }

    fn of_pil(given: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = given.py();
        let mode: String = given.getattr("mode")?.extract()?;
        if mode.starts_with('I') || mode == "F" {
            // Pillow would cut its levels to 8 bits; of a file all of them are read.
            let file = py.import("io")?.call_method0("BytesIO")?;
            given.call_method1("save", (&file, "TIFF"))?;
            return Ok(Self::Bytes(file.call_method0("getvalue")?.extract()?));
        }
        let upright = py.import("PIL.ImageOps")?.call_method1("exif_transpose", (given,))?;
        let rgb = upright.call_method1("convert", ("RGB",))?;
        let (width, height): (u32, u32) = rgb.getattr("size")?.extract()?;
        let bytes = rgb.call_method0("tobytes")?;
        let bytes = bytes.cast::<PyBytes>()?.as_bytes().to_vec();
        let pixels = RgbImage::from_raw(width, height, bytes);
        pixels.map(Self::Pixels).ok_or_else(|| PyValueError::new_err("the image's pixels are not all there"))
    }

    fn of_array(given: &Bound<'_, PyAny>, takes_photos: bool) -> PyResult<Self> {
        let numpy = given.py().import("numpy")?;
        let array = numpy.call_method1("asarray", (given,))?;
        if let (true, Ok(levels)) = (takes_photos, array.cast::<PyArrayDyn<u8>>())
            && let Some(pixels) = pixels(levels.try_readonly()?.as_array())
        {
            return Ok(Self::Pixels(pixels));
        }
        let kind: char = array.getattr("dtype")?.getattr("kind")?.extract()?;
        if !"fiub".contains(kind) {
            let given = given.get_type().fully_qualified_name()?;
            return Err(PyTypeError::new_err(format!(
                "an image is a path, the bytes of a file, a PIL image, or an array of numbers, not {given}"
            )));
        }
        Ok(Self::Array(floats(&array)?))
    }

    /// The photo that it is, for a model that is fed so; `None`: it is an array.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) fn photo(self, preprocessing: &Preprocessing) -> camscope_core::Result<Result<Photo, ArrayD<f32>>> {
        Ok(match self {
            Self::File(path) => Ok(Photo::open_for(path, preprocessing)?),
            Self::Bytes(bytes) => Ok(Photo::decode_for(&bytes, "the bytes", preprocessing)?),
            Self::Pixels(pixels) => Ok(Photo::of_pixels(pixels, "the image")),
            Self::Array(array) => Err(array),
        })
    }
}

/// An array of whatever numbers as floats.
///
/// # Errors
/// They are no numbers.
pub(crate) fn floats(given: &Bound<'_, PyAny>) -> PyResult<ArrayD<f32>> {
    let numpy = given.py().import("numpy")?;
    let array = numpy.call_method1("asarray", (given, "float32"))?;
    let array = array.cast::<PyArrayDyn<f32>>()?;
    Ok(array.try_readonly()?.as_array().to_owned())
}

/// Height × width × RGB, RGBA or grey, or height × width, as pixels. Alpha is dropped. `None` where it has other axes.
fn pixels(levels: ArrayViewD<'_, u8>) -> Option<RgbImage> {
    let levels = if levels.ndim() == 2 { levels.insert_axis(Axis(2)) } else { levels };
    let levels = levels.into_dimensionality::<Ix3>().ok()?;
    let (height, width, channels) = levels.dim();
    let from = match channels {
        1 => [0, 0, 0],
        3 | 4 => [0, 1, 2],
        _ => return None,
    };
    let pixel = |x, y| image::Rgb(from.map(|channel| levels[[y as usize, x as usize, channel]]));
    Some(RgbImage::from_fn(u32::try_from(width).ok()?, u32::try_from(height).ok()?, pixel))
}

/// Whether it is one of Pillow's images. Pillow is not imported for that.
fn is_pil(given: &Bound<'_, PyAny>) -> PyResult<bool> {
    let modules = given.py().import("sys")?.getattr("modules")?;
    match modules.get_item("PIL.Image") {
        Ok(module) => given.is_instance(&module.getattr("Image")?),
        Err(_) => Ok(false),
    }
}

/// A target: as `--target` takes it, or the number of a class.
///
/// # Errors
/// There is no such kind of target.
pub(crate) fn target(given: &Bound<'_, PyAny>) -> PyResult<TargetRef> {
    let spec = match given.extract::<usize>() {
        // A number even if labels are numbers.
        Ok(class) if !given.is_instance_of::<PyString>() => format!("class:#{class}"),
        _ => given
            .extract::<String>()
            .map_err(|_| PyTypeError::new_err("a target is a str, or the number of a class"))?,
    };
    target::parse(&spec).map_err(|error| exception(&error))
}

/// One or several strings, numbers or paths, as strings.
///
/// # Errors
/// It is neither.
pub(crate) fn words(given: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if given.is_instance_of::<PyString>() {
        return Ok(vec![given.extract()?]);
    }
    if let Ok(number) = given.extract::<usize>() {
        return Ok(vec![number.to_string()]);
    }
    given.try_iter()?.map(|word| words(&word?).map(|words| words.join(","))).collect()
}
