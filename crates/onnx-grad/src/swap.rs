//! Other backward passes: tables of rules that take the place of the registry's.
//!
//! A [`Swap`] changes what passes back through some operators and leaves all others as they are. What comes out is no derivative any more,
//! but it has the same shape: guided backpropagation and the deconvolutional network are made so.

use crate::{
    builder::Val,
    foreign::ForeignRules,
    model::{Model, same_domain},
    registry::{Entry, Grad, Unsupported, rule},
    rules::mask::above,
    vjp::Vjp,
};

type Rules = std::result::Result<Vec<Grad>, Unsupported>;

/// A table of rules that take the place of the registry's.
#[derive(Clone, Copy)]
pub struct Swap {
    /// Its name.
    pub name: &'static str,
    entries: &'static [Entry],
}

impl Swap {
    /// The row that takes the place of the registry's for an operator of a domain at an opset.
    pub fn lookup(&self, domain: &str, op: &str, opset: i64) -> Option<&'static Entry> {
        let fits = |entry: &&Entry| {
            entry.op == op && same_domain(entry.domain, domain) && (entry.since..=entry.until).contains(&opset)
        };
        self.entries.iter().find(fits)
    }
}

impl std::fmt::Debug for Swap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Guided backpropagation (Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015): through a ReLU goes what is
/// positive, where its input is positive: `max(gy, 0) · [x > 0]`.
pub const GUIDED: Swap =
    Swap { name: "guided backpropagation", entries: &[rule("Relu", guided), rule("Clip", guided_clip)] };

/// The deconvolutional network (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014): through a ReLU goes what is
/// positive, wherever: max(gy, 0).
pub const DECONVNET: Swap =
    Swap { name: "deconvolutional network", entries: &[rule("Relu", rectified), rule("Clip", rectified_clip)] };

/// What is positive of the cotangent.
fn positive(v: &mut Vjp<'_>) -> Result<Val, Unsupported> {
    let gy = v.gy()?;
    Ok(v.g.relu(&gy))
}

fn guided(v: &mut Vjp<'_>) -> Rules {
    let (y, elem) = (v.y(0), v.elem()?);
    let (gradient, open) = (positive(v)?, above(v, &y, 0.0, elem));
    let gradient = v.g.mul(&gradient, &open);
    v.first(gradient)
}

fn rectified(v: &mut Vjp<'_>) -> Rules {
    let gradient = positive(v)?;
    v.first(gradient)
}

/// Whether a `Clip` is a ReLU with an upper bound, as in MobileNets: its lower bound is 0.
fn is_relu(v: &Vjp<'_>) -> bool {
    v.has(1) && v.constant(1).and_then(|low| low.to_floats().ok()).is_some_and(|low| low[..] == [0.0])
}

fn guided_clip(v: &mut Vjp<'_>) -> Rules {
    let mut plain = crate::rules::activation_clip(v)?;
    if is_relu(v)
        && let Some(Grad::Of(gradient)) = plain.first_mut()
    {
        // The plain rule is the cotangent where the bounds don't cut: what is positive of it is what guided backpropagation passes.
        *gradient = v.g.relu(gradient);
    }
    Ok(plain)
}

fn rectified_clip(v: &mut Vjp<'_>) -> Rules {
    if !is_relu(v) {
        return crate::rules::activation_clip(v);
    }
    let gradient = positive(v)?;
    v.each(|_, i| match i {
        0 => Ok(gradient.clone()),
        _ => Err(Unsupported("its bounds are no constants".into())),
    })
}

/// [`crate::differentiate_with`] with another backward pass through some operators.
///
/// # Errors
/// Those of [`crate::differentiate_with`].
pub fn differentiate_swapped(
    model: &Model,
    request: &crate::Request<'_>,
    foreign: &dyn ForeignRules,
    swap: &'static Swap,
) -> crate::Result<crate::Gradient> {
    crate::differentiate::swapped(model, request, foreign, Some(swap))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Dim, ElemType, NoForeignRules, Request, Types, ValueType, value_info};

    /// How many nodes of `y = op(x)` were swapped, and the operators of the backward pass.
    fn backward(op: &str, bounds: &[f64], swap: &'static Swap) -> (usize, Vec<String>) {
        let ty = ValueType { elem: ElemType::Float, shape: Some(vec![Dim::Fixed(4)]) };
        let mut g = Builder::new();
        let x = g.input("x");
        let bounds: Vec<Val> = bounds.iter().map(|bound| g.scalar(ElemType::Float, *bound)).collect();
        let inputs: Vec<&Val> = std::iter::once(&x).chain(&bounds).collect();
        let y = g.op(op, &inputs, vec![]);
        let model = g.into_model(vec![value_info("x", Some(&ty))], vec![value_info(y.name(), Some(&ty))]).unwrap();
        let mut types = Types::default();
        types.insert("x".to_owned(), ty.clone());
        types.insert(y.name().to_owned(), ty);
        let request = Request { outputs: &[y.name()], wrt: &["x"], types: &types };
        let gradient = differentiate_swapped(&model, &request, &NoForeignRules, swap).unwrap();
        let ops = gradient.backward.graph().node.iter().map(|node| node.op_type.clone()).collect();
        (gradient.swapped, ops)
    }

    #[test]
    fn only_relus_pass_what_is_positive() {
        for swap in [&GUIDED, &DECONVNET] {
            for (op, bounds) in [("Relu", &[][..]), ("Clip", &[0.0, 6.0])] {
                let (swapped, ops) = backward(op, bounds, swap);
                assert!(swapped == 1 && ops.iter().any(|op| op == "Relu"), "{op} {ops:?}");
            }
            // Other bounds are no ReLU.
            assert!(!backward("Clip", &[-1.0, 1.0], swap).1.iter().any(|op| op == "Relu"));
            let (swapped, ops) = backward("Tanh", &[], swap);
            assert!(swapped == 0 && !ops.iter().any(|op| op == "Relu"), "{ops:?}");
        }
        // Guided backpropagation looks at the input's sign too, the deconvolutional network does not.
        assert!(backward("Relu", &[], &GUIDED).1.len() > backward("Relu", &[], &DECONVNET).1.len());
    }
}
