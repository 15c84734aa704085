//! Heat by changed images: the model runs forward alone.

use ndarray::{Array2, ArrayD, ArrayViewD, Axis};

use super::{Blank, Explained, Explainer, Explanation, Forward, Held, Timing, blank};
use crate::{
    error::{Error, Result},
    method::{Method, Perturbation, Sign, Trial},
    runtime::Canceller,
    target::{Evaluated, TargetRef},
};

/// Images a run where nothing else is said.
pub(super) const BATCH: usize = 16;

impl Explainer {
    /// The heat of one image by a method that needs no gradient: `[height, width]` of the model's input, of the sign asked for, before
    /// normalisation.
    ///
    /// # Errors
    /// The method needs gradients; the target names what the model doesn't have; the runtime fails, or the work was cancelled.
    pub fn perturb(&self, tensor: &ArrayD<f32>, target: &TargetRef, canceller: &Canceller) -> Result<Array2<f32>> {
        let Method::Perturbation(method) = self.options.method.method else {
            return Err(Error::Value(format!("{} needs gradients", self.options.method.method.name())));
        };
        let forward = self.run(tensor.clone(), canceller)?;
        let evaluated = self.evaluate(&forward, target)?.into_iter().next();
        let evaluated = evaluated.ok_or_else(|| Error::Value("no image was explained".into()))?;
        let heat = self.perturbed(method, tensor.view(), &evaluated.target, canceller)?;
        Ok(self.options.sign.of(heat))
    }

    /// The heat of one image before [`super::Options::sign`] is looked at. The target is one that was resolved: the same class for every
    /// changed image.
    pub(super) fn perturbed(
        &self,
        method: &dyn Perturbation,
        image: ArrayViewD<'_, f32>,
        target: &TargetRef,
        canceller: &Canceller,
    ) -> Result<Array2<f32>> {
        let mut score = |images: ArrayD<f32>| {
            if canceller.is_cancelled() {
                return Err(onnx_grad_ort::Error::Cancelled.into());
            }
            let count = images.len_of(Axis(0));
            let forward = self.run(images, canceller)?;
            let scores: Vec<f32> = self.evaluate(&forward, target)?.iter().map(|found| found.score).collect();
            match scores.len() == count {
                true => Ok(scores),
                false => Err(Error::Value(format!("{} scores for {count} images", scores.len()))),
            }
        };
        let layout = self.sidecar().preprocessing.layout;
        let mut trial = Trial { image, layout, batch: self.batch, score: &mut score };
        method.heatmap(&mut trial, &self.options.method.parameters)
    }

    /// Explanations by a method that looks at no layer: one an image.
    pub(super) fn explanations(
        &self,
        forward: &Forward,
        evaluated: &[Evaluated],
        heats: Vec<(Array2<f32>, Timing)>,
    ) -> Vec<Explanation> {
        let explanation = |(image, (evaluated, (heat, timing))): (usize, (&Evaluated, (Array2<f32>, Timing)))| {
            let is_zero = blank::is_blank(&heat);
            let heatmap = self.options.sign.of(heat);
            let blank = match (is_zero, self.options.sign) {
                (true, _) => Some(Blank::NoEvidence),
                (false, Sign::Both) => None,
                (false, _) => blank::is_blank(&heatmap).then_some(Blank::OtherSign),
            };
            Explanation {
                tap: 0,
                target: Explained::of(evaluated),
                heatmap: Some(heatmap),
                blank,
                activation: Held { value: forward.input.clone(), blocked: None, image },
                gradient: None,
                timing,
                fused: Vec::new(),
            }
        };
        evaluated.iter().zip(heats).enumerate().map(explanation).collect()
    }
}
