//! Targets: what is explained, as a number computed from the model's outputs, and its gradient there, which seeds the backward pass.
//!
//! A kind of target is a file here and a row of [`KINDS`]. What it reads, its number and its seeds are all that the rest needs to know.

mod boxes;
pub(crate) mod class;
mod contrast;
mod in_graph;
mod not;
pub(crate) mod output;
mod pixel;
mod segment;
mod similar;
mod text;

use std::{fmt, path::Path, sync::Arc};

use ndarray::{ArrayD, IxDyn};

pub use class::{Class, ClassSpec, Score, probabilities, ranking};
pub use in_graph::{Along, InGraph};

use crate::{
    error::{Error, Result},
    image::Viewport,
    model::{Classes, Head, Labels, Network},
    task::{Task, detection::Detector, embedding::Embedding, segmentation::Map, text::Reader},
};

/// What is explained: a scalar over any of the model's outputs.
pub trait Target: fmt::Debug + Send + Sync {
    /// As `--target` takes it.
    fn spec(&self) -> String;

    /// The name of its kind: the first word of [`Target::spec`].
    fn kind(&self) -> &'static str;

    /// The values of the graph that it reads.
    ///
    /// # Errors
    /// The model has nothing of the kind.
    fn reads(&self, network: &Network) -> Result<Vec<String>>;

    /// Those of them that it has a slope in, which are differentiated.
    ///
    /// # Errors
    /// The model has nothing of the kind.
    fn slopes(&self, network: &Network) -> Result<Vec<String>> {
        self.reads(network)
    }

    /// Whether the model has what it names, as far as that is known before it has seen an image.
    ///
    /// # Errors
    /// As from [`Target::evaluate`]: the model has no such class, label, channel or element.
    fn exists(&self, _model: &Known<'_>) -> Result<()> {
        Ok(())
    }

    /// The point of the photo that it is at, x and y in its pixels; without a photo in those of the model's input.
    fn point(&self) -> Option<[f64; 2]> {
        None
    }

    /// Whether it is of one place of the image, as a box, a pixel or a character is: then a method that averages gradients over all places
    /// loses it.
    fn is_local(&self) -> bool {
        false
    }

    /// Whether its number, once it is resolved, is a sum of weighted class scores, whose weights are its seeds. `score` says what of a class
    /// is explained.
    fn is_linear(&self, _score: Score) -> bool {
        false
    }

    /// The same for a graph that finds it without the host; `None`: it takes a photo, or more than a graph can say.
    fn in_graph(&self) -> Option<InGraph> {
        None
    }

    /// A target whose number is how like this one the most similar thing of an image is, from 0 to 1; this one was resolved for `answer`.
    /// `None`: there is no such measure for targets of its kind.
    ///
    /// # Errors
    /// The outputs are not as they should be.
    fn likeness(&self, _answer: &Answer<'_>) -> Result<Option<TargetRef>> {
        Ok(None)
    }

    /// Its number for one image, and its seeds.
    ///
    /// # Errors
    /// It names what the model doesn't have.
    fn evaluate(&self, answer: &Answer<'_>) -> Result<Evaluated>;
}

/// A target that is shared.
pub type TargetRef = Arc<dyn Target>;

/// A model that has not seen an image yet.
pub struct Known<'a> {
    /// The model, its task recognised.
    pub network: &'a Network,
    /// The classes' names.
    pub labels: &'a Labels,
    /// The types of its values.
    pub types: &'a onnx_grad::Types,
}

impl Known<'_> {
    /// Whether there is such a class among the class scores.
    fn class(&self, class: &ClassSpec) -> Result<()> {
        match self.network.class_count(self.types) {
            Some(count) => class.resolve(&vec![0.0; count], self.labels).map(drop),
            None => Ok(()),
        }
    }
}

/// What the model says of one image.
pub struct Answer<'a> {
    /// The class scores; `None` where the model gives none.
    pub scores: Option<&'a Scores>,
    /// Where they come from.
    pub classes: Option<&'a Classes>,
    /// The classes' names.
    pub labels: &'a Labels,
    /// What the model answers, where that is known.
    pub task: Option<&'a dyn Task>,
    /// Where the network's input lies in the photo.
    pub viewport: Viewport,
    /// What of a class is explained.
    pub score: Score,
    /// A value that was listed in [`Target::reads`], as this image alone gives it: a batch of one first, where the value has a batch.
    pub output: &'a dyn Fn(&str) -> Result<ArrayD<f32>>,
    /// Such a value's shape.
    pub shape: &'a dyn Fn(&str) -> Result<Vec<usize>>,
    /// The same of the picture in a file, which is prepared as this one was.
    pub other: &'a dyn Fn(&Path, &str) -> Result<ArrayD<f32>>,
}

impl<'a> Answer<'a> {
    /// The class scores, and where they come from.
    ///
    /// # Errors
    /// The model gives none.
    pub fn class_scores(&self) -> Result<(&'a Scores, &'a Classes)> {
        self.scores.zip(self.classes).ok_or_else(|| Error::Value("the model gives no class scores".into()))
    }

