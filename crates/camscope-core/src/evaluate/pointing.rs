//! The pointing game: whether the hottest pixel lies on the target.

use ndarray::ArrayView2;

use super::{Better, Measured, Metric, Number, Settings, Trial};
use crate::error::Result;

/// Whether one of the hottest pixels lies within (Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016, section 4.2, without
/// its tolerance of 15 pixels; Quantus' `PointingGame`). A blank map points nowhere.
pub fn hits(map: ArrayView2<'_, f32>, within: ArrayView2<'_, bool>) -> bool {
    let hottest = map.iter().fold(0.0f32, |hottest, value| hottest.max(*value));
    hottest > 0.0 && map.iter().zip(within).any(|(value, within)| *within && *value == hottest)
}

/// [`hits`].
pub(super) struct PointingGame;

impl Metric for PointingGame {
    fn name(&self) -> &'static str {
        "pointing"
    }

    fn numbers(&self) -> &'static [Number] {
        &[Number {
            name: "pointing",
            about: "share of the pictures whose hottest pixel lies on the target (Zhang et al. 2016)",
            better: Better::Higher,
        }]
    }

    fn passes(&self, _: &Settings, _: f64) -> f64 {
        0.0
    }

    fn needs_truth(&self) -> bool {
        true
    }

    fn measure(&self, trial: &mut Trial<'_>) -> Result<Measured> {
        let hit = |within| if hits(trial.map, within) { 1.0 } else { 0.0 };
        Ok(vec![trial.truth.map(hit)].into())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_hottest_pixel_has_to_lie_within() {
        let within = array![[true, false], [false, false]];
        assert!(hits(array![[1.0, 0.5], [0.0, 1.0]].view(), within.view()));
        assert!(!hits(array![[0.9, 1.0], [0.0, 0.0]].view(), within.view()));
        assert!(!hits(array![[0.0, 0.0], [0.0, 0.0]].view(), within.view()));
    }
}
