//! Attention, followed from the last block to the first.

use ndarray::{Array2, Array3, Axis};

use super::{
    Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Trial},
};
use crate::error::Result;

/// Attention rollout (Abnar and Zuidema, "Quantifying Attention Flow in Transformers", 2020): the product over the blocks of ½ A + ½ I, A the
/// mean over the heads; the row of the first token, where there is one that stands for no place, else the mean row.
pub(super) struct AttentionRollout;

impl HostMethod for AttentionRollout {
    fn name(&self) -> &'static str {
        "attention-rollout"
    }

    fn about(&self) -> &'static str {
        "attention followed through all blocks, whatever the target (Abnar and Zuidema 2020); no gradient"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter {
            name: "discard",
            default: 0.0,
            about: "share of each map's weakest attention that is left out, from 0 to 1",
        }]
    }

    fn needs(&self) -> Needs {
        Needs { attention: true, ..Needs::default() }
    }

    fn is_of_target(&self) -> bool {
        false
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        1.0
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let discard = parameters.get("discard").clamp(0.0, 1.0);
        let maps = trial.maps()?.iter().map(|(attention, _)| {
            let mut mean = attention.mean_axis(Axis(0)).unwrap_or_default().mapv(f64::from);
            leave_out(&mut mean, discard);
            let tokens = mean.nrows();
            let mut mixed = (mean + Array2::<f64>::eye(tokens)) / 2.0;
            for mut row in mixed.rows_mut() {
                let sum = row.sum();
                row /= if sum > 0.0 { sum } else { 1.0 };
            }
            mixed
        });
        let rolled = maps.reduce(|before, next| next.dot(&before));
        Ok(on_grid(trial, &rolled.unwrap_or_default()).into())
    }
}

/// Sets the weakest values to 0, that of the first token's own place aside.
fn leave_out(map: &mut Array2<f64>, share: f64) {
    let count = (share * map.len() as f64) as usize;
    if count == 0 {
        return;
    }
    let mut order: Vec<f64> = map.iter().copied().collect();
    order.sort_by(f64::total_cmp);
    let least = order[count.min(order.len()) - 1];
    let first = map.get((0, 0)).copied();
    map.mapv_inplace(|value| if value <= least { 0.0 } else { value });
    if let (Some(first), Some(place)) = (first, map.get_mut((0, 0))) {
        *place = first;
    }
}

/// Chefer et al., "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers", 2021, equations 5 and 6,
/// for self-attention: R ← R + mean over the heads of max(∂score/∂A ⊙ A, 0) · R, from the first block to the last.
pub(super) struct GradientRollout;

impl HostMethod for GradientRollout {
    fn name(&self) -> &'static str {
        "gradient-rollout"
    }

    fn about(&self) -> &'static str {
        "attention weighted by its gradient, followed through all blocks (Chefer et al. 2021)"
    }

    fn needs(&self) -> Needs {
        Needs { attention: true, gradient: true, ..Needs::default() }
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        2.2
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let mut rolled: Option<Array2<f64>> = None;
        for (attention, gradient) in trial.maps()? {
            let gradient = super::given(gradient.as_ref(), "gradient")?;
            let positive: Array3<f32> = (attention * gradient).mapv_into(|value| value.max(0.0));
            let mean = positive.mean_axis(Axis(0)).unwrap_or_default().mapv(f64::from);
            let before = rolled.unwrap_or_else(|| Array2::eye(mean.nrows()));
            let added = mean.dot(&before);
            rolled = Some(before + added);
        }
        Ok(on_grid(trial, &rolled.unwrap_or_default()).into())
    }
}

/// What the first token that stands for no place has of each place; without such a token the mean over all.
fn on_grid(trial: &Trial<'_>, map: &Array2<f64>) -> Array2<f32> {
    let Some(grid) = trial.grid.filter(|grid| map.nrows() == grid.tokens()) else { return Array2::zeros((0, 0)) };
    let row = match grid.prefix {
        0 => map.mean_axis(Axis(0)).unwrap_or_default(),
        _ => map.row(0).to_owned(),
    };
    Array2::from_shape_fn((grid.height, grid.width), |(y, x)| row[grid.prefix + y * grid.width + x] as f32)
}
