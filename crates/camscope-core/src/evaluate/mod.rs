//! How good a heatmap is: the picture is changed where the heatmap says that it matters, and the model is asked again.
//!
//! A metric is a file here and a row of [`METRICS`]. It gets a [`Trial`]: one picture, one target and one heatmap; what it needs of the model it
//! asks through [`Asked`], many changed pictures a run. [`Evaluator`] goes through all metrics for all heatmaps of a picture.
//! [`road::combined`] alone is what ranks layers and methods.

mod asked;
mod changes;
mod evaluator;
mod impute;
mod order;

pub mod complexity;
pub mod confidence;
pub mod deletion;
pub mod infidelity;
pub mod insertion;
pub mod inside;
pub mod pointing;
pub mod road;
pub mod sanity;
pub mod sensitivity;
pub mod similarity;
pub mod truth;

use ndarray::{Array2, ArrayView2};

pub use asked::{Asked, Confidence};
pub use changes::Curve;
pub use evaluator::{Cost, Evaluated, Evaluator, Where, about};
pub use impute::{Imputer, impute};

use crate::error::{Error, Result};

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

/// A way to say how good a heatmap is.
pub trait Metric: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The numbers that it gives.
    fn numbers(&self) -> &'static [Number];

    /// About how many forward passes it takes for one heatmap, where explaining a picture takes as long as `explaining` of them.
    fn passes(&self, settings: &Settings, explaining: f64) -> f64;

    /// Whether it needs to be told where things are.
    fn needs_truth(&self) -> bool {
        false
    }

    /// The numbers, in the order of [`Metric::numbers`], of one heatmap.
    ///
    /// # Errors
    /// The runtime fails, or the work was cancelled.
    fn measure(&self, trial: &mut Trial<'_>) -> Result<Measured>;
}

/// Every metric.
pub const METRICS: &[&dyn Metric] = &[
    &deletion::Deletion,
    &insertion::Insertion,
    &road::RemoveAndDebias,
    &confidence::Change,
    &complexity::Complexity,
    &infidelity::Infidelity,
    &sensitivity::MaxSensitivity,
    &pointing::PointingGame,
    &inside::Inside,
];

/// The metric of that name.
///
/// # Errors
/// There is none; the error lists them.
pub fn by_name(name: &str) -> Result<&'static dyn Metric> {
    let found = METRICS.iter().find(|metric| metric.name().eq_ignore_ascii_case(name)).copied();
    found.ok_or_else(|| Error::UnknownMetric {
        name: name.to_owned(),
        known: METRICS.iter().map(|metric| metric.name()).collect(),
    })
}

/// How much metrics do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Steps of the curves of deletion and insertion.
    pub steps: usize,
    /// Forward passes of ROAD.
    pub road: usize,
    /// Squares that infidelity greys out.
    pub squares: usize,
    /// Disturbed pictures that max-sensitivity explains.
    pub disturbed: usize,
    /// Where random numbers start.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { steps: 32, road: 18, squares: 32, disturbed: 10, seed: 0 }
    }
}

/// One heatmap of one picture, and whom to ask.
pub struct Trial<'a> {
    /// The picture, the target, and the model's answers.
    pub asked: &'a Asked<'a>,
    /// The heatmap as the method gives it, at the layer's resolution.
    pub heat: ArrayView2<'a, f32>,
    /// The same in the picture's pixels, from 0 to 1: [`Asked::enlarged`].
    pub map: ArrayView2<'a, f32>,
    /// How much to do.
    pub settings: &'a Settings,
    /// Where the target is, in the picture's pixels, where that is known.
    pub truth: Option<ArrayView2<'a, bool>>,
    /// The heatmaps, by the same method at the same layer, of the slightly disturbed picture.
    pub disturbed: &'a mut dyn FnMut() -> Result<Vec<Array2<f32>>>,
}

/// What a metric gave.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// A number each; `None`: there is none for this heatmap.
    pub values: Vec<Option<f64>>,
    /// The curves that they stand on.
    pub curves: Vec<Curve>,
}

impl From<Vec<Option<f64>>> for Measured {
    fn from(values: Vec<Option<f64>>) -> Self {
        Self { values, curves: Vec::new() }
    }
}

/// Mean and standard deviation of numbers, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of a sample (n − 1); 0 of one number.
    pub deviation: f64,
    /// How many there are.
    pub count: usize,
}

impl Spread {
    /// Of these; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count.max(1) as f64;
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let deviation = if count > 1 { (square / (count - 1) as f64).sqrt() } else { 0.0 };
        (count > 0).then_some(Self { mean, deviation, count })
    }
}

/// A [`Spread`] of numbers that come one after the other and are not kept (Welford, "Note on a method for calculating corrected sums of squares
/// and products", 1962).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    count: usize,
    mean: f64,
    square: f64,
}

impl Running {
    /// Adds a number.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.square += before * (value - self.mean);
    }

    /// Of those so far; `None` of none.
    pub fn spread(&self) -> Option<Spread> {
        let deviation = if self.count > 1 { (self.square / (self.count - 1) as f64).sqrt() } else { 0.0 };
        (self.count > 0).then_some(Spread { mean: self.mean, deviation, count: self.count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_that_of_a_sample() {
        let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!((spread.mean - 2.5).abs() < 1e-12 && (spread.deviation - 1.290_994_448_735_805_6).abs() < 1e-12);
        assert_eq!(Spread::of(&[3.0]), Some(Spread { mean: 3.0, deviation: 0.0, count: 1 }));
        assert_eq!(Spread::of(&[]), None);
        let mut running = Running::default();
        assert_eq!(running.spread(), None);
        [1.0, 2.0, 3.0, 4.0].into_iter().for_each(|value| running.add(value));
        let running = running.spread().unwrap();
        assert_eq!((running.mean, running.count), (spread.mean, spread.count));
        assert!((running.deviation - spread.deviation).abs() < 1e-12);
    }

    #[test]
    fn every_number_has_a_name_of_its_own() {
        let mut names: Vec<&str> =
            METRICS.iter().flat_map(|metric| metric.numbers()).map(|number| number.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(by_name("ROAD").is_ok());
        assert!(by_name("roar").is_err_and(|error| error.to_string().contains("roar")));
    }
}
