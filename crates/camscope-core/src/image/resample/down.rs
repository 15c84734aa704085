//! The pass along columns.

use super::{Axis, PRECISION, clip, kernel::Kernel};
use onnx_grad_ort::{cpu_features::CpuFeatures, multiversion};

/// Bytes of a row that go together: their sums stay in registers.
const LANES: usize = 64;

/// Resizes columns. `source` holds rows of `row` bytes, from row `first` of the axis on.
pub(super) fn pass(has: CpuFeatures, source: &[u8], row: usize, first: usize, axis: &Axis, kernel: &Kernel) -> Vec<u8> {
    let wanted = axis.wanted();
    if axis.is_identity() {
        let start = axis.window.start as usize - first;
        return source[start * row..(start + wanted) * row].to_vec();
    }
    let mut out = vec![0; wanted * row];
    for (to, at) in out.chunks_exact_mut(row).zip(axis.window.clone()) {
        let (start, weights) = kernel.weights(axis, at);
        sum_up(has, &source[(start - first) * row..], &weights, to);
    }
    out
}

multiversion! {
    /// Makes a row of the weighted sums of the rows that `from` begins with, which are as long.
    fn sum_up(from: &[u8], weights: &[i32], to: &mut [u8]) = sum_up_plainly
}

#[inline(always)]
fn sum_up_plainly(from: &[u8], weights: &[i32], to: &mut [u8]) {
    let row = to.len();
    let mut blocks = to.chunks_exact_mut(LANES);
    let mut at = 0;
    for to in &mut blocks {
        let mut sums = [1i32 << (PRECISION - 1); LANES];
        for (tap, &weight) in weights.iter().enumerate() {
            let values = &from[tap * row + at..][..LANES];
            for lane in 0..LANES {
                sums[lane] = sums[lane].wrapping_add(i32::from(values[lane]) * weight);
            }
        }
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = clip(sum);
        }
        at += LANES;
    }
    for (to, at) in blocks.into_remainder().iter_mut().zip(at..) {
        let column = from[at..].iter().step_by(row).zip(weights);
        *to = clip(
            column.fold(1 << (PRECISION - 1), |sum, (&value, weight)| sum.wrapping_add(i32::from(value) * weight)),
        );
    }
}
