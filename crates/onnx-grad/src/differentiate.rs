//! The reverse sweep: from a model to its forward and its backward graph.

use crate::{
    builder::{Builder, EMITTED_OPSET, Val},
    error::{Error, Result, UnsupportedNode},
    flow::{self, Flow, Leak, Masks},
    foreign::{self, ForeignRules, NoForeignRules},
    graph::{self, Index, label},
    model::{Model, same_domain},
    narrow::{Padded, narrow},
    partition,
    proto::{GraphProto, NodeProto},
    quantised,
    recognise::recognise,
    registry::{self, Discrete, Entry, Grad, Kind},
    sound,
    swap::Swap,
    types::{KnownTypes, Types},
    upgrade,
    vjp::{Kept, Vjp},
};

/// What to differentiate.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The outputs whose seeds start the backward pass: any float values of the graph.
    pub outputs: &'a [&'a str],
    /// The values whose gradients are wanted: layers, or the model's own inputs.
    pub wrt: &'a [&'a str],
    /// Types of values, beyond those that the file states. Upgrading an old model can add values: if you find types by running
    /// the model, call [`crate::upgrade`] first.
    pub types: &'a Types,
}

/// A model split into a forward and a backward pass.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// The model with the differentiated outputs, the layers and the saved values as further outputs.
    pub forward: Model,
    /// Computes the gradients from the saved values and the seeds.
    pub backward: Model,
    /// The original's outputs and the differentiated values, each once.
    pub outputs: Vec<String>,
    /// What [`Gradient::backward`] takes besides the seeds: outputs or inputs of [`Gradient::forward`].
    pub saved: Vec<String>,
    /// Each differentiated output with the name of its seed, `seed.NAME`: an input of the same shape as the output. Where the model has a
    /// value of that name, a number follows it; the same goes for gradients.
    pub seeds: Vec<(String, String)>,
    /// Each value of `wrt` with the name of its gradient, `grad.NAME`: an output of the same shape as the value. `None` if no
    /// output depends on the value, so that its gradient is zero.
    pub gradients: Vec<(String, Option<String>)>,
    /// The nodes that round and were differentiated as if they didn't: the straight-through estimator. In the order of the graph.
    pub straight_through: Vec<String>,
    /// The nodes at which part of the gradient is not followed, as in the framework that their operator is from: the regions of `RoiAlign`.
    /// In the order of the graph.
    pub stopped: Vec<String>,
    /// How many nodes another rule than the registry's was taken for: see [`crate::swap`].
    pub swapped: usize,
}

impl Gradient {
    /// Both passes as one model. Its inputs are the original's and the seeds; its outputs are the original's, the differentiated
    /// values and the gradients.
    ///
    /// # Errors
    /// None for a [`Gradient`] that [`differentiate`] returned.
    pub fn fuse(&self) -> Result<Model> {
        let joint = graph::splice(self.forward.graph(), self.backward.graph());
        let gradients = self.gradients.iter().filter_map(|(_, gradient)| gradient.as_deref());
        let outputs: Vec<&str> = self.outputs.iter().map(String::as_str).chain(gradients).collect();
        // Every input stays, read or not: callers feed what the model documents.
        let inputs: Vec<&str> = joint.input.iter().map(|input| input.name.as_str()).collect();
        let fused = graph::cut(&joint, &inputs, &outputs)?;
        Ok(self.forward.with_graph(fused))
    }
}

/// Differentiates `request.outputs` with respect to `request.wrt`.
///
/// A model older than opset 18 is upgraded first. All emitted nodes are of the standard domain. The same model and request always give
/// the same bytes.
///
/// # Errors
/// [`Error::UnknownValue`]; [`Error::NotDifferentiable`] with every node that has no gradient.
pub fn differentiate(model: &Model, request: &Request<'_>) -> Result<Gradient> {
    differentiate_with(model, request, &NoForeignRules)
}

/// As [`differentiate`], with rules for operators that [`registry`] does not have.
///
/// # Errors
/// Those of [`differentiate`].
pub fn differentiate_with(model: &Model, request: &Request<'_>, foreign: &dyn ForeignRules) -> Result<Gradient> {
    swapped(model, request, foreign, (None, Masks::Told))
}

