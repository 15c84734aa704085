//! The reverse sweep: from a model to its forward and its backward graph.

use crate::{
    builder::{Builder, EMITTED_OPSET, Val},
    error::{Error, Obstacle, Result},
    foreign::{self, ForeignRules, NoForeignRules},
    graph::{self, Index, NameMap, NameSet, each_read, label},
    model::Model,
    partition,
    proto::{GraphProto, NodeProto},
    registry::{self, Grad, Kind},
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
    /// What is known of the values' types, beyond what the file states. Upgrading an old model can add values: whoever types
    /// values by running the model does so after [`crate::upgrade`].
    pub types: &'a Types,
}

/// A model split into a pass forward and a pass back.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// The model with the differentiated outputs, the layers and the saved values as further outputs.
    pub forward: Model,
    /// From the saved values and the seeds to the gradients.
    pub backward: Model,
    /// The original's outputs and the differentiated values, each once.
    pub outputs: Vec<String>,
    /// What [`Gradient::backward`] takes besides the seeds: outputs or inputs of [`Gradient::forward`].
    pub saved: Vec<String>,
    /// Each differentiated output with the name of its seed, `seed.NAME`: an input of the output's own shape.
    pub seeds: Vec<(String, String)>,
    /// Each value asked for with the name of its gradient, `grad.NAME`: an output of the value's own shape. `None` where no
    /// output depends on the value: the gradient is zero.
    pub gradients: Vec<(String, Option<String>)>,
}

impl Gradient {
    /// Both passes as one model: the original's inputs and the seeds in; the original's outputs, the differentiated values
    /// and the gradients out.
    ///
    /// # Errors
    /// None for a gradient that [`differentiate`] made.
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
/// The model is first brought to opset 18 if it is older; the emitted nodes are all of the standard domain. The result is the
/// same, byte for byte, for the same model and request.
///
/// # Errors
/// An unknown value; [`Error::NotDifferentiable`] with every node in the way.
pub fn differentiate(model: &Model, request: &Request<'_>) -> Result<Gradient> {
    differentiate_with(model, request, &NoForeignRules)
}

/// As [`differentiate`]; operators that [`registry`] has no row for are looked up in `foreign`.
///
/// # Errors
/// Those of [`differentiate`].
pub fn differentiate_with(model: &Model, request: &Request<'_>, foreign: &dyn ForeignRules) -> Result<Gradient> {
    let model = upgrade::upgraded(model, EMITTED_OPSET)?;
    let graph = model.graph();
    let index = Index::new(graph);
    for name in request.outputs.iter().chain(request.wrt) {
        if index.producer(name).is_none() && !index.is_given(name) {
            return Err(Error::UnknownValue((*name).to_owned()));
        }
    }
    let types = KnownTypes::new(graph, request.types);
    let mut sweep = Sweep::new(&model, &index, &types, request, foreign);
    sweep.run(request)?;
    let mut gradients = Vec::new();
    for name in request.wrt {
        gradients.push(((*name).to_owned(), sweep.total(name)));
    }
    let Sweep { builder, kept, seeds, .. } = sweep;
    let joint = partition::Joint { builder, kept, seeds, gradients };
    partition::partition(&model, &index, &types, joint)
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
const SCOPE: &str = "grad";

struct Sweep<'a> {
    model: &'a Model,
    graph: &'a GraphProto,
    index: &'a Index<'a>,
    types: &'a KnownTypes<'a>,
    foreign: &'a dyn ForeignRules,
    /// Values that a wanted value leads to by differentiable steps.
    active: NameSet<&'a str>,
    cotangents: NameMap<&'a str, Vec<Val>>,
    builder: Builder,
    kept: Kept,
    seeds: Vec<(String, String)>,
    obstacles: Vec<Obstacle>,
}

impl<'a> Sweep<'a> {
    fn new(
        model: &'a Model,
        index: &'a Index<'a>,
        types: &'a KnownTypes<'a>,
        request: &Request<'a>,
        foreign: &'a dyn ForeignRules,
    ) -> Self {
        let graph = model.graph();
        let mut builder = Builder::avoiding(graph::used_names_from(graph, SCOPE));
        builder.set_scope(SCOPE);
        let mut sweep = Self {
            model,
            graph,
            index,
            types,
            foreign,
            active: NameSet::default(),
            cotangents: NameMap::default(),
            builder,
            kept: Kept::default(),
            seeds: Vec::new(),
            obstacles: Vec::new(),
        };
        sweep.active = sweep.reach(request.wrt);
        sweep
    }

