//! Arithmetic with broadcasting, and functions of one number.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::mask::{over, where_true},
    types::ElemType,
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("Abs", abs),
    rule("Acos", acos),
    rule("Acosh", acosh),
    rule("Add", add),
    rule("Asin", asin),
    rule("Asinh", asinh),
    rule("Atan", atan),
    rule("Atanh", atanh),
    rule("Cos", cos),
    rule("Cosh", cosh),
    rule("Div", div),
    rule("Erf", erf),
    rule("Exp", exp),
    rule("Log", log),
    rule("Max", extremum),
    rule("Mean", mean),
    rule("Min", extremum),
    rule("Mod", remainder),
    rule("Mul", mul),
    rule("Neg", neg),
    rule("Pow", pow),
    rule("Reciprocal", reciprocal),
    rule("Sin", sin),
    rule("Sinh", sinh),
    rule("Sqrt", sqrt),
    rule("Sub", sub),
    rule("Sum", add),
    rule("Tan", tan),
    rule("Where", where_),
];

fn add(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    v.each(|v, i| v.unbroadcast(&gy, i))
}

fn mean(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, count) = (v.gy()?, v.elem()?, v.inputs());
    let share = v.g.scale(&gy, elem, 1.0 / count as f64);
    v.each(|v, i| v.unbroadcast(&share, i))
}

fn sub(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    v.each(|v, i| {
        let summed = v.unbroadcast(&gy, i)?;
        Ok(if i == 0 { summed } else { v.g.neg(&summed) })
    })
}

fn mul(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    v.each(|v, i| {
        let other = v.x(1 - i);
        let product = v.g.mul(&gy, &other);
        v.unbroadcast(&product, i)
    })
}

/// y = a / b: ∂a = gy / b, ∂b = −gy · y / b
fn div(v: &mut Vjp<'_>) -> Result {
    let (gy, b, y) = (v.gy()?, v.x(1), v.y(0));
    let quotient = v.g.div(&gy, &b);
    v.each(|v, i| match i {
        0 => v.unbroadcast(&quotient, 0),
        _ => {
            let product = v.g.mul(&quotient, &y);
            let summed = v.unbroadcast(&product, 1)?;
            Ok(v.g.neg(&summed))
        }
    })
}

/// y = a − q b with a whole number q, of either rounding: ∂a = gy, ∂b = −gy · q
fn remainder(v: &mut Vjp<'_>) -> Result {
    let (gy, a, b, y, elem) = (v.gy()?, v.x(0), v.x(1), v.y(0), v.elem()?);
    v.each(|v, i| match i {
        0 => v.unbroadcast(&gy, 0),
        _ => {
            let whole = v.g.sub(&a, &y);
            let quotient = v.g.div(&whole, &b);
            let quotient = v.g.unary("Round", &quotient);
            // Of infinities there is no remainder.
            let (undefined, zero) = (v.g.unary("IsNaN", &quotient), v.g.scalar(elem, 0.0));
            let quotient = v.g.where_(&undefined, &zero, &quotient);
            let product = v.g.mul(&gy, &quotient);
            let summed = v.unbroadcast(&product, 1)?;
            Ok(v.g.neg(&summed))
        }
    })
}

/// y = aᵇ: ∂a = gy · b · aᵇ⁻¹, ∂b = gy · y · ln a, both zero where PyTorch has them zero (b = 0; a = 0 with b ≥ 0), and ∂a also where it
/// is upright (a = 0 with 0 < b < 1; see [`chain_upright`])
fn pow(v: &mut Vjp<'_>) -> Result {
    let (gy, a, b, y, elem) = (v.gy()?, v.x(0), v.x(1), v.y(0), v.elem()?);
    // The exponent may be an integer, or a float of another width.
    let exponent = if v.elem_of(&b)? == elem { b.clone() } else { v.g.cast(&b, elem) };
    let constant = v.constant(1).and_then(|tensor| tensor.to_floats().ok()).filter(|values| values.len() == 1);
    v.each(|v, i| match (i, constant.as_deref()) {
        (0, Some(&[power])) => {
            let slope = power_slope(v, &a, elem, power);
            let product = v.g.mul(&gy, &slope);
            v.unbroadcast(&product, 0)
        }
        (0, _) => {
            let (zero, one) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0));
            let (at_zero, constant) = (v.g.binary("Equal", &a, &zero), v.g.binary("Equal", &exponent, &zero));
            let below_one = v.g.binary("Less", &exponent, &one);
            let rising = v.g.binary("Greater", &exponent, &zero);
            let upright = v.g.binary("And", &at_zero, &below_one);
            let upright = v.g.binary("And", &upright, &rising);
            let flat = v.g.binary("Or", &constant, &upright);
            let less = v.g.sub(&exponent, &one);
            let base = v.g.where_(&flat, &one, &a);
            let power = v.g.pow(&base, &less);
            let slope = v.g.mul(&exponent, &power);
            let slope = v.g.where_(&flat, &zero, &slope);
            let product = v.g.mul(&gy, &slope);
            v.unbroadcast(&product, 0)
        }
        _ => {
            let (zero, one) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0));
            let (at_zero, rising) = (v.g.binary("Equal", &a, &zero), v.g.binary("GreaterOrEqual", &exponent, &zero));
            let flat = v.g.binary("And", &at_zero, &rising);
            let base = v.g.where_(&flat, &one, &a);
            let log = v.g.unary("Log", &base);
            let slope = v.g.mul(&y, &log);
            let product = v.g.mul(&gy, &slope);
            v.unbroadcast(&product, 1)
        }
    })
}

