//! Decides whether a file is an ONNX Runtime that can be used, before `ort` loads it.
//!
//! First the file's header, then, in a child process with a time limit, what the library says of itself: to load a
//! library runs its code, which may crash or never return.

use std::ffi::CStr;
use std::path::Path;
use std::time::Duration;

use super::header;
use super::known::Known;
use super::prober::Prober;
use super::version::Version;

/// Why a file cannot serve as ONNX Runtime. `Display` gives the reason as a clause about "it".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unusable {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// It is a folder.
    #[error("it is a folder, not a library")]
    Folder,
    /// It is a pipe, a device, or such.
    #[error("it is not a regular file")]
    NotAFile,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It is no shared library of any kind.
    #[error("it is not a shared library")]
    NotALibrary,
    /// It is a library of another operating system.
    #[error("it is {found}, which this system cannot load")]
    OtherSystem {
        /// What it is, with its article.
        found: String,
    },
    /// It is a library for another processor.
    #[error("it is built for {found}, this machine is {this}")]
    OtherProcessor {
        /// The processor that it is built for.
        found: String,
        /// This machine's.
        this: String,
    },
    /// Its segments reach beyond its end.
    #[error("the file is cut short")]
    CutShort,
    /// The system's loader refused it.
    #[error("it cannot be loaded: {0}")]
    Load(String),
    /// It is a library, but not ONNX Runtime.
    #[error("it is not an ONNX Runtime library: it has no OrtGetApiBase")]
    NoApiBase,
    /// It has ONNX Runtime's entry point, but what that gives makes no sense.
    #[error("it is not a sound ONNX Runtime library: {0}")]
    Unsound(String),
    /// It is older than [`Version::OLDEST`].
    #[error("it is ONNX Runtime {found}, and {}.{} or newer is needed", Version::OLDEST.major, Version::OLDEST.minor)]
    TooOld {
        /// Its version.
        found: Version,
    },
    /// Loading it ended the process.
    #[error("loading it ends the process ({0})")]
    Crash(String),
    /// Loading it did not end within the time limit.
    #[error("loading it did not end within {} s", .0.as_secs_f32())]
    Hang(Duration),
}

/// Whether `path` is an ONNX Runtime that can be used, and its version.
///
/// A library that has been found good before, and is unchanged, is not loaded for this; another one is loaded by
/// `prober`.
///
/// # Errors
///
/// Why it cannot be used.
pub fn inspect(path: &Path, prober: &Prober, known: &Known) -> Result<Version, Unusable> {
    header::check(path, header::Machine::THIS)?;
    if let Some(version) = known.version(path) {
        return Ok(version);
    }
    let version = prober.probe(path)?;
    known.remember(path, version);
    Ok(version)
}

/// Loads the library into this process and asks for its version. It stays loaded.
///
/// This runs the library's code: it can crash or hang. [`inspect`] has a child process do it.
///
/// # Errors
///
/// Why it cannot be used.
pub fn probe_here(path: &Path) -> Result<Version, Unusable> {
    // SAFETY: loading runs the library's constructors, whatever they do; that is why this is done in a child process
    // unless the caller has none, and only for a file whose header is in order.
    let library =
        unsafe { libloading::Library::new(path) }.map_err(|error| Unusable::Load(loader_words(&error, path)))?;
    // Never unloaded: ONNX Runtime leaves threads and thread-local destructors behind that would run unmapped code.
    let library = Box::leak(Box::new(library));
    // SAFETY: the type is that of `OrtGetApiBase` in onnxruntime_c_api.h, unchanged since version 1.0.
    let get_base = unsafe { library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0") }
        .map_err(|_| Unusable::NoApiBase)?;
    // SAFETY: ONNX Runtime's entry point takes nothing and returns a pointer to a constant, or null.
    let base = unsafe { get_base().as_ref() }.ok_or_else(|| Unusable::Unsound("OrtGetApiBase gives nothing".into()))?;
    // SAFETY: the function returns a pointer to a constant string.
    let text = unsafe {
        let text = (base.GetVersionString)();
        if text.is_null() {
            return Err(Unusable::Unsound("it tells no version".into()));
        }
        CStr::from_ptr(text.cast()).to_string_lossy()
    };
    let version: Version = text.parse().map_err(|_| Unusable::Unsound(format!("its version is {text:?}")))?;
    if version < Version::OLDEST {
        return Err(Unusable::TooOld { found: version });
    }
    // SAFETY: the function takes a number; a null pointer says that the interface is not offered.
    if unsafe { (base.GetApi)(ort::sys::ORT_API_VERSION) }.is_null() {
        return Err(Unusable::Unsound(format!("it does not offer interface {}", ort::sys::ORT_API_VERSION)));
    }
    Ok(version)
}

/// What the system's loader said, without the path at its beginning, which the caller gives anyway.
fn loader_words(error: &libloading::Error, path: &Path) -> String {
    let source = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let path = path.to_string_lossy();
    source.strip_prefix(&*path).map_or(source.as_str(), |rest| rest.trim_start_matches([':', ' '])).to_string()
}
