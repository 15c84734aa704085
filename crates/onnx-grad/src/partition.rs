//! Splits the joint graph of model and gradient nodes into a forward and a backward graph.
//!
//! The backward graph holds every emitted node that the gradients need, except those that rules asked to be hoisted: these run in
//! the forward pass. What the backward graph reads from the forward pass is *saved*: it becomes an output of the one and an input
//! of the other. Constants are never saved: initializers, and nodes that compute from initializers alone, are copied.

use std::collections::{HashMap, HashSet};

use crate::{
    builder::{Builder, Val},
    differentiate::Gradient,
    error::{Error, Result},
    graph::{Index, reads},
    model::Model,
    proto::{GraphProto, NodeProto, TensorProto},
    types::{Types, ValueType, value_info},
    vjp::Kept,
};

/// What the reverse sweep leaves.
pub(crate) struct Joint {
    pub(crate) builder: Builder,
    pub(crate) kept: Kept,
    pub(crate) seeds: Vec<(String, String)>,
    /// Each wanted value with its cotangent.
    pub(crate) gradients: Vec<(String, Option<Val>)>,
}

pub(crate) fn partition(model: &Model, index: &Index<'_>, types: &Types, joint: Joint) -> Result<Gradient> {
    let Joint { mut builder, kept, seeds, gradients } = joint;
    let gradients = name_gradients(&mut builder, gradients);
    let (nodes, constants) = builder.into_parts();
    let nodes = rename(nodes, &gradients);
    let wanted: Vec<&str> = gradients.iter().filter_map(|gradient| gradient.output.as_deref()).collect();
    let live = live_nodes(&nodes, &wanted);
    let (hoisted, back): (Vec<&NodeProto>, Vec<&NodeProto>) = split(&nodes, &live, &kept.hoisted);
    let constants: HashMap<&str, &TensorProto> = constants.iter().map(|c| (c.name.as_str(), c)).collect();

    let mut forward = model.graph().clone();
    add_kept_outputs(&mut forward, &kept, index, &back);
    forward.node.extend(hoisted.iter().map(|node| (*node).clone()));
    forward.initializer.extend(used_constants(&hoisted, &constants));

    let mut backward = GraphProto { name: "backward".into(), ..Default::default() };
    backward.node = back.iter().map(|node| (*node).clone()).collect();
    backward.initializer.extend(used_constants(&back, &constants));
    let seed_names: HashSet<&str> = seeds.iter().map(|(_, seed)| seed.as_str()).collect();
    let saved = connect(&mut backward, model.graph(), index, &seed_names);

    let mut listed: HashSet<String> = forward.output.iter().map(|output| output.name.clone()).collect();
    let mut outputs: Vec<String> = forward.output.iter().map(|output| output.name.clone()).collect();
    for (name, _) in &seeds {
        if listed.insert(name.clone()) {
            outputs.push(name.clone());
            forward.output.push(value_info(name, types.get(name)));
        }
    }
    let kept_type = |name: &str| kept.types.get(name).map(|&elem| ValueType { elem, shape: None });
    let type_of = |name: &str| types.get(name).cloned().or_else(|| kept_type(name));
    let wrt = gradients.iter().map(|gradient| gradient.wrt.as_str());
    for name in wrt.chain(saved.iter().map(String::as_str)) {
        let is_given = index.is_given(name);
        if !is_given && listed.insert(name.to_owned()) {
            forward.output.push(value_info(name, type_of(name).as_ref()));
        }
    }
    // A runtime infers outputs, but takes no input of unknown type.
    let mut read = seeds.iter().map(|(name, _)| name).chain(&saved);
    if let Some(untyped) = read.find(|name| type_of(name).is_none()) {
        return Err(Error::Untyped(untyped.clone()));
    }
    let info = |name: &str, like: &str| value_info(name, type_of(like).as_ref());
    backward.input = seeds.iter().map(|(name, seed)| info(seed, name)).collect();
    backward.input.extend(saved.iter().map(|name| info(name, name)));
    backward.output = gradients
        .iter()
        .filter_map(|gradient| gradient.output.as_ref().map(|output| info(output, &gradient.wrt)))
        .collect();
    Ok(Gradient {
        forward: model.with_graph(forward),
        backward: model.with_graph(backward),
        outputs,
        saved,
        seeds,
        gradients: gradients.into_iter().map(|gradient| (gradient.wrt, gradient.output)).collect(),
    })
}

/// One wanted gradient: of `wrt`, computed as `value`, to be called `output`.
struct Named {
    wrt: String,
    value: Option<Val>,
    output: Option<String>,
}

/// Gives each gradient a value of its own: one that two wanted values share, or a bare seed, goes through an `Identity`.
fn name_gradients(builder: &mut Builder, gradients: Vec<(String, Option<Val>)>) -> Vec<Named> {
    let mut owned: HashSet<Val> = HashSet::new();
    let made: HashSet<String> = builder.nodes().iter().flat_map(|node| node.output.iter().cloned()).collect();
    builder.set_scope("grad");
    let mut named = Vec::new();
    for (wrt, value) in gradients {
        let value = value.map(|value| {
            if made.contains(value.name()) && owned.insert(value.clone()) {
                return value;
            }
            // A second Identity of the same value would be the first one again; the name attribute keeps them apart.
            let copy = Val::new(&builder.fresh(&format!("identity.{wrt}")));
            builder.push(NodeProto {
                op_type: "Identity".into(),
                name: copy.name().to_owned(),
                input: vec![value.name().to_owned()],
                output: vec![copy.name().to_owned()],
                ..Default::default()
            });
            copy
        });
        let output = value.as_ref().map(|_| format!("grad.{wrt}"));
        named.push(Named { wrt, value, output });
    }
    named
}

