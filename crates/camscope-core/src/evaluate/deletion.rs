//! Deletion: the most relevant pixels are greyed out first.

use ndarray::{Array3, ArrayView2, Axis};

use super::{Asked, Curve, changes::curve, order::most_relevant_first};
use crate::error::Result;

/// The confidence while the most relevant pixels are greyed out, in `steps` steps (Petsiuk et al., "RISE", 2018, section 4.3): the better
/// the map, the faster it falls. `map` is of the picture's height and width, `fill` what pixels become, one a channel.
///
/// # Errors
/// The runtime fails, or the work was cancelled.
pub fn deletion(asked: &Asked<'_>, map: ArrayView2<'_, f32>, steps: usize, fill: &[f32]) -> Result<Curve> {
    let mut blank = Array3::zeros(asked.picture().raw_dim());
    for (mut channel, fill) in blank.axis_iter_mut(Axis(0)).zip(fill) {
        channel.fill(*fill);
    }
    let places = most_relevant_first(map);
    let ends = [Some(asked.confidence()), None];
    curve(asked, "deletion", (asked.picture(), blank.view()), &places, steps, ends)
}
