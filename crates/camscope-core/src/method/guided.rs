//! Gradients at the input by other backward passes through ReLUs.

use onnx_grad::swap::{DECONVNET, GUIDED, Swap};

use super::{
    Needs, Parameters,
    host::{Heat, HostMethod, Trial},
};
use crate::error::Result;

/// The gradient at the input by one of these passes.
pub(super) struct Guided {
    name: &'static str,
    about: &'static str,
    swap: &'static Swap,
}

/// See [`GUIDED`].
pub(super) const BACKPROP: Guided = Guided {
    name: "guided-backprop",
    about: "the gradient at the input, where only what is positive passes back through a ReLU (Springenberg et al. 2015)",
    swap: &GUIDED,
};

/// See [`DECONVNET`].
pub(super) const DECONV: Guided = Guided {
    name: "deconvnet",
    about: "the gradient at the input, where what is positive passes back through a ReLU wherever it was off (Zeiler and Fergus 2014)",
    swap: &DECONVNET,
};

impl HostMethod for Guided {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn needs(&self) -> Needs {
        Needs { slope: true, ..Needs::default() }
    }

    fn swap(&self) -> Option<&'static Swap> {
        Some(self.swap)
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        2.5
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let slope = (trial.slope)(trial.image.to_owned())?.1;
        Ok(trial.summed(slope))
    }
}
