//! The activations of recurrent gates whose slope follows from their value.

use super::{Result, Run};
use crate::{builder::Val, types::ElemType, vjp::Vjp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Relu,
    Sigmoid,
    Tanh,
}

impl Activation {
    /// Those of one direction: as named, or the operator's defaults.
    pub(super) fn of_run<const N: usize>(v: &Vjp<'_>, run: &Run, defaults: [Self; N]) -> Result<[Self; N]> {
        let Some(named) = v.node().attr("activations").filter(|named| !named.strings.is_empty()) else {
            return Ok(defaults);
        };
        let mut all = defaults;
        for (i, slot) in all.iter_mut().enumerate() {
            let name = named.strings.get(run.at * N + i).ok_or("it names too few activations")?;
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            *slot = match name.as_str() {
                "relu" => Self::Relu,
                "sigmoid" => Self::Sigmoid,
                "tanh" => Self::Tanh,
                other => return Err(format!("its activation `{other}` has no rule").into()),
            };
        }
        Ok(all)
    }

    /// The operator of that name.
    pub(super) fn op(self) -> &'static str {
        match self {
            Self::Relu => "Relu",
            Self::Sigmoid => "Sigmoid",
            Self::Tanh => "Tanh",
        }
    }

    pub(super) fn of(self, v: &mut Vjp<'_>, value: &Val) -> Val {
        v.g.unary(self.op(), value)
    }

    /// The slope where the activation has that value: σ′ = y (1 − y), tanh′ = 1 − y².
    pub(super) fn slope(self, v: &mut Vjp<'_>, y: &Val, elem: ElemType) -> Val {
        let one = v.g.scalar(elem, 1.0);
        match self {
            Self::Relu => v.g.unary("Sign", y),
            Self::Sigmoid => {
                let rest = v.g.sub(&one, y);
                v.g.mul(y, &rest)
            }
            Self::Tanh => {
                let square = v.g.mul(y, y);
                v.g.sub(&one, &square)
            }
        }
    }
}
