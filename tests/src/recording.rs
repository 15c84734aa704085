//! What other programs computed: the files of `tests/fixtures`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use ndarray::{Array1, ArrayD};
use ndarray_npy::NpzReader;
use serde_json::Value;

use crate::fixture;

/// The arrays of an `.npz` file.
pub struct Recording(NpzReader<File>);

impl Recording {
    /// Opens one.
    pub fn open(path: &Path) -> Self {
        Self(NpzReader::new(File::open(path).expect("the recording")).expect("an npz file"))
    }

    /// An array of that name.
    pub fn floats(&mut self, name: &str) -> ArrayD<f32> {
        self.0.by_name(&format!("{name}.npy")).or_else(|_| self.0.by_name(name)).expect("a recorded array")
    }

    /// A number of that name.
    pub fn number(&mut self, name: &str) -> f64 {
        let array: Array1<f64> =
            self.0.by_name(&format!("{name}.npy")).or_else(|_| self.0.by_name(name)).expect("a recorded number");
        array[0]
    }
}

/// The list of what a folder of the fixtures has.
pub fn index(folder: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixture(folder).join("index.json")).expect("the index");
    serde_json::from_str(&text).expect("a JSON list")
}

/// A recorded network in a file.
pub struct Case {
    /// The file's name.
    pub file: String,
    /// Where it is.
    pub path: PathBuf,
    /// The class whose logit is differentiated.
    pub class: usize,
    recording: PathBuf,
}

impl Case {
    /// What was recorded of it.
    pub fn recording(&self) -> Recording {
        Recording::open(&self.recording)
    }
}

/// Every file of every network of a folder.
pub fn cases(folder: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in index(folder) {
        let recording = fixture(folder).join(format!("{}.npz", entry["name"].as_str().expect("a name")));
        let class = entry["class"].as_u64().expect("a class") as usize;
        for file in entry["files"].as_array().expect("a list of files") {
            let file = file.as_str().expect("a name").to_owned();
            cases.push(Case { path: fixture(folder).join(&file), file, class, recording: recording.clone() });
        }
    }
    cases
}

/// Checks cases on as many threads as there are processors, and fails with all that was wrong.
pub fn check_all(cases: &[Case], check: impl Fn(&Case) -> Result<(), String> + Sync) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = check(case) {
                failures.lock().expect("no thread panics").push(format!("{}: {error}", case.file));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no thread panics");
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
