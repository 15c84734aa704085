//! ONNX functions that the caller brings. Those of gradient rules go from a node's inputs, outputs and output gradients to its input gradients;
//! their bodies are inlined into the backward graph. Others are inlined into any graph that is built.

use std::collections::{HashMap, HashSet};

use crate::{
    builder::{Builder, EMITTED_OPSET, Val},
    graph::bind_attributes,
    model::same_domain,
    proto::{FunctionProto, NodeProto},
    registry::{Grad, Unsupported},
    types::ValueType,
    vjp::Vjp,
};

/// More nodes than such a function has.
const MOST_NODES: usize = 10_000;

/// A node that is to be differentiated.
#[derive(Clone, Debug)]
pub struct ForeignNode<'a> {
    /// The node.
    pub node: &'a NodeProto,
    /// The version of its domain in the model.
    pub version: i64,
    /// The version of `ai.onnx` in the model: the function may use this one, or an older one from [`EMITTED_OPSET`] on.
    pub opset: i64,
    /// The types of its inputs, as far as they are known.
    pub inputs: Vec<Option<ValueType>>,
    /// The types of its outputs, as far as they are known.
    pub outputs: Vec<Option<ValueType>>,
    /// Which inputs' gradients are wanted.
    pub wanted: Vec<bool>,
}

/// Rules for operators that this crate has none for.
pub trait ForeignRules: Sync {
    /// The gradient of a node, as a function. Its inputs are the node's inputs, then the node's outputs, then the gradients of the outputs.
    /// Its outputs are the gradients of the node's inputs, in order, with an empty name for an input that has none. `None` if there is no
    /// rule for the operator; an error says why the rule cannot differentiate this node.
    fn gradient(&self, node: &ForeignNode<'_>) -> Option<Result<FunctionProto, String>>;
}

/// No rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoForeignRules;

impl ForeignRules for NoForeignRules {
    fn gradient(&self, _: &ForeignNode<'_>) -> Option<Result<FunctionProto, String>> {
        None
    }
}

/// Checks that a rule may return this function, for a node with that many inputs and outputs in a model of that opset.
///
/// # Errors
/// What is wrong with it.
pub fn check_function(function: &FunctionProto, (inputs, outputs): (usize, usize), opset: i64) -> Result<(), String> {
    let takes = inputs + 2 * outputs;
    if function.input.len() != takes {
        return Err(format!(
            "its function takes {} values, not the {takes} that are {inputs} inputs, {outputs} outputs and their gradients",
            function.input.len()
        ));
    }
    if function.output.len() != inputs {
        return Err(format!("its function gives {} gradients for {inputs} inputs", function.output.len()));
    }
    check_body(function, opset)
}

/// Checks that a function's body can be put into a graph of that opset: ONNX's own operators of versions from [`EMITTED_OPSET`] on, in
/// topological order, without control flow, every value made once.
///
/// # Errors
/// What is wrong with it.
pub fn check_body(function: &FunctionProto, opset: i64) -> Result<(), String> {
    if function.node.len() > MOST_NODES {
        return Err(format!("its function has {} nodes, more than {MOST_NODES}", function.node.len()));
    }
    for import in &function.opset_import {
        if !same_domain(&import.domain, "") {
            return Err(format!(
                "its function uses the domain `{}`, and only ONNX's own operators may be",
                import.domain
            ));
        }
        if !(EMITTED_OPSET..=opset).contains(&import.version) {
            let version = import.version;
            let range = if opset == EMITTED_OPSET { format!("{opset}") } else { format!("{EMITTED_OPSET} to {opset}") };
            return Err(format!("its function is of opset {version}, and {range} can be used here"));
        }
    }
    if function.opset_import.is_empty() {
        return Err("its function says no opset".to_owned());
    }
    let mut known: HashSet<&str> = HashSet::new();
    for name in &function.input {
        if name.is_empty() || !known.insert(name) {
            return Err(format!("its function has two inputs `{name}`, or one without a name"));
        }
    }
    for node in &function.node {
        let op = &node.op_type;
        if op.is_empty() || !same_domain(&node.domain, "") {
            return Err(format!("its function uses `{}.{op}`, and only ONNX's own operators may be", node.domain));
        }
        if node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
            return Err(format!("its function has control flow ({op})"));
        }
        if let Some(name) = node.input.iter().find(|name| !name.is_empty() && !known.contains(name.as_str())) {
            return Err(format!("`{name}` is read in its function before it is made"));
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if !known.insert(name) {
                return Err(format!("`{name}` is made twice in its function"));
            }
        }
    }
    match function.output.iter().find(|name| !name.is_empty() && !known.contains(name.as_str())) {
        Some(name) => Err(format!("nothing makes `{name}`, an output of its function")),
        None => Ok(()),
    }
}

