//! ROAD: pixels are removed so that their absence tells nothing, and the model is asked what is left.

use ndarray::{Array2, Array3, ArrayView2};

use super::{
    Asked, Curve,
    impute::{Imputer, impute},
    order::{least_relevant_first, most_relevant_first},
};
use crate::{error::Result, method::Random};

/// What ROAD gives for one heatmap of one picture.
#[derive(Clone, Debug)]
pub struct Road {
    /// The mean change of the confidence where the most relevant pixels are removed: the lower, the better.
    pub most: f64,
    /// The same with the least relevant pixels: the higher, the better.
    pub least: f64,
    /// (least − most) / 2: the higher, the better; about 0 for a map that says nothing.
    pub combined: f64,
    /// The confidence by the share that is removed, the most relevant first, then the least.
    pub curves: [Curve; 2],
}

/// ROAD with noisy linear imputation (Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", 2022), combined as
/// pytorch-grad-cam does (`ROADCombined`): of each of some shares of the pixels, the most and the least relevant ones are removed, and the mean
/// difference of the confidences is halved.
///
/// `heatmap` may have any resolution: it is enlarged to the picture as overlays are. `passes` is the budget of forward passes, 18 for the nine
/// shares of 10 % to 90 % that are usual; with less the shares are fewer and as evenly spread (at least one: 2 passes). Noise begins at `seed`.
/// The same map, picture and seed give the same numbers.
///
/// ```no_run
/// # use camscope_core::{evaluate::{Asked, road}, explain::Explainer, runtime::Canceller, target, Result};
/// # fn of(explainer: &Explainer, picture: &ndarray::ArrayD<f32>, heatmap: &ndarray::Array2<f32>) -> Result<()> {
/// let asked = Asked::new(explainer, picture, None, &target::parse("class:top1")?, &Canceller::new())?;
/// let road = road::combined(&asked, heatmap.view(), 18, 0)?;
/// println!("{}", road.combined);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The runtime fails, or the work was cancelled.
pub fn combined(asked: &Asked<'_>, heatmap: ArrayView2<'_, f32>, passes: usize, seed: u64) -> Result<Road> {
    let noise = 0.01 * asked.deviation();
    road(asked, asked.enlarged(heatmap).view(), &shares(passes), (noise, seed))
}

/// The shares of the pixels that are removed within so many passes.
pub fn shares(passes: usize) -> Vec<f64> {
    let count = (passes / 2).max(1);
    (1..=count).map(|at| at as f64 / (count + 1) as f64).collect()
}

/// As [`combined`], for a map in the picture's pixels, these shares, and noise of this standard deviation, in the unit of the model's input.
///
/// # Errors
/// Those of [`combined`].
pub fn road(asked: &Asked<'_>, map: ArrayView2<'_, f32>, shares: &[f64], (noise, seed): (f32, u64)) -> Result<Road> {
    let orders = [most_relevant_first(map), least_relevant_first(map)];
    let confidences = asked.confidences(2 * shares.len(), &|at| {
        let (order, share) = (&orders[at / shares.len()], at % shares.len());
        let removed = order.mapv(|place| place < removed(map.len(), shares[share]));
        // The same noise for either order, so that equal maps differ by nothing.
        filled(asked, &removed, noise, seed.wrapping_add(share as u64))
    })?;
    let before = f64::from(asked.confidence());
    let curve = |name, at: usize| Curve {
        name,
        shares: std::iter::once(0.0).chain(shares.iter().copied()).collect(),
        confidences: std::iter::once(before)
            .chain(confidences[at * shares.len()..(at + 1) * shares.len()].iter().map(|found| f64::from(*found)))
            .collect(),
    };
    let curves = [curve("road_most", 0), curve("road_least", 1)];
    let change = |curve: &Curve| {
        let after = &curve.confidences[1..];
        after.iter().map(|after| after - before).sum::<f64>() / after.len().max(1) as f64
    };
    let (most, least) = (change(&curves[0]), change(&curves[1]));
    Ok(Road { most, least, combined: (least - most) / 2.0, curves })
}

/// How many pixels are removed: as many as lie at or above that percentile by linear interpolation, as pytorch-grad-cam has it.
fn removed(pixels: usize, share: f64) -> usize {
    let kept = (1.0 - share) * pixels.saturating_sub(1) as f64;
    // 1 − 0.9 is a little more than 0.1.
    pixels - (kept - 1e-9).ceil().max(1.0) as usize
}

/// The picture with these pixels removed.
fn filled(asked: &Asked<'_>, removed: &Array2<bool>, noise: f32, seed: u64) -> Array3<f32> {
    let mut filled = impute(asked.picture(), removed, &Imputer::default());
    if noise > 0.0 {
        let mut random = Random::new(seed);
        for mut channel in filled.outer_iter_mut() {
            for (value, _) in channel.iter_mut().zip(removed).filter(|(_, removed)| **removed) {
                *value += noise * random.normal() as f32;
            }
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_evenly_spread_within_the_budget() {
        assert_eq!(shares(18), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
        assert_eq!(shares(7), [0.25, 0.5, 0.75]);
        assert_eq!(shares(0), [0.5]);
    }

    #[test]
    fn as_many_pixels_go_as_lie_at_or_above_the_percentile() {
        // (mask >= np.percentile(mask, p)).sum() of 1024 distinct values, for p = 90, 50, 10; of 11 values, where p falls on one.
        assert_eq!([0.1, 0.5, 0.9].map(|share| removed(1024, share)), [103, 512, 921]);
        assert_eq!([0.1, 0.5, 0.9].map(|share| removed(11, share)), [2, 6, 10]);
        assert_eq!(removed(1, 0.5), 0);
    }
}