/// As [`differentiate_with`], for a model that is itself a gradient, to have a second one: what it multiplies cotangents with, where a first
/// derivative jumps, is flat almost everywhere. In another model such numbers are refused where weights read them, as they carry what was
/// seen.
///
/// # Errors
/// Those of [`differentiate`].
pub fn differentiate_again(model: &Model, request: &Request<'_>, foreign: &dyn ForeignRules) -> Result<Gradient> {
    swapped(model, request, foreign, (None, Masks::Flat))
}

/// As [`differentiate_with`], with a table that comes before the registry's.
pub(crate) fn swapped(
    model: &Model,
    request: &Request<'_>,
    foreign: &dyn ForeignRules,
    (swap, masks): (Option<&'static Swap>, Masks),
) -> Result<Gradient> {
    let model = upgrade::upgraded(model, EMITTED_OPSET)?;
    let graph = model.graph();
    let index = Index::new(graph);
    for name in request.outputs.iter().chain(request.wrt) {
        if index.producer(name).is_none() && !index.is_given(name) {
            return Err(Error::UnknownValue((*name).to_owned()));
        }
    }
    let types = KnownTypes::new(graph, request.types);
    let taken = [SCOPE, "seed."].map(|start| graph::used_names_from(graph, start));
    let mut builder = Builder::avoiding(taken.into_iter().flatten());
    // The sweep sees quantised operators spelled out on floats, and spelled-out functions as one node each; the forward pass stays
    // as it is written.
    let floats = quantised::spelled_out(graph, &index, &types, (request.outputs, request.wrt), &mut builder);
    builder.set_scope(SCOPE);
    let floats = floats.as_ref().map(|graph| (graph, Index::new(graph), KnownTypes::new(graph, request.types)));
    let (graph, index, types) = match &floats {
        Some((floats, index, types)) => (*floats, index, types),
        None => (graph, &index, &types),
    };
    let keep = request.outputs.iter().chain(request.wrt).copied();
    let keep = keep.chain(graph.output.iter().map(|output| output.name.as_str())).collect();
    let recognised = recognise(graph, index, &keep).map(|node| GraphProto { node, ..graph.clone() });
    let recognised = recognised.as_ref().map(|graph| (graph, Index::new(graph)));
    let (seen, seen_index) = recognised.as_ref().map_or((graph, index), |(graph, index)| (*graph, index));
    let mut sweep = Sweep::new(&model, seen, seen_index, types, request, foreign, (builder, masks));
    sweep.swap = swap;
    sweep.run(request)?;
    let mut gradients = Vec::new();
    for name in request.wrt {
        gradients.push(((*name).to_owned(), seen_index.number(name).and_then(|value| sweep.total(value))));
    }
    let Sweep { mut builder, mut kept, seeds, padded, mut straight_through, mut stopped, swapped, .. } = sweep;
    straight_through.reverse();
    straight_through.dedup();
    stopped.reverse();
    let wanted = gradients.iter().filter_map(|(_, gradient)| gradient.as_ref());
    narrow(&mut builder, &mut kept, (seen_index, types), &padded, wanted);
    let joint = partition::Joint { builder, kept, seeds, gradients };
    let index = Index::new(model.graph());
    let gradient = partition::partition(&model, &index, types, joint)?;
    Ok(Gradient { straight_through, stopped, swapped, ..gradient })
}

/// Refuses an answer without the gradient of an input that it was asked for: a rule may know only some of them.
fn complete(node: &NodeProto, needs: &[bool], gradients: Vec<Grad>) -> Result<Vec<Grad>, String> {
    let mut missing = node.input.iter().zip(needs).zip(&gradients);
    match missing.find(|((_, needed), gradient)| **needed && **gradient == Grad::NotNeeded) {
        Some(((name, _), _)) => Err(format!("its gradient with respect to the input `{name}` has no rule")),
        None => Ok(gradients),
    }
}

/// What the name of everything emitted begins with.
pub(crate) const SCOPE: &str = "grad";

struct Sweep<'a> {
    model: &'a Model,
    graph: &'a GraphProto,
    index: &'a Index<'a>,
    types: &'a KnownTypes<'a>,
    foreign: &'a dyn ForeignRules,
    /// Rules that come before the registry's.
    swap: Option<&'static Swap>,
    /// How many nodes these were of.
    swapped: usize,
    flow: Flow<'a>,
    /// Those that reached each value, by number.
    cotangents: Vec<Vec<Val>>,
    builder: Builder,
    kept: Kept,
    seeds: Vec<(String, String)>,
    /// The gradients that may be zero outside of a part.
    padded: Vec<Padded>,
    obstacles: Vec<UnsupportedNode>,
    /// The nodes whose rounding was passed by, last first.
    straight_through: Vec<String>,
    /// The nodes that don't hand the gradient on to all of their inputs, last first.
    stopped: Vec<String>,
}

