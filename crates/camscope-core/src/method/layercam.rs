//! LayerCAM (Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", 2021).

use onnx_grad::{Builder, Val};

use super::{Cam, weighted_sum};

/// Σ_c relu(G_c) ⊙ A_c (equations 5 and 6).
pub(super) struct LayerCam;

impl Cam for LayerCam {
    fn name(&self) -> &'static str {
        "layercam"
    }

    fn about(&self) -> &'static str {
        "feature maps times their positive gradient, place by place; good at early layers (Jiang et al. 2021)"
    }

    fn keeps_places(&self) -> bool {
        true
    }

    fn build(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Val {
        let positive = g.relu(gradient);
        weighted_sum(g, &positive, activation)
    }

    fn weighted(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Option<Val> {
        let positive = g.relu(gradient);
        Some(g.mul(&positive, activation))
    }
}
