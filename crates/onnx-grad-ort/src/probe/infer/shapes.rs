//! What each operator gives: element type and shape of its outputs.

use onnx_grad::{
    ElemType,
    ops::{Elementwise, Gives, Reads, elementwise},
    proto::NodeProto,
};

use super::{Call, Value, axis, count, products, sequences, windows};

type Shape = Vec<usize>;

/// The outputs of a node, as many as are known to follow from its inputs. `None`: the operator, its attributes or its sizes are not
/// plainly regular.
pub(super) fn outputs(call: &Call<'_>) -> Option<Vec<Value>> {
    let one = |elem: ElemType, dims: Shape| Some(vec![Value::new(elem, dims)]);
    let like = |at: usize| one(call.elem(at)?, call.dims(at)?.to_vec());
    if let Some(Elementwise { reads, gives }) = elementwise(&call.node.op_type) {
        let elem = match gives {
            Gives::Like(at) => call.elem(at)?,
            Gives::Bool => ElemType::Bool,
            Gives::Stated => ElemType::from_code(i32::try_from(call.node.attr_int("to")?).ok()?),
        };
        return match reads {
            Reads::Each => one(elem, call.dims(0)?.to_vec()),
            Reads::Broadcast => one(elem, broadcast_inputs(call)?),
        };
    }
    match &*call.node.op_type {
        "Constant" => Some(vec![constant(call.node)?]),
        // As large as the first input, element by element or not.
        "CumSum"
        | "GroupNormalization"
        | "Hardmax"
        | "InstanceNormalization"
        | "LRN"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "RMSNormalization"
        | "ScatterElements"
        | "Softmax"
        | "Trilu" => like(0),
        "PRelu" => {
            let dims = call.dims(0)?.to_vec();
            (broadcast(&dims, call.dims(1)?)? == dims).then_some(())?;
            like(0)
        }
        "BatchNormalization" if !call.flag("training_mode") => like(0),
        "Dropout" => Some(vec![
            Value::new(call.elem(0)?, call.dims(0)?.to_vec()),
            Value::new(ElemType::Bool, call.dims(0)?.to_vec()),
        ]),
        "LayerNormalization" => layer_normalization(call),
        "Shape" => one(ElemType::Int64, vec![shape_part(call)?.len()]),
        "Size" => one(ElemType::Int64, Vec::new()),
        "Reshape" => one(call.elem(0)?, reshaped(call)?),
        "Flatten" => {
            let dims = call.dims(0)?;
            let at = call.int("axis", 1);
            let at = if at == i64::try_from(dims.len()).ok()? { dims.len() } else { axis(at, dims.len())? };
            one(call.elem(0)?, vec![count(&dims[..at])?, count(&dims[at..])?])
        }
        "Squeeze" => {
            let dims = call.dims(0)?;
            let gone: Vec<usize> = match call.has(1) {
                true => call.ints(1)?.into_iter().map(|at| axis(at, dims.len())).collect::<Option<_>>()?,
                false => (0..dims.len()).filter(|&at| dims[at] == 1).collect(),
            };
            gone.iter().all(|&at| dims[at] == 1).then_some(())?;
            one(call.elem(0)?, kept(dims, |at| !gone.contains(&at)))
        }
        "Unsqueeze" => {
            let (dims, axes) = (call.dims(0)?, call.ints(1)?);
            let rank = dims.len() + axes.len();
            let mut new: Vec<usize> = axes.into_iter().map(|at| axis(at, rank)).collect::<Option<_>>()?;
            new.sort_unstable();
            new.windows(2).all(|pair| pair[0] < pair[1]).then_some(())?;
            let mut dims = dims.to_vec();
            new.into_iter().for_each(|at| dims.insert(at, 1));
            one(call.elem(0)?, dims)
        }
        "Transpose" => {
            let dims = call.dims(0)?;
            one(call.elem(0)?, permutation(call)?.into_iter().map(|at| dims[at]).collect())
        }
        "Concat" => one(call.elem(0)?, concatenated(call)?),
        "Split" => split(call),
        "Slice" => {
            let mut dims = call.dims(0)?.to_vec();
            for Part { axis, len, .. } in parts(call)? {
                dims[axis] = len;
            }
            one(call.elem(0)?, dims)
        }
        "Gather" => {
            let (dims, places) = (call.dims(0)?, call.dims(1)?);
            let at = call.axis(0, dims.len())?;
            one(call.elem(0)?, [&dims[..at], places, &dims[at + 1..]].concat())
        }
        "GatherElements" => {
            (call.dims(0)?.len() == call.dims(1)?.len()).then_some(())?;
            one(call.elem(0)?, call.dims(1)?.to_vec())
        }
        "ScatterND" => {
            let (dims, places, updates) = (call.dims(0)?, call.dims(1)?, call.dims(2)?);
            let (&depth, lead) = places.split_last()?;
            (updates == [lead, dims.get(depth..)?].concat()).then_some(())?;
            like(0)
        }
        "Expand" => one(call.elem(0)?, broadcast(call.dims(0)?, &sizes(&call.ints(1)?)?)?),
        "Tile" => {
            let (dims, times) = (call.dims(0)?, sizes(&call.ints(1)?)?);
            (dims.len() == times.len()).then_some(())?;
            one(
                call.elem(0)?,
                dims.iter().zip(times).map(|(size, times)| size.checked_mul(times)).collect::<Option<_>>()?,
            )
        }
        "Pad" => {
            let mut dims = call.dims(0)?.to_vec();
            for (at, before, after) in pads(call)? {
                let size = i64::try_from(dims[at]).ok()?.checked_add(before)?.checked_add(after)?;
                dims[at] = usize::try_from(size).ok()?;
            }
            one(call.elem(0)?, dims)
        }
        "ConstantOfShape" => {
            let elem = call.node.attr_tensor("value").map_or(ElemType::Float, |tensor| tensor.elem_type());
            one(elem, sizes(&call.ints(0)?)?)
        }
        "Range" => {
            let [start, limit, delta] = range(call)?;
            let span = i128::from(limit) - i128::from(start);
            let steps = (span + i128::from(delta) - i128::from(delta.signum())) / i128::from(delta);
            one(call.elem(0)?, vec![usize::try_from(steps.max(0)).ok()?])
        }
        "OneHot" => {
            let depth = usize::try_from(*call.ints(1)?.first()?).ok()?;
            let mut dims = call.dims(0)?.to_vec();
            let at = call.axis(-1, dims.len() + 1)?;
            dims.insert(at, depth);
            one(call.elem(2)?, dims)
        }
        "ArgMax" | "ArgMin" => {
            let dims = call.dims(0)?;
            let at = call.axis(0, dims.len())?;
            one(ElemType::Int64, reduced(dims, &[at], call.int("keepdims", 1) != 0))
        }
        "TopK" => {
            let mut dims = call.dims(0)?.to_vec();
            let at = call.axis(-1, dims.len())?;
            dims[at] = usize::try_from(*call.ints(1)?.first()?).ok().filter(|&count| count <= dims[at])?;
            Some(vec![Value::new(call.elem(0)?, dims.clone()), Value::new(ElemType::Int64, dims)])
        }
        op if op.starts_with("Reduce") => {
            let dims = call.dims(0)?;
            let mut axes = Vec::new();
            if call.has(1) {
                axes = call.ints(1)?.into_iter().map(|at| axis(at, dims.len())).collect::<Option<_>>()?;
            } else if call.node.attr("axes").is_some() {
                return None;
            }
            if axes.is_empty() && !call.flag("noop_with_empty_axes") {
                axes = (0..dims.len()).collect();
            }
            one(call.elem(0)?, reduced(dims, &axes, call.int("keepdims", 1) != 0))
        }
        "Attention" => one(call.elem(0)?, sequences::attention(call)?),
        "LSTM" | "GRU" | "RNN" => sequences::recurrent(call),
        "MatMul" => one(call.elem(0)?, products::matmul(call.dims(0)?, call.dims(1)?)?),
        "Gemm" => one(call.elem(0)?, products::gemm(call)?),
        "Einsum" => one(call.elem(0)?, products::einsum(call)?),
        "DepthToSpace" | "SpaceToDepth" => {
            let &[n, c, h, w] = call.dims(0)? else { return None };
            let size = usize::try_from(call.node.attr_int("blocksize")?).ok().filter(|&size| size > 0)?;
            let squared = size.checked_mul(size)?;
            let part = |whole: usize, size: usize| whole.is_multiple_of(size).then(|| whole / size);
            let dims = match &*call.node.op_type {
                "DepthToSpace" => vec![n, part(c, squared)?, h.checked_mul(size)?, w.checked_mul(size)?],
                _ => vec![n, c.checked_mul(squared)?, part(h, size)?, part(w, size)?],
            };
            one(call.elem(0)?, dims)
        }
        _ => one(call.elem(0)?, windows::shape(call)?),
    }
}

