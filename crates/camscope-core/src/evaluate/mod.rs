//! How good a heatmap is: the picture is changed where the heatmap says that it matters, and the model is asked again.
//!
//! A metric is a file here and a row of [`METRICS`]. It gets a [`Trial`]: one picture, one target and one heatmap; what it needs of the model it
//! asks through [`Asked`], many changed pictures a run. [`Evaluator`] goes through all metrics for all heatmaps of a picture.
//! [`road::combined`] alone is what ranks layers and methods.

mod asked;
mod changes;
mod impute;
mod order;

pub mod deletion;
pub mod insertion;
pub mod road;

pub use asked::{Asked, Confidence};
pub use changes::Curve;
pub use impute::{Imputer, impute};

/// Which numbers of a metric are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Large ones.
    Higher,
    /// Small ones.
    Lower,
}

/// A number that a metric gives.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// Its name in tables and in JSON.
    pub name: &'static str,
    /// What it says, in one line.
    pub about: &'static str,
    /// Which ones are good.
    pub better: Better,
}