/// p · aᵖ⁻¹, by products where p is a small whole number: runtimes differ in the powers of what is negative. 0 where it would be infinite and
/// y is not.
fn power_slope(v: &mut Vjp<'_>, a: &Val, elem: ElemType, power: f64) -> Val {
    /// The largest power by products.
    const LARGEST: f64 = 8.0;
    if power == 0.0 {
        return v.g.scalar(elem, 0.0);
    }
    if power == 1.0 {
        return v.g.scalar(elem, 1.0);
    }
    if power.fract() == 0.0 && (0.0..=LARGEST).contains(&power) {
        // aⁿ by squaring.
        let (mut rest, mut square, mut product) = (power as u32 - 1, a.clone(), None);
        loop {
            if rest % 2 == 1 {
                product = Some(product.map_or_else(|| square.clone(), |product| v.g.mul(&product, &square)));
            }
            rest /= 2;
            match (rest, product) {
                (0, Some(product)) => return v.g.scale(&product, elem, power),
                (_, before) => product = before,
            }
            square = v.g.mul(&square, &square);
        }
    }
    let less = v.g.scalar(elem, power - 1.0);
    if !(0.0..1.0).contains(&power) {
        let raised = v.g.pow(a, &less);
        return v.g.scale(&raised, elem, power);
    }
    let (zero, one) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0));
    let flat = v.g.binary("Equal", a, &zero);
    let base = v.g.where_(&flat, &one, a);
    let raised = v.g.pow(&base, &less);
    let slope = v.g.scale(&raised, elem, power);
    v.g.where_(&flat, &zero, &slope)
}

/// `Max` and `Min`: the cotangent goes to the input that won, shared evenly where two are equal.
///
/// More than two inputs are nested pairs from the left, max(max(a, b), c), so a three-way tie gives ¼, ¼ and ½.
fn extremum(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, op) = (v.gy()?, v.elem()?, v.node().op_type.clone());
    let count = v.inputs();
    let mut partial = vec![v.x(0)];
    for i in 1..count {
        let next = v.g.binary(&op, &partial[i - 1].clone(), &v.x(i));
        partial.push(next);
    }
    // share[i]: how much of the cotangent arrives at the partial result of inputs 0..=i.
    let mut cotangent = gy;
    let mut at_input = vec![None; count];
    for i in (1..count).rev() {
        let (left, right) = (partial[i - 1].clone(), v.x(i));
        let beats = if op == "Max" { "Greater" } else { "Less" };
        let half = v.g.scalar(elem, 0.5);
        let (tie, wins) = (v.g.binary("Equal", &left, &right), v.g.binary(beats, &right, &left));
        let wins = v.g.cast(&wins, elem);
        let share = v.g.where_(&tie, &half, &wins);
        let one = v.g.scalar(elem, 1.0);
        let rest = v.g.sub(&one, &share);
        at_input[i] = Some(v.g.mul(&cotangent, &share));
        cotangent = v.g.mul(&cotangent, &rest);
    }
    at_input[0] = Some(cotangent);
    v.each(|v, i| {
        let gradient = at_input[i].clone().ok_or("no such input")?;
        v.unbroadcast(&gradient, i)
    })
}

fn where_(v: &mut Vjp<'_>) -> Result {
    let (gy, condition, elem) = (v.gy()?, v.x(0), v.elem()?);
    v.each(|v, i| {
        let chosen = if i == 1 { condition.clone() } else { v.g.unary("Not", &condition) };
        let chosen = where_true(v, &chosen, &gy, elem);
        v.unbroadcast(&chosen, i)
    })
}

fn neg(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    let gradient = v.g.neg(&gy);
    v.first(gradient)
}

/// gy · slope, for a function of one number.
fn chain(v: &mut Vjp<'_>, slope: impl FnOnce(&mut Vjp<'_>, ElemType) -> Val) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let slope = slope(v, elem);
    let gradient = v.g.mul(&gy, &slope);
    v.first(gradient)
}

