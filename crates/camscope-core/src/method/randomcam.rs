//! Random-CAM: a baseline that ignores the target.

use super::{
    Needs, Parameters,
    host::{Heat, HostMethod, Trial},
    random::Random,
};
use crate::error::Result;

/// Σ_c w_c A_c with w_c drawn evenly from −1 to 1, as pytorch-grad-cam has it: what any method has to beat.
pub(super) struct RandomCam;

impl HostMethod for RandomCam {
    fn name(&self) -> &'static str {
        "randomcam"
    }

    fn about(&self) -> &'static str {
        "feature maps weighted at random: a baseline that any method has to beat (pytorch-grad-cam); no gradient"
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, ..Needs::default() }
    }

    fn is_of_target(&self) -> bool {
        false
    }

    fn weighs_channels(&self) -> bool {
        true
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        1.0
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let mut random = Random::new(trial.seed);
        let weights: Vec<f32> = trial.layer()?.outer_iter().map(|_| (2.0 * random.even() - 1.0) as f32).collect();
        trial.weighed(&weights)
    }
}
