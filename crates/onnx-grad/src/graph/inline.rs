//! Replaces calls of model-local functions by the functions' bodies.

use std::collections::HashMap;

use crate::{
    error::{Error, Result},
    graph::label,
    model::same_domain,
    proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto},
};

/// Functions that call functions that call functions: deeper than this is a cycle, or an attack.
const DEEPEST: usize = 64;
/// More nodes than any real model has; nested functions can double the count at every level.
const MOST_NODES: usize = 1_000_000;

/// Inlines every call of a model-local function, in subgraphs too, and drops the functions.
pub(crate) fn inline_functions(model: &mut ModelProto) -> Result<()> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let functions = std::mem::take(&mut model.functions);
    for import in functions.iter().flat_map(|function| &function.opset_import) {
        if !model.opset_import.iter().any(|known| same_domain(&known.domain, &import.domain)) {
            model.opset_import.push(import.clone());
        }
    }
    let key = |domain: &str, name: &str, overload: &str| {
        let domain = if domain == "ai.onnx" { "" } else { domain };
        (domain.to_owned(), name.to_owned(), overload.to_owned())
    };
    let table = functions.iter().map(|f| (key(&f.domain, &f.name, &f.overload), f)).collect();
    let graph = model.graph.get_or_insert_default();
    Counter { table: &table, sizes: HashMap::new() }.nodes(&graph.node, 0)?;
    let mut taken = super::FreshNames::default();
    super::used_names_from(graph, "").into_iter().for_each(|name| taken.take(name));
    let mut inliner = Inliner { table, taken, calls: 0 };
    inliner.graph(graph)
}

/// The functions by domain, name and overload.
type Table<'a> = HashMap<(String, String, String), &'a FunctionProto>;

/// Which function a node calls.
fn called<'a>(table: &Table<'a>, node: &NodeProto) -> Option<&'a FunctionProto> {
    let domain = if node.domain == "ai.onnx" { "" } else { &node.domain };
    table.get(&(domain.to_owned(), node.op_type.clone(), node.overload.clone())).copied()
}

/// Counts what inlining would make before it makes any of it.
struct Counter<'a> {
    table: &'a Table<'a>,
    /// How many nodes a call of each function becomes, by the function's address; each is looked at once.
    sizes: HashMap<*const FunctionProto, usize>,
}

impl Counter<'_> {
    /// How many nodes these become.
    fn nodes(&mut self, nodes: &[NodeProto], depth: usize) -> Result<usize> {
        let mut sum = 0usize;
        for node in nodes {
            if depth > DEEPEST {
                let problem = format!("the functions called by node `{}` call each other without end", label(node));
                return Err(Error::Malformed(problem));
            }
            let own = match called(self.table, node) {
                Some(function) => match self.sizes.get(&std::ptr::from_ref(function)) {
                    Some(&size) => size,
                    None => {
                        let size = self.nodes(&function.node, depth + 1)?;
                        self.sizes.insert(std::ptr::from_ref(function), size);
                        size
                    }
                },
                None => super::subgraphs(node).try_fold(0usize, |sum, graph| {
                    let inner = self.nodes(&graph.node, depth + 1)?;
                    Ok::<usize, Error>(sum.saturating_add(inner))
                })?,
            };
            sum = sum.saturating_add(own).saturating_add(1);
            if sum > MOST_NODES {
                let what =
                    format!("with the functions that node `{}` calls it has more than {MOST_NODES} nodes", label(node));
                return Err(Error::TooLarge(what));
            }
        }
        Ok(sum)
    }
}

struct Inliner<'a> {
    table: Table<'a>,
    taken: super::FreshNames,
    calls: usize,
}

impl<'a> Inliner<'a> {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<()> {
        let nodes = std::mem::take(&mut graph.node);
        for node in nodes {
            self.node(node, &mut graph.node)?;
        }
        Ok(())
    }

    fn node(&mut self, mut node: NodeProto, into: &mut Vec<NodeProto>) -> Result<()> {
        match called(&self.table, &node) {
            Some(function) => self.call(&node, function, into),
            None => {
                for attribute in &mut node.attribute {
                    for inner in attribute.g.iter_mut().map(|g| &mut **g).chain(&mut attribute.graphs) {
                        self.graph(inner)?;
                    }
                }
                into.push(node);
                Ok(())
            }
        }
    }

