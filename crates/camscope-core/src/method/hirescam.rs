//! HiResCAM (Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations", 2020).

use onnx_grad::{Builder, Val};

use super::{Cam, weighted_sum};

/// Σ_c ∂score/∂A_c ⊙ A_c: the gradient is not averaged (equation 4).
pub(super) struct HiResCam;

impl Cam for HiResCam {
    fn name(&self) -> &'static str {
        "hirescam"
    }

    fn about(&self) -> &'static str {
        "feature maps times their gradient, place by place (Draelos and Carin 2020)"
    }

    fn keeps_places(&self) -> bool {
        true
    }

    fn build(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Val {
        weighted_sum(g, gradient, activation)
    }

    fn weighted(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Option<Val> {
        Some(g.mul(gradient, activation))
    }
}
