//! What outlasts a run over many pictures: its results, an object a line, and what of them an earlier run has done. Shared by the commands
//! that go on with `--resume`.

use std::{
    fmt::Debug,
    fs::File,
    io::{BufRead, BufReader},
    ops::Range,
    path::{Path, PathBuf},
};

use camscope_core::{Error, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    again::command_line,
    many_pictures::{Picture, Shard},
    output::json_line,
    results::{Done, Plan, Results},
    setup::{failed, note_all},
    whole::{remove_unfinished, unfinished},
};

/// Where results are kept.
pub(crate) struct Place<'a> {
    /// The folder of the results.
    pub(crate) folder: &'a Path,
    /// All folders into which files are put: what a run that was killed left there half-written is removed.
    pub(crate) written: Vec<PathBuf>,
    pub(crate) shard: Option<Shard>,
    pub(crate) resume: bool,
}

/// The results, and what is done already.
pub(crate) struct Kept {
    results: Results,
    done: Done,
    settings: String,
    pictures: usize,
}

impl Kept {
    /// Opens the results of so many `passes` over the pictures, in these batches, with these settings.
    ///
    /// # Errors
    /// They cannot be read or written, or are those of something else.
    pub(crate) fn open(
        place: &Place<'_>,
        pictures: &[Picture],
        batches: &[Range<usize>],
        passes: usize,
        settings: String,
    ) -> Result<Self> {
        let plan = Plan { pictures, batches, passes, settings: &settings };
        let (results, done) = Results::open(place.folder, place.shard, place.resume, &plan)?;
        for folder in &place.written {
            remove_unfinished(folder, &unfinished(place.shard));
        }
        let kept = Self { results, done, settings, pictures: pictures.len() };
        note_all(&kept.told().into_iter().collect::<Vec<_>>());
        Ok(kept)
    }

    /// What there is to say of earlier results.
    fn told(&self) -> Option<String> {
        let batches: usize = self.done.batches.iter().sum();
        let failed = match self.done.failed {
            0 => String::new(),
            failed => format!(", where {failed} failed"),
        };
        (batches > 0).then(|| format!("going on after what {} has{failed}", self.results.path().display()))
    }

    /// How many batches a pass has behind it.
    pub(crate) fn batches_done(&self, pass: usize) -> usize {
        self.done.batches.get(pass).copied().unwrap_or_default()
    }

    /// How many pictures there are in all.
    pub(crate) fn pictures(&self) -> usize {
        self.pictures
    }

    /// Whether a picture failed earlier.
    pub(crate) fn has_failures(&self) -> bool {
        self.done.failed > 0
    }

    /// Whether the results can't be written.
    pub(crate) fn is_broken(&self) -> bool {
        self.results.is_broken()
    }

    /// The lines of a picture: each says where it belongs. `pass` is from 1.
    pub(crate) fn lines(&self, picture: &Picture, pass: usize, objects: Vec<Value>) -> String {
        let count = objects.len();
        let line = |mut object: Value| {
            object["picture"] = json!(picture.number);
            object["pass"] = json!(pass);
            object["lines"] = json!(count);
            object["settings"] = json!(self.settings);
            json_line(&object)
        };
        objects.into_iter().map(line).collect()
    }

    /// Adds the lines of a batch.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn append(&self, lines: &str) -> Result<()> {
        self.results.append(lines)
    }

    /// Says what is done, and how to go on.
    pub(crate) fn say_how_to_go_on(&self, delivered: usize) {
        let again = command_line(usize::MAX, &["resume"]);
        note_all(&[format!("stopped after {delivered} of {}; this goes on: {again} --resume", self.pictures)]);
    }

    /// Gives all results, of this run and of those before it, one after the other.
    ///
    /// # Errors
    /// They cannot be read, or those of `take`.
    pub(crate) fn each(&self, mut take: impl FnMut(&Value) -> Result<()>) -> Result<()> {
        let path = self.results.path();
        let file = File::open(path).map_err(|source| failed("read", path, source))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|source| failed("read", path, source))?;
            take(&serde_json::from_str(&line).map_err(|error| Error::Value(error.to_string()))?)?;
        }
        Ok(())
    }
}

/// A word for everything that results depend on, besides the pictures: the version, the files and their sizes, and the options.
pub(crate) fn settings(files: &[&Path], options: &dyn Debug) -> String {
    let size = |file: &&Path| std::fs::metadata(file).map_or(0, |about| about.len()).to_string();
    let sizes = files.iter().map(size).collect::<Vec<_>>().join(" ");
    let hash = Sha256::digest(format!("{} {sizes} {options:?}", env!("CARGO_PKG_VERSION")));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
