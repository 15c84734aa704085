//! Guided backpropagation where Grad-CAM has heat.

use ndarray::ArrayD;

use super::{
    Needs, Parameters,
    host::{Heat, HostMethod, Trial},
};
use crate::{error::Result, model::Layout};

/// Guided Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017), as Captum has it:
/// guided backpropagation times the positive part of Grad-CAM's heat, enlarged by repeating its pixels.
pub(super) struct GuidedGradCam;

impl HostMethod for GuidedGradCam {
    fn name(&self) -> &'static str {
        "guided-gradcam"
    }

    fn about(&self) -> &'static str {
        "guided backpropagation where Grad-CAM has heat (Selvaraju et al. 2017)"
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, gradient: true, slope: true, guided: true, ..Needs::NONE }
    }

    fn keeps_places(&self) -> bool {
        false
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        4.5
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let weights = super::means(trial.layer_gradient()?);
        let coarse = super::weighted_on_host(&weights, trial.layer()?).mapv_into(|heat| heat.max(0.0));
        let mut guided: ArrayD<f32> = (trial.slope)(trial.image.to_owned())?.1;
        let (rows, columns) = coarse.dim();
        let [height, width] = trial.size();
        let layout = trial.layout;
        for (place, value) in guided.indexed_iter_mut() {
            let (y, x) = match layout {
                Layout::Nchw => (place[2], place[3]),
                Layout::Nhwc => (place[1], place[2]),
            };
            *value *= coarse[[y * rows / height, x * columns / width]];
        }
        Ok(trial.summed(guided))
    }
}