impl<'a> Sweep<'a> {
    fn new(
        model: &'a Model,
        graph: &'a GraphProto,
        index: &'a Index<'a>,
        types: &'a KnownTypes<'a>,
        request: &Request<'a>,
        foreign: &'a dyn ForeignRules,
        (builder, masks): (Builder, Masks),
    ) -> Self {
        Self {
            model,
            graph,
            index,
            types,
            foreign,
            swap: None,
            swapped: 0,
            flow: Flow::new(model, (graph, index), types, request.wrt, masks),
            cotangents: vec![Vec::new(); index.len()],
            builder,
            kept: Kept::default(),
            seeds: Vec::new(),
            padded: Vec::new(),
            obstacles: Vec::new(),
            straight_through: Vec::new(),
            stopped: Vec::new(),
        }
    }

    fn is_stop(&self, node: &NodeProto) -> bool {
        let opset = self.model.opset(&node.domain).unwrap_or(1);
        let entry = registry::lookup(&node.domain, &node.op_type, opset);
        entry.is_some_and(|entry| matches!(entry.kind, Kind::Stop(_)))
    }

    fn run(&mut self, request: &Request<'a>) -> Result<()> {
        for name in request.outputs {
            let seed = self.builder.unused(&format!("seed.{name}"));
            if let Some(value) = self.index.number(name) {
                if self.flow.active(value) {
                    self.cotangents[value].push(Val::new(&seed));
                }
                self.flow.lost(value).into_iter().for_each(|leak| self.refuse(&leak));
            }
            self.seeds.push(((*name).to_owned(), seed));
        }
        for at in (0..self.graph.node.len()).rev() {
            if self.index.made_by(at).iter().any(|&value| !self.cotangents[value].is_empty()) {
                self.node(at)?;
            }
        }
        if self.obstacles.is_empty() {
            return Ok(());
        }
        self.obstacles.reverse();
        Err(Error::NotDifferentiable(std::mem::take(&mut self.obstacles)))
    }

    /// The sum of all cotangents that reached a value.
    fn total(&mut self, value: usize) -> Option<Val> {
        let terms = &mut self.cotangents[value];
        let sum = self.builder.sum(terms)?;
        terms.truncate(1);
        terms[0] = sum.clone();
        Some(sum)
    }

    fn node(&mut self, at: usize) -> Result<()> {
        let (node, index) = (&self.graph.node[at], self.index);
        let read = index.read_by(at);
        let needs: Vec<bool> = read[..node.input.len()].iter().map(|&value| self.flow.active(value)).collect();
        if !read.iter().any(|&value| self.flow.active(value)) || self.is_stop(node) {
            return Ok(());
        }
        for leak in self.flow.leaks(at) {
            self.refuse(&leak);
        }
        self.builder.set_scope(format!("{SCOPE}/{}", label(node)));
        let cotangents: Vec<Option<Val>> = index.made_by(at).iter().map(|&value| self.total(value)).collect();
        let opset = self.model.opset(&node.domain).unwrap_or(1);
        let swapped = self.swap.and_then(|swap| swap.lookup(&node.domain, &node.op_type, opset));
        self.swapped += usize::from(swapped.is_some());
        let entry = swapped.or_else(|| registry::lookup(&node.domain, &node.op_type, opset));
        let rule = entry.map(|entry| entry.kind);
        let opsets = (opset, self.model.opset("").unwrap_or(EMITTED_OPSET));
        let mut vjp = Vjp {
            g: &mut self.builder,
            node,
            index,
            types: self.types,
            cotangents: &cotangents,
            needs: &needs,
            kept: &mut self.kept,
        };
        if matches!(rule, Some(Kind::Through(_))) {
            self.straight_through.push(label(node).to_owned());
        }
        let answer = sound::check(node, self.types).and_then(|()| match rule {
            Some(Kind::Rule(rule) | Kind::Through(rule)) => rule(&mut vjp),
            _ => foreign::gradient(&mut vjp, opsets, self.foreign),
        });
        let answer =
            answer.map_err(|unsupported| unsupported.0).and_then(|gradients| complete(node, &needs, gradients));
        match answer {
            Ok(gradients) => self.accept(at, &needs, gradients),
            Err(reason) => {
                self.obstacle(at, reason);
                self.pass_through(at, &needs);
                Ok(())
            }
        }
    }

