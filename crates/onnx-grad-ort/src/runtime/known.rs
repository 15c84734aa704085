//! Remembers which libraries were found to be good ONNX Runtimes, so that starting up need not load each one twice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::dirs;
use super::vars::Vars;
use super::version::Version;

/// How many libraries are remembered; more than a machine has.
const MOST: usize = 32;

/// The libraries found good, kept in a small JSON file. Whatever is wrong with that file, it counts as empty.
#[derive(Clone, Debug, Default)]
pub struct Known(Option<PathBuf>);

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Entry {
    path: PathBuf,
    /// Bytes.
    size: u64,
    /// When the file's contents changed last, in nanoseconds since 1970.
    modified: u128,
    version: Version,
}

impl Known {
    /// Remembers in the user's cache folder (see [`dirs::cache`]); nothing where there is none.
    pub fn in_cache(vars: &Vars) -> Self {
        Self(dirs::cache(vars).map(|folder| folder.join("runtimes.json")))
    }

    /// The same for libraries of execution providers: the version is that of the ONNX Runtime that took it in.
    pub(super) fn provider_libraries(vars: &Vars) -> Self {
        Self(dirs::cache(vars).map(|folder| folder.join("provider-libraries.json")))
    }

    /// Remembers nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// The version of the library at `path`, where it was found good and has the same size and time since.
    pub fn version(&self, path: &Path) -> Option<Version> {
        let (size, modified) = stamp(path)?;
        let same = |entry: &Entry| entry.path == path && entry.size == size && entry.modified == modified;
        self.entries().into_iter().find(same).map(|entry| entry.version).filter(|version| *version >= Version::OLDEST)
    }

    /// Remembers that the library at `path` is good. A failure to write is no failure: it is asked again next time.
    pub fn remember(&self, path: &Path, version: Version) {
        let (Some(file), Some((size, modified))) = (&self.0, stamp(path)) else { return };
        let mut entries = self.entries();
        entries.retain(|entry| entry.path != path);
        entries.insert(0, Entry { path: path.to_path_buf(), size, modified, version });
        entries.truncate(MOST);
        let _ = write(file, &entries);
    }

    fn entries(&self) -> Vec<Entry> {
        let read = |file: &PathBuf| serde_json::from_slice(&fs::read(file).ok()?).ok();
        self.0.as_ref().and_then(read).unwrap_or_default()
    }
}

/// Writes beside the file, then renames, so that another process never reads half of it.
fn write(file: &Path, entries: &[Entry]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&new, entries)?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// A file's size and time of change.
fn stamp(path: &Path) -> Option<(u64, u128)> {
    let metadata = fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((metadata.len(), modified.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_known_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let known = Known(Some(folder.path().join("cache/runtimes.json")));
        let library = folder.path().join("libonnxruntime.so");
        fs::write(&library, "one").unwrap();
        let version = Version { major: 1, minor: 32, patch: 0 };
        assert_eq!(known.version(&library), None);
        known.remember(&library, version);
        assert_eq!(known.version(&library), Some(version));
        fs::write(&library, "another").unwrap();
        assert_eq!(known.version(&library), None);
    }

    #[test]
    fn a_damaged_memory_counts_as_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runtimes.json");
        fs::write(&file, "{ not json").unwrap();
        assert_eq!(Known(Some(file)).version(folder.path()), None);
    }
}