fn constant(node: &NodeProto) -> Option<Value> {
    let [attribute] = node.attribute.as_slice() else { return None };
    match &*attribute.name {
        "value" => Value::constant(attribute.t.as_deref()?),
        "value_int" => {
            let ints = Some(ndarray::arr0(attribute.i.unwrap_or(0)).into_dyn());
            Some(Value { ints, ..Value::new(ElemType::Int64, Vec::new()) })
        }
        "value_ints" => {
            let ints = Some(ndarray::arr1(&attribute.ints).into_dyn());
            Some(Value { ints, ..Value::new(ElemType::Int64, vec![attribute.ints.len()]) })
        }
        "value_float" => Some(Value::new(ElemType::Float, Vec::new())),
        "value_floats" => Some(Value::new(ElemType::Float, vec![attribute.floats.len()])),
        _ => None,
    }
}

fn layer_normalization(call: &Call<'_>) -> Option<Vec<Value>> {
    let dims = call.dims(0)?;
    let at = call.axis(-1, dims.len())?;
    let statistics = dims.iter().enumerate().map(|(axis, &size)| if axis < at { size } else { 1 }).collect();
    let elem = ElemType::from_code(i32::try_from(call.int("stash_type", 1)).ok()?);
    let statistics = Value::new(elem, statistics);
    Some(vec![Value::new(call.elem(0)?, dims.to_vec()), statistics.clone(), statistics])
}

