//! Brings models of opsets 7 to 17 to opset 18.
//!
//! Each operator whose form or meaning changed on the way has a row in the table of a family file: its name, the opset that
//! brought the last such change, and the function that rewrites a node. Operators that were only opened to more element types
//! have none. The rewritten model computes exactly what the old one did, in ONNX Runtime, whose reading settles what old
//! specifications leave open; a node for which that cannot be had is an error that names it.

mod axes;
mod inputs;
mod later;
mod other;
mod resize;
mod softmax;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

pub use later::raise;

use crate::{
    attr,
    error::{Error, Result},
    graph::{label, used_names},
    model::{Model, OLDEST_OPSET, same_domain},
    proto::{AttributeProto, GraphProto, NodeProto, TensorProto},
    types::{ElemType, Types},
};

/// The model at opset `to` of `ai.onnx` (18, whose forms are what nodes are rewritten to); one that is there already is
/// returned as it is.
///
/// # Errors
/// A model older than opset 7; a node whose meaning cannot be kept.
pub fn upgrade(model: &Model, to: i64) -> Result<Model> {
    upgraded(model, to).map(Cow::into_owned)
}

/// As [`upgrade`]; a model that is there already isn't copied.
pub(crate) fn upgraded(model: &Model, to: i64) -> Result<Cow<'_, Model>> {
    let opset = model.opset("").unwrap_or(1);
    if opset >= to {
        return Ok(Cow::Borrowed(model));
    }
    if opset < OLDEST_OPSET {
        return Err(Error::TooOld { found: opset, oldest: OLDEST_OPSET });
    }
    let mut model = model.clone();
    let graph = model.graph_mut();
    let mut known = Known::default();
    known.look_at(graph);
    let (taken, ranks, constants) = (used_names(graph), HashMap::new(), Vec::new());
    let mut upgrade = Upgrade { opset, taken, known, ranks, constants };
    upgrade.graph(graph)?;
    graph.initializer.append(&mut upgrade.constants);
    model.set_opset("", to);
    Ok(Cow::Owned(model))
}

/// One operator of the table.
struct Row {
    op: &'static str,
    /// The first opset whose nodes need no rewriting.
    until: i64,
    rewrite: Rewrite,
}

/// From an old node to the nodes that take its place, in order; the reason where that can't be done.
type Rewrite = fn(&mut Upgrade, NodeProto) -> std::result::Result<Vec<NodeProto>, String>;

/// The table of every family.
const FAMILIES: &[&[Row]] = &[axes::ROWS, inputs::ROWS, other::ROWS, resize::ROWS, softmax::ROWS];

/// What a rewriting may ask, and where it puts new constants.
struct Upgrade {
    opset: i64,
    taken: HashSet<String>,
    known: Known,
    ranks: HashMap<String, usize>,
    constants: Vec<TensorProto>,
}

impl Upgrade {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<()> {
        for node in std::mem::take(&mut graph.node) {
            graph.node.append(&mut self.node(node)?);
        }
        Ok(())
    }

