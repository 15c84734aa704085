//! Nodes that draw numbers anew in every run: a model that has some gives another answer each time.

use std::collections::HashSet;

use onnx_grad::{
    graph::{Index, label, reads, subgraphs},
    proto::{GraphProto, NodeProto},
};

/// The names of the nodes that `outputs` depend on and that draw random numbers: random operators, and `Dropout` that was exported in
/// training mode.
pub fn nodes(graph: &GraphProto, outputs: &[&str]) -> Vec<String> {
    let index = Index::new(graph);
    let mut wanted: HashSet<&str> = outputs.iter().copied().collect();
    let mut found = Vec::new();
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|name| wanted.contains(name.as_str())) {
            wanted.extend(reads(node));
            draws(node, &index, &mut found);
        }
    }
    found.reverse();
    found
}

fn draws(node: &NodeProto, index: &Index<'_>, found: &mut Vec<String>) {
    let is_random = match (&*node.domain, &*node.op_type) {
        ("", "Bernoulli" | "Multinomial") => true,
        ("", "RandomNormal" | "RandomNormalLike" | "RandomUniform" | "RandomUniformLike") => true,
        ("", "Dropout") => drops(node, index, 1, 2),
        ("com.microsoft", "BiasDropout") => drops(node, index, 3, 4),
        ("com.microsoft", "BitmaskDropout") => drops(node, index, 1, 2),
        ("com.microsoft", "BitmaskBiasDropout") => drops(node, index, 3, 4),
        _ => false,
    };
    if is_random {
        found.push(format!("{} ({})", label(node), node.op_type));
    }
    for graph in subgraphs(node) {
        // Which of its nodes count is not looked into: a subgraph's are few.
        graph.node.iter().for_each(|node| draws(node, index, found));
    }
}

/// Whether a kind of dropout drops anything: it is in training mode and its ratio isn't 0.
fn drops(node: &NodeProto, index: &Index<'_>, ratio: usize, training: usize) -> bool {
    let input = |at: usize| node.input.get(at).filter(|name| !name.is_empty());
    // Without the input it is off; one that is computed may be on.
    let trains = input(training).is_some_and(|name| {
        index.constant(name).is_none_or(|tensor| tensor.to_ints().is_ok_and(|value| value.first() != Some(&0)))
    });
    let never = input(ratio)
        .and_then(|name| index.constant(name)?.to_floats().ok())
        .is_some_and(|ratio| ratio.first() == Some(&0.0));
    trains && !never
}

/// The sentence that says so.
pub fn told(nodes: &[String]) -> String {
    const MOST: usize = 5;
    let more = if nodes.len() > MOST { format!(" and {} more", nodes.len() - MOST) } else { String::new() };
    format!(
        "the model draws random numbers, so that every run gives another answer: {}{more}; export it in evaluation mode (PyTorch: \
         model.eval())",
        nodes[..nodes.len().min(MOST)].join(", ")
    )
}

#[cfg(test)]
mod tests {
    use onnx_grad::{ElemType, proto::TensorProto};

    use super::*;

    fn node(op: &str, input: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            name: format!("the_{output}"),
            input: input.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.to_owned()],
            ..Default::default()
        }
    }

    fn truth(name: &str, value: u8) -> TensorProto {
        TensorProto::raw(name, ElemType::Bool, &[], vec![value].into())
    }

    #[test]
    fn dropout_in_training_mode_and_random_operators_are_named() {
        let graph = GraphProto {
            node: vec![
                node("Dropout", &["x", "half", "on"], "a"),
                node("Dropout", &["a", "half", "off"], "b"),
                node("Dropout", &["b", "none", "on"], "c"),
                node("Dropout", &["c"], "d"),
                node("RandomNormalLike", &["d"], "noise"),
                node("Add", &["d", "noise"], "y"),
                node("Bernoulli", &["x"], "beside"),
            ],
            initializer: vec![
                truth("on", 1),
                truth("off", 0),
                TensorProto::floats("half", ElemType::Float, &[], &[0.5]),
                TensorProto::floats("none", ElemType::Float, &[], &[0.0]),
            ],
            ..Default::default()
        };
        assert_eq!(nodes(&graph, &["y"]), ["the_a (Dropout)", "the_noise (RandomNormalLike)"]);
        assert!(told(&nodes(&graph, &["y"])).contains("the_a (Dropout), the_noise (RandomNormalLike); export it"));
    }
}
