//! Volumes and videos as a sheet of slices, each with its heat.

use image::{Rgb, RgbImage, imageops};
use ndarray::{Array2, ArrayView2, ArrayView3, ArrayView4, Axis};

use super::{Colormap, grow::between, marks, render};
use crate::image::Seen;

/// How many slices a sheet shows at most.
const MOST_SLICES: usize = 64;

/// How many pixels all slices of a sheet have at most, unless it is one slice.
const MOST_PIXELS: usize = 24 << 20;

/// A slice whose longer side is smaller than this is enlarged, so that its number can be read.
const LEAST_SIDE: usize = 96;

/// Pixels between slices.
const GAP: u32 = 2;

/// The slices of a volume along its first axis of space, in rows from left to right, each under its heat and with its number (from 0) in
/// a corner. Of more than 64 slices, or of very large ones, some are shown, evenly spread.
///
/// `volume` is channels, depth, height, width: three channels are colours, of others the mean is grey; all are scaled alike, from the
/// least value to the largest. `heat` is depth, height, width at any resolution, normalised; it is enlarged along all three. `alpha` is the
/// slices' weight, as [`render`] has it.
pub fn slices(volume: ArrayView4<'_, f32>, heat: ArrayView3<'_, f32>, colormap: &dyn Colormap, alpha: f32) -> RgbImage {
    let (_, depth, height, width) = volume.dim();
    if volume.is_empty() {
        return RgbImage::new(1, 1);
    }
    let shown = shown(depth, height * width);
    let zoom = LEAST_SIDE.div_ceil(height.max(width)).max(1) as u32;
    let (slice_width, slice_height) = (width as u32 * zoom, height as u32 * zoom);
    let columns = columns(shown.len(), slice_width, slice_height);
    let rows = shown.len().div_ceil(columns) as u32;
    let across = columns as u32 * (slice_width + GAP) - GAP;
    let mut all = RgbImage::new(across, rows * (slice_height + GAP) - GAP);
    let levels = Levels::of(volume.iter());
    for (place, &at) in shown.iter().enumerate() {
        let slice = levels.picture(volume.index_axis(Axis(1), at));
        let slice = imageops::resize(&slice, slice_width, slice_height, imageops::FilterType::Nearest);
        let own = heat_at(heat, depth, at);
        let mut drawn = render(&slice, own.view(), &Seen::all(slice_width, slice_height), colormap, alpha);
        marks::write(&mut drawn, (0, 0), &at.to_string(), 1 + slice_height.max(slice_width) / 480);
        let (column, row) = ((place % columns) as i64, (place / columns) as i64);
        let left = column * i64::from(slice_width + GAP);
        imageops::replace(&mut all, &drawn, left, row * i64::from(slice_height + GAP));
    }
    all
}

/// Which slices are shown.
fn shown(depth: usize, pixels: usize) -> Vec<usize> {
    let count = depth.min(MOST_SLICES).min((MOST_PIXELS / pixels.max(1)).max(1));
    // The middles of as many equal parts.
    (0..count).map(|at| (2 * at + 1) * depth / (2 * count)).collect()
}

/// How many slices stand side by side, so that the sheet is about half as wide again as it is high.
fn columns(count: usize, width: u32, height: u32) -> usize {
    let columns = (1.5 * count as f64 * f64::from(height) / f64::from(width)).sqrt().ceil() as usize;
    columns.clamp(1, count.max(1))
}

/// The heat at a slice of the volume.
fn heat_at(heat: ArrayView3<'_, f32>, depth: usize, at: usize) -> Array2<f32> {
    let Some((low, high, part)) = between(heat.len_of(Axis(0)), depth, at) else { return Array2::zeros((0, 0)) };
    let mut own = &heat.index_axis(Axis(0), low) * (1.0 - part);
    own.scaled_add(part, &heat.index_axis(Axis(0), high));
    own
}

/// What values are black and white.
pub(super) struct Levels {
    least: f32,
    most: f32,
}

