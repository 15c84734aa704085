//! Grad-CAM with a second derivative.

use super::{
    Needs, Parameters,
    host::{Heat, HostMethod, Trial},
};
use crate::error::Result;

/// ShapleyCAM (Cai, "CAMs as Shapley Value-based Explainers", 2025), as pytorch-grad-cam has it: channels are weighted by the mean of
/// g − ½ H a, where H is the Hessian of the score at the layer, times the activation a.
pub(super) struct ShapleyCam;

impl HostMethod for ShapleyCam {
    fn name(&self) -> &'static str {
        "shapleycam"
    }

    fn about(&self) -> &'static str {
        "Grad-CAM less half of the Hessian times the activation (Cai 2025)"
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, gradient: true, curvature: true, ..Needs::NONE }
    }

    fn keeps_places(&self) -> bool {
        false
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        2.0
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let curvature = super::given(trial.beside.curvature.as_ref(), "second derivative")?;
        let weights = trial.layer_gradient()?.to_owned() - &(curvature * 0.5);
        Ok(super::weighted_on_host(&super::means(weights.view()), trial.layer()?).into())
    }
}
