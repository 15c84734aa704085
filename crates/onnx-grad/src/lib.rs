#![doc = include_str!("../README.md")]
//!
//! ## The parts
//!
//! - [`differentiate`] returns a forward and a backward graph, since a new seed (another class) needs only the second;
//!   [`Gradient::fuse`] joins them.
//! - A *seed* is the upstream gradient at an output of the model: `seed.NAME` is an input of the backward graph.
//! - [`registry`] lists the operators with a rule. Nodes without one on the way are an error that names all of them; a gradient is
//!   never silently zero.
//! - For operators of other domains the caller brings rules: see [`ForeignRules`] and [`differentiate_with`].
//! - Where a maximum is reached more than once, gradients follow PyTorch: see [`rules`].
//! - `If`, `Loop` and `Scan` are unrolled first, where their condition or trip count is known: see [`unroll`].
//! - Models older than opset 18 are upgraded first (see [`upgrade`]). Emitted nodes belong to the standard domain.
//! - [`proto`] has ONNX's messages, declared for [`prost`]; tensor bytes are [`bytes::Bytes`]. Both crates are re-exported.

mod attention_written_out;
pub mod attr;
mod broadcast;
mod builder;
mod differentiate;
mod error;
pub mod float16;
pub mod float32;
mod flow;
mod foreign;
pub mod graph;
mod model;
mod narrow;
pub mod ops;
mod partition;
pub mod proto;
pub mod quantised;
mod recognise;
pub mod registry;
pub mod rules;
mod sound;
pub mod swap;
mod tensor;
mod types;
pub mod unroll;
pub mod upgrade;
mod vjp;

pub use {bytes, prost};

pub use attention_written_out::with_attention_written_out;

pub use builder::{Builder, EMITTED_OPSET, Val};
pub use differentiate::{Gradient, Request, differentiate, differentiate_again, differentiate_with};
pub use error::{Error, Result, UnsupportedNode};
pub use foreign::{ForeignNode, ForeignRules, NoForeignRules, call_function, check_body, check_function};
pub use model::{MOST_BYTES, Model, NEWEST_OPSET, OLDEST_OPSET};
pub use recognise::activation_steps;
pub use registry::{Grad, Unsupported};
pub use types::{Dim, ElemType, Types, ValueType, value_info};
pub use vjp::{Vjp, place, room};
