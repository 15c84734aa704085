//! Max-poolings in a joint graph: their gradient in one node, so that the forward pass needs no indices.

use std::collections::HashMap;

use onnx_grad::{
    attr,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use crate::kernels::{DOMAIN, max_pool_grad};

/// Puts [`max_pool_grad`] in the place of what `onnx_grad` emits for max-poolings over pictures: indices into each feature map, and
/// the gradient added up at them. What looks otherwise stays.
pub(super) fn without_indices(graph: &mut GraphProto) {
    let mut made: HashMap<String, NodeProto> = HashMap::new();
    let mut without: Vec<usize> = Vec::new();
    let index = Index::new(graph);
    for (at, pool) in graph.node.iter().enumerate() {
        if let Some(gradient) = replacement(&index, pool) {
            made.insert(gradient.output[0].clone(), gradient);
            without.push(at);
        }
    }
    for at in without {
        graph.node[at].output.truncate(1);
    }
    // What made the gradients, and what it was made of, is read by nobody now; the optimiser drops it.
    for node in &mut graph.node {
        if let Some(gradient) = node.output.first().and_then(|name| made.remove(name)) {
            *node = gradient;
        }
    }
    // Except that it still reads the indices.
    let gone: Vec<String> = unread_indices(graph);
    let mut dropped: std::collections::HashSet<String> = gone.into_iter().collect();
    graph.node.retain(|node| {
        let reads_gone = node.input.iter().any(|name| dropped.contains(name));
        if reads_gone {
            dropped.extend(node.output.iter().cloned());
        }
        !reads_gone
    });
}

/// Values that are read but that no node makes any more.
fn unread_indices(graph: &GraphProto) -> Vec<String> {
    let index = Index::new(graph);
    let read = graph.node.iter().flat_map(onnx_grad::graph::reads);
    read.filter(|name| index.producer(name).is_none() && !index.is_given(name)).map(str::to_owned).collect()
}

fn replacement(index: &Index<'_>, pool: &NodeProto) -> Option<NodeProto> {
    let is = |node: &NodeProto, op: &str| node.domain.is_empty() && node.op_type == op;
    if !is(pool, "MaxPool") || pool.output.len() != 2 || pool.output[1].is_empty() {
        return None;
    }
    let pair = |name: &str, default: i64| pool.attr_ints(name).map_or(Some([default; 2]), |list| list.try_into().ok());
    let kernel: [i64; 2] = pool.attr_ints("kernel_shape")?.try_into().ok()?;
    let (strides, dilations) = (pair("strides", 1)?, pair("dilations", 1)?);
    let pads: [i64; 4] = pool.attr_ints("pads").map_or(Some([0; 4]), |list| list.try_into().ok())?;
    if dilations != [1; 2]
        || pool.attr_int("storage_order").unwrap_or(0) != 0
        || !matches!(pool.attr_str("auto_pad").unwrap_or("NOTSET"), "" | "NOTSET")
    {
        return None;
    }
    // Indices, taken modulo the area, laid out as a row a channel; then the sum of the gradients at them, in the picture's shape.
    let only = |name: &str, op: &str| {
        let mut readers = index.readers(name);
        readers.next().filter(|node| readers.next().is_none() && is(node, op))
    };
    let places = only(&pool.output[1], "Mod")?;
    let mut places = only(&places.output[0], "Reshape")?;
    if let Some(expanded) = only(&places.output[0], "Expand") {
        places = expanded;
    }
    let scatter = only(&places.output[0], "ScatterElements")?;
    if scatter.input.get(1)? != &places.output[0] || scatter.attr_str("reduction") != Some("add") {
        return None;
    }
    let updates = index.producer_node(scatter.input.get(2)?).filter(|node| is(node, "Reshape"))?;
    let gradient = only(&scatter.output[0], "Reshape")?;
    let ints = |name: &str, values: [i64; 2]| attr::ints(name, &values);
    Some(NodeProto {
        op_type: max_pool_grad::NAME.into(),
        domain: DOMAIN.into(),
        name: gradient.name.clone(),
        input: vec![pool.input.first()?.clone(), pool.output[0].clone(), updates.input.first()?.clone()],
        output: vec![gradient.output[0].clone()],
        attribute: vec![ints("kernel", kernel), ints("strides", strides), ints("begins", [pads[0], pads[1]])],
        ..Default::default()
    })
}
