//! From a photo and an ONNX model to a heatmap and a picture.

pub mod bench;
pub mod check;
pub mod error;
mod everywhere;
pub mod explain;
pub mod image;
mod instructions;
mod kernels;
pub mod layer;
pub mod method;
pub mod model;
pub mod nearest;
pub mod overlay;
mod passes;
pub mod probe;
pub mod random;
pub mod rules;
pub mod runtime;
pub mod subject;
pub mod target;
pub mod text;

pub use error::{Error, Result};
