//! What can go wrong between an ONNX model and its gradients.

use std::path::PathBuf;

use crate::{
    runtime::{Origin, Provider, Unusable},
    text::{printable, printable_path},
};

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in this crate. `Display` says what happened and to what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration file is no good.
    #[error("cannot use the configuration {path}: {reason}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No place that is searched holds an ONNX Runtime that can be used.
    #[error("no usable ONNX Runtime was found{}", refused_runtimes(refused))]
    RuntimeMissing {
        /// The libraries that were found and refused.
        refused: Vec<(PathBuf, Unusable)>,
    },
    /// A file that was to serve as ONNX Runtime cannot.
    #[error("cannot use {} as ONNX Runtime{}: {reason}", printable_path(path), named_by.map(|place| format!(" (named by {place})")).unwrap_or_default())]
    RuntimeUnusable {
        /// Who named the file, where the user did.
        named_by: Option<Origin>,
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: Unusable,
    },
    /// ONNX Runtime was found good but did not start.
    #[error("cannot start the ONNX Runtime {}: {reason}", printable_path(path))]
    RuntimeStart {
        /// The library.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// An ONNX Runtime could not be fetched.
    #[error("cannot fetch {package}: {reason}")]
    RuntimeFetch {
        /// The package and its version.
        package: String,
        /// What went wrong.
        reason: String,
    },
    /// What was fetched is not what was asked for. Nothing of it was kept.
    #[error("{file} is not the file that is expected: its SHA-256 is {found}, not {expected}; nothing was installed")]
    RuntimeChecksum {
        /// The file's name.
        file: String,
        /// The SHA-256 that is pinned, in hexadecimal.
        expected: String,
        /// The SHA-256 of the file that came.
        found: String,
    },
    /// A library of an execution provider cannot be used.
    #[error("cannot use {} as the library of an execution provider: {reason}", printable_path(path))]
    ProviderLibrary {
        /// The file.
        path: PathBuf,
        /// Why not, in a clause about "it".
        reason: String,
    },
    /// There is no device of that number.
    #[error("there is no device {number}; there {}", listed(devices))]
    NoSuchDevice {
        /// The number that was asked for.
        number: usize,
        /// The devices that there are.
        devices: Vec<String>,
    },
    /// A device and an execution provider were asked for that do not go together.
    #[error("device {} is not one of the execution provider {asked}", printable(device))]
    DeviceOfAnother {
        /// The device.
        device: String,
        /// The provider that was named.
        asked: Provider,
    },
    /// An execution provider that was asked for by name does not work here.
    #[error("the execution provider {provider} cannot be used: {reason}")]
    Provider {
        /// The provider.
        provider: Provider,
        /// Why not.
        reason: String,
    },
    /// A model was to be computed in float16, and the execution provider has no kernels for that.
    #[error(
        "the execution provider {provider} doesn't compute in float16: {reason}; use --precision fp32, or another --ep"
    )]
    NoFloat16 {
        /// The provider.
        provider: Provider,
        /// Why not.
        reason: String,
    },
    /// ONNX Runtime refused a model, or failed while running it.
    #[error("ONNX Runtime cannot {action}: {reason}")]
    Inference {
        /// What it was to do, as a verb and its object.
        action: &'static str,
        /// ONNX Runtime's own words.
        reason: String,
    },
    /// A value of a model is not of a kind that can be used here.
    #[error("{0}")]
    Value(String),
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The graph could not be read, edited or differentiated.
    #[error(transparent)]
    Graph(#[from] onnx_grad::Error),
}

/// `are 0: …; 1: …`, as devices come from drivers, which may name them anyhow.
fn listed(devices: &[String]) -> String {
    match devices {
        [] => "is none".into(),
        [one] => format!("is only {}", printable(one)),
        several => format!("are {}", several.iter().map(|one| printable(one)).collect::<Vec<_>>().join("; ")),
    }
}

fn refused_runtimes(refused: &[(PathBuf, Unusable)]) -> String {
    refused.iter().map(|(path, reason)| format!("; {}: {reason}", printable_path(path))).collect()
}
