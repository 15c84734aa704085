//! Quantisation: integers carry no gradients, but scales are floats.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    vjp::{Vjp, place},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("DequantizeLinear", dequantize), rule("DynamicQuantizeLinear", dynamic)];

/// y = (x − z) s: ∂s = Σ gy (x − z), over what shares a scale. The difference is what the node makes of scales of 1.
fn dequantize(v: &mut Vjp<'_>) -> Result {
    if v.needs(0) {
        return Err("there is no gradient for its quantised input".into());
    }
    let (gy, x, scale, zero_point, rank) = (v.gy()?, v.x(0), v.x(1), v.x(2), v.rank(0)?);
    let (elem, scale_rank) = (v.elem_of(&scale)?, v.rank(1)?);
    let shape = v.shape_value(&scale)?;
    let ones = v.g.full(&shape, elem, 1.0);
    let attributes = v.node().attribute.clone();
    let difference = v.g.op("DequantizeLinear", &[&x, &ones, &zero_point], attributes);
    let product = v.g.mul(&gy, &difference);
    let own = v.elem()?;
    let product = if own.accumulator() == own { product } else { v.g.cast(&product, own.accumulator()) };
    let wide = own.accumulator();
    let axis = || place(v.node().attr_int("axis").unwrap_or(1), rank);
    let block = v.node().attr_int("block_size").filter(|&block| block > 0);
    let single = scale_rank == 0 || scale_rank == 1 && v.fixed(1, [0]).is_ok_and(|sizes| sizes == [1]);
    let sum = match block {
        Some(block) if scale_rank == rank => {
            let axis = axis()?;
            let (size, blocks) = (v.fixed(0, [axis])?[0] as i64, v.fixed(1, [axis])?[0] as i64);
            // The last block may be short.
            let mut pads = vec![0; 2 * rank];
            pads[rank + axis] = blocks * block - size;
            let whole = v.g.pad_zeros(&product, &pads);
            let dims = v.fixed(0, 0..rank)?;
            let mut split: Vec<i64> = dims.iter().map(|&size| size as i64).collect();
            split.splice(axis..=axis, [blocks, block]);
            let parted = v.g.reshape(&whole, &split);
            v.g.reduce_sum(&parted, &[axis as i64 + 1], false)
        }
        _ if single => {
            let all: Vec<i64> = (0..rank as i64).collect();
            let sum = v.g.reduce_sum(&product, &all, false);
            v.reshape_like(&sum, &scale)?
        }
        _ => {
            let axis = axis()? as i64;
            let others: Vec<i64> = (0..rank as i64).filter(|&other| other != axis).collect();
            v.g.reduce_sum(&product, &others, false)
        }
    };
    let gradient = v.in_type_of(&sum, wide, 1)?;
    let mut all = vec![Grad::Zero; v.inputs()];
    all[1] = Grad::Of(gradient);
    Ok(all)
}

/// The scale is (max(0, x) − min(0, x)) / 255 over all x: its cotangent goes to the extremes, shared evenly where several reach
/// them, if they are not on the other side of 0.
fn dynamic(v: &mut Vjp<'_>) -> Result {
    let Some(gs) = v.cotangent(1) else { return Ok(vec![Grad::Zero]) };
    let (x, elem) = (v.x(0), v.elem_of(&v.x(0))?);
    let zero = v.g.scalar(elem, 0.0);
    let share = v.g.scale(&gs, elem, 1.0 / 255.0);
    let mut end = |reduce: &str, beyond: &str| -> Val {
        let extreme = v.g.op(reduce, &[&x], vec![attr::int("keepdims", 0)]);
        let (reached, outside) = (v.g.binary("Equal", &x, &extreme), v.g.binary(beyond, &extreme, &zero));
        let counts = v.g.cast(&reached, elem);
        let count = v.g.op("ReduceSum", &[&counts], vec![attr::int("keepdims", 0)]);
        let hit = v.g.binary("And", &reached, &outside);
        let hit = v.g.cast(&hit, elem);
        v.g.div(&hit, &count)
    };
    let (high, low) = (end("ReduceMax", "Greater"), end("ReduceMin", "Less"));
    let slope = v.g.sub(&high, &low);
    let gradient = v.g.mul(&slope, &share);
    v.first(gradient)
}