    fn call(&mut self, call: &NodeProto, function: &'a FunctionProto, into: &mut Vec<NodeProto>) -> Result<()> {
        self.calls += 1;
        let prefix = if call.name.is_empty() { format!("{}_{}", call.op_type, self.calls) } else { call.name.clone() };
        let mut names: HashMap<String, String> = HashMap::new();
        let actual = |list: &[String], at: usize| list.get(at).cloned().unwrap_or_default();
        names.extend(function.input.iter().enumerate().map(|(at, formal)| (formal.clone(), actual(&call.input, at))));
        for (at, formal) in function.output.iter().enumerate() {
            let outer = actual(&call.output, at);
            let outer = if outer.is_empty() { self.fresh(&prefix, formal) } else { outer };
            // An output that is an input handed through needs a node to carry the new name.
            if let Some(inner) = names.get(formal) {
                let identity = NodeProto {
                    op_type: "Identity".into(),
                    name: self.fresh(&prefix, "Identity"),
                    input: vec![inner.clone()],
                    output: vec![outer],
                    ..Default::default()
                };
                into.push(identity);
            } else {
                names.insert(formal.clone(), outer);
            }
        }
        let defaults = &function.attribute_proto;
        for node in &function.node {
            let mut node = node.clone();
            node.name = self.fresh(&prefix, label(&node));
            if node.metadata_props.is_empty() {
                node.metadata_props = call.metadata_props.clone();
            }
            self.rename(&mut node, &mut names, &prefix);
            bind_attributes(&mut node, call, defaults);
            self.node(node, into)?;
        }
        Ok(())
    }

    fn rename(&mut self, node: &mut NodeProto, names: &mut HashMap<String, String>, prefix: &str) {
        for name in node.input.iter_mut().chain(&mut node.output).filter(|name| !name.is_empty()) {
            *name = self.inner_name(name, names, prefix);
        }
        for attribute in &mut node.attribute {
            for graph in attribute.g.iter_mut().map(|g| &mut **g).chain(&mut attribute.graphs) {
                self.rename_graph(graph, names, prefix);
            }
        }
    }

    fn rename_graph(&mut self, graph: &mut GraphProto, names: &mut HashMap<String, String>, prefix: &str) {
        for info in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
            info.name = self.inner_name(&info.name, names, prefix);
        }
        for tensor in &mut graph.initializer {
            tensor.name = self.inner_name(&tensor.name, names, prefix);
        }
        for node in &mut graph.node {
            self.rename(node, names, prefix);
        }
    }

    fn inner_name(&mut self, name: &str, names: &mut HashMap<String, String>, prefix: &str) -> String {
        if let Some(outer) = names.get(name) {
            return outer.clone();
        }
        let fresh = self.fresh(prefix, name);
        names.insert(name.to_owned(), fresh.clone());
        fresh
    }

    fn fresh(&mut self, prefix: &str, name: &str) -> String {
        self.taken.give(&format!("{prefix}/{name}"))
    }
}

/// Gives attributes that refer to the function's own attributes their values from the call, or the function's defaults.
pub(crate) fn bind_attributes(node: &mut NodeProto, call: &NodeProto, defaults: &[AttributeProto]) {
    let value = |name: &str| call.attribute.iter().chain(defaults).find(|attribute| attribute.name == name);
    node.attribute.retain_mut(|attribute| {
        if attribute.ref_attr_name.is_empty() {
            return true;
        }
        match value(&attribute.ref_attr_name) {
            Some(bound) => {
                *attribute = AttributeProto { name: attribute.name.clone(), ..bound.clone() };
                true
            }
            None => false,
        }
    });
    for attribute in &mut node.attribute {
        for graph in attribute.g.iter_mut().map(|g| &mut **g).chain(&mut attribute.graphs) {
            for node in &mut graph.node {
                bind_attributes(node, call, defaults);
            }
        }
    }
}
