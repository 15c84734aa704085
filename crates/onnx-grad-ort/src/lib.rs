#![doc = include_str!("../README.md")]

#[doc(hidden)]
pub mod blocked;
#[doc(hidden)]
pub mod cpu_features;
mod differentiable;
pub mod error;
mod kernels;
pub mod measure;
pub mod passes;
pub mod probe;
pub mod rules;
pub mod runtime;
#[doc(hidden)]
pub mod text;

pub use differentiable::{Differentiable, Forward, Gradients, Wanted};
pub use error::{Error, Result};
pub use runtime::{Canceller, ElemType, Runtime, SessionOptions, ToValue, Value};

pub use ndarray;
pub use onnx_grad;
