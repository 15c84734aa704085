//! How alike two heatmaps of one photo are, and what is different.

use std::fmt;

use camscope_core::{
    compare::compare,
    image::Seen,
    method::Sign,
    overlay::{Enlarge, heat_enlarged},
};
use ndarray::{Array2, Zip};

use crate::{
    engine::{Heat, Photo},
    tiles::Content,
};

/// How alike two heatmaps are: the numbers of `camscope diff`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// Their cosine.
    pub cosine: f64,
    /// Their rank correlation.
    pub rank: f64,
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cosine {:.3} rank {:.3}", self.cosine, self.rank)
    }
}

/// Compares two heatmaps where both see the photo.
pub fn numbers([one, other]: [&Photo; 2], [heat_a, heat_b]: [&Heat; 2]) -> Numbers {
    let (a, b) = ((heat_a.view(), &one.seen), (heat_b.view(), &other.seen));
    let found = compare(a, b, one.pixels.dimensions(), Sign::Positive).similarity;
    Numbers { cosine: found.cosine, rank: found.rank }
}

/// The most heat there is, in the method's own unit.
pub(super) fn most(heat: &Heat) -> String {
    let most = heat.most;
    if most == 0.0 || (1e-2..1e4).contains(&most) { format!("max {most:.3}") } else { format!("max {most:.1e}") }
}

/// What is measured of the heat of a picture that compares; `heats` are those of [`Content::heats`], and `photos` theirs.
pub fn fact(content: Content, photos: &[&Photo], heats: &[Heat]) -> Option<String> {
    match (content, photos, heats) {
        (Content::Shared(..), _, [heat, ..]) => Some(most(heat)),
        (Content::Change(..), [one, other], [heat_a, heat_b]) => {
            Some(numbers([one, other], [heat_a, heat_b]).to_string())
        }
        _ => None,
    }
}

/// The second's heat less the first's over `width` × `height` pixels, each where its model sees them: half of one more than it, so that 0.5
/// is no difference; and whether both see a pixel. Where they are `together`, 1 is the larger maximum of both, else each one's own.
pub fn difference(
    [heat_a, heat_b]: [&Heat; 2],
    [seen_a, seen_b]: [&Seen; 2],
    (width, height): (u32, u32),
    (together, enlarge): (bool, Enlarge),
) -> (Array2<f32>, Array2<bool>) {
    let on_pixels = |heat: &Heat, seen: &Seen| heat_enlarged(heat.view(), seen, (width, height), enlarge);
    let most = heat_a.most.max(heat_b.most);
    let share = |heat: &Heat| if together { share_of(heat, most) } else { 1.0 };
    let mut found = on_pixels(heat_a, seen_a);
    let (share_a, share_b) = (share(heat_a), share(heat_b));
    Zip::from(&mut found)
        .and(&on_pixels(heat_b, seen_b))
        .for_each(|a, b| *a = (share_b * b - share_a * *a + 1.0) / 2.0);
    let within = |at: usize, start: f64, length: f64| (start..start + length).contains(&(at as f64 + 0.5));
    let sees = |seen: &Seen, (row, column): (usize, usize)| {
        within(column, seen.x, seen.width) && within(row, seen.y, seen.height)
    };
    let both = Array2::from_shape_fn(found.dim(), |at| sees(seen_a, at) && sees(seen_b, at));
    (found, both)
}

/// What 1 of a heatmap is of `most`.
pub(crate) fn share_of(heat: &Heat, most: f32) -> f32 {
    if most > 0.0 { heat.most / most } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ndarray::array;

    use super::*;
    use crate::engine::HeatMap;

    fn heat(values: Array2<f32>, most: f32) -> Heat {
        Arc::new(HeatMap { values, most })
    }

    #[test]
    fn the_difference_is_on_one_scale_or_on_two() {
        let (a, b) = (heat(array![[1.0, 0.0]], 4.0), heat(array![[1.0, 0.5]], 2.0));
        let seen = Seen::all(2, 1);
        let of = |together| difference([&a, &b], [&seen, &seen], (2, 1), (together, Enlarge::Nearest)).0;
        assert_eq!(of(true), array![[0.25, 0.625]]);
        assert_eq!(of(false), array![[0.5, 0.75]]);
    }

    #[test]
    fn only_what_both_see_is_compared() {
        let (a, b) = (heat(array![[1.0]], 1.0), heat(array![[1.0]], 1.0));
        let (left, all) = (Seen { x: 0.0, y: 0.0, width: 2.0, height: 1.0 }, Seen::all(4, 1));
        let (found, both) = difference([&a, &b], [&left, &all], (4, 1), (true, Enlarge::Nearest));
        assert_eq!(both, array![[true, true, false, false]]);
        assert_eq!(found.row(0).to_vec()[..2], [0.5, 0.5]);
    }

    #[test]
    fn blank_heat_is_no_division() {
        let blank = heat(array![[0.0]], 0.0);
        let seen = Seen::all(1, 1);
        let (found, _) = difference([&blank, &blank], [&seen, &seen], (1, 1), (true, Enlarge::Bicubic));
        assert_eq!(found, array![[0.5]]);
    }
}
