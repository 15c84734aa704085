//! Two models on the same picture: which layers match, how alike their heat is, and where their activations drift apart.
//!
//! The models may be a float network and its integers, two checkpoints, or the same network from two exporters. Each prepares pictures in
//! its own way, so heat is compared where both see the photo, on the photo's own grid.

mod drift;
mod heat;
mod matching;
mod prepared;
mod same_target;
mod similarity;

pub use drift::{Activations, DRIFTED, Entry, FirstDrift, JUMP, MeanErrors, error_text, first_drift, relative_error};
pub use heat::{Compared, GRID, compare, compare_arrays};
pub use matching::{By, Matched, matching};
pub use prepared::prepare_alike;
pub use same_target::{same_class, same_place, same_spec, same_target};
pub use similarity::{Similarity, cosine, rank_correlation, similarity};
