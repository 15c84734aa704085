//! Splits an optimised graph of both passes.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    graph::reads,
    proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto},
    value_info,
};

use super::{Given, Plan, Tapped, fuse};
use crate::{blocked, kernels};

/// The two passes, and what goes from one to the other.
pub(super) struct Split {
    pub(super) forward: ModelProto,
    pub(super) backward: ModelProto,
    /// What the backward pass reads besides the seeds.
    pub(super) saved: Vec<String>,
    pub(super) taps: Vec<Tapped>,
}

/// Splits an optimised joint graph: what depends on a seed goes back.
pub(super) fn split(joint: ModelProto, plan: &Plan<'_>) -> Option<Split> {
    let graph = joint.graph.as_ref()?;
    let producers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let seeds: HashSet<&str> = plan.gradient.seeds.iter().map(|(_, seed)| seed.as_str()).collect();
    let mut goes_back = seeds.clone();
    let sorted = in_order(graph)?;
    for node in &sorted {
        if reads(node).iter().any(|name| goes_back.contains(name)) {
            goes_back.extend(node.output.iter().map(String::as_str).filter(|name| !name.is_empty()));
        }
    }
    let inputs: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    let mut taps = Vec::new();
    for (value, gradient) in plan.taps {
        let activation = if inputs.contains(value.as_str()) { Given::plain(value) } else { source(value, &producers)? };
        let gradient = source(gradient, &producers)?;
        if goes_back.contains(activation.name.as_str()) || !goes_back.contains(gradient.name.as_str()) {
            return None;
        }
        taps.push(Tapped { activation, gradient, is_mean: false });
    }
    let mut given: Vec<String> = plan.outputs.iter().map(|output| (*output).to_owned()).collect();
    given.extend(taps.iter().map(|tap| tap.activation.name.clone()).filter(|name| !inputs.contains(name.as_str())));
    let wanted: Vec<String> = taps.iter().map(|tap| tap.gradient.name.clone()).collect();
    let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for name in recomputed(&sorted, &goes_back, &given, &constants) {
        goes_back.insert(name);
    }
    let back = needed(&sorted, &wanted, |name| goes_back.contains(name));
    let mut saved: Vec<String> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for name in back.iter().flat_map(|node| reads(node)) {
        if !goes_back.contains(name) && !constants.contains(name) && seen.insert(name) {
            saved.push(name.to_owned());
        }
    }
    given.extend(saved.iter().filter(|name| !inputs.contains(name.as_str())).cloned());
    let forth = needed(&sorted, &given, |name| !goes_back.contains(name));
    let mut imports = joint.opset_import.clone();
    if !imports.iter().any(|import| import.domain == kernels::DOMAIN) {
        imports.push(OperatorSetIdProto { domain: kernels::DOMAIN.into(), version: 1 });
    }
    let model = |nodes: &[&NodeProto], outputs: Vec<String>, keep: &dyn Fn(&str) -> bool| {
        let read: HashSet<&str> = nodes.iter().flat_map(|node| reads(node)).collect();
        let mut named = HashSet::new();
        let outputs = outputs.into_iter().filter(|name| named.insert(name.clone()));
        ModelProto {
            graph: Some(GraphProto {
                name: graph.name.clone(),
                node: nodes.iter().map(|node| (*node).clone()).collect(),
                initializer: graph
                    .initializer
                    .iter()
                    .filter(|tensor| read.contains(tensor.name.as_str()))
                    .cloned()
                    .collect(),
                input: graph.input.iter().filter(|input| keep(&input.name)).cloned().collect(),
                output: outputs.map(|name| value_info(&name, None)).collect(),
                ..Default::default()
            }),
            opset_import: imports.clone(),
            ..ModelProto { graph: None, ..joint.clone() }
        }
    };
    let forward = model(&forth, given, &|name| !seeds.contains(name));
    let backward = model(&back, wanted, &|name| seeds.contains(name));
    Some(Split { forward, backward, saved, taps })
}

