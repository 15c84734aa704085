//! XGrad-CAM (Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", 2020).

use onnx_grad::{Builder, ElemType, Val};

use super::{Cam, weigh_channels};

/// Σ_c w_c A_c with w_c = Σ_hw G ⊙ A / (Σ_hw A + ε), ε = 1e-7 (equation 8).
pub(super) struct XGradCam;

impl Cam for XGradCam {
    fn name(&self) -> &'static str {
        "xgradcam"
    }

    fn about(&self) -> &'static str {
        "feature maps weighted by their gradient averaged over the activation (Fu et al. 2020)"
    }

    fn build(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Val {
        let weight = weight(g, activation, gradient);
        weigh_channels(g, &weight, activation)
    }

    fn weighted(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Option<Val> {
        let weight = weight(g, activation, gradient);
        Some(g.mul(&weight, activation))
    }
}

/// A weight a channel, `[N, C, 1, 1]`.
fn weight(g: &mut Builder, activation: &Val, gradient: &Val) -> Val {
    let product = g.mul(gradient, activation);
    let numerator = g.reduce_sum(&product, &[2, 3], true);
    let total = g.reduce_sum(activation, &[2, 3], true);
    let epsilon = g.scalar(ElemType::Float, 1e-7);
    let divisor = g.add(&total, &epsilon);
    g.div(&numerator, &divisor)
}
