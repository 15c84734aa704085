//! `results.jsonl`: what came of each picture of a run over many, so that a run that was ended can go on.
//!
//! The lines of a batch are appended in one write once the files that they name are there. Each line says which picture it is of and how many
//! lines that picture has, so that a reader sees where the last whole batch ends.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use camscope_core::{Error, Result, text::printable_path};
use serde::Deserialize;

use crate::{
    many_pictures::{Picture, Shard},
    setup::failed,
    whole::whole,
};

/// The results of one run, or of one shard.
pub(crate) struct Results {
    path: PathBuf,
    file: Mutex<File>,
    is_broken: AtomicBool,
}

/// What was found to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// How many batches each pass over the pictures has behind it.
    pub(crate) batches: Vec<usize>,
    /// How many pictures failed.
    pub(crate) failed: usize,
    /// The bytes that say so.
    bytes: u64,
}

/// What makes one run's lines those of another: the same pictures in the same batches, with the same settings.
pub(crate) struct Plan<'a> {
    /// All pictures, in order.
    pub(crate) pictures: &'a [Picture],
    /// Which go together.
    pub(crate) batches: &'a [Range<usize>],
    /// How often they are gone through: once for each method.
    pub(crate) passes: usize,
    /// A word for everything else.
    pub(crate) settings: &'a str,
}

/// Of a line what says where it belongs.
#[derive(Deserialize)]
struct Line {
    image: String,
    picture: usize,
    pass: usize,
    lines: usize,
    settings: String,
    #[serde(default)]
    error: Option<String>,
}

/// The file's name in its folder: each shard has its own.
pub(crate) fn file_name(shard: Option<Shard>) -> String {
    shard.map_or_else(|| "results.jsonl".into(), |Shard { which, of }| format!("results.{which}-of-{of}.jsonl"))
}

impl Results {
    /// Starts in `folder`; with `resume`, goes on after what is done.
    ///
    /// # Errors
    /// The file cannot be read or written, or has the results of something else.
    pub(crate) fn open(folder: &Path, shard: Option<Shard>, resume: bool, plan: &Plan<'_>) -> Result<(Self, Done)> {
        let path = folder.join(file_name(shard));
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(|source| failed("write", &path, source))?;
        let mut done = Done { batches: vec![0; plan.passes], ..Default::default() };
        if resume {
            done = read(&file, &path, plan)?;
        }
        let results = Self { path, file: Mutex::new(file), is_broken: AtomicBool::new(false) };
        results.cut(done.bytes).map_err(|source| failed("write", &results.path, source))?;
        Ok((results, done))
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it could not be written, and nothing more should be done.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Adds the lines of a batch, or nothing.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn append(&self, lines: &str) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = whole(|| file.write_all(lines.as_bytes()));
        written.map_err(|source| {
            self.is_broken.store(true, Ordering::Relaxed);
            failed("write", &self.path, source)
        })
    }

    fn cut(&self, bytes: u64) -> std::io::Result<()> {
        use std::io::{Seek, SeekFrom};

        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.set_len(bytes)?;
        file.seek(SeekFrom::Start(bytes)).map(drop)
    }
}

