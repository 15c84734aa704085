//! Which side of the evidence a heatmap shows.

use ndarray::Array2;
use onnx_grad::{Builder, Val};

/// Which side of the evidence a heatmap shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sign {
    /// What speaks for the target; the rest is 0.
    #[default]
    Positive,
    /// What speaks against it, as positive numbers; the rest is 0.
    Negative,
    /// Both: negative numbers speak against it.
    Both,
}

impl Sign {
    /// Every sign.
    pub const ALL: [Self; 3] = [Self::Positive, Self::Negative, Self::Both];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Both => "both",
        }
    }

    /// Emits what is left of the heat.
    pub(super) fn emit(self, g: &mut Builder, heat: &Val) -> Val {
        match self {
            Self::Positive => g.op("Relu", &[heat], vec![]),
            Self::Negative => {
                let against = g.neg(heat);
                g.op("Relu", &[&against], vec![])
            }
            Self::Both => heat.clone(),
        }
    }

    /// What is left of the heat.
    pub(crate) fn of(self, heat: Array2<f32>) -> Array2<f32> {
        match self {
            Self::Positive => heat.mapv_into(|heat| heat.max(0.0)),
            Self::Negative => heat.mapv_into(|heat| (-heat).max(0.0)),
            Self::Both => heat,
        }
    }
}
