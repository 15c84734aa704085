//! SESS: Grad-CAM of many windows of the enlarged image, put together.

use ndarray::{Array2, ArrayD, ArrayView2, Axis, Ix2, Slice, Zip, s};

use super::{
    Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Trial},
    whole,
};
use crate::{error::Result, model::Layout, overlay::enlarge};

/// SESS (Tursun et al., "SESS: Saliency Enhancing with Scaling and Sliding", 2022), as pytorch-grad-cam has it: the image is enlarged step by
/// step, windows of the input's size are cut out of it side by side, and the Grad-CAM of each, weighted by the probability that the model sees
/// the class there, is put back to its place. Of each pixel the mean over those windows that have heat there, blurred.
pub(super) struct Sess;

/// How much larger each scale is than the one before, as a share of the input.
const STEP: f64 = 2.0 / 7.0;
/// The blur at the end: pixels on each side, and the deviation.
const REACH: i64 = 5;
const DEVIATION: f64 = 5.0;

impl HostMethod for Sess {
    fn name(&self) -> &'static str {
        "sess"
    }

    fn about(&self) -> &'static str {
        "Grad-CAM of many windows of the enlarged image, weighted by the class's probability in each (Tursun et al. 2022)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter {
            name: "scales",
            default: 12.0,
            about: "how many sizes of the image, each 2/7 of the input larger",
        }]
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, gradient: true, ..Needs::default() }
    }

    fn keeps_places(&self) -> bool {
        false
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        let side = |scale: usize| (1.0 + STEP * scale as f64).ceil();
        (0..parameters.get("scales").clamp(1.0, 100.0) as usize).map(|scale| 1.1 * side(scale) * side(scale)).sum()
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let scales = whole(self.name(), "scales", parameters.get("scales"))?;
        let [height, width] = trial.size();
        let shorter = height.min(width).max(1);
        let step = (shorter as f64 * STEP).round() as usize;
        let (image, layout) = (trial.image.to_owned(), trial.layout);
        let mut found = Vec::new();
        for scale in 0..scales {
            let of = |side: usize| side * (shorter + step * scale) / shorter;
            let size = [of(height), of(width)];
            let large = enlarged(&image, layout, size);
            let mut corners = Vec::new();
            for top in starts(size[0], height) {
                corners.extend(starts(size[1], width).into_iter().map(|left| [top, left]));
            }
            trial.work.plan(corners.len());
            for some in corners.chunks(trial.batch.max(1)) {
                let windows: Vec<ArrayD<f32>> =
                    some.iter().map(|at| window(&large, layout, *at, [height, width])).collect();
                for (corner, (weight, heat)) in some.iter().zip((trial.cam)(super::together(windows)?)?) {
                    found.push((size, *corner, weight.max(0.0), heat));
                }
            }
        }
        let most = found.iter().map(|(.., weight, _)| *weight).fold(0.0, f32::max);
        let (mut total, mut count) = (Array2::<f32>::zeros((height, width)), Array2::<f32>::zeros((height, width)));
        for (size, [top, left], weight, heat) in found {
            let weight = if most > 0.0 { weight / most } else { 1.0 };
            let own = scaled(enlarge(scaled(heat).view(), width as u32, height as u32));
            let mut whole = Array2::<f32>::zeros((size[0], size[1]));
            whole.slice_mut(s![top..top + height, left..left + width]).assign(&(own * weight));
            let back = enlarge(whole.view(), width as u32, height as u32);
            Zip::from(&mut total).and(&mut count).and(&back).for_each(|total, count, heat| {
                if *heat > 0.0 {
                    *total += heat;
                    *count += 1.0;
                }
            });
        }
        Zip::from(&mut total).and(&count).for_each(|total, count| *total /= count.max(1.0));
        Ok(scaled(blurred(total.view())).into())
    }
}

/// Where windows of that length begin, side by side; the last one ends where the whole does.
fn starts(whole: usize, length: usize) -> Vec<usize> {
    let mut starts: Vec<usize> = (0..whole.saturating_sub(length)).step_by(length.max(1)).collect();
    starts.push(whole.saturating_sub(length));
    starts.dedup();
    starts
}

fn enlarged(image: &ArrayD<f32>, layout: Layout, [height, width]: [usize; 2]) -> ArrayD<f32> {
    let [down, across] = layout.spatial_axes();
    let channels = if layout == Layout::Nchw { 1 } else { 3 };
    let mut shape = image.shape().to_vec();
    (shape[down], shape[across]) = (height, width);
    let mut large = ArrayD::zeros(shape);
    for (from, mut to) in image.axis_iter(Axis(channels)).zip(large.axis_iter_mut(Axis(channels))) {
        let plane = from.index_axis(Axis(0), 0);
        if let Ok(plane) = plane.into_dimensionality::<Ix2>() {
            to.index_axis_mut(Axis(0), 0).assign(&enlarge(plane, width as u32, height as u32).into_dyn());
        }
    }
    large
}

fn window(image: &ArrayD<f32>, layout: Layout, [top, left]: [usize; 2], [height, width]: [usize; 2]) -> ArrayD<f32> {
    let [down, across] = layout.spatial_axes();
    let mut cut = image.view();
    cut.slice_axis_inplace(Axis(down), Slice::from(top..top + height));
    cut.slice_axis_inplace(Axis(across), Slice::from(left..left + width));
    cut.to_owned()
}

/// From 0 to 1, as pytorch-grad-cam scales; a constant becomes 0.
fn scaled(map: Array2<f32>) -> Array2<f32> {
    let least = map.iter().copied().fold(f32::INFINITY, f32::min);
    let map = map - if least.is_finite() { least } else { 0.0 };
    let most = map.iter().copied().fold(0.0, f32::max);
    map / (1e-7 + most)
}

/// OpenCV's Gaussian blur: edges mirrored, without repeating the last one.
fn blurred(map: ArrayView2<'_, f32>) -> Array2<f32> {
    let weights: Vec<f64> =
        (-REACH..=REACH).map(|by| (-(by * by) as f64 / (2.0 * DEVIATION * DEVIATION)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mirrored = |at: i64, size: usize| {
        let last = size as i64 - 1;
        if last == 0 {
            return 0;
        }
        let at = at.rem_euclid(2 * last);
        (if at > last { 2 * last - at } else { at }) as usize
    };
    let along = |map: ArrayView2<'_, f32>| {
        let (height, width) = map.dim();
        Array2::from_shape_fn((height, width), |(y, x)| {
            let taps = (-REACH..=REACH).zip(&weights);
            let value: f64 =
                taps.map(|(by, weight)| weight * f64::from(map[[y, mirrored(x as i64 + by, width)]])).sum();
            (value / sum) as f32
        })
    };
    let across = along(map);
    along(across.t()).reversed_axes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_all_and_stay_inside() {
        assert_eq!(starts(224, 224), [0]);
        assert_eq!(starts(288, 224), [0, 64]);
        assert_eq!(starts(448, 224), [0, 224]);
        assert_eq!(starts(480, 224), [0, 224, 256]);
    }

    #[test]
    fn blurring_keeps_constants_and_mirrors_edges() {
        assert!(blurred(Array2::from_elem((3, 7), 2.0f32).view()).iter().all(|value| (value - 2.0).abs() < 1e-6));
        assert_eq!(blurred(Array2::from_elem((1, 1), 2.0f32).view())[[0, 0]], 2.0);
    }
}
