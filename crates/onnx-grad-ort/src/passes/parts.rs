//! The part of a backward pass that some of the seeds need, where the others are zero.
//!
//! A detector has an output a scale. A box is of one of them, and all that only the other scales' seeds lead to is zero: those nodes are left
//! out, and what they would be added to is taken as it is.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    graph::reads,
    proto::{GraphProto, NodeProto, TensorProto},
};

use super::drop_unread;
use crate::{blocked, kernels};

/// What is left of `graph`, a backward pass in topological order, where the seeds that are not among `kept` are zero. Outputs that are zero
/// then are left out, and so are inputs that nothing reads. `None`: that cannot be told, or nothing is left.
pub(super) fn of(graph: &GraphProto, seeds: &[&str], kept: &[&str]) -> Option<GraphProto> {
    let is_zero_constant = |tensor: &&TensorProto| {
        tensor.external_data.is_empty()
            && tensor.raw_data.as_ref().is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
    };
    // The constants that are zero.
    let constants: HashSet<&str> =
        graph.initializer.iter().filter(is_zero_constant).map(|tensor| tensor.name.as_str()).collect();
    // What depends on a seed at all; a pass is linear in its seeds, and so is each of its nodes in what depends on them.
    let mut sloped: HashSet<&str> = seeds.iter().copied().collect();
    let mut zero: HashSet<&str> = seeds.iter().copied().filter(|seed| !kept.contains(seed)).collect();
    // A sum of which one term is left is that term.
    let mut same: HashMap<&str, String> = HashMap::new();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in &graph.node {
        let depends: Vec<&str> = reads(node).into_iter().filter(|name| sloped.contains(name)).collect();
        if depends.is_empty() {
            nodes.push(node.clone());
            continue;
        }
        let outputs = || node.output.iter().map(String::as_str).filter(|name| !name.is_empty());
        sloped.extend(outputs());
        let mut node_left = node.clone();
        match depends.iter().filter(|name| zero.contains(*name)).count() {
            0 => {}
            all if all == depends.len() => {
                if !is_linear(node, |name| sloped.contains(name) || constants.contains(name)) {
                    return None;
                }
                zero.extend(outputs());
                continue;
            }
            _ => match without(node, &sloped, &zero)? {
                Left::Node(left) => node_left = *left,
                Left::Value(value) => {
                    let value = same.get(value.as_str()).cloned().unwrap_or(value);
                    same.insert(node.output.first()?, value);
                    continue;
                }
            },
        }
        for name in &mut node_left.input {
            if let Some(value) = same.get(name.as_str()) {
                *name = value.clone();
            }
        }
        nodes.push(node_left);
    }
    let mut left = GraphProto { node: nodes, ..graph.clone() };
    left.output.retain(|output| !zero.contains(output.name.as_str()));
    if left.output.is_empty() {
        return None;
    }
    name_what_is_left(&mut left, &same);
    drop_unread(&mut left);
    let read: HashSet<&str> = left.node.iter().flat_map(|node| reads(node)).collect();
    left.input.retain(|input| read.contains(input.name.as_str()));
    left.value_info.clear();
    Some(left)
}

/// Gives outputs of which one term is left that term: under the output's name, if it has no other to keep.
fn name_what_is_left(left: &mut GraphProto, same: &HashMap<&str, String>) {
    let given: Vec<String> = left.output.iter().map(|output| output.name.clone()).collect();
    // The terms that took an output's name.
    let mut renamed: HashMap<&str, &str> = HashMap::new();
    for output in &given {
        let Some(value) = same.get(output.as_str()) else { continue };
        let is_made = left.node.iter().any(|node| node.output.contains(value));
        if is_made && !given.contains(value) {
            let names = left.node.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output));
            names.filter(|name| *name == value).for_each(|name| name.clone_from(output));
            renamed.insert(value, output);
            continue;
        }
        left.node.push(NodeProto {
            op_type: "Identity".into(),
            input: vec![renamed.get(value.as_str()).map_or(value.clone(), |name| (*name).to_owned())],
            output: vec![output.clone()],
            ..Default::default()
        });
    }
}

