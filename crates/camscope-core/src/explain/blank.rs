//! Why a heatmap shows nothing.

use ndarray::Array2;

use super::{Backward, Blank, Explainer, Forward, Held, Tap, elsewhere::is_zero_at_places};
use crate::{
    error::Result,
    method::{Cam, Method, Sign},
};

/// Whether there is no heat anywhere.
pub(super) fn is_blank(heatmap: &Array2<f32>) -> bool {
    heatmap.iter().all(|&heat| heat == 0.0)
}

impl Explainer {
    /// Why a tap's heat is blank for an image. It costs another run of the method's program, which only blank heat has to pay.
    pub(super) fn why_blank(
        &self,
        (forward, backward): (&Forward, &Backward),
        tap: usize,
        image: usize,
        slope: &Held,
        method: &'static dyn Cam,
    ) -> Result<Blank> {
        let slope = self.read(slope)?;
        let is_zero = match &self.taps[tap] {
            Tap::Layer(layer) => is_zero_at_places(&slope, layer),
            Tap::Input => slope.iter().all(|&slope| slope == 0.0),
        };
        if is_zero {
            return Ok(Blank::NoGradient);
        }
        let both = self.heatmaps_of(forward, backward, tap, (Method::Cam(method), Sign::Both))?;
        Ok(match both.get(image) {
            Some(heat) if !is_blank(heat) => Blank::OtherSign,
            _ => Blank::NoEvidence,
        })
    }
}
