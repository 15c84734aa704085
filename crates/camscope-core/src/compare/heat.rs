//! The heat of two models of one picture, and what is different.

use ndarray::{Array2, ArrayView2};

use super::similarity::{Similarity, similarity};
use crate::{
    image::Seen,
    method::Sign,
    overlay::{enlarge, heat_on_photo, normalise, normalise_signed},
};

/// The longer side of the grid that heat is compared on, in pixels: that of the photo, or fewer. Heat is far coarser.
pub const GRID: u32 = 512;

/// How two heatmaps of one picture compare.
#[derive(Clone, Debug)]
pub struct Compared {
    /// How alike they are where both models see the photo.
    pub similarity: Similarity,
    /// The second's heat less the first's, each by its own largest magnitude: from -1 to 1, of heat of both signs from -2 to 2.
    /// `[height, width]` over all of the photo; 0 where one of the models doesn't see it.
    pub difference: Array2<f32>,
    /// The mean magnitude of the difference where both see the photo.
    pub mean: f64,
    /// The share of the photo that both see, from 0 to 1.
    pub shared: f64,
}

impl Compared {
    /// The least and the largest difference.
    pub fn range(&self) -> [f32; 2] {
        self.difference.iter().fold([0.0, 0.0], |[least, most], &value| [value.min(least), value.max(most)])
    }
}