/// Asks `rules` for a function and puts its body into the backward graph. `version` is that of the node's domain.
pub(crate) fn gradient(
    vjp: &mut Vjp<'_>,
    (version, opset): (i64, i64),
    rules: &dyn ForeignRules,
) -> Result<Vec<Grad>, Unsupported> {
    let node = vjp.node();
    let types = |names: &[String]| names.iter().map(|name| vjp.types.get(name).cloned()).collect();
    let asked = ForeignNode {
        node,
        version,
        opset,
        inputs: types(&node.input),
        outputs: types(&node.output),
        wanted: (0..node.input.len()).map(|i| vjp.needs(i)).collect(),
    };
    let function = rules.gradient(&asked).unwrap_or(Err("there is no gradient rule for this operator".to_owned()))?;
    let (inputs, outputs) = (node.input.len(), node.output.len());
    check_function(&function, (inputs, outputs), opset)?;
    splice(vjp, &function, inputs, outputs)
}

fn splice(
    vjp: &mut Vjp<'_>,
    function: &FunctionProto,
    inputs: usize,
    outputs: usize,
) -> Result<Vec<Grad>, Unsupported> {
    let call = vjp.node().clone();
    // The gradient of an output that nothing reads is zeros, and is only made where the function reads it.
    let read: HashSet<&str> =
        function.node.iter().flat_map(|node| &node.input).chain(&function.output).map(|n| &**n).collect();
    let mut names: HashMap<&str, String> = HashMap::new();
    let given: Vec<Val> = (0..inputs).map(|i| vjp.x(i)).chain((0..outputs).map(|i| vjp.y(i))).collect();
    for (formal, value) in function.input.iter().zip(&given) {
        names.insert(formal, value.name().to_owned());
    }
    for (i, formal) in function.input[inputs + outputs..].iter().enumerate() {
        let needed = read.contains(formal.as_str()) && !vjp.y(i).name().is_empty();
        let gradient = if needed { vjp.gy_at(i)? } else { Val::absent() };
        names.insert(formal, gradient.name().to_owned());
    }
    inline(vjp.g, "", function, &call, &mut names, |_| true);
    let gradient = |name: &String| match names.get(name.as_str()) {
        Some(inner) if !inner.is_empty() => Grad::Of(Val::new(inner)),
        _ => Grad::NotNeeded,
    };
    Ok(function.output.iter().map(gradient).collect())
}

/// Puts the nodes of a function's body that are wanted into a graph, with its attributes as the call binds them. `names` says what the function's
/// inputs are called in the graph, and is told what everything else is: `prefix` and the name inside the function.
fn inline<'a>(
    g: &mut Builder,
    prefix: &str,
    function: &'a FunctionProto,
    call: &NodeProto,
    names: &mut HashMap<&'a str, String>,
    is_wanted: impl Fn(&NodeProto) -> bool,
) {
    for original in function.node.iter().filter(|node| is_wanted(node)) {
        let mut node = original.clone();
        bind_attributes(&mut node, call, &function.attribute_proto);
        node.domain.clear();
        node.name = g.fresh(&original.op_type);
        for name in &mut node.input {
            *name = names.get(name.as_str()).cloned().unwrap_or_default();
        }
        for (name, formal) in node.output.iter_mut().zip(&original.output).filter(|(_, formal)| !formal.is_empty()) {
            *name = g.fresh(&format!("{prefix}{formal}"));
            names.insert(formal, name.clone());
        }
        g.push(node);
    }
}

/// Puts that much of a function's body into a graph as output number `output` takes, and gives that output's value; `None` if there is no such
/// output. The function is one that [`check_body`] lets pass; its inputs are these values, in order.
pub fn call_function(g: &mut Builder, function: &FunctionProto, inputs: &[Val], output: usize) -> Option<Val> {
    let output = function.output.get(output)?;
    let mut wanted: HashSet<&str> = HashSet::from([output.as_str()]);
    for node in function.node.iter().rev() {
        if node.output.iter().any(|name| wanted.contains(name.as_str())) {
            wanted.extend(node.input.iter().map(String::as_str));
        }
    }
    let mut names: HashMap<&str, String> =
        function.input.iter().zip(inputs).map(|(formal, value)| (formal.as_str(), value.name().to_owned())).collect();
    wanted.remove("");
    let is_wanted = |node: &NodeProto| node.output.iter().any(|name| wanted.contains(name.as_str()));
    inline(g, "function/", function, &NodeProto::default(), &mut names, is_wanted);
    names.get(output.as_str()).map(|name| Val::new(name))
}