/// Follows the lines along the plan, as far as batches are whole. A line that was torn ends it; one that is of something else is an error.
fn read(file: &File, path: &Path, plan: &Plan<'_>) -> Result<Done> {
    let mut done = Done { batches: vec![0; plan.passes], ..Default::default() };
    let mut reader = BufReader::new(file);
    let (mut bytes, mut failures) = (0, 0);
    // The pass, the batch, the picture and how many of its lines are read.
    let (mut pass, mut batch, mut at, mut lines) = (0, 0, 0, 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = reader.read_until(b'\n', &mut text).map_err(|source| failed("read", path, source))?;
        if read == 0 || text.last() != Some(&b'\n') {
            return Ok(done);
        }
        let other = |why: &str| {
            let path = printable_path(path);
            Error::Value(format!("`{path}` can't be gone on from: {why}; take another folder, or leave --resume out"))
        };
        let line: Line = serde_json::from_slice(&text).map_err(|_| other("a line is no result of a run"))?;
        if line.settings != plan.settings {
            return Err(other("it is of another model, of other options or of another version of camscope"));
        }
        // A method that the model refuses has no lines.
        while pass + 1 < line.pass && (batch, lines) == (0, 0) && at == plan.batches.first().map_or(0, |run| run.start)
        {
            pass += 1;
        }
        let picture = plan.pictures.get(at).filter(|_| pass < plan.passes && line.pass == pass + 1);
        let is_next = picture
            .is_some_and(|picture| picture.number == line.picture && picture.path.to_string_lossy() == line.image);
        if !is_next {
            return Err(other("it is of other pictures"));
        }
        bytes += read as u64;
        failures += usize::from(line.error.is_some());
        lines += 1;
        if lines < line.lines {
            continue;
        }
        (at, lines) = (at + 1, 0);
        if plan.batches.get(batch).is_some_and(|run| run.end == at) {
            batch += 1;
            done.batches[pass] = batch;
            (done.bytes, done.failed) = (bytes, failures);
            if batch == plan.batches.len() {
                (pass, batch, at) = (pass + 1, 0, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::many_pictures::ListArgs;

    const SETTINGS: &str = "these";

    fn pictures() -> Vec<Picture> {
        let paths: Vec<PathBuf> = (0..5).map(|number| format!("{number}.png").into()).collect();
        ListArgs::default().given(&[], &paths).expect("pictures")
    }

    fn lines(pass: usize, picture: usize, lines: usize) -> String {
        let line = format!(
            "{{\"image\":\"{}.png\",\"picture\":{picture},\"pass\":{pass},\"lines\":{lines},\"settings\":\"{SETTINGS}\"}}\n",
            picture - 1
        );
        line.repeat(lines)
    }

    fn found(content: &str, settings: &str) -> Result<(Done, String)> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("results.jsonl"), content).expect("it is written");
        let pictures = pictures();
        let plan = Plan { pictures: &pictures, batches: &[0..2, 2..4, 4..5], passes: 3, settings };
        let (results, done) = Results::open(folder.path(), None, true, &plan)?;
        results.append("next\n")?;
        Ok((done, std::fs::read_to_string(results.path()).expect("it is read")))
    }

    #[test]
    fn whatever_was_cut_it_goes_on_after_the_last_whole_batch() {
        let batches = [
            lines(1, 1, 2) + &lines(1, 2, 2),
            lines(1, 3, 2) + &lines(1, 4, 1),
            lines(1, 5, 2),
            // The second method has none.
            lines(3, 1, 1) + &lines(3, 2, 1),
        ];
        let all = batches.concat();
        let ends: Vec<usize> = (0..=batches.len()).map(|count| batches[..count].concat().len()).collect();
        for cut in 0..=all.len() {
            let (done, now) = found(&all[..cut], SETTINGS).expect("it goes on");
            let whole = ends.iter().rposition(|end| *end <= cut).expect("none is whole at least");
            let expected = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [3, 0, 1]][whole];
            assert_eq!(done.batches, expected, "{cut}");
            assert_eq!(now, format!("{}next\n", &all[..ends[whole]]), "{cut}");
        }
    }

    #[test]
    fn results_of_something_else_are_refused() {
        let of = |content: &str, settings| found(content, settings).expect_err("it is refused").to_string();
        assert!(of(&lines(1, 1, 1), "others").contains("of another model"));
        assert!(of(&lines(1, 2, 1), SETTINGS).contains("of other pictures"));
        assert!(of(&(lines(1, 1, 1) + &lines(2, 2, 1)), SETTINGS).contains("of other pictures"));
        assert!(of("a line\n", SETTINGS).contains("no result"));
    }
}
