//! Operators of this crate's own for ONNX Runtime on the CPU, in the domain `onnx-grad-ort`.
//!
//! The backward pass is emitted in standard operators, and runs in them everywhere. On the CPU its element-wise part is bound by memory:
//! every standard operator reads and writes whole tensors. `passes::fuse` puts chains of them into one [`elementwise`] node. Behind a classifier it is bound by reading the weights: [`few_rows`]
//! reads only those that count.

mod compound;
mod curves;
pub(crate) mod elementwise;
pub(crate) mod few_rows;
mod functions;
pub(crate) mod max_pool_grad;
mod pictures;
pub(crate) mod program;
pub(crate) mod set_apart;
pub(crate) mod sum_products;
pub(crate) mod weave;

use ort::{
    operator::{ComputeContext, OperatorDomain},
    value::{DynTensorValueType, TensorElementType},
};
use pictures::Of;

/// The domain's name.
pub(crate) const DOMAIN: &str = "onnx-grad-ort";

/// The operators, for one session; `block` is how many channels a block of ONNX Runtime's layout has.
///
/// # Errors
/// ONNX Runtime refuses them.
pub(crate) fn domain(block: usize) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?
        .add(elementwise::Elementwise { block })?
        .add(few_rows::FewRows)?
        .add(Of::<max_pool_grad::MaxPoolGrad>::new(block))?
        .add(Of::<set_apart::SetApart>::new(block))?
        .add(Of::<sum_products::SumProducts>::new(block))?
        .add(Of::<weave::Weave>::new(block))
}

/// A float32 as it lies in memory, at whatever address: weights that are read from where they lie in a file begin anywhere.
type Float = [u8; 4];

/// The extents and the elements of an input.
///
/// # Errors
/// It is no tensor of float32.
fn floats(context: &ComputeContext, at: usize) -> ort::Result<(Vec<usize>, &[Float])> {
    let malformed = || ort::Error::new("an input is no tensor of float32");
    let value = context.input(at)?.ok_or_else(malformed)?;
    if value.dtype().tensor_type() != Some(TensorElementType::Float32) {
        return Err(malformed());
    }
    let sizes = value.dtype().tensor_shape().into_iter().flat_map(|shape| shape.iter());
    let sizes: Option<Vec<usize>> = sizes.map(|&size| usize::try_from(size).ok()).collect();
    let sizes = sizes.ok_or_else(malformed)?;
    let count = sizes.iter().product();
    if count == 0 {
        return Ok((sizes, &[]));
    }
    let first = value.downcast::<DynTensorValueType>()?.data_ptr();
    // SAFETY: ONNX Runtime owns the tensor, which has that many elements, until the kernel is done; nobody writes to it.
    Ok((sizes, unsafe { std::slice::from_raw_parts(first.cast::<Float>(), count) }))
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