/// What is left of a node of which some, not all, of the values that depend on seeds are zero.
enum Left {
    Node(Box<NodeProto>),
    Value(String),
}

fn without(node: &NodeProto, sloped: &HashSet<&str>, zero: &HashSet<&str>) -> Option<Left> {
    let is_zero = |at: usize| node.input.get(at).is_some_and(|name| zero.contains(name.as_str()));
    match (&*node.domain, &*node.op_type) {
        // All terms are gradients at one value, and so of one shape.
        ("", "Add" | "Sum") if node.input.iter().all(|name| sloped.contains(name.as_str())) => {
            let mut left = node.clone();
            left.input.retain(|name| !zero.contains(name.as_str()));
            match &left.input[..] {
                [one] => Some(Left::Value(one.clone())),
                _ => {
                    left.op_type = "Sum".into();
                    Some(Left::Node(Box::new(left)))
                }
            }
        }
        // A convolution that adds what is there already.
        (blocked::DOMAIN, "Conv") | ("com.microsoft", "FusedConv") if node.attr_str("activation").is_none() => {
            let has_bias = node.input.get(2).is_some_and(|name| !name.is_empty());
            if is_zero(3) && !is_zero(0) {
                let mut left = node.clone();
                left.input.truncate(if has_bias { 3 } else { 2 });
                return Some(Left::Node(Box::new(left)));
            }
            (is_zero(0) && !is_zero(3) && !has_bias).then(|| Some(Left::Value(node.input.get(3)?.clone())))?
        }
        _ => None,
    }
}

