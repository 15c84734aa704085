//! Grad-CAM++ of noisy images.

use ndarray::{Array3, Zip};

use super::{
    Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Trial},
    random::Random,
    whole,
};
use crate::error::Result;

/// Smooth Grad-CAM++ (Omeiza et al., "Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep Convolutional Neural Network
/// Models", 2019), as TorchCAM has it: Grad-CAM++'s weights from the mean square and cube of the gradients at the layer over noisy images. The
/// gradient that they weigh is that of the last noisy image, as there.
pub(super) struct SmoothGradCamPlusPlus;

impl HostMethod for SmoothGradCamPlusPlus {
    fn name(&self) -> &'static str {
        "smoothgrad-cam++"
    }

    fn about(&self) -> &'static str {
        "Grad-CAM++ with gradients of noisy images (Omeiza et al. 2019)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            Parameter { name: "samples", default: 4.0, about: "noisy images" },
            Parameter {
                name: "noise",
                default: 0.3,
                about: "standard deviation of the noise, in the units of the model's input",
            },
        ]
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, gradient: true, ..Needs::NONE }
    }

    fn keeps_places(&self) -> bool {
        false
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        1.1 + 2.2 * parameters.get("samples")
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let samples = whole(self.name(), "samples", parameters.get("samples"))?;
        let deviation = parameters.get("noise");
        let mut random = Random::new(trial.seed);
        let activation = trial.layer()?.mapv(f64::from);
        let mut squares = Array3::<f64>::zeros(activation.raw_dim());
        let (mut cubes, mut last) = (squares.clone(), squares.clone());
        trial.work.plan(samples);
        let mut done = 0;
        while done < samples {
            let count = trial.batch.max(1).min(samples - done);
            let noisy: Vec<_> =
                (0..count).map(|_| trial.image.mapv(|value| value + (deviation * random.normal()) as f32)).collect();
            let gradients = (trial.at_layer)(super::together(noisy)?)?;
            for gradient in gradients.outer_iter() {
                last = gradient.mapv(f64::from);
                Zip::from(&mut squares).and(&mut cubes).and(&last).for_each(|square, cube, slope| {
                    *square += slope.powi(2) / samples as f64;
                    *cube += slope.powi(3) / samples as f64;
                });
            }
            done += count;
        }
        let channels = squares.outer_iter().zip(cubes.outer_iter()).zip(last.outer_iter().zip(activation.outer_iter()));
        let weights: Vec<f64> = channels
            .map(|((squares, cubes), (last, activation))| {
                let sum: f64 = cubes.iter().zip(&activation).map(|(cube, value)| cube * value).sum();
                let share = |square: f64| square / (2.0 * square + sum + 1e-8);
                squares.iter().zip(&last).map(|(square, slope)| share(*square) * slope.max(0.0)).sum()
            })
            .map(|weight: f64| if weight.is_finite() { weight } else { 0.0 })
            .collect();
        Ok(super::weighted_on_host(&weights, trial.layer()?).into())
    }
}
