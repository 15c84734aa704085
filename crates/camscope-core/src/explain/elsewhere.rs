//! Where a target does speak, if not at the layers that were taken.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, Axis};

use super::{Blank, Explainer, Options, Tap};
use crate::{
    error::Result,
    image::Seen,
    layer::{Choice, Layer, Layout},
    runtime::{Canceller, Runtime},
    target::TargetRef,
};

impl Explainer {
    /// The last layer at whose places the target has a gradient, for one image; its place in [`Explainer::layers`]. `None` where it has one
    /// nowhere. It takes a backward pass through all layers.
    ///
    /// # Errors
    /// No layer can be differentiated; the target names what the model doesn't have; the runtime fails.
    pub fn last_with_gradient(
        &self,
        runtime: &'static Runtime,
        image: ArrayViewD<'_, f32>,
        seen: &[Seen],
        target: &TargetRef,
    ) -> Result<Option<usize>> {
        let options = Options { gradients: true, verify: false, batch: 1, ..self.options.clone() };
        let (everywhere, _) = Self::everywhere(runtime, Arc::clone(self.subject()), options)?;
        let canceller = Canceller::new();
        let forward = everywhere.forward(&image.to_owned(), &canceller)?.of_photos(seen);
        let evaluated = everywhere.evaluate(&forward, target)?;
        let backward = everywhere.backward(&forward, &evaluated, &canceller)?;
        for (at, tap) in everywhere.taps().iter().enumerate().rev() {
            let Tap::Layer(layer) = tap else { continue };
            if !is_zero_at_places(&everywhere.gradient(&backward, at)?.to_f32()?, layer) {
                return Ok(Some(layer.index));
            }
        }
        Ok(None)
    }

    /// This explainer, or where `auto` took a layer at whose places the first target has no gradient for this image, one of the last layer
    /// that has one; then the second result says so. It costs an explanation.
    ///
    /// # Errors
    /// Those of [`Explainer::explain`] and [`Explainer::of`].
    pub fn sighted(
        self,
        runtime: &'static Runtime,
        image: ArrayViewD<'_, f32>,
        seen: &[Seen],
        target: &TargetRef,
    ) -> Result<(Self, Option<String>)> {
        let is_auto = matches!(self.options.layers.as_slice(), [] | [Choice::Auto]) && self.sidecar().layer.is_none();
        if !is_auto || !self.options.method.method.needs_gradients() {
            return Ok((self, None));
        }
        let outcome = self.explain_seen(&[image.view()], seen, std::slice::from_ref(target))?.pop();
        let explanations = outcome.unwrap_or_default().explanations;
        if !explanations.iter().all(|explanation| explanation.blank == Some(Blank::NoGradient)) {
            return Ok((self, None));
        }
        let Some(found) = self.last_with_gradient(runtime, image, seen, target)? else { return Ok((self, None)) };
        let blind = self.taps.first().map_or("", |tap| tap.name()).to_owned();
        let options = Options { layers: vec![Choice::Index(found)], ..self.options.clone() };
        let sighted = Self::of(runtime, Arc::clone(&self.subject), options)?;
        let name = sighted.taps.first().map_or("", |tap| tap.name()).to_owned();
        let note = format!("`{}` has no gradient at any place of `{blind}`: `{name}` is taken", target.spec());
        Ok((sighted, Some(note)))
    }
}

/// Whether a gradient is zero at every place of the image; tokens that stand for no place count for nothing.
pub(super) fn is_zero_at_places(gradient: &ArrayD<f32>, layer: &Layer) -> bool {
    let places = match layer.layout {
        Layout::Tokens { prefix, height, width } => {
            gradient.slice_axis(Axis(1), (prefix..prefix + height * width).into())
        }
        _ => gradient.view(),
    };
    places.iter().all(|&slope| slope == 0.0)
}
