//! Detection: boxes with classes.
//!
//! A format of heads is a file here and a row of [`FORMATS`]. It says where in the outputs each box's corners and evidence lie; choosing
//! among overlapping boxes, where the model leaves that to its caller, is done here for all.

mod centernet;
mod deployed;
mod detr;
mod emit;
mod end2end;
mod grids;
mod levels;
mod likely;
mod likeness;
mod maskformer;
mod mediapipe;
mod mmdeploy;
mod nodes;
mod origin;
mod paddle;
mod picodet;
mod retinaface;
mod scrfd;
mod ssd;
mod suppress;
mod table;
mod tensorflow;
mod torchvision;
mod ultraface;
mod yolov3;
mod yolov5;
mod yolov7;
mod yolov8;
mod yolox;
mod yunet;

use std::{fmt, ops::Range, sync::Arc};

use ndarray::ArrayD;
use onnx_grad::{Builder, Val};

use super::{Context, Element, Item, Kind, Recognised, Said, Scalar, Task, is_probability};
use crate::{
    error::{Error, Result},
    nearest::nearest,
    target::{Answer, Score, TargetRef},
};
pub use emit::{Columns, Emission, Emitted, Piece};
pub use likeness::Sought;
use origin::Origin;
pub use suppress::{overlap, suppressed, suppressed_until};
pub use table::Says;

/// Boxes that the model is less sure of are not listed.
const THRESHOLD: f32 = 0.25;

/// A detection head: where its boxes lie in the model's outputs.
pub trait Detector: fmt::Debug + Send + Sync {
    /// The values that it reads.
    fn reads(&self) -> Vec<String>;

    /// Where in these values the evidence lies; by default anywhere. The rest needs no gradient.
    fn evidence(&self) -> Vec<Lies> {
        self.reads().into_iter().map(Lies::in_all_of).collect()
    }

    /// The boxes of one image, in any order, each with its likeliest class. `value` gives a value of [`Detector::reads`], a batch of one
    /// first.
    ///
    /// # Errors
    /// The outputs are not as the format has them.
    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>>;

    /// Where the scores of all classes lie beside that of a box's own: the axis that they lie along, from the number of axes of the value that
    /// the last element of [`Detection::evidence`], as [`Detector::boxes`] gives it, lies in, and the places along it, in a row of exclusive
    /// classes those in the row. `None`: of a box's classes the head gives one.
    fn classes(&self) -> Option<ClassRow> {
        None
    }

    /// The numbers that its classes have. `None`: a run says.
    fn numbers(&self) -> Option<Range<usize>> {
        self.classes().map(|(_, row)| 0..row.len())
    }

    /// A score of some evidence with its slopes where they come from: in elements of the values of [`Detector::evidence`].
    fn traced(&self, score: Scalar, _evidence: &Evidence) -> Scalar {
        score
    }

    /// Of two boxes of a class that overlap more than this (intersection over union) the surer is kept. `None`: the model has chosen among
    /// them already.
    fn overlap(&self) -> Option<f32>;

    /// Emits what [`Detector::boxes`] reads, for a graph that chooses a box itself. `None`: where its boxes lie isn't known before it runs.
    fn emit(&self, _: &mut Emission<'_>) -> Option<Emitted> {
        None
    }

    /// The seeds of [`Detector::evidence`] that a seed of one of the values of [`Emitted::pieces`] comes to: each value with its own.
    fn emit_origins(&self, _: &mut Builder, value: &str, seed: &Val) -> Vec<(String, Val)> {
        vec![(value.to_owned(), seed.clone())]
    }
}

/// The axis that classes lie along, by the number of axes of a value, and the places along it.
pub type ClassRow = (fn(usize) -> usize, Range<usize>);

/// Where numbers lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lies {
    /// The value.
    pub value: String,
    /// Of one of its axes the range that they lie in.
    pub along: Option<(usize, Range<usize>)>,
}

impl Lies {
    /// Anywhere in a value.
    pub fn in_all_of(value: impl Into<String>) -> Self {
        Self { value: value.into(), along: None }
    }

    /// In a range of an axis.
    pub fn along(value: impl Into<String>, axis: usize, range: Range<usize>) -> Self {
        Self { value: value.into(), along: Some((axis, range)) }
    }
}

