//! Keeps a run that is only to show types from going on without end.

use std::collections::HashSet;

use onnx_grad::proto::{GraphProto, NodeProto, TensorProto};

/// More iterations than [`onnx_grad::unroll`] takes apart: a loop that runs as often is refused once its trip count is known.
const MOST_ITERATIONS: i64 = 5000;

/// CpuFeatures no loop run longer, also those in subgraphs. How often one runs may be a number that nobody knows before the run.
pub(super) fn bound(graph: &mut GraphProto, taken: &mut HashSet<String>) {
    let mut most = String::new();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let is_loop = node.op_type == "Loop" && node.domain.is_empty();
        if is_loop && let Some(count) = node.input.first_mut() {
            if most.is_empty() {
                most = fresh(taken, "loops");
                graph.initializer.push(TensorProto::ints(most.clone(), &[], &[MOST_ITERATIONS]));
            }
            if count.is_empty() {
                count.clone_from(&most);
            } else {
                let least = fresh(taken, count);
                nodes.push(NodeProto {
                    op_type: "Min".into(),
                    name: least.clone(),
                    input: vec![std::mem::replace(count, least.clone()), most.clone()],
                    output: vec![least],
                    ..Default::default()
                });
            }
        }
        for attribute in &mut node.attribute {
            let inner = attribute.g.iter_mut().map(|graph| &mut **graph).chain(&mut attribute.graphs);
            inner.for_each(|graph| bound(graph, taken));
        }
        nodes.push(node);
    }
    graph.node = nodes;
}

fn fresh(taken: &mut HashSet<String>, stem: &str) -> String {
    let mut name = format!("{stem}/bound");
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}
