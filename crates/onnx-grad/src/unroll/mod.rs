//! Unrolls `If`, `Loop` and `Scan` if their condition or trip count is known at the chosen input size: the taken branch, or the body once
//! for each iteration, replaces the node. Only then can they be differentiated.

mod known;

use std::collections::HashMap;

use crate::{
    attr,
    error::{Error, Result},
    graph::{FreshNames, label, subgraphs, used_names_from},
    model::{Model, same_domain},
    proto::{GraphProto, NodeProto, TensorProto},
    types::Types,
};
use known::Known;

/// More iterations of one loop than any model of images has.
const MOST_ITERATIONS: i64 = 4096;
/// More nodes than a runtime loads in reasonable time.
const MOST_NODES: usize = 500_000;

/// The model with every `If`, `Loop` and `Scan` taken apart whose condition or trip count is known; `None` where there is none.
///
/// The new values have no types yet: whoever types values by running the model does so again, and then calls this again, since
/// the types may tell more. (Models older than opset 18 are upgraded first: see [`crate::upgrade`].)
///
/// # Errors
/// A loop of more iterations, or bodies of more nodes, than a gradient could be made of; a malformed node.
pub fn unroll(model: &Model, types: &Types) -> Result<Option<Model>> {
    if !model.graph().node.iter().any(is_control) {
        return Ok(None);
    }
    let mut model = model.clone();
    let graph = model.graph_mut();
    let mut taken = FreshNames::default();
    used_names_from(graph, "").into_iter().for_each(|name| taken.take(name));
    let nodes = std::mem::take(&mut graph.node);
    let mut unroller = Unroller {
        taken,
        known: Known::new(graph, types),
        nodes: Vec::new(),
        initializers: Vec::new(),
        iterations: 0,
        changed: false,
    };
    for node in nodes {
        unroller.node(node)?;
    }
    let Unroller { nodes, mut initializers, changed, .. } = unroller;
    graph.node = nodes;
    graph.initializer.append(&mut initializers);
    Ok(changed.then_some(model))
}

/// Why a node was left as it is, for messages.
pub(crate) fn obstacle(op: &str) -> String {
    match op {
        "If" => "which branch it takes is not known at this input size".into(),
        _ => "how often it runs is not known at this input size".into(),
    }
}

fn is_control(node: &NodeProto) -> bool {
    matches!(&*node.op_type, "If" | "Loop" | "Scan") && same_domain(&node.domain, "")
}

/// Inner names with the names that take their place.
type Names = HashMap<String, String>;

struct Unroller<'a> {
    taken: FreshNames,
    known: Known<'a>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// Of all loops together: those of nested loops multiply, also where their bodies have no nodes.
    iterations: usize,
    changed: bool,
}

