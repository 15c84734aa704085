//! The environment variables that the runtime's code reads, as a value, so that tests need not change the process's own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Environment variables by name.
#[derive(Clone, Debug, Default)]
pub struct Vars(BTreeMap<OsString, OsString>);

impl Vars {
    /// This process's variables.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The variables given.
    pub fn of<K: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The variable's value; a variable that is set to nothing counts as not set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The variable's value as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// The folders in a variable that lists folders, such as `PATH`; empty and relative entries are left out.
    pub fn folders(&self, name: &str) -> Vec<PathBuf> {
        let list = self.get(name).unwrap_or_default();
        std::env::split_paths(list).filter(|path| path.is_absolute()).collect()
    }
}
