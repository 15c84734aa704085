//! Several pictures at once, plainly and explained.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};

use super::plain::Plain;
use crate::{
    error::{Error, Result},
    explain::{Explainer, Options},
    runtime::{Runtime, Value},
    subject::Subject,
    target::ClassSpec,
};

/// A model made ready for a batch of pictures.
pub struct Together {
    explainer: Explainer,
    picture: ArrayD<f32>,
    batch: Value,
}

impl Together {
    /// Makes the model ready; `picture` as it takes it, a batch of one first. `None` where it can't take several different ones.
    ///
    /// # Errors
    /// The runtime refuses.
    pub(super) fn new(
        runtime: &'static Runtime,
        subject: &Arc<Subject>,
        options: &Options,
        plain: &Plain,
        picture: &ArrayD<f32>,
    ) -> Result<Option<Self>> {
        let explainer = Explainer::of(runtime, Arc::clone(subject), options.clone())?;
        if explainer.batch() < 2 {
            return Ok(None);
        }
        let views = vec![picture.view(); explainer.batch()];
        let all = concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))?;
        Ok(Some(Self { explainer, picture: picture.clone(), batch: plain.value(all)? }))
    }

    /// The explainer: it says how many pictures a run takes.
    pub fn explainer(&self) -> &Explainer {
        &self.explainer
    }

    pub(super) fn forward(&self, plain: &Plain) -> Result<()> {
        plain.run_on(&self.batch)
    }

    pub(super) fn explain(&self, classes: &[ClassSpec]) -> Result<()> {
        let views: Vec<ArrayViewD<'_, f32>> = vec![self.picture.view(); self.explainer.batch()];
        self.explainer.explain_all(&views, classes).map(drop)
    }
}