impl Unroller<'_> {
    fn node(&mut self, node: NodeProto) -> Result<()> {
        if self.nodes.len() > MOST_NODES {
            return Err(too_large(&node, &format!("and its iterations are more than {MOST_NODES} nodes")));
        }
        let done = is_control(&node)
            && match &*node.op_type {
                "If" => self.branch(&node)?,
                "Loop" => self.repeat(&node)?,
                _ => self.scan(&node)?,
            };
        if done {
            self.changed = true;
        } else {
            subgraphs(&node).try_for_each(|graph| refuse_endless(graph, &mut self.known))?;
            self.known.add(&node);
            self.nodes.push(node);
        }
        Ok(())
    }

    fn branch(&mut self, node: &NodeProto) -> Result<bool> {
        let condition = node.input.first().and_then(|name| self.known.ints(name));
        let Some(&[condition]) = condition.as_deref() else { return Ok(false) };
        let body = body(node, if condition != 0 { "then_branch" } else { "else_branch" })?;
        let mut names = self.constants(node, body);
        let results = self.body(node, body, &mut names)?;
        for (output, result) in node.output.iter().zip(&results).filter(|(output, _)| !output.is_empty()) {
            self.alias(node, result, output)?;
        }
        Ok(true)
    }

    /// Whether a `Loop` was unrolled; one whose end isn't known leaves no trace.
    fn repeat(&mut self, node: &NodeProto) -> Result<bool> {
        let body = body(node, "body")?;
        let given = |at: usize| node.input.get(at).filter(|name| !name.is_empty());
        let limit = match given(0) {
            Some(name) => match self.known.ints(name).as_deref() {
                Some(&[limit]) => Some(limit),
                _ => return Ok(false),
            },
            None => None,
        };
        refuse_endless_loop(node, body, &self.known)?;
        let mut condition = given(1).cloned();
        let mut states: Vec<String> = node.input.iter().skip(2).cloned().collect();
        if body.input.len() != states.len() + 2 || body.output.len() < states.len() + 1 {
            return Err(malformed(node, "its body doesn't fit its inputs"));
        }
        let scanned = body.output.len() - 1 - states.len();
        let mut sequences: Vec<Vec<String>> = vec![Vec::new(); scanned];
        let before = (self.nodes.len(), self.initializers.len());
        let constants = self.constants(node, body);
        let mut at = 0;
        while limit.is_none_or(|limit| at < limit) {
            let goes_on = match &condition {
                None => Some(true),
                Some(name) => self.known.ints(name).map(|value| value.first().is_some_and(|&value| value != 0)),
            };
            match goes_on {
                Some(true) => {}
                Some(false) => break,
                None => {
                    self.nodes.truncate(before.0);
                    self.initializers.truncate(before.1);
                    return Ok(false);
                }
            }
            if at >= MOST_ITERATIONS {
                return Err(too_long(node));
            }
            self.iterate(node)?;
            let mut names = constants.clone();
            let number = self.integer(node, "iteration", at);
            names.insert(body.input[0].name.clone(), number);
            let truth = match &condition {
                Some(name) => name.clone(),
                None => self.truth(node),
            };
            names.insert(body.input[1].name.clone(), truth);
            let formals = body.input.iter().skip(2).map(|input| input.name.clone());
            names.extend(formals.zip(states.iter().cloned()));
            let mut results = self.body(node, body, &mut names)?.into_iter();
            // Without a condition to begin with, the one that the body gives still counts.
            condition = results.next();
            states = results.by_ref().take(states.len()).collect();
            sequences.iter_mut().zip(results).for_each(|(sequence, value)| sequence.push(value));
            at += 1;
        }
        for (output, state) in node.output.iter().zip(&states).filter(|(output, _)| !output.is_empty()) {
            self.alias(node, state, output)?;
        }
        let rest = node.output.iter().skip(states.len());
        for (output, sequence) in rest.zip(&sequences).filter(|(output, _)| !output.is_empty()) {
            self.stack(node, sequence, 0, output)?;
        }
        Ok(true)
    }

    fn scan(&mut self, node: &NodeProto) -> Result<bool> {
        let body = body(node, "body")?;
        let scanned = node.attr_int("num_scan_inputs").and_then(|count| usize::try_from(count).ok());
        let states = scanned.and_then(|scanned| node.input.len().checked_sub(scanned));
        let Some(kept) = states else {
            return Err(malformed(node, "its num_scan_inputs don't fit its inputs"));
        };
        if body.input.len() != node.input.len() || body.output.len() < kept || body.output.len() < node.output.len() {
            return Err(malformed(node, "its body doesn't fit its inputs"));
        }
        let list = |name: &str, at: usize| node.attr_ints(name).and_then(|list| list.get(at)).copied().unwrap_or(0);
        let inputs = &node.input[kept..];
        let Some(ranks) = inputs.iter().map(|name| self.known.rank(name)).collect::<Option<Vec<usize>>>() else {
            return Ok(false);
        };
        let axis = |at: usize| {
            let axis = list("scan_input_axes", at);
            if axis < 0 { axis + ranks[at] as i64 } else { axis }
        };
        let first = inputs.first().and_then(|name| self.known.size(name, usize::try_from(axis(0)).ok()?));
        let Some(length) = first.map(|length| length as i64) else { return Ok(false) };
        if length > MOST_ITERATIONS {
            return Err(too_long(node));
        }
        let mut states: Vec<String> = node.input[..kept].to_vec();
        let mut sequences: Vec<Vec<String>> = vec![Vec::new(); body.output.len() - kept];
        let constants = self.constants(node, body);
        for at in 0..length {
            self.iterate(node)?;
            let mut names = constants.clone();
            names.extend(body.input.iter().map(|input| input.name.clone()).zip(states.iter().cloned()));
            for (i, input) in inputs.iter().enumerate() {
                let place = if list("scan_input_directions", i) == 1 { length - 1 - at } else { at };
                let place = self.integer(node, "place", place);
                let attributes = vec![attr::int("axis", axis(i))];
                let part = self.helper(node, "Gather", vec![input.clone(), place], attributes, None)?;
                names.insert(body.input[kept + i].name.clone(), part);
            }
            let mut results = self.body(node, body, &mut names)?.into_iter();
            states = results.by_ref().take(kept).collect();
            sequences.iter_mut().zip(results).for_each(|(sequence, value)| sequence.push(value));
        }
        for (output, state) in node.output.iter().zip(&states).filter(|(output, _)| !output.is_empty()) {
            self.alias(node, state, output)?;
        }
        for (i, sequence) in sequences.iter_mut().enumerate() {
            if list("scan_output_directions", i) == 1 {
                sequence.reverse();
            }
            if let Some(output) = node.output.get(kept + i).filter(|output| !output.is_empty()) {
                self.stack(node, sequence, list("scan_output_axes", i), output)?;
            }
        }
        Ok(true)
    }

    fn iterate(&mut self, node: &NodeProto) -> Result<()> {
        self.iterations += 1;
        if self.iterations <= MOST_NODES {
            return Ok(());
        }
        Err(too_large(node, &format!("and the loops around it run more than {MOST_NODES} times")))
    }

    /// Puts a body's constants among the graph's own; their names.
    fn constants(&mut self, node: &NodeProto, body: &GraphProto) -> Names {
        let mut names = Names::new();
        for tensor in &body.initializer {
            let name = self.fresh(label(node), &tensor.name);
            names.insert(tensor.name.clone(), name.clone());
            self.constant(TensorProto { name, ..tensor.clone() });
        }
        names
    }

    /// Emits a body; the names of its outputs.
    fn body(&mut self, call: &NodeProto, body: &GraphProto, names: &mut Names) -> Result<Vec<String>> {
        for node in &body.node {
            let mut node = node.clone();
            node.name = self.fresh(label(call), label(&node));
            if node.metadata_props.is_empty() {
                node.metadata_props = call.metadata_props.clone();
            }
            self.rename(label(call), &mut node, names);
            self.node(node)?;
        }
        let outer = |name: &String| names.get(name).unwrap_or(name).clone();
        Ok(body.output.iter().map(|output| outer(&output.name)).collect())
    }

    /// Gives a body's node the names of this copy of the body. What is inside of its subgraphs stays as it is until they are taken apart
    /// themselves: renamed on every level, names would grow twice as long with each.
    fn rename(&mut self, prefix: &str, node: &mut NodeProto, names: &mut Names) {
        for input in &mut node.input {
            if let Some(name) = names.get(input.as_str()) {
                *input = name.clone();
            }
        }
        for graph in subgraphs_mut(node) {
            rename_captured(graph, names);
        }
        for output in node.output.iter_mut().filter(|output| !output.is_empty()) {
            let name = self.fresh(prefix, output);
            names.insert(std::mem::replace(output, name.clone()), name);
        }
    }

    // ---- small nodes and constants ----

    fn alias(&mut self, node: &NodeProto, value: &str, output: &str) -> Result<()> {
        self.helper(node, "Identity", vec![value.to_owned()], vec![], Some(output)).map(drop)
    }

    /// The values of all iterations side by side, along a new axis.
    fn stack(&mut self, node: &NodeProto, values: &[String], axis: i64, output: &str) -> Result<()> {
        if values.is_empty() {
            return Err(malformed(node, "it runs no iteration, and so has an empty output"));
        }
        let axes = self.fresh(label(node), "axes");
        self.constant(TensorProto::ints(axes.clone(), &[1], &[axis]));
        let mut parts = Vec::new();
        for value in values {
            parts.push(self.helper(node, "Unsqueeze", vec![value.clone(), axes.clone()], vec![], None)?);
        }
        self.helper(node, "Concat", parts, vec![attr::int("axis", axis)], Some(output)).map(drop)
    }

    fn helper(
        &mut self,
        node: &NodeProto,
        op: &str,
        input: Vec<String>,
        attribute: Vec<crate::proto::AttributeProto>,
        output: Option<&str>,
    ) -> Result<String> {
        let name = self.fresh(label(node), op);
        let output = output.unwrap_or(&name).to_owned();
        let metadata_props = node.metadata_props.clone();
        let outputs = vec![output.clone()];
        let made = NodeProto {
            op_type: op.into(),
            name,
            input,
            output: outputs,
            attribute,
            metadata_props,
            ..Default::default()
        };
        self.node(made)?;
        Ok(output)
    }

    fn integer(&mut self, node: &NodeProto, what: &str, value: i64) -> String {
        let name = self.fresh(label(node), what);
        self.constant(TensorProto::ints(name.clone(), &[], &[value]));
        name
    }

    fn truth(&mut self, node: &NodeProto) -> String {
        let name = self.fresh(label(node), "true");
        self.constant(TensorProto::raw(name.clone(), crate::ElemType::Bool, &[], vec![1].into()));
        name
    }

    fn constant(&mut self, tensor: TensorProto) {
        self.known.add_constant(&tensor);
        self.initializers.push(tensor);
    }

    fn fresh(&mut self, prefix: &str, name: &str) -> String {
        self.taken.give(&format!("{prefix}/{name}"))
    }
}

