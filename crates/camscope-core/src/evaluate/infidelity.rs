//! Infidelity: whether the heat of what is taken away says how much the confidence falls.

use ndarray::{Array2, ArrayView2};

use super::{Asked, Better, Measured, Metric, Number, Settings, Trial};
use crate::{error::Result, method::Random};

/// The mean square of β · heat − fall over some changes of a picture, where `heat` is the sum of the map over what is changed, `fall` how much
/// the confidence falls, and β the factor that makes the result the least: a map has no unit (Yeh et al., "On the (In)fidelity and Sensitivity
/// of Explanations", 2019, definition 2.1; Captum's `infidelity` with `normalize=True`).
pub fn mean_square(heat: &[f64], fall: &[f64]) -> f64 {
    let along = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let power = along(heat, heat);
    let factor = if power > 0.0 { along(heat, fall) / power } else { 0.0 };
    let squares = heat.iter().zip(fall).map(|(heat, fall)| (factor * heat - fall).powi(2));
    squares.sum::<f64>() / heat.len().max(1) as f64
}

/// The infidelity of a map in the picture's pixels, where what each of `masks` has becomes `fill`, one number a channel.
///
/// # Errors
/// The runtime fails, or the work was cancelled.
pub fn infidelity(asked: &Asked<'_>, map: ArrayView2<'_, f32>, masks: &[Array2<bool>], fill: &[f32]) -> Result<f64> {
    let after = asked.confidences(masks.len(), &|at| {
        let mut changed = asked.picture().to_owned();
        for (mut channel, fill) in changed.outer_iter_mut().zip(fill) {
            for (value, _) in channel.iter_mut().zip(&masks[at]).filter(|(_, is_changed)| **is_changed) {
                *value = *fill;
            }
        }
        changed
    })?;
    let fall: Vec<f64> = after.iter().map(|after| f64::from(asked.confidence()) - f64::from(*after)).collect();
    let within = |mask: &Array2<bool>| {
        let pixels = map.iter().zip(mask).filter(|(_, is_changed)| **is_changed);
        pixels.map(|(heat, _)| f64::from(*heat)).sum::<f64>() / map.len().max(1) as f64
    };
    let heat: Vec<f64> = masks.iter().map(within).collect();
    Ok(mean_square(&heat, &fall))
}

/// Squares anywhere in a picture, of an eighth to a half of its shorter side.
pub fn squares([height, width]: [usize; 2], count: usize, seed: u64) -> Vec<Array2<bool>> {
    let mut random = Random::new(seed);
    let mut below = |bound: usize| ((random.even() * bound as f64) as usize).min(bound.saturating_sub(1));
    let shorter = height.min(width);
    let mut square = || {
        let least = (shorter / 8).max(1);
        let side = least + below((shorter / 2).saturating_sub(least) + 1);
        let (top, left) = (below(height - side + 1), below(width - side + 1));
        Array2::from_shape_fn((height, width), |(y, x)| {
            (top..top + side).contains(&y) && (left..left + side).contains(&x)
        })
    };
    (0..count).map(|_| square()).collect()
}

/// [`infidelity`] of random squares that become grey.
pub(super) struct Infidelity;

impl Metric for Infidelity {
    fn name(&self) -> &'static str {
        "infidelity"
    }

    fn numbers(&self) -> &'static [Number] {
        &[Number {
            name: "infidelity",
            about: "mean square by which the heat of greyed squares fails to tell the fall of the confidence (Yeh et al. 2019)",
            better: Better::Lower,
        }]
    }

    fn passes(&self, settings: &Settings, _: f64) -> f64 {
        settings.squares as f64
    }

    fn measure(&self, trial: &mut Trial<'_>) -> Result<Measured> {
        let masks = squares(trial.asked.size(), trial.settings.squares, trial.settings.seed);
        let found = infidelity(trial.asked, trial.map, &masks, &trial.asked.grey())?;
        Ok(vec![Some(found)].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_that_tells_the_fall_by_any_factor_is_faithful() {
        assert!(mean_square(&[1.0, 2.0, 3.0], &[0.1, 0.2, 0.3]) < 1e-18);
        assert_eq!(mean_square(&[0.0, 0.0], &[1.0, 3.0]), 5.0);
    }

    #[test]
    fn squares_lie_within_and_have_their_sizes() {
        for mask in squares([40, 64], 50, 3) {
            let side = (mask.iter().filter(|changed| **changed).count() as f64).sqrt();
            assert!((5.0..=20.0).contains(&side) && side.fract() == 0.0, "{side}");
        }
        assert_eq!(squares([1, 1], 1, 0)[0], Array2::from_elem((1, 1), true));
    }
}
