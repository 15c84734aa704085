//! Tasks: what a model answers, and so what can be asked of it.
//!
//! A task is a file here and a row of [`RECOGNISERS`]; a format of detection heads is a file and a row of [`detection::FORMATS`]. What a
//! model answers is recognised from its metadata, from its outputs' names and shapes, and from its last nodes. `[task]` in the sidecar says
//! it otherwise. Nothing is guessed in silence: [`Recognised::by`] says what it was recognised by, and what is not recognised has no task.

mod classification;
pub mod detection;
pub mod embedding;
mod end;
mod number;
pub mod segmentation;
mod settings;
pub mod text;

use std::{fmt, sync::Arc};

use onnx_grad::{Types, ValueType};

pub use settings::{Decoding, Kind, Symbol, TaskSettings};

use crate::{
    error::{Error, Result},
    model::{Labels, Network, Sidecar},
    target::{Answer, Score, TargetRef},
    text::printable_path,
};

/// What a model answers.
pub trait Task: fmt::Debug + Send + Sync {
    /// Its name.
    fn kind(&self) -> Kind;

    /// The format of its outputs, where there are several: `yolov8`.
    fn format(&self) -> Option<&'static str> {
        None
    }

    /// The values of the graph that it reads.
    fn reads(&self) -> Vec<String>;

    /// Those of them that its targets have a slope in: what is differentiated.
    fn slopes(&self) -> Vec<String> {
        self.reads()
    }

    /// What the model says of one image, the surest first.
    ///
    /// # Errors
    /// The outputs are not as the task has them.
    fn predict(&self, answer: &Answer<'_>) -> Result<Said>;

    /// What is explained where nobody says.
    ///
    /// # Errors
    /// There is nothing that could be meant: it has to be said.
    fn first(&self) -> Result<TargetRef>;

    /// The detection head, where the task is detection.
    fn detector(&self) -> Option<&dyn detection::Detector> {
        None
    }

    /// The numbers for every pixel, where the task has them: classes, key points, or others.
    fn map(&self) -> Option<&segmentation::Map> {
        None
    }

    /// The scores of characters, where the task is text.
    fn reader(&self) -> Option<&text::Reader> {
        None
    }

    /// The vector, where the task is an embedding.
    fn embedding(&self) -> Option<&embedding::Embedding> {
        None
    }

    /// The output that was taken, where one of several could be.
    fn output(&self) -> Option<&str> {
        None
    }
}

/// A task, and how it is known.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// The task.
    pub task: Arc<dyn Task>,
    /// By what it was recognised, to be read behind "by".
    pub by: String,
    /// Where that is but a guess by a shape: what is guessed, and the lines that say it or say otherwise.
    pub guess: Option<String>,
}

impl Recognised {
    /// A task that something in the file says.
    fn new(task: impl Task + 'static, by: impl Into<String>) -> Self {
        Self { task: Arc::new(task), by: by.into(), guess: None }
    }

    /// `detection (yolov8), by its metadata`.
    pub fn describe(&self) -> String {
        let format = self.task.format().map(|format| format!(" ({format})")).unwrap_or_default();
        format!("{}{format}, by {}", self.task.kind(), self.by)
    }
}

/// What a model says of one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// What can be asked about, the surest first.
    pub items: Vec<Item>,
    /// The text that was read, where the task is text.
    pub text: Option<String>,
    /// Other facts, by name: an embedding's size and norm.
    pub facts: Vec<(&'static str, f64)>,
}

/// One thing that a model says: a class, a box, a segment, a character, a number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// The target that explains it, as `--target` takes it.
    pub target: String,
    /// Its class, where it has one.
    pub class: Option<usize>,
    /// A name for people.
    pub label: Option<String>,
    /// The number that is explained.
    pub score: f32,
    /// How sure the model is, from 0 to 1, where it says so.
    pub probability: Option<f32>,
    /// Of a box: left, top, right, bottom in the photo's pixels.
    pub corners: Option<[f64; 4]>,
    /// Of a segment: its share of the image that the network sees, from 0 to 1.
    pub share: Option<f64>,
}

/// What a task is recognised from.
pub struct Context<'a> {
    /// The model.
    pub network: &'a Network,
    /// The types of its values, at the size that is fed.
    pub types: &'a Types,
    /// The names of its classes.
    pub labels: &'a Labels,
    /// Height and width of its input.
    pub size: [usize; 2],
    /// What the sidecar says of the task.
    pub settings: &'a TaskSettings,
}

impl<'a> Context<'a> {
    /// What the model file's metadata has under a key.
    pub fn metadata(&self, key: &str) -> Option<&'a str> {
        let entries = &self.network.model.proto().metadata_props;
        entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }

    /// The type of a value.
    pub fn ty(&self, name: &str) -> Option<&'a ValueType> {
        self.types.get(name)
    }

    /// The extents of a value of floats, `None` where one is open.
    pub fn floats(&self, name: &str) -> Option<Vec<Option<usize>>> {
        let ty = self.ty(name).filter(|ty| ty.elem.is_float())?;
        Some(ty.shape.as_ref()?.iter().map(|dim| dim.fixed()).collect())
    }

    /// The extents of a value of any type, `None` where one is open.
    pub fn extents(&self, name: &str) -> Option<Vec<Option<usize>>> {
        Some(self.ty(name)?.shape.as_ref()?.iter().map(|dim| dim.fixed()).collect())
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> &'a [String] {
        &self.network.outputs
    }
}