/// Refuses the loops in a graph that stays as it is, if they are known to run too often: whoever runs the model to see its values'
/// types would wait for them.
fn refuse_endless(graph: &GraphProto, known: &mut Known<'_>) -> Result<()> {
    graph.initializer.iter().for_each(|tensor| known.add_constant(tensor));
    for node in &graph.node {
        if is_control(node) && node.op_type == "Loop" {
            refuse_endless_loop(node, body(node, "body")?, known)?;
        }
        subgraphs(node).try_for_each(|graph| refuse_endless(graph, known))?;
        known.add(node);
    }
    Ok(())
}

/// Refuses a loop whose trip count is known to be too large and whose condition is never anything but true.
fn refuse_endless_loop(node: &NodeProto, body: &GraphProto, known: &Known<'_>) -> Result<()> {
    let given = |at: usize| node.input.get(at).filter(|name| !name.is_empty());
    let limit = match given(0) {
        None => i64::MAX,
        Some(name) => match known.ints(name).as_deref() {
            Some(&[limit]) => limit,
            _ => return Ok(()),
        },
    };
    let is_true = |name: &String| known.ints(name).as_deref() == Some(&[1]);
    if limit <= MOST_ITERATIONS || !given(1).is_none_or(is_true) {
        return Ok(());
    }
    // What the body answers: its own condition handed through, or a constant.
    let Some(answer) = body.output.first().map(|output| &output.name) else { return Ok(()) };
    let handed = |name: &String| body.input.get(1).is_some_and(|condition| condition.name == *name);
    let constant = |tensor: &TensorProto| tensor.to_ints().is_ok_and(|ints| ints == [1]);
    let made = body.node.iter().find(|node| node.output.contains(answer));
    let goes_on = match made {
        Some(made) if made.op_type == "Identity" => made.input.first().is_some_and(handed),
        Some(made) => made.op_type == "Constant" && made.attr_tensor("value").is_some_and(constant),
        None => handed(answer) || body.initializer.iter().any(|tensor| tensor.name == *answer && constant(tensor)),
    };
    if goes_on { Err(too_long(node)) } else { Ok(()) }
}

