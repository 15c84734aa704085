//! Several images at once, plainly and explained.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};
use onnx_grad_ort::measure::{Plan, Side, rounds};
use serde::{Deserialize, Serialize};

use super::plain::Plain;
use crate::{
    error::{Error, Result},
    explain::{Explainer, Options},
    runtime::{Runtime, SessionOptions, Value},
    subject::TypedModel,
    target::TargetRef,
};

/// Milliseconds of a batch of images, one a round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchTimes {
    /// How many images it has.
    pub pictures: usize,
    /// One run of a plain session.
    pub forward: Vec<f64>,
    /// From the prepared images to the heatmaps.
    pub explain: Vec<f64>,
    /// From the photos' files to the overlays' files.
    pub files: Vec<f64>,
}

/// A model made ready to be timed on a batch of one image. The runtime should be one whose shared threads sleep, as work on many photos
/// wants it ([`SharedThreads::sleep`](crate::runtime::SharedThreads::sleep)); the plain session's own threads spin while it runs.
pub struct Together {
    plain: Plain,
    explainer: Explainer,
    picture: ArrayD<f32>,
    batch: Value,
}

impl Together {
    /// Makes the model ready; `image` as it takes it, a batch of one first. `None` where it can't take several different ones.
    ///
    /// # Errors
    /// The runtime refuses.
    pub fn new(
        runtime: &'static Runtime,
        subject: &Arc<TypedModel>,
        options: &Options,
        picture: &ArrayD<f32>,
    ) -> Result<Option<Self>> {
        let explainer = Explainer::of(runtime, Arc::clone(subject), options.clone())?;
        if explainer.batch() < 2 {
            return Ok(None);
        }
        let views = vec![picture.view(); explainer.batch()];
        let all = concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))?;
        let spinning = SessionOptions { sleeps_between_runs: true, ..options.session.clone() };
        let plain = Plain::new(
            runtime.session_from_file(&subject.network().path, &spinning)?,
            picture,
            subject.fed(explainer.batch())?,
        )?;
        let batch = plain.value(all)?;
        Ok(Some(Self { plain, explainer, picture: picture.clone(), batch }))
    }

    /// Times a plain run, explaining, and `files`, which takes the photos of a batch from their files to overlays in files; see
    /// [`rounds`].
    ///
    /// # Errors
    /// The runtime fails, or `files` does.
    pub fn measure(
        &self,
        plan: &Plan,
        targets: &[TargetRef],
        mut files: impl FnMut(&Explainer) -> Result<()>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<BatchTimes> {
        let views: Vec<ArrayViewD<'_, f32>> = vec![self.picture.view(); self.explainer.batch()];
        let mut sides = [
            Side::new(|| self.plain.run_on(&self.batch)),
            Side::new(|| self.explainer.explain_all(&views, targets).map(drop)),
            Side::new(|| files(&self.explainer)),
        ];
        let mut times = rounds(&mut sides, plan, progress)?.into_iter();
        let mut next = || times.next().unwrap_or_default();
        Ok(BatchTimes { pictures: self.explainer.batch(), forward: next(), explain: next(), files: next() })
    }
}