    /// Everything that depends on `from` through floats and operators that carry gradients (or that nobody knows).
    fn reach(&self, from: &[&'a str]) -> NameSet<&'a str> {
        let mut active: NameSet<&str> = from.iter().copied().collect();
        for node in &self.graph.node {
            if !each_read(node).any(|name| active.contains(name)) || self.is_stop(node) {
                continue;
            }
            active.extend(node.output.iter().map(String::as_str).filter(|name| self.may_be_float(name)));
        }
        active
    }

    fn is_stop(&self, node: &NodeProto) -> bool {
        let opset = self.model.opset(&node.domain).unwrap_or(1);
        let entry = registry::lookup(&node.domain, &node.op_type, opset);
        entry.is_some_and(|entry| matches!(entry.kind, Kind::Stop))
    }

    fn may_be_float(&self, name: &str) -> bool {
        !name.is_empty() && self.types.get(name).is_none_or(|ty| ty.elem.is_float())
    }

    fn run(&mut self, request: &Request<'a>) -> Result<()> {
        for name in request.outputs {
            let seed = format!("seed.{name}");
            self.builder.input(&seed);
            if self.active.contains(name) {
                self.cotangents.entry(name).or_default().push(Val::new(&seed));
            }
            self.seeds.push(((*name).to_owned(), seed));
        }
        let nodes: &'a [NodeProto] = &self.graph.node;
        for node in nodes.iter().rev() {
            if node.output.iter().any(|output| self.cotangents.contains_key(output.as_str())) {
                self.node(node)?;
            }
        }
        if self.obstacles.is_empty() {
            return Ok(());
        }
        self.obstacles.reverse();
        Err(Error::NotDifferentiable(std::mem::take(&mut self.obstacles)))
    }

    /// The sum of all cotangents that reached a value.
    fn total(&mut self, name: &str) -> Option<Val> {
        let terms = self.cotangents.get_mut(name)?;
        let sum = self.builder.sum(terms)?;
        terms.truncate(1);
        terms[0] = sum.clone();
        Some(sum)
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<()> {
        let needs: Vec<bool> = node.input.iter().map(|name| self.active.contains(name.as_str())).collect();
        if !each_read(node).any(|name| self.active.contains(name)) || self.is_stop(node) {
            return Ok(());
        }
        self.builder.set_scope(format!("{SCOPE}/{}", label(node)));
        let cotangents: Vec<Option<Val>> = node.output.iter().map(|name| self.total(name)).collect();
        let opset = self.model.opset(&node.domain).unwrap_or(1);
        let rule = registry::lookup(&node.domain, &node.op_type, opset).map(|entry| entry.kind);
        let opsets = (opset, self.model.opset("").unwrap_or(EMITTED_OPSET));
        let mut vjp = Vjp {
            g: &mut self.builder,
            node,
            index: self.index,
            types: self.types,
            cotangents: &cotangents,
            needs: &needs,
            kept: &mut self.kept,
        };
        let answer = match rule {
            Some(Kind::Rule(rule)) => rule(&mut vjp),
            _ => foreign::gradient(&mut vjp, opsets, self.foreign),
        };
        let answer =
            answer.map_err(|unsupported| unsupported.0).and_then(|gradients| complete(node, &needs, gradients));
        match answer {
            Ok(gradients) => self.accept(node, &needs, gradients),
            Err(reason) => {
                self.obstacles.push(Obstacle {
                    node: label(node).to_owned(),
                    op: node.op_type.clone(),
                    domain: node.domain.clone(),
                    opset: self.model.original_opset(&node.domain).unwrap_or(opset),
                    reason,
                });
                self.pass_through(node, &needs);
                Ok(())
            }
        }
    }

    fn accept(&mut self, node: &'a NodeProto, needs: &[bool], gradients: Vec<Grad>) -> Result<()> {
        let broken =
            |reason: String| Error::BrokenRule { op: node.op_type.clone(), node: label(node).to_owned(), reason };
        if gradients.len() != node.input.len() {
            return Err(broken(format!("{} gradients for {} inputs", gradients.len(), node.input.len())));
        }
        for ((name, needed), gradient) in node.input.iter().zip(needs).zip(gradients) {
            match gradient {
                Grad::Of(value) if *needed => self.cotangents.entry(name).or_default().push(value),
                _ => {}
            }
        }
        Ok(())
    }

    /// Marks the inputs of a node without a rule as reached, so that the nodes before it are looked at too and every obstacle
    /// is named at once. What is emitted from here on is thrown away.
    fn pass_through(&mut self, node: &'a NodeProto, needs: &[bool]) {
        let marker = Val::new(&node.output[0]);
        for (name, _) in node.input.iter().zip(needs).filter(|(_, needed)| **needed) {
            self.cotangents.entry(name).or_default().push(marker.clone());
        }
    }
}
