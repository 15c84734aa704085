//! Insertion: the most relevant pixels of a blurred picture become sharp first.

use ndarray::{Array3, ArrayView2, ArrayView3};

use super::{Asked, Curve, changes::curve, order::most_relevant_first};
use crate::{error::Result, method::blurred};

/// The confidence while the most relevant pixels of `from` become the picture's own, in `steps` steps (Petsiuk et al., "RISE", 2018, section
/// 4.3): the better the map, the faster it rises. `map` is of the picture's height and width, `from` a picture `[channels, height, width]`:
/// see [`substrate`].
///
/// # Errors
/// The runtime fails, or the work was cancelled.
pub fn insertion(
    asked: &Asked<'_>,
    map: ArrayView2<'_, f32>,
    steps: usize,
    from: ArrayView3<'_, f32>,
) -> Result<Curve> {
    let places = most_relevant_first(map);
    curve(asked, "insertion", (from, asked.picture()), &places, steps, [None, Some(asked.confidence())])
}

/// What the picture's pixels are inserted into: the picture blurred by a Gaussian whose deviation is a sixteenth of the shorter side, so that
/// no shape is left.
pub fn substrate(asked: &Asked<'_>) -> Array3<f32> {
    let deviation = asked.size().into_iter().min().unwrap_or(1) as f64 / 16.0;
    let picture = asked.picture().to_owned().into_dyn();
    let blurred = blurred(blurred(picture, 1, deviation), 2, deviation);
    blurred.into_dimensionality().unwrap_or_default()
}
