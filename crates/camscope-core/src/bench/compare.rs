//! Puts an earlier report beside a new one.

use std::{io::ErrorKind, path::Path};

use serde::{Deserialize, Serialize};

use super::report::{RATIOS, Report};
use crate::{
    error::{Error, Result},
    text::printable_path,
};

/// What is read of an earlier report.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "an object")]
pub struct Earlier {
    camscope: String,
    model: String,
    input_shape: Vec<usize>,
    provider: String,
    onnxruntime: String,
    threads: Option<usize>,
    clock: Option<String>,
    all_layers_end: Option<String>,
    #[serde(flatten)]
    ratios: Then,
}

/// The ratios of an earlier report, which may be of the older form.
#[derive(Clone, Debug, Deserialize)]
struct Then {
    explain_ratio: f64,
    class_switch_ratio: f64,
    all_layers_ratio: f64,
    class_switch_all_ratio: f64,
    every_layer_ratio: Option<f64>,
    every_layer_switch_ratio: Option<f64>,
    memory_ratio: Option<f64>,
    memory_all_ratio: Option<f64>,
    memory_every_layer_ratio: Option<f64>,
    startup_ratio: f64,
    batch_explain_ratio: Option<f64>,
    batch_files_ratio: Option<f64>,
}

impl Then {
    /// In the order of [`RATIOS`].
    fn all(&self) -> [Option<f64>; RATIOS.len()] {
        let (all, switch) = (Some(self.all_layers_ratio), Some(self.class_switch_all_ratio));
        let to_input = [all, switch, self.memory_all_ratio];
        let every = [self.every_layer_ratio, self.every_layer_switch_ratio, self.memory_every_layer_ratio];
        // In the older form "all layers" are the gradients at every layer; the one at the input alone wasn't measured.
        let older = self.every_layer_ratio.is_none();
        let (to_input, every) = if older { ([None; 3], to_input) } else { (to_input, every) };
        [
            Some(self.explain_ratio),
            Some(self.class_switch_ratio),
            to_input[0],
            to_input[1],
            every[0],
            every[1],
            self.memory_ratio,
            to_input[2],
            every[2],
            Some(self.startup_ratio),
            self.batch_explain_ratio,
            self.batch_files_ratio,
        ]
    }
}

/// How a ratio changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// One of [`RATIOS`].
    #[serde(skip)]
    pub name: &'static str,
    /// What it was; `None` where it wasn't known.
    pub then: Option<f64>,
    /// What it is.
    pub now: Option<f64>,
    /// By which part of itself it grew: −0.1 is a tenth less.
    pub change: Option<f64>,
}

/// An earlier report beside a new one.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The version of camscope then.
    pub camscope: String,
    /// One for each of [`RATIOS`].
    pub changes: Vec<Change>,
    /// What else differs, so that the ratios may for other reasons: "the model: `a.onnx` then, `b.onnx` now".
    pub differences: Vec<String>,
}

impl Earlier {
    /// Reads what `camscope bench --json` printed.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] or [`Error::Io`] where it can't be read, [`Error::NotABench`] where it is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let name = printable_path(path);
        let text = std::fs::read(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::NoSuchFile { what: "output of an earlier bench", path: name.clone() },
            ErrorKind::IsADirectory => Error::IsFolder { what: "output of an earlier bench", path: name.clone() },
            _ => Error::Io { action: "read", path: name.clone(), source },
        })?;
        serde_json::from_slice(&text).map_err(|error| Error::NotABench { path: name, reason: error.to_string() })
    }
}

