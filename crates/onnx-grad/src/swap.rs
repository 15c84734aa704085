//! Other backward passes: tables of rules that take the place of the registry's.
//!
//! A [`Swap`] changes what passes back through some operators and leaves all others as they are. What comes out is no derivative any more,
//! but it has the same shape: guided backpropagation, the deconvolutional network and DeepLIFT are made so.

use crate::{
    attr,
    builder::{EMITTED_OPSET, Val},
    flow::Masks,
    foreign::ForeignRules,
    model::{Model, same_domain},
    registry::{Entry, Grad, Kind, Unsupported, lookup, rule},
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

impl Swap {
    /// Whether it changes what passes back through ReLUs alone: of a model without any, it changes nothing.
    pub fn is_of_relus(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.op, "Relu" | "Clip"))
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

/// DeepLIFT's rescale rule (Shrikumar et al., "Learning Important Features Through Propagating Activation Differences", 2017), as Captum has
/// it: through an operator of one variable goes `gy · Δy/Δx`, where Δ is the difference of an image from a reference; where Δx is nothing, its
/// derivative. Images and references run together: the first half of the first axis are images, the second half the reference of each. Through
/// linear operators the multipliers go as derivatives do, so that multipliers times differences of the inputs add up to the difference of the
/// outputs. Max-pooling divides the difference between the places of both maxima (Captum loses a part of it where windows overlap, and where a
/// ReLU comes right before). Products of two values that both depend on the image, and a
/// softmax, have no rule: their derivative is taken, and nothing adds up.
pub const RESCALE: Swap = Swap {
    name: "rescale rule",
    entries: &[
        rule("Celu", rescaled),
        rule("Clip", rescaled),
        rule("Elu", rescaled),
        rule("Erf", rescaled),
        rule("Exp", rescaled),
        rule("Gelu", rescaled),
        rule("GlobalMaxPool", rescaled_maximum),
        rule("HardSigmoid", rescaled),
        rule("HardSwish", rescaled),
        rule("LeakyRelu", rescaled),
        rule("Log", rescaled),
        rule("MaxPool", rescaled_maximum),
        rule("Mish", rescaled),
        rule("PRelu", rescaled),
        rule("Relu", rescaled),
        rule("Selu", rescaled),
        rule("Shrink", rescaled),
        rule("Sigmoid", rescaled),
        rule("Softplus", rescaled),
        rule("Softsign", rescaled),
        rule("Sqrt", rescaled),
        rule("Swish", rescaled),
        rule("Tanh", rescaled),
        rule("ThresholdedRelu", rescaled),
    ],
};

/// Below this, a difference is none: Captum's bound.
const NO_DIFFERENCE: f64 = 1e-10;

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

/// The registry's own rule for the node.
fn plain(v: &mut Vjp<'_>) -> Rules {
    let (domain, op) = (v.node().domain.clone(), v.node().op_type.clone());
    match lookup(&domain, &op, EMITTED_OPSET).or_else(|| lookup(&domain, &op, i64::MAX)).map(|entry| entry.kind) {
        Some(Kind::Rule(rule)) => rule(v),
        _ => Err(format!("{op} has no rule").into()),
    }
}

/// The images' half of a value, and the references'.
fn halves(v: &mut Vjp<'_>, value: &Val) -> [Val; 2] {
    let mut parts = v.g.ops("Split", &[value], vec![attr::int("axis", 0), attr::int("num_outputs", 2)], 2).into_iter();
    [parts.next(), parts.next()].map(|part| part.unwrap_or_else(Val::absent))
}

/// By how much images differ from references, twice: for either half.
fn difference(v: &mut Vjp<'_>, value: &Val) -> Val {
    let [image, reference] = halves(v, value);
    let by = v.g.sub(&image, &reference);
    v.g.concat(&[&by, &by], 0)
}

/// `through / Δx`, and the derivative where Δx is nothing.
fn divided(v: &mut Vjp<'_>, through: &Val, otherwise: &Val) -> Result<Val, Unsupported> {
    let (x, elem) = (v.x(0), v.elem()?);
    let by = difference(v, &x);
    let (size, bound, one) = (v.g.unary("Abs", &by), v.g.scalar(elem, NO_DIFFERENCE), v.g.scalar(elem, 1.0));
    let none = v.g.binary("LessOrEqual", &size, &bound);
    let divisor = v.g.where_(&none, &one, &by);
    let ratio = v.g.div(through, &divisor);
    Ok(v.g.where_(&none, otherwise, &ratio))
}

fn has_images(v: &Vjp<'_>) -> Result<(), Unsupported> {
    match v.rank(0)? {
        0 => Err("it has no axis along which images and references could lie".into()),
        _ => Ok(()),
    }
}

fn rescaled(v: &mut Vjp<'_>) -> Rules {
    has_images(v)?;
    let mut gradients = plain(v)?;
    if let Some(Grad::Of(derivative)) = gradients.first().cloned() {
        let (gy, y) = (v.gy()?, v.y(0));
        let rise = difference(v, &y);
        let through = v.g.mul(&gy, &rise);
        gradients[0] = Grad::Of(divided(v, &through, &derivative)?);
    }
    Ok(gradients)
}

/// Up to the larger of both maxima the image's place counts, from there on the reference's.
fn rescaled_maximum(v: &mut Vjp<'_>) -> Rules {
    has_images(v)?;
    let (gy, y) = (v.gy()?, v.y(0));
    let Some(Grad::Of(derivative)) = plain(v)?.into_iter().next() else { return v.each(|v, _| v.gy()) };
    let [image, reference] = halves(v, &y);
    let larger = v.g.binary("Max", &image, &reference);
    let (above, below) = (v.g.sub(&larger, &reference), v.g.sub(&image, &larger));
    let rise = v.g.concat(&[&above, &below], 0);
    let rise = v.g.mul(&gy, &rise);
    let Some(Grad::Of(placed)) = v.with_gy(&rise, plain)?.into_iter().next() else { return v.first(derivative) };
    let [of_image, of_reference] = halves(v, &placed);
    let all = v.g.add(&of_image, &of_reference);
    let all = v.g.concat(&[&all, &all], 0);
    let gradient = divided(v, &all, &derivative)?;
    v.first(gradient)
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
    crate::differentiate::swapped(model, request, foreign, (Some(swap), Masks::Told))
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
        // The rescale rule is of every operator of one variable, and of nothing else.
        for (op, bounds) in [("Relu", &[][..]), ("Clip", &[-1.0, 1.0]), ("Tanh", &[])] {
            let (swapped, ops) = backward(op, bounds, &RESCALE);
            assert!(swapped == 1 && ops.iter().any(|op| op == "Div"), "{op} {ops:?}");
        }
        assert_eq!(backward("Neg", &[], &RESCALE).0, 0);
        // Guided backpropagation looks at the input's sign too, the deconvolutional network does not.
        assert!(backward("Relu", &[], &GUIDED).1.len() > backward("Relu", &[], &DECONVNET).1.len());
    }
}
