//! Normalises a heatmap and blends its colours with the photo.

use image::RgbImage;
use ndarray::{Array, ArrayView, ArrayView2, Dimension};

use super::colormap::Colormap;
use super::enlarge::{Taps, heat_on_photo};
use crate::image::Seen;

/// The photo's weight in an overlay where nothing else is said.
pub const DEFAULT_ALPHA: f32 = 0.4;

/// What is left of the brightness of pixels that the network did not see.
pub const DIMMED: f32 = 0.35;

/// Scales a heatmap to 0..=1: negative values become 0 (ReLU), then everything is divided by the largest value.
///
/// A heatmap without a positive value becomes zero, never NaN; values that are no finite numbers count as 0.
pub fn normalise<D: Dimension>(heatmap: ArrayView<'_, f32, D>) -> Array<f32, D> {
    let positive = heatmap.mapv(|v| if v.is_finite() { v.max(0.0) } else { 0.0 });
    let largest = positive.fold(0.0f32, |largest, &v| largest.max(v));
    if largest == 0.0 {
        return positive;
    }
    positive.mapv(|v| v / largest)
}

/// The overlay: `alpha` · photo + (1 - `alpha`) · colour within the rectangle `seen`, the photo dimmed to [`DIMMED`] outside
/// of it.
///
/// `heatmap` (h × w, any resolution) is normalised already; values beyond 0..=1 are clamped. It is enlarged to `seen`
/// before it is coloured, and truncated to one of the 256 colours as `np.uint8(255 * heatmap)` does. `alpha` is the photo's
/// weight and clamped to 0..=1.
pub fn render(
    photo: &RgbImage,
    heatmap: ArrayView2<'_, f32>,
    seen: &Seen,
    colormap: &dyn Colormap,
    alpha: f32,
) -> RgbImage {
    let (width, height) = photo.dimensions();
    let alpha = if alpha.is_finite() { alpha.clamp(0.0, 1.0) } else { DEFAULT_ALPHA };
    let heat = heat_on_photo(heatmap, seen, width, height);
    // An empty heatmap colours what it covers as zero: the rectangle must not depend on it.
    let columns = Taps::new(1, seen.x, seen.width, width).range();
    let rows = Taps::new(1, seen.y, seen.height, height).range();

    let colours = colormap.table().map(|colour| colour.map(|c| f32::from(c) * (1.0 - alpha)));
    let seen_level: [f32; 256] = std::array::from_fn(|level| level as f32 * alpha);
    let dim_level: [u8; 256] = std::array::from_fn(|level| (level as f32 * DIMMED).round() as u8);

    let mut out = photo.clone();
    if width == 0 {
        return out;
    }
    for ((y, row), heat) in out.chunks_exact_mut(width as usize * 3).enumerate().zip(heat.rows()) {
        if !rows.contains(&y) {
            dim(row, &dim_level);
            continue;
        }
        dim(&mut row[..columns.start * 3], &dim_level);
        dim(&mut row[columns.end * 3..], &dim_level);
        let pixels = row[columns.start * 3..columns.end * 3].chunks_exact_mut(3);
        for (pixel, &heat) in pixels.zip(heat.iter().skip(columns.start)) {
            // The cast saturates, and NaN becomes 0.
            let colour = &colours[usize::from((heat * 255.0) as u8)];
            // Adding a half and truncating rounds, at a fraction of what `round` takes.
            for (value, colour) in pixel.iter_mut().zip(colour) {
                *value = (seen_level[usize::from(*value)] + colour + 0.5) as u8;
            }
        }
    }
    out
}

fn dim(bytes: &mut [u8], levels: &[u8; 256]) {
    bytes.iter_mut().for_each(|byte| *byte = levels[usize::from(*byte)]);
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use ndarray::{Array2, array};

    use super::super::by_name;
    use super::*;

    fn jet() -> &'static dyn Colormap {
        by_name("jet").unwrap()
    }

    #[test]
    fn a_heatmap_is_scaled_to_its_maximum_after_relu() {
        assert_eq!(normalise(array![[-1.0, 0.0], [1.0, 4.0]].view()), array![[0.0, 0.0], [0.25, 1.0]]);
        let tiny = normalise(array![f32::MIN_POSITIVE / 4.0, 0.0].view());
        assert_eq!(tiny, array![1.0, 0.0]);
        assert_eq!(normalise(array![f32::MAX, f32::MAX / 2.0].view()), array![1.0, 0.5]);
    }

    #[test]
    fn nothing_makes_a_heatmap_nan() {
        let zero = Array2::<f32>::zeros((3, 2));
        assert_eq!(normalise(zero.view()), zero);
        assert_eq!(normalise(array![-1.0, -2.0].view()), array![0.0, 0.0]);
        let odd = array![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0, 1.0];
        assert_eq!(normalise(odd.view()), array![0.0, 0.0, 0.0, 1.0, 0.5]);
        assert_eq!(normalise(array![f32::NAN].view()), array![0.0]);
        assert_eq!(normalise(Array2::<f32>::zeros((0, 4)).view()).dim(), (0, 4));
    }

    #[test]
    fn the_tutorials_blend() {
        let photo = RgbImage::from_pixel(2, 2, Rgb([100, 200, 50]));
        let out = render(&photo, array![[1.0]].view(), &Seen::all(2, 2), jet(), DEFAULT_ALPHA);
        // 0.4 · (100, 200, 50) + 0.6 · (128, 0, 0)
        assert!(out.pixels().all(|p| p.0 == [117, 80, 20]), "{out:?}");
        assert_eq!(render(&photo, array![[0.3]].view(), &Seen::all(2, 2), jet(), 1.0), photo);
        let heat_only = render(&photo, array![[0.0]].view(), &Seen::all(2, 2), jet(), 0.0);
        assert!(heat_only.pixels().all(|p| p.0 == [0, 0, 128]));
    }

    #[test]
    fn what_was_not_seen_is_dimmed() {
        let photo = RgbImage::from_pixel(4, 3, Rgb([100, 100, 100]));
        let seen = Seen { x: 1.0, y: 1.0, width: 2.0, height: 1.0 };
        let out = render(&photo, array![[0.0]].view(), &seen, jet(), 1.0);
        for (x, y, pixel) in out.enumerate_pixels() {
            let inside = y == 1 && (1..3).contains(&x);
            assert_eq!(pixel.0, if inside { [100; 3] } else { [35; 3] }, "{x} {y}");
        }
    }

    #[test]
    fn odd_photos_and_heatmaps_work() {
        let nan = array![[f32::NAN, f32::INFINITY]];
        for (w, h) in [(1, 1), (1, 4000), (4000, 1), (0, 0)] {
            let photo = RgbImage::from_pixel(w, h, Rgb([9, 9, 9]));
            for heat in [nan.clone(), Array2::zeros((1, 9)), Array2::zeros((0, 3))] {
                for seen in [Seen::all(w, h), Seen { x: -3.0, y: 0.4, width: 50.0, height: 0.2 }] {
                    assert_eq!(render(&photo, heat.view(), &seen, jet(), 0.4).dimensions(), (w, h));
                }
            }
        }
        let photo = RgbImage::from_pixel(2, 2, Rgb([9, 9, 9]));
        assert!(render(&photo, nan.view(), &Seen::all(2, 2), jet(), f32::NAN).pixels().len() == 4);
    }
}
