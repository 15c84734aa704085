//! Loads plugins and libraries of custom operators for the commands that open models.

use std::path::PathBuf;

use camscope_core::{
    Error, Result,
    layer::Resolved,
    runtime::Runtime,
    text::{printable, printable_path},
};
use camscope_plugin_host::{Host, Settings, trusted};

use crate::cli::PluginArgs;

/// Loads every plugin that there is; those that cannot be used are complained about and left out.
pub(crate) fn load(options: &[PathBuf]) {
    for found in Host::new(Settings::of_process(options, &[])).scan() {
        if let Some(complaint) = found.complaint() {
            eprintln!("warning: {complaint}");
        }
    }
}

/// The runtime, with the libraries of custom operators that the options name.
///
/// # Errors
/// A library is not there, others could change it, or ONNX Runtime cannot load it.
pub(crate) fn runtime(runtime: &'static Runtime, args: &PluginArgs) -> Result<&'static Runtime> {
    for library in &args.op_libraries {
        let real = trusted(library).map_err(|reason| {
            Error::Value(format!("the operator library {} is not used: {reason}", printable_path(library)))
        })?;
        runtime.use_operators(&real)?;
    }
    Ok(runtime)
}

/// Says which resolver chose the layers, and which were not listened to.
pub(crate) fn note_resolved(resolved: &Resolved) {
    if let Some(by) = &resolved.by {
        eprintln!("note: the layers are chosen by the plugin resolver `{}`", printable(by));
    }
    for note in &resolved.notes {
        eprintln!("note: {}", printable(note));
    }
}
