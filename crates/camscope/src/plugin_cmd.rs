//! `camscope plugin`: list plugins, try one, write a new one.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use camscope_core::{
    Error, Result,
    text::{printable, printable_path},
};
use camscope_plugin_host::{Check, Found, Host, Outcome, Settings, State};
use serde_json::json;

use crate::{
    cli::PluginCommand,
    output::{self, json_line},
    plugin_new,
};

/// Runs `camscope plugin …`.
///
/// # Errors
/// The project cannot be written; the plugin to check cannot be read.
pub(crate) fn run(command: &PluginCommand) -> Result<ExitCode> {
    match command {
        PluginCommand::List { plugins, json } => list(plugins, *json),
        PluginCommand::Check { path, json } => check(path, *json),
        PluginCommand::New { lang, kind, name, copy } => plugin_new::write((*lang, *kind), name, copy.as_deref()),
    }
}

fn list(options: &[PathBuf], as_json: bool) -> Result<ExitCode> {
    let all = Host::new(Settings::of_process(options, &crate::plugins::folders())).scan();
    let text: String = all.iter().map(|found| if as_json { line(found) } else { row(found) }).collect();
    output::print(&text)?;
    if all.is_empty() && !as_json {
        let folder = camscope_core::runtime::dirs::data(&camscope_core::runtime::Vars::of_process());
        let folder = folder.map(|folder| printable_path(&folder.join("plugins"))).unwrap_or_default();
        eprintln!("note: there is no plugin in {folder}, nor where CAMSCOPE_PLUGIN_PATH says");
    }
    Ok(ExitCode::SUCCESS)
}

fn row(found: &Found) -> String {
    let path = printable_path(&found.path);
    let about = found.about.as_ref().map_or("?".to_owned(), |about| printable(&about.to_string()).into_owned());
    let items = found.contents.items();
    match &found.state {
        State::Loaded => {
            let has =
                items.iter().map(|(what, name)| format!("{what} {}", printable(name))).collect::<Vec<_>>().join(", ");
            format!("loaded     {about}\n           {has}\n           {path} ({})\n", found.origin)
        }
        State::SetAside(reason) => {
            let (reason, range) = (printable(reason), camscope_plugin_host::range());
            format!("set aside  {about}\n           {reason} [{range}]\n           {path} ({})\n", found.origin)
        }
    }
}

fn line(found: &Found) -> String {
    let about = found.about.as_ref();
    let reason = match &found.state {
        State::Loaded => None,
        State::SetAside(reason) => Some(reason),
    };
    json_line(&json!({
        "path": found.path.to_string_lossy(),
        "origin": found.origin,
        "hash": found.hash,
        "name": about.map(|about| &about.name),
        "version": about.map(|about| &about.version),
        "abi": about.map(|about| format!("{}.{}", about.abi.0, about.abi.1)),
        "state": if reason.is_none() { "loaded" } else { "set aside" },
        "reason": reason,
        "colormaps": found.contents.colormaps,
        "resolvers": found.contents.resolvers,
        "rules": found.contents.rules,
        "methods": found.contents.methods,
    }))
}

fn check(path: &Path, as_json: bool) -> Result<ExitCode> {
    let settings = Settings::of_process(&[], &[]);
    let trier = settings.trier.clone().ok_or_else(|| Error::Value("this program cannot try plugins".into()))?;
    let mut host = Host::new(settings);
    let mut checks = Vec::new();
    let file = host.fresh_copy(path);
    let outcome = file.as_ref().map_or_else(|reason| Outcome::Failed(reason.clone()), |_| Outcome::Success);
    checks.push(Check { what: "file".into(), outcome });
    let mut about = None;
    if let Ok((hash, copy)) = file {
        let (told, more) = trier.check(&copy);
        checks.extend(more);
        let bad = checks.iter().find(|check| check.outcome.reason().is_some());
        host.keep(&hash, told.clone(), bad.map_or(Outcome::Success, |check| check.outcome.clone()));
        about = told;
    }
    let mut text = String::new();
    if !as_json {
        let about = about.map(|about| format!(": {}", printable(&about.to_string()))).unwrap_or_default();
        text += &format!("{}{about} [{}]\n", printable_path(path), camscope_plugin_host::range());
    }
    for Check { what, outcome } in &checks {
        let reason = outcome.reason();
        text += &if as_json {
            json_line(&json!({ "check": what, "outcome": outcome.word(), "reason": reason }))
        } else {
            let reason = reason.map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
            format!("{:8} {}{reason}\n", outcome.word(), printable(what))
        };
    }
    output::print(&text)?;
    let failed = checks.iter().any(|check| check.outcome != Outcome::Success);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
