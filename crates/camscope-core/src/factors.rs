//! Non-negative matrix factorisation of a layer's activation.

use ndarray::{Array1, Array2, Array3, ArrayView2, ArrayView3, Axis};

use crate::method::Random;

/// An activation as a sum of concepts, each a vector over the channels times a map over the places. None of either is negative, once each
/// channel's least value is taken off.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// A column a concept, `[channels, concepts]`, not negative.
    pub vectors: Array2<f32>,
    /// A map a concept, `[concepts, height, width]`, from 0 to 1.
    pub maps: Array3<f32>,
    /// Each channel's least value, which was taken off.
    pub least: Array1<f32>,
    /// How much of the activation each concept is: the norm of its part by the sum of all of these.
    pub shares: Vec<f32>,
    /// ‖activation − sum of the concepts‖ / ‖activation‖, the least values taken off; 0 for a constant one.
    pub error: f64,
}

impl Factors {
    /// What the layer holds where a concept is strongest, and no other is there: one value a channel.
    pub fn concept(&self, concept: usize) -> Array1<f32> {
        &self.vectors.column(concept) + &self.least
    }

    /// The sum of the concepts, `[channels, height, width]`: as near to the activation as they come.
    pub fn together(&self) -> Array3<f32> {
        let (count, height, width) = self.maps.dim();
        let flat = self.maps.to_shape((count, height * width)).map(|flat| flat.to_owned()).unwrap_or_default();
        let sum = self.vectors.dot(&flat) + self.least.view().insert_axis(Axis(1));
        let channels = self.vectors.nrows();
        sum.into_shape_with_order((channels, height, width)).unwrap_or_default()
    }
}

/// Rounds at most, and how little the error has to fall in one for the end.
const ROUNDS: usize = 400;
const SETTLED: f64 = 1e-6;

/// Factorises an activation `[channels, height, width]`, each channel's least value taken off as in pytorch-grad-cam, into `count` concepts:
/// hierarchical alternating least squares (Cichocki and Phan, "Fast local algorithms for large scale nonnegative matrix and tensor
/// factorizations", 2009), from a random start. The same seed gives the same factors. NaN counts as 0.
pub fn factorise(activation: ArrayView3<'_, f32>, count: usize, seed: u64) -> Factors {
    let (channels, height, width) = activation.dim();
    let places = height * width;
    let flat = activation.mapv(|value| if value.is_nan() { 0.0 } else { f64::from(value) });
    let mut flat = flat.into_shape_with_order((channels, places)).unwrap_or_default();
    let least = flat.map_axis(Axis(1), |row| row.iter().copied().fold(f64::INFINITY, f64::min));
    let least = least.mapv(|value| if value.is_finite() { value } else { 0.0 });
    flat -= &least.view().insert_axis(Axis(1));
    let (w, h) = halves(flat.view(), count, seed);
    let left: f64 = (&flat - &w.dot(&h)).iter().map(|off| off * off).sum();
    let all: f64 = flat.iter().map(|value| value * value).sum();
    // Each map's largest value is 1; what that divides goes to the vector.
    let peak: Vec<f64> = h.rows().into_iter().map(|row| row.iter().copied().fold(0.0, f64::max)).collect();
    let norm = |vector: ndarray::ArrayView1<'_, f64>| vector.dot(&vector).sqrt();
    let parts: Vec<f64> = (0..count).map(|at| norm(w.column(at)) * norm(h.row(at))).collect();
    let total: f64 = parts.iter().sum();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| parts[*b].total_cmp(&parts[*a]));
    let mut factors = Factors {
        vectors: Array2::zeros((channels, count)),
        maps: Array3::zeros((count, height, width)),
        least: least.mapv(|value| value as f32),
        shares: order.iter().map(|at| if total > 0.0 { (parts[*at] / total) as f32 } else { 0.0 }).collect(),
        error: if all > 0.0 { (left / all).sqrt() } else { 0.0 },
    };
    for (to, &from) in order.iter().enumerate() {
        if peak[from] > 0.0 {
            factors.vectors.column_mut(to).assign(&w.column(from).mapv(|value| (value * peak[from]) as f32));
            let map = h.row(from).mapv(|value| (value / peak[from]) as f32);
            let map = map.into_shape_with_order((height, width)).unwrap_or_default();
            factors.maps.index_axis_mut(Axis(0), to).assign(&map);
        }
    }
    factors
}

