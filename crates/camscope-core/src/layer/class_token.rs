//! Models that read their class off one token: where their layers' gradients stop being informative.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    Types,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use super::{Layout, find::ancestors};

/// Where a classifier reads the class token alone, the last value whose other tokens still matter: what goes into the last
/// attention, normalised if the model normalises it first. After that attention no token but the class token reaches the scores,
/// so the gradient at every place of the image is zero. `None` for models that pool over all tokens, or have none.
pub(super) fn last_informative<'a>(
    graph: &'a GraphProto,
    index: &Index<'a>,
    types: &Types,
    layouts: &HashMap<&'a str, Layout>,
    classifier: &'a str,
) -> Option<&'a str> {
    let is_tokens = |name: &str| matches!(layouts.get(name), Some(Layout::Tokens { .. }));
    let before = ancestors(graph, index, classifier);
    let selects = |node: &&NodeProto| {
        let takes = node.input.first().is_some_and(|data| is_tokens(data));
        let drops = node.output.first().is_some_and(|output| !layouts.contains_key(output.as_str()));
        matches!(&*node.op_type, "Gather" | "Slice") && takes && drops && before.contains(node.output[0].as_str())
    };
    let selection = graph.node.iter().rev().find(selects)?;
    let stream = selection.input[0].as_str();
    // If tokens also reach the classifier by another way than the selection, they are informative to the end.
    let behind = ancestors(graph, index, stream);
    if before.iter().any(|name| is_tokens(name) && !behind.contains(name)) {
        return None;
    }
    let is_attention = |node: &&NodeProto| {
        matches!(&*node.op_type, "Softmax" | "Attention" | "MultiHeadAttention")
            && behind.contains(node.output[0].as_str())
    };
    let attention = graph.node.iter().rev().filter(|node| !node.output.is_empty()).find(is_attention)?;
    let into: HashSet<&str> = attention.input.iter().flat_map(|name| ancestors(graph, index, name)).collect();
    let channels = |name: &str| types.get(name).and_then(|ty| ty.shape.as_ref()?.get(2)?.fixed());
    let wide = channels(stream);
    // The stream that the attention's result is added back to: it goes into the attention, and around it.
    let goes_around = |name: &str| {
        let readers = index.consumers(name).iter().map(|&at| &graph.node[at]);
        readers
            .flat_map(|node| &node.output)
            .any(|output| !into.contains(output.as_str()) && behind.contains(output.as_str()))
    };
    let outputs = graph.node.iter().rev().flat_map(|node| node.output.iter().map(String::as_str));
    let mut residual = outputs.filter(|name| into.contains(name) && is_tokens(name) && channels(name) == wide);
    let residual = residual.find(|name| goes_around(name))?;
    let normalised = index.consumers(residual).iter().map(|&at| &graph.node[at]).find(|node| {
        matches!(&*node.op_type, "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization")
            && node.output.first().is_some_and(|output| into.contains(output.as_str()))
    });
    Some(normalised.map_or(residual, |node| node.output[0].as_str()))
}
