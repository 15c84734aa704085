//! Graphs as they are in the file: who makes a value, who reads it; cutting and splicing.

mod index;
mod inline;
mod names;
mod squares;

use std::collections::{HashSet, VecDeque};

pub use index::Index;
pub(crate) use inline::{bind_attributes, inline_functions};
pub(crate) use names::{FreshNames, NameMap, NameSet};
pub use squares::own_squares;

use crate::{
    error::{Error, Result},
    proto::{GraphProto, NodeProto},
};

/// A node's name for messages: its own, or its first output's where it has none.
pub fn label(node: &NodeProto) -> &str {
    if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name }
}

/// Every value a node reads: its inputs, and what its subgraphs capture from outside. Absent inputs are left out.
pub fn reads(node: &NodeProto) -> Vec<&str> {
    each_read(node).collect()
}

/// As [`reads`], one after the other.
pub(crate) fn each_read(node: &NodeProto) -> impl Iterator<Item = &str> {
    node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).chain(captured(node))
}

/// What a node's subgraphs read from outside.
fn captured(node: &NodeProto) -> Vec<&str> {
    let mut names = Vec::new();
    for graph in subgraphs(node) {
        captures(graph, &mut names);
    }
    names
}

/// The graphs in a node's attributes: the bodies of `If`, `Loop` and `Scan`.
pub fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// The names a subgraph reads but does not define.
fn captures<'a>(graph: &'a GraphProto, into: &mut Vec<&'a str>) {
    let defined: NameSet<&str> = defined_outside_nodes(graph)
        .chain(graph.node.iter().flat_map(|node| &node.output).map(String::as_str))
        .collect();
    let read = graph.node.iter().flat_map(reads).chain(graph.output.iter().map(|output| output.name.as_str()));
    into.extend(read.filter(|name| !defined.contains(name)));
}

/// Inputs and constants of a graph.
fn defined_outside_nodes(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    graph
        .input
        .iter()
        .map(|input| input.name.as_str())
        .chain(graph.initializer.iter().chain(sparse).map(|tensor| tensor.name.as_str()))
}

/// Every name a graph uses for a value or a node, subgraphs included: what a new name must differ from.
pub fn used_names(graph: &GraphProto) -> HashSet<String> {
    let mut names = HashSet::new();
    each_used_name(graph, &mut |name| {
        names.insert(name.to_owned());
    });
    names
}

/// Those of [`used_names`] that begin with `start`.
pub(crate) fn used_names_from<'a>(graph: &'a GraphProto, start: &str) -> NameSet<&'a str> {
    let mut names = NameSet::default();
    each_used_name(graph, &mut |name| {
        if name.starts_with(start) {
            names.insert(name);
        }
    });
    names
}

fn each_used_name<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a str)) {
    defined_outside_nodes(graph).for_each(&mut *visit);
    for node in &graph.node {
        node.output.iter().chain([&node.name]).for_each(|name| visit(name));
        subgraphs(node).for_each(|graph| each_used_name(graph, visit));
    }
}

/// Puts the nodes in topological order, keeping the file's order wherever it is one already.
///
/// # Errors
/// A value made twice, a value nobody makes, a cycle.
pub(crate) fn sort(graph: &mut GraphProto) -> Result<()> {
    let mut producer: NameMap<&str, usize> = NameMap::default();
    for (at, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if producer.insert(output, at).is_some() {
                return Err(Error::Malformed(format!("two nodes make the value `{output}`")));
            }
        }
    }
    let given: NameSet<&str> = defined_outside_nodes(graph).collect();
    if let Some(twice) = defined_outside_nodes(graph).find(|name| producer.contains_key(name)) {
        return Err(Error::Malformed(format!("`{twice}` is given and made by a node")));
    }
    let mut waiting = vec![0usize; graph.node.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    let mut sorted = true;
    for (at, node) in graph.node.iter().enumerate() {
        for name in each_read(node) {
            match producer.get(name) {
                Some(&from) => {
                    readers[from].push(at);
                    waiting[at] += 1;
                    sorted &= from < at;
                }
                None if given.contains(name) => {}
                None => {
                    let problem = format!("node `{}` reads `{name}`, which nothing makes", label(node));
                    return Err(Error::Malformed(problem));
                }
            }
        }
    }
    for output in &graph.output {
        if !producer.contains_key(output.name.as_str()) && !given.contains(output.name.as_str()) {
            return Err(Error::Malformed(format!("nothing makes the output `{}`", output.name)));
        }
    }
    if sorted {
        return Ok(());
    }
    let mut ready: VecDeque<usize> = (0..waiting.len()).filter(|&at| waiting[at] == 0).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(at) = ready.pop_front() {
        order.push(at);
        for &reader in &readers[at] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push_back(reader);
            }
        }
    }
    if order.len() < graph.node.len() {
        return Err(Error::Malformed("the nodes form a cycle".into()));
    }
    let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|at| nodes[at].take()).collect();
    Ok(())
}

