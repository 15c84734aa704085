//! Reductions over axes.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("ReduceL1", reduce_l1),
    rule("ReduceL2", reduce_l2),
    rule("ReduceLogSum", reduce_log_sum),
    rule("ReduceLogSumExp", reduce_log_sum_exp),
    rule("ReduceMax", reduce_extremum),
    rule("ReduceMean", reduce_mean),
    rule("ReduceMin", reduce_extremum),
    rule("ReduceProd", reduce_prod),
    rule("ReduceSum", reduce_sum),
    rule("ReduceSumSquare", reduce_sum_square),
];

/// The axes reduced over; `None` where the node reduces nothing (`noop_with_empty_axes`).
pub(crate) fn reduced_axes(v: &Vjp<'_>) -> Result<Option<Vec<usize>>> {
    let rank = v.rank(0)?;
    let named = v.node().attr_ints("axes").is_some_and(|axes| !axes.is_empty()) || v.has(1) && !v.ints(1)?.is_empty();
    if !named && v.node().attr_int("noop_with_empty_axes").unwrap_or(0) != 0 {
        return Ok(None);
    }
    v.axes("axes", 1, rank).map(Some)
}

/// A value of the output's shape with the reduced axes back, as 1s.
pub(crate) fn keep_axes(v: &mut Vjp<'_>, value: &Val, axes: &[usize]) -> Val {
    if v.node().attr_int("keepdims").unwrap_or(1) != 0 {
        return value.clone();
    }
    let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
    v.g.unsqueeze(value, &axes)
}

fn reduce_sum(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    match reduced_axes(v)? {
        None => v.first(gy),
        Some(axes) => {
            let kept = keep_axes(v, &gy, &axes);
            let x = v.x(0);
            let spread = v.expand_like(&kept, &x)?;
            v.first(spread)
        }
    }
}

fn reduce_mean(v: &mut Vjp<'_>) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let Some(axes) = reduced_axes(v)? else { return v.first(gy) };
    let kept = keep_axes(v, &gy, &axes);
    let x = v.x(0);
    let share = match v.fixed(0, axes.iter().copied()) {
        Ok(sizes) => v.g.scale(&kept, elem, 1.0 / sizes.iter().product::<usize>() as f64),
        Err(_) => {
            // The count as the model runs: elements of x over elements of y.
            let (whole, part) = (v.g.unary("Size", &x), v.g.unary("Size", &v.y(0)));
            let count = v.g.div(&whole, &part);
            v.hoist(&count);
            let count = v.g.cast(&count, elem);
            v.g.div(&kept, &count)
        }
    };
    let spread = v.expand_like(&share, &x)?;
    v.first(spread)
}

/// Shared evenly among the elements that reach the extremum, as `torch.amax` does.
fn reduce_extremum(v: &mut Vjp<'_>) -> Result {
    let (gy, x, y, elem) = (v.gy()?, v.x(0), v.y(0), v.elem()?);
    let Some(axes) = reduced_axes(v)? else { return v.first(gy) };
    let (gy, y) = (keep_axes(v, &gy, &axes), keep_axes(v, &y, &axes));
    let reached = v.g.binary("Equal", &x, &y);
    let reached = v.g.cast(&reached, elem);
    let axes: Vec<i64> = axes.iter().map(|&axis| axis as i64).collect();
    let count = v.g.sum_over(&reached, elem, &axes, true);
    let share = v.g.div(&gy, &count);
    let gradient = v.g.mul(&reached, &share);
    v.first(gradient)
}

/// The cotangent and the output with the reduced axes back, and those axes: none where each element is a reduction of its own
/// (`noop_with_empty_axes`: ONNX Runtime then still takes the absolute value, the logarithm, …).
fn kept(v: &mut Vjp<'_>) -> Result<(Val, Val, Vec<i64>)> {
    let (gy, y) = (v.gy()?, v.y(0));
    let Some(axes) = reduced_axes(v)? else { return Ok((gy, y, Vec::new())) };
    let (gy, y) = (keep_axes(v, &gy, &axes), keep_axes(v, &y, &axes));
    Ok((gy, y, axes.iter().map(|&axis| axis as i64).collect()))
}

/// y = Σ|x|: gy · sign x
fn reduce_l1(v: &mut Vjp<'_>) -> Result {
    let (gy, _, _) = kept(v)?;
    let sign = v.g.unary("Sign", &v.x(0));
    let gradient = v.g.mul(&gy, &sign);
    v.first(gradient)
}

/// y = √Σx²: gy · x / y, zero where y is (as `torch.linalg.vector_norm` has it)
fn reduce_l2(v: &mut Vjp<'_>) -> Result {
    let (gy, y, _) = kept(v)?;
    let elem = v.elem()?;
    let (zero, share) = (v.g.scalar(elem, 0.0), v.g.div(&gy, &y));
    let positive = v.g.binary("Greater", &y, &zero);
    let share = v.g.where_(&positive, &share, &zero);
    let gradient = v.g.mul(&share, &v.x(0));
    v.first(gradient)
}

/// y = ln Σx: gy / eʸ
fn reduce_log_sum(v: &mut Vjp<'_>) -> Result {
    let (gy, y, _) = kept(v)?;
    let sum = v.g.unary("Exp", &y);
    let (share, x) = (v.g.div(&gy, &sum), v.x(0));
    let spread = v.expand_like(&share, &x)?;
    v.first(spread)
}

/// y = ln Σeˣ: gy · exp(x − y). Where all x are −∞ so is y: any finite number in its place makes the slope 0.
fn reduce_log_sum_exp(v: &mut Vjp<'_>) -> Result {
    let (gy, y, _) = kept(v)?;
    let elem = v.elem()?;
    let lowest = v.g.scalar(elem, -60_000.0);
    let finite = v.g.binary("Max", &y, &lowest);
    let centred = v.g.sub(&v.x(0), &finite);
    let slope = v.g.unary("Exp", &centred);
    let gradient = v.g.mul(&gy, &slope);
    v.first(gradient)
}

/// y = Πx: gy · y / x. A factor that is the only zero gets the product of the others; beside another zero, nothing.
fn reduce_prod(v: &mut Vjp<'_>) -> Result {
    let (gy, y, axes) = kept(v)?;
    let (x, elem) = (v.x(0), v.elem()?);
    let (zero, one) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0));
    let is_zero = v.g.binary("Equal", &x, &zero);
    let nonzero = v.g.where_(&is_zero, &one, &x);
    let others = v.g.reduce("ReduceProd", &nonzero, &axes, true);
    let marks = v.g.cast(&is_zero, elem);
    let count = v.g.sum_over(&marks, elem, &axes, true);
    let single = v.g.binary("Equal", &count, &one);
    let at_zero = v.g.where_(&single, &others, &zero);
    let elsewhere = v.g.div(&y, &nonzero);
    let slope = v.g.where_(&is_zero, &at_zero, &elsewhere);
    let gradient = v.g.mul(&gy, &slope);
    v.first(gradient)
}

/// y = Σx²: 2 gy · x
fn reduce_sum_square(v: &mut Vjp<'_>) -> Result {
    let (gy, _, _) = kept(v)?;
    let elem = v.elem()?;
    let twice = v.g.scale(&gy, elem, 2.0);
    let gradient = v.g.mul(&twice, &v.x(0));
    v.first(gradient)
}
