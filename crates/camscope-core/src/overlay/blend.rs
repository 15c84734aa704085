//! Normalises a heatmap and blends its colours with the photo.

use image::RgbImage;
use ndarray::{Array, ArrayView, ArrayView2, Dimension, aview2};

use super::colormap::Colormap;
pub(super) use super::enlarge::Grid;
use super::enlarge::{HeatRow, HeatRows, between};
use crate::image::Seen;
use onnx_grad_ort::{
    cpu_features::{self, CpuFeatures},
    multiversion,
};

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

/// Scales a heatmap of both signs to 0..=1 around a half: everything is divided by twice the largest magnitude, then 0.5 is added.
///
/// A heatmap that is zero becomes 0.5 everywhere, never NaN; values that are no finite numbers count as 0.
pub fn normalise_signed<D: Dimension>(heatmap: ArrayView<'_, f32, D>) -> Array<f32, D> {
    let finite = heatmap.mapv(|v| if v.is_finite() { v } else { 0.0 });
    let largest = finite.fold(0.0f32, |largest, &v| largest.max(v.abs()));
    if largest == 0.0 { finite.mapv(|_| 0.5) } else { finite.mapv(|v| 0.5 + 0.5 * (v / largest)) }
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
    render_grid(photo, (heatmap, Grid::Between), seen, colormap, alpha)
}