/// The sizes that `Shape` gives.
pub(super) fn shape_part<'a>(call: &'a Call<'_>) -> Option<&'a [usize]> {
    let dims = call.dims(0)?;
    let rank = i64::try_from(dims.len()).ok()?;
    let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (start, end) = (place(call.int("start", 0)), place(call.int("end", rank)));
    Some(&dims[start..end.max(start)])
}

fn reshaped(call: &Call<'_>) -> Option<Shape> {
    let (from, to) = (call.dims(0)?, call.ints(1)?);
    let whole = count(from)?;
    let (mut dims, mut open) = (Shape::new(), None);
    for (at, &size) in to.iter().enumerate() {
        dims.push(match size {
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            0 if !call.flag("allowzero") => *from.get(at)?,
            size => usize::try_from(size).ok()?,
        });
    }
    if let Some(open) = open {
        dims[open] = whole.checked_div(count(&dims)?)?;
    }
    (count(&dims)? == whole).then_some(dims)
}

/// The order of axes that `Transpose` gives.
pub(super) fn permutation(call: &Call<'_>) -> Option<Vec<usize>> {
    let rank = call.dims(0)?.len();
    let Some(order) = call.node.attr_ints("perm") else { return Some((0..rank).rev().collect()) };
    let order: Vec<usize> = order.iter().map(|&at| axis(at, rank)).collect::<Option<_>>()?;
    (order.len() == rank && (0..rank).all(|at| order.contains(&at))).then_some(order)
}

fn concatenated(call: &Call<'_>) -> Option<Shape> {
    let mut dims = call.dims(0)?.to_vec();
    let at = axis(call.node.attr_int("axis")?, dims.len())?;
    for input in 1..call.inputs.len() {
        let other = call.dims(input)?;
        let fits = |axis: usize| axis == at || other[axis] == dims[axis];
        (other.len() == dims.len() && (0..dims.len()).all(fits)).then_some(())?;
        dims[at] = dims[at].checked_add(other[at])?;
    }
    Some(dims)
}

/// The axis that `Split` cuts, and the pieces' sizes.
pub(super) fn pieces(call: &Call<'_>) -> Option<(usize, Vec<usize>)> {
    let dims = call.dims(0)?;
    let at = call.axis(0, dims.len())?;
    let several = call.node.output.len();
    let pieces = match call.has(1) {
        true => sizes(&call.ints(1)?)?,
        // Pieces of one size; where that doesn't work out the last is smaller.
        false => (dims[at].is_multiple_of(several)).then(|| vec![dims[at] / several; several])?,
    };
    let whole = pieces.iter().try_fold(0usize, |sum, &size| sum.checked_add(size))?;
    (pieces.len() == several && whole == dims[at]).then_some((at, pieces))
}