    /// The detection head.
    ///
    /// # Errors
    /// The model is no detector.
    pub fn detector(&self) -> Result<&'a dyn Detector> {
        self.task.and_then(Task::detector).ok_or_else(|| Error::Value("the model gives no boxes".into()))
    }

    /// The numbers for every pixel.
    ///
    /// # Errors
    /// The model gives none.
    pub fn map(&self) -> Result<&'a Map> {
        self.task.and_then(Task::map).ok_or_else(|| Error::Value("the model gives no numbers for pixels".into()))
    }

    /// The map that gives every pixel a class.
    ///
    /// # Errors
    /// The model gives none.
    pub fn segments(&self) -> Result<&'a Map> {
        let map = self.task.and_then(Task::map).filter(|map| map.is_labelled());
        map.ok_or_else(|| Error::Value("the model gives no segments".into()))
    }

    /// The scores of characters.
    ///
    /// # Errors
    /// The model reads no text.
    pub fn reader(&self) -> Result<&'a Reader> {
        self.task.and_then(Task::reader).ok_or_else(|| Error::Value("the model reads no text".into()))
    }

    /// The embedding.
    ///
    /// # Errors
    /// The model gives none.
    pub fn embedding(&self) -> Result<&'a Embedding> {
        self.task.and_then(Task::embedding).ok_or_else(|| Error::Value("the model gives no embedding".into()))
    }
}

/// The class scores of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// One number a class.
    pub logits: Vec<f32>,
    /// One a class.
    pub probabilities: Vec<f32>,
    /// Whether classes don't exclude each other.
    pub independent: bool,
    /// Whether the logits are probabilities themselves.
    pub are_probabilities: bool,
}

impl Scores {
    /// The class scores of one image, from what the model gives. A single number speaks for one side and against the other: those are the
    /// classes 1, with the number as its logit, and 0, with its opposite.
    pub fn of(logits: Vec<f32>, classes: &Classes) -> Self {
        let (logits, independent) = match logits[..] {
            [one] => (vec![-one, one], true),
            _ => (logits, classes.independent()),
        };
        let are_probabilities = classes.head == Head::Mean;
        let probabilities = match logits[..] {
            [_, one] if are_probabilities && independent => vec![1.0 - one, one],
            _ if are_probabilities => logits.clone(),
            _ => probabilities(&logits, independent),
        };
        Self { logits, probabilities, independent, are_probabilities }
    }

    /// A number a class, as numbers of what the model gives, of this shape for one image.
    ///
    /// # Errors
    /// There is not one for each.
    pub(crate) fn as_given(shape: &[usize], of_classes: Vec<f32>) -> Result<ArrayD<f32>> {
        let given = match (shape.iter().product(), &of_classes[..]) {
            (1_usize, [against, for_it]) => vec![for_it - against],
            _ => of_classes,
        };
        ArrayD::from_shape_vec(IxDyn(shape), given).map_err(|error| Error::Value(error.to_string()))
    }
}

/// A target's number for one image.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The target as it came out for this image: for the likeliest class, that class.
    pub target: TargetRef,
    /// The number that is explained.
    pub score: f32,
    /// ∂score/∂value for each value that it reads, of that value's shape for one image.
    pub seeds: Vec<(String, ArrayD<f32>)>,
    /// A name for people: the class's label.
    pub label: Option<String>,
    /// The class, where the target is one.
    pub class: Option<ClassScore>,
    /// Where it is, and what else is known of it.
    pub place: Place,
}

/// Where a target is in an image, and what else is known of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Of a box: left, top, right, bottom in the photo's pixels.
    pub corners: Option<[f64; 4]>,
    /// The number of its class, of a target that is not the class itself; of a character its position, from 0.
    pub index: Option<usize>,
    /// How sure the model is, from 0 to 1, where it says so.
    pub probability: Option<f32>,
    /// The text that it is.
    pub text: Option<String>,
}

/// A class with its scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScore {
    /// Its number.
    pub class: usize,
    /// Its logit.
    pub logit: f32,
    /// Its probability.
    pub probability: f32,
}

/// A kind of target.
pub struct Kind {
    /// What a specification begins with.
    pub name: &'static str,
    /// How the rest is written, and what it means, in one line.
    pub about: &'static str,
    /// Whether a model has anything of the kind, or why not.
    pub fits: fn(&Network) -> Result<()>,
    /// Makes a target of what stands behind `name:`; of nothing where there is no colon.
    pub parse: fn(&str) -> Result<TargetRef, String>,
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    class::KIND,
    contrast::KIND,
    boxes::KIND,
    segment::KIND,
    pixel::KIND,
    text::KIND,
    similar::KIND,
    not::KIND,
    output::KIND,
];

/// The target of a specification, such as `class:285` or `output:depth[0,3]`.
///
/// # Errors
/// There is no such kind, or the rest is not as the kind wants it.
pub fn parse(spec: &str) -> Result<TargetRef> {
    let (name, rest) = spec.split_once(':').unwrap_or((spec, ""));
    let fail = |reason: String| Error::BadTarget { spec: spec.to_owned(), reason };
    let kind = KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        fail(format!("a target begins with one of {}, and a colon", names.join(", ")))
    })?;
    (kind.parse)(rest).map_err(fail)
}

/// Whether a specification begins with the name of a kind, and a colon.
pub fn has_kind(spec: &str) -> bool {
    spec.split_once(':').is_some_and(|(name, _)| KINDS.iter().any(|kind| kind.name == name))
}

/// What is explained where nobody says: what the model says first.
///
/// # Errors
/// Nothing is recognised, or there is nothing that could be meant: it has to be said.
pub fn default_target(network: &Network, types: &onnx_grad::Types) -> Result<TargetRef> {
    match &network.task {
        Some(recognised) => recognised.task.first(),
        None => Err(network.scores(types).err().unwrap_or_else(|| Error::Value("nothing to explain".into()))),
    }
}

/// A pixel as targets take it: `X,Y`.
fn pixel(text: &str) -> Result<(f64, f64), String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let pair = text.split_once(',').and_then(|(x, y)| number(x).zip(number(y)));
    pair.ok_or_else(|| format!("`{text}` is no pixel: two numbers X,Y, from the left and from the top"))
}
