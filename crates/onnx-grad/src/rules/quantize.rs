//! Quantisation: integers carry no gradients, but scales are floats.

use crate::{
    attr,
    builder::Val,
    proto::NodeProto,
    quantised::{OWN, STRAIGHT, UNBOUNDED, range},
    registry::{Entry, Grad, Unsupported, rule, through},
    types::ElemType,
    vjp::{Vjp, place},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("DequantizeLinear", dequantize),
    rule("DynamicQuantizeLinear", dynamic),
    through("", "QuantizeLinear", quantize),
    through(OWN, STRAIGHT, straight),
];

/// The cotangent as it is. Integers have theirs in float32.
fn straight(v: &mut Vjp<'_>) -> Result {
    let (gy, x) = (v.gy()?, v.x(0));
    let carried = |elem: ElemType| if elem.is_float() { elem } else { ElemType::Float };
    let (from, to) = (carried(v.elem_of(&x)?), carried(v.elem().unwrap_or(ElemType::Float)));
    let gradient = if from == to { gy } else { v.g.cast(&gy, from) };
    v.first(gradient)
}

/// How the numbers of input 0 share scales.
enum Shared {
    /// All of them one.
    All,
    /// Along this axis, one each.
    Axis(usize),
    /// Along this axis, so many next to each other one.
    Blocks(usize, usize),
}

fn shared(v: &Vjp<'_>) -> Result<Shared> {
    let (rank, scale_rank) = (v.rank(0)?, v.rank(1)?);
    let axis = || place(v.node().attr_int("axis").unwrap_or(1), rank);
    let block =
        v.node().attr_int("block_size").and_then(|block| usize::try_from(block).ok()).filter(|&block| block > 0);
    let single = scale_rank == 0 || scale_rank == 1 && v.fixed(1, [0]).is_ok_and(|sizes| sizes == [1]);
    Ok(match block {
        Some(block) if scale_rank == rank => Shared::Blocks(axis()?, block),
        _ if single => Shared::All,
        _ => Shared::Axis(axis()?),
    })
}

/// A scale or zero point in float32, to be multiplied with what it belongs to.
fn spread(v: &mut Vjp<'_>, i: usize) -> Result<Val> {
    let (value, rank) = (v.x(i), v.rank(0)?);
    let value = v.cast_to(&value, ElemType::Float)?;
    Ok(match shared(v)? {
        Shared::All => v.g.reshape(&value, &[]),
        Shared::Axis(axis) => {
            let mut shape = vec![1; rank];
            shape[axis] = -1;
            v.g.reshape(&value, &shape)
        }
        Shared::Blocks(axis, block) => {
            let sizes = v.fixed(0, 0..rank)?;
            let mut shape: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
            let blocks = sizes[axis].div_ceil(block) as i64;
            shape.splice(axis..=axis, [blocks, block as i64]);
            let parted = v.g.unsqueeze(&value, &[axis as i64 + 1]);
            let spread_out = v.g.ints(&shape);
            let each = v.g.expand_to(&parted, &spread_out);
            shape.splice(axis..axis + 2, [blocks * block as i64]);
            let whole = v.g.reshape(&each, &shape);
            v.g.slice(&whole, &[0], &[sizes[axis] as i64], &[axis as i64], &[1])
        }
    })
}

/// Sums over all that share a scale.
fn over_shared(v: &mut Vjp<'_>, product: &Val) -> Result<Val> {
    let (rank, scale) = (v.rank(0)?, v.x(1));
    Ok(match shared(v)? {
        Shared::Blocks(axis, block) => {
            let block = block as i64;
            let (size, blocks) = (v.fixed(0, [axis])?[0] as i64, v.fixed(1, [axis])?[0] as i64);
            // The last block may be short.
            let mut pads = vec![0; 2 * rank];
            pads[rank + axis] = blocks * block - size;
            let whole = v.g.pad_zeros(product, &pads);
            let dims = v.fixed(0, 0..rank)?;
            let mut split: Vec<i64> = dims.iter().map(|&size| size as i64).collect();
            split.splice(axis..=axis, [blocks, block]);
            let parted = v.g.reshape(&whole, &split);
            v.g.reduce_sum(&parted, &[axis as i64 + 1], false)
        }
        Shared::All => {
            let all: Vec<i64> = (0..rank as i64).collect();
            let sum = v.g.reduce_sum(product, &all, false);
            v.reshape_like(&sum, &scale)?
        }
        Shared::Axis(axis) => {
            let others: Vec<i64> = (0..rank as i64).filter(|&other| other != axis as i64).collect();
            v.g.reduce_sum(product, &others, false)
        }
    })
}

