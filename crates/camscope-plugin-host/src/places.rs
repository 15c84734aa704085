//! Where plugins are looked for. Never in the current folder, and never beside a model.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use camscope_core::runtime::{Vars, dirs};
use serde::Serialize;

/// Who named a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `--plugin`.
    Option,
    /// `CAMSCOPE_PLUGIN_PATH`.
    Variable,
    /// The configuration.
    Config,
    /// The plugin folder in camscope's data folder.
    Data,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Option => "--plugin",
            Self::Variable => "CAMSCOPE_PLUGIN_PATH",
            Self::Config => "configuration",
            Self::Data => "plugin folder",
        })
    }
}

/// Files and folders, in the order in which they are looked into.
#[derive(Clone, Debug, Default)]
pub struct Places(Vec<(Origin, PathBuf)>);

impl Places {
    /// All places: files and folders of `--plugin`, those of the variable, those of the configuration, the plugin folder.
    pub fn of(vars: &Vars, options: &[PathBuf], config: &[PathBuf]) -> Self {
        let options = options.iter().map(|path| (Origin::Option, std::path::absolute(path).unwrap_or(path.clone())));
        let variable = vars.get("CAMSCOPE_PLUGIN_PATH").unwrap_or_default();
        let variable = std::env::split_paths(variable).map(|path| (Origin::Variable, path));
        let config = config.iter().map(|path| (Origin::Config, path.clone()));
        let data = dirs::data(vars).map(|data| (Origin::Data, data.join("plugins")));
        // What is not absolute would be looked for in the current folder.
        let named = variable.chain(config).chain(data).filter(|(_, path)| path.is_absolute());
        Self(options.chain(named).collect())
    }

    /// The libraries there, each once: files that are named, and what ends like a library in folders that are named, by name.
    pub(crate) fn files(&self) -> Vec<(Origin, PathBuf)> {
        let mut files: Vec<(Origin, PathBuf)> = Vec::new();
        for (origin, path) in &self.0 {
            let found = match std::fs::read_dir(path) {
                Ok(entries) => {
                    let mut found: Vec<PathBuf> =
                        entries.flatten().map(|entry| entry.path()).filter(|path| is_library(path)).collect();
                    found.sort();
                    found
                }
                Err(_) if path.is_dir() || *origin == Origin::Data => Vec::new(),
                Err(_) => vec![path.clone()],
            };
            for file in found {
                if !files.iter().any(|(_, known)| *known == file) {
                    files.push((*origin, file));
                }
            }
        }
        files
    }
}

fn is_library(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == OsStr::new(std::env::consts::DLL_EXTENSION)) && !path.is_dir()
}
