//! Masks: 1 where a comparison holds, else 0, in the values' own type.
//!
//! A mask is a comparison, cast: it says the same in every runtime and in every float type, and its constants are the model's own. The
//! gradient is multiplied by it. `Where` does the same, but runtimes run it many times slower; comparisons that hold together are joined
//! before the cast, which is the dearest part.

use crate::{builder::Val, types::ElemType, vjp::Vjp};

/// 1 where a OP b.
pub(super) fn compare(v: &mut Vjp<'_>, op: &str, a: &Val, b: &Val, elem: ElemType) -> Val {
    let truth = v.g.binary(op, a, b);
    v.g.cast(&truth, elem)
}

/// 1 where value > bound.
pub(crate) fn above(v: &mut Vjp<'_>, value: &Val, bound: f64, elem: ElemType) -> Val {
    let bound = v.g.scalar(elem, bound);
    compare(v, "Greater", value, &bound, elem)
}

/// 1 where value < bound.
pub(super) fn below(v: &mut Vjp<'_>, value: &Val, bound: f64, elem: ElemType) -> Val {
    let bound = v.g.scalar(elem, bound);
    compare(v, "Less", value, &bound, elem)
}

/// 1 where low < value < high.
pub(super) fn between(v: &mut Vjp<'_>, value: &Val, low: f64, high: f64, elem: ElemType) -> Val {
    let (low, high) = (v.g.scalar(elem, low), v.g.scalar(elem, high));
    let (above, below) = (v.g.binary("Greater", value, &low), v.g.binary("Less", value, &high));
    let both = v.g.binary("And", &above, &below);
    v.g.cast(&both, elem)
}

/// 1 where every one of these is true; `None`: there are none.
pub(super) fn all(v: &mut Vjp<'_>, truths: &[Val], elem: ElemType) -> Option<Val> {
    let truth = truths.iter().cloned().reduce(|before, truth| v.g.binary("And", &before, &truth))?;
    Some(v.g.cast(&truth, elem))
}

/// `a` times the mask of a boolean: `condition ? a : 0`.
pub(super) fn where_true(v: &mut Vjp<'_>, condition: &Val, a: &Val, elem: ElemType) -> Val {
    let mask = v.g.cast(condition, elem);
    v.g.mul(a, &mask)
}

/// a / b, and 0 where b is 0, where nothing is divided by 0 either.
pub(super) fn over(v: &mut Vjp<'_>, a: &Val, b: &Val, elem: ElemType) -> Val {
    let (zero, one) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0));
    let flat = compare(v, "Equal", b, &zero, elem);
    let (divisor, rest) = (v.g.add(b, &flat), v.g.sub(&one, &flat));
    let quotient = v.g.div(a, &divisor);
    v.g.mul(&quotient, &rest)
}
