//! Operators of camscope's own for ONNX Runtime on the CPU, in the domain `camscope`.
//!
//! The backward pass is emitted in standard operators, and runs in them everywhere. On the CPU its element-wise part is bound by memory:
//! every standard operator reads and writes whole tensors. `passes::fuse` puts chains of them into one [`elementwise`] node.

pub(crate) mod elementwise;
mod functions;
pub(crate) mod max_pool_grad;
mod pictures;
pub(crate) mod program;
pub(crate) mod set_apart;
pub(crate) mod weave;

use ort::operator::OperatorDomain;
use pictures::Of;

/// The domain's name.
pub(crate) const DOMAIN: &str = "camscope";

/// The operators, for one session; `block` is how many channels a block of ONNX Runtime's layout has.
///
/// # Errors
/// ONNX Runtime refuses them.
pub(crate) fn domain(block: usize) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?
        .add(elementwise::Elementwise { block })?
        .add(Of::<max_pool_grad::MaxPoolGrad>::new(block))?
        .add(Of::<set_apart::SetApart>::new(block))?
        .add(Of::<weave::Weave>::new(block))
}

/// A pointer that tasks share: each writes elements of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(T);
// SAFETY: tasks read inputs, and write parts of the output that don't overlap.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn get(&self) -> &T {
        &self.0
    }
}
