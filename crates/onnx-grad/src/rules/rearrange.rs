//! Operators that repeat, crop, turn around or fold elements, each in a way that another such operator undoes.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    types::Dim,
    vjp::{Vjp, place, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("CenterCropPad", center_crop_pad),
    rule("DepthToSpace", depth_to_space),
    rule("ReverseSequence", reverse_sequence),
    rule("SpaceToDepth", space_to_depth),
    rule("Tile", tile),
    rule("Trilu", trilu),
];

/// Summed over the repetitions: an axis of r · n elements is r times n, outer and inner.
fn tile(v: &mut Vjp<'_>) -> Result {
    let (gy, x, dims) = (v.gy()?, v.x(0), v.dims(0)?);
    let parts = |repeats: &[i64]| -> Option<(Vec<i64>, Vec<i64>)> {
        let (mut shape, mut summed) = (Vec::new(), Vec::new());
        for (dim, &times) in dims.iter().zip(repeats) {
            if times != 1 {
                summed.push(shape.len() as i64);
                shape.push(times);
            }
            shape.push(dim.fixed().map_or(-1, |size| size as i64));
        }
        let free = dims.iter().filter(|dim| dim.fixed().is_none()).count();
        let empty = dims.contains(&Dim::Fixed(0)) || repeats.contains(&0);
        (repeats.len() == dims.len() && free <= 1 && !empty).then_some((shape, summed))
    };
    if let Some((shape, summed)) = v.ints(1).ok().as_deref().and_then(parts) {
        if summed.is_empty() {
            return v.first(gy);
        }
        let split = v.g.reshape(&gy, &shape);
        let gradient = v.g.reduce_sum(&split, &summed, false);
        return v.first(gradient);
    }
    // Whatever the repetitions are as the model runs.
    let shape = v.shape_value(&x)?;
    let (times, sizes) = (v.g.unsqueeze(&v.x(1), &[1]), v.g.unsqueeze(&shape, &[1]));
    let pairs = v.g.concat(&[&times, &sizes], 1);
    let pairs = v.g.reshape(&pairs, &[-1]);
    let split = v.g.op("Reshape", &[&gy, &pairs], vec![attr::int("allowzero", 1)]);
    let outer: Vec<i64> = (0..dims.len() as i64).map(|axis| 2 * axis).collect();
    let gradient = v.g.reduce_sum(&split, &outer, false);
    v.first(gradient)
}

/// The same triangle of the cotangent.
fn trilu(v: &mut Vjp<'_>) -> Result {
    let (gy, k) = (v.gy()?, v.x(1));
    let upper = v.node().attr_int("upper").unwrap_or(1);
    let gradient = v.g.op("Trilu", &[&gy, &k], vec![attr::int("upper", upper)]);
    v.first(gradient)
}

/// Folded back by `SpaceToDepth`, whose channels are in the order of mode `DCR`: block row, block column, channel. Mode `CRD`
/// has the channel first.
fn depth_to_space(v: &mut Vjp<'_>) -> Result {
    let (gy, block) = (v.gy()?, block(v)?);
    let folded = v.g.op("SpaceToDepth", &[&gy], vec![attr::int("blocksize", block)]);
    if v.node().attr_str("mode").unwrap_or("DCR") != "CRD" {
        return v.first(folded);
    }
    let channels = v.fixed(0, [1])?[0] as i64;
    let (places, depth) = (block * block, channels / (block * block));
    let order: Vec<i64> = (0..room(&[channels])?).map(|at| at % places * depth + at / places).collect();
    let order = v.g.ints(&order);
    let gradient = v.g.op("Gather", &[&folded, &order], vec![attr::int("axis", 1)]);
    v.first(gradient)
}

/// Unfolded by `DepthToSpace` of the same mode (opset 28; before, `DCR` is the only one).
fn space_to_depth(v: &mut Vjp<'_>) -> Result {
    let (gy, block) = (v.gy()?, block(v)?);
    let mode = v.node().attr_str("mode").unwrap_or("DCR").to_owned();
    let attributes = vec![attr::int("blocksize", block), attr::string("mode", &mode)];
    let gradient = v.g.op("DepthToSpace", &[&gy], attributes);
    v.first(gradient)
}

fn block(v: &Vjp<'_>) -> Result<i64> {
    let block = v.node().attr_int("blocksize").filter(|&block| (1..1 << 16).contains(&block));
    block.ok_or_else(|| "it has no blocksize".into())
}

/// Turned around once more.
fn reverse_sequence(v: &mut Vjp<'_>) -> Result {
    let (gy, rank, mut lengths) = (v.gy()?, v.rank(0)?, v.x(1));
    let axis = |v: &Vjp<'_>, name: &str, default: i64| place(v.node().attr_int(name).unwrap_or(default), rank);
    let (batch, time) = (axis(v, "batch_axis", 1)?, axis(v, "time_axis", 0)?);
    if v.dims(0)?[batch] == Dim::Free {
        let range = vec![attr::int("start", batch as i64), attr::int("end", batch as i64 + 1)];
        let shape = v.g.op("Shape", &[&gy], range);
        lengths = v.g.expand_to(&lengths, &shape);
    }
    let attributes = vec![attr::int("batch_axis", batch as i64), attr::int("time_axis", time as i64)];
    let gradient = v.g.op("ReverseSequence", &[&gy, &lengths], attributes);
    v.first(gradient)
}

/// Cropping undoes padding and the other way round: both round the first half down.
fn center_crop_pad(v: &mut Vjp<'_>) -> Result {
    let (gy, x, rank) = (v.gy()?, v.x(0), v.rank(0)?);
    let axes = v.node().attr_ints("axes").map(<[i64]>::to_vec);
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    let dims = v.dims(0)?;
    let mut sizes = Vec::new();
    for &axis in &axes {
        let axis = place(axis, rank)?;
        sizes.push(crate::rules::indexing::axis_size(v, &x, dims[axis], axis));
    }
    let sizes: Vec<&Val> = sizes.iter().collect();
    let shape = v.g.concat(&sizes, 0);
    let gradient = v.g.op("CenterCropPad", &[&gy, &shape], vec![attr::ints("axes", &axes)]);
    v.first(gradient)
}