/// W `[rows, count]` and H `[count, columns]`, neither negative, with W H near to the matrix.
fn halves(matrix: ArrayView2<'_, f64>, count: usize, seed: u64) -> (Array2<f64>, Array2<f64>) {
    let (rows, columns) = matrix.dim();
    let mut random = Random::new(seed);
    // Of the matrix's own size: (mean / count)^½ times a number of mean about 1, as scikit-learn starts.
    let scale = (matrix.mean().unwrap_or(0.0).max(0.0) / count.max(1) as f64).sqrt();
    let mut drawn = |shape: (usize, usize)| Array2::from_shape_simple_fn(shape, || scale * random.normal().abs());
    let (mut w, mut h) = (drawn((rows, count)), drawn((count, columns)));
    let norm: f64 = matrix.iter().map(|value| value * value).sum();
    let mut before = f64::INFINITY;
    for _ in 0..ROUNDS {
        improve(&mut h.view_mut().reversed_axes(), matrix.t().dot(&w).view(), w.t().dot(&w).view());
        let (products, squares) = (matrix.dot(&h.t()), h.dot(&h.t()));
        improve(&mut w.view_mut(), products.view(), squares.view());
        // ‖X − WH‖² = ‖X‖² − 2 ⟨X Hᵀ, W⟩ + ⟨WᵀW, H Hᵀ⟩
        let error = norm - 2.0 * (&products * &w).sum() + (&w.t().dot(&w) * &squares).sum();
        if before - error <= SETTLED * norm {
            break;
        }
        before = error;
    }
    (w, h)
}

/// One round over the columns of a half, each set to its best values while the rest stands still.
fn improve(half: &mut ndarray::ArrayViewMut2<'_, f64>, products: ArrayView2<'_, f64>, squares: ArrayView2<'_, f64>) {
    for at in 0..half.ncols() {
        let square = squares[[at, at]];
        if square > 0.0 {
            let off = &products.column(at) - &half.dot(&squares.column(at));
            let mut column = half.column_mut(at);
            column.scaled_add(1.0 / square, &off);
            column.mapv_inplace(|value| value.max(0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two things side by side, each with channels of its own, and a channel below zero.
    fn two_things() -> Array3<f32> {
        Array3::from_shape_fn((5, 4, 6), |(channel, y, x)| {
            let thing = usize::from(x >= 3);
            let strength = (1 + y + 2 * x) as f32;
            match channel {
                0 | 1 if thing == 0 => strength * (channel + 1) as f32,
                2 | 3 if thing == 1 => strength * 0.5 * channel as f32,
                4 => -2.0,
                _ => 0.0,
            }
        })
    }

    #[test]
    fn factors_are_not_negative_and_add_up() {
        let activation = two_things();
        let found = factorise(activation.view(), 2, 0);
        assert!(found.vectors.iter().chain(&found.maps).all(|value| *value >= 0.0));
        assert!(found.maps.outer_iter().all(|map| map.iter().copied().fold(0.0, f32::max) == 1.0));
        assert!(found.error < 1e-3, "{}", found.error);
        let off = (&found.together() - &activation).mapv(f32::abs);
        assert!(off.iter().all(|off| *off < 0.05), "{off}");
        // Each thing is a concept.
        let left = |map: ArrayView2<'_, f32>| map.slice(ndarray::s![.., ..3]).sum() / map.sum();
        let mut shares: Vec<f32> = found.maps.outer_iter().map(left).collect();
        shares.sort_by(f32::total_cmp);
        assert!(shares[0] < 0.01 && shares[1] > 0.99, "{shares:?}");
        assert!(found.shares[0] >= found.shares[1] && (found.shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(found.least[4], -2.0);
    }

    #[test]
    fn the_seed_decides_and_more_concepts_come_nearer() {
        let mut random = Random::new(7);
        let activation = Array3::from_shape_simple_fn((12, 5, 6), || random.normal().max(0.0) as f32);
        assert_eq!(factorise(activation.view(), 3, 1), factorise(activation.view(), 3, 1));
        assert_ne!(factorise(activation.view(), 3, 1), factorise(activation.view(), 3, 2));
        let errors: Vec<f64> = (1..=12).map(|count| factorise(activation.view(), count, 0).error).collect();
        assert!(errors.windows(2).all(|pair| pair[1] < pair[0]), "{errors:?}");
    }

    #[test]
    fn constants_single_places_and_nan_are_defined() {
        for activation in [
            Array3::from_elem((4, 3, 3), 2.0f32),
            Array3::from_elem((4, 1, 1), 2.0),
            Array3::from_elem((4, 3, 3), f32::NAN),
            Array3::zeros((0, 3, 3)),
        ] {
            let found = factorise(activation.view(), 2, 0);
            assert!(found.vectors.iter().chain(&found.maps).all(|value| value.is_finite()));
            assert_eq!((found.error, found.maps.dim().0), (0.0, 2));
        }
    }
}
