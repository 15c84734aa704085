//! Masks in a joint graph, in the one form that stays in the blocked layouts of ONNX Runtime's convolutions.
//!
//! `onnx_grad` writes a mask as a comparison, cast. For its optimiser that is the end of a blocked layout: a comparison gives truth values.
//! A `HardSigmoid` so steep that between 0 and 1 there is no number left is an activation like any other. What it gives at its corners
//! differs from runtime to runtime; ONNX Runtime's CPU provider, for which alone this is written, gives 0 there, and most of them become
//! choices in nodes of our own afterwards ([`crate::kernels::program`]).

use std::collections::HashMap;

use onnx_grad::{
    ElemType, attr,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

/// The steepest slopes: powers of two, so that the products are exact. No normal float32 lies within the rise of the first; the second
/// leaves room for bounds.
const STEEPEST: f64 = 8.507_059_173_023_462e37; // 2¹²⁶
const STEEP: f64 = 1.267_650_600_228_229_4e30; // 2¹⁰⁰
/// A bound times [`STEEP`] must be finite.
const LARGEST_BOUND: f64 = 67_108_864.0; // 2²⁶

/// The most comparisons in one mask.
const MOST: usize = 8;

/// Puts steep `HardSigmoid`s, and their products, in the place of the masks of float32 values in a graph that `onnx_grad` emitted.
pub(super) fn steep(graph: &mut GraphProto) {
    let index = Index::new(graph);
    let mut made: HashMap<usize, Vec<NodeProto>> = HashMap::new();
    // One for each comparison, whichever masks it is a part of.
    let mut known: HashMap<(String, u64, bool), String> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        if let Some(comparisons) = mask(&index, node) {
            made.insert(at, emit(node, &comparisons, &mut known));
        }
    }
    if made.is_empty() {
        return;
    }
    let nodes = std::mem::take(&mut graph.node);
    graph.node = nodes.into_iter().enumerate().flat_map(|(at, node)| made.remove(&at).unwrap_or(vec![node])).collect();
    super::drop_unread(graph);
}

/// value > bound, or value < bound.
struct Comparison<'a> {
    value: &'a str,
    bound: f64,
    above: bool,
}

/// The comparisons that all have to hold; `None`: it is no such mask.
fn mask<'a>(index: &Index<'a>, node: &'a NodeProto) -> Option<Vec<Comparison<'a>>> {
    let cast = node.domain.is_empty() && node.op_type == "Cast" && node.attr_int("to") == Some(1);
    cast.then_some(())?;
    let mut open = vec![node.input.first()?.as_str()];
    let mut found = Vec::new();
    while let Some(truth) = open.pop() {
        let node = index.producer_node(truth).filter(|node| node.domain.is_empty())?;
        let [a, b] = node.input.as_slice() else { return None };
        match &*node.op_type {
            "And" => open.extend([b.as_str(), a.as_str()]),
            "Greater" | "Less" => {
                // Both operands are of one type: that of the constant.
                let bound =
                    index.constant(b).filter(|bound| bound.elem_type() == ElemType::Float && bound.dims.is_empty())?;
                let bound = *bound.to_floats().ok()?.first()?;
                (bound.abs() <= LARGEST_BOUND).then_some(())?;
                found.push(Comparison { value: a, bound, above: node.op_type == "Greater" });
            }
            _ => return None,
        }
        (open.len() + found.len() <= MOST).then_some(())?;
    }
    Some(found)
}

/// The nodes that take the place of the cast; the last gives its output.
fn emit(
    cast: &NodeProto,
    comparisons: &[Comparison<'_>],
    known: &mut HashMap<(String, u64, bool), String>,
) -> Vec<NodeProto> {
    let output = &cast.output[0];
    let mut nodes = Vec::new();
    let mut product: Option<String> = None;
    for (at, comparison) in comparisons.iter().enumerate() {
        let is_whole = comparisons.len() == 1;
        let key = (comparison.value.to_owned(), comparison.bound.to_bits(), comparison.above);
        let mask = match known.get(&key) {
            Some(mask) if is_whole => {
                nodes.push(node("Identity", &[mask], output));
                output.clone()
            }
            Some(mask) => mask.clone(),
            None => {
                let name = if is_whole { output.clone() } else { format!("{output}/steep.{at}") };
                nodes.push(hard_sigmoid(comparison, &name));
                known.insert(key, name.clone());
                name
            }
        };
        product = Some(match product {
            None => mask,
            Some(before) => {
                let last = at + 1 == comparisons.len();
                let name = if last { output.clone() } else { format!("{output}/product.{at}") };
                nodes.push(node("Mul", &[&before, &mask], &name));
                name
            }
        });
    }
    nodes
}

fn hard_sigmoid(comparison: &Comparison<'_>, name: &str) -> NodeProto {
    let slope = if comparison.bound == 0.0 { STEEPEST } else { STEEP };
    let alpha = if comparison.above { slope } else { -slope };
    let mut node = node("HardSigmoid", &[comparison.value], name);
    node.attribute = vec![attr::float("alpha", alpha), attr::float("beta", -comparison.bound * alpha)];
    node
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: output.to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad::{Builder, Val, value_info};

    use super::*;

    fn steepened(build: impl Fn(&mut Builder, &Val) -> Val) -> Vec<String> {
        let mut g = Builder::new();
        let y = g.input("y");
        let mask = build(&mut g, &y);
        let model = g.into_model(vec![value_info("y", None)], vec![value_info(mask.name(), None)]).unwrap();
        let mut graph = model.graph().clone();
        steep(&mut graph);
        assert_eq!(graph.node.last().unwrap().output, [mask.name()]);
        graph.node.into_iter().map(|node| node.op_type).collect()
    }

    fn compare(g: &mut Builder, op: &str, y: &Val, bound: f64, elem: ElemType) -> Val {
        let bound = g.scalar(elem, bound);
        g.binary(op, y, &bound)
    }

    #[test]
    fn masks_of_float32_become_steep() {
        let one = |elem| {
            steepened(move |g, y| {
                let truth = compare(g, "Greater", y, 0.0, elem);
                g.cast(&truth, elem)
            })
        };
        assert_eq!(one(ElemType::Float), ["HardSigmoid"]);
        assert_eq!(one(ElemType::Float16), ["Greater", "Cast"]);
        let both = steepened(|g, y| {
            let (low, high) =
                (compare(g, "Greater", y, 0.0, ElemType::Float), compare(g, "Less", y, 6.0, ElemType::Float));
            let both = g.binary("And", &low, &high);
            g.cast(&both, ElemType::Float)
        });
        assert_eq!(both, ["HardSigmoid", "HardSigmoid", "Mul"]);
    }

    #[test]
    fn what_has_no_exact_slope_stays_a_comparison() {
        let too_far = steepened(|g, y| {
            let truth = compare(g, "Less", y, 1e30, ElemType::Float);
            g.cast(&truth, ElemType::Float)
        });
        assert_eq!(too_far, ["Less", "Cast"]);
        let closed = steepened(|g, y| {
            let truth = compare(g, "GreaterOrEqual", y, 0.0, ElemType::Float);
            g.cast(&truth, ElemType::Float)
        });
        assert_eq!(closed, ["GreaterOrEqual", "Cast"]);
    }
}