    fn obstacle(&mut self, at: usize, reason: String) {
        let node = &self.graph.node[at];
        self.obstacles.push(UnsupportedNode {
            node: label(node).to_owned(),
            op: node.op_type.clone(),
            domain: node.domain.clone(),
            opset: self.model.original_opset(&node.domain).or_else(|| self.model.opset(&node.domain)).unwrap_or(1),
            reason,
        });
    }

    /// Notes a node through which only part of the gradient would come.
    fn refuse(&mut self, leak: &Leak) {
        let node = &self.graph.node[leak.at];
        if self.obstacles.iter().any(|obstacle| obstacle.node == label(node)) {
            return;
        }
        let what = match registry::lookup(&node.domain, &node.op_type, self.model.opset(&node.domain).unwrap_or(1)) {
            Some(Entry { kind: Kind::Stop(Discrete::Place), .. }) => "places that it finds",
            _ if matches!(&*node.op_type, "TopK" | "MaxPool" | "Unique") => "places that it finds",
            Some(Entry { kind: Kind::Stop(_), .. }) => "numbers in steps that it makes",
            Some(_) if flow::has_weights(node) => "yes and no that it weighs",
            Some(_) => "integers that it makes",
            None => "numbers without a gradient that it makes",
        };
        let into = match leak.into {
            Some(into) => format!("`{}` computes with them", label(&self.graph.node[into])),
            None => "they are what is differentiated".to_owned(),
        };
        self.obstacle(
            leak.at,
            format!("the {what} have no gradient, and {into}: part of the gradient would be missing"),
        );
    }

    fn accept(&mut self, at: usize, needs: &[bool], gradients: Vec<Grad>) -> Result<()> {
        let node = &self.graph.node[at];
        let broken =
            |reason: String| Error::BrokenRule { op: node.op_type.clone(), node: label(node).to_owned(), reason };
        if gradients.len() != node.input.len() {
            return Err(broken(format!("{} gradients for {} inputs", gradients.len(), node.input.len())));
        }
        for ((&input, needed), gradient) in self.index.read_by(at).iter().zip(needs).zip(gradients) {
            match gradient {
                Grad::Of(value) if *needed => {
                    self.note_padded(node, input, &value);
                    self.cotangents[input].push(value);
                }
                Grad::Stopped if *needed => self.stopped.push(label(node).to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    fn note_padded(&mut self, node: &NodeProto, input: usize, gradient: &Val) {
        let takes_a_part = matches!(&*node.op_type, "Gather" | "Slice") && same_domain(&node.domain, "");
        let shape = self.types.get(self.index.name_of(input)).filter(|_| takes_a_part).and_then(|ty| ty.shape.clone());
        self.padded.extend(shape.map(|dims| Padded { gradient: gradient.clone(), dims }));
    }

    /// Marks the inputs of a node without a rule as reached, so that the nodes before it are looked at too and every obstacle
    /// is named at once. What is emitted from here on is thrown away.
    fn pass_through(&mut self, at: usize, needs: &[bool]) {
        let marker = Val::new(&self.graph.node[at].output[0]);
        for (&input, _) in self.index.read_by(at).iter().zip(needs).filter(|(_, needed)| **needed) {
            self.cotangents[input].push(marker.clone());
        }
    }
}