/// A box.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Left, top, right, bottom in the pixels of the network's input.
    pub corners: [f32; 4],
    /// Its class.
    pub class: usize,
    /// What speaks for it.
    pub evidence: Evidence,
}

/// What speaks for a box: the elements of the outputs that its score is computed from, each with its value.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// Probabilities, multiplied: the class's alone, or objectness × class, in this order.
    Probabilities(Vec<(Element, f32)>),
    /// Logits of independent classes: p = σ(logit). Several: their probabilities, multiplied.
    Logits(Vec<(Element, f32)>),
    /// Logits of exclusive classes, in one row: `p = softmax(row)[class]`.
    Softmax {
        /// The row, with the background where the model has one.
        row: Vec<(Element, f32)>,
        /// The place in it.
        class: usize,
    },
}

impl Evidence {
    /// A single element: a logit or a probability.
    pub fn one(element: (Element, f32), is_logit: bool) -> Self {
        Self::several(vec![element], is_logit)
    }

    /// Elements whose probabilities are multiplied: logits or probabilities.
    pub fn several(elements: Vec<(Element, f32)>, are_logits: bool) -> Self {
        if are_logits { Self::Logits(elements) } else { Self::Probabilities(elements) }
    }

    /// The elements, each with its value.
    pub fn elements(&self) -> &[(Element, f32)] {
        match self {
            Self::Probabilities(all) | Self::Logits(all) | Self::Softmax { row: all, .. } => all,
        }
    }

    /// The same elements with the values that they have in another answer.
    ///
    /// # Errors
    /// It has no such elements.
    pub fn again(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Self> {
        let read = |all: &[(Element, f32)]| -> Result<Vec<(Element, f32)>> {
            let mut values: Vec<(Arc<str>, ArrayD<f32>)> = Vec::new();
            for (element, _) in all {
                if !values.iter().any(|(name, _)| *name == element.value) {
                    values.push((Arc::clone(&element.value), value(&element.value)?));
                }
            }
            let one = |(element, _): &(Element, f32)| {
                let array = values.iter().find(|(name, _)| *name == element.value);
                let found = array.and_then(|(_, array)| array.get(element.at.as_slice()));
                let missing = || Error::Value(format!("`{}` has no element {:?}", element.value, element.at));
                found.map(|value| (element.clone(), *value)).ok_or_else(missing)
            };
            all.iter().map(one).collect()
        };
        Ok(match self {
            Self::Probabilities(all) => Self::Probabilities(read(all)?),
            Self::Logits(all) => Self::Logits(read(all)?),
            Self::Softmax { row, class } => Self::Softmax { row: read(row)?, class: *class },
        })
    }

    /// How sure the model is, from 0 to 1.
    pub fn probability(&self) -> f32 {
        match self {
            Self::Probabilities(factors) => factors.iter().map(|(_, p)| p).product(),
            Self::Logits(logits) => logits.iter().map(|(_, logit)| sigmoid(*logit)).product(),
            Self::Softmax { .. } => self.score(Score::Probability).value,
        }
    }

    /// The score: as the model gives it, a logit where it gives logits, or the probability.
    pub fn score(&self, score: Score) -> Scalar {
        match self {
            Self::Probabilities(factors) => product(factors.iter().map(|(at, p)| (at, *p, 1.0))),
            Self::Logits(logits) => match &logits[..] {
                [(at, logit)] if !is_probability(score) => Scalar { value: *logit, slopes: vec![(at.clone(), 1.0)] },
                _ => product(logits.iter().map(|(at, logit)| {
                    let p = sigmoid(*logit);
                    (at, p, p * (1.0 - p))
                })),
            },
            Self::Softmax { row, class } if is_probability(score) => {
                let logits: Vec<f32> = row.iter().map(|(_, logit)| *logit).collect();
                let p = crate::target::probabilities(&logits, false);
                let own = p.get(*class).copied().unwrap_or(0.0);
                let slope = |at: usize| own * (f32::from(u8::from(at == *class)) - p[at]);
                let slopes = row.iter().enumerate().map(|(at, (element, _))| (element.clone(), slope(at))).collect();
                Scalar { value: own, slopes }
            }
            Self::Softmax { row, class } => row
                .get(*class)
                .map(|(at, logit)| Scalar { value: *logit, slopes: vec![(at.clone(), 1.0)] })
                .unwrap_or_default(),
        }
    }
}

/// The product of numbers, each with the derivative of the number by its element.
fn product<'a>(factors: impl Iterator<Item = (&'a Element, f32, f32)> + Clone) -> Scalar {
    let value = factors.clone().map(|(_, p, _)| p).product();
    let others = |at: usize| {
        factors.clone().enumerate().filter(move |(other, _)| *other != at).map(|(_, (_, p, _))| p).product::<f32>()
    };
    let slopes =
        factors.clone().enumerate().map(|(at, (element, _, slope))| (element.clone(), slope * others(at))).collect();
    Scalar { value, slopes }
}