fn too_long(node: &NodeProto) -> Error {
    too_large(node, &format!("runs more than {MOST_ITERATIONS} times"))
}

fn too_large(node: &NodeProto, what: &str) -> Error {
    Error::TooLarge(format!("{} `{}` {what}", node.op_type, label(node)))
}

fn subgraphs_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    let attributes = node.attribute.iter_mut();
    attributes.flat_map(|attribute| attribute.g.iter_mut().map(|graph| &mut **graph).chain(&mut attribute.graphs))
}

/// Renames what a subgraph reads from outside.
fn rename_captured(graph: &mut GraphProto, names: &Names) {
    let tensors = graph.initializer.iter().map(|tensor| &tensor.name);
    let given = graph.input.iter().map(|input| &input.name).chain(tensors);
    let made = graph.node.iter().flat_map(|node| &node.output);
    let hidden: Vec<&String> = given.chain(made).filter(|name| names.contains_key(*name)).collect();
    // A name that the subgraph has for a value of its own means that one.
    let own = (!hidden.is_empty()).then(|| {
        let mut own = names.clone();
        hidden.into_iter().for_each(|name| drop(own.remove(name)));
        own
    });
    let names = own.as_ref().unwrap_or(names);
    let outer = |name: &mut String| {
        if let Some(to) = names.get(name.as_str()) {
            to.clone_into(name);
        }
    };
    for node in &mut graph.node {
        node.input.iter_mut().for_each(outer);
        for inner in subgraphs_mut(node) {
            rename_captured(inner, names);
        }
    }
    graph.output.iter_mut().for_each(|info| outer(&mut info.name));
}

fn body<'a>(node: &'a NodeProto, name: &str) -> Result<&'a GraphProto> {
    let graph = node.attr(name).and_then(|attribute| attribute.g.as_deref());
    graph.ok_or_else(|| malformed(node, &format!("it has no {name}")))
}

fn malformed(node: &NodeProto, problem: &str) -> Error {
    Error::Malformed(format!("{} `{}`: {problem}", node.op_type, label(node)))
}
