//! ONNX Runtime: finding the library, checking it, loading it, fetching it, and running models with it.
//!
//! ```no_run
//! use onnx_grad_ort::runtime::{Runtime, SessionOptions, Value};
//!
//! # fn main() -> onnx_grad_ort::Result<()> {
//! let runtime = Runtime::get_or_load()?; // Search::find, then Runtime::load
//! let session = runtime.session_from_file("model.onnx".as_ref(), &SessionOptions::default())?;
//! let input = Value::from_f32(ndarray::ArrayD::zeros(ndarray::IxDyn(&[1, 3, 224, 224])))?;
//! let outputs = session.run(&[(&session.inputs()[0].name, &input)])?;
//! # Ok(())
//! # }
//! ```
//!
//! The way of a library: [`discover`] finds files, [`inspect`] judges each, [`load`] loads the first good one;
//! [`mod@install`] puts one where [`discover`] looks.

pub mod device;
pub mod dirs;
pub mod discover;
pub mod inspect;
pub mod install;
pub mod itself;
pub mod load;
pub mod plugin;
pub mod plugin_install;
pub mod prober;
pub mod provider;
mod scalars;
pub mod session;
pub mod value;
pub mod vars;

mod block;
mod cancel;
mod config;
mod copies;
mod elem;
mod fetch;
mod gpu_libraries;
mod header;
mod known;
mod log;
mod pins;
mod placement;
mod places;
mod plugin_pins;
mod precision;
mod probe_model;
mod unpack;
mod version;
mod vulkan;

#[cfg(test)]
mod tests;

pub use cancel::Canceller;
pub use copies::{Copied, Copies, CopyCount};
pub use device::{Device, DeviceKind, Hardware};
pub use discover::{Candidate, Library, Origin, Search, Verdict};
pub use elem::ElemType;
pub use inspect::Unusable;
pub use install::{Progress, ensure, install};
pub use itself::{Host, Itself, run_within};
pub use known::Known;
pub use load::{Runtime, SharedThreads, share_threads};
pub use placement::Placement;
pub use plugin::{ProviderLibraries, use_libraries};
pub use plugin_install::{InstalledProvider, install_provider};
pub use precision::Precision;
pub use prober::Prober;
pub use provider::{AutoChoice, Provider, ProviderChoice};
pub use session::{Optimisation, Outputs, Session, SessionOptions, ValueInfo};
pub use value::{ToValue, Value};
pub use vars::Vars;
pub use version::Version;
