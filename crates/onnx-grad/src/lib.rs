//! Differentiates ONNX graphs into ONNX graphs: reverse-mode gradients as standard ONNX nodes.
//!
//! A trained model in an `.onnx` file can be run everywhere, but only forward. This crate writes the backward pass as more ONNX
//! nodes, so that any runtime that runs the model computes its gradients too, with no training framework.
//!
//! ```no_run
//! use onnx_grad::{Model, Request, Types, differentiate};
//!
//! # fn main() -> onnx_grad::Result<()> {
//! let model = Model::read("model.onnx".as_ref())?;
//! // What the file doesn't state about its values' types comes from the caller: see `Types`.
//! let types = Types::stated(model.graph());
//! let request = Request { outputs: &["logits"], wrt: &["input"], types: &types };
//! let gradient = differentiate(&model, &request)?;
//! // Run `forward`, feed its saved outputs and `seed.logits` to `backward`, read `grad.input`; or run both as one:
//! gradient.fuse()?.write("gradient.onnx".as_ref())?;
//! # Ok(()) }
//! ```
//!
//! - [`differentiate`] splits the result into a forward and a backward graph, since a new seed (another class) needs only the
//!   second; [`Gradient::fuse`] joins them.
//! - A *seed* is the gradient of whatever is explained at the model's outputs: `seed.NAME` is an input of the backward graph.
//! - [`registry`] lists the operators with a rule. A node without one on the way is an error that names it and every other such
//!   node; a gradient is never silently zero.
//! - Operators of other domains take rules from elsewhere: see [`ForeignRules`] and [`differentiate_with`].
//! - Where a maximum is reached more than once, gradients follow PyTorch: see [`rules`].
//! - `If`, `Loop` and `Scan` are taken apart first, where what they do is known: see [`unroll`].
//! - Models older than opset 18 are upgraded first (see [`upgrade`]); the emitted nodes are of the standard domain alone.

pub mod attr;
mod broadcast;
mod builder;
mod differentiate;
mod error;
pub mod float32;
mod flow;
mod foreign;
pub mod graph;
mod model;
mod narrow;
mod partition;
pub mod proto;
pub mod quantised;
mod recognise;
pub mod registry;
pub mod rules;
mod tensor;
mod types;
pub mod unroll;
pub mod upgrade;
mod vjp;

pub use builder::{Builder, EMITTED_OPSET, Val};
pub use differentiate::{Gradient, Request, differentiate, differentiate_with};
pub use error::{Error, Obstacle, Result};
pub use foreign::{ForeignNode, ForeignRules, NoForeignRules, check_function};
pub use model::{Model, NEWEST_OPSET, OLDEST_OPSET};
pub use registry::{Grad, Unsupported};
pub use types::{Dim, ElemType, Types, ValueType, value_info};
pub use vjp::{Vjp, place};
