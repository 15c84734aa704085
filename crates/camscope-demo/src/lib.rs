//! What `camscope demo` shows: an image classifier with its labels, and photos to explain.
//!
//! The model is EfficientNet-Lite0 with ImageNet-1k weights: 224 × 224 pixels, 1000 classes. A package may hold 10 MB, so its weights are
//! kept in half precision; [`write()`] turns them back into float32. The rounding moves the logits by less than 1e-2 of their size.
//!
//! ```
//! # fn main() -> Result<(), camscope_demo::Error> {
//! # let folder = std::env::temp_dir().join(format!("camscope-demo-doc-{}", std::process::id()));
//! camscope_demo::write(&folder)?;
//! assert!(folder.join(camscope_demo::MODEL).is_file());
//! assert!(folder.join(camscope_demo::PHOTOS[0].name).is_file());
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok(()) }
//! ```

use std::{
    borrow::Cow,
    fmt, fs,
    path::{Path, PathBuf},
};

pub mod weights;

/// A file inside this crate.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its name, without a folder.
    pub name: &'static str,
    /// Its bytes, as they are kept here: the model's weights are in half precision.
    pub bytes: &'static [u8],
}

macro_rules! file {
    ($folder:literal, $name:literal) => {
        File { name: $name, bytes: include_bytes!(concat!("../", $folder, "/", $name)) }
    };
}

/// The name of the model's file.
pub const MODEL: &str = "efficientnet-lite0.onnx";

const HALF: File = file!("model", "efficientnet-lite0.onnx");

/// What belongs to the model: its sidecar (how a photo becomes its input) and its labels.
const BESIDE: [File; 2] = [file!("model", "efficientnet-lite0.toml"), file!("model", "efficientnet-lite0.labels.txt")];

/// The photos. The first shows a cat and a cup of coffee.
pub const PHOTOS: [File; 4] = [
    file!("samples", "cat_and_coffee.jpg"),
    file!("samples", "chelsea.jpg"),
    file!("samples", "coffee.jpg"),
    file!("samples", "rocket.jpg"),
];

/// What can go wrong when the files are unpacked.
#[derive(Debug)]
pub enum Error {
    /// The model in this crate cannot be read: the crate was built from damaged files.
    Model(String),
    /// A file or a folder cannot be written.
    Write(PathBuf, std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Model(problem) => write!(f, "the bundled model cannot be read: {problem}"),
            Error::Write(path, source) => write!(f, "cannot write {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Model(_) => None,
            Error::Write(_, source) => Some(source),
        }
    }
}

/// The model with float32 weights, as the bytes of an ONNX file.
///
/// # Errors
/// [`Error::Model`].
pub fn model() -> Result<Vec<u8>, Error> {
    let failed = |error: onnx_grad::Error| Error::Model(error.to_string());
    let mut model = onnx_grad::Model::from_bytes(HALF.bytes).map_err(failed)?;
    weights::to_float(model.graph_mut()).map_err(failed)?;
    Ok(model.to_bytes())
}

/// Writes the model, what belongs to it and the photos into a folder, which is made if need be. Files that are there and right stay as
/// they are.
///
/// # Errors
/// [`Error::Write`] for the first file that cannot be written; [`Error::Model`].
pub fn write(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| Error::Write(folder.to_owned(), error))?;
    let beside = BESIDE.iter().chain(&PHOTOS).map(|file| (file.name, Cow::Borrowed(file.bytes)));
    for (name, bytes) in beside.chain([(MODEL, Cow::Owned(model()?))]) {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|found| found == *bytes) {
            continue;
        }
        // Under another name first: whoever unpacks at the same time never sees half a file.
        let part = folder.join(format!(".{name}.{}", std::process::id()));
        let written = fs::write(&part, &bytes).and_then(|()| fs::rename(&part, &path));
        written.map_err(|error| Error::Write(path, error))?;
    }
    Ok(())
}
