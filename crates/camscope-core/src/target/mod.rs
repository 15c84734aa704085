//! Targets: what of the model's outputs is explained, as a seed for the backward pass.

mod class;

pub use class::{ClassSpec, Score, probabilities, ranking};