/// Whether a node gives zero where all that it reads of the gradient is zero. `vanishes`: what is of the gradient, or a zero.
fn is_linear(node: &NodeProto, vanishes: impl Fn(&str) -> bool) -> bool {
    let has_bias = || node.input.get(2).is_some_and(|name| !name.is_empty());
    let from = |first: usize| node.input.iter().skip(first).all(|name| vanishes(name));
    match (&*node.domain, &*node.op_type) {
        ("", "Add" | "Sum" | "Sub" | "Concat") => from(0),
        ("", "Where") => from(1),
        (
            "",
            "Mul" | "Div" | "Neg" | "MatMul" | "Identity" | "Cast" | "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze"
            | "Flatten" | "Slice" | "Split" | "Gather" | "Expand" | "Tile" | "ReduceSum" | "ReduceMean" | "Resize"
            | "AveragePool" | "GlobalAveragePool" | "DepthToSpace" | "SpaceToDepth",
        ) => node.input.first().is_some_and(|name| vanishes(name)) || matches!(&*node.op_type, "Mul" | "MatMul"),
        ("com.microsoft", "FusedMatMul") => true,
        ("", "Conv" | "ConvTranspose") => !has_bias(),
        (blocked::DOMAIN, "Conv") | ("com.microsoft", "FusedConv") => {
            !has_bias() && node.attr_str("activation").is_none()
        }
        ("", "Pad") => node.attr_str("mode").is_none_or(|mode| mode == "constant") && !has_bias(),
        (blocked::DOMAIN, op) => matches!(op, "ReorderInput" | "ReorderOutput" | "Upsample" | "AveragePool"),
        (kernels::DOMAIN, op) => {
            use kernels::{depth_to_space, max_pool_grad, sum_products, zero_insert};
            [depth_to_space::NAME, max_pool_grad::NAME, sum_products::NAME, zero_insert::NAME].contains(&op)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad::{attr, value_info};

    use super::*;

    /// A graph of `op input… -> output` lines that reads the seeds `a` and `b` and the saved `k`, and gives `outputs`.
    fn graph(text: &str, outputs: &[&str]) -> GraphProto {
        let node = |line: &str| {
            let (read, output) = line.split_once(" -> ").unwrap();
            let mut words = read.split_whitespace();
            let op = words.next().unwrap();
            let (domain, op) = op.split_once('/').unwrap_or(("", op));
            NodeProto {
                domain: if domain.is_empty() { String::new() } else { blocked::DOMAIN.to_owned() },
                op_type: op.to_owned(),
                input: words.map(|word| if word == "-" { String::new() } else { word.to_owned() }).collect(),
                output: vec![output.to_owned()],
                attribute: if op == "Act" { vec![attr::string("activation", "Relu")] } else { Vec::new() },
                ..Default::default()
            }
        };
        GraphProto {
            node: text.lines().map(str::trim).filter(|line| !line.is_empty()).map(node).collect(),
            input: ["a", "b", "k"].map(|name| value_info(name, None)).to_vec(),
            output: outputs.iter().map(|name| value_info(name, None)).collect(),
            ..Default::default()
        }
    }

    fn lines(graph: &GraphProto) -> Vec<String> {
        graph.node.iter().map(|n| format!("{} {} -> {}", n.op_type, n.input.join(" "), n.output[0])).collect()
    }

    /// Two scales: what `a` leads to, and what `b` leads to, which comes to `a`'s layer too.
    const SCALES: &str = "
        Conv a w -> fine
        Conv b w -> coarse
        Conv coarse w -> up
        Add fine up -> sum
        Mul sum k -> out";

    #[test]
    fn what_only_other_seeds_lead_to_is_left_out() {
        let all = graph(SCALES, &["out", "coarse"]);
        let fine = of(&all, &["a", "b"], &["a"]).unwrap();
        assert_eq!(lines(&fine), ["Conv a w -> fine", "Mul fine k -> out"]);
        assert_eq!(fine.input.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["a", "k"]);
        assert_eq!(fine.output.iter().map(|output| output.name.as_str()).collect::<Vec<_>>(), ["out"]);
        let coarse = of(&all, &["a", "b"], &["b"]).unwrap();
        assert_eq!(lines(&coarse), ["Conv b w -> coarse", "Conv coarse w -> up", "Mul up k -> out"]);
        assert_eq!(of(&all, &["a", "b"], &["a", "b"]).unwrap().node, all.node);
    }

    #[test]
    fn a_sum_inside_a_convolution_is_left_out_and_an_output_keeps_its_name() {
        let all = graph("blocked/Conv b w -> up\nblocked/Conv a w - up -> out", &["out"]);
        assert_eq!(lines(&of(&all, &["a", "b"], &["a"]).unwrap()), ["Conv a w -> out"]);
        let kept = lines(&of(&all, &["a", "b"], &["b"]).unwrap());
        assert_eq!(kept, ["Conv b w -> out"]);
        // An output in its own right, or one term of two sums: it has one name, and copies have the others.
        let sums = "Conv b w -> up\nMul up k -> more\nAdd a up -> sum\nAdd up a -> other";
        let kept = |outputs: &[&str]| lines(&of(&graph(sums, outputs), &["a", "b"], &["b"]).unwrap());
        assert_eq!(kept(&["sum", "more"]), ["Conv b w -> sum", "Mul sum k -> more"]);
        assert_eq!(kept(&["sum", "up"]), ["Conv b w -> up", "Identity up -> sum"]);
        assert_eq!(kept(&["sum", "other"]), ["Conv b w -> sum", "Identity sum -> other"]);
    }

    #[test]
    fn what_is_not_zero_for_a_zero_seed_is_not_left_out() {
        for node in ["Shape b -> s", "Exp b -> s", "Add b k -> s", "Conv b w bias -> s", "Where k b k -> s"] {
            let all = graph(&format!("Conv a w -> fine\n{node}\nSum fine s -> out"), &["out"]);
            assert!(of(&all, &["a", "b"], &["a"]).is_none(), "{node}");
        }
        // Joined with what is not zero.
        assert!(of(&graph("Concat a b -> out", &["out"]), &["a", "b"], &["a"]).is_none());
    }
}
