//! The model file, and what is known about it: which input takes the picture, how a photo becomes its input, and what its classes are called.

mod embedded;
mod foreign;
mod given;
mod labels;
mod network;
mod preprocessing;
mod sidecar;

pub use given::Given;
pub use labels::Labels;
pub use network::{Head, Input, Network, check_scores, score_count};
pub use preprocessing::{Color, Crop, Filter, Layout, Preprocessing, Source};
pub use sidecar::{Sidecar, resolve, resolve_given};
