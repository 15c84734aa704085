//! From a photo and an ONNX model to a heatmap and an image.

pub mod bench;
pub mod check;
pub mod compare;
mod differentiable_layers;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod factors;
pub mod image;
pub mod layer;
pub mod layer_ranges;
pub mod method;
pub mod model;
pub mod nearest;
mod numbers;
pub mod overlay;
pub mod random;
pub mod rank;
pub mod subject;
pub mod target;
pub mod task;

pub use error::{Error, Result};
pub use onnx_grad_ort::{Error as EngineError, probe, rules, runtime, text};
