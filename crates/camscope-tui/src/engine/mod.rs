//! What the explorer asks of a model. The boundary at which tests put a double.

mod beside;
mod opening;
mod ranked;
mod real;
mod spread;

use std::{path::Path, sync::Arc, time::SystemTime};

use camscope_core::{
    Error,
    compare::Entry,
    explain::Segments,
    image::Seen,
    model::Labels,
    overlay::normalise,
    runtime::{Canceller, SessionOptions},
    target::{Score, TargetRef},
};
use image::RgbImage;
use ndarray::{Array2, ArrayD, ArrayView2};

use crate::tree::Tree;

pub use beside::{Against, Beside};
pub use opening::{InputRow, NotOpened, Opening, OutputInfo};
pub use real::Opened;
pub use spread::{BARS, Spread};

/// Why the engine has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The run was cancelled: nobody waits for it any more.
    Cancelled,
    /// What happened and, where there is something, what to do.
    Failed(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match (&error, error.help()) {
            (error, _) if error.is_cancelled() => Self::Cancelled,
            (_, Some(help)) => Self::Failed(format!("{error}; {help}")),
            (_, None) => Self::Failed(error.to_string()),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

/// The engine's result type.
pub type Result<T> = std::result::Result<T, Fault>;

/// What is known of an open model.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    /// The file.
    pub path: std::path::PathBuf,
    /// The file as it was when it was read.
    pub modified: Option<SystemTime>,
    /// The classes' names.
    pub labels: Labels,
    /// What the list of targets is headed with: `Classes`, `Boxes`.
    pub heading: &'static str,
    /// In which ways the model is quantised: `QDQ`, `QOperator`, `dynamic`, `weights`; empty: it is not.
    pub forms: Vec<&'static str>,
    /// Whether it is known where numbers of layers saturate.
    pub saturates: bool,
    /// The layers in the order of the graph; behind them, where the default is several, all of these as one, called `auto`.
    pub layers: Vec<LayerInfo>,
    /// The same layers by their modules.
    pub tree: Tree,
    /// The layer that `auto` takes.
    pub default_layer: usize,
    /// The sidecar's method; an index into [`camscope_core::method::all`].
    pub method: usize,
    /// What a person should know: assumed preprocessing, a provider that was not taken.
    pub notes: Vec<String>,
    /// The execution provider.
    pub provider: String,
    /// The options that `camscope explain` needs to do the same, word by word.
    pub command: Vec<String>,
    /// The methods and layers that are tried where the best is looked for.
    pub tries: Vec<Try>,
    /// A second model that it is compared with.
    pub against: Option<Arc<Against>>,
    /// What is explained beside what the model says by itself, each as `--target` takes it.
    pub targets: Vec<String>,
    /// Where the model's answer alone asks nothing: that, and what can be asked.
    pub asks: Option<String>,
    /// Whether it gives an embedding: then a photo can be compared with another.
    pub is_embedding: bool,
    /// The kinds of target that it has nothing of, by name, each with the reason.
    pub refuses: Vec<(&'static str, String)>,
    /// Its inputs.
    pub inputs: Vec<InputRow>,
    /// Its outputs.
    pub outputs: Vec<OutputInfo>,
}

/// A method at a layer, to be tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Try {
    /// Position in [`camscope_core::method::all`].
    pub method: usize,
    /// Position in [`ModelInfo::layers`].
    pub layer: usize,
    /// About how many forward passes its heat takes.
    pub cost: f64,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// The module's path, else the value's name; as `--layer` takes it.
    pub name: String,
    /// The operator that makes it.
    pub op: String,
    /// Height and width of its heatmap, and its number of channels.
    pub shape: String,
    /// Height and width alone.
    pub size: String,
    /// The number of channels; empty where there are several.
    pub channels: String,
    /// What its axes mean.
    pub layout: String,
    /// The type that its numbers have in the file, where that is not float32.
    pub stored: Option<&'static str>,
    /// The modules around it, outermost first, and last its own name.
    pub path: Vec<String>,
    /// Whether it is a step of an activation or a normalisation, of which the result is a layer too.
    pub is_step: bool,
}

/// A photo as the explorer uses it.
#[derive(Debug)]
pub struct Photo {
    /// Another for every photo that is read, also when the same file is read again.
    pub id: u64,
    /// The pixels, upright.
    pub pixels: RgbImage,
    /// The rectangle that the network sees.
    pub seen: Seen,
    /// The network's input.
    pub tensor: ArrayD<f32>,
    /// What a person should know of the file, each a sentence.
    pub notes: Vec<String>,
    /// The file as it was when it was read.
    pub modified: Option<SystemTime>,
    /// The same photo as a second model takes it, or why it cannot: only of a photo of the first of two models.
    pub beside: Option<std::result::Result<Arc<Photo>, String>>,
}

/// What the model says of a photo: the numbers of all that can be explained.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// The logits, one a class; behind them the numbers of the targets that were asked for.
    pub values: Vec<f32>,
    /// One a class.
    pub probabilities: Vec<f32>,
    /// What else can be explained: the targets that were asked for, then what the model says where that is no classes, the surest first.
    pub asked: Vec<Asked>,
    /// Where the segments among these lie, where the model gives pixels a class.
    pub segments: Option<Arc<Segments>>,
    /// All targets: those of [`Scores::asked`], then the classes, the likeliest first.
    pub ranking: Vec<usize>,
}

