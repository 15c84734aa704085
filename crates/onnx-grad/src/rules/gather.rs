//! Operators that take elements from computed places: their cotangents go back there, and add up where places repeat.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::indexing::{scatter_add, scatter_along},
    types::{Dim, ElemType},
    vjp::{Vjp, place},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[
    rule("Compress", compress),
    rule("GatherElements", gather_elements),
    rule("GatherND", gather_nd),
    rule("OneHot", one_hot),
    rule("TopK", top_k),
    rule("Unique", unique),
];

/// Zeros of the shape of input `i`. A free batch, where the gradient has it too, is as large as the gradient's; `is_batch` says whether the
/// first axis can be one: not where places along it are taken, as of a list of what was found.
fn zeros_for(v: &mut Vjp<'_>, i: usize, gradient: &Val, is_batch: bool) -> Result<Val> {
    let (dims, out, x, elem) = (v.dims(i)?, v.out_dims(0)?, v.x(i), v.elem()?);
    let batch_is_free = is_batch && dims.first() == Some(&Dim::Free) && out.first() == Some(&Dim::Free);
    let rest: Option<Vec<i64>> = dims.iter().skip(1).map(|dim| dim.fixed().map(|size| size as i64)).collect();
    let shape = match rest {
        Some(rest) if batch_is_free => {
            let batch = v.g.op("Shape", &[gradient], vec![attr::int("end", 1)]);
            let rest = v.g.ints(&rest);
            v.g.concat(&[&batch, &rest], 0)
        }
        _ => v.shape_value(&x)?,
    };
    Ok(v.g.full(&shape, elem, 0.0))
}

/// x.take_along_axis(i): ∂x\[i\] += gy
fn gather_elements(v: &mut Vjp<'_>) -> Result {
    let (gy, rank, indices) = (v.gy()?, v.rank(0)?, v.x(1));
    let axis = place(v.node().attr_int("axis").unwrap_or(0), rank)?;
    let gradient = scatter_elements_back(v, &gy, &indices, axis)?;
    v.first(gradient)
}

/// Sends a gradient back to places given element by element.
fn scatter_elements_back(v: &mut Vjp<'_>, gradient: &Val, indices: &Val, axis: usize) -> Result<Val> {
    let elem = v.elem()?;
    let zeros = zeros_for(v, 0, gradient, axis > 0)?;
    let is_free = axis > 0 && v.out_dims(0)?.first() == Some(&Dim::Free);
    let indices = if is_free {
        let shape = v.g.shape(gradient);
        v.g.expand_to(indices, &shape)
    } else {
        indices.clone()
    };
    Ok(scatter_add(v, &zeros, &indices, gradient, axis, elem))
}

/// The values went where the indices say.
fn top_k(v: &mut Vjp<'_>) -> Result {
    let (gy, rank) = (v.gy()?, v.rank(0)?);
    let axis = place(v.node().attr_int("axis").unwrap_or(-1), rank)?;
    let indices = v.y_kept(1, ElemType::Int64);
    let gradient = scatter_elements_back(v, &gy, &indices, axis)?;
    v.first(gradient)
}

/// Elements (without `axis`: of the flattened input) go back to the places where the condition holds.
fn compress(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    let places = v.g.unary("NonZero", &v.x(1));
    let places = v.g.reshape(&places, &[-1]);
    let gradient = along_or_flat(v, &gy, &places)?;
    v.first(gradient)
}

/// Of equal elements the first is the one taken.
fn unique(v: &mut Vjp<'_>) -> Result {
    let gy = v.gy()?;
    let places = v.y_kept(1, ElemType::Int64);
    let gradient = along_or_flat(v, &gy, &places)?;
    v.first(gradient)
}

/// Sends a gradient back to places along the axis that the attribute names, or of the flattened input where there is none.
fn along_or_flat(v: &mut Vjp<'_>, gradient: &Val, places: &Val) -> Result<Val> {
    let (rank, x, elem) = (v.rank(0)?, v.x(0), v.elem()?);
    if let Some(axis) = v.node().attr_int("axis") {
        return scatter_along(v, gradient, places, place(axis, rank)?);
    }
    let shape = v.shape_value(&x)?;
    let count = v.g.reduce("ReduceProd", &shape, &[0], true);
    let zeros = v.g.full(&count, elem, 0.0);
    let flat = scatter_add(v, &zeros, places, gradient, 0, elem);
    v.reshape_like(&flat, &x)
}