/// gy / divisor, for a function of one number.
fn chain_div(v: &mut Vjp<'_>, divisor: impl FnOnce(&mut Vjp<'_>, ElemType) -> Val) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let divisor = divisor(v, elem);
    let gradient = v.g.div(&gy, &divisor);
    v.first(gradient)
}

/// The same of a function that ends upright, where the divisor is 0: there the gradient is 0. Mostly a zero comes next: the slope of a
/// square inside the root, a mask where a ReLU or a `Clip` was at its bound. Infinity times that would be no number.
fn chain_upright(v: &mut Vjp<'_>, divisor: impl FnOnce(&mut Vjp<'_>, ElemType) -> Val) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let divisor = divisor(v, elem);
    let gradient = over(v, &gy, &divisor, elem);
    v.first(gradient)
}

fn abs(v: &mut Vjp<'_>) -> Result {
    chain(v, |v, _| v.g.unary("Sign", &v.x(0)))
}

fn exp(v: &mut Vjp<'_>) -> Result {
    chain(v, |v, _| v.y(0))
}

fn log(v: &mut Vjp<'_>) -> Result {
    chain_div(v, |v, _| v.x(0))
}

/// 1 / (2 y), 0 where y is
fn sqrt(v: &mut Vjp<'_>) -> Result {
    chain_upright(v, |v, elem| v.g.scale(&v.y(0), elem, 2.0))
}

/// −y²
fn reciprocal(v: &mut Vjp<'_>) -> Result {
    chain(v, |v, _| {
        let square = v.g.mul(&v.y(0), &v.y(0));
        v.g.neg(&square)
    })
}

/// 2/√π · exp(−x²)
fn erf(v: &mut Vjp<'_>) -> Result {
    chain(v, |v, elem| {
        let square = v.g.mul(&v.x(0), &v.x(0));
        let negative = v.g.neg(&square);
        let bell = v.g.unary("Exp", &negative);
        v.g.scale(&bell, elem, std::f64::consts::FRAC_2_SQRT_PI)
    })
}

fn sin(v: &mut Vjp<'_>) -> Result {
    chain(v, |v, _| v.g.unary("Cos", &v.x(0)))
}

fn cos(v: &mut Vjp<'_>) -> Result {
    chain(v, |v, _| {
        let sine = v.g.unary("Sin", &v.x(0));
        v.g.neg(&sine)
    })
}

/// 1 + y²
fn tan(v: &mut Vjp<'_>) -> Result {
    chain(v, |v, elem| {
        let square = v.g.mul(&v.y(0), &v.y(0));
        let one = v.g.scalar(elem, 1.0);
        v.g.add(&one, &square)
    })
}

fn sinh(v: &mut Vjp<'_>) -> Result {
    chain(v, |v, _| v.g.unary("Cosh", &v.x(0)))
}

fn cosh(v: &mut Vjp<'_>) -> Result {
    chain(v, |v, _| v.g.unary("Sinh", &v.x(0)))
}

/// √(a·x² + b), the divisor of the inverse functions.
fn root(v: &mut Vjp<'_>, elem: ElemType, a: f64, b: f64) -> Val {
    let square = v.g.mul(&v.x(0), &v.x(0));
    let scaled = v.g.scale(&square, elem, a);
    let offset = v.g.scalar(elem, b);
    let inside = v.g.add(&scaled, &offset);
    v.g.unary("Sqrt", &inside)
}

/// 1 / √(1 − x²)
fn asin(v: &mut Vjp<'_>) -> Result {
    chain_upright(v, |v, elem| root(v, elem, -1.0, 1.0))
}

/// −1 / √(1 − x²)
fn acos(v: &mut Vjp<'_>) -> Result {
    chain_upright(v, |v, elem| {
        let root = root(v, elem, -1.0, 1.0);
        v.g.neg(&root)
    })
}

/// 1 / √(1 + x²)
fn asinh(v: &mut Vjp<'_>) -> Result {
    chain_div(v, |v, elem| root(v, elem, 1.0, 1.0))
}

/// 1 / √(x² − 1)
fn acosh(v: &mut Vjp<'_>) -> Result {
    chain_upright(v, |v, elem| root(v, elem, 1.0, -1.0))
}

/// 1 / (1 + x²)
fn atan(v: &mut Vjp<'_>) -> Result {
    chain_div(v, |v, elem| {
        let (square, one) = (v.g.mul(&v.x(0), &v.x(0)), v.g.scalar(elem, 1.0));
        v.g.add(&one, &square)
    })
}

/// 1 / (1 − x²)
fn atanh(v: &mut Vjp<'_>) -> Result {
    chain_upright(v, |v, elem| {
        let (square, one) = (v.g.mul(&v.x(0), &v.x(0)), v.g.scalar(elem, 1.0));
        v.g.sub(&one, &square)
    })
}
