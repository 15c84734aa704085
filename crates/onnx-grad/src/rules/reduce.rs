//! Reductions over axes.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::mask::over,
    types::ElemType,
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

/// The axes that a node reduces over.
enum Axes {
    /// The same in every run, as places from 0.
    Known(Vec<i64>),
    /// An input that is computed while the model runs.
    Computed(Val),
}

/// The axes reduced over; `None` where the node reduces nothing (`noop_with_empty_axes`).
fn reduced_axes(v: &Vjp<'_>) -> Result<Option<Axes>> {
    let rank = v.rank(0)?;
    let stated = v.node().attr_ints("axes").is_some_and(|axes| !axes.is_empty());
    let input = if v.has(1) { Some(v.ints(1)) } else { None };
    if let (false, Some(Err(_))) = (stated, &input) {
        return Ok(Some(Axes::Computed(v.x(1))));
    }
    let named = stated || matches!(&input, Some(Ok(axes)) if !axes.is_empty());
    if !named && v.node().attr_int("noop_with_empty_axes").unwrap_or(0) != 0 {
        return Ok(None);
    }
    let axes = v.axes("axes", 1, rank)?;
    Ok(Some(Axes::Known(axes.into_iter().map(|axis| axis as i64).collect())))
}

/// A value of the output's shape with the reduced axes back, as 1s.
fn keep_axes(v: &mut Vjp<'_>, value: &Val, axes: &Axes) -> Val {
    if v.node().attr_int("keepdims").unwrap_or(1) != 0 {
        return value.clone();
    }
    match axes {
        Axes::Known(axes) => v.g.unsqueeze(value, axes),
        Axes::Computed(axes) => v.g.op("Unsqueeze", &[value, axes], vec![]),
    }
}

/// A value of the input's shape and of type `elem` reduced as the node reduces, its axes kept as 1s; sums of 16-bit floats are
/// accumulated in float32.
fn reduce_alike(v: &mut Vjp<'_>, op: &str, value: &Val, elem: ElemType, axes: &Axes) -> Val {
    let wide = elem.accumulator();
    let widens = wide != elem && op == "ReduceSum";
    let value = if widens { v.g.cast(value, wide) } else { value.clone() };
    let reduced = match axes {
        Axes::Known(axes) => v.g.reduce(op, &value, axes, true),
        Axes::Computed(axes) => {
            let noop = v.node().attr_int("noop_with_empty_axes").unwrap_or(0);
            let attributes = vec![attr::int("keepdims", 1), attr::int("noop_with_empty_axes", noop)];
            v.g.op(op, &[&value, axes], attributes)
        }
    };
    if widens { v.g.cast(&reduced, elem) } else { reduced }
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
    let sizes = match &axes {
        Axes::Known(axes) => v.fixed(0, axes.iter().map(|&axis| axis as usize)),
        Axes::Computed(_) => Err("its axes are computed".into()),
    };
    let share = match sizes {
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
    let count = reduce_alike(v, "ReduceSum", &reached, elem, &axes);
    let share = v.g.div(&gy, &count);
    let gradient = v.g.mul(&reached, &share);
    v.first(gradient)
}

/// The cotangent and the output with the reduced axes back, and those axes: none where each element is a reduction of its own
/// (`noop_with_empty_axes`: ONNX Runtime then still takes the absolute value, the logarithm, …).
fn kept(v: &mut Vjp<'_>) -> Result<(Val, Val, Axes)> {
    let (gy, y) = (v.gy()?, v.y(0));
    let Some(axes) = reduced_axes(v)? else { return Ok((gy, y, Axes::Known(Vec::new()))) };
    Ok((keep_axes(v, &gy, &axes), keep_axes(v, &y, &axes), axes))
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
    let share = over(v, &gy, &y, elem);
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
    let others = reduce_alike(v, "ReduceProd", &nonzero, elem, &axes);
    let marks = v.g.cast(&is_zero, elem);
    let count = reduce_alike(v, "ReduceSum", &marks, elem, &axes);
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
