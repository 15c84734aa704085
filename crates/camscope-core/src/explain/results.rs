//! What the steps of an explanation give.

use std::sync::Arc;

use ndarray::{Array2, ArrayD, ArrayViewD, Axis};

use crate::{
    error::{Error, Result},
    image::Seen,
    method::Sign,
    runtime::{Outputs, Value},
    target::{ClassScore, Evaluated, Place, Scores, ranking},
    task::Said,
};

/// Milliseconds that the steps took; where several images ran at once, one image's share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// From the decoded photo to the input tensor; the caller's to fill in.
    pub preprocess: f64,
    /// The forward pass, shared by all targets and layers.
    pub forward: f64,
    /// The backward pass of this target, shared by all layers.
    pub backward: f64,
    /// The method's program.
    pub method: f64,
}

/// The forward pass of some images: what every target and layer of them needs.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The class scores, one an image; empty where the model gives none.
    pub scores: Vec<Scores>,
    /// How many images there are.
    pub(super) images: usize,
    /// How many rows the run had: the images, and others that fill it up.
    pub(super) rows: usize,
    /// The input that takes the images, in the model's own type and batch size.
    pub(super) input: Value,
    /// What of its photo each image shows; empty: they are no photos.
    pub(super) seen: Vec<Seen>,
    /// The other inputs.
    pub(super) fed: Vec<(String, Value)>,
    /// Outputs, activations, and what the backward pass reads.
    pub(super) values: Outputs,
}

impl Forward {
    /// The logits of the first image, or of the only one; empty where the model gives no class scores.
    pub fn logits(&self) -> &[f32] {
        self.scores.first().map_or(&[], |scores| &scores.logits)
    }

    /// The same, with what of its photo each image shows.
    #[must_use]
    pub fn of_photos(mut self, seen: &[Seen]) -> Self {
        self.seen = seen.to_vec();
        self
    }

    /// What an input that doesn't take the images was fed.
    pub(super) fn fed(&self, name: &str) -> Option<&Value> {
        self.fed.iter().find(|(fed, _)| fed == name).map(|(_, value)| value)
    }

    /// The shape of a value, of all images of the run; `None` where the run gave none.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.values.get(name).map(Value::shape)
    }

    /// The shape of a value of one image, as [`Forward::value`] gives it.
    ///
    /// # Errors
    /// The run gave no such value.
    pub(super) fn shape_of_one(&self, name: &str) -> Result<Vec<usize>> {
        let mut shape = self.shape(name).ok_or_else(|| super::missing(name))?;
        match shape.first_mut() {
            Some(rows) if *rows == self.rows => *rows = 1,
            _ => {}
        }
        Ok(shape)
    }

    /// A value of one image, a batch of one first, where the value has a batch.
    ///
    /// # Errors
    /// The run gave no such value, or one that isn't by image.
    pub fn value(&self, name: &str, image: usize) -> Result<ArrayD<f32>> {
        let all = self.values.get(name).ok_or_else(|| super::missing(name))?.to_f32()?;
        match all.shape().first() {
            Some(1) if self.rows == 1 => Ok(all),
            Some(&rows) if rows == self.rows => Ok(all.slice_axis(Axis(0), (image..image + 1).into()).to_owned()),
            _ if self.images == 1 => Ok(all),
            _ => Err(Error::Value(format!("`{name}` has shape {:?} for {} images", all.shape(), self.rows))),
        }
    }
}

/// Some images as a run takes them: see [`Explainer::input`](super::Explainer::input). Cloning copies a reference.
#[derive(Clone, Debug)]
pub struct Input {
    pub(super) value: Value,
    /// How many there are; where the model wants more, the last one comes again.
    pub(super) images: usize,
    /// The numbers, where the model takes others than 32-bit floats: these may be rounded.
    pub(super) unrounded: Option<Arc<ArrayD<f32>>>,
}

impl Input {
    /// An image as the model takes it, a batch of one first; `None` where there are fewer.
    pub(super) fn image(&self, at: usize) -> Option<ArrayViewD<'_, f32>> {
        let shape = self.value.shape();
        let all = match &self.unrounded {
            Some(all) => all.view(),
            None => ArrayViewD::from_shape(shape, self.value.floats()?).ok()?,
        };
        (at < self.images).then(|| all.slice_axis_move(Axis(0), (at..at + 1).into()))
    }
}

/// The backward pass of some images, each with a target of its own.
#[derive(Clone, Debug)]
pub struct Backward {
    pub(super) gradients: Outputs,
}

impl Backward {
    /// Waits for a device that may still compute it, and leaves it there.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn wait(&self) -> Result<()> {
        Ok(self.gradients.wait()?)
    }
}

