//! From a file to the tensor a network expects: decode, turn upright, resize, crop, normalise. And an image to a file.

mod bands;
mod decode;
mod deep;
mod encode;
mod frames;
mod geometry;
mod jpeg;
mod prepare;
mod resample;
pub(crate) mod sniff;
mod tiff_extra;

pub use decode::{MAX_BYTES, MAX_PIXELS, Photo};
pub use encode::write_png;
pub use geometry::{Placement, Seen, Viewport, within_photo};
pub use prepare::{Fitted, Prepared, fit, prepare};
