//! The model file, and what is known about it: which input takes the image, how a photo becomes that input, and what its classes are called.

mod embedded;
mod foreign;
mod given;
mod labels;
mod network;
mod preprocessing;
mod sidecar;

pub use given::Given;
pub use labels::Labels;
pub use network::{Classes, Head, Input, Network};
pub(crate) use network::{axes, unit_norm};
pub use preprocessing::{Color, Crop, Filter, Layout, Preprocessing, Source};
pub use sidecar::{Sidecar, resolve, resolve_given};
