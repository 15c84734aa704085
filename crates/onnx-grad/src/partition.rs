//! Splits the joint graph of model and gradient nodes into a forward and a backward graph.
//!
//! The backward graph holds every emitted node that the gradients need, except those that rules asked to be hoisted: these run in
//! the forward pass. What the backward graph reads from the forward pass is *saved*: it becomes an output of the one and an input
//! of the other. Constants are never saved: initializers, and nodes that compute from initializers alone, are copied.

use std::borrow::Cow;

use crate::{
    builder::{Builder, Val},
    differentiate::Gradient,
    error::{Error, Result},
    graph::{Index, NameMap, NameSet, each_read},
    model::Model,
    proto::{GraphProto, NodeProto, TensorProto},
    types::{KnownTypes, ValueType, value_info},
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

pub(crate) fn partition(model: &Model, index: &Index<'_>, types: &KnownTypes<'_>, joint: Joint) -> Result<Gradient> {
    let Joint { mut builder, kept, seeds, gradients } = joint;
    let gradients = name_gradients(&mut builder, gradients);
    let (mut nodes, constants) = builder.into_parts();
    rename(&mut nodes, &gradients);
    let makers = makers(&nodes);
    let wanted = gradients.iter().filter_map(|gradient| gradient.output.as_deref());
    let places = places(&nodes, &makers, wanted, &kept.hoisted);
    let at = |place| nodes.iter().zip(&places).filter(move |(_, at)| **at == place).map(|(node, _)| node);
    let constants: NameMap<&str, &TensorProto> = constants.iter().map(|c| (c.name.as_str(), c)).collect();

    let mut forward = model.graph().clone();
    add_kept_outputs(&mut forward, &kept, index, at(Place::Backward));
    forward.initializer.extend(used_constants(at(Place::Forward), &constants));

    let mut backward = GraphProto { name: "backward".into(), ..Default::default() };
    backward.initializer = used_constants(at(Place::Backward), &constants);
    let mut defined: NameSet<&str> = seeds.iter().map(|(_, seed)| seed.as_str()).collect();
    defined.extend(constants.keys());
    let read = at(Place::Backward).flat_map(each_read);
    let read = read.filter(|name| makers.get(name).is_none_or(|&maker| places[maker] != Place::Backward));
    let Connected { initializers, copies, saved } = connect(read, defined, model.graph(), index);
    backward.initializer.extend(initializers);
    backward.node = copies;
    for (node, place) in nodes.into_iter().zip(places) {
        match place {
            Place::Nowhere => {}
            Place::Forward => forward.node.push(node),
            Place::Backward => backward.node.push(node),
        }
    }

    let mut listed: NameSet<&str> = model.graph().output.iter().map(|output| output.name.as_str()).collect();
    let mut outputs: Vec<String> = forward.output.iter().map(|output| output.name.clone()).collect();
    for (name, _) in &seeds {
        if listed.insert(name) {
            outputs.push(name.clone());
            forward.output.push(value_info(name, types.get(name)));
        }
    }
    let kept_type = |name: &str| kept.types.get(name).map(|&elem| ValueType { elem, shape: None });
    let type_of = |name: &str| types.get(name).map(Cow::Borrowed).or_else(|| kept_type(name).map(Cow::Owned));
    let wrt = gradients.iter().map(|gradient| gradient.wrt.as_str());
    for name in wrt.chain(saved.iter().map(String::as_str)) {
        let is_given = index.is_given(name);
        if !is_given && listed.insert(name) {
            forward.output.push(value_info(name, type_of(name).as_deref()));
        }
    }
    // A runtime infers outputs, but takes no input of unknown type.
    let mut read = seeds.iter().map(|(name, _)| name).chain(&saved);
    if let Some(untyped) = read.find(|name| type_of(name).is_none()) {
        return Err(Error::Untyped(untyped.clone()));
    }
    let info = |name: &str, like: &str| value_info(name, type_of(like).as_deref());
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
    let mut owned: NameSet<Val> = NameSet::default();
    let values: NameSet<&str> = gradients.iter().filter_map(|(_, value)| Some(value.as_ref()?.name())).collect();
    let outputs = builder.nodes().iter().flat_map(|node| &node.output);
    let made: NameSet<Val> = outputs.filter(|name| values.contains(name.as_str())).map(|name| Val::new(name)).collect();
    builder.set_scope("grad");
    let mut named = Vec::new();
    for (wrt, value) in gradients {
        let value = value.map(|value| {
            if made.contains(&value) && owned.insert(value.clone()) {
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

fn rename(nodes: &mut [NodeProto], gradients: &[Named]) {
    let names: NameMap<&str, &str> = gradients
        .iter()
        .filter_map(|gradient| Some((gradient.value.as_ref()?.name(), gradient.output.as_deref()?)))
        .collect();
    for name in nodes.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
        if let Some(new) = names.get(name.as_str()) {
            *name = (*new).to_owned();
        }
    }
}

/// The position of the emitted node that makes each value.
fn makers(nodes: &[NodeProto]) -> NameMap<&str, usize> {
    let mut makers = NameMap::default();
    makers.reserve(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        makers.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), at)));
    }
    makers
}

/// Where an emitted node runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// No wanted gradient needs it.
    Nowhere,
    Forward,
    Backward,
}