/// Compares heat over a photo of `width` × `height` pixels, each with the part of it that its model sees, on a grid of at most [`GRID`]
/// pixels a side. Only what both see counts; where that is nothing, their heat is unlike.
pub fn compare(
    (a, seen_a): (ArrayView2<'_, f32>, &Seen),
    (b, seen_b): (ArrayView2<'_, f32>, &Seen),
    (width, height): (u32, u32),
    sign: Sign,
) -> Compared {
    let longer = width.max(height).max(1);
    let scale = f64::from(GRID.min(longer)) / f64::from(longer);
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
    let (columns, rows) = (side(width), side(height));
    // Each side has its own ratio: they are rounded.
    let ratio = [f64::from(columns) / f64::from(width.max(1)), f64::from(rows) / f64::from(height.max(1))];
    let on_grid = |seen: &Seen| Seen {
        x: seen.x * ratio[0],
        y: seen.y * ratio[1],
        width: seen.width * ratio[0],
        height: seen.height * ratio[1],
    };
    let (seen_a, seen_b) = (on_grid(seen_a), on_grid(seen_b));
    let heat =
        |heat: ArrayView2<'_, f32>, seen: &Seen| heat_on_photo(normalised(heat, sign).view(), seen, columns, rows);
    let is_seen = |seen: &Seen, (row, column): (usize, usize)| {
        let within = |at: usize, start: f64, length: f64| (start..start + length).contains(&(at as f64 + 0.5));
        within(column, seen.x, seen.width) && within(row, seen.y, seen.height)
    };
    let shared =
        Array2::from_shape_fn((rows as usize, columns as usize), |at| is_seen(&seen_a, at) && is_seen(&seen_b, at));
    of_places(&heat(a, &seen_a), &heat(b, &seen_b), &shared)
}

/// Compares heat of an array that both models take as it is: the coarser is enlarged to the finer, along each axis.
pub fn compare_arrays(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, sign: Sign) -> Compared {
    let (height, width) = (a.nrows().max(b.nrows()), a.ncols().max(b.ncols()));
    let heat = |heat: ArrayView2<'_, f32>| enlarge(normalised(heat, sign).view(), width as u32, height as u32);
    of_places(&heat(a), &heat(b), &Array2::from_elem((height, width), true))
}

/// By its own largest magnitude, as pictures have it.
fn normalised(heat: ArrayView2<'_, f32>, sign: Sign) -> Array2<f32> {
    match sign {
        Sign::Both => normalise_signed(heat).mapv_into(|heat| 2.0 * heat - 1.0),
        _ => normalise(heat),
    }
}

fn of_places(a: &Array2<f32>, b: &Array2<f32>, shared: &Array2<bool>) -> Compared {
    let of = |heat: &Array2<f32>| -> Vec<f32> {
        heat.iter().zip(shared).filter(|(_, shared)| **shared).map(|(heat, _)| *heat).collect()
    };
    let (flat_a, flat_b) = (of(a), of(b));
    let places = flat_a.len();
    let similarity = match places {
        0 => Similarity { cosine: 0.0, rank: 0.0 },
        _ => similarity(&flat_a, &flat_b),
    };
    let mut difference = b - a;
    difference.zip_mut_with(shared, |value, shared| *value = if *shared { *value } else { 0.0 });
    let sum: f64 = difference.iter().map(|value| f64::from(value.abs())).sum();
    Compared {
        similarity,
        difference,
        mean: sum / places.max(1) as f64,
        shared: places as f64 / shared.len().max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    const PHOTO: (u32, u32) = (8, 4);

    #[test]
    fn heat_is_like_itself_at_any_resolution() {
        let heat = array![[0.0, 1.0], [2.0, 3.0]];
        let seen = Seen::all(8, 4);
        let same = compare((heat.view(), &seen), (heat.mapv(|heat| 5.0 * heat).view(), &seen), PHOTO, Sign::Positive);
        assert!((same.similarity.cosine - 1.0).abs() < 1e-6 && same.mean < 1e-6 && same.shared == 1.0, "{same:?}");
        assert_eq!(same.difference.dim(), (4, 8));
        let finer = enlarge(heat.view(), 8, 4);
        let same = compare((heat.view(), &seen), (finer.view(), &seen), PHOTO, Sign::Positive);
        assert!(same.similarity.cosine > 0.999, "{same:?}");
    }

    #[test]
    fn the_difference_is_signed_and_lies_where_it_is() {
        let (left, right) = (array![[1.0, 0.0]], array![[0.0, 1.0]]);
        let seen = Seen::all(8, 4);
        let found = compare((left.view(), &seen), (right.view(), &seen), PHOTO, Sign::Positive);
        assert_eq!((found.difference[[0, 0]], found.difference[[3, 7]]), (-1.0, 1.0));
        assert_eq!(found.range(), [-1.0, 1.0]);
        assert!(found.similarity.rank < -0.9, "{found:?}");
    }

    #[test]
    fn each_model_sees_its_own_part_and_only_what_both_see_counts() {
        // One sees all of the photo, the other its left half, where the heat is the same.
        let (all, half) = (array![[1.0, 1.0, 0.0, 0.0]], array![[1.0, 1.0]]);
        let seen = Seen { x: 0.0, y: 0.0, width: 4.0, height: 4.0 };
        let found = compare((all.view(), &Seen::all(8, 4)), (half.view(), &seen), PHOTO, Sign::Positive);
        assert_eq!(found.shared, 0.5);
        assert_eq!(found.difference[[0, 7]], 0.0);
        assert!(found.similarity.cosine > 0.98, "{found:?}");
        let beyond = Seen { x: 4.0, y: 0.0, width: 4.0, height: 4.0 };
        let apart = compare((half.view(), &seen), (half.view(), &beyond), PHOTO, Sign::Positive);
        assert_eq!((apart.shared, apart.similarity.cosine, apart.mean), (0.0, 0.0, 0.0));
    }

    #[test]
    fn blank_heat_has_defined_results() {
        let (zero, constant) = (Array2::zeros((2, 2)), Array2::from_elem((2, 2), 0.3));
        let seen = Seen::all(8, 4);
        let of =
            |a: &Array2<f32>, b: &Array2<f32>| compare((a.view(), &seen), (b.view(), &seen), PHOTO, Sign::Positive);
        assert_eq!(of(&zero, &zero).similarity, Similarity { cosine: 1.0, rank: 1.0 });
        assert_eq!(of(&zero, &constant).similarity, Similarity { cosine: 0.0, rank: 1.0 });
        assert_eq!(of(&constant, &zero).difference[[0, 0]], -1.0);
    }

    #[test]
    fn large_photos_are_compared_on_a_smaller_grid() {
        let heat = array![[0.0, 1.0], [2.0, 3.0]];
        let photo = (4000, 3000);
        let seen = Seen { x: 500.0, y: 0.0, width: 3000.0, height: 3000.0 };
        let found = compare((heat.view(), &seen), (heat.view(), &Seen::all(4000, 3000)), photo, Sign::Positive);
        assert_eq!(found.difference.dim(), (384, 512));
        assert!((found.shared - 0.75).abs() < 1e-9, "{}", found.shared);
    }

    #[test]
    fn heat_of_both_signs_keeps_its_zero() {
        let found = compare_arrays(array![[-2.0, 0.0, 1.0]].view(), array![[-1.0, 0.0, 0.5]].view(), Sign::Both);
        assert!((found.similarity.cosine - 1.0).abs() < 1e-6 && found.mean < 1e-6, "{found:?}");
        let opposite = compare_arrays(array![[-2.0, 0.0, 2.0]].view(), array![[2.0, 0.0, -2.0]].view(), Sign::Both);
        assert!((opposite.similarity.cosine + 1.0).abs() < 1e-6, "{opposite:?}");
        assert_eq!(opposite.range(), [-2.0, 2.0]);
    }
}
