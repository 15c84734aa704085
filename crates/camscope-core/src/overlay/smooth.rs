//! How a heatmap is enlarged to the pixels of its photo.

use std::str::FromStr;

use image::RgbImage;
use ndarray::{Array2, ArrayView2, Axis};

use super::{
    blend::{Grid, render_grid},
    colormap::Colormap,
    enlarge::grid_on_photo,
};
use crate::image::Seen;

/// How a heatmap of few cells becomes one of many pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Enlarge {
    /// Smooth, without the creases along rows and columns that make crosses and diamonds of single cells.
    #[default]
    Bicubic,
    /// Straight between the cells' centres, as OpenCV and most tools do.
    Bilinear,
    /// The cells as they are: nothing is shown that the model didn't compute.
    Nearest,
}

impl Enlarge {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bicubic, Self::Bilinear, Self::Nearest];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bicubic => "bicubic",
            Self::Bilinear => "bilinear",
            Self::Nearest => "nearest",
        }
    }
}

impl std::fmt::Display for Enlarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Enlarge {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|enlarge| enlarge.name() == name);
        found.ok_or_else(|| format!("it is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// As [`super::render`], with the heatmap enlarged in that way.
pub fn render_enlarged(
    photo: &RgbImage,
    heatmap: ArrayView2<'_, f32>,
    seen: &Seen,
    colormap: &dyn Colormap,
    (alpha, enlarge): (f32, Enlarge),
) -> RgbImage {
    let (fine, grid) = fine(heatmap, seen, enlarge);
    render_grid(photo, (fine.view(), grid), seen, colormap, alpha)
}

/// As [`super::heat_on_photo`], over `width` × `height` pixels, with the heatmap enlarged in that way.
pub fn heat_enlarged(
    heatmap: ArrayView2<'_, f32>,
    seen: &Seen,
    (width, height): (u32, u32),
    enlarge: Enlarge,
) -> Array2<f32> {
    let (fine, grid) = fine(heatmap, seen, enlarge);
    grid_on_photo((fine.view(), grid), seen, width, height)
}

/// The heatmap as fine as pixels need it, and what lies between its values.
fn fine<'a>(heatmap: ArrayView2<'a, f32>, seen: &Seen, enlarge: Enlarge) -> (Cow2<'a>, Grid) {
    let size = (seen.width.max(0.0), seen.height.max(0.0));
    let grid = if enlarge == Enlarge::Nearest { Grid::Cells } else { Grid::Between };
    (finer(heatmap, enlarge, size), grid)
}

/// The heat at a place of the heatmap, given as fractions of its width and height; `None` beyond it.
pub fn heat_at(heatmap: ArrayView2<'_, f32>, enlarge: Enlarge, (x, y): (f64, f64)) -> Option<f32> {
    let (rows, columns) = heatmap.dim();
    if rows == 0 || columns == 0 || !(0.0..1.0).contains(&x) || !(0.0..1.0).contains(&y) {
        return None;
    }
    if enlarge == Enlarge::Nearest {
        return heatmap.get(((y * rows as f64) as usize, (x * columns as f64) as usize)).copied();
    }
    let weights = |at: f64, count: usize| match enlarge {
        Enlarge::Bicubic => cubic(at * count as f64 - 0.5, count),
        _ => linear(at * count as f64 - 0.5, count),
    };
    let (across, down) = (weights(x, columns), weights(y, rows));
    let row = |y: usize| across.iter().map(|(x, weight)| heatmap[(y, *x)] * weight).sum::<f32>();
    let heat = down.iter().map(|(y, weight)| row(*y) * weight).sum::<f32>();
    let (least, most) = range(heatmap);
    Some(heat.clamp(least, most))
}

/// Steps of the finer grid in a cell: straight lines between these are as good as the curve itself.
const STEPS: usize = 16;

/// The heatmap on a grid so fine that straight lines between its samples are the smooth curve; itself where the way to enlarge is another, or
/// where it has as many cells as pixels.
fn finer<'a>(heatmap: ArrayView2<'a, f32>, enlarge: Enlarge, (width, height): (f64, f64)) -> Cow2<'a> {
    if enlarge != Enlarge::Bicubic || heatmap.is_empty() {
        return Cow2::View(heatmap);
    }
    let (rows, columns) = heatmap.dim();
    let to = |cells: usize, pixels: f64| (pixels.ceil().min(1e6) as usize).min(cells * STEPS).max(cells);
    Cow2::Own(bicubic(heatmap, to(columns, width), to(rows, height)))
}

