//! The gradient rules, one file per family of operators.
//!
//! # Ties
//!
//! Where a maximum or minimum is reached more than once the gradient is not unique. These rules do what PyTorch's autograd does:
//!
//! - `Max`, `Min` of two inputs (`torch.maximum`): half to each where they are equal; of more, as nested pairs from the left.
//! - `ReduceMax`, `ReduceMin` (`torch.amax`): shared evenly among all that reach it.
//! - `MaxPool`: all to the first in memory order.
//! - `Relu` and its relatives at their kink: the derivative of the flat side (0 at 0 for `Relu`). `Clip` passes at its bounds, as
//!   `torch.clamp` does; right after a convolution or the like it is a ReLU6, and passes between them only, as `torch.hardtanh` does.
//! - `Abs` and `Sign` at 0: zero.
//! - Where the slope is infinite and the value is not (`Sqrt` at 0, `Acos` at 1): zero. Autograd's is infinite there, and no number
//!   after the zero that mostly comes next.
//!
//! # Adding a rule
//!
//! One function of type [`crate::registry::Rule`] in a family file, one row in that file's table, one row of test cases.

use crate::registry::Entry;

mod activation;
mod attention;
mod causal_conv;
mod control;
mod conv;
mod cumulative;
mod deform_conv;
mod einsum;
mod elementwise;
mod fourier;
mod fused;
mod gather;
mod gelu;
mod grid_sample;
mod indexing;
mod layer_norm;
mod linear_attention;
mod loss;
pub(crate) mod mask;
mod matmul;
mod max_pool;
mod multi_head;
mod norm;
mod pool;
mod quantize;
mod rearrange;
mod recurrent;
mod reduce;
mod resize;
mod rotary;
mod sampling;
mod scatter;
mod shape;
mod softmax;
mod spatial;
mod stop;
mod window;

pub(crate) use activation::clip as activation_clip;
pub use max_pool::max_pool_gradient;

/// The table of every family.
pub(crate) const FAMILIES: &[&[Entry]] = &[
    activation::RULES,
    attention::RULES,
    causal_conv::RULES,
    control::RULES,
    conv::RULES,
    cumulative::RULES,
    einsum::RULES,
    deform_conv::RULES,
    elementwise::RULES,
    gather::RULES,
    fourier::RULES,
    fused::RULES,
    gelu::RULES,
    grid_sample::RULES,
    indexing::RULES,
    layer_norm::RULES,
    linear_attention::RULES,
    loss::RULES,
    matmul::RULES,
    multi_head::RULES,
    norm::RULES,
    pool::RULES,
    quantize::RULES,
    rearrange::RULES,
    recurrent::RULES,
    reduce::RULES,
    resize::RULES,
    scatter::RULES,
    rotary::RULES,
    shape::RULES,
    softmax::RULES,
    spatial::RULES,
    stop::RULES,
];
