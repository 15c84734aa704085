//! Complexity: how concise a heatmap is. The model is not asked.

use ndarray::ArrayView2;

use super::{Better, Measured, Metric, Number, Settings, Trial};
use crate::error::Result;

/// The entropy of each pixel's share of the heat, in nats, from 0 (one pixel) to ln(pixels) (Bhatt et al., "Evaluating and Aggregating
/// Feature-based Model Explanations", 2020, section 3.3). `None` of a blank map.
pub fn entropy(map: ArrayView2<'_, f32>) -> Option<f64> {
    let sum: f64 = map.iter().map(|value| f64::from(value.abs())).sum();
    let of = |value: &f32| {
        let share = f64::from(value.abs()) / sum;
        if share > 0.0 { -share * share.ln() } else { 0.0 }
    };
    (sum > 0.0).then(|| map.iter().map(of).sum())
}

/// The Gini index of the heat, from 0 (all pixels alike) to 1 (one pixel): Chalasani et al., "Concise Explanations of Neural Networks using
/// Adversarial Training", 2020, section 4. `None` of a blank map.
pub fn gini(map: ArrayView2<'_, f32>) -> Option<f64> {
    let mut sorted: Vec<f32> = map.iter().map(|value| value.abs()).collect();
    sorted.sort_by(f32::total_cmp);
    let count = sorted.len() as f64;
    let sum: f64 = sorted.iter().map(|value| f64::from(*value)).sum();
    let weighted =
        sorted.iter().enumerate().map(|(at, value)| (2.0 * (at as f64 + 1.0) - count - 1.0) * f64::from(*value));
    (sum > 0.0).then(|| weighted.sum::<f64>() / (count * sum))
}

/// Entropy and Gini index.
pub(super) struct Complexity;

impl Metric for Complexity {
    fn name(&self) -> &'static str {
        "complexity"
    }

    fn numbers(&self) -> &'static [Number] {
        &[
            Number {
                name: "entropy",
                about: "entropy of each pixel's share of the heat, in nats: how widely it is spread (Bhatt et al. 2020)",
                better: Better::Lower,
            },
            Number {
                name: "gini",
                about: "Gini index of the heat, from 0 to 1: how much lies in few pixels (Chalasani et al. 2020)",
                better: Better::Higher,
            },
        ]
    }

    fn passes(&self, _: &Settings, _: f64) -> f64 {
        0.0
    }

    fn measure(&self, trial: &mut Trial<'_>) -> Result<Measured> {
        Ok(vec![entropy(trial.map), gini(trial.map)].into())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn one_pixel_is_concise_and_a_flat_map_is_not() {
        let flat = array![[0.5f32, 0.5], [0.5, 0.5]];
        assert!((entropy(flat.view()).unwrap() - 4f64.ln()).abs() < 1e-9 && gini(flat.view()).unwrap().abs() < 1e-9);
        let one = array![[0.0f32, 0.0], [0.0, 0.2]];
        assert_eq!((entropy(one.view()), gini(one.view())), (Some(0.0), Some(0.75)));
        let blank = array![[0.0f32]];
        assert_eq!((entropy(blank.view()), gini(blank.view())), (None, None));
    }
}