/// Recognises a task, and says by what.
pub type Recogniser = fn(&Context<'_>) -> Option<Recognised>;

/// Every task, by kind; the first that is recognised counts.
pub const RECOGNISERS: &[(Kind, Recogniser)] = &[
    (Kind::Detection, detection::recognise),
    (Kind::Classification, classification::recognise),
    (Kind::Text, text::recognise),
    (Kind::Segmentation, segmentation::recognise),
    (Kind::Keypoints, segmentation::recognise),
    (Kind::Dense, segmentation::recognise),
    (Kind::Embedding, embedding::recognise),
    (Kind::Number, number::recognise),
];

/// The lines of a sidecar that say what a model answers.
pub(crate) const TASK_LINES: &str = "into MODEL.toml beside the model: [task], kind = \"classification\", \"detection\", \"segmentation\", \
     \"keypoints\", \"dense\", \"text\", \"embedding\" or \"number\", and output = \"NAME\" where one output holds the answer";

/// What a model answers; `None` where nothing is recognised.
///
/// # Errors
/// [`Error::Task`] if the sidecar says what the model's outputs cannot be.
pub fn recognise(network: &Network, types: &Types, sidecar: &Sidecar) -> Result<Option<Recognised>> {
    let (height, width) = sidecar.preprocessing.size;
    let settings = &TaskSettings { kind: sidecar.task.kind(), ..sidecar.task.clone() };
    let context =
        Context { network, types, labels: &sidecar.labels, size: [height as usize, width as usize], settings };
    let wanted = |(kind, _): &&(Kind, Recogniser)| settings.kind.is_none_or(|said| said == *kind);
    let found = RECOGNISERS.iter().filter(wanted).find_map(|(_, recognise)| recognise(&context));
    let found = found.map(|found| surer(&context, found));
    match (found, settings.kind) {
        (Some(found), Some(kind)) => {
            // That it is text says nothing of its blank.
            let guess = found.guess.filter(|_| kind == Kind::Text);
            Ok(Some(Recognised { by: "[task] in the sidecar".into(), guess, ..found }))
        }
        (None, Some(kind)) => {
            let format = settings.format.as_ref().map(|format| format!(" of the format `{format}`"));
            let reason = format!(
                "[task] in the sidecar says {kind}{}, and its outputs are {}",
                format.unwrap_or_default(),
                outputs(network, types)
            );
            Err(Error::Task { path: printable_path(&network.path), reason })
        }
        (found, None) => Ok(found),
    }
}

/// What was found, or the segments of another output, where those are known and that a row holds scores of classes is but a guess.
fn surer(context: &Context<'_>, found: Recognised) -> Recognised {
    let is_guess =
        found.task.kind() == Kind::Classification && found.guess.is_some() && context.settings.kind.is_none();
    let segments = || {
        let other = segmentation::recognise(context)?;
        (other.task.kind() == Kind::Segmentation && other.guess.is_none()).then_some(other)
    };
    is_guess.then(segments).flatten().unwrap_or(found)
}

/// `` `boxes` [1, 100, 4] and `scores` [1, 100] ``.
pub fn outputs(network: &Network, types: &Types) -> String {
    let one = |name: &String| {
        let dims = types.get(name).and_then(|ty| ty.shape.clone());
        let sizes = dims.map(|dims| dims.iter().map(|dim| dim.fixed()).collect::<Vec<_>>());
        format!("`{name}` {}", sizes.map_or("of unknown shape".into(), |sizes| crate::model::axes(&sizes)))
    };
    network.outputs.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A number computed from elements of a model's outputs, with its derivative by each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scalar {
    /// The number.
    pub value: f32,
    /// ∂number/∂element; other elements have none.
    pub slopes: Vec<(Element, f32)>,
}

/// An element of a value of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The value.
    pub value: Arc<str>,
    /// Its place, as the value of one image has it: the batch of one first.
    pub at: Vec<usize>,
}

impl Scalar {
    /// The seeds: for each value that has a slope an array of its shape, zero elsewhere.
    ///
    /// # Errors
    /// The answer has no such value, or it is smaller.
    pub fn seeds(&self, answer: &Answer<'_>) -> Result<Vec<(String, ndarray::ArrayD<f32>)>> {
        let mut seeds: Vec<(String, ndarray::ArrayD<f32>)> = Vec::new();
        for (element, slope) in &self.slopes {
            let at = match seeds.iter().position(|(name, _)| **name == *element.value) {
                Some(at) => at,
                None => {
                    let shape = (answer.shape)(&element.value)?;
                    seeds.push((element.value.to_string(), ndarray::ArrayD::zeros(shape)));
                    seeds.len() - 1
                }
            };
            match seeds[at].1.get_mut(element.at.as_slice()) {
                Some(place) => *place += slope,
                None => {
                    let (name, at) = (&element.value, &element.at);
                    return Err(Error::Value(format!("`{name}` has no element {at:?}")));
                }
            }
        }
        Ok(seeds)
    }
}

/// What a number is explained as: what the model gives, or the probability.
pub(crate) fn is_probability(score: Score) -> bool {
    score == Score::Probability
}
