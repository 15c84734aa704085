//! Whether boxes can be what a format takes them for: what is read by shapes alone may be something else.

use super::{Detection, Evidence};
use crate::error::{Error, Result};

/// How far probabilities may be beyond 0 and 1: quantised ones are rounded.
const ROUNDED: f32 = 0.02;

/// How many boxes the cells of a grid have at least.
const CELLS: usize = 16;

/// No corner of boxes given as shares of the input is farther away.
const FAR: f32 = 4.0;

/// Checks that probabilities lie between 0 and 1, and that most boxes have their left and upper edges before their right and lower ones.
///
/// # Errors
/// Says what they are, and that `format` under `[task]` says what the model's boxes are.
pub(super) fn check(found: &[Detection], format: &str) -> Result<()> {
    let beyond = |p: f32| p.is_finite() && !(-ROUNDED..=1.0 + ROUNDED).contains(&p);
    let worst = found.iter().flat_map(|found| match &found.evidence {
        Evidence::Probabilities(all) => &all[..],
        _ => &[],
    });
    if let Some((element, p)) = worst.into_iter().find(|(_, p)| beyond(*p)) {
        return Err(Error::Value(format!(
            "as boxes of the format `{format}` `{}` would have a probability of {p} at {:?}: they are something else; [task] in the sidecar says \
             what the outputs are: kind, format",
            element.value, element.at
        )));
    }
    // Sides as a convolution has them, below zero where nothing is found.
    if matches!(format, "mediapipe" | "centernet") {
        return Ok(());
    }
    let turned = found.iter().filter(|found| is_turned(found.corners)).count();
    if found.len() >= CELLS && turned * 2 > found.len() {
        let all = found.len();
        return Err(Error::Value(format!(
            "as boxes of the format `{format}` {turned} of {all} would end before they begin: their numbers are something else (centres and \
             sides, say); [task] in the sidecar says what the outputs are: kind, format"
        )));
    }
    Ok(())
}

fn is_turned([left, top, right, bottom]: [f32; 4]) -> bool {
    right < left || bottom < top
}

/// Brings boxes that are shares of the input, whose height and width are `size`, to its pixels: of the boxes of all cells of a grid some reach
/// farther than a few pixels.
pub(super) fn enlarge(found: &mut [Detection], [height, width]: [usize; 2]) {
    let far = found.iter().flat_map(|found| found.corners).fold(0.0_f32, |far, side| far.max(side.abs()));
    if found.len() < CELLS || !(far > 0.0 && far <= FAR) || height.min(width) < 32 {
        return;
    }
    for found in found {
        found.corners = super::table::pixels(found.corners, [height, width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Element;

    fn boxes(corners: [f32; 4], p: f32) -> Vec<Detection> {
        let element = Element { value: "y".into(), at: vec![0] };
        vec![Detection { corners, class: 0, evidence: Evidence::Probabilities(vec![(element, p)]) }; CELLS]
    }

    #[test]
    fn what_cannot_be_boxes_is_refused() {
        let is_fine = |corners, p| check(&boxes(corners, p), "yolov8").is_ok();
        assert!(is_fine([0.0, 0.0, 9.0, 9.0], 1.0) && is_fine([0.0, 0.0, 9.0, 9.0], 1.01));
        assert!(!is_fine([0.0, 0.0, 9.0, 9.0], 1.1) && !is_fine([0.0, 0.0, 9.0, 9.0], -0.1));
        assert!(!is_fine([9.0, 0.0, 0.0, 9.0], 0.5) && !is_fine([0.0, 9.0, 9.0, 0.0], 0.5));
        // A few are no sign.
        assert!(check(&boxes([9.0, 0.0, 0.0, 9.0], 0.5)[1..], "yolov8").is_ok());
    }

    #[test]
    fn shares_of_the_input_are_told_from_pixels() {
        let enlarged = |corners| {
            let mut found = boxes(corners, 0.5);
            enlarge(&mut found, [32, 64]);
            found[0].corners
        };
        assert_eq!(enlarged([0.25, 0.5, 0.75, 1.0]), [16.0, 16.0, 48.0, 32.0]);
        assert_eq!(enlarged([2.0, 2.0, 9.0, 9.0]), [2.0, 2.0, 9.0, 9.0]);
    }
}