/// A view, or an array of its own.
enum Cow2<'a> {
    View(ArrayView2<'a, f32>),
    Own(Array2<f32>),
}

impl Cow2<'_> {
    fn view(&self) -> ArrayView2<'_, f32> {
        match self {
            Self::View(view) => view.view(),
            Self::Own(array) => array.view(),
        }
    }
}

/// Enlarges `heatmap` (h × w) to `height` × `width`, smoothly: the same as PyTorch's `interpolate` with `mode="bicubic"` and OpenCV's
/// `INTER_CUBIC` (pixel centres at halves, edges repeated, a = −0.75), but kept between the heatmap's least and greatest value, beyond which
/// these overshoot.
pub fn bicubic(heatmap: ArrayView2<'_, f32>, width: usize, height: usize) -> Array2<f32> {
    let (rows, columns) = heatmap.dim();
    if rows == 0 || columns == 0 {
        return Array2::zeros((height, width));
    }
    let (least, most) = range(heatmap);
    let taps = |count: usize, size: usize| -> Vec<Vec<(usize, f32)>> {
        (0..size).map(|at| cubic((at as f64 + 0.5) * count as f64 / size as f64 - 0.5, count)).collect()
    };
    let (across, down) = (taps(columns, width), taps(rows, height));
    let mut wide = Array2::zeros((rows, width));
    for (from, mut to) in heatmap.axis_iter(Axis(0)).zip(wide.axis_iter_mut(Axis(0))) {
        for (to, taps) in to.iter_mut().zip(&across) {
            *to = taps.iter().map(|(x, weight)| from[*x] * weight).sum();
        }
    }
    let mut out: Array2<f32> = Array2::zeros((height, width));
    for (mut to, taps) in out.axis_iter_mut(Axis(0)).zip(&down) {
        for (y, weight) in taps {
            to.scaled_add(*weight, &wide.row(*y));
        }
        to.mapv_inplace(|heat| heat.clamp(least, most));
    }
    out
}

/// The least and the greatest finite value; 0 and 0 where there is none.
fn range(heatmap: ArrayView2<'_, f32>) -> (f32, f32) {
    let finite = heatmap.iter().copied().filter(|heat| heat.is_finite());
    finite
        .fold(None, |range: Option<(f32, f32)>, heat| {
            let (least, most) = range.unwrap_or((heat, heat));
            Some((least.min(heat), most.max(heat)))
        })
        .unwrap_or((0.0, 0.0))
}

/// The two samples around a place, and their weights.
fn linear(at: f64, count: usize) -> Vec<(usize, f32)> {
    let low = at.floor();
    let part = (at - low) as f32;
    [(0, 1.0 - part), (1, part)].map(|(step, weight)| (near(low, step, count), weight)).to_vec()
}

/// The four samples around a place, and their weights.
fn cubic(at: f64, count: usize) -> Vec<(usize, f32)> {
    const A: f64 = -0.75;
    let low = at.floor();
    let part = at - low;
    let inner = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let outer = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [(-1, outer(1.0 + part)), (0, inner(part)), (1, inner(1.0 - part)), (2, outer(2.0 - part))]
        .map(|(step, weight)| (near(low, step, count), weight as f32))
        .to_vec()
}

