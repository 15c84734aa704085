//! The heat of several layers as one.

use std::ops::Range;

use ndarray::Array2;

use super::{Explanation, Timing, blank};
use crate::{
    method::Sign,
    overlay::{enlarge, grow, normalise, normalise_signed},
};

/// How the heat of several layers becomes one. Each is normalised and enlarged to the finest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fuse {
    /// The mean.
    #[default]
    Mean,
    /// The largest; of signed heat that of the largest magnitude.
    Max,
}

impl Fuse {
    /// As `--fuse` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Max => "max",
        }
    }
}

/// Some of an explainer's taps, whose heat is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Positions in [`super::Explainer::taps`].
    pub taps: Range<usize>,
    /// How several are fused.
    pub fuse: Fuse,
}

impl Group {
    /// A tap by itself.
    pub(super) fn of_one(tap: usize) -> Self {
        Self { taps: tap..tap + 1, fuse: Fuse::default() }
    }
}

/// The heat of several layers as one, `[height, width]` of the finest; blank ones count as zero. `None` where there is none.
pub fn fused(heatmaps: &[&Array2<f32>], fuse: Fuse, sign: Sign) -> Option<Array2<f32>> {
    let (height, width) = heatmaps.iter().map(|heat| heat.dim()).max_by_key(|(height, width)| height * width)?;
    let mut all = Array2::<f32>::zeros((height, width));
    for heat in heatmaps {
        let heat = match sign {
            // From -1 to 1.
            Sign::Both => normalise_signed(heat.view()).mapv_into(|heat| 2.0 * heat - 1.0),
            _ => normalise(heat.view()),
        };
        let heat = enlarge(heat.view(), width as u32, height as u32);
        all.zip_mut_with(&heat, |all, heat| match fuse {
            Fuse::Mean => *all += heat / heatmaps.len() as f32,
            Fuse::Max if heat.abs() > all.abs() => *all = *heat,
            Fuse::Max => {}
        });
    }
    Some(all)
}

/// As [`fused`], where each heatmap has axes of its own, as [`Explanation::space`] has them; the result has those of the finest.
pub(super) fn fused_in_space(
    heatmaps: &[(&Array2<f32>, Vec<usize>)],
    fuse: Fuse,
    sign: Sign,
) -> Option<(Array2<f32>, Vec<usize>)> {
    let (_, finest) = heatmaps.iter().max_by_key(|(heat, _)| heat.len())?;
    if finest.len() < 3 || heatmaps.iter().any(|(_, space)| space.len() != finest.len()) {
        let planes: Vec<&Array2<f32>> = heatmaps.iter().map(|(heat, _)| *heat).collect();
        let all = fused(&planes, fuse, sign)?;
        let space = heatmaps.iter().find(|(heat, _)| heat.dim() == all.dim()).map(|(_, space)| space.clone());
        let plane = all.shape().to_vec();
        return Some((all, space.unwrap_or(plane)));
    }
    // A volume's slices lie one below the other: enlarged as a plane they would run into one another.
    let (width, above) = finest.split_last()?;
    let plane = (above.iter().product(), *width);
    let grown = |(heat, space): &(&Array2<f32>, Vec<usize>)| {
        let own = heat.as_standard_layout().into_owned().into_shape_with_order(space.as_slice()).ok()?;
        grow(own.view(), finest).into_shape_with_order(plane).ok()
    };
    let grown: Vec<Array2<f32>> = heatmaps.iter().map(grown).collect::<Option<_>>()?;
    Some((fused(&grown.iter().collect::<Vec<_>>(), fuse, sign)?, finest.clone()))
}

/// The explanations of a group's taps, of one image and target, as one.
pub(super) fn fuse(parts: Vec<Explanation>, group: &Group, sign: Sign) -> Option<Explanation> {
    if parts.len() < 2 {
        return parts.into_iter().next();
    }
    let heatmaps: Vec<(&Array2<f32>, Vec<usize>)> =
        parts.iter().filter_map(|part| Some((part.heatmap.as_ref()?, part.space.clone()))).collect();
    let (heatmap, space) = fused_in_space(&heatmaps, group.fuse, sign).unzip();
    let method = parts.iter().map(|part| part.timing.method).sum();
    let first = parts.first()?;
    let blank = match &heatmap {
        // The one that says most: evidence of the other sign, before none.
        Some(heat) if blank::is_blank(heat) => {
            parts.iter().filter_map(|part| part.blank).max_by_key(|blank| blank.rank())
        }
        _ => None,
    };
    let space = space.unwrap_or_default();
    let mut whole = Explanation { heatmap, space, blank, timing: Timing { method, ..first.timing }, ..first.clone() };
    whole.fused = parts;
    Some(whole)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn each_layer_counts_alike_at_the_finest_resolution() {
        let (coarse, fine) = (array![[5.0]], array![[0.0, 0.5], [0.0, 0.0]]);
        let mean = fused(&[&coarse, &fine], Fuse::Mean, Sign::Positive).unwrap();
        // A map of one value is either nothing or all.
        let one = normalise(coarse.view())[[0, 0]];
        assert_eq!(mean, array![[one / 2.0, 0.5 + one / 2.0], [one / 2.0, one / 2.0]]);
        let max = fused(&[&array![[0.0, 0.0], [0.0, 2.0]], &fine], Fuse::Max, Sign::Positive).unwrap();
        assert_eq!(max, array![[0.0, 1.0], [0.0, 1.0]]);
        assert_eq!(fused(&[], Fuse::Mean, Sign::Positive), None);
    }

    #[test]
    fn volumes_grow_along_their_own_axes() {
        // Two slices of one pixel, and one of two.
        let (deep, wide) = (array![[0.0], [1.0]], array![[0.0, 1.0]]);
        let parts = [(&deep, vec![2, 1, 1]), (&wide, vec![1, 1, 2])];
        let (all, space) = fused_in_space(&parts, Fuse::Max, Sign::Positive).unwrap();
        assert_eq!((all.dim(), space), ((1, 2), vec![1, 1, 2]));
        let fine = Array2::from_elem((4, 2), 0.5);
        let parts = [(&deep, vec![2, 1, 1]), (&fine, vec![2, 2, 2])];
        let (all, space) = fused_in_space(&parts, Fuse::Mean, Sign::Positive).unwrap();
        assert_eq!(space, [2, 2, 2]);
        // As planes, the first slice would take on heat of the second.
        assert_eq!(all, array![[0.5, 0.5], [0.5, 0.5], [1.0, 1.0], [1.0, 1.0]]);
    }

    #[test]
    fn signed_heat_keeps_its_sign() {
        let (one, other) = (array![[0.0, -3.0]], array![[1.0, 0.0]]);
        assert_eq!(fused(&[&one, &other], Fuse::Max, Sign::Both).unwrap(), array![[1.0, -1.0]]);
    }
}
