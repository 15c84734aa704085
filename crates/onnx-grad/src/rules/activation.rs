//! Activation functions.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::mask::{above, all, below, between, compare},
    types::ElemType,
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("Celu", celu),
    rule("Clip", clip),
    rule("Elu", elu),
    rule("HardSigmoid", hard_sigmoid),
    rule("HardSwish", hard_swish),
    rule("LeakyRelu", leaky_relu),
    rule("Mish", mish),
    rule("PRelu", prelu),
    rule("Relu", relu),
    rule("Selu", selu),
    rule("Shrink", shrink),
    rule("Sigmoid", sigmoid),
    rule("Softplus", softplus),
    rule("Softsign", softsign),
    rule("ThresholdedRelu", thresholded_relu),
    rule("Tanh", tanh),
];

fn times(v: &mut Vjp<'_>, slope: &Val) -> Result {
    let gy = v.gy()?;
    let gradient = v.g.mul(&gy, slope);
    v.first(gradient)
}

/// 1 where the output is positive, which is kept anyway.
fn relu(v: &mut Vjp<'_>) -> Result {
    let y = v.y(0);
    let slope = match v.elem() {
        Ok(elem) => above(v, &y, 0.0, elem),
        // Of an output that is never negative the sign says it, in a type that nobody knows; runtimes are slower at it.
        Err(_) => v.g.unary("Sign", &y),
    };
    times(v, &slope)
}

/// 1 above zero, else `low`.
fn step(v: &mut Vjp<'_>, x: &Val, low: f64, elem: ElemType) -> Val {
    let above = above(v, x, 0.0, elem);
    let (scaled, low) = (v.g.scale(&above, elem, 1.0 - low), v.g.scalar(elem, low));
    v.g.add(&scaled, &low)
}

/// `alpha` where x < 0 (or = 0), 1 above.
fn leaky_relu(v: &mut Vjp<'_>) -> Result {
    let (elem, alpha) = (v.elem()?, v.node().attr_float("alpha").unwrap_or(0.01));
    // With a positive slope the output has the input's sign.
    let signed = if alpha > 0.0 { v.y(0) } else { v.x(0) };
    let slope = step(v, &signed, alpha, elem);
    times(v, &slope)
}

/// x > 0: ∂x = gy; else ∂x = gy · slope, ∂slope = gy · x
fn prelu(v: &mut Vjp<'_>) -> Result {
    let (gy, x, slope, elem) = (v.gy()?, v.x(0), v.x(1), v.elem()?);
    let one = v.g.scalar(elem, 1.0);
    v.each(|v, i| match i {
        0 => {
            let above = above(v, &x, 0.0, elem);
            let below = v.g.sub(&one, &above);
            let scaled = v.g.mul(&below, &slope);
            let factor = v.g.add(&above, &scaled);
            Ok(v.g.mul(&gy, &factor))
        }
        _ => {
            let zero = v.g.scalar(elem, 0.0);
            let below = v.g.binary("Min", &x, &zero);
            let product = v.g.mul(&gy, &below);
            v.unbroadcast(&product, 1)
        }
    })
}

/// The bounds, where the output tells what lies between them: they are constants, and the node is a ReLU6 behind a convolution or the
/// like. Then the input need not be kept, and runtimes can fuse the node with what makes it.
fn bounds_told(v: &Vjp<'_>) -> Option<(Option<f64>, Option<f64>)> {
    if !v.made_by(0, &["BatchNormalization", "Conv", "ConvTranspose", "Gemm"]) {
        return None;
    }
    let bound = |i: usize| match (v.has(i), v.constant(i)) {
        (false, _) => Some(None),
        (true, constant) => constant?.to_floats().ok()?.first().map(|bound| Some(*bound)),
    };
    let (low, high) = (bound(1)?, bound(2)?);
    // Bounds that cross, or are no numbers, are for the general rule.
    let ordered = low.is_none_or(f64::is_finite) && high.is_none_or(f64::is_finite);
    (ordered && low.zip(high).is_none_or(|(low, high)| low < high)).then_some((low, high))
}

