//! How alike two maps are: cosine and rank correlation.

/// How alike two maps are, whatever their scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// The cosine of the angle between the maps as vectors, from -1 to 1; of heat that is nowhere negative from 0.
    pub cosine: f64,
    /// Spearman's rank correlation, from -1 to 1: whether the same places come first, however much.
    pub rank: f64,
}

/// Both measures of two maps of the same places, in the same order.
pub fn similarity(a: &[f32], b: &[f32]) -> Similarity {
    Similarity { cosine: cosine(a, b), rank: rank_correlation(a, b) }
}

/// The cosine of the angle between two vectors: a · b / (‖a‖ ‖b‖), summed in float64.
///
/// A vector of zeros has no direction: two of them are taken as the same (1), one beside another vector as unlike it (0).
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut product, mut squares) = (0.0, [0.0, 0.0]);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        product += a * b;
        squares[0] += a * a;
        squares[1] += b * b;
    }
    match squares {
        [0.0, 0.0] => 1.0,
        [0.0, _] | [_, 0.0] => 0.0,
        // The roots one by one: the product of the squares could leave the range of float64.
        [a, b] => (product / a.sqrt() / b.sqrt()).clamp(-1.0, 1.0),
    }
}

/// Spearman's rank correlation: Pearson's correlation of the ranks, where equal values share the mean of their ranks.
///
/// Where all values of a vector are equal there is no order: two such vectors are taken as the same (1), one beside another vector as
/// unlike it (0).
pub fn rank_correlation(a: &[f32], b: &[f32]) -> f64 {
    let length = a.len().min(b.len());
    let (a, b) = (ranks(&a[..length]), ranks(&b[..length]));
    // Ranks have the same mean whatever ties there are.
    let mean = (length as f64 + 1.0) / 2.0;
    let (mut product, mut squares) = (0.0, [0.0, 0.0]);
    for (a, b) in a.iter().zip(&b) {
        let (a, b) = (a - mean, b - mean);
        product += a * b;
        squares[0] += a * a;
        squares[1] += b * b;
    }
    match squares {
        [0.0, 0.0] => 1.0,
        [0.0, _] | [_, 0.0] => 0.0,
        [a, b] => (product / a.sqrt() / b.sqrt()).clamp(-1.0, 1.0),
    }
}

/// The rank of each value, from 1; equal ones share the mean of theirs. -0 and 0 are equal.
fn ranks(values: &[f32]) -> Vec<f64> {
    // Adding 0 makes 0 of -0, which `total_cmp` would put first.
    let value = |at: usize| values[at] + 0.0;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| value(a).total_cmp(&value(b)));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equal in order.chunk_by(|&a, &b| value(a) == value(b)) {
        let rank = before as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|&at| ranks[at] = rank);
        before += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f32; 6] = [0.0, 0.0, 0.5, 1.0, 0.25, 2.0];
    const B: [f32; 6] = [0.1, 0.0, 0.25, 3.0, 0.25, 1.0];

    #[test]
    fn the_measures_are_those_of_scipy() {
        // scipy 1.17: 1 - spatial.distance.cosine(A, B), stats.spearmanr(A, B).statistic
        let found = similarity(&A, &B);
        assert!((found.cosine - 0.706_963_124_948_228_9).abs() < 1e-9, "{found:?}");
        assert!((found.rank - 0.911_764_705_882_352_9).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_map_is_like_itself_whatever_its_scale() {
        let scaled = A.map(|value| 1e-30 * value);
        for other in [A, scaled] {
            let found = similarity(&A, &other);
            assert!((found.cosine - 1.0).abs() < 1e-12 && (found.rank - 1.0).abs() < 1e-12, "{found:?}");
        }
        let turned = A.map(|value| -value);
        let found = similarity(&A, &turned);
        assert!((found.cosine + 1.0).abs() < 1e-12 && (found.rank + 1.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn maps_without_direction_or_order_have_defined_results() {
        let (zero, constant) = ([0.0; 6], [0.7; 6]);
        assert_eq!(similarity(&zero, &zero), Similarity { cosine: 1.0, rank: 1.0 });
        assert_eq!(similarity(&zero, &A), Similarity { cosine: 0.0, rank: 0.0 });
        assert_eq!(similarity(&A, &zero), Similarity { cosine: 0.0, rank: 0.0 });
        assert_eq!(similarity(&constant, &zero), Similarity { cosine: 0.0, rank: 1.0 });
        assert_eq!(rank_correlation(&constant, &A), 0.0);
        assert!((cosine(&constant, &[0.1; 6]) - 1.0).abs() < 1e-12);
        assert_eq!(similarity(&[], &[]), Similarity { cosine: 1.0, rank: 1.0 });
        assert_eq!(rank_correlation(&[-0.0, 0.0], &[1.0, 1.0]), 1.0);
    }

    #[test]
    fn large_and_small_numbers_stay_in_range() {
        let large = A.map(|value| value * 1e38);
        assert!((cosine(&large, &large) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn equal_values_share_their_ranks() {
        assert_eq!(ranks(&A), [1.5, 1.5, 4.0, 5.0, 3.0, 6.0]);
    }
}