/// The logistic function.
pub fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// A head, and what it was recognised by.
pub type Found = (Arc<dyn Detector>, String);

/// A format of detection heads.
pub struct Format {
    /// Its name, as `format` in the sidecar's `[task]` has it.
    pub name: &'static str,
    /// The families of models that have it, in a line.
    pub about: &'static str,
    /// The head, where the outputs look like it, and what they were recognised by. With [`Context::settings`] naming the format, its shape
    /// is enough.
    pub recognise: fn(&Context<'_>) -> Option<Found>,
}

/// Every format; the first that is recognised counts, so the stricter come first.
pub const FORMATS: &[Format] = &[
    tensorflow::FORMAT,
    paddle::FORMAT,
    deployed::FORMAT,
    detr::FORMAT,
    detr::INDEPENDENT,
    maskformer::FORMAT,
    mmdeploy::FORMAT,
    yolov3::FORMAT,
    end2end::FORMAT,
    yolov7::FORMAT,
    torchvision::FORMAT,
    centernet::FORMAT,
    centernet::FACES,
    yunet::FORMAT,
    scrfd::FORMAT,
    mediapipe::FORMAT,
    retinaface::FORMAT,
    ultraface::FORMAT,
    picodet::FORMAT,
    picodet::JOINED,
    yolov8::FORMAT,
    yolov5::FORMAT,
    yolox::FORMAT,
    ssd::FORMAT,
];

pub(super) fn recognise(context: &Context<'_>) -> Option<Recognised> {
    let wanted = |format: &&Format| context.settings.format.as_ref().is_none_or(|said| said == format.name);
    let (format, (head, by)) = FORMATS
        .iter()
        .filter(wanted)
        .find_map(|format| (format.recognise)(context).map(|found| (format.name, found)))?;
    let settings = context.settings;
    let threshold = settings.threshold.unwrap_or(THRESHOLD);
    let overlap = head.overlap().map(|own| settings.overlap.unwrap_or(own));
    let evidence = head.evidence().iter().map(|lies| (lies.value.as_str().into(), origin::of(context, lies))).collect();
    Some(Recognised::new(Detecting { head, format, threshold, overlap, size: context.size, evidence }, by))
}

/// The names of formats like one that there isn't; all of them where none is like it.
pub fn formats_like(name: &str) -> Vec<String> {
    let known = || FORMATS.iter().map(|format| format.name);
    let like = nearest(name, known());
    if like.is_empty() { known().map(str::to_owned).collect() } else { like }
}

/// A detection head, with what the sidecar says of it.
#[derive(Debug)]
struct Detecting {
    head: Arc<dyn Detector>,
    format: &'static str,
    threshold: f32,
    overlap: Option<f32>,
    /// Height and width of the network's input.
    size: [usize; 2],
    /// The values that hold evidence, each with where it comes from.
    evidence: Vec<(Arc<str>, Origin)>,
}

impl Detecting {
    /// The values that evidence comes from.
    fn origins(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.evidence.iter().flat_map(|(_, origin)| origin.values()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

impl Detector for Detecting {
    fn reads(&self) -> Vec<String> {
        let mut names = self.head.reads();
        names.extend(self.origins().into_iter().filter(|name| !self.head.reads().contains(name)));
        names
    }

    fn evidence(&self) -> Vec<Lies> {
        self.origins().into_iter().map(Lies::in_all_of).collect()
    }

    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
        let mut found = self.head.boxes(value)?;
        likely::check(&found, self.format)?;
        if self.head.overlap().is_some() {
            likely::enlarge(&mut found, self.size);
        }
        Ok(found)
    }

    fn classes(&self) -> Option<ClassRow> {
        self.head.classes()
    }

    fn numbers(&self) -> Option<Range<usize>> {
        self.head.numbers()
    }

    fn traced(&self, score: Scalar, evidence: &Evidence) -> Scalar {
        let traced = |(element, slope): (Element, f32)| {
            let known = self.evidence.iter().find(|(name, _)| *name == element.value);
            let Some((origin, is_squashed)) = known.and_then(|(_, origin)| origin.element(element.at.clone())) else {
                return (element, slope);
            };
            // p = σ(x): dp/dx = p (1 − p).
            let number = || evidence.elements().iter().find(|(own, _)| *own == element).map_or(f32::NAN, |(_, p)| *p);
            let slope = if is_squashed { slope * number() * (1.0 - number()) } else { slope };
            (origin, slope)
        };
        Scalar { slopes: score.slopes.into_iter().map(traced).collect(), ..score }
    }

    fn overlap(&self) -> Option<f32> {
        self.overlap
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        self.head.emit(to)
    }

    fn emit_origins(&self, g: &mut Builder, value: &str, seed: &Val) -> Vec<(String, Val)> {
        match self.evidence.iter().find(|(name, _)| **name == *value) {
            Some((_, origin)) => origin.seeds(g, seed),
            None => vec![(value.to_owned(), seed.clone())],
        }
    }
}

impl Task for Detecting {
    fn kind(&self) -> Kind {
        Kind::Detection
    }

    fn format(&self) -> Option<&'static str> {
        Some(self.format)
    }

    fn reads(&self) -> Vec<String> {
        Detector::reads(self)
    }

    fn slopes(&self) -> Vec<String> {
        self.origins()
    }

    fn predict(&self, answer: &Answer<'_>) -> Result<Said> {
        let found = suppressed(self, answer.output)?;
        let sure = found.iter().enumerate().take_while(|(_, found)| found.evidence.probability() >= self.threshold);
        let item = |(at, found): (usize, &Detection)| Item {
            target: format!("box:{}", at + 1),
            class: Some(found.class),
            label: answer.labels.get(found.class).map(str::to_owned),
            score: found.evidence.score(answer.score).value,
            probability: Some(found.evidence.probability()),
            corners: Some(answer.viewport.corners(found.corners)),
            ..Item::default()
        };
        Ok(Said { items: sure.map(item).collect(), ..Said::default() })
    }

    fn first(&self) -> Result<TargetRef> {
        crate::target::parse("box:1")
    }

    fn detector(&self) -> Option<&dyn Detector> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(at: usize) -> Element {
        Element { value: "y".into(), at: vec![0, at] }
    }

    /// What it comes to where its elements have these values.
    fn with(evidence: &Evidence, values: &[f32]) -> Evidence {
        let set = |all: &[(Element, f32)]| all.iter().map(|(e, _)| (e.clone(), values[e.at[1]])).collect();
        match evidence {
            Evidence::Probabilities(all) => Evidence::Probabilities(set(all)),
            Evidence::Logits(all) => Evidence::Logits(set(all)),
            Evidence::Softmax { row, class } => Evidence::Softmax { row: set(row), class: *class },
        }
    }

    #[test]
    fn slopes_are_derivatives() {
        let values = [0.7, 0.4, -0.3];
        let all = |count: usize| (0..count).map(|at| (element(at), values[at])).collect::<Vec<_>>();
        for evidence in [
            Evidence::Probabilities(all(1)),
            Evidence::Probabilities(all(2)),
            Evidence::Logits(all(1)),
            Evidence::Logits(all(3)),
            Evidence::Softmax { row: all(3), class: 1 },
        ] {
            for score in [Score::Logit, Score::Probability] {
                let found = evidence.score(score);
                for (at, slope) in &found.slopes {
                    let step = |by: f32| {
                        let mut moved = values;
                        moved[at.at[1]] += by;
                        with(&evidence, &moved).score(score).value
                    };
                    let expected = (step(1e-2) - step(-1e-2)) / 2e-2;
                    assert!((slope - expected).abs() < 1e-3, "{evidence:?} {score:?}: {slope} {expected}");
                }
            }
        }
    }
}
