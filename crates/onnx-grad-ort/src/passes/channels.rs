//! Convolutions of whose channels only some are read: those alone are computed.
//!
//! The gradient of a concatenation's input is a slice of the concatenation's gradient, which is what a convolution gives. Where the other
//! inputs' gradients are not wanted, only that slice is read; its channels come of the same slice of the weight, which the optimiser
//! computes once.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    graph::{Index, reads, used_names},
    proto::{GraphProto, NodeProto, TensorProto},
};

/// Rewrites a joint graph in topological order, before it is optimised.
pub(super) fn compute_what_is_read(graph: &mut GraphProto) {
    let given: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let index = Index::new(graph);
    // By the convolution's output: the slice that is all that is read of it.
    let mut found: HashMap<String, NodeProto> = HashMap::new();
    for conv in &graph.node {
        let is_conv = conv.domain.is_empty() && conv.op_type == "Conv" && conv.attr_int("group").unwrap_or(1) == 1;
        // Without a bias, as a gradient is.
        let ([_, _], [output]) = (conv.input.as_slice(), conv.output.as_slice()) else { continue };
        let mut readers = index.readers(output);
        let (Some(slice), None) = (readers.next(), readers.next()) else { continue };
        if is_conv && !given.contains(output.as_str()) && slices_channels(graph, slice, output) {
            found.insert(output.clone(), slice.clone());
        }
    }
    if found.is_empty() {
        return;
    }
    let mut used = used_names(graph);
    let mut fresh = |wanted: &str| {
        let mut name = wanted.to_owned();
        while !used.insert(name.clone()) {
            name.push('_');
        }
        name
    };
    let first = fresh("camscope.first.axis");
    graph.initializer.push(TensorProto::ints(&first, &[1], &[0]));
    let gone: HashSet<String> = found.values().flat_map(|slice| slice.output.clone()).collect();
    let mut nodes = Vec::with_capacity(graph.node.len() + found.len());
    for mut node in std::mem::take(&mut graph.node) {
        if node.output.first().is_some_and(|output| gone.contains(output)) {
            continue;
        }
        if let Some(slice) = node.output.first().and_then(|output| found.get(output)) {
            // The weight's first axis holds the channels: the same places of it.
            let part = fresh(&format!("{}.weight", slice.output[0]));
            let mut own = slice.clone();
            own.name.clone_from(&part);
            own.input[0].clone_from(&node.input[1]);
            own.input[3].clone_from(&first);
            own.output = vec![part.clone()];
            nodes.push(own);
            node.input[1] = part;
            node.output.clone_from(&slice.output);
        }
        nodes.push(node);
    }
    graph.node = nodes;
}

/// Whether a node takes some channels of `of`, the same in every run.
fn slices_channels(graph: &GraphProto, node: &NodeProto, of: &str) -> bool {
    let ints = |at: usize| {
        let name = node.input.get(at).filter(|name| !name.is_empty())?;
        graph.initializer.iter().find(|tensor| tensor.name == *name)?.to_ints().ok()
    };
    let is_slice = node.domain.is_empty() && node.op_type == "Slice" && reads(node).first() == Some(&of);
    is_slice
        && node.input[1..].iter().all(|name| name != of)
        && ints(1).is_some()
        && ints(2).is_some()
        && ints(3).is_some_and(|axes| axes == [1] || axes == [-3])
        && node.input.get(4).is_none_or(|name| name.is_empty() || ints(4).is_some())
}

#[cfg(test)]
mod tests {
    use onnx_grad::{attr, value_info};

    use super::*;

    fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.into()],
            ..Default::default()
        }
    }

    fn graph(nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
        let ints = |name: &str, value: i64| TensorProto::ints(name, &[1], &[value]);
        GraphProto {
            node: nodes,
            initializer: vec![ints("two", 2), ints("nine", 9), ints("one", 1), ints("zero", 0)],
            input: ["g", "w", "at"].map(|name| value_info(name, None)).to_vec(),
            output: outputs.iter().map(|name| value_info(name, None)).collect(),
            ..Default::default()
        }
    }

    fn lines(graph: &GraphProto) -> Vec<String> {
        graph.node.iter().map(|n| format!("{} {} -> {}", n.op_type, n.input.join(" "), n.output[0])).collect()
    }

    #[test]
    fn channels_that_nothing_reads_are_not_computed() {
        let nodes = vec![
            node("Conv", &["g", "w"], "all"),
            node("Slice", &["all", "two", "nine", "one", "one"], "some"),
            node("Relu", &["some"], "out"),
        ];
        let mut graph = graph(nodes, &["out"]);
        compute_what_is_read(&mut graph);
        let expected = [
            "Slice w two nine camscope.first.axis one -> some.weight",
            "Conv g some.weight -> some",
            "Relu some -> out",
        ];
        assert_eq!(lines(&graph), expected);
    }

    #[test]
    fn what_is_read_otherwise_or_sliced_otherwise_stays() {
        let stays = |nodes: Vec<NodeProto>, outputs: &[&str]| {
            let mut after = graph(nodes.clone(), outputs);
            compute_what_is_read(&mut after);
            assert_eq!(after.node, nodes);
        };
        let slice = || node("Slice", &["all", "two", "nine", "one"], "some");
        let conv = || node("Conv", &["g", "w"], "all");
        stays(vec![conv(), slice(), node("Relu", &["all"], "other")], &["some", "other"]);
        stays(vec![conv(), slice()], &["some", "all"]);
        // Rows, not channels; not the same in every run.
        stays(vec![conv(), node("Slice", &["all", "two", "nine", "two"], "some")], &["some"]);
        stays(vec![conv(), node("Slice", &["all", "at", "nine", "one"], "some")], &["some"]);
        // With a bias, and with groups, of which each has a part of the weight.
        stays(vec![node("Conv", &["g", "w", "b"], "all"), slice()], &["some"]);
        let grouped = NodeProto { attribute: vec![attr::int("group", 2)], ..conv() };
        stays(vec![grouped, slice()], &["some"]);
    }
}