fn rename(mut nodes: Vec<NodeProto>, gradients: &[Named]) -> Vec<NodeProto> {
    let names: HashMap<&str, &str> = gradients
        .iter()
        .filter_map(|gradient| Some((gradient.value.as_ref()?.name(), gradient.output.as_deref()?)))
        .collect();
    for name in nodes.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
        if let Some(new) = names.get(name.as_str()) {
            *name = (*new).to_owned();
        }
    }
    nodes
}

/// Which emitted nodes the wanted gradients need.
fn live_nodes(nodes: &[NodeProto], wanted: &[&str]) -> Vec<bool> {
    let mut needed: HashSet<&str> = wanted.iter().copied().collect();
    let mut live = vec![false; nodes.len()];
    for (at, node) in nodes.iter().enumerate().rev() {
        live[at] = node.output.iter().any(|output| needed.contains(output.as_str()));
        if live[at] {
            needed.extend(reads(node));
        }
    }
    live
}

/// The live nodes that go forward (hoisted ones, with all they need) and those that go back.
fn split<'a>(nodes: &'a [NodeProto], live: &[bool], hoisted: &'a [String]) -> (Vec<&'a NodeProto>, Vec<&'a NodeProto>) {
    let mut needed: HashSet<&str> = hoisted.iter().map(String::as_str).collect();
    let mut forward = vec![false; nodes.len()];
    for (at, node) in nodes.iter().enumerate().rev().filter(|(at, _)| live[*at]) {
        forward[at] = node.output.iter().any(|output| needed.contains(output.as_str()));
        if forward[at] {
            needed.extend(reads(node));
        }
    }
    let pick = |side: bool| {
        let chosen = nodes.iter().enumerate().filter(|(at, _)| live[*at] && forward[*at] == side);
        chosen.map(|(_, node)| node).collect::<Vec<_>>()
    };
    (pick(true), pick(false))
}

/// Writes the names of optional outputs that rules asked for into the forward nodes.
fn add_kept_outputs(forward: &mut GraphProto, kept: &Kept, index: &Index<'_>, back: &[&NodeProto]) {
    let read: HashSet<&str> = back.iter().flat_map(|node| reads(node)).collect();
    for (node, at, name) in kept.outputs.iter().filter(|(_, _, name)| read.contains(name.as_str())) {
        if let Some(position) = index.producer(node) {
            let outputs = &mut forward.node[position].output;
            if outputs.len() <= *at {
                outputs.resize(at + 1, String::new());
            }
            outputs[*at] = name.clone();
        }
    }
}

fn used_constants(nodes: &[&NodeProto], constants: &HashMap<&str, &TensorProto>) -> Vec<TensorProto> {
    let mut seen = HashSet::new();
    let names = nodes.iter().flat_map(|node| reads(node)).filter(|name| seen.insert(name.to_owned()));
    names.filter_map(|name| constants.get(name).map(|constant| (*constant).clone())).collect()
}

/// Gives the backward graph the constants it reads, copies the nodes that compute from constants alone, and lists the rest: the
/// values to be saved.
fn connect(backward: &mut GraphProto, model: &GraphProto, index: &Index<'_>, seeds: &HashSet<&str>) -> Vec<String> {
    let mut defined: HashSet<String> = backward.node.iter().flat_map(|node| node.output.iter().cloned()).collect();
    defined.extend(backward.initializer.iter().map(|tensor| tensor.name.clone()));
    defined.extend(seeds.iter().map(|seed| (*seed).to_owned()));
    let constant = constant_nodes(model);
    let mut copied = vec![false; model.node.len()];
    let mut saved = Vec::new();
    let mut todo: Vec<String> = backward.node.iter().flat_map(|node| reads(node)).map(str::to_owned).collect();
    todo.reverse();
    while let Some(name) = todo.pop() {
        if !defined.insert(name.clone()) {
            continue;
        }
        if let Some(tensor) = index.initializer(&name) {
            backward.initializer.push(tensor.clone());
            continue;
        }
        match index.producer(&name) {
            Some(at) if constant[at] => {
                copied[at] = true;
                let node = &model.node[at];
                defined.extend(node.output.iter().cloned());
                todo.extend(reads(node).into_iter().map(str::to_owned));
            }
            _ => saved.push(name),
        }
    }
    let copies = model.node.iter().zip(&copied).filter(|(_, copied)| **copied).map(|(node, _)| node.clone());
    let own = std::mem::take(&mut backward.node);
    backward.node = copies.chain(own).collect();
    saved
}

/// Which nodes of the model compute from constants alone (and are not random).
fn constant_nodes(model: &GraphProto) -> Vec<bool> {
    let mut constant: HashSet<&str> = model.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    model
        .node
        .iter()
        .map(|node| {
            let random = node.op_type.starts_with("Random") || matches!(&*node.op_type, "Bernoulli" | "Multinomial");
            let is = !random && reads(node).iter().all(|name| constant.contains(name));
            if is {
                constant.extend(node.output.iter().map(String::as_str));
            }
            is
        })
        .collect()
}
