//! One of two models: as it was read, and made ready for each size of photos.

use std::sync::Arc;

use camscope_core::{
    Result,
    explain::{Explainer, Options},
    model::{Labels, Network, Preprocessing, Sidecar},
    runtime::Runtime,
    subject::TypedModel,
    target::TargetRef,
};

use crate::{
    cli::{InputArgs, MethodArgs},
    explain_cmd::sized::{Made, of_size, sized},
    setup::subject,
};

/// A model as it was read.
pub(super) struct Side {
    network: Network,
    sidecar: Sidecar,
    input: InputArgs,
}

impl Side {
    pub(super) fn new((network, sidecar): (Network, Sidecar), input: &InputArgs) -> Self {
        Self { network, sidecar, input: input.clone() }
    }

    pub(super) fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }

    pub(super) fn preprocessing(&self) -> &Preprocessing {
        &self.sidecar.preprocessing
    }

    /// The model typed at that size, and what of it is explained.
    ///
    /// # Errors
    /// It cannot be typed, or has no such target.
    pub(super) fn subject(
        &self,
        runtime: &'static Runtime,
        size: &Preprocessing,
        how: &MethodArgs,
    ) -> Result<(TypedModel, Vec<TargetRef>)> {
        let (network, sidecar) = sized(&self.network, &self.sidecar, &self.input, size)?;
        subject(runtime, network, sidecar, how)
    }

    /// The model, ready to be explained at this size; others are made ready as they come.
    ///
    /// # Errors
    /// A layer isn't there or has no gradient, or the runtime refuses.
    pub(super) fn ready(
        self,
        runtime: &'static Runtime,
        subject: TypedModel,
        targets: Vec<TargetRef>,
        options: Options,
    ) -> Result<Ready> {
        let labels = subject.labels().clone();
        let size = subject.sidecar().preprocessing.size;
        let first = Arc::new(Explainer::of(runtime, Arc::new(subject), options.clone())?);
        Ok(Ready { side: self, runtime, targets, options, labels, made: Made::new(vec![(size, first)]) })
    }
}

/// A model that is ready.
pub(super) struct Ready {
    side: Side,
    runtime: &'static Runtime,
    targets: Vec<TargetRef>,
    options: Options,
    labels: Labels,
    made: Made,
}

impl Ready {
    pub(super) fn targets(&self) -> &[TargetRef] {
        &self.targets
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// For photos of that size.
    ///
    /// # Errors
    /// The model cannot be made ready for it.
    pub(super) fn explainer(&self, size: &Preprocessing) -> Result<Arc<Explainer>> {
        of_size(&self.made, size.size, || {
            let (network, sidecar) = sized(&self.side.network, &self.side.sidecar, &self.side.input, size)?;
            let subject = TypedModel::for_targets(self.runtime, network, sidecar, &self.targets)?;
            Explainer::of(self.runtime, Arc::new(subject), self.options.clone()).map(Arc::new)
        })
    }
}