/// 1 between the bounds and on them. The bounds themselves get the cotangent where they cut.
pub(crate) fn clip(v: &mut Vjp<'_>) -> Result {
    let (gy, x, elem) = (v.gy()?, v.x(0), v.elem()?);
    let (has_low, has_high) = (v.has(1), v.has(2));
    let (low, high) = (v.x(1), v.x(2));
    let bounds = bounds_told(v);
    v.each(|v, i| {
        if i == 0
            && let Some((low, high)) = bounds
        {
            let y = v.y(0);
            let inside = match (low, high) {
                (Some(low), Some(high)) => between(v, &y, low, high, elem),
                (Some(low), None) => above(v, &y, low, elem),
                (None, Some(high)) => below(v, &y, high, elem),
                (None, None) => return Ok(gy.clone()),
            };
            return Ok(v.g.mul(&gy, &inside));
        }
        let mut truths = Vec::new();
        match i {
            0 => {
                if has_low {
                    truths.push(v.g.binary("GreaterOrEqual", &x, &low));
                }
                if has_high {
                    truths.push(v.g.binary("LessOrEqual", &x, &high));
                }
            }
            1 => {
                truths.push(v.g.binary("Less", &x, &low));
                if has_high {
                    // Where the bounds cross, the upper one wins.
                    truths.push(v.g.binary("Less", &low, &high));
                }
            }
            _ => {
                let limited = if has_low { v.g.binary("Max", &x, &low) } else { x.clone() };
                truths.push(v.g.binary("Greater", &limited, &high));
            }
        }
        let gradient = match all(v, &truths, elem) {
            Some(slope) => v.g.mul(&gy, &slope),
            None => gy.clone(),
        };
        if i == 0 { Ok(gradient) } else { v.unbroadcast(&gradient, i) }
    })
}

/// `high` for x > 0, else `low`. With x = 0 in the positive half the values of `low` are finite there.
fn two_sided(v: &mut Vjp<'_>, elem: ElemType, high: f64, low: &Val) -> Result {
    let above = above(v, &v.x(0), 0.0, elem);
    let one = v.g.scalar(elem, 1.0);
    let rest = v.g.sub(&one, &above);
    let (high, low) = (v.g.scale(&above, elem, high), v.g.mul(&rest, low));
    let slope = v.g.add(&high, &low);
    times(v, &slope)
}

/// y = α (eˣ − 1) below zero: the slope is y + α
fn elu(v: &mut Vjp<'_>) -> Result {
    let (elem, alpha) = (v.elem()?, v.node().attr_float("alpha").unwrap_or(1.0));
    let alpha = v.g.scalar(elem, alpha);
    let below = v.g.add(&v.y(0), &alpha);
    two_sided(v, elem, 1.0, &below)
}

/// y = γ α (eˣ − 1) below zero, γ x above
fn selu(v: &mut Vjp<'_>) -> Result {
    let elem = v.elem()?;
    let alpha = v.node().attr_float("alpha").unwrap_or(1.673_263_2);
    let gamma = v.node().attr_float("gamma").unwrap_or(1.050_701);
    let offset = v.g.scalar(elem, gamma * alpha);
    let below = v.g.add(&v.y(0), &offset);
    two_sided(v, elem, gamma, &below)
}

/// y = α (exp(x/α) − 1) below zero: the slope is y/α + 1
fn celu(v: &mut Vjp<'_>) -> Result {
    let (elem, alpha) = (v.elem()?, v.node().attr_float("alpha").unwrap_or(1.0));
    let scaled = v.g.scale(&v.y(0), elem, 1.0 / alpha);
    let one = v.g.scalar(elem, 1.0);
    let below = v.g.add(&scaled, &one);
    two_sided(v, elem, 1.0, &below)
}