/// The part of a graph that computes `outputs` from `inputs` and constants, with nothing it doesn't need.
///
/// A name in `inputs` that a node makes becomes a true input: what made it is cut off. Types of the new inputs and outputs
/// are filled in where the graph states them.
///
/// # Errors
/// A name that the graph doesn't have.
pub fn cut(graph: &GraphProto, inputs: &[&str], outputs: &[&str]) -> Result<GraphProto> {
    let index = Index::new(graph);
    let stop: NameSet<&str> = inputs.iter().copied().collect();
    let mut needed = vec![false; graph.node.len()];
    let mut seen: NameSet<&str> = NameSet::default();
    let mut todo: Vec<&str> = outputs.to_vec();
    while let Some(name) = todo.pop() {
        if !seen.insert(name) || stop.contains(name) {
            continue;
        }
        match index.producer(name) {
            Some(at) => {
                if !std::mem::replace(&mut needed[at], true) {
                    todo.extend(each_read(&graph.node[at]));
                }
            }
            None if index.is_given(name) => {}
            None => return Err(Error::UnknownValue(name.to_owned())),
        }
    }
    let info = |name: &str| index.info(name).cloned().unwrap_or_else(|| crate::types::value_info(name, None));
    // The model's own inputs that are still needed stay inputs even where the caller didn't name them.
    let own = graph.input.iter().map(|input| input.name.as_str()).filter(|name| seen.contains(name));
    let mut all_inputs: Vec<&str> = inputs.to_vec();
    all_inputs.extend(own.filter(|name| !stop.contains(name)));
    Ok(GraphProto {
        name: graph.name.clone(),
        node: graph.node.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(node, _)| node.clone()).collect(),
        initializer: graph
            .initializer
            .iter()
            .filter(|tensor| seen.contains(tensor.name.as_str()) && !stop.contains(tensor.name.as_str()))
            .cloned()
            .collect(),
        sparse_initializer: graph
            .sparse_initializer
            .iter()
            .filter(|sparse| sparse.values.as_ref().is_some_and(|values| seen.contains(values.name.as_str())))
            .cloned()
            .collect(),
        input: all_inputs.into_iter().map(info).collect(),
        output: outputs.iter().map(|name| info(name)).collect(),
        value_info: graph.value_info.iter().filter(|info| seen.contains(info.name.as_str())).cloned().collect(),
        ..Default::default()
    })
}

/// One graph that does what two did: `second` reads what `first` makes, by name.
///
/// Inputs of `second` that `first` makes are wired; nodes and constants both have (they are then the same) appear once. The
/// outputs are `first`'s, then `second`'s.
pub fn splice(first: &GraphProto, second: &GraphProto) -> GraphProto {
    let mut joint = first.clone();
    let mut made: NameSet<&str> = defined_outside_nodes(first).collect();
    made.extend(first.node.iter().flat_map(|node| &node.output).map(String::as_str));
    let is_new = |name: &str| !made.contains(name);
    joint.input.extend(second.input.iter().filter(|input| is_new(&input.name)).cloned());
    joint.initializer.extend(second.initializer.iter().filter(|tensor| is_new(&tensor.name)).cloned());
    let sparse_is_new = |values: Option<&crate::proto::TensorProto>| values.is_some_and(|values| is_new(&values.name));
    let sparse = second.sparse_initializer.iter().filter(|sparse| sparse_is_new(sparse.values.as_ref()));
    joint.sparse_initializer.extend(sparse.cloned());
    let makes_new = |node: &&NodeProto| node.output.iter().any(|output| !output.is_empty() && is_new(output));
    joint.node.extend(second.node.iter().filter(makes_new).cloned());
    joint.value_info.extend(second.value_info.iter().filter(|info| is_new(&info.name)).cloned());
    let listed: NameSet<&str> = first.output.iter().map(|output| output.name.as_str()).collect();
    joint.output.extend(second.output.iter().filter(|output| !listed.contains(output.name.as_str())).cloned());
    joint
}
