//! The model file, and what is known about it: which input takes the image, how a photo becomes that input, and what its classes are called.

mod array;
pub(crate) mod carried;
mod class_scores;
mod embedded;
pub(crate) mod features;
mod fed;
mod foreign;
mod given;
mod inside;
mod labels;
mod mixed;
mod network;
mod picture;
pub(crate) mod plain_row;
mod preprocessing;
mod shown;
mod sidecar;
mod sizes;
mod sizing;
mod unbatched;
mod unlike;
#[cfg(test)]
mod written;

pub use array::{channel_axis, channels_second, read_array, unusual_axes};
pub(crate) use array::{in_plane, off_plane, space};
pub(crate) use class_scores::{is_of_rows, unit_norm};
pub use given::Given;
pub use labels::Labels;
pub(crate) use mixed::probabilities;
pub(crate) use network::axes;
pub use network::{Classes, Head, Input, Network};
pub use preprocessing::{Color, Crop, Filter, Layout, Preprocessing, Source};
pub use sidecar::{Sidecar, resolve, resolve_given, said_picture};
pub use sizing::Sizing;
