//! A model that takes one image at a time as one that takes any number.
//!
//! Exporters that were given one image write the batch's 1 into shapes and join a class token of one row. Row by row a model is the same whatever the
//! number of rows: along the way of the image its batch axis is followed, reshapes let that axis grow, and what is joined to it is repeated.

use std::collections::HashMap;

use onnx_grad::{
    Dim, Types, ValueType, attr,
    graph::{Index, used_names},
    proto::{GraphProto, NodeProto, TensorProto},
    value_info,
};

use crate::{error::Result, runtime::Runtime, subject::TypedModel};

/// The model with a free batch, where that can be; its types are found anew, and say whether it is free up to the scores.
///
/// # Errors
/// The runtime's.
pub(super) fn opened(runtime: &'static Runtime, subject: &TypedModel) -> Result<Option<TypedModel>> {
    let mut network = subject.network().clone();
    let name = network.input().name.clone();
    if network.input().batch() != Some(1) || network.others().next().is_some() {
        return Ok(None);
    }
    let own = network.model.graph();
    let mut graph = freed(own, subject.types(), &name).unwrap_or_else(|| own.clone());
    // What the file states of sizes is of one image.
    graph.value_info.clear();
    for output in &mut graph.output {
        *output = value_info(&output.name, None);
    }
    for input in network.inputs.iter_mut().filter(|input| input.name == name) {
        input.shape[0] = None;
        let dim = |size: &Option<usize>| size.map_or(Dim::Free, Dim::Fixed);
        let ty = ValueType { elem: input.elem, shape: Some(input.shape.iter().map(dim).collect()) };
        if let Some(own) = graph.input.iter_mut().find(|own| own.name == name) {
            *own = value_info(&name, Some(&ty));
        }
    }
    network.model = network.model.with_graph(graph);
    // Where sizes of one image are left in it, it doesn't run, or its scores are not of each.
    Ok(TypedModel::new(runtime, network, subject.sidecar().clone()).ok())
}

/// The graph with the batch axis let go. `None`: an operator on the way takes it apart, or is not known.
fn freed(graph: &GraphProto, types: &Types, input: &str) -> Option<GraphProto> {
    let index = Index::new(graph);
    let names = used_names(graph);
    let prefix = (0..).map(|at| format!("opened{at}.")).find(|own| !names.iter().any(|name| name.starts_with(own)))?;
    let mut way = Way { index: &index, types, prefix, axes: HashMap::from([(input.to_owned(), 0)]), constants: vec![] };
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in &graph.node {
        way.follow(node, &mut nodes)?;
    }
    let mut freed = GraphProto { node: nodes, ..graph.clone() };
    freed.initializer.extend(way.constants);
    Some(freed)
}

/// The way of the image through a graph.
struct Way<'a> {
    index: &'a Index<'a>,
    types: &'a Types,
    /// What new names begin with.
    prefix: String,
    /// Of each value that depends on the image, in floats, its batch axis.
    axes: HashMap<String, usize>,
    constants: Vec<TensorProto>,
}