/// x\[indices\], tuples of places along the axes after the first `batch_dims`: ∂x\[indices\] += gy
fn gather_nd(v: &mut Vjp<'_>) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let indices = full_indices(v, &gy)?;
    let has_batch = v.node().attr_int("batch_dims").unwrap_or(0) > 0;
    let zeros = zeros_for(v, 0, &gy, has_batch)?;
    let gradient = scatter_nd_add(v, &zeros, &indices, &gy, elem);
    v.first(gradient)
}

/// data\[tuples\] += updates, in single precision at least.
pub(super) fn scatter_nd_add(v: &mut Vjp<'_>, data: &Val, tuples: &Val, updates: &Val, elem: ElemType) -> Val {
    let half = matches!(elem, ElemType::Float16 | ElemType::BFloat16);
    let (data, updates) = match half {
        true => (v.g.cast(data, ElemType::Float), v.g.cast(updates, ElemType::Float)),
        false => (data.clone(), updates.clone()),
    };
    let sum = v.g.op("ScatterND", &[&data, tuples, &updates], vec![attr::string("reduction", "add")]);
    if half { v.g.cast(&sum, elem) } else { sum }
}

/// The tuples of a `GatherND` with the batch axes' own places put before them, as `ScatterND` wants them.
fn full_indices(v: &mut Vjp<'_>, gy: &Val) -> Result<Val> {
    let (indices, index_rank) = (v.x(1), v.rank(1)?);
    let batch =
        usize::try_from(v.node().attr_int("batch_dims").unwrap_or(0)).map_err(|_| "its batch_dims is below 0")?;
    if batch == 0 {
        return Ok(indices);
    }
    if batch >= index_rank {
        return Err("its batch_dims leave nothing of its indices".into());
    }
    let width = v.g.op("Shape", &[&indices], vec![attr::int("start", index_rank as i64 - 1)]);
    let lead = v.g.op("Shape", &[gy], vec![attr::int("end", index_rank as i64 - 1)]);
    let shape = v.g.concat(&[&lead, &width], 0);
    let column = {
        let one = v.g.ints(&[1]);
        v.g.concat(&[&lead, &one], 0)
    };
    let mut parts = Vec::new();
    for axis in 0..batch {
        let size = v.g.op("Shape", &[gy], vec![attr::int("start", axis as i64), attr::int("end", axis as i64 + 1)]);
        let size = v.g.squeeze(&size, &[0]);
        let (zero, one) = (v.g.int(0), v.g.int(1));
        let range = v.g.op("Range", &[&zero, &size, &one], vec![]);
        let mut dims = vec![1; index_rank];
        dims[axis] = -1;
        let range = v.g.reshape(&range, &dims);
        parts.push(v.g.expand_to(&range, &column));
    }
    parts.push(v.g.expand_to(&indices, &shape));
    let parts: Vec<&Val> = parts.iter().collect();
    Ok(v.g.concat(&parts, index_rank as i64 - 1))
}

/// The second of the two values stands at the indices, the first everywhere else; each gets the sum of its places.
fn one_hot(v: &mut Vjp<'_>) -> Result {
    let (gy, elem, indices, depth) = (v.gy()?, v.elem()?, v.x(0), v.x(1));
    let axis = v.node().attr_int("axis").unwrap_or(-1);
    let all: Vec<i64> = (0..v.out_dims(0)?.len() as i64).collect();
    let mut sums = Vec::new();
    for pair in [[1.0, 0.0], [0.0, 1.0]] {
        let pair = v.g.floats(elem, &[2], &pair);
        let places = v.g.op("OneHot", &[&indices, &depth, &pair], vec![attr::int("axis", axis)]);
        let product = v.g.mul(&gy, &places);
        let sum = v.g.sum_over(&product, elem, &all, false);
        sums.push(v.g.unsqueeze(&sum, &[0]));
    }
    let gradient = v.g.concat(&[&sums[0], &sums[1]], 0);
    Ok(vec![Grad::Zero, Grad::Zero, Grad::Of(gradient)])
}
