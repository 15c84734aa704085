//! The share of the heat that lies on the target.

use ndarray::ArrayView2;

use super::{Better, Measured, Metric, Number, Settings, Trial};
use crate::error::Result;

/// The share of the heat within (Wang et al., "Score-CAM", 2020, section 4.3, the energy-based pointing game; Quantus'
/// `RelevanceMassAccuracy`). 0 of a blank map.
pub fn share(map: ArrayView2<'_, f32>, within: ArrayView2<'_, bool>) -> f64 {
    let all: f64 = map.iter().map(|value| f64::from(*value)).sum();
    let inside = map.iter().zip(within).filter(|(_, within)| **within);
    let inside: f64 = inside.map(|(value, _)| f64::from(*value)).sum();
    if all > 0.0 { inside / all } else { 0.0 }
}

/// [`share`].
pub(super) struct Inside;

impl Metric for Inside {
    fn name(&self) -> &'static str {
        "inside"
    }

    fn numbers(&self) -> &'static [Number] {
        &[Number {
            name: "inside",
            about: "share of the heat that lies on the target (Wang et al. 2020)",
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
        Ok(vec![trial.truth.map(|within| share(trial.map, within))].into())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn half_of_the_heat_is_a_half() {
        let within = array![[true, false]];
        assert_eq!(share(array![[0.5, 0.5]].view(), within.view()), 0.5);
        assert_eq!(share(array![[0.0, 0.0]].view(), within.view()), 0.0);
    }
}
