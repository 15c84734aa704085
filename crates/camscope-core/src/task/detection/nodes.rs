//! What the last nodes of a detection head tell: which of its numbers are probabilities already, and where its classes begin.

use std::collections::HashSet;

use onnx_grad::{graph::Index, proto::NodeProto};

use crate::task::Context;

/// Operators that hand their input on: casts, and what a quantised model puts between others.
const HAND_ON: &[&str] = &["Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Dropout"];

/// The operators between a value and the weights before it: what is done to a head's numbers after its last convolution. Shapes and
/// indices aside.
pub(super) fn tail<'a>(context: &Context<'a>, value: &'a str) -> HashSet<&'a str> {
    let index = Index::new(context.network.model.graph());
    let (mut found, mut seen, mut open) = (HashSet::new(), HashSet::new(), vec![value]);
    while let Some(name) = open.pop() {
        let Some(node) = index.producer_node(name).filter(|_| seen.insert(name)) else { continue };
        if matches!(&*node.op_type, "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "QLinearConv" | "QLinearMatMul") {
            continue;
        }
        found.insert(&*node.op_type);
        let is_float = |name: &&str| context.ty(name).is_none_or(|ty| ty.elem.is_float());
        open.extend(node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).filter(is_float));
    }
    found
}

/// Whether the logistic function lies between a value and the weights before it: then its scores are probabilities.
pub(super) fn has_sigmoid(context: &Context<'_>, value: &str) -> bool {
    tail(context, value).contains("Sigmoid")
}

/// Whether the graph has a node of that operator.
pub(super) fn has(context: &Context<'_>, op: &str) -> bool {
    context.network.model.graph().node.iter().any(|node| node.op_type == op)
}

/// Whether the graph chooses among boxes: by a suppression, by its own or a runtime's, or by taking the surest.
pub(super) fn chooses(context: &Context<'_>) -> bool {
    let graph = context.network.model.graph();
    graph.node.iter().any(|node| {
        matches!(&*node.op_type, "NonMaxSuppression" | "TopK" | "NonZero" | "Loop" | "If")
            || node.op_type.contains("NMS")
    })
}

/// A part of a value that is joined of several along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// How much of the axis it takes.
    pub(super) size: usize,
    /// The operator that makes it; empty for an input or a constant.
    pub(super) op: &'a str,
    /// Its value.
    pub(super) value: &'a str,
}

/// The parts that a value of three axes is joined of along axis 1 or 2. Only itself, where it is not joined.
pub(super) fn parts<'a>(context: &Context<'a>, value: &'a str, axis: usize) -> Vec<Part<'a>> {
    let index = Index::new(context.network.model.graph());
    let mut found = Vec::new();
    collect(context, &index, value, axis, &mut found, 0);
    found
}

fn collect<'a>(
    context: &Context<'a>,
    index: &Index<'a>,
    value: &'a str,
    axis: usize,
    found: &mut Vec<Part<'a>>,
    depth: usize,
) {
    let Some(sizes) = context.extents(value) else { return };
    let Some(size) = sizes.get(axis).copied().flatten() else { return };
    let node = index.producer_node(value);
    let op = node.map_or("", |node| &*node.op_type);
    if let (Some(node), true) = (node, depth < 32)
        && let Some(from) = node.input.first()
    {
        let same =
            |from: &str| context.extents(from).and_then(|sizes| sizes.get(axis).copied().flatten()) == Some(size);
        match op {
            "Concat" => {
                let along = along(node, sizes.len());
                // Levels that are joined are all made alike.
                let inputs = if along == Some(axis) { &node.input[..] } else { &node.input[..1] };
                inputs.iter().for_each(|input| collect(context, index, input, axis, found, depth + 1));
                return;
            }
            "Transpose" => {
                if let Some(axis) = node.attr_ints("perm").and_then(|perm| perm.get(axis)?.to_owned().try_into().ok()) {
                    return collect(context, index, from, axis, found, depth + 1);
                }
            }
            // Height and width become one axis, behind the channels.
            "Reshape" | "Flatten" if axis == 1 && same(from) => {
                return collect(context, index, from, axis, found, depth + 1);
            }
            op if HAND_ON.contains(&op) => return collect(context, index, from, axis, found, depth + 1),
            _ => {}
        }
    }
    found.push(Part { size, op, value });
}

/// The axis that a node joins along.
fn along(node: &NodeProto, rank: usize) -> Option<usize> {
    let axis = node.attr_int("axis")?;
    usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok()
}

/// Whether parts speak against four numbers of a box, then an objectness and a score a class, or the classes alone: nothing begins behind the
/// fourth number, or what does is no score.
pub(super) fn has_no_scores_behind_four(parts: &[Part<'_>]) -> bool {
    const OTHERS: &[&str] =
        &["Softmax", "Tanh", "Add", "Sub", "Mul", "Div", "Exp", "ReduceMax", "ArgMax", "Softplus", "Relu"];
    let mut start = 0;
    for part in parts {
        if start == 4 {
            return OTHERS.contains(&part.op);
        }
        start += part.size;
    }
    parts.len() > 1 || parts.iter().any(|part| matches!(part.op, "Softmax" | "Tanh"))
}

/// Whether the first four numbers along an axis are left, top, right and bottom: places less distances, and the same places and distances.
pub(super) fn are_corners(context: &Context<'_>, value: &str, axis: usize) -> bool {
    let index = Index::new(context.network.model.graph());
    let mut value = value;
    for _ in 0..8 {
        match parts(context, value, axis)[..] {
            [low, high, ..] if [low.size, high.size] == [2, 2] => return [low.op, high.op] == ["Sub", "Add"],
            // Scaled by the stride.
            [four, ..] if four.size == 4 && matches!(four.op, "Mul" | "Div") => {
                let node = index.producer_node(four.value);
                let varying = node.and_then(|node| node.input.iter().find(|name| index.constant(name).is_none()));
                match varying {
                    Some(before) => value = before,
                    None => return false,
                }
            }
            _ => return false,
        }
    }
    false
}

/// Whether rows of numbers are those of a fully connected layer in another shape: they have no cells of the picture.
pub(super) fn are_of_a_vector(context: &Context<'_>, value: &str) -> bool {
    crate::task::end::is_made_of_a_vector(context, value)
}
