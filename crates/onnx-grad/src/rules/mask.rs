//! Masks: 1 where a comparison holds, else 0, in the values' own type.
//!
//! A gradient is multiplied by its mask. `Where` does the same, but runtimes run it many times slower, and unlike a product it cannot
//! stay in the blocked layouts of their convolutions. For float32 a comparison with a constant is one node: a `HardSigmoid`
//! so steep that between 0 and 1 there is no number left.

use crate::{attr, builder::Val, types::ElemType, vjp::Vjp};

/// The steepest slopes: powers of two, so that the products are exact. No normal float32 lies within the rise of the first; the second
/// leaves room for bounds.
const STEEPEST: f64 = 8.507_059_173_023_462e37; // 2¹²⁶
const STEEP: f64 = 1.267_650_600_228_229_4e30; // 2¹⁰⁰
/// A bound times [`STEEP`] must be finite.
const LARGEST_BOUND: f64 = 67_108_864.0; // 2²⁶

/// 1 where a OP b.
pub(super) fn compare(v: &mut Vjp<'_>, op: &str, a: &Val, b: &Val, elem: ElemType) -> Val {
    let truth = v.g.binary(op, a, b);
    v.g.cast(&truth, elem)
}

/// 1 where value > bound.
pub(super) fn above(v: &mut Vjp<'_>, value: &Val, bound: f64, elem: ElemType) -> Val {
    steep(v, value, bound, 1.0, elem).unwrap_or_else(|| {
        let bound = v.g.scalar(elem, bound);
        compare(v, "Greater", value, &bound, elem)
    })
}

/// 1 where value < bound.
pub(super) fn below(v: &mut Vjp<'_>, value: &Val, bound: f64, elem: ElemType) -> Val {
    steep(v, value, bound, -1.0, elem).unwrap_or_else(|| {
        let bound = v.g.scalar(elem, bound);
        compare(v, "Less", value, &bound, elem)
    })
}

/// `a` times the mask of a boolean: `condition ? a : 0`.
pub(super) fn where_true(v: &mut Vjp<'_>, condition: &Val, a: &Val, elem: ElemType) -> Val {
    let mask = v.g.cast(condition, elem);
    v.g.mul(a, &mask)
}

fn steep(v: &mut Vjp<'_>, value: &Val, bound: f64, sign: f64, elem: ElemType) -> Option<Val> {
    let exact = f64::from(bound as f32) == bound && bound.abs() <= LARGEST_BOUND;
    if elem != ElemType::Float || !exact {
        return None;
    }
    let alpha = sign * if bound == 0.0 { STEEPEST } else { STEEP };
    Some(v.g.op("HardSigmoid", &[value], vec![attr::float("alpha", alpha), attr::float("beta", -bound * alpha)]))
}
