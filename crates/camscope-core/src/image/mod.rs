//! From a file to the tensor a network expects: decode, turn upright, resize, crop, normalise.

mod decode;
mod geometry;
mod jpeg;
mod prepare;
mod resample;
mod sniff;
mod tiff_extra;

pub use decode::{MAX_BYTES, MAX_PIXELS, Photo};
pub use geometry::{Placement, Seen};
pub use prepare::{Fitted, Prepared, fit, prepare};
