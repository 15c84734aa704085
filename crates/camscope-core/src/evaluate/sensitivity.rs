//! Max-sensitivity: how much the heatmap changes where the picture hardly does.

use ndarray::{Array2, Array3, ArrayView2};

use super::{Asked, Better, Measured, Metric, Number, Settings, Trial};
use crate::{error::Result, method::Random};

/// How far pixels of a disturbed picture are from their own at most, in standard deviations of the picture's numbers.
pub const RADIUS: f32 = 0.02;

/// The largest ‖after − before‖ / ‖before‖ (Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", 2019, definition 3.1; Captum's
/// `sensitivity_max`). A blank map counts as if its norm were 1, as there.
pub fn largest_change(before: ArrayView2<'_, f32>, after: &[Array2<f32>]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let own = match norm(&mut before.iter().map(|value| f64::from(*value))) {
        0.0 => 1.0,
        norm => norm,
    };
    let change = |after: &Array2<f32>| {
        norm(&mut after.iter().zip(before).map(|(after, before)| f64::from(*after) - f64::from(*before))) / own
    };
    after.iter().map(change).fold(0.0, f64::max)
}

/// The picture with noise spread evenly over ±[`RADIUS`] standard deviations.
pub fn disturbed(asked: &Asked<'_>, seed: u64) -> Array3<f32> {
    let (radius, mut random) = (RADIUS * asked.deviation(), Random::new(seed));
    asked.picture().mapv(|value| value + radius * (2.0 * random.even() - 1.0) as f32)
}

/// [`largest_change`] of some disturbed pictures.
pub(super) struct MaxSensitivity;

impl Metric for MaxSensitivity {
    fn name(&self) -> &'static str {
        "sensitivity"
    }

    fn numbers(&self) -> &'static [Number] {
        &[Number {
            name: "max_sensitivity",
            about: "largest relative change of the heatmap where the picture is disturbed a little (Yeh et al. 2019)",
            better: Better::Lower,
        }]
    }

    fn passes(&self, settings: &Settings, explaining: f64) -> f64 {
        settings.disturbed as f64 * explaining
    }

    fn measure(&self, trial: &mut Trial<'_>) -> Result<Measured> {
        let after = (trial.disturbed)()?;
        Ok(vec![Some(largest_change(trial.heat, &after))].into())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_largest_change_counts() {
        let before = array![[3.0f32, 4.0]];
        assert_eq!(largest_change(before.view(), &[array![[3.0, 4.5]], array![[3.0, 3.0]]]), 0.2);
        assert_eq!(largest_change(array![[0.0f32]].view(), &[array![[2.0]]]), 2.0);
    }
}
