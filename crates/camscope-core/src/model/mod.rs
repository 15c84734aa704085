//! The model file, and what is known about it: which input takes the image, how a photo becomes that input, and what its classes are called.

mod embedded;
mod fed;
mod foreign;
mod given;
mod inside;
mod labels;
mod network;
mod picture;
mod preprocessing;
mod shown;
mod sidecar;
mod sizes;
mod sizing;

pub use given::Given;
pub use labels::Labels;
pub use network::{Classes, Head, Input, Network};
pub(crate) use network::{axes, unit_norm};
pub use preprocessing::{Color, Crop, Filter, Layout, Preprocessing, Source};
pub use sidecar::{Sidecar, resolve, resolve_given};
pub use sizing::Sizing;
