//! Enlarges heat along any number of axes.

use ndarray::{ArrayD, ArrayViewD, Axis};

/// Enlarges (or thins) `heat` to the extents `to`, one an axis: linear along each axis, centres at halves, edges repeated, as
/// [`super::enlarge`] does in a plane.
///
/// An axis without entries gives zeros.
pub fn grow(heat: ArrayViewD<'_, f32>, to: &[usize]) -> ArrayD<f32> {
    let mut all = heat.to_owned();
    for (axis, &size) in to.iter().enumerate().take(heat.ndim()) {
        let from = all.len_of(Axis(axis));
        if from == size {
            continue;
        }
        let mut shape = all.shape().to_vec();
        shape[axis] = size;
        let mut grown = ArrayD::zeros(shape);
        for at in 0..size {
            let Some((low, high, part)) = between(from, size, at) else { continue };
            let mut own = grown.index_axis_mut(Axis(axis), at);
            own.scaled_add(1.0 - part, &all.index_axis(Axis(axis), low));
            own.scaled_add(part, &all.index_axis(Axis(axis), high));
        }
        all = grown;
    }
    all
}

/// The two of `from` samples that place `at` of `to` lies between, and how far it is towards the second; `None` where there are no samples.
pub(super) fn between(from: usize, to: usize, at: usize) -> Option<(usize, usize, f32)> {
    let last = from.checked_sub(1)?;
    let place = (at as f64 + 0.5) * from as f64 / to as f64 - 0.5;
    let low = place.floor().clamp(0.0, last as f64);
    Some((low as usize, (low as usize + 1).min(last), (place - low).clamp(0.0, 1.0) as f32))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;
    use crate::overlay::enlarge;

    #[test]
    fn in_a_plane_it_is_the_usual_enlarging() {
        let heat = array![[0.0, 1.0, 4.0], [2.0, 3.0, 0.5]];
        let grown = grow(heat.view().into_dyn(), &[5, 8]);
        let usual = enlarge(heat.view(), 8, 5).into_dyn();
        assert!(grown.iter().zip(&usual).all(|(a, b)| (a - b).abs() < 1e-6), "{grown} {usual}");
    }

    #[test]
    fn it_equals_torch_in_three_axes() {
        // F.interpolate(torch.arange(8.).reshape(1, 1, 2, 2, 2), size=(3, 2, 4), mode="trilinear")[0, 0, 1, 0]
        let heat = Array3::from_shape_fn((2, 2, 2), |(z, y, x)| (z * 4 + y * 2 + x) as f32).into_dyn();
        let grown = grow(heat.view(), &[3, 2, 4]);
        let row: Vec<f32> = (0..4).map(|x| grown[[1, 0, x]]).collect();
        assert_eq!(row, [2.0, 2.25, 2.75, 3.0]);
        assert_eq!(grow(heat.view(), &[2, 2, 2]), heat);
        assert!(grow(ArrayD::zeros(vec![0]).view(), &[2]).iter().all(|heat| *heat == 0.0));
    }
}
