//! HiResCAM (Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations", 2020).

use onnx_grad::{Builder, ElemType, Val};

use super::Cam;

/// What is left of products that cancel each other, as a share of their sizes, when it is no more than rounding and a normalisation's ε.
const ROUNDING: f64 = 1e-4;

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
        let product = g.mul(gradient, activation);
        let heat = g.reduce_sum(&product, &[1], false);
        left_over(g, &product, &heat)
    }

    fn weighted(&self, g: &mut Builder, activation: &Val, gradient: &Val) -> Option<Val> {
        Some(g.mul(gradient, activation))
    }
}

/// The heat, or zero for an image where the products cancel each other at every place, down to rounding. So they do where all that reads the layer is a
/// layer normalisation, which makes the same of an activation and of any multiple of it, as in the last block of a vision transformer: the heat would be
/// the pattern of what was rounded.
fn left_over(g: &mut Builder, product: &Val, heat: &Val) -> Val {
    let [size, parts] = [heat, product].map(|value| g.unary("Abs", value));
    let parts = g.reduce_sum(&parts, &[1], false);
    let [most, of_parts] = [size, parts].map(|value| g.reduce("ReduceMax", &value, &[1, 2], true));
    let share = g.scalar(ElemType::Float, ROUNDING);
    let least = g.mul(&of_parts, &share);
    let is_more = g.binary("Greater", &most, &least);
    let is_more = g.cast(&is_more, ElemType::Float);
    g.mul(heat, &is_more)
}