/// The values that the backward pass recomputes instead of reading them saved: cheap functions of one value.
fn recomputed<'a>(
    sorted: &[&'a NodeProto],
    goes_back: &HashSet<&'a str>,
    given: &[String],
    constants: &HashSet<&'a str>,
) -> Vec<&'a str> {
    let mut readers: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
    let mut producers: HashMap<&str, &'a NodeProto> = HashMap::new();
    for node in sorted {
        reads(node).into_iter().for_each(|name| readers.entry(name).or_default().push(node));
        producers.extend(node.output.iter().map(|name| (name.as_str(), *node)));
    }
    // What the value is computed from by nodes that nobody else needs, and the values on the way.
    let mut found: HashSet<&str> = HashSet::new();
    let makes_back = |node: &NodeProto| node.output.iter().any(|name| goes_back.contains(name.as_str()));
    let mut interface: Vec<&str> = Vec::new();
    for node in sorted.iter().filter(|node| makes_back(node)) {
        interface.extend(reads(node).into_iter().filter(|name| !goes_back.contains(name) && !constants.contains(name)));
    }
    for start in interface {
        let (mut inside, mut leaves) = (Vec::new(), HashSet::new());
        let mut open = vec![start];
        while let Some(name) = open.pop() {
            if inside.contains(&name) || constants.contains(name) {
                continue;
            }
            let node = producers.get(name).filter(|node| fuse::is_cheap(node));
            let only_back = readers.get(name).is_none_or(|all| {
                let within = |reader: &&NodeProto| reader.output.iter().any(|name| inside.contains(&name.as_str()));
                all.iter().all(|reader| makes_back(reader) || within(reader))
            });
            match node {
                Some(node) if only_back && !given.iter().any(|given| given == name) => {
                    inside.push(name);
                    open.extend(reads(node));
                }
                _ => {
                    leaves.insert(name);
                }
            }
        }
        // A leaf that came up before all its readers were inside may be inside by now.
        leaves.retain(|leaf| !inside.contains(leaf));
        if leaves.len() == 1 {
            found.extend(inside);
        }
    }
    found.into_iter().collect()
}

/// The nodes, each behind those that make what it reads. ONNX Runtime writes them in another order.
pub(super) fn in_order(graph: &GraphProto) -> Option<Vec<&NodeProto>> {
    let producers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(at, node)| node.output.iter().map(move |name| (name.as_str(), at)))
        .collect();
    let mut order = Vec::with_capacity(graph.node.len());
    // 0: not seen, 1: what it reads is being placed, 2: placed.
    let mut state = vec![0u8; graph.node.len()];
    for start in 0..graph.node.len() {
        let mut todo = vec![start];
        while let Some(&at) = todo.last() {
            if state[at] == 2 {
                todo.pop();
                continue;
            }
            let first = state[at] == 0;
            state[at] = 1;
            let before = reads(&graph.node[at]).into_iter().filter_map(|name| producers.get(name).copied());
            let open: Vec<usize> = before.filter(|&other| state[other] != 2).collect();
            if open.is_empty() {
                state[at] = 2;
                order.push(&graph.node[at]);
                todo.pop();
            } else if first {
                todo.extend(open);
            } else {
                return None;
            }
        }
    }
    Some(order)
}

/// The nodes that make `wanted` from values for which `own` doesn't hold, in order.
fn needed<'a>(nodes: &[&'a NodeProto], wanted: &[String], own: impl Fn(&str) -> bool) -> Vec<&'a NodeProto> {
    let mut open: HashSet<&str> = wanted.iter().map(String::as_str).collect();
    let mut picked = Vec::new();
    for node in nodes.iter().rev() {
        if node.output.iter().any(|name| open.contains(name.as_str()) && own(name)) {
            open.extend(reads(node));
            picked.push(*node);
        }
    }
    picked.reverse();
    picked
}

/// Where an output of the joint graph comes from, before it was copied and brought back to NCHW.
fn source(name: &str, producers: &HashMap<&str, &NodeProto>) -> Option<Given> {
    let mut name = name;
    loop {
        let node = producers.get(name)?;
        match (&*node.domain, &*node.op_type) {
            ("", "Identity") if producers.contains_key(node.input.first()?.as_str()) => name = &node.input[0],
            (blocked::DOMAIN, "ReorderOutput") if node.attr_int("channels_last").unwrap_or(0) == 0 => {
                let channels = usize::try_from(node.attr_int("channels")?).ok()?;
                return Some(Given { name: node.input.first()?.clone(), blocked: Some(channels) });
            }
            _ => return Some(Given::plain(name)),
        }
    }
}
