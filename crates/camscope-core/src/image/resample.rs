//! Resizing exactly as Pillow does it: the same coefficients, the same fixed-point arithmetic, the same order of passes.
//!
//! Why not a faster library: `fast_image_resize` runs the passes the other way round on 8-bit pixels and clips between
//! them, which makes hard edges differ by up to 57 grey levels for Lanczos and 29 for bicubic (measured on noise of 0 and
//! 255), and its 16-bit coefficients by 2 even pass for pass. A network's answer should be the one it gave in training.
//!
//! Only the window that is asked for is computed, with the kernels of the whole resize: a strip of 1 × 50 000 pixels, to be
//! enlarged to 256 × 12 800 000 and cropped, costs no more than any photo.

use std::ops::Range;

use self::kernel::Kernel;
use crate::model::Filter;
use onnx_grad_ort::cpu_features::{self, CpuFeatures};

mod across;
mod down;
mod floats;
mod kernel;

pub(super) use floats::resample_floats;

/// Pillow's `PRECISION_BITS`: 8 bits of result, two to spare for filters whose weights go below 0 and sum above 1.
const PRECISION: u32 = 32 - 8 - 2;

/// One axis of a resize: all `from` pixels become `to` pixels, of which only `window` is wanted.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) from: u32,
    pub(super) to: u64,
    /// Within `0..to`, not empty.
    pub(super) window: Range<u64>,
}

impl Axis {
    fn wanted(&self) -> usize {
        (self.window.end - self.window.start) as usize
    }

    /// Whether pixels stay where they are, apart from the cropping.
    fn is_identity(&self) -> bool {
        u64::from(self.from) == self.to
    }

    fn scale(&self) -> f64 {
        f64::from(self.from) / self.to as f64
    }
}

/// Resizes `C` interleaved 8-bit channels, row by row, to `x.wanted() × y.wanted()` pixels.
pub(super) fn resample<const C: usize>(source: &[u8], x: &Axis, y: &Axis, filter: Filter) -> Vec<u8> {
    resample_with::<C>(cpu_features::detect(), source, x, y, filter)
}

/// As [`resample`], in these cpu_features.
fn resample_with<const C: usize>(has: CpuFeatures, source: &[u8], x: &Axis, y: &Axis, filter: Filter) -> Vec<u8> {
    debug_assert_eq!(source.len(), x.from as usize * y.from as usize * C);
    let Some(kernel) = Kernel::of(filter) else { return nearest::<u8, C>(source, x, y) };
    if goes_down_first(x, y) {
        let needed = kernel.reach(x);
        let columns = cut_columns(source, x.from as usize * C, needed.start * C..needed.end * C);
        let down = down::pass(has, &columns, needed.len() * C, 0, y, &kernel);
        across::pass::<C>(has, &down, needed.len(), needed.start, x, &kernel)
    } else {
        let needed = kernel.reach(y);
        let row = x.from as usize * C;
        let across =
            across::pass::<C>(has, &source[needed.start * row..needed.end * row], x.from as usize, 0, x, &kernel);
        down::pass(has, &across, x.wanted() * C, needed.start, y, &kernel)
    }
}

/// Recent Pillows (13.0 for one) go down first where the height shrinks by more than twice what the width does.
fn goes_down_first(x: &Axis, y: &Axis) -> bool {
    let (less_high, less_wide) = (i128::from(y.from) - i128::from(y.to), i128::from(x.from) - i128::from(x.to));
    less_high > 0 && less_high > 2 * less_wide
}

/// The bytes `needed` of each row of `row` bytes.
fn cut_columns(source: &[u8], row: usize, needed: Range<usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(source.len() / row * needed.len());
    source.chunks_exact(row).for_each(|row| out.extend_from_slice(&row[needed.clone()]));
    out
}

/// A sum of weighted pixels as a grey level.
#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Pillow's nearest neighbour: the position is summed up step by step, rounding errors included.
fn nearest<T: Copy, const C: usize>(source: &[T], x: &Axis, y: &Axis) -> Vec<T> {
    let (columns, rows) = (nearest_positions(x), nearest_positions(y));
    let mut out = Vec::with_capacity(columns.len() * rows.len() * C);
    for row in rows {
        let from = &source[row * x.from as usize * C..][..x.from as usize * C];
        for &column in &columns {
            out.extend_from_slice(&from[column * C..(column + 1) * C]);
        }
    }
    out
}

fn nearest_positions(axis: &Axis) -> Vec<usize> {
    // Beyond what anyone would resize to, one multiplication instead of a long walk.
    const LONG: u64 = 1 << 24;
    let (scale, last) = (axis.scale(), axis.from as usize - 1);
    if axis.window.start > LONG {
        return axis.window.clone().map(|at| (((at as f64 + 0.5) * scale) as usize).min(last)).collect();
    }
    let mut at = scale * 0.5;
    for _ in 0..axis.window.start {
        at += scale;
    }
    let step = |_| {
        let position = (at as usize).min(last);
        at += scale;
        position
    };
    axis.window.clone().map(step).collect()
}

#[cfg(test)]
mod tests;
