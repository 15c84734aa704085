//! What people give: Python objects as plain values.

use std::path::PathBuf;

use camscope::shared::fit_shape;
use camscope_core::{
    image::Photo,
    model::{Network, Preprocessing},
    target,
    target::TargetRef,
};
use image::RgbImage;
use ndarray::{ArrayD, ArrayViewD, Axis, Ix3};
use numpy::{PyArrayDyn, PyArrayMethods};
use pyo3::{
    exceptions::{PyMemoryError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyBool, PyByteArray, PyBytes, PyMemoryView, PyString},
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
    pub(crate) fn of(given: &Bound<'_, PyAny>, network: &Network) -> PyResult<Self> {
        if let Ok(bytes) = given.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.as_bytes().to_vec()));
        }
        if let Some(bytes) = other_bytes(given)? {
            return Ok(Self::Bytes(bytes));
        }
        if given.is_instance_of::<PyString>() || given.hasattr("__fspath__")? {
            return Ok(Self::File(given.extract()?));
        }
        if is_pil(given)? {
            return Self::of_pil(given);
        }
        Self::of_array(given, network)
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
        let mut upright = py.import("PIL.ImageOps")?.call_method1("exif_transpose", (given,))?;
        if mode == "La" {
            // Grey that was multiplied with its opacity: Pillow undoes that first.
            upright = upright.call_method1("convert", ("LA",))?;
        }
        let rgb = upright.call_method1("convert", ("RGB",))?;
        let (width, height): (u32, u32) = rgb.getattr("size")?.extract()?;
        let bytes = rgb.call_method0("tobytes")?;
        let bytes = bytes.cast::<PyBytes>()?.as_bytes().to_vec();
        let pixels = RgbImage::from_raw(width, height, bytes);
        pixels.map(Self::Pixels).ok_or_else(|| PyValueError::new_err("the image's pixels are not all there"))
    }

    fn of_array(given: &Bound<'_, PyAny>, network: &Network) -> PyResult<Self> {
        let numpy = given.py().import("numpy")?;
        let array = numpy.call_method1("asarray", (given,))?;
        if let (true, Ok(levels)) = (network.takes_photos(), array.cast::<PyArrayDyn<u8>>())
            && let Some(pixels) = pixels(levels.try_readonly()?.as_array())
        {
            return Ok(Self::Pixels(pixels?));
        }
        let dtype = array.getattr("dtype")?;
        let kind: char = dtype.getattr("kind")?.extract()?;
        if !"fiub".contains(kind) {
            let name = given.get_type().fully_qualified_name()?;
            let given = if given.hasattr("dtype")? { format!("{name} of {dtype}") } else { name.to_string() };
            return Err(PyTypeError::new_err(format!(
                "an image is a path, the bytes of a file, a PIL image, or an array of numbers, not {given}"
            )));
        }
        let shape: Vec<usize> = array.getattr("shape")?.extract()?;
        fit_shape(&shape, IN_MEMORY, network).map_err(|error| exception(&error))?;
        Ok(Self::Array(floats(&array)?))
    }

    /// The photo that it is, for a model that is fed so; `None`: it is an array.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) fn photo(self, preprocessing: &Preprocessing) -> camscope_core::Result<Result<Photo, ArrayD<f32>>> {
        Ok(match self {
            Self::File(path) => Ok(Photo::open_for(path, preprocessing)?),
            Self::Bytes(bytes) => Ok(Photo::decode_for(&bytes, "<bytes>", preprocessing)?),
            Self::Pixels(pixels) => Ok(Photo::of_pixels(pixels, "<image>")),
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
    let array = array.cast::<PyArrayDyn<f32>>()?.try_readonly()?;
    let array = array.as_array();
    let mut values = room(array.len())?;
    values.extend(array.iter().copied());
    ArrayD::from_shape_vec(array.raw_dim(), values).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// What an array is called in messages.
pub(crate) const IN_MEMORY: &str = "memory";

/// Room for that many values. An array that repeats the same memory may be larger than there is.
fn room<T>(count: usize) -> PyResult<Vec<T>> {
    let mut room = Vec::new();
    room.try_reserve_exact(count)
        .map_err(|_| PyMemoryError::new_err(format!("there is no room for a copy of {count} values")))?;
    Ok(room)
}

/// The content of a `bytearray`, or of a `memoryview` of bytes.
fn other_bytes(given: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    if let Ok(bytes) = given.cast::<PyByteArray>() {
        return Ok(Some(bytes.to_vec()));
    }
    let is_view = given.is_instance_of::<PyMemoryView>()
        && given.getattr("ndim")?.extract::<usize>()? == 1
        && given.getattr("format")?.extract::<String>()? == "B";
    if is_view { given.call_method0("tobytes")?.extract().map(Some) } else { Ok(None) }
}

/// The path of a model.
///
/// # Errors
/// It is none.
pub(crate) fn model_path(given: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    if given.is_instance_of::<PyString>() || given.hasattr("__fspath__")? {
        return given.extract();
    }
    let given = given.get_type().fully_qualified_name()?;
    Err(PyTypeError::new_err(format!(
        "a model is the path of an .onnx file, not {given}: what lies beside the file says how photos become its input"
    )))
}

/// Height × width × RGB, RGBA or grey, or height × width, as pixels. Alpha is dropped. `None` where it has other axes.
fn pixels(levels: ArrayViewD<'_, u8>) -> Option<PyResult<RgbImage>> {
    let levels = if levels.ndim() == 2 { levels.insert_axis(Axis(2)) } else { levels };
    let levels = levels.into_dimensionality::<Ix3>().ok()?;
    let (height, width, channels) = levels.dim();
    let from = match channels {
        1 => [0, 0, 0],
        3 | 4 => [0, 1, 2],
        _ => return None,
    };
    let (wide, high) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let copied = || {
        let mut bytes = room(height.saturating_mul(width).saturating_mul(3))?;
        for pixel in levels.lanes(Axis(2)) {
            bytes.extend(from.map(|channel| pixel[channel]));
        }
        let pixels = RgbImage::from_raw(wide, high, bytes);
        pixels.ok_or_else(|| PyValueError::new_err("the image's pixels are not all there"))
    };
    Some(copied())
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
        Ok(class) if !given.is_instance_of::<PyString>() && !given.is_instance_of::<PyBool>() => {
            format!("class:#{class}")
        }
        _ => given
            .extract::<String>()
            .map_err(|_| PyTypeError::new_err("a target is a str, or the number of a class"))?,
    };
    target::parse(&spec).map_err(|error| exception(&error))
}

/// One or several targets.
///
/// # Errors
/// There is no such kind of target.
pub(crate) fn targets(given: &Bound<'_, PyAny>) -> PyResult<Vec<TargetRef>> {
    if given.is_instance_of::<PyString>() || given.extract::<usize>().is_ok() {
        return Ok(vec![target(given)?]);
    }
    let several = given.try_iter().map_err(|_| PyTypeError::new_err("a target is a str, or the number of a class"))?;
    several.map(|one| target(&one?)).collect()
}

/// One or several paths.
///
/// # Errors
/// It is neither.
pub(crate) fn paths(given: &Bound<'_, PyAny>) -> PyResult<Vec<PathBuf>> {
    if given.is_instance_of::<PyString>() || given.hasattr("__fspath__")? {
        return Ok(vec![given.extract()?]);
    }
    let wrong = || PyTypeError::new_err("images are a path, or several: of photos and of folders of photos");
    let several = given.try_iter().map_err(|_| wrong())?;
    several.map(|one| one?.extract().map_err(|_| wrong())).collect()
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
