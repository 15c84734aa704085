//! Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017).

use onnx_grad::{Builder, Val};

use super::{Cam, weigh_channels};

/// Σ_c w_c A_c with w_c = mean over height and width of ∂score/∂A_c (equations 1 and 2).
pub(crate) struct GradCam;

impl Cam for GradCam {
    fn name(&self) -> &'static str {
        "gradcam"
    }

    fn about(&self) -> &'static str {
        "feature maps weighted by their mean gradient (Selvaraju et al. 2017)"
    }

    fn takes_mean(&self) -> bool {
        true
    }

    fn build(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Val {
        let weight = g.reduce_mean(gradient, &[2, 3], true);
        weigh_channels(g, &weight, activation)
    }

    fn weighted(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Option<Val> {
        let weight = g.reduce_mean(gradient, &[2, 3], true);
        Some(g.mul(&weight, activation))
    }
}
