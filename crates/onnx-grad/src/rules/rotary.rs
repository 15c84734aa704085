//! Rotary position embedding.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, fused, rule},
    rules::gather::scatter_nd_add,
    types::Dim,
    vjp::{Vjp, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("RotaryEmbedding", standard), fused("RotaryEmbedding", microsoft)];

/// Inputs: x, cosines, sines, positions.
fn standard(v: &mut Vjp<'_>) -> Result {
    rotary(v, 1, 2, 3)
}

/// Inputs: x, positions, cosines, sines.
fn microsoft(v: &mut Vjp<'_>) -> Result {
    if v.node().attr_float("scale").is_some_and(|scale| scale != 1.0) {
        return Err("it scales".into());
    }
    rotary(v, 2, 3, 1)
}

/// Each pair (a, b) is turned by an angle, y = (a cos − b sin, a sin + b cos); the gradient is turned back:
/// ∂a = ga cos + gb sin, ∂b = gb cos − ga sin. The rest of each head passes. The angles get ∂cos = Σ (ga a + gb b) and
/// ∂sin = Σ (gb a − ga b) over the heads, sent back to their places.
fn rotary(v: &mut Vjp<'_>, cosines: usize, sines: usize, positions: usize) -> Result {
    let (gy, x, dims, elem) = (v.gy()?, v.x(0), v.dims(0)?, v.elem()?);
    let number = |name: &str| v.node().attr_int(name).filter(|&n| n > 0);
    let cache = v.dims(cosines)?;
    let half = cache.last().and_then(|dim| dim.fixed()).ok_or("the size of its angles is not fixed")? as i64;
    let last = dims.last().and_then(|dim| dim.fixed()).ok_or("the size of its heads is not fixed")? as i64;
    let flat = dims.len() == 3;
    let heads = match number("num_heads") {
        Some(heads) => heads,
        // ONNX Runtime's own: without a part that passes, the angles tell the size of a head.
        None if flat => last.checked_div(2 * half).unwrap_or(0),
        None => 1,
    };
    if heads < 1 {
        return Err("its angles don't fit its heads".into());
    }
    let size = if flat { last / heads } else { last };
    // As [batch, sequence, heads, size].
    let to_heads = |v: &mut Vjp<'_>, value: &Val| match flat {
        true => v.g.reshape(value, &[0, -1, heads, size]),
        false => v.g.transpose(value, &[0, 2, 1, 3]),
    };
    let apart = to_heads(v, &gy);
    let places = match v.has(positions).then(|| v.rank(positions)).transpose()? {
        // One number: the place of the first.
        Some(1) => {
            let sequence = dims[dims.len() - 2].fixed().ok_or("the length of its sequence is not fixed")?;
            let places: Vec<i64> = (0..room(&[sequence as i64])?).collect();
            let places = v.g.ints(&places);
            let places = v.g.add(&places, &v.x(positions));
            Some(v.g.unsqueeze(&places, &[0]))
        }
        Some(_) => Some(v.x(positions)),
        None => None,
    };
    let angles = |v: &mut Vjp<'_>, i: usize| {
        let value = v.x(i);
        let value = match &places {
            Some(places) => v.g.op("Gather", &[&value, places], vec![]),
            None => value,
        };
        v.g.unsqueeze(&value, &[2])
    };
    let (cosine, sine) = (angles(v, cosines), angles(v, sines));
    let interleaved = v.node().attr_int("interleaved").unwrap_or(0) != 0;
    let pairs = |v: &mut Vjp<'_>, apart: &Val| match interleaved {
        true => (v.g.slice(apart, &[0], &[2 * half], &[3], &[2]), v.g.slice(apart, &[1], &[2 * half], &[3], &[2])),
        false => (v.g.slice(apart, &[0], &[half], &[3], &[1]), v.g.slice(apart, &[half], &[2 * half], &[3], &[1])),
    };
    let (a, b) = pairs(v, &apart);
    let mut turn = |sum: bool, along: &Val, across: &Val| {
        let (straight, crossed) = (v.g.mul(along, &cosine), v.g.mul(across, &sine));
        if sum { v.g.add(&straight, &crossed) } else { v.g.sub(&straight, &crossed) }
    };
    let (ga, gb) = (turn(true, &a, &b), turn(false, &b, &a));
    let turned = if interleaved {
        let (ga, gb) = (v.g.unsqueeze(&ga, &[4]), v.g.unsqueeze(&gb, &[4]));
        let pairs = v.g.concat(&[&ga, &gb], 4);
        v.g.reshape(&pairs, &[0, 0, 0, 2 * half])
    } else {
        v.g.concat(&[&ga, &gb], 3)
    };
    let whole = if 2 * half < size {
        let rest = v.g.slice(&apart, &[2 * half], &[size], &[3], &[1]);
        v.g.concat(&[&turned, &rest], 3)
    } else {
        turned
    };
    let gradient = if flat { v.reshape_like(&whole, &x)? } else { v.g.transpose(&whole, &[0, 2, 1, 3]) };
    let mut all = vec![Grad::NotNeeded; v.inputs()];
    all[0] = Grad::Of(gradient);
    if v.needs(cosines) || v.needs(sines) {
        let x = to_heads(v, &x);
        let (xa, xb) = pairs(v, &x);
        let products = |v: &mut Vjp<'_>, left: [&Val; 2], sum: bool| {
            let (first, second) = (v.g.mul(left[0], &xa), v.g.mul(left[1], &xb));
            let both = if sum { v.g.add(&first, &second) } else { v.g.sub(&first, &second) };
            v.g.sum_over(&both, elem, &[2], false)
        };
        let by_angle = [(cosines, products(v, [&a, &b], true)), (sines, products(v, [&b, &a], false))];
        for (i, gradient) in by_angle {
            all[i] = Grad::Of(match &places {
                Some(places) => {
                    let cache = v.x(i);
                    let shape = v.shape_value(&cache)?;
                    let zeros = v.g.full(&shape, elem, 0.0);
                    // Places that all images share.
                    let gradient = match v.rank(positions)? {
                        1 => v.g.sum_over(&gradient, elem, &[0], true),
                        _ => gradient,
                    };
                    let places = v.g.unsqueeze(places, &[2]);
                    scatter_nd_add(v, &zeros, &places, &gradient, elem)
                }
                // Angles that all images share have a first axis of 1.
                None => v.unbroadcast_from(&gradient, &[Dim::Free, Dim::Free, Dim::Free], i)?,
            });
        }
    }
    Ok(all)
}