/// A target other than a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// As `--target` takes it.
    pub spec: String,
    /// A name for people.
    pub label: Option<String>,
    /// How sure the model is, from 0 to 1, where it says so.
    pub probability: Option<f32>,
    /// Of a box: left, top, right, bottom in the photo's pixels.
    pub corners: Option<[f64; 4]>,
    /// Of a character: the number of its class.
    pub class: Option<usize>,
}

impl Asked {
    /// Whether it is a character that was read, or all of them.
    pub fn is_text(&self) -> bool {
        self.spec == "text" || self.spec.starts_with("text:")
    }
}

impl ModelInfo {
    /// Why it has nothing of what a target begins with, also behind `not:`; `None`: it may have, or the beginning is no kind yet.
    pub fn refusal(&self, typed: &str) -> Option<&str> {
        let (name, rest) = typed.trim_start().split_once(':')?;
        let refused = self.refuses.iter().find(|(known, _)| *known == name);
        if name == "not" { self.refusal(rest) } else { refused.map(|(_, reason)| reason.as_str()) }
    }

    /// Whether what it says is text.
    pub fn reads_text(&self) -> bool {
        self.heading == "Text"
    }
}

impl Scores {
    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.values.len().saturating_sub(self.asked.len())
    }

    /// A target other than a class; `None` for a class.
    pub fn asked(&self, target: usize) -> Option<&Asked> {
        self.asked.get(target.checked_sub(self.classes())?)
    }

    /// How sure the model is of a target, from 0 to 1, where it says so.
    pub fn probability(&self, target: usize) -> Option<f32> {
        self.asked(target).map_or_else(|| self.probabilities.get(target).copied(), |asked| asked.probability)
    }

    /// The segment at a point of the photo, in its pixels; of boxes the smallest over it.
    pub fn over(&self, [x, y]: [f64; 2]) -> Option<usize> {
        if let Some(segments) = &self.segments {
            let spec = segments.at([x, y])?;
            return self.asked.iter().position(|asked| asked.spec == spec).map(|at| at + self.classes());
        }
        let area = |[left, top, right, bottom]: [f64; 4]| (right - left) * (bottom - top);
        let boxes = self.asked.iter().enumerate().filter_map(|(at, asked)| Some((at, asked.corners?)));
        let over = boxes
            .filter(|(_, [left, top, right, bottom])| (*left..=*right).contains(&x) && (*top..=*bottom).contains(&y));
        let smallest = over.min_by(|(_, one), (_, other)| area(*one).total_cmp(&area(*other)));
        smallest.map(|(at, _)| at + self.classes())
    }
}

/// A heatmap's place among all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeatKey {
    /// [`Photo::id`].
    pub photo: u64,
    /// Position in [`Scores::values`]; for a class the class's number.
    pub target: usize,
    /// Position in [`ModelInfo::layers`].
    pub layer: usize,
    /// Position in [`camscope_core::method::all`].
    pub method: usize,
}

/// A heatmap, `[height, width]` at the layer's resolution, scaled to 0..=1, and what it was scaled by.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    /// The heat.
    pub values: Array2<f32>,
    /// What 1 stands for, in the method's own unit.
    pub most: f32,
}

impl HeatMap {
    /// Scales what a method gives.
    pub fn of(raw: ArrayView2<'_, f32>) -> Self {
        let most = raw.iter().copied().filter(|heat| heat.is_finite()).fold(0.0, f32::max);
        Self { values: normalise(raw), most }
    }

    /// All of its heat, in the method's own unit: for Grad-CAM, how much of the score it stands for at first order.
    pub fn total(&self) -> f32 {
        self.values.sum() * self.most
    }
}

