//! Which libraries were tried, by the hash of their content, and what came of it: a file in camscope's data folder.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{contents::About, events::Outcome, range};

/// One library that was tried.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// The host that tried it: another one tries it again.
    by: String,
    pub(crate) about: Option<About>,
    pub(crate) outcome: Outcome,
}

/// The libraries that were tried.
#[derive(Debug)]
pub(crate) struct Memory {
    file: Option<PathBuf>,
    tried: BTreeMap<String, Tried>,
}

impl Memory {
    /// What the file says; a damaged one says nothing.
    pub(crate) fn read(folder: Option<&Path>) -> Self {
        let file = folder.map(|folder| folder.join("plugins-tried.json"));
        let text = file.as_ref().and_then(|file| fs::read(file).ok());
        let tried = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { file, tried }
    }

    pub(crate) fn get(&self, hash: &str) -> Option<&Tried> {
        self.tried.get(hash).filter(|tried| tried.by == range())
    }

    /// Keeps what came of trying a library. A memory that cannot be written means that it is tried again.
    pub(crate) fn keep(&mut self, hash: &str, about: Option<About>, outcome: Outcome) {
        self.tried.insert(hash.to_owned(), Tried { by: range(), about, outcome });
        let _ = self.write();
    }

    fn write(&self) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let folder = file.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let new = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&new, &self.tried)?;
        new.persist(file).map_err(|error| error.error)?;
        Ok(())
    }
}
