//! Splits the joint graph of model and gradient nodes into a forward and a backward graph.
//!
//! The backward graph holds every emitted node that the gradients need, except those that rules asked to be hoisted: these run in
//! the forward pass. What the backward graph reads from the forward pass is *saved*: it becomes an output of the one and an input
//! of the other. Constants are never saved: initializers, integers that are the same in every run, and nodes that compute from these alone,
//! are copied. (A runtime folds such nodes, and not every one can cope with an output that it has folded.)

use std::collections::HashSet;

use crate::{
    builder::{Builder, Val},
    differentiate::Gradient,
    error::{Error, Result},
    graph::{Index, NameMap, NameSet, each_read},
    model::Model,
    proto::{GraphProto, NodeProto, TensorProto},
    types::{KnownTypes, value_info},
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
    let mut values = Values::new(&nodes, &constants, index);
    let wanted: Vec<usize> = gradients.iter().filter_map(|g| Some(values.number(g.output.as_deref()?))).collect();
    let hoisted: Vec<usize> = kept.hoisted.iter().map(|name| values.number(name)).collect();
    let seed_values: Vec<usize> = seeds.iter().map(|(_, seed)| values.number(seed)).collect();
    let places = values.places(&wanted, &hoisted);

    let mut forward = model.graph().clone();
    values.add_kept_outputs(&mut forward, &kept, &places);
    forward.initializer.extend(values.constants_read(Place::Forward, &places));
    let mut backward = GraphProto { name: "backward".into(), ..Default::default() };
    backward.initializer = values.constants_read(Place::Backward, &places);
    let Connected { initializers, copies, saved } = values.connect(&places, &seed_values, model.graph(), types);
    backward.initializer.extend(initializers);
    let mut at = places.iter();
    let hoisted = nodes.extract_if(.., |_| at.next() != Some(&Place::Backward));
    let mut at = places.iter().filter(|&&place| place != Place::Backward);
    forward.node.extend(hoisted.filter(|_| at.next() == Some(&Place::Forward)));
    backward.node = nodes;
    backward.node.splice(..0, copies);

    let mut listed: NameSet<&str> = model.graph().output.iter().map(|output| output.name.as_str()).collect();
    let mut outputs: Vec<String> = forward.output.iter().map(|output| output.name.clone()).collect();
    for (name, _) in &seeds {
        if listed.insert(name) {
            outputs.push(name.clone());
            forward.output.push(value_info(name, types.get(name)));
        }
    }
    let type_of = |name: &str| types.get(name).or_else(|| kept.types.get(name));
    let wrt = gradients.iter().map(|gradient| gradient.wrt.as_str());
    for name in wrt.chain(saved.iter().map(String::as_str)) {
        let is_given = index.is_given(name);
        if !is_given && listed.insert(name) {
            forward.output.push(value_info(name, type_of(name)));
        }
    }
    drop_unread_floats(&mut forward);
    // A runtime infers outputs, but takes no input of unknown type.
    let mut read = seeds.iter().map(|(name, _)| name).chain(&saved);
    if let Some(untyped) = read.find(|name| type_of(name).is_none()) {
        return Err(Error::Untyped(untyped.clone()));
    }
    let info = |name: &str, like: &str| value_info(name, type_of(like));
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
        straight_through: Vec::new(),
        stopped: Vec::new(),
        swapped: 0,
    })
}

/// Leaves out what dequantises a value that nobody reads as floats: layers nobody asked for.
fn drop_unread_floats(forward: &mut GraphProto) {
    if !forward.node.iter().any(|node| node.op_type == "DequantizeLinear") {
        return;
    }
    let mut read: HashSet<String> = forward.node.iter().flat_map(each_read).map(str::to_owned).collect();
    read.extend(forward.output.iter().map(|output| output.name.clone()));
    forward
        .node
        .retain(|node| node.op_type != "DequantizeLinear" || node.output.iter().any(|made| read.contains(made)));
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
        let output = value.as_ref().map(|_| builder.unused(&format!("grad.{wrt}")));
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

/// Where an emitted node runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// No wanted gradient needs it.
    Nowhere,
    Forward,
    Backward,
}

/// The values of the joint graph by number: those of the model's index, then those that only emitted nodes know.
struct Values<'a> {
    index: &'a Index<'a>,
    numbers: NameMap<&'a str, usize>,
    new: Vec<New<'a>>,
    /// The numbers of what each emitted node reads, node after node.
    read: Vec<usize>,
    /// Where each node's part of `read` ends.
    ends: Vec<usize>,
}

/// A value that the model doesn't have.
struct New<'a> {
    name: &'a str,
    /// The position of the emitted node that makes it.
    maker: Option<usize>,
    constant: Option<&'a TensorProto>,
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