    fn node(&mut self, mut node: NodeProto) -> Result<Vec<NodeProto>> {
        self.note_rank(&node);
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().map(|inner| &mut **inner).chain(&mut attribute.graphs) {
                self.graph(inner)?;
            }
        }
        let fits = |row: &&Row| row.op == node.op_type && self.opset < row.until;
        let mut rows = FAMILIES.iter().flat_map(|family| family.iter());
        let Some(row) = rows.find(fits).filter(|_| same_domain(&node.domain, "")) else { return Ok(vec![node]) };
        let (name, op) = (label(&node).to_owned(), node.op_type.clone());
        let opset = self.opset;
        (row.rewrite)(self, node).map_err(|reason| Error::Upgrade { node: name, op, opset, reason })
    }

    /// A name that nothing else has.
    fn fresh(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        let mut count = 1;
        while !self.taken.insert(name.clone()) {
            name = format!("{stem}_{count}");
            count += 1;
        }
        name
    }

    /// A new constant called after the node that reads it; its name.
    fn constant(&mut self, node: &NodeProto, what: &str, mut tensor: TensorProto) -> String {
        tensor.name = self.fresh(&format!("{}.{what}", label(node)));
        self.constants.push(tensor);
        self.constants.last().map(|tensor| tensor.name.clone()).unwrap_or_default()
    }

    /// A new list of integers; its name.
    fn ints(&mut self, node: &NodeProto, what: &str, values: &[i64]) -> String {
        self.constant(node, what, TensorProto::ints("", &[values.len() as i64], values))
    }

    /// A new float scalar of the type of the value `like`, made by a `CastLike` before the node where that isn't known.
    fn scalar_like(
        &mut self,
        node: &NodeProto,
        what: &str,
        value: f64,
        like: &str,
        before: &mut Vec<NodeProto>,
    ) -> String {
        let elem = self.known.elem(like);
        let name = self.constant(node, what, TensorProto::floats("", elem.unwrap_or(ElemType::Float), &[], &[value]));
        if elem.is_some() {
            return name;
        }
        let cast = self.helper(node, "CastLike", vec![name, like.to_owned()], vec![]);
        before.push(cast);
        before.last().map(|cast| cast.output[0].clone()).unwrap_or_default()
    }

    /// A new node with one new output that helps to replace `node`, whose metadata it shares.
    fn helper(
        &mut self,
        node: &NodeProto,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) -> NodeProto {
        let name = self.fresh(&format!("{}.{op}", label(node)));
        NodeProto {
            op_type: op.into(),
            name: name.clone(),
            input: inputs,
            output: vec![name],
            attribute: attributes,
            metadata_props: node.metadata_props.clone(),
            ..Default::default()
        }
    }

    /// The rank of a value, where it is stated or follows from the nodes before.
    fn rank(&self, name: &str) -> Option<usize> {
        let stated = self.known.types.get(name).and_then(|ty| ty.shape.as_ref()).map(Vec::len);
        stated.or_else(|| self.ranks.get(name).copied())
    }

    /// Follows ranks through the operators that lead to most softmaxes.
    fn note_rank(&mut self, node: &NodeProto) {
        let of = |i: usize| self.rank(node.input.get(i)?);
        let keeps_dims = node.attr_int("keepdims").unwrap_or(1) != 0;
        let rank = match node.op_type.as_str() {
            "Gemm" | "Flatten" => Some(2),
            "Reshape" => node.input.get(1).and_then(|shape| Some(self.known.small.get(shape)?.to_ints().ok()?.len())),
            "Add" | "Sub" | "Mul" | "Div" => of(0).zip(of(1)).map(|(a, b)| a.max(b)),
            "AveragePool" | "BatchNormalization" | "Cast" | "Clip" | "Concat" | "Conv" | "ConvTranspose"
            | "Dropout" | "GlobalAveragePool" | "GlobalMaxPool" | "Identity" | "LRN" | "LeakyRelu" | "LogSoftmax"
            | "MaxPool" | "Pad" | "Relu" | "Sigmoid" | "Slice" | "Softmax" | "Tanh" | "Transpose" => of(0),
            "ReduceMean" | "ReduceSum" | "ReduceMax" if keeps_dims => of(0),
            _ => None,
        };
        if let (Some(rank), Some(output)) = (rank, node.output.first()) {
            self.ranks.insert(output.clone(), rank);
        }
    }
}

/// What a model says of its values, subgraphs included.
#[derive(Default)]
struct Known {
    types: Types,
    /// Constants of a few elements.
    small: HashMap<String, TensorProto>,
    /// Every float type that any value starts from.
    floats: HashSet<ElemType>,
    /// The values that any node reads or any graph puts out.
    read: HashSet<String>,
}

impl Known {
    fn look_at(&mut self, graph: &GraphProto) {
        self.read.extend(graph.node.iter().flat_map(|node| &node.input).cloned());
        self.read.extend(graph.output.iter().map(|output| output.name.clone()));
        for (name, ty) in Types::stated(graph).iter() {
            self.types.insert(name, ty.clone());
        }
        self.floats.extend(self.types.iter().map(|(_, ty)| ty.elem).filter(|elem| elem.is_float()));
        let constants = graph.node.iter().filter(|node| node.op_type == "Constant");
        let constants = constants.filter_map(|node| Some((node.output.first()?, node.attr_tensor("value")?)));
        let initializers = graph.initializer.iter().map(|tensor| (&tensor.name, tensor));
        for (name, tensor) in
            initializers.chain(constants).filter(|(_, tensor)| tensor.len().is_ok_and(|len| len <= 16))
        {
            self.small.insert(name.clone(), tensor.clone());
        }
        for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
            let tensor = attribute.t.as_ref().map(|tensor| tensor.elem_type());
            let code = matches!(&*attribute.name, "to" | "dtype").then(|| attribute.i.unwrap_or(0) as i32);
            let elems = tensor.into_iter().chain(code.map(ElemType::from_code));
            self.floats.extend(elems.filter(|elem| elem.is_float()));
            for inner in attribute.g.iter().map(|inner| &**inner).chain(&attribute.graphs) {
                self.look_at(inner);
            }
        }
    }

    /// The element type of a float value: as stated, or the only one in the model.
    fn elem(&self, name: &str) -> Option<ElemType> {
        let only = || self.floats.iter().next().copied().filter(|_| self.floats.len() == 1);
        self.types.get(name).map(|ty| ty.elem).or_else(only)
    }
}

/// Takes an attribute off a node.
fn take(node: &mut NodeProto, name: &str) -> Option<AttributeProto> {
    let at = node.attribute.iter().position(|attribute| attribute.name == name)?;
    Some(node.attribute.remove(at))
}

/// Sets an input, with absent ones before it.
fn set_input(node: &mut NodeProto, at: usize, name: String) {
    if node.input.len() <= at {
        node.input.resize(at + 1, String::new());
    }
    node.input[at] = name;
}

/// Sets a string attribute.
fn set_string(node: &mut NodeProto, name: &str, value: &str) {
    take(node, name);
    node.attribute.push(attr::string(name, value));
}
