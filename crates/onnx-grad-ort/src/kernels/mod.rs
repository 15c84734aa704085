//! Operators of this crate's own for ONNX Runtime on the CPU, in the domain `onnx-grad-ort`.
//!
//! The backward pass is emitted in standard operators, and runs in them everywhere. On the CPU its element-wise part is bound by memory:
//! every standard operator reads and writes whole tensors. `passes::fuse` puts chains of them into one [`elementwise`] node. Behind a classifier it is bound by reading the weights: [`sparse_lhs_matmul`]
//! reads only those that count.

pub(crate) mod channel_sums;
mod compound;
mod curves;
pub(crate) mod depth_to_space;
pub(crate) mod elementwise;
mod functions;
pub(crate) mod max_pool_grad;
mod pictures;
pub(crate) mod program;
pub(crate) mod softmax;
pub(crate) mod sparse_lhs_matmul;
pub(crate) mod sum_products;
pub(crate) mod window;
pub(crate) mod zero_insert;

use std::marker::PhantomData;

use ort::{
    operator::{ComputeContext, OperatorDomain},
    value::{DynTensorValueType, TensorElementType},
};
use pictures::Of;
use sparse_lhs_matmul::SparseLhsMatMulOf;

/// The domain's name.
pub(crate) const DOMAIN: &str = "onnx-grad-ort";

/// The operators, for one session; `block` is how many channels a block of ONNX Runtime's layout has.
///
/// # Errors
/// ONNX Runtime refuses them.
pub(crate) fn domain(block: usize) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?
        .add(elementwise::Elementwise { block })?
        .add(sparse_lhs_matmul::SparseLhsMatMul)?
        .add(SparseLhsMatMulOf::<i8>::new())?
        .add(SparseLhsMatMulOf::<u8>::new())?
        .add(Of::<max_pool_grad::MaxPoolGrad>::new(block))?
        .add(Of::<zero_insert::ZeroInsert>::new(block))?
        .add(Of::<channel_sums::ChannelSums>::new(block))?
        .add(Of::<softmax::AxisSoftmax>::new(block))?
        .add(Of::<sum_products::SumProducts>::new(block))?
        .add(Of::<depth_to_space::BlockedDepthToSpace>::new(block))?
        .add(Of::<window::Window>::new(block))
}

/// A float32 as it lies in memory, at whatever address: weights that are read from where they lie in a file begin anywhere.
type Float = [u8; 4];

/// The extents of an input, and where its elements begin: nothing of them is borrowed, so that an output may lie there too.
///
/// # Errors
/// It is no tensor of float32.
fn place(context: &ComputeContext, at: usize) -> ort::Result<(Vec<usize>, *const Float)> {
    place_of(context, at, TensorElementType::Float32)
}

/// The same of another type, whose elements are `T`.
fn place_of<T>(context: &ComputeContext, at: usize, elem: TensorElementType) -> ort::Result<(Vec<usize>, *const T)> {
    let malformed = || ort::Error::new(format!("an input is no tensor of {elem}"));
    let value = context.input(at)?.ok_or_else(malformed)?;
    if value.dtype().tensor_type() != Some(elem) {
        return Err(malformed());
    }
    let sizes = value.dtype().tensor_shape().into_iter().flat_map(|shape| shape.iter());
    let sizes: Option<Vec<usize>> = sizes.map(|&size| usize::try_from(size).ok()).collect();
    let first = value.downcast::<DynTensorValueType>()?.data_ptr();
    Ok((sizes.ok_or_else(malformed)?, first.cast::<T>()))
}

/// The extents and the elements of an input, which no output takes the place of.
///
/// # Errors
/// It is no tensor of float32.
fn floats(context: &ComputeContext, at: usize) -> ort::Result<(Vec<usize>, &[Float])> {
    elements(context, at, TensorElementType::Float32)
}

/// The same of another type. `T` is of bytes, which may lie at any address, and as large as an element.
///
/// # Errors
/// It is no tensor of that type.
fn elements<T: Copy>(context: &ComputeContext, at: usize, elem: TensorElementType) -> ort::Result<(Vec<usize>, &[T])> {
    const { assert!(align_of::<T>() == 1) };
    let (sizes, first) = place_of(context, at, elem)?;
    let count = sizes.iter().product();
    if count == 0 {
        return Ok((sizes, &[]));
    }
    // SAFETY: ONNX Runtime owns the tensor, which has that many elements, until the kernel is done; nobody writes to it.
    Ok((sizes, unsafe { std::slice::from_raw_parts(first, count) }))
}

/// Memory that tasks share, of which each writes elements of its own.
#[derive(Clone, Copy)]
pub(crate) struct SendPtr<'a, T> {
    first: *mut T,
    count: usize,
    memory: PhantomData<&'a mut [T]>,
}
// SAFETY: elements are reached by `slice_mut` alone, whose callers see to it that no two tasks reach the same.
unsafe impl<T: Send> Send for SendPtr<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SendPtr<'_, T> {}

impl<'a, T> SendPtr<'a, T> {
    pub(crate) fn new(elements: &'a mut [T]) -> Self {
        Self { first: elements.as_mut_ptr(), count: elements.len(), memory: PhantomData }
    }

    /// `count` elements from `start` on.
    ///
    /// # Safety
    /// As long as they are held, nobody else holds any of them.
    ///
    /// # Panics
    /// There are not as many.
    #[allow(clippy::mut_from_ref, reason = "the caller's promise")]
    pub(crate) unsafe fn slice_mut(&self, start: usize, count: usize) -> &'a mut [T] {
        assert!(start <= self.count && count <= self.count - start, "a task's elements are beyond the end");
        // SAFETY: they are within memory that was borrowed for `'a`, and the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(start), count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_write_parts_of_their_own() {
        let mut elements = vec![0; 12];
        let shared = SendPtr::new(&mut elements);
        std::thread::scope(|scope| {
            for task in 0..4 {
                // SAFETY: each thread has three elements of its own.
                scope.spawn(move || unsafe { shared.slice_mut(task * 3, 3) }.fill(task));
            }
        });
        assert_eq!(elements, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    }

    #[test]
    #[should_panic(expected = "beyond the end")]
    fn nothing_beyond_the_end_is_given() {
        let mut elements = [0; 4];
        // SAFETY: nobody else holds any.
        let _ = unsafe { SendPtr::new(&mut elements).slice_mut(3, 2) };
    }
}
