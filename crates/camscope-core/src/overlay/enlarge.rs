//! Enlarges a heatmap to the pixels of the photo that it belongs to.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};

use crate::image::Seen;

/// Enlarges `heatmap` (h × w) to `height` × `width`: bilinear, pixel centres at halves, edges repeated. The same as OpenCV's
/// `resize` with `INTER_LINEAR` and PyTorch's `interpolate` with `align_corners=False`, neither of which smoothes when
/// shrinking.
pub fn enlarge(heatmap: ArrayView2<'_, f32>, width: u32, height: u32) -> Array2<f32> {
    heat_on_photo(heatmap, &Seen::all(width, height), width, height)
}

/// Lays `heatmap` (h × w), which covers the rectangle `seen`, over a photo of `width` × `height` pixels; the result is
/// `height` × `width`. It is 0 for pixels whose centre is outside of the rectangle.
pub fn heat_on_photo(heatmap: ArrayView2<'_, f32>, seen: &Seen, width: u32, height: u32) -> Array2<f32> {
    grid_on_photo((heatmap, Grid::Between), seen, width, height)
}

/// [`heat_on_photo`], whatever lies between two values.
pub(super) fn grid_on_photo(heat: (ArrayView2<'_, f32>, Grid), seen: &Seen, width: u32, height: u32) -> Array2<f32> {
    let mut out = Array2::zeros((height as usize, width as usize));
    let mut rows = HeatRows::new(heat, seen, width, height);
    for (mut out, y) in out.rows_mut().into_iter().zip(0..) {
        let first = rows.columns().start;
        if let Some(heat) = rows.at(y) {
            out.iter_mut().skip(first).zip(heat.values()).for_each(|(to, heat)| *to = heat);
        }
    }
    out
}

/// What lies between two values of a heatmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grid {
    /// A straight line.
    Between,
    /// An edge: each value fills its cell.
    Cells,
}

/// A heatmap over a photo, enlarged row by row.
pub(super) struct HeatRows<'a> {
    heatmap: ArrayView2<'a, f32>,
    across: Taps,
    down: Taps,
    /// Two rows of the heatmap with their numbers, enlarged along the row: they serve every row of the photo between them.
    enlarged: [(usize, Vec<f32>); 2],
}

/// A row of the photo: what lies between two enlarged rows of the heatmap.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeatRow<'a> {
    /// The row above.
    pub(super) low: &'a [f32],
    /// The one below, as long.
    pub(super) high: &'a [f32],
    /// How far it is towards the latter.
    pub(super) part: f32,
}

impl<'a> HeatRows<'a> {
    /// Of `heatmap` (h × w), which covers the rectangle `seen`, over a photo of `width` × `height` pixels.
    pub(super) fn new((heatmap, grid): (ArrayView2<'a, f32>, Grid), seen: &Seen, width: u32, height: u32) -> Self {
        let (rows, columns) = heatmap.dim();
        Self {
            heatmap,
            across: Taps::new((columns, grid), seen.x, seen.width, width),
            down: Taps::new((rows, grid), seen.y, seen.height, height),
            enlarged: [(usize::MAX, Vec::new()), (usize::MAX, Vec::new())],
        }
    }

    /// The columns of the photo whose centres are within the rectangle.
    pub(super) fn columns(&self) -> Range<usize> {
        self.across.range()
    }

    /// The heat of these columns in row `y` of the photo; `None` where its centre is outside of the rectangle.
    pub(super) fn at(&mut self, y: usize) -> Option<HeatRow<'_>> {
        let &Tap { low, high, part } = self.down.taps.get(y.checked_sub(self.down.first)?)?;
        // The row that both ends share is kept when stepping on.
        if self.enlarged[1].0 == low {
            self.enlarged.swap(0, 1);
        }
        for (slot, row) in self.enlarged.iter_mut().zip([low, high]) {
            if slot.0 != row {
                let line = self.heatmap.row(row);
                slot.0 = row;
                slot.1.clear();
                slot.1.extend(self.across.taps.iter().map(|t| between(line[t.low], line[t.high], t.part)));
            }
        }
        let [(_, low), (_, high)] = &self.enlarged;
        Some(HeatRow { low, high, part })
    }
}

impl<'a> HeatRow<'a> {
    fn values(self) -> impl Iterator<Item = f32> + 'a {
        self.low.iter().zip(self.high).map(move |(&low, &high)| between(low, high, self.part))
    }
}

/// The value that is `part` of the way from `low` to `high`.
#[inline(always)]
pub(super) fn between(low: f32, high: f32, part: f32) -> f32 {
    low * (1.0 - part) + high * part
}

