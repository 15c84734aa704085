//! Which layers of a model have a gradient, and why the others don't.

use std::collections::HashSet;

use onnx_grad::{Request, graph};

use crate::{error::Result, rules, subject::TypedModel};

/// For every layer, why the scores have no gradient there; `None` where they have one.
///
/// An operator without a rule only bars the layers before it: those are left out, and what remains is tried again.
///
/// # Errors
/// No layer has a gradient, or the graph is malformed.
pub(crate) fn without_gradient(subject: &TypedModel) -> Result<Vec<Option<String>>> {
    let (network, layers) = (subject.network(), subject.layers());
    let graph = network.model.graph();
    let heads = subject.heads();
    let mut reasons: Vec<Option<String>> = vec![None; layers.len()];
    loop {
        let open = layers.iter().zip(&reasons).filter(|(_, reason)| reason.is_none());
        let wanted: Vec<&str> = open.map(|(layer, _)| layer.value.as_str()).collect();
        if wanted.is_empty() {
            return Err(subject.no_layers());
        }
        let request = Request { outputs: &heads, wrt: &wanted, types: subject.types() };
        match rules::differentiate(&network.model, &request) {
            Ok(gradient) => {
                let without: HashSet<&str> = gradient
                    .gradients
                    .iter()
                    .filter(|(_, name)| name.is_none())
                    .map(|(value, _)| value.as_str())
                    .collect();
                for (layer, reason) in layers.iter().zip(&mut reasons) {
                    if without.contains(layer.value.as_str()) {
                        *reason = Some("no path of floating-point values leads from it to the scores".into());
                    }
                }
                return if reasons.iter().all(Option::is_some) { Err(subject.no_layers()) } else { Ok(reasons) };
            }
            Err(onnx_grad::Error::NotDifferentiable(obstacles)) => {
                let mut barred = false;
                for obstacle in &obstacles {
                    let before = ancestors(graph, &obstacle.node);
                    for (layer, reason) in layers.iter().zip(&mut reasons) {
                        if reason.is_none() && before.contains(layer.value.as_str()) {
                            *reason = Some(obstacle.to_string());
                            barred = true;
                        }
                    }
                }
                if !barred {
                    return Err(onnx_grad::Error::NotDifferentiable(obstacles).into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Every value that the node of that label depends on.
fn ancestors<'a>(graph: &'a onnx_grad::proto::GraphProto, label: &str) -> HashSet<&'a str> {
    let index = graph::Index::new(graph);
    let mut found = HashSet::new();
    let mut open: Vec<&str> =
        graph.node.iter().filter(|node| graph::label(node) == label).flat_map(graph::reads).collect();
    while let Some(name) = open.pop() {
        if found.insert(name)
            && let Some(node) = index.producer_node(name)
        {
            open.extend(graph::reads(node));
        }
    }
    found
}
