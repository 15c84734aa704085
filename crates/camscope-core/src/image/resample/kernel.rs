//! Filters for resizing, and the weights that they give.

use std::ops::Range;

use super::{Axis, PRECISION};
use crate::model::Filter;

/// A filter's shape: its weight at a distance from the centre, and the distance from which on it is 0.
pub(super) struct Kernel {
    weight: fn(f64) -> f64,
    support: f64,
}

impl Kernel {
    /// `None` for the nearest neighbour, which isn't a convolution.
    pub(super) fn of(filter: Filter) -> Option<Self> {
        let (weight, support): (fn(f64) -> f64, f64) = match filter {
            Filter::Nearest => return None,
            Filter::Box => (box_filter, 0.5),
            Filter::Bilinear => (bilinear, 1.0),
            Filter::Hamming => (hamming, 1.0),
            Filter::Bicubic => (bicubic, 2.0),
            Filter::Lanczos => (lanczos, 3.0),
        };
        Some(Self { weight, support })
    }

    /// The source pixels that output pixel `at` is made of, and Pillow's centre and stretch.
    fn bounds(&self, axis: &Axis, at: u64) -> (Range<usize>, f64, f64) {
        let scale = axis.scale();
        let stretch = scale.max(1.0);
        let support = self.support * stretch;
        let centre = (at as f64 + 0.5) * scale;
        let from = axis.from as usize;
        let start = ((centre - support + 0.5).max(0.0) as usize).min(from);
        let end = ((centre + support + 0.5) as usize).min(from);
        (start..end.max(start), centre, stretch)
    }

    /// The most source pixels that an output pixel is made of, or somewhat more.
    pub(super) fn most_taps(&self, axis: &Axis) -> usize {
        (self.support * axis.scale().max(1.0)).ceil() as usize * 2 + 1
    }

    /// Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc` for output pixel `at`: the first source pixel and the
    /// weights, in units of 2^-[`PRECISION`].
    pub(super) fn weights(&self, axis: &Axis, at: u64) -> (usize, Vec<i32>) {
        let (start, weights) = self.exact_weights(axis, at);
        let fixed = |w: &f64| (w * f64::from(1 << PRECISION) + 0.5f64.copysign(*w)) as i32;
        (start, weights.iter().map(fixed).collect())
    }

    /// The same weights, not yet in fixed point.
    pub(super) fn exact_weights(&self, axis: &Axis, at: u64) -> (usize, Vec<f64>) {
        let (bounds, centre, stretch) = self.bounds(axis, at);
        let inverse = 1.0 / stretch;
        let mut weights: Vec<f64> =
            bounds.clone().map(|x| (self.weight)((x as f64 - centre + 0.5) * inverse)).collect();
        let total: f64 = weights.iter().fold(0.0, |sum, w| sum + w);
        if total != 0.0 {
            weights.iter_mut().for_each(|w| *w /= total);
        }
        (bounds.start, weights)
    }

    /// All source pixels that the axis' window is made of.
    pub(super) fn reach(&self, axis: &Axis) -> Range<usize> {
        if axis.is_identity() {
            return axis.window.start as usize..axis.window.end as usize;
        }
        self.bounds(axis, axis.window.start).0.start..self.bounds(axis, axis.window.end - 1).0.end
    }
}

fn box_filter(x: f64) -> f64 {
    if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }
}

fn bilinear(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn hamming(x: f64) -> f64 {
    let x = x.abs();
    if x == 0.0 {
        return 1.0;
    }
    if x >= 1.0 {
        return 0.0;
    }
    let x = x * std::f64::consts::PI;
    // Pillow's constants are single precision.
    x.sin() / x * (f64::from(0.54f32) + f64::from(0.46f32) * x.cos())
}

/// The cubic convolution with a = -0.5 (Keys 1981, equation 4; also known as Catmull-Rom).
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| {
        if x == 0.0 {
            return 1.0;
        }
        let x = x * std::f64::consts::PI;
        x.sin() / x
    };
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}
