//! RISE and D-RISE: random masks over the image.

use ndarray::Array2;

use super::{
    Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Trial},
    random::Random,
    score::under,
    whole,
};
use crate::error::{Error, Result};

/// How masks are drawn.
const fn parameters(masks: f64, cell: f64) -> [Parameter; 3] {
    [
        Parameter { name: "masks", default: masks, about: "how many masks" },
        Parameter { name: "cell", default: cell, about: "cells of a mask along each side" },
        Parameter { name: "keep", default: 0.5, about: "share of the cells that are kept, from 0 to 1" },
    ]
}

/// RISE (Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018, equation 6): the mean of random masks,
/// weighted by the score of the image under each. Masks are coarse grids of 0 and 1, enlarged bilinearly and shifted.
pub(super) struct Rise;

impl HostMethod for Rise {
    fn name(&self) -> &'static str {
        "rise"
    }

    fn about(&self) -> &'static str {
        "random masks weighted by the score of the image under each (Petsiuk et al. 2018); no gradient"
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &parameters(2000.0, 7.0) }
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn needs_plane(&self) -> bool {
        true
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        parameters.get("masks")
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        mean_of_masks(self.name(), trial, parameters)
    }
}

/// D-RISE (Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps", 2021): RISE, the score of a masked image being how
/// alike the most similar of its boxes is to the box that is explained. The paper's masks: 5000 of 16 × 16 cells.
pub(super) struct DRise;

impl HostMethod for DRise {
    fn name(&self) -> &'static str {
        "d-rise"
    }

    fn about(&self) -> &'static str {
        "random masks weighted by how alike the nearest box of the image under each is (Petsiuk et al. 2021); boxes only, no gradient"
    }

    fn parameters(&self) -> &'static [Parameter] {
        const { &parameters(5000.0, 16.0) }
    }

    fn needs(&self) -> Needs {
        Needs { likeness: true, ..Needs::default() }
    }

    fn needs_plane(&self) -> bool {
        true
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        parameters.get("masks")
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        mean_of_masks(self.name(), trial, parameters)
    }
}

/// The mean of random masks, weighted by the score of the image under each.
fn mean_of_masks(method: &'static str, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
    let masks = whole(method, "masks", parameters.get("masks"))?;
    let cells = whole(method, "cell", parameters.get("cell"))?;
    let keep = parameters.get("keep");
    if !(keep > 0.0 && keep <= 1.0) {
        let (setting, reason) = (format!("keep={keep}"), "a share above 0, up to 1, is wanted".into());
        return Err(Error::BadParameter { method, setting, reason });
    }
    let (size, layout, seed) = (trial.size(), trial.layout, trial.seed);
    let image = trial.image.to_owned();
    // Each mask from its own seed, so that it is drawn twice instead of being kept.
    let mask = |at: usize| drawn(seed.wrapping_add(at as u64), size, cells, keep);
    let scores = trial.scores(masks, &mut |at| under(&image, layout, &mask(at)))?;
    let mut heat = Array2::<f64>::zeros((size[0], size[1]));
    for (at, score) in scores.iter().enumerate() {
        heat.zip_mut_with(&mask(at), |heat, mask| *heat += f64::from(score * mask));
    }
    Ok(heat.mapv(|heat| (heat / (keep * masks as f64)) as f32).into())
}

/// A grid of `cells` × `cells` zeros and ones, enlarged by one cell more than the image and cut out at a random place.
fn drawn(seed: u64, [height, width]: [usize; 2], cells: usize, keep: f64) -> Array2<f32> {
    let mut random = Random::new(seed);
    // One beyond each end, for the cells that are cut.
    let grid = Array2::from_shape_fn((cells + 2, cells + 2), |_| f32::from(u8::from(random.even() < keep)));
    let (cell_height, cell_width) = (height as f64 / cells as f64, width as f64 / cells as f64);
    let (down, across) = (random.even(), random.even());
    // Between which cells each place lies, and how far from the first.
    let places = |count: usize, cell: f64, shift: f64| -> Vec<(usize, f32)> {
        let at = |to: usize| {
            let place = (to as f64 + 0.5) / cell + shift;
            let low = (place.floor() as usize).min(cells);
            (low, (place - low as f64) as f32)
        };
        (0..count).map(at).collect()
    };
    let (rows, columns) = (places(height, cell_height, down), places(width, cell_width, across));
    // Each line of cells, enlarged along it: the mask lies between two of them.
    let lines = Array2::from_shape_fn((cells + 2, width), |(row, x)| {
        let (low, share) = columns[x];
        grid[[row, low]] * (1.0 - share) + grid[[row, low + 1]] * share
    });
    let mut mask = Array2::zeros((height, width));
    for ((low, share), mut row) in rows.into_iter().zip(mask.outer_iter_mut()) {
        let (above, below) = (lines.row(low), lines.row(low + 1));
        ndarray::Zip::from(&mut row).and(&above).and(&below).for_each(|value, above, below| {
            *value = above * (1.0 - share) + below * share;
        });
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_smooth_and_keep_their_share() {
        let mean: f32 = (0..400).map(|seed| drawn(seed, [30, 40], 7, 0.3).mean().unwrap()).sum::<f32>() / 400.0;
        assert!((mean - 0.3).abs() < 0.02, "{mean}");
        let mask = drawn(1, [70, 70], 7, 0.5);
        assert_eq!(mask, drawn(1, [70, 70], 7, 0.5));
        assert!(mask.iter().all(|value| (0.0..=1.0).contains(value)));
        let steps = mask.windows((1, 2)).into_iter().map(|pair| (pair[[0, 0]] - pair[[0, 1]]).abs());
        assert!(steps.fold(0.0, f32::max) <= 0.11);
    }
}
