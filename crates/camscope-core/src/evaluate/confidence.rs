//! Drop and increase: what the heatmap leaves of the picture.

use ndarray::{ArrayView2, Axis};

use super::{Asked, Better, Measured, Metric, Number, Settings, Trial};
use crate::error::Result;

/// The confidence where only what the map shows is left: the picture times the map, as the model takes it. `map` is of the picture's height
/// and width, from 0 to 1.
///
/// # Errors
/// The runtime fails, or the work was cancelled.
pub fn masked(asked: &Asked<'_>, map: ArrayView2<'_, f32>) -> Result<f64> {
    let found = asked.confidences(1, &|_| &asked.picture() * &map.insert_axis(Axis(0)))?;
    Ok(found.first().copied().unwrap_or_default().into())
}

/// By which share the confidence drops: max(0, before − after) / before (Chattopadhay et al., "Grad-CAM++", 2018, section 4.1). `None` where
/// it was not above 0, as scores can be. pytorch-grad-cam's `DropInConfidence` doesn't divide.
pub fn drop(before: f64, after: f64) -> Option<f64> {
    (before > 0.0).then(|| (before - after).max(0.0) / before)
}

/// Average drop and increase in confidence.
pub(super) struct Change;

impl Metric for Change {
    fn name(&self) -> &'static str {
        "confidence"
    }

    fn numbers(&self) -> &'static [Number] {
        &[
            Number {
                name: "drop",
                about: "share by which the confidence drops where only what the map shows is left (Chattopadhay et al. 2018)",
                better: Better::Lower,
            },
            Number { name: "increase", about: "share of the pictures where it rises", better: Better::Higher },
        ]
    }

    fn passes(&self, _: &Settings, _: f64) -> f64 {
        1.0
    }

    fn measure(&self, trial: &mut Trial<'_>) -> Result<Measured> {
        let (before, after) = (f64::from(trial.asked.confidence()), masked(trial.asked, trial.map)?);
        let increase = if after > before { 1.0 } else { 0.0 };
        Ok(vec![drop(before, after), Some(increase)].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_no_drop_and_of_nothing_there_is_no_share() {
        assert_eq!([drop(0.75, 0.25), drop(0.5, 0.9), drop(-1.0, -2.0)], [Some(0.5 / 0.75), Some(0.0), None]);
    }
}