impl Levels {
    /// From the least of the values to the largest; those that are no finite numbers count for nothing.
    pub(super) fn of<'a>(values: impl Iterator<Item = &'a f32>) -> Self {
        let finite = values.copied().filter(|value| value.is_finite());
        let (least, most) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        Self { least, most }
    }

    /// A value from 0 to 1; 0 where it is no number, or where all are the same.
    pub(super) fn share(&self, value: f32) -> f32 {
        let (range, over) = (f64::from(self.most) - f64::from(self.least), f64::from(value) - f64::from(self.least));
        let share = (over / range) as f32;
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Channels, height, width as a picture.
    fn picture(&self, slice: ArrayView3<'_, f32>) -> RgbImage {
        let (channels, height, width) = slice.dim();
        let level = |value: f32| (self.share(value) * 255.0).round() as u8;
        let grey = |of: ArrayView2<'_, f32>, y: usize, x: usize| [level(of[[y, x]]); 3];
        let mean = slice.mean_axis(Axis(0));
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let (x, y) = (x as usize, y as usize);
            Rgb(match (&mean, channels) {
                (_, 3) => [0, 1, 2].map(|channel| level(slice[[channel, y, x]])),
                (Some(mean), _) => grey(mean.view(), y, x),
                (None, _) => [0; 3],
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Array4};

    use super::*;
    use crate::overlay::by_name;

    #[test]
    fn each_slice_has_its_own_heat() {
        let volume = Array4::<f32>::zeros((1, 4, 100, 100));
        // The last quarter of the depth is hot.
        let heat = Array3::from_shape_fn((4, 1, 1), |(z, ..)| if z == 3 { 1.0 } else { 0.0 });
        let jet = by_name("jet").unwrap();
        let drawn = slices(volume.view(), heat.view(), jet, 0.0);
        assert_eq!(drawn.dimensions(), (3 * 102 - 2, 2 * 102 - 2));
        let middle = |column: u32, row: u32| drawn.get_pixel(column * 102 + 50, row * 102 + 50).0;
        assert_eq!(
            [middle(0, 0), middle(1, 0), middle(2, 0), middle(0, 1)],
            [[0, 0, 128], [0, 0, 128], [0, 0, 128], [128, 0, 0]]
        );
    }

    #[test]
    fn slices_are_what_the_volume_holds() {
        let mut volume = Array4::<f32>::zeros((3, 2, 100, 100));
        volume[[1, 1, 60, 70]] = 5.0;
        volume[[0, 0, 0, 99]] = f32::NAN;
        let heat = Array3::<f32>::zeros((1, 1, 1));
        let drawn = slices(volume.view(), heat.view(), by_name("jet").unwrap(), 1.0);
        assert_eq!(drawn.get_pixel(102 + 70, 60).0, [0, 255, 0]);
        assert_eq!(drawn.get_pixel(102 + 71, 60).0, [0, 0, 0]);
    }

    #[test]
    fn long_and_large_volumes_show_some_slices() {
        assert_eq!(shown(5, 100), [0, 1, 2, 3, 4]);
        let some = shown(1000, 100);
        assert_eq!((some.len(), some[0], some[63]), (64, 7, 992));
        assert_eq!(shown(100, 8192 * 8192), [50]);
        for (count, width, height) in [(1, 10, 10), (16, 100, 100), (64, 1000, 1), (3, 1, 1000)] {
            assert!((1..=count).contains(&columns(count, width, height)));
        }
        let empty = Array4::<f32>::zeros((1, 0, 4, 4));
        slices(empty.view(), Array3::zeros((0, 0, 0)).view(), by_name("jet").unwrap(), 0.4);
        let odd = Array4::<f32>::from_elem((2, 3, 1, 1), f32::INFINITY);
        slices(odd.view(), Array3::zeros((0, 2, 2)).view(), by_name("jet").unwrap(), 0.4);
    }
}
