//! Methods that change a layer and run only what lies behind it.

use ndarray::{Array2, Array4, Axis, s};

use super::{
    Means, Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Trial},
};
use crate::error::Result;

/// Ablation-CAM (Desai and Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
/// 2020): w_c = (y − y without channel c) / |y| (equation 2, whose y is positive). A channel is left out by setting it to 0, as in the paper. pytorch-grad-cam takes a
/// number far below all others where the layer has negative values, which no longer means "without".
pub(super) struct AblationCam;

impl HostMethod for AblationCam {
    fn name(&self) -> &'static str {
        "ablationcam"
    }

    fn about(&self) -> &'static str {
        "feature maps weighted by how far the score falls without each (Desai and Ramaswamy 2020); no gradient"
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, tail: true, ..Needs::default() }
    }

    fn weighs_channels(&self) -> bool {
        true
    }

    fn passes(&self, _: &Parameters, channels: usize) -> f64 {
        1.0 + channels as f64
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let layer = trial.layer()?.to_owned();
        let (channels, height, width) = layer.dim();
        if let Some((score, pooled)) = &mut trial.pooled {
            let weights = falls(*score, pooled(&Means::WithoutEach)?);
            return trial.weighed(&weights);
        }
        trial.work.plan(1 + channels);
        let as_is = layer.view().insert_axis(Axis(0));
        let score = (trial.tail)(as_is)?.first().copied().unwrap_or(0.0);
        let mut without = Vec::with_capacity(channels);
        while without.len() < channels {
            let count = trial.batch.max(1).min(channels - without.len());
            let mut some = Array4::zeros((count, channels, height, width));
            for (at, mut own) in some.outer_iter_mut().enumerate() {
                own.assign(&layer);
                own.index_axis_mut(Axis(0), without.len() + at).fill(0.0);
            }
            without.extend((trial.tail)(some.view())?);
        }
        trial.weighed(&falls(score, without))
    }
}

/// The share of a score that is lost without each channel: of its size, so that a channel which speaks for the target counts for it where the score is
/// negative, too. Of a score of 0 no share can be taken: then what is lost itself.
fn falls(score: f32, without: Vec<f32>) -> Vec<f32> {
    let fall = |without: f32| if score == 0.0 { score - without } else { (score - without) / score.abs() };
    without.into_iter().map(fall).collect()
}

/// ReciproCAM (Byun and Lee, "Recipro-CAM: Fast gradient-free visual explanations for convolutional neural networks", 2022): the score of the
/// layer with all but a Gaussian spot around one place set to 0, place by place.
pub(super) struct ReciproCam;

impl HostMethod for ReciproCam {
    fn name(&self) -> &'static str {
        "recipro-cam"
    }

    fn about(&self) -> &'static str {
        "the score of each place of the layer by itself (Byun and Lee 2022); no gradient"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter {
            name: "gaussian",
            default: 1.0,
            about: "1: a Gaussian spot of 3 × 3 places, as in the paper; 0: one place",
        }]
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, tail: true, ..Needs::default() }
    }

    fn needs_plane(&self) -> bool {
        true
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        // A number of places; the last layers of usual networks have 49.
        49.0
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        // Of deviation 1, without normalisation: 1 in the middle would be the score of all of the place's activation.
        const SPOT: [[f32; 3]; 3] = [
            [1.0 / 16.0, 1.0 / 8.0, 1.0 / 16.0],
            [1.0 / 8.0, 1.0 / 4.0, 1.0 / 8.0],
            [1.0 / 16.0, 1.0 / 8.0, 1.0 / 16.0],
        ];
        let layer = trial.layer()?.to_owned();
        let (channels, height, width) = layer.dim();
        let places = height * width;
        let spread = parameters.get("gaussian") != 0.0;
        // What is left of a place's neighbours, and of the place itself.
        let spot = |place: usize| {
            let cells = (0..3).flat_map(|row| (0..3).map(move |column| (row, column)));
            cells.filter_map(move |(row, column)| {
                let weight = if spread { SPOT[row][column] } else { f32::from(u8::from((row, column) == (1, 1))) };
                let y = (place / width + row).checked_sub(1).filter(|y| *y < height)?;
                let x = (place % width + column).checked_sub(1).filter(|x| *x < width)?;
                (weight > 0.0).then_some((y, x, weight))
            })
        };
        let mut scores = Vec::with_capacity(places);
        if let Some((_, pooled)) = &mut trial.pooled {
            let mut means = Array2::<f32>::zeros((places, channels));
            for (place, mut own) in means.outer_iter_mut().enumerate() {
                for (y, x, weight) in spot(place) {
                    own.scaled_add(weight / places as f32, &layer.slice(s![.., y, x]));
                }
            }
            scores = pooled(&Means::Each(means))?;
        } else {
            trial.work.plan(places);
        }
        while scores.len() < places {
            let count = trial.batch.max(1).min(places - scores.len());
            let mut some = Array4::<f32>::zeros((count, channels, height, width));
            for (at, mut own) in some.outer_iter_mut().enumerate() {
                for (y, x, weight) in spot(scores.len() + at) {
                    own.slice_mut(s![.., y, x]).scaled_add(weight, &layer.slice(s![.., y, x]));
                }
            }
            scores.extend((trial.tail)(some.view())?);
        }
        // The paper scales to 0..=1: what the least place gives is what no place is worth.
        let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
        let heat: Vec<f32> = scores.into_iter().map(|score| score - least).collect();
        Ok(Array2::from_shape_vec((height, width), heat).unwrap_or_default().into())
    }
}