/// An array of one image, as it lies in what a run gave for all of its images: [`super::Explainer::read`] reads it.
#[derive(Clone, Debug)]
pub struct Held {
    pub(super) value: Value,
    /// How many channels it has, where it lies in blocks.
    pub(super) blocked: Option<usize>,
    pub(super) image: usize,
}

/// One target of one image, explained at one layer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Position in [`super::Explainer::taps`].
    pub tap: usize,
    /// What is explained.
    pub target: Explained,
    /// The heat, `[height, width]` at the layer's resolution, before normalisation; as [`Options::sign`](super::Options::sign) says after
    /// ReLU. `None` at the input for methods that look at a layer.
    pub heatmap: Option<Array2<f32>>,
    /// The extents of the heat's own axes: height and width; of a signal its length alone; of a volume or a video depth (or time), height and
    /// width, the slices lying one below the other in [`Explanation::heatmap`]. Empty where there is no heat.
    pub space: Vec<usize>,
    /// Why there is no heat anywhere, where there is none.
    pub blank: Option<Blank>,
    /// The layer's activation.
    pub activation: Held,
    /// The gradient of the score there, of the same shape. May be `None` where [`Options::gradients`](super::Options::gradients) wants
    /// none, and is for methods that need none.
    pub gradient: Option<Held>,
    /// What it took.
    pub timing: Timing,
    /// Where the heat is that of several layers: their own explanations. The activation and the gradient are then the first one's.
    pub fused: Vec<Explanation>,
    /// Of a method that looks at the input: a number an element of it, signed, of its shape, a batch of one first.
    pub attributions: Option<ArrayD<f32>>,
    /// What to know of it, in a sentence.
    pub note: Option<String>,
}

impl Explanation {
    /// The heat on its own axes: [`Explanation::heatmap`] in the shape of [`Explanation::space`].
    pub fn heat(&self) -> Option<ArrayD<f32>> {
        let heat = self.heatmap.clone()?.as_standard_layout().into_owned();
        let plane = heat.clone().into_dyn();
        Some(heat.into_shape_with_order(self.space.as_slice()).unwrap_or(plane))
    }
}

/// A target as it came out for an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// As `--target` takes it.
    pub spec: String,
    /// The name of its kind.
    pub kind: &'static str,
    /// A name for people: the class's label.
    pub label: Option<String>,
    /// The number that is explained.
    pub score: f32,
    /// The class, where the target is one.
    pub class: Option<ClassScore>,
    /// Where it is, and what else is known of it.
    pub place: Place,
}

impl Explained {
    pub(super) fn of(evaluated: &Evaluated) -> Self {
        Self {
            spec: evaluated.target.spec(),
            kind: evaluated.target.kind(),
            label: evaluated.label.clone(),
            score: evaluated.score,
            class: evaluated.class,
            place: evaluated.place.clone(),
        }
    }
}

/// Why a heatmap is blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    /// The gradient is zero everywhere: the score doesn't depend on the layer here.
    NoGradient,
    /// There is evidence, and all of it is of the other sign.
    OtherSign,
    /// There is none of either sign.
    NoEvidence,
}

impl Blank {
    /// The more is known, the higher.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::NoGradient => 0,
            Self::NoEvidence => 1,
            Self::OtherSign => 2,
        }
    }

    /// As JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoGradient => "no-gradient",
            Self::OtherSign => "other-sign",
            Self::NoEvidence => "no-evidence",
        }
    }

    /// What to tell a person.
    pub fn about(self, sign: Sign) -> &'static str {
        match (self, sign) {
            (Self::NoGradient, _) => "the score doesn't depend on this layer here: its gradient is zero everywhere",
            (Self::OtherSign, Sign::Negative) => {
                "nothing speaks against it at this layer; --sign positive shows what speaks for it"
            }
            (Self::OtherSign, _) => "no evidence for it at this layer; --sign negative shows what speaks against it",
            (Self::NoEvidence, _) => "no evidence for or against it at this layer",
        }
    }
}

/// All that one image gave.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The class scores; `None` where the model gives none.
    pub scores: Option<Scores>,
    /// A target after the other, in each the layers in order.
    pub explanations: Vec<Explanation>,
    /// What the model says, where [`Options::said`](super::Options::said) asks for it.
    pub said: Option<Said>,
}

impl Outcome {
    /// The classes' numbers, the likeliest first.
    pub fn ranking(&self) -> Vec<usize> {
        self.scores.as_ref().map(|scores| ranking(&scores.logits)).unwrap_or_default()
    }

    /// The logits; empty where the model gives no class scores.
    pub fn logits(&self) -> &[f32] {
        self.scores.as_ref().map_or(&[], |scores| &scores.logits)
    }
}
