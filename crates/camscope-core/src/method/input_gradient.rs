//! Methods over the gradient at the input. Their attributions have the input's own shape; the heat is their sum over the channels.

use ndarray::{ArrayD, Zip};

use super::{
    Needs, Parameter, Parameters,
    baseline::{self, baseline},
    host::{Heat, HostMethod, Trial},
    random::Random,
    whole,
};
use crate::error::Result;

const SLOPE: Needs = Needs { slope: true, ..Needs::NONE };

/// The gradient at one image.
fn slope_at(trial: &mut Trial<'_>, image: ArrayD<f32>) -> Result<ArrayD<f32>> {
    Ok((trial.slope)(image)?.1)
}

/// The image with Gaussian noise, whose deviation is a share of the image's range.
fn noisy(image: &ArrayD<f32>, share: f64, random: &mut Random) -> ArrayD<f32> {
    let (least, most) = image.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    let deviation = share * f64::from(most - least);
    image.mapv(|value| value + (deviation * random.normal()) as f32)
}

const NOISE: &[Parameter] = &[
    Parameter { name: "samples", default: 50.0, about: "noisy images" },
    Parameter {
        name: "noise",
        default: 0.15,
        about: "standard deviation of the noise, as a share of the image's range",
    },
];

/// |∂score/∂x| (Simonyan et al., "Deep Inside Convolutional Networks", 2014).
pub(super) struct Saliency;

impl HostMethod for Saliency {
    fn name(&self) -> &'static str {
        "saliency"
    }

    fn about(&self) -> &'static str {
        "the size of the gradient at the input (Simonyan et al. 2014)"
    }

    fn needs(&self) -> Needs {
        SLOPE
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        2.5
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let slope = slope_at(trial, trial.image.to_owned())?;
        Ok(trial.summed(slope.mapv_into(f32::abs)))
    }
}

/// x ⊙ ∂score/∂x (Shrikumar et al., "Not Just a Black Box", 2016).
pub(super) struct InputTimesGradient;

impl HostMethod for InputTimesGradient {
    fn name(&self) -> &'static str {
        "input-x-gradient"
    }

    fn about(&self) -> &'static str {
        "the input times the gradient there (Shrikumar et al. 2016)"
    }

    fn needs(&self) -> Needs {
        SLOPE
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        2.5
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let slope = slope_at(trial, trial.image.to_owned())?;
        Ok(trial.summed(slope * &trial.image))
    }
}

/// The mean gradient of noisy images (Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017, equation 1).
pub(super) struct SmoothGrad;

impl HostMethod for SmoothGrad {
    fn name(&self) -> &'static str {
        "smoothgrad"
    }

    fn about(&self) -> &'static str {
        "the mean gradient at the input over noisy images (Smilkov et al. 2017)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        NOISE
    }

    fn needs(&self) -> Needs {
        SLOPE
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        2.5 * parameters.get("samples")
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let (mean, _) = moments(self.name(), trial, parameters)?;
        Ok(trial.summed(mean))
    }
}

/// The variance of the gradients of noisy images (Adebayo et al., "Local Explanation Methods for Deep Neural Networks Lack Sensitivity to
/// Parameter Values", 2018).
pub(super) struct VarGrad;

impl HostMethod for VarGrad {
    fn name(&self) -> &'static str {
        "vargrad"
    }

    fn about(&self) -> &'static str {
        "the variance of the gradient at the input over noisy images (Adebayo et al. 2018)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        NOISE
    }

    fn needs(&self) -> Needs {
        SLOPE
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        2.5 * parameters.get("samples")
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let (_, variance) = moments(self.name(), trial, parameters)?;
        Ok(trial.summed(variance))
    }
}

/// Mean and variance of the gradients of noisy images.
fn moments(name: &'static str, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<(ArrayD<f32>, ArrayD<f32>)> {
    let samples = whole(name, "samples", parameters.get("samples"))?;
    let share = parameters.get("noise");
    let image = trial.image.to_owned();
    let mut random = Random::new(trial.seed);
    let mut sum = ArrayD::<f64>::zeros(image.raw_dim());
    let mut squares = sum.clone();
    trial.slopes(samples, &mut |_| noisy(&image, share, &mut random), &mut |_, _, slope| {
        Zip::from(&mut sum).and(&mut squares).and(&slope).for_each(|sum, squares, slope| {
            *sum += f64::from(*slope);
            *squares += f64::from(*slope).powi(2);
        });
    })?;
    let count = samples as f64;
    let variance = Zip::from(&sum).and(&squares).map_collect(|sum, squares| {
        let mean = sum / count;
        (squares / count - mean * mean).max(0.0) as f32
    });
    Ok((sum.mapv(|sum| (sum / count) as f32), variance))
}

