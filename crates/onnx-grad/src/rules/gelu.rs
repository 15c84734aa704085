//! x times a smooth step: GELU in its spellings, Swish.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, fused, rule},
    types::ElemType,
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("Gelu", gelu),
    rule("SwiGLU", swiglu),
    rule("Swish", swish),
    fused("BiasGelu", bias_gelu),
    fused("FastGelu", fast_gelu),
    fused("Gelu", gelu),
    fused("QuickGelu", quick_gelu),
];

/// Φ(x) + x φ(x) with the normal distribution's Φ(x) = (1 + erf(x/√2)) / 2 and φ(x) = exp(−x²/2) / √2π
///
/// Written as ½ − erf(−x/√2) / 2: a forward pass that has erf(x/√2) itself would be taken for the same node, and then a runtime could not
/// run the whole of it as one.
fn exact_slope(v: &mut Vjp<'_>, x: &Val, elem: ElemType) -> Val {
    let scaled = v.g.scale(x, elem, -std::f64::consts::FRAC_1_SQRT_2);
    let erf = v.g.unary("Erf", &scaled);
    let halved = v.g.scale(&erf, elem, 0.5);
    let half = v.g.scalar(elem, 0.5);
    let distribution = v.g.sub(&half, &halved);
    let square = v.g.mul(&scaled, &scaled);
    let negative = v.g.neg(&square);
    let bell = v.g.unary("Exp", &negative);
    let density = v.g.scale(&bell, elem, 0.5 * std::f64::consts::FRAC_1_SQRT_2 * std::f64::consts::FRAC_2_SQRT_PI);
    let moved = v.g.mul(x, &density);
    v.g.add(&distribution, &moved)
}

/// y = x (1 + t) / 2, t = tanh u, u = √(2/π) (x + 0.044715 x³): the slope is (1 + t + x (1 − t²) u′) / 2
fn tanh_slope(v: &mut Vjp<'_>, x: &Val, elem: ElemType) -> Val {
    const CUBE: f64 = 0.044_715;
    /// From here on t is ±1 in every float type.
    const FLAT: f64 = 16.0;
    let root = std::f64::consts::FRAC_1_SQRT_2 * std::f64::consts::FRAC_2_SQRT_PI;
    // The polynomials of a float16 overflow soon, and infinity times 1 − t², which is 0, is no number.
    let bounded = (elem == ElemType::Float16).then(|| {
        let (low, high) = (v.g.scalar(elem, -FLAT), v.g.scalar(elem, FLAT));
        let above = v.g.binary("Max", x, &low);
        v.g.binary("Min", &above, &high)
    });
    let x = bounded.as_ref().unwrap_or(x);
    let (one, square) = (v.g.scalar(elem, 1.0), v.g.mul(x, x));
    let polynomial = |v: &mut Vjp<'_>, factor: f64| {
        let scaled = v.g.scale(&square, elem, root * factor);
        let offset = v.g.scalar(elem, root);
        v.g.add(&scaled, &offset)
    };
    let per_x = polynomial(v, CUBE);
    let inner = v.g.mul(x, &per_x);
    let t = v.g.unary("Tanh", &inner);
    let t_square = v.g.mul(&t, &t);
    let flat = v.g.sub(&one, &t_square);
    let steep = polynomial(v, 3.0 * CUBE);
    let product = v.g.mul(x, &flat);
    let product = v.g.mul(&product, &steep);
    let sum = v.g.add(&one, &t);
    let sum = v.g.add(&sum, &product);
    v.g.scale(&sum, elem, 0.5)
}

/// y = x s, s = σ(αx): the slope is s + αx s (1 − s)
///
/// Written with r = σ(−αx) = 1 − s, for the reason given at [`exact_slope`]: (1 − r) (1 − (−αx) r).
pub(super) fn swish_slope(v: &mut Vjp<'_>, x: &Val, elem: ElemType, alpha: f64) -> Val {
    let negative = v.g.scale(x, elem, -alpha);
    let (r, one) = (v.g.unary("Sigmoid", &negative), v.g.scalar(elem, 1.0));
    let s = v.g.sub(&one, &r);
    let product = v.g.mul(&negative, &r);
    let sum = v.g.sub(&one, &product);
    v.g.mul(&s, &sum)
}

/// gy · slope(x)
fn chain(v: &mut Vjp<'_>, slope: impl FnOnce(&mut Vjp<'_>, &Val, ElemType) -> Val) -> Result {
    let (gy, x, elem) = (v.gy()?, v.x(0), v.elem()?);
    let slope = slope(v, &x, elem);
    let gradient = v.g.mul(&gy, &slope);
    v.first(gradient)
}

/// The same of x + bias, for both.
fn chain_biased(v: &mut Vjp<'_>, slope: impl FnOnce(&mut Vjp<'_>, &Val, ElemType) -> Val) -> Result {
    if !v.has(1) {
        return chain(v, slope);
    }
    let (gy, x, bias, elem) = (v.gy()?, v.x(0), v.x(1), v.elem()?);
    let sum = v.g.add(&x, &bias);
    let slope = slope(v, &sum, elem);
    let gradient = v.g.mul(&gy, &slope);
    v.each(|v, i| v.unbroadcast(&gradient, i))
}

fn gelu(v: &mut Vjp<'_>) -> Result {
    match v.node().attr_str("approximate").unwrap_or("none") {
        "none" => chain(v, exact_slope),
        "tanh" => chain(v, tanh_slope),
        other => Err(format!("it approximates by `{other}`").into()),
    }
}

fn bias_gelu(v: &mut Vjp<'_>) -> Result {
    chain_biased(v, exact_slope)
}

fn fast_gelu(v: &mut Vjp<'_>) -> Result {
    chain_biased(v, tanh_slope)
}

fn swish(v: &mut Vjp<'_>) -> Result {
    let alpha = v.node().attr_float("alpha").unwrap_or(1.0);
    chain(v, |v, x, elem| swish_slope(v, x, elem, alpha))
}

/// y = s(a) b with s the same as in [`swish`]
fn swiglu(v: &mut Vjp<'_>) -> Result {
    let (gy, a, b, elem) = (v.gy()?, v.x(0), v.x(1), v.elem()?);
    let alpha = v.node().attr_float("alpha").unwrap_or(1.0);
    v.each(|v, i| {
        let factor = if i == 0 {
            let slope = swish_slope(v, &a, elem, alpha);
            v.g.mul(&slope, &b)
        } else {
            let scaled = v.g.scale(&a, elem, alpha);
            let gate = v.g.unary("Sigmoid", &scaled);
            v.g.mul(&a, &gate)
        };
        Ok(v.g.mul(&gy, &factor))
    })
}

fn quick_gelu(v: &mut Vjp<'_>) -> Result {
    let alpha = v.node().attr_float("alpha").unwrap_or(1.702);
    chain(v, |v, x, elem| swish_slope(v, x, elem, alpha))
}