impl<'a> Values<'a> {
    fn new(nodes: &'a [NodeProto], constants: &'a [TensorProto], index: &'a Index<'a>) -> Self {
        let mut numbers = NameMap::default();
        numbers.reserve(nodes.len() + constants.len());
        let (new, read, ends) = (Vec::with_capacity(nodes.len()), Vec::new(), Vec::new());
        let mut values = Self { index, numbers, new, read, ends };
        for (at, node) in nodes.iter().enumerate() {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                values.add(New { name, maker: Some(at), constant: None });
            }
        }
        for constant in constants {
            values.add(New { name: &constant.name, maker: None, constant: Some(constant) });
        }
        for node in nodes {
            for name in each_read(node) {
                let number = values.number(name);
                values.read.push(number);
            }
            values.ends.push(values.read.len());
        }
        values
    }

    fn add(&mut self, value: New<'a>) -> usize {
        let number = self.index.len() + self.new.len();
        self.numbers.insert(value.name, number);
        self.new.push(value);
        number
    }

    /// The number of a value, a new one where it has none.
    fn number(&mut self, name: &'a str) -> usize {
        let known = self.numbers.get(name).copied().or_else(|| self.index.number(name));
        known.unwrap_or_else(|| self.add(New { name, maker: None, constant: None }))
    }

    fn new_value(&self, number: usize) -> Option<&New<'a>> {
        self.new.get(number.checked_sub(self.index.len())?)
    }

    fn maker(&self, number: usize) -> Option<usize> {
        self.new_value(number)?.maker
    }

    fn flags(&self) -> Vec<bool> {
        vec![false; self.index.len() + self.new.len()]
    }

    fn read_by(&self, at: usize) -> &[usize] {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.read[begin..self.ends[at]]
    }

    /// What the nodes at a place read.
    fn read_at(&self, place: Place, places: &[Place]) -> impl Iterator<Item = usize> {
        let nodes = places.iter().enumerate().filter(move |(_, at)| **at == place);
        nodes.flat_map(|(at, _)| self.read_by(at).iter().copied())
    }

    /// Where each emitted node runs: back, what the wanted gradients need; of that forward, the hoisted values with all they need.
    fn places(&self, wanted: &[usize], hoisted: &[usize]) -> Vec<Place> {
        let mut places = vec![Place::Nowhere; self.ends.len()];
        let mut spread = |from: &[usize], only: Place, to: Place| {
            for at in from.iter().filter_map(|&value| self.maker(value)) {
                if places[at] == only {
                    places[at] = to;
                }
            }
            for at in (0..self.ends.len()).rev() {
                if places[at] == to {
                    self.read_by(at).iter().filter_map(|&value| self.maker(value)).for_each(|at| places[at] = to);
                }
            }
        };
        spread(wanted, Place::Nowhere, Place::Backward);
        spread(hoisted, Place::Backward, Place::Forward);
        places
    }

    /// Writes the names of optional outputs that rules asked for into the forward nodes.
    fn add_kept_outputs(&self, forward: &mut GraphProto, kept: &Kept, places: &[Place]) {
        if kept.outputs.is_empty() {
            return;
        }
        let mut read = self.flags();
        self.read_at(Place::Backward, places).for_each(|value| read[value] = true);
        let is_read = |name: &str| self.numbers.get(name).is_some_and(|&value| read[value]);
        // In no particular order: each has a place of its own.
        for (node, outputs) in &kept.outputs {
            let Some(position) = self.index.producer(node) else { continue };
            for (at, name) in outputs.iter().filter(|(_, name)| is_read(name)) {
                let outputs = &mut forward.node[position].output;
                if outputs.len() <= *at {
                    outputs.resize(at + 1, String::new());
                }
                outputs[*at] = name.clone();
            }
        }
    }

    /// The emitted constants that the nodes at a place read, in that order.
    fn constants_read(&self, place: Place, places: &[Place]) -> Vec<TensorProto> {
        let mut seen = self.flags();
        let read = self.read_at(place, places).filter(|&value| !std::mem::replace(&mut seen[value], true));
        read.filter_map(|value| self.new_value(value)?.constant.cloned()).collect()
    }

    /// Finds in the model what the backward nodes read, except the seeds.
    fn connect(&self, places: &[Place], seeds: &[usize], model: &GraphProto, types: &KnownTypes<'_>) -> Connected {
        let constant = constant_nodes(model, self.index, types);
        let mut copied = vec![false; model.node.len()];
        let (mut initializers, mut saved) = (Vec::new(), Vec::new());
        let mut defined = self.flags();
        seeds.iter().for_each(|&value| defined[value] = true);
        for (value, defined) in self.new.iter().zip(&mut defined[self.index.len()..]) {
            *defined |= value.constant.is_some() || value.maker.is_some_and(|at| places[at] == Place::Backward);
        }
        let mut todo = Vec::new();
        for value in self.read_at(Place::Backward, places) {
            todo.push(value);
            while let Some(value) = todo.pop() {
                if std::mem::replace(&mut defined[value], true) {
                    continue;
                }
                if let Some(new) = self.new_value(value) {
                    saved.push(new.name.to_owned());
                    continue;
                }
                if let Some(tensor) = self.index.initializer_of(value) {
                    initializers.push(tensor.clone());
                    continue;
                }
                let known = types.constant(self.index.name_of(value));
                match self.index.producer_of(value) {
                    Some(_) if known.is_some() => initializers.extend(known),
                    Some(at) if constant[at] => {
                        copied[at] = true;
                        self.index.made_by(at).iter().for_each(|&value| defined[value] = true);
                        todo.extend(
                            self.index.read_by(at).iter().filter(|&&value| !self.index.name_of(value).is_empty()),
                        );
                    }
                    _ => saved.push(self.index.name_of(value).to_owned()),
                }
            }
        }
        let copies = model.node.iter().zip(&copied).filter(|(_, copied)| **copied).map(|(node, _)| node.clone());
        Connected { initializers, copies: copies.collect(), saved }
    }
}

/// Which nodes of the model compute from constants alone (and are not random).
fn constant_nodes(model: &GraphProto, index: &Index<'_>, types: &KnownTypes<'_>) -> Vec<bool> {
    let mut constant = vec![false; model.node.len()];
    for (at, node) in model.node.iter().enumerate() {
        let random = node.op_type.starts_with("Random") || matches!(&*node.op_type, "Bernoulli" | "Multinomial");
        let is_constant = |&value: &usize| {
            index.initializer_of(value).is_some()
                || index.producer_of(value).is_some_and(|maker| constant[maker])
                || index.name_of(value).is_empty()
                || index.producer_of(value).is_some() && types.constant(index.name_of(value)).is_some()
        };
        constant[at] = !random && index.read_by(at).iter().all(is_constant);
    }
    constant
}
