//! Operators that move elements without changing them.

use crate::{
    attr,
    registry::{Entry, Grad, Unsupported, rule},
    rules::mask::over,
    types::ElemType,
    vjp::{Vjp, place},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("Cast", cast),
    rule("CastLike", cast_like),
    rule("Concat", concat),
    rule("Dropout", dropout),
    rule("Expand", expand),
    rule("Flatten", reshape),
    rule("Identity", identity),
    rule("Reshape", reshape),
    rule("Split", split),
    rule("Squeeze", reshape),
    rule("Transpose", transpose),
    rule("Unsqueeze", reshape),
];

fn identity(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    v.first(gy)
}

/// At inference a `Dropout` hands its input through. In training mode y = x · mask / (1 − ratio), with the mask of this very run;
/// ∂ratio = Σ gy y / (1 − ratio) by that mask.
fn dropout(v: &mut Vjp<'_>) -> Result {
    let mode = v.constant(2).and_then(|mode| mode.to_ints().ok());
    if !v.has(2) || mode.as_deref() == Some(&[0]) {
        return identity(v);
    }
    let (gy, elem) = (v.gy()?, v.elem()?);
    let mask = v.y_kept(1, ElemType::Bool);
    let (zero, one) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, 1.0));
    let ratio = if v.has(1) {
        let ratio = v.x(1);
        v.cast_to(&ratio, elem)?
    } else {
        v.g.scalar(elem, 0.5)
    };
    let share = v.g.sub(&one, &ratio);
    let scaled = over(v, &gy, &share, elem);
    let mut gradient = v.g.where_(&mask, &scaled, &zero);
    let training = v.x(2);
    if mode.is_none() {
        gradient = v.g.where_(&training, &gradient, &gy);
    }
    let mut all = vec![Grad::Of(gradient), Grad::Zero, Grad::Zero];
    all.truncate(v.inputs());
    if v.needs(1) {
        let product = v.g.mul(&scaled, &v.y(0));
        let axes: Vec<i64> = (0..v.rank(0)? as i64).collect();
        let mut sum = v.g.sum_over(&product, elem, &axes, false);
        if mode.is_none() {
            sum = v.g.where_(&training, &sum, &zero);
        }
        let ratio = v.x(1);
        let sum = v.reshape_like(&sum, &ratio)?;
        all[1] = Grad::Of(v.in_type_of(&sum, elem, 1)?);
    }
    Ok(all)
}

fn cast(v: &mut Vjp<'_>) -> Result {
    let (gy, x) = (v.gy()?, v.x(0));
    // Integers that stand for floats have theirs in float32.
    let carried = |elem: ElemType| if elem.is_float() { elem } else { ElemType::Float };
    let (from, to) = (carried(v.elem_of(&x)?), carried(v.elem()?));
    let gradient = if from == to { gy } else { v.g.cast(&gy, from) };
    v.first(gradient)
}

/// As [`cast`]; of the second input only the type counts.
fn cast_like(v: &mut Vjp<'_>) -> Result {
    let mut gradients = if v.needs(0) { cast(v)? } else { vec![Grad::NotNeeded; v.inputs()] };
    if let Some(like) = gradients.get_mut(1) {
        *like = Grad::Zero;
    }
    Ok(gradients)
}

/// Back to the shape of the input.
fn reshape(v: &mut Vjp<'_>) -> Result {
    let (gy, x) = (v.gy()?, v.x(0));
    let gradient = v.reshape_like(&gy, &x)?;
    v.first(gradient)
}

fn transpose(v: &mut Vjp<'_>) -> Result {
    let (gy, rank) = (v.gy()?, v.rank(0)?);
    let perm = match v.node().attr_ints("perm") {
        Some(perm) => perm.to_vec(),
        None => (0..rank as i64).rev().collect(),
    };
    let mut inverse = vec![0; rank];
    for (to, &from) in perm.iter().enumerate() {
        inverse[place(from, rank)?] = to as i64;
    }
    let gradient = v.g.transpose(&gy, &inverse);
    v.first(gradient)
}

/// Summed over the axes that were spread out.
fn expand(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    let gradient = v.unbroadcast(&gy, 0)?;
    v.first(gradient)
}

/// Each input gets its own part of the cotangent.
fn concat(v: &mut Vjp<'_>) -> Result {
    let (gy, rank) = (v.gy()?, v.out_dims(0)?.len());
    let axis = place(v.node().attr_int("axis").unwrap_or(0), rank)?;
    let sizes: Option<Vec<i64>> =
        (0..v.inputs()).map(|i| v.dims(i).ok()?.get(axis)?.fixed().map(|size| size as i64)).collect();
    if let Some(sizes) = sizes {
        let starts: Vec<i64> = sizes.iter().scan(0, |at, size| Some(std::mem::replace(at, *at + size))).collect();
        return v.each(|v, i| Ok(v.g.slice(&gy, &[starts[i]], &[starts[i] + sizes[i]], &[axis as i64], &[1])));
    }
    // Parts of free size: where each begins is the sum of the sizes before it, as the model runs.
    let mut starts = vec![v.g.ints(&[0])];
    for i in 0..v.inputs() {
        let x = v.x(i);
        let size = v.g.op("Shape", &[&x], vec![attr::int("start", axis as i64), attr::int("end", axis as i64 + 1)]);
        let end = v.g.add(&starts[i].clone(), &size);
        v.hoist(&end);
        starts.push(end);
    }
    let axes = v.g.ints(&[axis as i64]);
    v.each(|v, i| Ok(v.g.op("Slice", &[&gy, &starts[i], &starts[i + 1], &axes], vec![])))
}

/// The cotangents of the parts side by side; zeros for parts that nobody used.
fn split(v: &mut Vjp<'_>) -> Result {
    let rank = v.rank(0)?;
    let axis = place(v.node().attr_int("axis").unwrap_or(0), rank)? as i64;
    let count = v.node().output.len();
    let parts = (0..count).map(|i| v.gy_at(i)).collect::<Result<Vec<_>>>()?;
    let parts: Vec<_> = parts.iter().collect();
    let gradient = v.g.concat(&parts, axis);
    v.first(gradient)
}
