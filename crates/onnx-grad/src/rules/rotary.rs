//! Rotary position embedding.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, fused, rule},
    vjp::Vjp,
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
/// ∂a = ga cos + gb sin, ∂b = gb cos − ga sin. The rest of each head passes.
fn rotary(v: &mut Vjp<'_>, cosines: usize, sines: usize, positions: usize) -> Result {
    if v.needs(cosines) || v.needs(sines) {
        return Err("its angles depend on the input".into());
    }
    let (gy, x, dims) = (v.gy()?, v.x(0), v.dims(0)?);
    let number = |name: &str| v.node().attr_int(name).filter(|&n| n > 0);
    let cache = v.dims(cosines)?;
    let half = cache.last().and_then(|dim| dim.fixed()).ok_or("the size of its angles is not fixed")? as i64;
    let last = dims.last().and_then(|dim| dim.fixed()).ok_or("the size of its heads is not fixed")? as i64;
    let flat = dims.len() == 3;
    let heads = match number("num_heads") {
        Some(heads) => heads,
        // ONNX Runtime's own: without a part that passes, the angles tell the size of a head.
        None if flat => last / (2 * half),
        None => 1,
    };
    let size = if flat { last / heads } else { last };
    // As [batch, sequence, heads, size].
    let apart = if flat { v.g.reshape(&gy, &[0, -1, heads, size]) } else { v.g.transpose(&gy, &[0, 2, 1, 3]) };
    let angles = |v: &mut Vjp<'_>, i: usize| -> Result<Val> {
        let value = v.x(i);
        let value = if !v.has(positions) {
            value
        } else if v.rank(positions)? == 1 {
            // One number: the place of the first.
            let sequence = dims[dims.len() - 2].fixed().ok_or("the length of its sequence is not fixed")?;
            let places: Vec<i64> = (0..sequence as i64).collect();
            let places = v.g.ints(&places);
            let places = v.g.add(&places, &v.x(positions));
            let gathered = v.g.op("Gather", &[&value, &places], vec![]);
            v.g.unsqueeze(&gathered, &[0])
        } else {
            v.g.op("Gather", &[&value, &v.x(positions)], vec![])
        };
        Ok(v.g.unsqueeze(&value, &[2]))
    };
    let (cosine, sine) = (angles(v, cosines)?, angles(v, sines)?);
    let interleaved = v.node().attr_int("interleaved").unwrap_or(0) != 0;
    let (a, b) = if interleaved {
        (v.g.slice(&apart, &[0], &[2 * half], &[3], &[2]), v.g.slice(&apart, &[1], &[2 * half], &[3], &[2]))
    } else {
        (v.g.slice(&apart, &[0], &[half], &[3], &[1]), v.g.slice(&apart, &[half], &[2 * half], &[3], &[1]))
    };
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
    v.first(gradient)
}
