//! Running sums and products along an axis, and the line of numbers.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("CumProd", cum_prod), rule("CumSum", cum_sum), rule("Range", range)];

fn flag(v: &Vjp<'_>, name: &str) -> bool {
    v.node().attr_int(name).unwrap_or(0) != 0
}

/// `CumSum` or `CumProd` along an axis (a scalar value).
fn running(v: &mut Vjp<'_>, op: &str, value: &Val, axis: &Val, exclusive: bool, reverse: bool) -> Val {
    let mut attributes = Vec::new();
    if exclusive {
        attributes.push(attr::int("exclusive", 1));
    }
    if reverse {
        attributes.push(attr::int("reverse", 1));
    }
    v.g.op(op, &[value, axis], attributes)
}

/// The running sum from the other end.
fn cum_sum(v: &mut Vjp<'_>) -> Result {
    let (gy, axis) = (v.gy()?, v.x(1));
    let (exclusive, reverse) = (flag(v, "exclusive"), flag(v, "reverse"));
    let gradient = running(v, "CumSum", &gy, &axis, exclusive, !reverse);
    v.first(gradient)
}

/// ∂xᵢ = Rᵢ(gy y) / xᵢ with the running sum R from the other end. At the first zero, Rᵢ(gy y′), y′ being the product as if this
/// factor were 1; after it, nothing.
fn cum_prod(v: &mut Vjp<'_>) -> Result {
    let (gy, x, y, axis, elem) = (v.gy()?, v.x(0), v.y(0), v.x(1), v.elem()?);
    let (exclusive, reverse) = (flag(v, "exclusive"), flag(v, "reverse"));
    let (zero, one) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0));
    let is_zero = v.g.binary("Equal", &x, &zero);
    let marks = v.g.cast(&is_zero, elem);
    let count = running(v, "CumSum", &marks, &axis, false, reverse);
    let is_one = v.g.binary("Equal", &count, &one);
    let first = v.g.binary("And", &is_zero, &is_one);

    let product = v.g.mul(&gy, &y);
    let sum = running(v, "CumSum", &product, &axis, exclusive, !reverse);
    let divisor = v.g.where_(&is_zero, &one, &x);
    let elsewhere = v.g.div(&sum, &divisor);

    let without = v.g.where_(&first, &one, &x);
    let others = running(v, "CumProd", &without, &axis, exclusive, reverse);
    let product = v.g.mul(&gy, &others);
    let at_first = running(v, "CumSum", &product, &axis, exclusive, !reverse);
    let gradient = v.g.where_(&first, &at_first, &elsewhere);
    v.first(gradient)
}

/// yᵢ = start + i · delta: Σ gy and Σ i gy; the limit sets how many there are.
fn range(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, y) = (v.gy()?, v.elem()?, v.y(0));
    let count = v.shape_value(&y)?;
    let count = v.g.squeeze(&count, &[0]);
    let (zero, one) = (v.g.int(0), v.g.int(1));
    let numbers = v.g.op("Range", &[&zero, &count, &one], vec![]);
    let numbers = v.g.cast(&numbers, elem);
    let start = v.g.sum_over(&gy, elem, &[0], false);
    let product = v.g.mul(&gy, &numbers);
    let delta = v.g.sum_over(&product, elem, &[0], false);
    Ok(vec![Grad::Of(start), Grad::Zero, Grad::Of(delta)])
}
