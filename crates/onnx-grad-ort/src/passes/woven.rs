//! Images that are joined only to be woven into one are woven as they are: nothing is written in between.
//!
//! The gradient of a convolution with strides is that of each remainder of the places by itself, woven together.

use std::collections::HashMap;

use onnx_grad::{
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use super::shape::Shape;
use crate::kernels::{DOMAIN, depth_to_space};

/// Rewrites a graph; `shapes` are those of its values as far as they are known, `block` is how many channels a block has.
pub(super) fn without_joining(graph: &mut GraphProto, shapes: &HashMap<String, Shape>, block: usize) {
    let joined: HashMap<String, Vec<String>> = {
        let index = Index::new(graph);
        let of = |node: &NodeProto| {
            let [all] = node.input.as_slice() else { return None };
            let is_weaving = node.domain == DOMAIN && node.op_type == depth_to_space::NAME;
            let join = index.producer_node(all).filter(|join| is_weaving && joins(join, shapes, block))?;
            let size = node.attr_int("size")?;
            let is_given = graph.output.iter().any(|output| output.name == *all);
            let fits = join.input.len() as i64 == size * size && index.readers(all).count() == 1 && !is_given;
            fits.then(|| (all.clone(), join.input.clone()))
        };
        graph.node.iter().filter_map(of).collect()
    };
    graph.node.retain(|node| node.output.first().is_none_or(|name| !joined.contains_key(name)));
    for node in &mut graph.node {
        if let Some(parts) = node.input.first().and_then(|all| joined.get(all)) {
            node.input.clone_from(parts);
        }
    }
}

/// Whether a node joins images of one size, in full blocks, along their channels.
fn joins(node: &NodeProto, shapes: &HashMap<String, Shape>, block: usize) -> bool {
    let mut sizes = node.input.iter().map(|name| shapes.get(name));
    let Some(Some(first @ [_, channels, _, _])) = sizes.next().map(|shape| shape.map(Vec::as_slice)) else {
        return false;
    };
    node.domain.is_empty()
        && node.op_type == "Concat"
        && matches!(node.attr_int("axis"), Some(1 | -3))
        && channels % block as i64 == 0
        && sizes.all(|shape| shape.is_some_and(|shape| shape == first))
}

#[cfg(test)]
mod tests {
    use onnx_grad::{attr, value_info};

    use super::*;

    fn graph(channels: [i64; 4], outputs: &[&str]) -> (GraphProto, HashMap<String, Shape>) {
        let names = ["a", "b", "c", "d"];
        let node = |domain: &str, op: &str, inputs: &[&str], output: &str, attribute| NodeProto {
            domain: domain.into(),
            op_type: op.into(),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.into()],
            attribute: vec![attribute],
            ..Default::default()
        };
        let nodes = vec![
            node("", "Concat", &names, "all", attr::int("axis", 1)),
            node(DOMAIN, depth_to_space::NAME, &["all"], "out", attr::int("size", 2)),
        ];
        let shapes = names.into_iter().zip(channels).map(|(name, channels)| (name.to_owned(), vec![1, channels, 5, 5]));
        let output = outputs.iter().map(|name| value_info(name, None)).collect();
        (GraphProto { node: nodes, output, ..Default::default() }, shapes.collect())
    }

    #[test]
    fn what_is_joined_only_to_be_woven_is_not_joined() {
        let (mut own, shapes) = graph([16; 4], &["out"]);
        without_joining(&mut own, &shapes, 8);
        assert_eq!(own.node.len(), 1);
        assert_eq!(own.node[0].input, ["a", "b", "c", "d"]);
    }

    #[test]
    fn what_is_read_otherwise_or_of_other_sizes_stays() {
        for (channels, outputs, block) in
            [([16; 4], &["out", "all"][..], 8), ([16, 16, 16, 8], &["out"], 8), ([12; 4], &["out"], 8)]
        {
            let (before, shapes) = graph(channels, outputs);
            let mut after = before.clone();
            without_joining(&mut after, &shapes, block);
            assert_eq!(after.node, before.node);
        }
    }
}
