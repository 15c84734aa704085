//! Loads plugins and libraries of custom operators for the commands that open models.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use camscope_core::{
    Error, Result,
    layer::Resolved,
    runtime::Runtime,
    text::{printable, printable_path},
};
use camscope_plugin_host::{Found, Host, Settings, State, trusted};
use camscope_tui::{
    config::Config,
    message::{PluginNews, PluginWatch},
};

use crate::{cli::PluginArgs, config_cmd};

/// Loads every plugin that there is; those that cannot be used are complained about and left out. A process does this once.
pub(crate) fn load(options: &[PathBuf]) -> Host {
    let mut host = Host::new(Settings::of_process(options, &folders()));
    for found in host.scan() {
        if let Some(complaint) = found.complaint() {
            eprintln!("warning: {complaint}");
        }
    }
    host
}

/// The folders that the configuration names.
pub(crate) fn folders() -> Vec<PathBuf> {
    config_cmd::file().map(|path| Config::plugin_folders_of(&path)).unwrap_or_default()
}

/// Looks for plugins that come or change after [`load`].
pub(crate) fn watch(mut host: Host) -> PluginWatch {
    let mut known: HashMap<PathBuf, (Option<String>, State)> = states(host.scan()).collect();
    Arc::new(Mutex::new(move || {
        let found = host.scan();
        let now: HashMap<PathBuf, (Option<String>, State)> = states(found.iter().cloned()).collect();
        let is_new = |found: &&Found| known.get(&found.path) != now.get(&found.path);
        let news = found.iter().filter(is_new).map(news).collect();
        known = now;
        news
    }))
}

fn states(found: impl IntoIterator<Item = Found>) -> impl Iterator<Item = (PathBuf, (Option<String>, State))> {
    found.into_iter().map(|found| (found.path, (found.hash, found.state)))
}

fn news(found: &Found) -> PluginNews {
    let complaint = found.complaint();
    let about =
        found.about.as_ref().map_or_else(|| printable_path(&found.path), |about| printable(&about.to_string()).into());
    PluginNews {
        is_error: complaint.is_some(),
        text: complaint.unwrap_or_else(|| format!("plugin loaded: {about}")),
        concerns_model: [&found.contents.resolvers, &found.contents.rules, &found.contents.methods]
            .iter()
            .any(|items| !items.is_empty()),
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
