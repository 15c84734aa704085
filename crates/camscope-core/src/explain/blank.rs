//! Why a heatmap shows nothing.

use ndarray::{Array2, Axis};

use super::{Backward, Blank, Explainer, Forward, Held, Tap};
use crate::{
    error::Result,
    layer::{Layer, Layout},
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
        // Tokens that stand for no place of the image count for nothing.
        let prefix = match &self.taps[tap] {
            Tap::Layer(Layer { layout: Layout::Tokens { prefix, .. }, .. }) => *prefix,
            _ => 0,
        };
        let slope = self.read(slope)?;
        let places = if prefix > 0 { slope.slice_axis(Axis(1), (prefix..).into()) } else { slope.view() };
        if places.iter().all(|&slope| slope == 0.0) {
            return Ok(Blank::NoGradient);
        }
        let both = self.heatmaps_of(forward, backward, tap, (Method::Cam(method), Sign::Both))?;
        Ok(match both.get(image) {
            Some(heat) if !is_blank(heat) => Blank::OtherSign,
            _ => Blank::NoEvidence,
        })
    }
}