fn split(call: &Call<'_>) -> Option<Vec<Value>> {
    let (at, pieces) = pieces(call)?;
    let piece = |size| {
        let mut dims = call.dims(0)?.to_vec();
        dims[at] = size;
        Some(Value::new(call.elem(0)?, dims))
    };
    pieces.into_iter().map(piece).collect()
}

/// What `Slice` takes of an axis: `len` elements from `start` on, each `step` from the last.
pub(super) struct Part {
    pub(super) axis: usize,
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) len: usize,
}

pub(super) fn parts(call: &Call<'_>) -> Option<Vec<Part>> {
    let (dims, starts, ends) = (call.dims(0)?, call.ints(1)?, call.ints(2)?);
    let axes = if call.has(3) { call.ints(3)? } else { (0..).take(starts.len()).collect() };
    let steps = if call.has(4) { call.ints(4)? } else { vec![1; starts.len()] };
    ([ends.len(), axes.len(), steps.len()] == [starts.len(); 3]).then_some(())?;
    let mut seen = vec![false; dims.len()];
    let mut parts = Vec::new();
    for (((start, end), at), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let axis = axis(at, dims.len())?;
        let size = i64::try_from(dims[axis]).ok()?;
        if step == 0 || std::mem::replace(&mut seen[axis], true) {
            return None;
        }
        let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
        let (start, end) = (from_start(start), from_start(end));
        // Going down ends before the first element at the earliest, which is written as one place before it.
        let (start, end) = match step {
            1.. => (start.clamp(0, size), end.clamp(0, size)),
            _ => (start.clamp(0, (size - 1).max(0)), end.clamp(-1, (size - 1).max(0))),
        };
        let span = if step > 0 { end - start } else { start - end };
        let stride = usize::try_from(step.unsigned_abs()).ok()?;
        let len = if size == 0 { 0 } else { usize::try_from(span.max(0)).ok()?.div_ceil(stride) };
        parts.push(Part { axis, start, step, len });
    }
    Some(parts)
}

/// What `Pad` adds: axis, before, after.
fn pads(call: &Call<'_>) -> Option<Vec<(usize, i64, i64)>> {
    let (rank, pads) = (call.dims(0)?.len(), call.ints(1)?);
    let axes = match call.has(3) {
        true => call.ints(3)?.into_iter().map(|at| axis(at, rank)).collect::<Option<Vec<_>>>()?,
        false => (0..rank).collect(),
    };
    (pads.len() == 2 * axes.len()).then_some(())?;
    let (before, after) = pads.split_at(axes.len());
    Some(axes.into_iter().zip(before).zip(after).map(|((at, &before), &after)| (at, before, after)).collect())
}

/// The three integers of `Range`.
pub(super) fn range(call: &Call<'_>) -> Option<[i64; 3]> {
    let int = |at: usize| match call.ints(at)?.as_slice() {
        &[int] => Some(int),
        _ => None,
    };
    let all = [int(0)?, int(1)?, int(2)?];
    (all[2] != 0).then_some(all)
}

fn reduced(dims: &[usize], axes: &[usize], keep: bool) -> Shape {
    match keep {
        true => dims.iter().enumerate().map(|(at, &size)| if axes.contains(&at) { 1 } else { size }).collect(),
        false => kept(dims, |at| !axes.contains(&at)),
    }
}

fn kept(dims: &[usize], keep: impl Fn(usize) -> bool) -> Shape {
    dims.iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, &size)| size).collect()
}

fn broadcast_inputs(call: &Call<'_>) -> Option<Shape> {
    let mut dims = Shape::new();
    for at in 0..call.inputs.len() {
        dims = broadcast(&dims, call.dims(at)?)?;
    }
    Some(dims)
}

/// The shape that both are spread over.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Shape> {
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let mut dims = long.to_vec();
    let lead = long.len() - short.len();
    for (size, &other) in dims[lead..].iter_mut().zip(short) {
        *size = match (*size, other) {
            (size, other) if size == other || other == 1 => size,
            (1, other) => other,
            _ => return None,
        };
    }
    Some(dims)
}

/// Integers that are sizes.
pub(super) fn sizes(ints: &[i64]) -> Option<Shape> {
    ints.iter().map(|&size| usize::try_from(size).ok()).collect()
}