/// As [`render`], of a heatmap whose values mean that.
pub(super) fn render_grid(
    photo: &RgbImage,
    heatmap: (ArrayView2<'_, f32>, Grid),
    seen: &Seen,
    colormap: &dyn Colormap,
    alpha: f32,
) -> RgbImage {
    draw(cpu_features::detect(), photo, heatmap, seen, colormap, alpha)
}

/// As [`render_grid`], in these cpu_features.
fn draw(
    has: CpuFeatures,
    photo: &RgbImage,
    (heatmap, grid): (ArrayView2<'_, f32>, Grid),
    seen: &Seen,
    colormap: &dyn Colormap,
    alpha: f32,
) -> RgbImage {
    let (width, height) = photo.dimensions();
    let alpha = if alpha.is_finite() { alpha.clamp(0.0, 1.0) } else { DEFAULT_ALPHA };
    // An empty heatmap colours what it covers as zero: the rectangle must not depend on it.
    let cold = [[0.0]];
    let heatmap = if heatmap.is_empty() { aview2(&cold) } else { heatmap };
    let mut heat = HeatRows::new((heatmap, grid), seen, width, height);
    let seen = heat.columns().start * 3..heat.columns().end * 3;
    let colours = colormap.table().map(|[red, green, blue]| [red, green, blue, 0]);

    let mut out = RgbImage::new(width, height);
    let row = (width as usize * 3).max(1);
    for (y, (to, from)) in out.chunks_exact_mut(row).zip(photo.chunks_exact(row)).enumerate() {
        match heat.at(y) {
            Some(heat) => {
                dim(has, &from[..seen.start], &mut to[..seen.start]);
                colour(has, &from[seen.clone()], heat, &colours, alpha, &mut to[seen.clone()]);
                dim(has, &from[seen.end..], &mut to[seen.end..]);
            }
            None => dim(has, from, to),
        }
    }
    out
}

multiversion! {
    /// Bytes of the photo that the network did not see.
    fn dim(from: &[u8], to: &mut [u8]) = dim_plainly
}

#[inline(always)]
fn dim_plainly(from: &[u8], to: &mut [u8]) {
    for (to, &from) in to.iter_mut().zip(from) {
        // Adding a half and truncating rounds, at a fraction of what `round` takes.
        *to = whole(f32::from(from) * DIMMED + 0.5);
    }
}

multiversion! {
    /// Bytes of the photo under heat; there are three of them for each value of the heat.
    fn colour(from: &[u8], heat: HeatRow<'_>, colours: &[[u8; 4]; 256], alpha: f32, to: &mut [u8]) = colour_plainly
}

#[inline(always)]
fn colour_plainly(from: &[u8], heat: HeatRow<'_>, colours: &[[u8; 4]; 256], alpha: f32, to: &mut [u8]) {
    let mut levels = [0u8; BLOCK];
    // Colours are copied as four bytes, of which the next one overwrites the last.
    let mut painted = [0u8; BLOCK * 3 + 1];
    let bytes = to.chunks_mut(BLOCK * 3).zip(from.chunks(BLOCK * 3));
    let heats = heat.low.chunks(BLOCK).zip(heat.high.chunks(BLOCK));
    for ((to, from), (low, high)) in bytes.zip(heats) {
        for ((level, &low), &high) in levels.iter_mut().zip(low).zip(high) {
            *level = whole(between(low, high, heat.part) * 255.0);
        }
        for (pixel, &level) in levels[..low.len()].iter().enumerate() {
            painted[pixel * 3..][..4].copy_from_slice(&colours[usize::from(level)]);
        }
        for ((to, &from), &colour) in to.iter_mut().zip(from).zip(&painted) {
            *to = whole(f32::from(from) * alpha + f32::from(colour) * (1.0 - alpha) + 0.5);
        }
    }
}

/// Pixels that are coloured at once: few enough that everything in between stays in the nearest cache.
const BLOCK: usize = 256;

/// As `value as u8`, which the compiler doesn't write for many values at once: truncated, 0 or 255 beyond that, and 0 for NaN.
#[inline(always)]
fn whole(value: f32) -> u8 {
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < 255.0 { value } else { 255.0 };
    // SAFETY: it is a number from 0 to 255.
    unsafe { value.to_int_unchecked::<i32>() as u8 }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use ndarray::{Array2, array};

    use super::super::{by_name, heat_on_photo};
    use super::*;

    #[test]
    fn heat_of_both_signs_lies_around_a_half() {
        assert_eq!(normalise_signed(array![[2.0, -4.0], [0.0, f32::NAN]].view()), array![[0.75, 0.0], [0.5, 0.5]]);
        assert_eq!(normalise_signed(array![[0.0, 0.0]].view()), array![[0.5, 0.5]]);
        assert_eq!(normalise_signed(array![[f32::MAX, -f32::MAX]].view()), array![[1.0, 0.0]]);
    }

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

    /// The overlay as it is defined: a pixel after the other.
    fn by_definition(photo: &RgbImage, heatmap: ArrayView2<'_, f32>, seen: &Seen, alpha: f32) -> RgbImage {
        let (width, height) = photo.dimensions();
        let heat = heat_on_photo(heatmap, seen, width, height);
        let covered = heat_on_photo(array![[1.0]].view(), seen, width, height);
        let colours = jet().table();
        RgbImage::from_fn(width, height, |x, y| {
            let at = (y as usize, x as usize);
            let photo = photo[(x, y)].0.map(f32::from);
            if covered[at] == 0.0 {
                return Rgb(photo.map(|value| (value * DIMMED).round() as u8));
            }
            let colour = colours[usize::from((heat[at] * 255.0) as u8)];
            let blend = |channel: usize| photo[channel] * alpha + f32::from(colour[channel]) * (1.0 - alpha);
            Rgb([0, 1, 2].map(|channel| (blend(channel) + 0.5) as u8))
        })
    }

    #[test]
    fn every_way_to_compute_it_is_the_definition() {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        for (w, h) in [(256, 4), (700, 40), (13, 21), (1, 30), (600, 1)] {
            let photo = RgbImage::from_fn(w, h, |_, _| Rgb([(); 3].map(|()| noise() as u8)));
            // A bit more than 0 to 1, since that is clamped, and no numbers in between.
            let mut heat = Array2::from_shape_fn((7, 9), |_| noise() as f32 / 15e6 - 0.05);
            heat[(3, 4)] = f32::NAN;
            let (width, height) = (f64::from(w), f64::from(h));
            let square = Seen { x: (width - height) / 2.0, y: 0.0, width: height, height };
            let part = Seen { x: width * 0.1 + 0.2, y: height * 0.2, width: width * 0.6, height: height * 0.7 };
            for seen in [Seen::all(w, h), square, part] {
                for alpha in [0.0, 0.1, DEFAULT_ALPHA, 2.0 / 3.0, 1.0] {
                    let expected = by_definition(&photo, heat.view(), &seen, alpha);
                    for has in CpuFeatures::each() {
                        let drawn = draw(has, &photo, (heat.view(), Grid::Between), &seen, jet(), alpha);
                        assert!(drawn == expected, "{w}×{h} {seen:?} {alpha} {has:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_is_blended_and_dimmed_as_defined() {
        let photo = RgbImage::from_fn(256, 256, |x, _| Rgb([x as u8; 3]));
        let heat = Array2::from_shape_fn((256, 256), |(y, _)| y as f32 / 255.0);
        for seen in [Seen::all(256, 256), Seen { x: 300.0, ..Seen::all(256, 256) }] {
            for alpha in (0..=20).map(|part| part as f32 / 20.0) {
                let expected = by_definition(&photo, heat.view(), &seen, alpha);
                assert!(render(&photo, heat.view(), &seen, jet(), alpha) == expected, "{seen:?} {alpha}");
            }
        }
    }

    #[test]
    fn truncation_is_the_languages() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 254.999_98, 255.0, 255.99, 256.0, 1e30, -1e-30];
        for value in odd.into_iter().chain((-600..600).map(|v| v as f32 / 2.0)) {
            assert_eq!(whole(value), value as u8, "{value}");
        }
    }
}
