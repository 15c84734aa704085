//! Resizing floats as Pillow does it (`ImagingResampleHorizontal_32bpc` and its vertical twin): weights and sums in double precision,
//! single precision between the passes, nothing clipped.

use super::kernel::Kernel;
use super::{Axis, goes_down_first, nearest};
use crate::model::Filter;

/// Resizes `C` interleaved channels of floats, row by row, to `x.wanted() × y.wanted()` pixels.
pub(in crate::image) fn resample_floats<const C: usize>(
    source: &[f32],
    x: &Axis,
    y: &Axis,
    filter: Filter,
) -> Vec<f32> {
    debug_assert_eq!(source.len(), x.from as usize * y.from as usize * C);
    let Some(kernel) = Kernel::of(filter) else { return nearest::<f32, C>(source, x, y) };
    let row = x.from as usize * C;
    if goes_down_first(x, y) {
        let down = down(source, row, 0, y, &kernel);
        across::<C>(&down, x, &kernel)
    } else {
        let needed = kernel.reach(y);
        let across = across::<C>(&source[needed.start * row..needed.end * row], x, &kernel);
        down(&across, x.wanted() * C, needed.start, y, &kernel)
    }
}

fn across<const C: usize>(source: &[f32], x: &Axis, kernel: &Kernel) -> Vec<f32> {
    let row = x.from as usize * C;
    if x.is_identity() {
        let window = x.window.start as usize * C..x.window.end as usize * C;
        return source.chunks_exact(row).flat_map(|row| &row[window.clone()]).copied().collect();
    }
    let weights: Vec<(usize, Vec<f64>)> = x.window.clone().map(|at| kernel.exact_weights(x, at)).collect();
    let mut out = Vec::with_capacity(source.len() / row * weights.len() * C);
    for row in source.chunks_exact(row) {
        for (start, weights) in &weights {
            for channel in 0..C {
                let taps = row[start * C + channel..].iter().step_by(C);
                out.push(weights.iter().zip(taps).map(|(w, v)| w * f64::from(*v)).sum::<f64>() as f32);
            }
        }
    }
    out
}

/// `source` begins with row `first` of the photo.
fn down(source: &[f32], row: usize, first: usize, y: &Axis, kernel: &Kernel) -> Vec<f32> {
    if y.is_identity() {
        let window = y.window.start as usize - first..y.window.end as usize - first;
        return source[window.start * row..window.end * row].to_vec();
    }
    let mut out = Vec::with_capacity(y.wanted() * row);
    let mut sums = vec![0.0f64; row];
    for at in y.window.clone() {
        let (start, weights) = kernel.exact_weights(y, at);
        sums.fill(0.0);
        for (weight, values) in weights.iter().zip(source[(start - first) * row..].chunks_exact(row)) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += weight * f64::from(*value);
            }
        }
        out.extend(sums.iter().map(|&sum| sum as f32));
    }
    out
}
