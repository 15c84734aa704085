//! Elementwise Grad-CAM, as pytorch-grad-cam defines it (`GradCAMElementWise`).

use onnx_grad::{Builder, Val};

use super::Cam;

/// Σ_c relu(G_c ⊙ A_c).
pub(super) struct GradCamElementwise;

impl Cam for GradCamElementwise {
    fn name(&self) -> &'static str {
        "gradcam-elementwise"
    }

    fn about(&self) -> &'static str {
        "the positive part of feature maps times gradient, place by place (pytorch-grad-cam)"
    }

    fn keeps_places(&self) -> bool {
        true
    }

    fn build(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Val {
        let product = g.mul(gradient, activation);
        let positive = g.relu(&product);
        g.reduce_sum(&positive, &[1], false)
    }

    fn weighted(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Option<Val> {
        let product = g.mul(gradient, activation);
        Some(g.relu(&product))
    }
}
