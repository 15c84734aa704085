//! Grad-CAM++ (Chattopadhay et al., "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks", 2018).

use onnx_grad::{Builder, ElemType, Val};

use super::{Cam, weigh_channels};

/// Σ_c w_c A_c with w_c = Σ_hw α ⊙ relu(G), α = G² / (2 G² + (Σ_hw A) G³ + ε), 0 where G is 0 (equations 5 and 19, the class score
/// taken as an exponential). ε = 1e-6 keeps the quotient finite.
pub(super) struct GradCamPlusPlus;

impl Cam for GradCamPlusPlus {
    fn name(&self) -> &'static str {
        "gradcam++"
    }

    fn about(&self) -> &'static str {
        "feature maps weighted by their positive gradients, larger ones more (Chattopadhay et al. 2018)"
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
    let square = g.mul(gradient, gradient);
    let cube = g.mul(&square, gradient);
    let total = g.reduce_sum(activation, &[2, 3], true);
    let twice = g.scale(&square, ElemType::Float, 2.0);
    let third = g.mul(&total, &cube);
    let epsilon = g.scalar(ElemType::Float, 1e-6);
    let divisor = g.add(&twice, &third);
    let divisor = g.add(&divisor, &epsilon);
    let alpha = g.div(&square, &divisor);
    // relu(G) is 0 wherever G is, so α needs no masking there: its quotient is 0/ε.
    let positive = g.relu(gradient);
    let share = g.mul(&positive, &alpha);
    g.reduce_sum(&share, &[2, 3], true)
}
