//! Softmax and its logarithm.

use crate::{
    registry::{Entry, Grad, Unsupported, rule},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("LogSoftmax", log_softmax), rule("Softmax", softmax)];

fn axis(v: &Vjp<'_>) -> i64 {
    v.node().attr_int("axis").unwrap_or(-1)
}

/// y · (gy − Σ gy·y). Where every score is −∞ y is NaN, and models put a zero in its place by a `Where` after: then the gradient is
/// zero, too.
fn softmax(v: &mut Vjp<'_>) -> Result {
    let (gy, mut y, axis, elem) = (v.gy()?, v.y(0), axis(v), v.elem()?);
    if v.leads_to("Where") {
        let (undefined, zero) = (v.g.unary("IsNaN", &y), v.g.scalar(elem, 0.0));
        y = v.g.where_(&undefined, &zero, &y);
    }
    let product = v.g.mul(&gy, &y);
    let sum = v.g.sum_over(&product, elem, &[axis], true);
    let centred = v.g.sub(&gy, &sum);
    let gradient = v.g.mul(&centred, &y);
    v.first(gradient)
}

/// gy − eʸ · Σ gy
fn log_softmax(v: &mut Vjp<'_>) -> Result {
    let (gy, y, axis, elem) = (v.gy()?, v.y(0), axis(v), v.elem()?);
    let sum = v.g.sum_over(&gy, elem, &[axis], true);
    let probability = v.g.unary("Exp", &y);
    let product = v.g.mul(&probability, &sum);
    let gradient = v.g.sub(&gy, &product);
    v.first(gradient)
}