/// Where each emitted node runs: back, what the wanted gradients need; of that forward, the hoisted ones with all they need.
fn places<'a>(
    nodes: &[NodeProto],
    makers: &NameMap<&str, usize>,
    wanted: impl Iterator<Item = &'a str>,
    hoisted: &[String],
) -> Vec<Place> {
    let mut places = vec![Place::Nowhere; nodes.len()];
    let live = wanted.filter_map(|name| makers.get(name));
    live.for_each(|&at| places[at] = Place::Backward);
    for (at, node) in nodes.iter().enumerate().rev() {
        if places[at] == Place::Backward {
            let needed = each_read(node).filter_map(|name| makers.get(name));
            needed.for_each(|&at| places[at] = Place::Backward);
        }
    }
    let forward = hoisted.iter().filter_map(|name| makers.get(name.as_str()));
    let forward: Vec<usize> = forward.copied().filter(|&at| places[at] == Place::Backward).collect();
    forward.into_iter().for_each(|at| places[at] = Place::Forward);
    for (at, node) in nodes.iter().enumerate().rev() {
        if places[at] == Place::Forward {
            let needed = each_read(node).filter_map(|name| makers.get(name));
            needed.for_each(|&at| places[at] = Place::Forward);
        }
    }
    places
}

/// Writes the names of optional outputs that rules asked for into the forward nodes.
fn add_kept_outputs<'a>(
    forward: &mut GraphProto,
    kept: &Kept,
    index: &Index<'_>,
    back: impl Iterator<Item = &'a NodeProto>,
) {
    if kept.outputs.is_empty() {
        return;
    }
    let read: NameSet<&str> = back.flat_map(each_read).collect();
    // In no particular order: each has a place of its own.
    for (node, outputs) in &kept.outputs {
        let Some(position) = index.producer(node) else { continue };
        for (at, name) in outputs.iter().filter(|(_, name)| read.contains(name.as_str())) {
            let outputs = &mut forward.node[position].output;
            if outputs.len() <= *at {
                outputs.resize(at + 1, String::new());
            }
            outputs[*at] = name.clone();
        }
    }
}

/// The constants that nodes read, in that order.
fn used_constants<'a>(
    nodes: impl Iterator<Item = &'a NodeProto>,
    constants: &NameMap<&str, &TensorProto>,
) -> Vec<TensorProto> {
    let mut seen = NameSet::default();
    let used = nodes.flat_map(each_read).filter_map(|name| constants.get(name));
    used.filter(|constant| seen.insert(constant.name.as_str())).map(|constant| (*constant).clone()).collect()
}

/// Where the backward graph has from what it reads but does not compute.
struct Connected {
    /// Constants of the model.
    initializers: Vec<TensorProto>,
    /// Nodes of the model that compute from constants alone.
    copies: Vec<NodeProto>,
    /// The rest: the values to be saved.
    saved: Vec<String>,
}

/// Finds everything that is `read` in the model, except what is `defined` otherwise.
fn connect<'a>(
    read: impl Iterator<Item = &'a str>,
    mut defined: NameSet<&'a str>,
    model: &'a GraphProto,
    index: &Index<'_>,
) -> Connected {
    let constant = constant_nodes(model, index);
    let mut copied = vec![false; model.node.len()];
    let (mut initializers, mut saved) = (Vec::new(), Vec::new());
    let mut todo: Vec<&str> = Vec::new();
    for name in read {
        todo.push(name);
        while let Some(name) = todo.pop() {
            if !defined.insert(name) {
                continue;
            }
            if let Some(tensor) = index.initializer(name) {
                initializers.push(tensor.clone());
                continue;
            }
            match index.producer(name) {
                Some(at) if constant[at] => {
                    copied[at] = true;
                    let node = &model.node[at];
                    defined.extend(node.output.iter().map(String::as_str));
                    todo.extend(each_read(node));
                }
                _ => saved.push(name.to_owned()),
            }
        }
    }
    let copies = model.node.iter().zip(&copied).filter(|(_, copied)| **copied).map(|(node, _)| node.clone()).collect();
    Connected { initializers, copies, saved }
}

/// Which nodes of the model compute from constants alone (and are not random).
fn constant_nodes(model: &GraphProto, index: &Index<'_>) -> Vec<bool> {
    let mut constant = vec![false; model.node.len()];
    for (at, node) in model.node.iter().enumerate() {
        let random = node.op_type.starts_with("Random") || matches!(&*node.op_type, "Bernoulli" | "Multinomial");
        let is_constant =
            |name: &str| index.initializer(name).is_some() || index.producer(name).is_some_and(|maker| constant[maker]);
        constant[at] = !random && each_read(node).all(is_constant);
    }
    constant
}
