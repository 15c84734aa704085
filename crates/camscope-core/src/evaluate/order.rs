//! The order in which pixels are changed.

use ndarray::{Array2, ArrayView2};

/// Where each pixel of a map comes, from 0: the most relevant first, equal ones in reading order. What is no number comes last.
pub(super) fn most_relevant_first(map: ArrayView2<'_, f32>) -> Array2<usize> {
    places(map, |value| if value.is_nan() { f32::INFINITY } else { -value })
}

/// The same with the least relevant first; equal ones in reading order again.
pub(super) fn least_relevant_first(map: ArrayView2<'_, f32>) -> Array2<usize> {
    places(map, |value| if value.is_nan() { f32::INFINITY } else { value })
}

fn places(map: ArrayView2<'_, f32>, key: impl Fn(f32) -> f32) -> Array2<usize> {
    let keys: Vec<f32> = map.iter().map(|value| key(*value)).collect();
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&one, &other| keys[one].total_cmp(&keys[other]));
    let mut places = vec![0; keys.len()];
    for (place, pixel) in order.into_iter().enumerate() {
        places[pixel] = place;
    }
    Array2::from_shape_vec(map.dim(), places).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn equal_pixels_are_in_reading_order_either_way() {
        let map = array![[0.5, 1.0, 0.5], [0.0, f32::NAN, 0.0]];
        assert_eq!(most_relevant_first(map.view()), array![[1, 0, 2], [3, 5, 4]]);
        assert_eq!(least_relevant_first(map.view()), array![[2, 4, 3], [0, 5, 1]]);
    }
}
