//! The pass along rows.
//!
//! The pixels that an output pixel is made of lie side by side, so [`LANES`] of their bytes are taken at once, each with a weight of
//! its own: of red, green and blue those of two pixels, and two bytes more that weigh nothing. Several rows go together, since
//! their weights are the same.

use std::ops::Range;

use super::{Axis, PRECISION, clip, kernel::Kernel};
use onnx_grad_ort::cpu_features::CpuFeatures;
#[cfg(target_arch = "x86_64")]
use onnx_grad_ort::cpu_features::Width;

#[cfg(target_arch = "x86_64")]
mod wide;

/// Bytes that are taken at once.
const LANES: usize = 8;

/// Rows that go together.
const ROWS: usize = 4;

/// Weights are made for so many lanes at a time, which bounds memory for huge images.
const LANES_AT_A_TIME: usize = 1 << 22;

/// Resizes rows of `C` interleaved channels. `source` holds columns `first..first + width` of the axis.
pub(super) fn pass<const C: usize>(
    has: CpuFeatures,
    source: &[u8],
    width: usize,
    first: usize,
    axis: &Axis,
    kernel: &Kernel,
) -> Vec<u8> {
    let (wanted, row) = (axis.wanted(), width * C);
    let (height, out_row) = (source.len() / row, wanted * C);
    let mut out = vec![0; height * out_row];
    if axis.is_identity() {
        let start = (axis.window.start as usize - first) * C;
        for (to, from) in out.chunks_exact_mut(out_row).zip(source.chunks_exact(row)) {
            to.copy_from_slice(&from[start..start + out_row]);
        }
        return out;
    }
    let lanes = kernel.most_taps(axis).div_ceil(LANES / C) * LANES;
    let step = (LANES_AT_A_TIME / lanes).max(1);
    for start in (0..wanted).step_by(step) {
        let weights = Weights::new::<C>(kernel, axis, first, start..(start + step).min(wanted));
        // What lies behind a row's end is the next row and weighs nothing. Behind the last ones there is too little.
        let reach = weights.reach::<C>();
        let together = if source.len() < reach { 0 } else { ((source.len() - reach) / row + 1) / ROWS * ROWS };
        let (whole, rest) = out.split_at_mut(together * out_row);
        for (group, to) in whole.chunks_exact_mut(ROWS * out_row).enumerate() {
            let from = std::array::from_fn(|at| &source[(group * ROWS + at) * row..]);
            rows::<C, ROWS>(has, from, &weights, &mut to[start * C..], out_row);
        }
        let mut longer = vec![0; reach.max(row)];
        for (to, from) in rest.chunks_exact_mut(out_row).zip(source[together * row..].chunks_exact(row)) {
            longer[..row].copy_from_slice(from);
            rows::<C, 1>(has, [&longer], &weights, &mut to[start * C..], out_row);
        }
    }
    out
}

/// The weights of a run of output pixels.
struct Weights {
    /// The first byte of a row that each pixel is made of.
    starts: Vec<usize>,
    /// How many times lanes are taken for a pixel.
    steps: usize,
    /// The weights of all steps of all pixels.
    lanes: Vec<[i32; LANES]>,
}

impl Weights {
    /// Those of the window's positions `run`, for rows that begin at pixel `first` of the axis.
    fn new<const C: usize>(kernel: &Kernel, axis: &Axis, first: usize, run: Range<usize>) -> Self {
        let of_pixels: Vec<_> = run.map(|at| kernel.weights(axis, axis.window.start + at as u64)).collect();
        let at_once = LANES / C;
        let steps = of_pixels.iter().map(|(_, weights)| weights.len().div_ceil(at_once)).max().unwrap_or(0).max(1);
        let mut lanes = vec![[0; LANES]; steps * of_pixels.len()];
        for ((_, weights), lanes) in of_pixels.iter().zip(lanes.chunks_exact_mut(steps)) {
            for (weights, lanes) in weights.chunks(at_once).zip(lanes) {
                for (lanes, &weight) in lanes.chunks_exact_mut(C).zip(weights) {
                    lanes.fill(weight);
                }
            }
        }
        Self { starts: of_pixels.iter().map(|&(start, _)| (start - first) * C).collect(), steps, lanes }
    }

    /// How many bytes are looked at from a row's beginning on.
    fn reach<const C: usize>(&self) -> usize {
        self.starts.iter().max().map_or(0, |last| last + (self.steps - 1) * (LANES / C * C) + LANES)
    }
}

/// Makes a run of pixels of each of `R` rows: `to` begins with the first one's, and the others' follow `out_row` bytes apart.
fn rows<const C: usize, const R: usize>(
    has: CpuFeatures,
    from: [&[u8]; R],
    weights: &Weights,
    to: &mut [u8],
    out_row: usize,
) {
    // The compiler doesn't find the lanes by itself.
    #[cfg(target_arch = "x86_64")]
    if has.width() != Width::Usual {
        // SAFETY: the processor has AVX2.
        return unsafe { wide::rows::<C, R>(from, weights, to, out_row) };
    }
    let _ = has;
    rows_plainly::<C, R>(from, weights, to, out_row);
}

fn rows_plainly<const C: usize, const R: usize>(from: [&[u8]; R], weights: &Weights, to: &mut [u8], out_row: usize) {
    let pixels = weights.starts.iter().zip(weights.lanes.chunks_exact(weights.steps));
    for (pixel, (&start, lanes)) in pixels.enumerate() {
        let mut sums = [[0i32; LANES]; R];
        let mut at = start;
        for weights in lanes {
            for (sums, from) in sums.iter_mut().zip(from) {
                let values = &from[at..at + LANES];
                for lane in 0..LANES {
                    sums[lane] = sums[lane].wrapping_add(i32::from(values[lane]) * weights[lane]);
                }
            }
            at += LANES / C * C;
        }
        for (row, sums) in sums.iter().enumerate() {
            let to = &mut to[row * out_row + pixel * C..][..C];
            for (channel, to) in to.iter_mut().enumerate() {
                let mut sum = 1 << (PRECISION - 1);
                // The lanes that are left over have summed up zeros.
                for lane in (channel..LANES).step_by(C) {
                    sum = i32::wrapping_add(sum, sums[lane]);
                }
                *to = clip(sum);
            }
        }
    }
}
