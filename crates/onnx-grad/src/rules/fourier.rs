//! The discrete Fourier transform.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    vjp::{Vjp, place},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] =
    &[Entry { until: 19, ..rule("DFT", dft_17) }, Entry { since: 20, ..rule("DFT", dft) }];

/// The axis is an attribute.
fn dft_17(v: &mut Vjp<'_>) -> Result {
    let axis = v.node().attr_int("axis").unwrap_or(1);
    transposed(v, axis, |v, value, axis, inverse| {
        v.g.op("DFT", &[value], vec![attr::int("axis", axis), attr::int("inverse", inverse)])
    })
}

/// The axis is an input (opset 20).
fn dft(v: &mut Vjp<'_>) -> Result {
    let axis = if v.has(2) { v.ints(2)?.first().copied().ok_or("it states no axis")? } else { -2 };
    transposed(v, axis, |v, value, axis, inverse| {
        let axis = v.g.int(axis);
        v.g.op("DFT", &[value, &Val::absent(), &axis], vec![attr::int("inverse", inverse)])
    })
}

/// The transform is linear: its transpose is the transform the other way, times (or over) its length. What was left out of a
/// one-sided result is zero; what was added to the input, or cut off it, is cut off or added.
fn transposed(v: &mut Vjp<'_>, axis: i64, transform: fn(&mut Vjp<'_>, &Val, i64, i64) -> Val) -> Result {
    let (gy, elem, rank) = (v.gy()?, v.elem()?, v.rank(0)?);
    let axis = place(axis, rank)?;
    let flag = |name: &str| v.node().attr_int(name).unwrap_or(0) != 0;
    let (inverse, one_sided) = (flag("inverse"), flag("onesided"));
    if inverse && one_sided {
        return Err("it is one-sided and inverse".into());
    }
    let sizes = v.fixed(0, [axis, rank - 1])?;
    let (own, parts) = (sizes[0] as i64, sizes[1] as i64);
    let length = if v.has(1) { v.ints(1)?.first().copied().ok_or("it states no length")? } else { own };
    let pad_end = |v: &mut Vjp<'_>, value: &Val, count: i64| {
        let mut pads = vec![0; 2 * rank];
        pads[rank + axis] = count;
        v.g.pad_zeros(value, &pads)
    };
    let mut gradient = gy;
    if one_sided {
        gradient = pad_end(v, &gradient, length - (length / 2 + 1));
    }
    gradient = transform(v, &gradient, axis as i64, i64::from(!inverse));
    let factor = if inverse { 1.0 / length as f64 } else { length as f64 };
    gradient = v.g.scale(&gradient, elem, factor);
    if parts == 1 {
        gradient = v.g.slice(&gradient, &[0], &[1], &[rank as i64 - 1], &[1]);
    }
    gradient = pad_end(v, &gradient, own - length);
    v.first(gradient)
}
