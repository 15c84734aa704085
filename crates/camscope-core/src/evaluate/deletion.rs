//! Deletion: the most relevant pixels are greyed out first.

use ndarray::{Array3, ArrayView2, Axis};

use super::{
    Asked, Better, Curve, Measured, Metric, Number, Settings, Trial, changes::curve, order::most_relevant_first,
};
use crate::error::Result;

/// The area under the curve of [`deletion`], pixels becoming middle grey.
pub(super) struct Deletion;

impl Metric for Deletion {
    fn name(&self) -> &'static str {
        "deletion"
    }

    fn numbers(&self) -> &'static [Number] {
        &[Number {
            name: "deletion",
            about: "mean confidence while the most relevant pixels are greyed out (Petsiuk et al. 2018)",
            better: Better::Lower,
        }]
    }

    fn passes(&self, settings: &Settings, _: f64) -> f64 {
        settings.steps as f64
    }

    fn measure(&self, trial: &mut Trial<'_>) -> Result<Measured> {
        let curve = deletion(trial.asked, trial.map, trial.settings.steps, &trial.asked.grey())?;
        Ok(Measured { values: vec![curve.area()], curves: vec![curve] })
    }
}

/// The confidence while the most relevant pixels are greyed out, in `steps` steps (Petsiuk et al., "RISE", 2018, section 4.3): the better
/// the map, the faster it falls. `map` is of the picture's height and width, `fill` what pixels become, one a channel.
///
/// # Errors
/// The runtime fails, or the work was cancelled.
pub fn deletion(asked: &Asked<'_>, map: ArrayView2<'_, f32>, steps: usize, fill: &[f32]) -> Result<Curve> {
    let mut blank = Array3::zeros(asked.picture().raw_dim());
    for (mut channel, fill) in blank.axis_iter_mut(Axis(0)).zip(fill) {
        channel.fill(*fill);
    }
    let places = most_relevant_first(map);
    let ends = [Some(asked.confidence()), None];
    curve(asked, "deletion", (asked.picture(), blank.view()), &places, steps, ends)
}