/// (x − x₀) ⊙ ∫ ∂score/∂x along the line from the baseline x₀ (Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017), by
/// Gauss and Legendre's rule, as Captum has it.
pub(super) struct IntegratedGradients;

impl HostMethod for IntegratedGradients {
    fn name(&self) -> &'static str {
        "integrated-gradients"
    }

    fn about(&self) -> &'static str {
        "gradients at the input summed along the way from a baseline (Sundararajan et al. 2017)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter { name: "steps", default: 50.0, about: "gradients along the way" }, baseline::PARAMETER]
    }

    fn needs(&self) -> Needs {
        SLOPE
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        2.5 * parameters.get("steps")
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let steps = whole(self.name(), "steps", parameters.get("steps"))?;
        let image = trial.image.to_owned();
        let from = baseline(self.name(), trial, parameters)?;
        let way = &image - &from;
        let rule = legendre(steps);
        let mut sum = ArrayD::<f64>::zeros(image.raw_dim());
        trial.slopes(steps, &mut |at| &from + &(&way * rule[at].0 as f32), &mut |at, _, slope| {
            sum.zip_mut_with(&slope, |sum, slope| *sum += rule[at].1 * f64::from(*slope));
        })?;
        let attributions = Zip::from(&sum).and(&way).map_collect(|sum, way| (sum * f64::from(*way)) as f32);
        let ends = trial.scores(2, &mut |at| if at == 0 { from.clone() } else { image.clone() })?;
        let (rise, total) = (f64::from(ends[1] - ends[0]), attributions.iter().map(|a| f64::from(*a)).sum::<f64>());
        let note = baseline::adds_up(total, rise);
        Ok(Heat { note: Some(note), ..trial.summed(attributions) })
    }
}

/// Gauss and Legendre's rule on 0..=1: places and weights. Newton's method on the polynomial of degree `count`.
fn legendre(count: usize) -> Vec<(f64, f64)> {
    let n = count as f64;
    let rule = |at: usize| {
        let mut x = (std::f64::consts::PI * (at as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..100 {
            let (mut last, mut value) = (1.0, x);
            for degree in 2..=count {
                let k = degree as f64;
                (last, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * last) / k);
            }
            slope = n * (x * value - last) / (x * x - 1.0);
            let step = value / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        ((1.0 - x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..count).map(rule).collect()
}

/// The mean of (x − x₀) ⊙ ∂score/∂x at random places between baseline and noisy image (Lundberg and Lee, "A Unified Approach to Interpreting
/// Model Predictions", 2017), as Captum's `GradientShap` has it.
pub(super) struct GradientShap;

impl HostMethod for GradientShap {
    fn name(&self) -> &'static str {
        "gradient-shap"
    }

    fn about(&self) -> &'static str {
        "gradients at random places between a baseline and noisy images (Lundberg and Lee 2017)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter { name: "samples", default: 50.0, about: "random places" },
            Parameter {
                name: "noise",
                default: 0.09,
                about: "standard deviation of the noise, as a share of the image's range",
            },
            baseline::PARAMETER,
        ]
    }

    fn needs(&self) -> Needs {
        SLOPE
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        2.5 * parameters.get("samples")
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let samples = whole(self.name(), "samples", parameters.get("samples"))?;
        let share = parameters.get("noise");
        let image = trial.image.to_owned();
        let from = baseline(self.name(), trial, parameters)?;
        let mut random = Random::new(trial.seed);
        let mut ends: Vec<ArrayD<f32>> = Vec::with_capacity(samples);
        let mut sum = ArrayD::<f64>::zeros(image.raw_dim());
        let ends = std::cell::RefCell::new(&mut ends);
        trial.slopes(
            samples,
            &mut |_| {
                let end = noisy(&image, share, &mut random);
                let place = random.even() as f32;
                let between = &from * (1.0 - place) + &(&end * place);
                ends.borrow_mut().push(end);
                between
            },
            &mut |at, _, slope| {
                let way = &ends.borrow()[at] - &from;
                Zip::from(&mut sum).and(&way).and(&slope).for_each(|sum, way, slope| *sum += f64::from(way * slope));
            },
        )?;
        Ok(trial.summed(sum.mapv(|sum| (sum / samples as f64) as f32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_exact_for_polynomials() {
        for count in [1, 2, 5, 50] {
            let rule = legendre(count);
            for power in 0..(2 * count).min(8) as i32 {
                let sum: f64 = rule.iter().map(|(x, weight)| weight * x.powi(power)).sum();
                assert!((sum - 1.0 / f64::from(power + 1)).abs() < 1e-12, "{count} {power}: {sum}");
            }
            assert!(rule.iter().all(|(x, weight)| (0.0..=1.0).contains(x) && *weight > 0.0));
        }
    }
}
