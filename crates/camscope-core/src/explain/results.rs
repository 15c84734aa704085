//! What the steps of an explanation give.

use ndarray::Array2;

use crate::{
    runtime::{ElemType, Outputs, Value},
    target::ranking,
};

/// Milliseconds that the steps took; where several pictures ran at once, one picture's share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// From the decoded photo to the input tensor; the caller's to fill in.
    pub preprocess: f64,
    /// The forward pass, shared by all classes and layers.
    pub forward: f64,
    /// The backward pass of this class, shared by all layers.
    pub backward: f64,
    /// The method's program.
    pub method: f64,
}

/// What the model says of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// One number a class.
    pub logits: Vec<f32>,
    /// One a class.
    pub probabilities: Vec<f32>,
}

/// The forward pass of some pictures: what every class and layer of them needs.
#[derive(Clone, Debug)]
pub struct Forward {
    /// One a picture; never empty.
    pub scores: Vec<Scores>,
    /// The input, in the model's own type and batch size.
    pub(super) input: Value,
    /// Activations, and what the backward pass reads.
    pub(super) values: Outputs,
    /// Of the logits.
    pub(super) shape: Vec<usize>,
    pub(super) elem: ElemType,
}

impl Forward {
    /// The logits of the first picture, or of the only one.
    pub fn logits(&self) -> &[f32] {
        self.scores.first().map_or(&[], |scores| &scores.logits)
    }
}

/// The backward pass of some pictures, each with a class of its own.
#[derive(Clone, Debug)]
pub struct Backward {
    /// The classes' numbers, one a picture.
    pub classes: Vec<usize>,
    pub(super) gradients: Outputs,
}

/// An array of one picture, as it lies in what a run gave for all of its pictures: [`super::Explainer::read`] reads it.
#[derive(Clone, Debug)]
pub struct Held {
    pub(super) value: Value,
    /// How many channels it has, where it lies in blocks.
    pub(super) blocked: Option<usize>,
    pub(super) picture: usize,
}

/// One class of one picture, explained at one layer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Position in [`super::Explainer::taps`].
    pub tap: usize,
    /// The class's number.
    pub class: usize,
    /// Its logit.
    pub logit: f32,
    /// Its probability.
    pub probability: f32,
    /// The heat, `[height, width]` at the layer's resolution, after ReLU, before normalisation. `None` at the input.
    pub heatmap: Option<Array2<f32>>,
    /// The layer's activation.
    pub activation: Held,
    /// The gradient of the score there, of the same shape. May be `None` where [`Options::gradients`](super::Options::gradients) wants
    /// none.
    pub gradient: Option<Held>,
    /// What it took.
    pub timing: Timing,
}

/// All that one picture gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// One number a class.
    pub logits: Vec<f32>,
    /// One a class.
    pub probabilities: Vec<f32>,
    /// A class after the other, in each the layers in order.
    pub explanations: Vec<Explanation>,
}

impl Outcome {
    /// The classes' numbers, the likeliest first.
    pub fn ranking(&self) -> Vec<usize> {
        ranking(&self.logits)
    }
}
