//! Grad-CAM of what tells a class from those most like it.

use super::{
    Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Seeds, Trial},
    whole,
};
use crate::{
    error::{Error, Result},
    target::{Evaluated, Scores},
};

/// Finer-CAM (Zhang et al., "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation", 2025), as pytorch-grad-cam has it:
/// Grad-CAM of Σ p_k (z − α z_k) / Σ p_k over the classes k whose scores are nearest to the class's own, z; p is the softmax of the scores,
/// and is differentiated too.
pub(super) struct FinerCam;

impl HostMethod for FinerCam {
    fn name(&self) -> &'static str {
        "finercam"
    }

    fn about(&self) -> &'static str {
        "Grad-CAM of the difference from the classes with the nearest scores (Zhang et al. 2025)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter { name: "alpha", default: 1.0, about: "how much of the other classes is taken away, 0 is none" },
            Parameter { name: "classes", default: 3.0, about: "how many other classes, those with the nearest scores" },
        ]
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, gradient: true, ..Needs::NONE }
    }

    fn keeps_places(&self) -> bool {
        false
    }

    fn is_of_class(&self) -> bool {
        true
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        1.1
    }

    fn seeds(&self, evaluated: &Evaluated, logits: Option<&[f32]>, parameters: &Parameters) -> Result<Option<Seeds>> {
        let count = whole(self.name(), "classes", parameters.get("classes"))?;
        let (Some(class), Some(logits), [(name, seed)]) = (evaluated.class, logits, &evaluated.seeds[..]) else {
            return Err(Error::NeedsClass { method: self.name(), target: evaluated.target.spec() });
        };
        let own = finer(logits, class.class, count, parameters.get("alpha"));
        let own = Scores::as_given(seed.shape(), own)?;
        Ok(Some(vec![(name.clone(), own)]))
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let weights = super::means(trial.layer_gradient()?);
        Ok(super::weighted_on_host(&weights, trial.layer()?).into())
    }
}

/// The derivative of Σ p_k (z − α z_k) / (Σ p_k + 1e-9) by each logit.
fn finer(logits: &[f32], class: usize, count: usize, alpha: f64) -> Vec<f32> {
    let z: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = z.iter().map(|z| (z - most).exp()).sum();
    let p: Vec<f64> = z.iter().map(|z| (z - most).exp() / sum).collect();
    let mut others: Vec<usize> = (0..z.len()).filter(|&k| k != class).collect();
    others.sort_by(|&a, &b| (z[a] - z[class]).abs().total_cmp(&(z[b] - z[class]).abs()));
    others.truncate(count);
    let apart = |k: usize| z[class] - alpha * z[k];
    let above: f64 = others.iter().map(|&k| p[k] * apart(k)).sum();
    let weight: f64 = others.iter().map(|&k| p[k]).sum();
    let below = weight + 1e-9;
    let slope = |j: usize| {
        let is_other = others.contains(&j);
        let of_above = p[j] * (if is_other { apart(j) - alpha } else { 0.0 } - above);
        let of_above = of_above + if j == class { weight } else { 0.0 };
        let of_below = p[j] * (if is_other { 1.0 } else { 0.0 } - weight);
        of_above / below - above * of_below / (below * below)
    };
    let mut slopes: Vec<f64> = (0..z.len()).map(slope).collect();
    leave_out_traces(&mut slopes, |j| j == class || others.contains(&j));
    slopes.into_iter().map(|slope| slope as f32).collect()
}

/// The quotient hardly depends on the other classes: by 1e-9 of their probabilities. Where all of that lies below the rounding of float32 it
/// is 0, and the classifier's rows for a few classes are read instead of all.
fn leave_out_traces(slopes: &mut [f64], is_named: impl Fn(usize) -> bool) {
    let largest = slopes.iter().fold(0.0f64, |largest, slope| largest.max(slope.abs()));
    let traces = |slopes: &[f64]| -> f64 {
        slopes.iter().enumerate().filter(|(j, _)| !is_named(*j)).map(|(_, slope)| slope.abs()).sum()
    };
    if traces(slopes) < 0.1 * f64::from(f32::EPSILON) * largest {
        slopes.iter_mut().enumerate().filter(|(j, _)| !is_named(*j)).for_each(|(_, slope)| *slope = 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number itself, with the same other classes.
    fn number(z: &[f64], class: usize, others: &[usize], alpha: f64) -> f64 {
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        let p = |k: usize| z[k].exp() / sum;
        let above: f64 = others.iter().map(|&k| p(k) * (z[class] - alpha * z[k])).sum();
        above / (others.iter().map(|&k| p(k)).sum::<f64>() + 1e-9)
    }

    #[test]
    fn seeds_are_the_derivative_of_the_weighted_difference() {
        let z = [1.0, 0.3, -0.4, 1.4, 0.9, -2.0];
        let logits: Vec<f32> = z.iter().map(|z| *z as f32).collect();
        for alpha in [0.0, 0.6, 1.0] {
            let found = finer(&logits, 0, 3, alpha);
            for (j, found) in found.iter().enumerate() {
                let at = |by: f64| {
                    let mut moved = z;
                    moved[j] += by;
                    number(&moved, 0, &[4, 3, 1], alpha)
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((slope - f64::from(*found)).abs() < 1e-5, "{j}: {slope} {found}");
            }
        }
        // With two classes there is one other; with one there is nothing to tell apart.
        assert!(finer(&[1.0, 2.0], 1, 3, 1.0).iter().all(|seed| seed.is_finite()));
        assert_eq!(finer(&[1.0], 0, 3, 1.0), [0.0]);
    }
}