/// Puts them side by side.
pub fn compare(then: &Earlier, now: &Report) -> Comparison {
    let changes = RATIOS.iter().zip(then.ratios.all()).zip(now.medians.all());
    let changes = changes.map(|((&name, then), now)| {
        let change = then.zip(now).filter(|(then, _)| *then > 0.0).map(|(then, now)| now / then - 1.0);
        Change { name, then, now, change }
    });
    let setting = &now.setting;
    let file = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let threads =
        |threads: Option<usize>| threads.map_or("ONNX Runtime's choice".to_owned(), |count| count.to_string());
    let differences = [
        ("model", file(&then.model), file(&setting.model)),
        ("input", format!("{:?}", then.input_shape), format!("{:?}", setting.input_shape)),
        ("execution provider", then.provider.clone(), setting.provider.clone()),
        ("ONNX Runtime", then.onnxruntime.clone(), setting.onnxruntime.clone()),
        (
            "end of the gradient through all layers",
            then.all_layers_end.clone().unwrap_or_else(|| setting.all_layers_end.clone()),
            setting.all_layers_end.clone(),
        ),
        ("number of threads", threads(then.threads), threads(setting.threads)),
        ("clock", then.clock.clone().unwrap_or_else(|| "wall".into()), setting.clock.into()),
    ];
    let differences = differences.into_iter().filter(|(_, then, now)| then != now);
    Comparison {
        camscope: then.camscope.clone(),
        changes: changes.collect(),
        differences: differences.map(|(what, then, now)| format!("the {what} was {then} and is {now}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::report, *};

    fn written(content: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("then.json");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn a_report_equals_itself() {
        let report = report();
        let (_folder, path) = written(&serde_json::to_string(&report).unwrap());
        let comparison = compare(&Earlier::read(&path).unwrap(), &report);
        assert_eq!(comparison.changes.len(), RATIOS.len());
        assert!(comparison.changes.iter().all(|change| change.then == change.now && change.change == Some(0.0)));
        assert_eq!((comparison.camscope.as_str(), comparison.differences.len()), ("0.1.0", 0));
    }

    #[test]
    fn changes_are_parts_of_what_was_and_other_settings_are_said() {
        let now = report();
        let mut then = serde_json::to_value(&now).unwrap();
        then["explain_ratio"] = 2.0.into();
        then["memory_ratio"] = serde_json::Value::Null;
        then["model"] = "elsewhere/other.onnx".into();
        then["threads"] = 4.into();
        let (_folder, path) = written(&then.to_string());
        let comparison = compare(&Earlier::read(&path).unwrap(), &now);
        let named = |name: &str| comparison.changes.iter().find(|change| change.name == name).expect("a ratio");
        let (explain, memory) = (named("explain_ratio"), named("memory_ratio"));
        let want = Change { name: "explain_ratio", then: Some(2.0), now: Some(1.5), change: Some(-0.25) };
        assert_eq!(explain, &want);
        assert_eq!((memory.then, memory.now, memory.change), (None, Some(2.0), None));
        let want =
            ["the model was other.onnx and is net.onnx", "the number of threads was 4 and is ONNX Runtime's choice"];
        assert_eq!(comparison.differences, want);
    }

    #[test]
    fn all_layers_of_the_older_form_are_every_layer_of_the_new_one() {
        let now = report();
        let mut then = serde_json::to_value(&now).unwrap();
        for name in ["every_layer_ratio", "every_layer_switch_ratio", "memory_every_layer_ratio", "all_layers_end"] {
            then.as_object_mut().unwrap().remove(name);
        }
        then["all_layers_ratio"] = 10.0.into();
        let (_folder, path) = written(&then.to_string());
        let comparison = compare(&Earlier::read(&path).unwrap(), &now);
        let of = |name: &str| comparison.changes.iter().find(|change| change.name == name).unwrap();
        assert_eq!((of("all_layers_ratio").then, of("all_layers_ratio").now), (None, Some(3.0)));
        assert_eq!((of("every_layer_ratio").then, of("every_layer_ratio").change), (Some(10.0), Some(-0.5)));
        assert_eq!((of("every_layer_switch_ratio").then, of("memory_every_layer_ratio").then), (Some(2.0), Some(3.0)));
        assert!(of("class_switch_all_ratio").then.is_none() && of("memory_all_ratio").then.is_none());
        assert!(comparison.differences.is_empty());
    }

    #[test]
    fn other_files_are_refused() {
        for content in ["", "[1]", "{\"camscope\": \"0.1.0\"}", "no JSON"] {
            let (_folder, path) = written(content);
            assert!(matches!(Earlier::read(&path), Err(Error::NotABench { .. })), "{content}");
        }
        let missing = Earlier::read(Path::new("/nowhere/then.json"));
        assert!(matches!(missing, Err(Error::NoSuchFile { .. })));
    }
}