impl std::ops::Deref for HeatMap {
    type Target = Array2<f32>;

    fn deref(&self) -> &Array2<f32> {
        &self.values
    }
}

/// A heatmap that is kept in several places.
pub type Heat = Arc<HeatMap>;

/// What share of each layer's numbers saturates, in percent and in words; `None` where that is not known.
pub type Saturation = Arc<Vec<Option<String>>>;

/// An open model.
pub trait Engine: Send + Sync {
    /// What is known of it.
    fn info(&self) -> &ModelInfo;

    /// Reads a photo and makes the network's input of it.
    ///
    /// # Errors
    /// It cannot be read.
    fn photo(&self, path: &Path) -> Result<Photo>;

    /// The forward pass.
    ///
    /// # Errors
    /// The runtime fails, or the run was cancelled.
    fn scores(&self, photo: &Photo, canceller: &Canceller) -> Result<Scores>;

    /// The heatmap of that key, whose photo is `photo`.
    ///
    /// # Errors
    /// The layer has no gradient, the runtime fails, or the run was cancelled.
    fn heat(&self, key: HeatKey, photo: &Photo, canceller: &Canceller) -> Result<Heat>;

    /// How many passes the heatmap that is computed has taken, and about how many it will take; both 0 where that is not known.
    fn progress(&self) -> (usize, usize) {
        (0, 0)
    }

    /// How a layer's numbers are spread for a photo.
    ///
    /// # Errors
    /// The layer is several, or none that can be read; the runtime fails, or the run was cancelled.
    fn spread(&self, layer: usize, photo: &Photo, canceller: &Canceller) -> Result<Arc<Spread>>;

    /// What share of each layer's numbers saturates for a photo: asked for where [`ModelInfo::saturates`].
    ///
    /// # Errors
    /// The runtime fails, or the run was cancelled.
    fn saturation(&self, photo: &Photo, canceller: &Canceller) -> Result<Saturation>;

    /// How far the activations of a second model are from this one's for a photo, layer by layer.
    ///
    /// # Errors
    /// There is no second model, they have no layer in common, the runtime fails, or the run was cancelled.
    fn drift(&self, photo: &Photo, canceller: &Canceller) -> Result<Arc<Vec<Entry>>> {
        let _ = (photo, canceller);
        Err(Fault::Failed("there is no second model: --against opens one".into()))
    }

    /// How good the heatmap of that key is, whose photo is `photo`: its ROAD, as `camscope rank` has it; the higher, the better.
    ///
    /// # Errors
    /// Those of [`Engine::heat`].
    fn road(&self, key: HeatKey, photo: &Photo, canceller: &Canceller) -> Result<f64>;

    /// Makes ready what the layers beyond the default one need, which takes a moment; answers, layer by layer, why one has no
    /// gradient.
    ///
    /// # Errors
    /// None has.
    fn prepare_layers(&self) -> Result<Vec<Option<String>>>;

    /// Explains these targets from now on, in the place of those that were asked for before, each as `--target` takes it. The answer is false
    /// where the model has to be opened anew for them: nothing is changed then.
    ///
    /// # Errors
    /// The model has nothing of the kind.
    fn ask(&self, _targets: &[String]) -> Result<bool> {
        Ok(false)
    }
}

/// How models are opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Where and how they run.
    pub session: SessionOptions,
    /// What of a class is explained.
    pub score: Score,
    /// Whether the first explanation on a provider other than the CPU is compared with the CPU's.
    pub verify: bool,
    /// What is explained beside the classes, as it was asked for.
    pub targets: Vec<TargetRef>,
    /// The model's inputs, as the form shows them.
    pub inputs: Vec<InputRow>,
    /// The options that `camscope explain` needs to do the same, word by word.
    pub command: Vec<String>,
    /// What a person should know of how the model was read.
    pub notes: Vec<String>,
}

/// What opening a model is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Reading the file.
    Reading,
    /// Finding out types and shapes of its values.
    Typing,
    /// Writing the backward pass, and having the runtime optimise both.
    Differentiating,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Reading, Self::Typing, Self::Differentiating];

    /// What is being done, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Reading => "reading the file",
            Self::Typing => "finding the types of its values",
            Self::Differentiating => "differentiating and optimising",
        }
    }
}

/// Is told what opening a model is at.
pub type Told<'a> = &'a dyn Fn(Step);

/// Opens a model; it is what the command `o` calls, too.
pub type Opener = Arc<dyn Fn(&Opening, Told<'_>) -> std::result::Result<Arc<dyn Engine>, NotOpened> + Send + Sync>;
