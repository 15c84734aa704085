//! The first class activation map.

use super::{
    Needs, Parameters,
    host::{Heat, HostMethod, Trial},
};
use crate::error::Result;

/// CAM (Zhou et al., "Learning Deep Features for Discriminative Localization", 2016): where a network takes the mean of a layer over all places
/// and a linear classifier reads that, the classifier's own weights for the class weigh the channels. TorchCAM's `CAM`.
pub(super) struct ClassActivationMap;

impl HostMethod for ClassActivationMap {
    fn name(&self) -> &'static str {
        "cam"
    }

    fn about(&self) -> &'static str {
        "feature maps weighted by the linear classifier's own weights (Zhou et al. 2016); no gradient"
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, head: true, ..Needs::NONE }
    }

    fn is_of_class(&self) -> bool {
        true
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        1.0
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let weights = super::given(trial.beside.weights.as_ref(), "classifier's weights")?;
        let weights: Vec<f64> = weights.iter().map(|weight| f64::from(*weight)).collect();
        Ok(super::weighted_on_host(&weights, trial.layer()?).into())
    }
}