/// The two samples that a pixel lies between, and how far towards the second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tap {
    low: usize,
    high: usize,
    part: f32,
}

/// Taps for the run of pixels whose centres lie within a rectangle, along one axis.
#[derive(Debug)]
struct Taps {
    /// The first such pixel.
    first: usize,
    taps: Vec<Tap>,
}

impl Taps {
    /// `samples` of a heatmap cover `start..start + length` of an axis of `pixels`.
    fn new((samples, grid): (usize, Grid), start: f64, length: f64, pixels: u32) -> Self {
        // Written so that NaN and empty rectangles give no taps.
        if samples == 0 || !(length > 0.0 && start.is_finite() && length.is_finite()) {
            return Self { first: 0, taps: Vec::new() };
        }
        // Pixel p is within if start <= p + 0.5 < start + length.
        let bound = |edge: f64| (edge - 0.5).ceil().clamp(0.0, f64::from(pixels)) as usize;
        let (first, end) = (bound(start), bound(start + length));
        let last = samples - 1;
        let tap = |pixel: usize| {
            let at = (pixel as f64 + 0.5 - start) * samples as f64 / length - 0.5;
            if grid == Grid::Cells {
                let cell = (at + 0.5).floor().clamp(0.0, last as f64) as usize;
                return Tap { low: cell, high: cell, part: 0.0 };
            }
            let low = at.floor().clamp(0.0, last as f64);
            let part = (at - low).clamp(0.0, 1.0);
            Tap { low: low as usize, high: (low as usize + 1).min(last), part: part as f32 }
        };
        Self { first, taps: (first..end).map(tap).collect() }
    }

    /// The pixels within.
    fn range(&self) -> Range<usize> {
        self.first..self.first + self.taps.len()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn it_equals_opencv_and_torch() {
        // torch.nn.functional.interpolate(t, size=(3, 5), mode="bilinear", align_corners=False), cv2.resize the same
        let expected = array![[0.0, 0.1, 0.5, 0.9, 1.0], [1.0, 1.1, 1.5, 1.9, 2.0], [2.0, 2.1, 2.5, 2.9, 3.0],];
        let out = enlarge(array![[0.0, 1.0], [2.0, 3.0]].view(), 5, 3);
        assert!((&out - &expected).iter().all(|d| d.abs() < 1e-6), "{out}");
    }

    #[test]
    fn one_sample_covers_everything() {
        assert_eq!(enlarge(array![[0.7]].view(), 4, 2), Array2::from_elem((2, 4), 0.7));
        assert_eq!(enlarge(array![[0.7, 0.7]].view(), 1, 1), array![[0.7]]);
        assert_eq!(enlarge(Array2::zeros((0, 0)).view(), 2, 1), array![[0.0, 0.0]]);
    }

    #[test]
    fn heat_stays_within_what_the_network_saw() {
        let heat = Array2::from_elem((7, 7), 1.0);
        let seen = Seen { x: 2.0, y: 0.0, width: 3.0, height: 4.0 };
        let out = heat_on_photo(heat.view(), &seen, 8, 4);
        assert_eq!(out.row(0).to_vec(), [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(out.sum(), 12.0);
        // A crop beyond the photo: the heat there is cut, not squeezed.
        let ramp = Array2::from_shape_fn((4, 8), |(_, x)| x as f32);
        let beyond = Seen { x: -2.0, y: 0.0, width: 8.0, height: 4.0 };
        assert_eq!(heat_on_photo(ramp.view(), &beyond, 4, 4).row(0).to_vec(), [2.0, 3.0, 4.0, 5.0]);
        let outside = Seen { x: 100.0, y: 0.0, width: 8.0, height: 4.0 };
        assert_eq!(heat_on_photo(ramp.view(), &outside, 4, 4).sum(), 0.0);
    }

    #[test]
    fn values_stay_between_the_smallest_and_the_largest() {
        let heat = Array2::from_shape_fn((3, 11), |(y, x)| ((y * 7 + x * 5) % 13) as f32 / 12.0);
        for (w, h) in [(1, 4000), (4000, 1), (1, 1), (37, 3), (200, 100)] {
            for seen in [Seen::all(w, h), Seen { x: 0.3, y: -0.2, width: 17.7, height: 0.9 }] {
                let out = heat_on_photo(heat.view(), &seen, w, h);
                assert_eq!(out.dim(), (h as usize, w as usize));
                assert!(out.iter().all(|v| (0.0..=1.0).contains(v)));
            }
        }
    }
}
