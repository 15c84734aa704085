//! Pixels that are changed step by step, and what the model makes of it.

use ndarray::{Array2, Array3, ArrayView3};

use super::Asked;
use crate::error::Result;

/// How sure the model is, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What is done to the picture.
    pub name: &'static str,
    /// The share of the pixels that are changed, from 0 to 1.
    pub shares: Vec<f64>,
    /// The confidence at each.
    pub confidences: Vec<f64>,
}

impl Curve {
    /// The area under the curve by trapezoids, over the range of its shares: the mean confidence. `None` where it has no two points.
    pub fn area(&self) -> Option<f64> {
        let points: Vec<(f64, f64)> = self.shares.iter().copied().zip(self.confidences.iter().copied()).collect();
        let width = points.last()?.0 - points.first()?.0;
        let slices = points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0);
        (width > 0.0).then(|| slices.sum::<f64>() / width)
    }
}

/// The first picture with those pixels of the second that come before `count` in the order.
pub(super) fn mixed(
    first: ArrayView3<'_, f32>,
    second: ArrayView3<'_, f32>,
    places: &Array2<usize>,
    count: usize,
) -> Array3<f32> {
    let mut mixed = first.to_owned();
    for (mut to, from) in mixed.outer_iter_mut().zip(second.outer_iter()) {
        for ((to, from), place) in to.iter_mut().zip(from).zip(places) {
            if *place < count {
                *to = *from;
            }
        }
    }
    mixed
}

/// The confidence where a growing share of the pixels of the picture `first` is that of `second`, in `steps` equal steps. `ends` are the
/// confidences of either as a whole, where they are known.
pub(super) fn curve(
    asked: &Asked<'_>,
    name: &'static str,
    (first, second): (ArrayView3<'_, f32>, ArrayView3<'_, f32>),
    places: &Array2<usize>,
    steps: usize,
    ends: [Option<f32>; 2],
) -> Result<Curve> {
    let steps = steps.max(1);
    let unknown: Vec<usize> =
        (0..=steps).filter(|step| !(*step == 0 && ends[0].is_some() || *step == steps && ends[1].is_some())).collect();
    let count = |step: usize| (places.len() as f64 * step as f64 / steps as f64).round() as usize;
    let found = asked.confidences(unknown.len(), &|at| mixed(first, second, places, count(unknown[at])))?;
    let confidences = ends[0].into_iter().chain(found).chain(ends[1]);
    Ok(Curve {
        name,
        shares: (0..=steps).map(|step| step as f64 / steps as f64).collect(),
        confidences: confidences.map(f64::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;

    #[test]
    fn the_area_is_the_mean_height() {
        let curve = |shares: &[f64], confidences: &[f64]| Curve {
            name: "",
            shares: shares.to_vec(),
            confidences: confidences.to_vec(),
        };
        assert_eq!(curve(&[0.0, 0.5, 1.0], &[1.0, 0.5, 0.0]).area(), Some(0.5));
        assert_eq!(curve(&[0.1, 0.9], &[0.25, 0.75]).area(), Some(0.5));
        assert_eq!(curve(&[0.5], &[1.0]).area(), None);
    }

    #[test]
    fn pixels_are_changed_in_every_channel() {
        let (first, second) = (Array3::zeros((2, 1, 3)), Array3::ones((2, 1, 3)));
        let mixed = mixed(first.view(), second.view(), &array![[2, 0, 1]], 2);
        assert_eq!(mixed, array![[[0.0f32, 1.0, 1.0]], [[0.0, 1.0, 1.0]]]);
    }
}