/// y (1 − y)
fn sigmoid(v: &mut Vjp<'_>) -> Result {
    let elem = v.elem()?;
    let one = v.g.scalar(elem, 1.0);
    let rest = v.g.sub(&one, &v.y(0));
    let slope = v.g.mul(&v.y(0), &rest);
    times(v, &slope)
}

/// 1 − y²
fn tanh(v: &mut Vjp<'_>) -> Result {
    let elem = v.elem()?;
    let one = v.g.scalar(elem, 1.0);
    let square = v.g.mul(&v.y(0), &v.y(0));
    let slope = v.g.sub(&one, &square);
    times(v, &slope)
}

/// α where 0 < αx + β < 1
fn hard_sigmoid(v: &mut Vjp<'_>) -> Result {
    let (elem, y) = (v.elem()?, v.y(0));
    let alpha = v.node().attr_float("alpha").unwrap_or(0.2);
    let inside = between(v, &y, 0.0, 1.0, elem);
    let slope = v.g.scale(&inside, elem, alpha);
    times(v, &slope)
}

/// y = x · max(0, min(1, x/6 + ½)): 0 up to −3, 1 from 3, x/3 + ½ between
fn hard_swish(v: &mut Vjp<'_>) -> Result {
    let (elem, x) = (v.elem()?, v.x(0));
    let (above, below) = (above(v, &x, -3.0, elem), below(v, &x, 3.0, elem));
    let third = v.g.scale(&x, elem, 1.0 / 3.0);
    // Between: x/3 − ½ + 1; from 3: 1.
    let half = v.g.scalar(elem, 0.5);
    let middle = v.g.sub(&third, &half);
    let (middle, one) = (v.g.mul(&middle, &below), v.g.scalar(elem, 1.0));
    let slope = v.g.add(&middle, &one);
    let slope = v.g.mul(&slope, &above);
    times(v, &slope)
}

/// σ(x)
fn softplus(v: &mut Vjp<'_>) -> Result {
    let slope = v.g.unary("Sigmoid", &v.x(0));
    times(v, &slope)
}

/// 1 / (1 + |x|)²
fn softsign(v: &mut Vjp<'_>) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let (size, one) = (v.g.unary("Abs", &v.x(0)), v.g.scalar(elem, 1.0));
    let sum = v.g.add(&one, &size);
    let square = v.g.mul(&sum, &sum);
    let gradient = v.g.div(&gy, &square);
    v.first(gradient)
}

/// y = x · t, t = tanh(softplus x): t + x σ(x) (1 − t²)
fn mish(v: &mut Vjp<'_>) -> Result {
    let (elem, x) = (v.elem()?, v.x(0));
    let (soft, sigma, one) = (v.g.unary("Softplus", &x), v.g.unary("Sigmoid", &x), v.g.scalar(elem, 1.0));
    let t = v.g.unary("Tanh", &soft);
    let square = v.g.mul(&t, &t);
    let rest = v.g.sub(&one, &square);
    let inner = v.g.mul(&sigma, &rest);
    let scaled = v.g.mul(&x, &inner);
    let slope = v.g.add(&t, &scaled);
    times(v, &slope)
}

/// y = x where x > α, else 0
fn thresholded_relu(v: &mut Vjp<'_>) -> Result {
    let (elem, alpha) = (v.elem()?, v.node().attr_float("alpha").unwrap_or(1.0));
    let alpha = v.g.scalar(elem, alpha);
    let slope = compare(v, "Greater", &v.x(0), &alpha, elem);
    times(v, &slope)
}

/// y = x ± bias where |x| > λ, else 0
fn shrink(v: &mut Vjp<'_>) -> Result {
    let (elem, lambda) = (v.elem()?, v.node().attr_float("lambd").unwrap_or(0.5));
    let (size, lambda) = (v.g.unary("Abs", &v.x(0)), v.g.scalar(elem, lambda));
    let slope = compare(v, "Greater", &size, &lambda, elem);
    times(v, &slope)
}