/// The sample so many steps on, or the last one there is.
fn near(low: f64, step: i64, count: usize) -> usize {
    (low as i64 + step).clamp(0, count as i64 - 1) as usize
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::by_name;
    use super::*;

    #[test]
    fn heat_on_its_own_is_where_the_picture_has_it() {
        let heat = array![[0.0, 1.0], [0.5, 0.25]];
        let seen = Seen { x: 2.0, y: 0.0, width: 4.0, height: 4.0 };
        let cells = heat_enlarged(heat.view(), &seen, (8, 4), Enlarge::Nearest);
        assert_eq!(cells.row(0).to_vec(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        let straight = heat_enlarged(heat.view(), &seen, (8, 4), Enlarge::Bilinear);
        assert_eq!(straight, super::super::heat_on_photo(heat.view(), &seen, 8, 4));
    }

    #[test]
    fn it_equals_torch_within_the_range_of_the_heat() {
        // torch.nn.functional.interpolate(t, size=(3, 6), mode="bicubic", align_corners=False), t = [[0, 1, 0.25], [0.5, 0.75, 1]]
        let heat = array![[0.0, 1.0, 0.25], [0.5, 0.75, 1.0]];
        let torch = [
            [-0.155_738, 0.227_328_87, 0.868_645_7, 0.944_448, 0.411_929_73, 0.096_639],
            [0.184_082_03, 0.400_390_62, 0.759_765_6, 0.884_277_34, 0.703_613_3, 0.598_632_8],
            [0.523_902, 0.573_452_4, 0.650_885_8, 0.824_106_9, 0.995_296_96, 1.100_626_6],
        ];
        let out = bicubic(heat.view(), 6, 3);
        for (mine, torch) in out.iter().zip(torch.as_flattened()) {
            assert!((mine - f32::clamp(*torch, 0.0, 1.0)).abs() < 1e-5, "{out}");
        }
        assert_eq!(bicubic(Array2::zeros((0, 0)).view(), 2, 1), array![[0.0, 0.0]]);
        assert_eq!(bicubic(heat.view(), 3, 2), heat);
    }

    #[test]
    fn a_single_hot_cell_is_round() {
        let mut heat = Array2::zeros((7, 7));
        heat[(3, 3)] = 1.0;
        // How far out the heat is a half, along the row and along the diagonal.
        let reach = |enlarge: Enlarge, (dx, dy): (f64, f64)| {
            let at = |step: f64| heat_at(heat.view(), enlarge, (0.5 + dx * step, 0.5 + dy * step)).unwrap();
            (0..2000).map(|step| f64::from(step) * 1e-4).find(|step| at(*step) < 0.5).unwrap()
        };
        let diagonal = std::f64::consts::FRAC_1_SQRT_2;
        let roundness = |enlarge| reach(enlarge, (diagonal, diagonal)) / reach(enlarge, (1.0, 0.0));
        assert!(roundness(Enlarge::Bilinear) < 0.85, "{}", roundness(Enlarge::Bilinear));
        assert!((0.9..1.1).contains(&roundness(Enlarge::Bicubic)), "{}", roundness(Enlarge::Bicubic));
    }

    #[test]
    fn nearest_shows_the_cells_and_nothing_between() {
        let photo = RgbImage::new(14, 6);
        let heat = array![[0.0, 0.5], [1.0, 0.25]];
        let seen = Seen { x: 2.0, y: 0.0, width: 10.0, height: 6.0 };
        let map = by_name("jet").unwrap();
        let drawn = render_enlarged(&photo, heat.view(), &seen, map, (0.0, Enlarge::Nearest));
        let colours = map.table();
        for (x, y, pixel) in drawn.enumerate_pixels() {
            let expected = match x {
                2..12 => colours[(heat[(y as usize / 3, (x as usize - 2) / 5)] * 255.0) as usize],
                _ => [0, 0, 0],
            };
            assert_eq!(pixel.0, expected, "{x} {y}");
        }
    }

    #[test]
    fn what_is_read_at_a_point_is_what_is_drawn_there() {
        let heat = Array2::from_shape_fn((5, 4), |(y, x)| ((y * 7 + x * 5) % 9) as f32 / 8.0);
        let (width, height) = (64u32, 80u32);
        let photo = RgbImage::new(width, height);
        let grey = by_name("viridis").unwrap();
        for enlarge in Enlarge::ALL {
            let drawn = render_enlarged(&photo, heat.view(), &Seen::all(width, height), grey, (0.0, enlarge));
            for (x, y, pixel) in drawn.enumerate_pixels() {
                let at = ((f64::from(x) + 0.5) / f64::from(width), (f64::from(y) + 0.5) / f64::from(height));
                let level = (heat_at(heat.view(), enlarge, at).unwrap() * 255.0) as i32;
                let near = |level: &i32| grey.table()[(*level).clamp(0, 255) as usize] == pixel.0;
                assert!([level, level - 1, level + 1].iter().any(near), "{enlarge} {x} {y} {level}");
            }
        }
        assert_eq!(heat_at(heat.view(), Enlarge::Nearest, (1.0, 0.5)), None);
    }

    #[test]
    fn names_are_read() {
        for enlarge in Enlarge::ALL {
            assert_eq!(enlarge.name().parse(), Ok(enlarge));
        }
        assert_eq!("lanczos".parse::<Enlarge>().unwrap_err(), "it is none of bicubic, bilinear, nearest");
    }
}
