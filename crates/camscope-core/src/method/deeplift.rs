//! Differences from a baseline, followed back through the network.

use onnx_grad::swap::{RESCALE, Swap};

use super::{
    Needs, Parameter, Parameters,
    baseline::{self, baseline},
    host::{Heat, HostMethod, Trial},
};
use crate::error::Result;

/// DeepLIFT by the rescale rule (Shrikumar et al. 2017), as Captum's `DeepLift` has it: see [`onnx_grad::swap::RESCALE`].
pub(super) struct DeepLift;

impl HostMethod for DeepLift {
    fn name(&self) -> &'static str {
        "deeplift"
    }

    fn about(&self) -> &'static str {
        "the difference from a baseline, divided among the pixels by the rescale rule (Shrikumar et al. 2017)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[baseline::PARAMETER]
    }

    fn needs(&self) -> Needs {
        Needs { slope: true, pairs: true, ..Needs::NONE }
    }

    fn swap(&self) -> Option<&'static Swap> {
        Some(&RESCALE)
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        5.0
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let image = trial.image.to_owned();
        let from = baseline(self.name(), trial, parameters)?;
        let way = &image - &from;
        let (scores, multipliers) = (trial.slope)(super::together(vec![image, from])?)?;
        let own = multipliers.slice_axis(ndarray::Axis(0), (0..1).into());
        let attributions = way * own;
        let rise = f64::from(scores[0]) - scores.get(1).map_or(0.0, |score| f64::from(*score));
        let total: f64 = attributions.iter().map(|part| f64::from(*part)).sum();
        let note = baseline::adds_up(total, rise);
        Ok(Heat { note: Some(note), ..trial.summed(attributions) })
    }
}
