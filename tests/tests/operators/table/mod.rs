//! The rows, one file per family of rules.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod control;
pub(crate) mod conv;
pub(crate) mod cumulative;
pub(crate) mod dtype;
pub(crate) mod einsum;
pub(crate) mod elementwise;
pub(crate) mod fourier;
pub(crate) mod fused;
pub(crate) mod gather;
pub(crate) mod gelu;
pub(crate) mod indexing;
pub(crate) mod layer_norm;
pub(crate) mod matmul;
pub(crate) mod multi_head;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod rearrange;
pub(crate) mod recurrent;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod scatter;
pub(crate) mod shape;
pub(crate) mod softmax;