impl Way<'_> {
    /// The extents of a value, of one image.
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.types.get(name)?.shape.as_ref()?.iter().map(|size| size.fixed()).collect()
    }

    fn constant(&mut self, values: &[i64]) -> String {
        let name = format!("{}{}", self.prefix, self.constants.len());
        self.constants.push(TensorProto::ints(&name, &[values.len() as i64], values));
        name
    }

    /// Hands a node on, changed where it has to be, and notes the batch axis of what it makes.
    fn follow(&mut self, node: &NodeProto, nodes: &mut Vec<NodeProto>) -> Option<()> {
        let mut node = node.clone();
        let reads: Vec<(usize, usize)> =
            node.input.iter().enumerate().filter_map(|(at, name)| Some((at, *self.axes.get(name)?))).collect();
        let given = node.output.first().and_then(|name| self.types.get(name));
        if reads.is_empty() || !given.is_some_and(|ty| ty.elem.is_float()) {
            nodes.push(node);
            return Some(());
        }
        let made = match &*node.op_type {
            "Reshape" => self.reshape(&mut node)?,
            "Concat" => self.concat(&mut node, &reads, nodes)?,
            _ => self.axis_behind(&node, &reads)?,
        };
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            self.axes.insert(output.clone(), made);
        }
        nodes.push(node);
        Some(())
    }

    /// A batch that is the first of the places which lie `before` it: there the shape that is asked for may grow.
    fn reshape(&mut self, node: &mut NodeProto) -> Option<usize> {
        let axis = *self.axes.get(node.input.first()?)?;
        let from = self.shape(&node.input[0])?;
        let to = self.shape(node.output.first()?)?;
        let before: usize = from[..axis].iter().product();
        let made = (0..to.len()).find(|at| to[..*at].iter().product::<usize>() == before)?;
        let mut target: Vec<i64> = to.iter().map(|size| *size as i64).collect();
        target[made] = -1;
        *node.input.get_mut(1)? = self.constant(&target);
        Some(made)
    }

    /// What does not depend on the image, and has one row, is repeated for each.
    fn concat(&mut self, node: &mut NodeProto, reads: &[(usize, usize)], nodes: &mut Vec<NodeProto>) -> Option<usize> {
        let (first, axis) = *reads.first()?;
        let along = place(node.attr_int("axis")?, self.shape(&node.input[first])?.len())?;
        if along == axis || reads.iter().any(|(_, other)| *other != axis) {
            return None;
        }
        let image = node.input[first].clone();
        for at in 0..node.input.len() {
            let shape = self.shape(&node.input[at])?;
            if self.axes.contains_key(&node.input[at]) {
                continue;
            }
            if shape[axis] != 1 {
                return None;
            }
            node.input[at] = self.repeated(&node.input[at].clone(), (&image, axis), shape.len(), nodes);
        }
        Some(axis)
    }

    /// A value as often as there are images, which `image` has along `axis`.
    fn repeated(
        &mut self,
        value: &str,
        (image, axis): (&str, usize),
        rank: usize,
        nodes: &mut Vec<NodeProto>,
    ) -> String {
        let (before, after) = (self.constant(&vec![1; axis]), self.constant(&vec![1; rank - axis - 1]));
        let [count, sizes, all] = ["count", "sizes", "all"].map(|what| format!("{before}.{what}"));
        let ends = vec![attr::int("start", axis as i64), attr::int("end", axis as i64 + 1)];
        nodes.push(made("Shape", &[image], &count, ends));
        nodes.push(made("Concat", &[&before, &count, &after], &sizes, vec![attr::int("axis", 0)]));
        nodes.push(made("Expand", &[value, &sizes], &all, vec![]));
        all
    }

    /// The batch axis of what a node makes that need not be changed.
    fn axis_behind(&self, node: &NodeProto, reads: &[(usize, usize)]) -> Option<usize> {
        let (at, axis) = *reads.first()?;
        let from = self.shape(&node.input[at])?;
        let to = self.shape(node.output.first()?)?;
        let made = match &*node.op_type {
            "Transpose" => {
                let order = node.attr_ints("perm").map(<[i64]>::to_vec);
                let order = order.unwrap_or_else(|| (0..from.len() as i64).rev().collect());
                order.iter().position(|from| *from == axis as i64)?
            }
            "Gather" => {
                let along = place(node.attr_int("axis").unwrap_or(0), from.len())?;
                let places = self.shape(node.input.get(1)?)?.len();
                match along.cmp(&axis) {
                    std::cmp::Ordering::Less => (axis + places).checked_sub(1)?,
                    std::cmp::Ordering::Equal => return None,
                    std::cmp::Ordering::Greater => axis,
                }
            }
            "Flatten" => (axis == 0 && place(node.attr_int("axis").unwrap_or(1), from.len() + 1)? > 0).then_some(0)?,
            "Squeeze" => axis - self.named_axes(node, from.len())?.iter().filter(|other| **other < axis).count(),
            "Unsqueeze" => {
                let new = self.named_axes(node, to.len())?;
                (0..to.len()).filter(|at| !new.contains(at)).nth(axis)?
            }
            // Of fewer axes, or of as many: what is computed row by row, in a plane, or along another axis.
            _ if from.len() == to.len() => axis,
            op if op.starts_with("Reduce") => {
                axis - self.named_axes(node, from.len())?.iter().filter(|other| **other < axis).count()
            }
            "MatMul" | "Gemm" | "Add" | "Sub" | "Mul" | "Div" | "Where" | "Pow" | "Max" | "Min" => {
                (axis + to.len()).checked_sub(from.len())?
            }
            _ => return None,
        };
        (made < to.len()).then_some(made)
    }

    /// The axes that a node names, none of which is the batch.
    fn named_axes(&self, node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
        let given = node.input.get(1).and_then(|axes| self.index.constant(axes)?.to_ints().ok());
        let axes = node.attr_ints("axes").map(<[i64]>::to_vec).or(given)?;
        let axes: Vec<usize> = axes.iter().map(|axis| place(*axis, rank)).collect::<Option<_>>()?;
        let batch = node.input.first().and_then(|name| self.axes.get(name));
        (node.op_type == "Unsqueeze" || !batch.is_some_and(|batch| axes.contains(batch))).then_some(axes)
    }
}

/// An axis, counted from the front.
fn place(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

fn made(op: &str, inputs: &[&str], output: &str, attribute: Vec<onnx_grad::proto::AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: output.to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..Default::default()
    }
}
