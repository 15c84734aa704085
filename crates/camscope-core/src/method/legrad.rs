//! Gradients at attention maps, block by block.

use ndarray::{Array2, Axis};

use super::{
    Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Trial},
};
use crate::error::Result;

/// LeGrad (Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via Feature Formation Sensitivity", 2024), by its code's
/// definition: the score of a block is what the model makes of the mean of the block's tokens in place of the last block's; what is positive of
/// its gradient at the block's attention is averaged over heads and queries; the blocks are added up.
pub(super) struct LeGrad;

/// How many blocks are looked at.
pub(crate) const BLOCKS: &str = "blocks";

impl HostMethod for LeGrad {
    fn name(&self) -> &'static str {
        "legrad"
    }

    fn about(&self) -> &'static str {
        "gradients at the attention of the last blocks, each of the score of its own tokens (Bousselham et al. 2024)"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter { name: BLOCKS, default: 2.0, about: "how many blocks, counted from the last" }]
    }

    fn needs(&self) -> Needs {
        Needs { blocks: true, ..Needs::NONE }
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        1.0 + 2.0 * parameters.get(BLOCKS)
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let grid = *super::given(trial.grid.as_ref(), "grid of tokens")?;
        let mut heat = Array2::<f32>::zeros((grid.height, grid.width));
        for gradient in &trial.beside.blocks {
            let positive = gradient.mapv(|slope| slope.max(0.0));
            let looked_at = positive.mean_axis(Axis(0)).and_then(|heads| heads.mean_axis(Axis(0))).unwrap_or_default();
            for ((y, x), heat) in heat.indexed_iter_mut() {
                *heat += looked_at.get(grid.prefix + y * grid.width + x).copied().unwrap_or(0.0);
            }
        }
        Ok(heat.into())
    }
}