/// A cotangent by a scale. That of integers that were just dequantised was multiplied with it.
fn divided(v: &mut Vjp<'_>, cotangent: &Val, scale: &Val) -> Val {
    let is_maker = |node: &&NodeProto| node.output.iter().any(|name| name == cotangent.name());
    // It is among the last that were emitted.
    let maker = v.g.nodes().iter().rev().take(64).find(is_maker).filter(|node| node.op_type == "Mul");
    match maker.map(|node| node.input.as_slice()) {
        Some([before, by]) if by == scale.name() => Val::new(before),
        _ => v.g.div(cotangent, scale),
    }
}

/// y = round(x / s) + z within the range of its type. Straight through: gx = gy / s where the rounded number is in range, and
/// gs = −Σ gy x / s² there.
fn quantize(v: &mut Vjp<'_>) -> Result {
    let (gy, x) = (v.gy()?, v.x(0));
    let own = v.elem_of(&x)?;
    let x = v.cast_to(&x, ElemType::Float)?;
    let scale = spread(v, 1)?;
    let steps = v.g.div(&x, &scale);
    let share = divided(v, &gy, &scale);
    // Runtimes don't tell every type; the zero point has the output's.
    let known = v.elem().ok().and_then(range);
    let of_zero = || v.elem_of(&v.x(2)).ok().filter(|_| v.has(2)).and_then(range);
    let Some((least, most, whole)) = known.or_else(of_zero) else {
        return Err("the range of its type is not known".into());
    };
    let mut rounded = if whole { v.g.unary("Round", &steps) } else { steps.clone() };
    if v.has(2) && whole {
        let zero_point = spread(v, 2)?;
        rounded = v.g.add(&rounded, &zero_point);
    }
    let [least, most, zero] = [least, most, 0.0].map(|number| v.g.scalar(ElemType::Float, number));
    let above = v.g.binary("GreaterOrEqual", &rounded, &least);
    let below = v.g.binary("LessOrEqual", &rounded, &most);
    let inside = v.g.binary("And", &above, &below);
    let share = if v.node().attr_int(UNBOUNDED).is_some() { share } else { v.g.where_(&inside, &share, &zero) };
    let mut all = vec![Grad::Zero; v.inputs()];
    if v.needs(0) {
        all[0] = Grad::Of(if own == ElemType::Float { share.clone() } else { v.g.cast(&share, own) });
    }
    if v.needs(1) {
        let product = v.g.mul(&share, &steps);
        let sum = over_shared(v, &product)?;
        let sum = v.g.neg(&sum);
        all[1] = Grad::Of(v.in_type_of(&sum, ElemType::Float, 1)?);
    }
    Ok(all)
}

/// y = (x − z) s: gx = gy s, and gs = Σ gy (x − z) over what shares a scale. The difference is what the node makes of scales of 1.
fn dequantize(v: &mut Vjp<'_>) -> Result {
    let mut all = vec![Grad::Zero; v.inputs()];
    if v.needs(0) {
        let (gy, elem) = (v.gy()?, v.elem()?);
        let gy = if elem == ElemType::Float { gy } else { v.g.cast(&gy, ElemType::Float) };
        let scale = spread(v, 1)?;
        all[0] = Grad::Of(v.g.mul(&gy, &scale));
    }
    if !v.needs(1) {
        return Ok(all);
    }
    let (gy, x, scale, zero_point) = (v.gy()?, v.x(0), v.x(1), v.x(2));
    let elem = v.elem_of(&scale)?;
    let shape = v.shape_value(&scale)?;
    let ones = v.g.full(&shape, elem, 1.0);
    let attributes = v.node().attribute.clone();
    let difference = v.g.op("DequantizeLinear", &[&x, &ones, &zero_point], attributes);
    let product = v.g.mul(&gy, &difference);
    let own = v.elem()?;
    let product = if own.accumulator() == own { product } else { v.g.cast(&product, own.accumulator()) };
    let wide = own.accumulator();
    let sum = over_shared(v, &product)?;
    let gradient = v.in_type_of(&sum, wide, 1)?;
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
