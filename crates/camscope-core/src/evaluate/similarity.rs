//! How alike two maps are.

use ndarray::{ArrayView2, s};

use crate::compare;

/// Spearman's rank correlation, equal numbers sharing their ranks' mean; `None` where either map is flat or their sizes differ.
pub fn rank_correlation(one: ArrayView2<'_, f32>, other: ArrayView2<'_, f32>) -> Option<f64> {
    let is_flat = |map: ArrayView2<'_, f32>| map.iter().zip(map.iter().skip(1)).all(|(a, b)| a == b);
    if one.dim() != other.dim() || is_flat(one) || is_flat(other) {
        return None;
    }
    let values = |map: ArrayView2<'_, f32>| map.iter().copied().collect::<Vec<f32>>();
    Some(compare::rank_correlation(&values(one), &values(other)))
}

/// The side of the windows of [`structural_similarity`], in pixels.
const WINDOW: usize = 7;

/// The structural similarity of two maps (Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004): over
/// windows of 7 × 7 pixels, as scikit-image has it by default; the range is that of both maps' numbers. `None` where their sizes differ or
/// they are smaller than a window; 1 of maps that are one number.
pub fn structural_similarity(one: ArrayView2<'_, f32>, other: ArrayView2<'_, f32>) -> Option<f64> {
    let (height, width) = one.dim();
    if one.dim() != other.dim() || height < WINDOW || width < WINDOW {
        return None;
    }
    let all = || one.iter().chain(other.iter()).map(|value| f64::from(*value));
    let range = all().fold(f64::NEG_INFINITY, f64::max) - all().fold(f64::INFINITY, f64::min);
    if range == 0.0 {
        return Some(1.0);
    }
    let (c1, c2) = ((0.01 * range).powi(2), (0.03 * range).powi(2));
    let count = (WINDOW * WINDOW) as f64;
    let mut sum = 0.0;
    for top in 0..=height - WINDOW {
        for left in 0..=width - WINDOW {
            let window = s![top..top + WINDOW, left..left + WINDOW];
            let (mut a, mut b, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (x, y) in one.slice(window).iter().zip(other.slice(window).iter()) {
                let (x, y) = (f64::from(*x), f64::from(*y));
                (a, b, aa, bb, ab) = (a + x, b + y, aa + x * x, bb + y * y, ab + x * y);
            }
            let (mean_a, mean_b) = (a / count, b / count);
            // Of a sample.
            let covariance = |sum: f64, means: f64| (sum / count - means) * count / (count - 1.0);
            let (va, vb) = (covariance(aa, mean_a * mean_a), covariance(bb, mean_b * mean_b));
            let vab = covariance(ab, mean_a * mean_b);
            sum += (2.0 * mean_a * mean_b + c1) * (2.0 * vab + c2)
                / ((mean_a * mean_a + mean_b * mean_b + c1) * (va + vb + c2));
        }
    }
    Some(sum / ((height - WINDOW + 1) * (width - WINDOW + 1)) as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn ranks_count_and_not_values() {
        let one = array![[1.0, 2.0], [3.0, 100.0]];
        assert_eq!(rank_correlation(one.view(), array![[0.1, 0.2], [0.3, 0.31]].view()), Some(1.0));
        assert_eq!(rank_correlation(one.view(), array![[4.0, 3.0], [2.0, 1.0]].view()), Some(-1.0));
        assert_eq!(rank_correlation(one.view(), array![[1.0, 1.0], [1.0, 1.0]].view()), None);
    }

    #[test]
    fn a_map_is_like_itself() {
        let map = Array2::from_shape_fn((9, 10), |(y, x)| (y * x) as f32);
        assert!((structural_similarity(map.view(), map.view()).unwrap() - 1.0).abs() < 1e-9);
        assert!(structural_similarity(map.view(), map.mapv(|v| 72.0 - v).view()).unwrap() < 0.2);
        assert_eq!(structural_similarity(map.view(), Array2::zeros((3, 3)).view()), None);
    }
}
