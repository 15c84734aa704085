//! The heat of two models side by side, and what is different.

use camscope_core::{
    compare::Compared,
    explain::Explanation,
    image::Seen,
    method::Sign,
    overlay::{self, Cell, Colormap},
};
use image::RgbImage;

use crate::explain_cmd::{deliver::draw, many::Explained};

/// The longer side of each of the pictures, in pixels.
const SIDE: u32 = 448;

/// How many pixels a picture of heat without a photo has at least along its longer side.
const BARE: usize = 224;

/// How heat is drawn.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) colormap: &'static dyn Colormap,
    pub(super) sign: Sign,
    pub(super) alpha: f32,
}

/// The heat of A, that of B, and B less A, each with its lines below. `None` where one has no heat.
pub(super) fn side_by_side(
    explained: [&Explained; 2],
    explanations: [&Explanation; 2],
    compared: &Compared,
    look: Look,
    lines: [Vec<String>; 3],
) -> Option<RgbImage> {
    let own = |which: usize| -> Option<RgbImage> {
        let colormap = if look.sign == Sign::Both { overlay::diverging(look.colormap) } else { look.colormap };
        let (photo, seen) = (explained[which].photo.as_ref(), bare_or(explained[which], explanations[which])?);
        draw(photo, &seen, explanations[which], (colormap, look.sign), look.alpha)
    };
    let difference = difference(explained[0].photo.as_ref(), compared, look);
    let [of_a, of_b, of_both] = lines;
    let cells = [(own(0)?, of_a), (own(1)?, of_b), (difference, of_both)];
    let cells = cells.into_iter().map(|(picture, lines)| Cell { picture: overlay::shrunk(&picture, SIDE), lines });
    Some(overlay::sheet(&[cells.collect()]))
}

/// The part of the photo that the model sees; of an array, a picture as large as can be looked at.
fn bare_or(explained: &Explained, explanation: &Explanation) -> Option<Seen> {
    if explained.photo.is_some() {
        return Some(explained.seen);
    }
    let (height, width) = explanation.heatmap.as_ref()?.dim();
    let [width, height] = zoomed(width, height);
    Some(Seen::all(width, height))
}

fn zoomed(width: usize, height: usize) -> [u32; 2] {
    let zoom = BARE.div_ceil(width.max(height).max(1));
    [(width * zoom) as u32, (height * zoom) as u32]
}

/// B less A over the photo: no colour of the middle where they are the same, one end where A has all and B nothing, the other end the other
/// way round.
fn difference(photo: Option<&RgbImage>, compared: &Compared, look: Look) -> RgbImage {
    let most = if look.sign == Sign::Both { 2.0 } else { 1.0 };
    let heat = compared.difference.mapv(|value| 0.5 + 0.5 * (value / most));
    let (height, width) = heat.dim();
    let black = || {
        let [width, height] = zoomed(width, height);
        RgbImage::new(width, height)
    };
    let (ground, alpha) = photo.map_or_else(|| (black(), 0.0), |photo| (photo.clone(), look.alpha));
    let seen = Seen::all(ground.width(), ground.height());
    overlay::render(&ground, heat.view(), &seen, overlay::diverging(look.colormap), alpha)
}
