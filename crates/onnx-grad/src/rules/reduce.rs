//! Reductions over axes.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("ReduceMax", reduce_extremum),
    rule("ReduceMean", reduce_mean),
    rule("ReduceMin", reduce_extremum),
    rule("ReduceSum", reduce_sum),
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
    let count = v.g.reduce_sum(&reached, &axes, true);
    let share = v.g.div(&gy, &count);
    let gradient = v.g.mul(&reached, &share);
    v.first(gradient)
}
