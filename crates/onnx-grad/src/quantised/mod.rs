//! Quantised graphs, as the sweep sees them: the straight-through estimator.
//!
//! The forward pass stays as it is written, integers and all. For the sweep each operator on quantised numbers is spelled out on the
//! floats that they stand for: its inputs dequantised, the float operator, and what it makes rounded again (`STRAIGHT`). Every float
//! step then has its usual rule, and rounding passes gradients on unchanged where nothing saturates, as quantisation-aware training
//! does (Bengio et al. 2013, arXiv:1308.3432; Jacob et al. 2018, arXiv:1712.05877). Scales found in the image itself (dynamic
//! quantisation) are held constant, as an observer's are.
//!
//! A cotangent of quantised integers is that of the numbers they are, in float32.

mod channels_last;
mod contrib;
mod layers;
mod linear;
mod moved;
mod pointwise;
mod ranges;
mod weights;

pub use layers::{outline, with_floats};
pub(crate) use ranges::range;
pub use ranges::{Rounded, forms, rounded};

use std::collections::HashSet;

use crate::{
    attr,
    builder::{Builder, Val},
    graph::Index,
    model::same_domain,
    proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto},
    types::{Dim, ElemType, KnownTypes, ValueType, value_info},
};

/// The domain of what only the sweep sees.
pub(crate) const OWN: &str = "onnx-grad";

/// Rounding to integers that a gradient goes through unchanged: an operator of [`OWN`].
pub(crate) const STRAIGHT: &str = "StraightThrough";

/// The graph as the sweep is to see it; `None`: nothing in it is quantised. What the float steps need is emitted into `builder`, and so
/// computed in the backward pass where a gradient reads it.
pub(crate) fn spelled_out(
    graph: &GraphProto,
    index: &Index<'_>,
    types: &KnownTypes<'_>,
    (outputs, wrt): (&[&str], &[&str]),
    builder: &mut Builder,
) -> Option<GraphProto> {
    if !graph.node.iter().any(concerns) {
        return None;
    }
    let shadow = Shadow {
        graph,
        index,
        types,
        wrt,
        builder,
        nodes: Vec::new(),
        infos: Vec::new(),
        carried: HashSet::new(),
        whole: HashSet::new(),
        tapped: HashSet::new(),
    };
    let mut graph = shadow.run();
    outputs.iter().for_each(|output| unbind(&mut graph, output));
    Some(graph)
}

/// The attribute that says of a `QuantizeLinear` that nothing of it saturates, for the sweep.
pub(crate) const UNBOUNDED: &str = "unbounded";

/// The attribute that says of an `LSTM` that the state before each step is quantised over its own range, for the sweep.
pub(crate) const ROUNDED_STATE: &str = "rounded_state";

/// An input's name; empty: it isn't there.
fn name(node: &NodeProto, i: usize) -> &str {
    node.input.get(i).map_or("", String::as_str)
}

/// A score at the end of its range has no slope, but what made it that high is just what is asked: its own rounding stops nothing.
fn unbind(graph: &mut GraphProto, score: &str) {
    let maker = |name: &str| graph.node.iter().position(|node| node.output.iter().any(|made| made == name));
    let float = maker(score).map(|at| &graph.node[at]).filter(|node| node.op_type == "DequantizeLinear");
    let integers = float.and_then(|node| maker(node.input.first()?));
    if let Some(at) = integers.filter(|&at| graph.node[at].op_type == "QuantizeLinear") {
        graph.node[at].attribute.push(attr::int(UNBOUNDED, 1));
    }
}

fn concerns(node: &NodeProto) -> bool {
    let op = &*node.op_type;
    op == "Round" || op.contains("Quantize") || op.starts_with('Q') || op.contains("Integer") || op == "MatMulNBits"
}

/// The graph under rewriting.
struct Shadow<'a> {
    graph: &'a GraphProto,
    index: &'a Index<'a>,
    types: &'a KnownTypes<'a>,
    wrt: &'a [&'a str],
    builder: &'a mut Builder,
    nodes: Vec<NodeProto>,
    infos: Vec<ValueInfoProto>,
    /// Integers that stand for floats.
    carried: HashSet<String>,
    /// Floats that were rounded to whole numbers.
    whole: HashSet<String>,
    /// Floats that the sweep sees on the way, although they are made beside it.
    tapped: HashSet<String>,
}

impl Shadow<'_> {
    fn run(mut self) -> GraphProto {
        for node in &self.graph.node {
            if node.output.first().is_some_and(|made| self.tapped.contains(made)) {
                continue;
            }
            self.builder.set_scope(format!("{}/{}", crate::differentiate::SCOPE, crate::graph::label(node)));
            if self.step(node).is_none() {
                self.nodes.push(node.clone());
            }
            self.tap(node);
        }
        let mut graph = GraphProto { node: self.nodes, ..self.graph.clone() };
        graph.initializer.extend(self.builder.constants().iter().cloned());
        graph.value_info.extend(self.infos);
        graph
    }

    /// Spells a node out; `None` where it stays as it is.
    fn step(&mut self, node: &NodeProto) -> Option<()> {
        if same_domain(&node.domain, "") {
            match &*node.op_type {
                "QuantizeLinear" => self.keep_carrying(node),
                "DynamicQuantizeLinear" => self.dynamic(node),
                "Round" => self.round(node),
                "Cast" => self.cast(node),
                "QLinearConv" => self.conv(node),
                "QLinearMatMul" => self.matmul(node),
                "ConvInteger" => self.conv_integer(node),
                "MatMulInteger" => self.matmul_integer(node),
                _ => self.moved(node),
            }
        } else if node.domain == "com.microsoft" {
            match &*node.op_type {
                "QuantizeLinear" => self.keep_carrying(node),
                "DequantizeLinear" => {
                    self.nodes.push(NodeProto { domain: String::new(), ..node.clone() });
                    Some(())
                }
                "QLinearConv" => self.conv(node),
                "QGemm" => self.gemm(node),
                "DynamicQuantizeMatMul" => self.dynamic_matmul(node),
                "MatMulIntegerToFloat" => self.matmul_to_float(node),
                "MatMulNBits" => self.matmul_bits(node),
                "QAttention" => self.attention(node),
                "DynamicQuantizeLSTM" => self.dynamic_lstm(node),
                _ => self.pointwise(node),
            }
        } else {
            None
        }
    }

    /// `QuantizeLinear` itself, of either domain.
    fn keep_carrying(&mut self, node: &NodeProto) -> Option<()> {
        self.nodes.push(NodeProto { domain: String::new(), ..node.clone() });
        self.carried.insert(node.output.first()?.clone());
        Some(())
    }

    /// Its scale and zero point are given, once they are found. Where nobody takes the integers, it stays.
    fn dynamic(&mut self, node: &NodeProto) -> Option<()> {
        let [y, scale, zero] = node.output.as_slice() else { return None };
        if self.index.consumers(y).is_empty() {
            return None;
        }
        let input = vec![node.input.first()?.clone(), scale.clone(), zero.clone()];
        let output = vec![y.clone()];
        self.nodes.push(NodeProto {
            op_type: "QuantizeLinear".into(),
            input,
            output,
            name: node.name.clone(),
            ..Default::default()
        });
        self.carried.insert(y.clone());
        Some(())
    }

    /// Quantisation spelled out rounds floats. Where what rounding takes away is looked at, that is no quantisation.
    fn round(&mut self, node: &NodeProto) -> Option<()> {
        let (x, y) = (node.input.first()?, node.output.first()?);
        let is_rest = |reader: &NodeProto| reader.op_type == "Sub" && reader.input.contains(x);
        if self.index.readers(y).any(is_rest) {
            return None;
        }
        self.straight(&Val::new(x), y, node);
        self.carried.remove(y);
        self.whole.insert(y.clone());
        Some(())
    }

    /// Between integers, and of floats that are whole numbers, nothing is rounded.
    fn cast(&mut self, node: &NodeProto) -> Option<()> {
        let (x, y) = (node.input.first()?, node.output.first()?);
        let to = ElemType::from_code(i32::try_from(node.attr_int("to")?).ok()?);
        if to.is_float() || to == ElemType::Bool || !(self.carried.contains(x) || self.whole.contains(x)) {
            return None;
        }
        self.straight(&Val::new(x), y, node);
        Some(())
    }

    // ---- what the families use ----

    /// Emits a float step, which the sweep sees too.
    fn op(&mut self, op: &str, inputs: &[&Val], attributes: Vec<AttributeProto>, dims: Option<Vec<Dim>>) -> Val {
        self.typed(op, inputs, attributes, ElemType::Float, dims)
    }

    fn typed(
        &mut self,
        op: &str,
        inputs: &[&Val],
        attributes: Vec<AttributeProto>,
        elem: ElemType,
        dims: Option<Vec<Dim>>,
    ) -> Val {
        let before = self.builder.nodes().len();
        let value = self.builder.op(op, inputs, attributes);
        self.saw(before, elem, dims);
        value
    }

    /// Shows the sweep what was emitted since.
    fn saw(&mut self, before: usize, elem: ElemType, dims: Option<Vec<Dim>>) {
        let new = self.builder.nodes()[before..].to_vec();
        for node in &new {
            let ty = ValueType { elem, shape: dims.clone() };
            self.infos.extend(node.output.iter().map(|name| value_info(name, Some(&ty))));
        }
        self.nodes.extend(new);
    }

    fn dims(&self, name: &str) -> Option<Vec<Dim>> {
        self.types.get(name)?.shape.clone()
    }

    /// The floats that integers stand for: (x − zero) · scale, each along an axis where it is given.
    fn number(&mut self, x: &str, scale: &str, zero: &str, axis: Option<usize>) -> Option<Val> {
        if let Some(weights) = self.weights(x, Some(scale), zero, axis) {
            return Some(weights);
        }
        let difference = self.difference(x, zero, axis)?;
        let dims = self.dims(x)?;
        let scale = self.along(scale, axis, dims.len())?;
        Some(self.op("Mul", &[&difference, &scale], vec![], Some(dims)))
    }

    /// [`Self::number`] of a constant in one node, which readers of the backward pass know for what it is; no scale: of 1. `None`: it
    /// is no constant of 8 bits, or scales and zero points are not of one shape.
    fn weights(&mut self, x: &str, scale: Option<&str>, zero: &str, axis: Option<usize>) -> Option<Val> {
        let eight_bits = |elem| matches!(elem, ElemType::Int8 | ElemType::Uint8);
        let dims = self.index.constant(x).filter(|tensor| eight_bits(tensor.elem_type())).and_then(|_| self.dims(x))?;
        let of_zero = if zero.is_empty() { None } else { Some(self.dims(zero)?) };
        let shared = match scale {
            Some(scale) => self.dims(scale)?,
            None => of_zero.clone().unwrap_or_default(),
        };
        if of_zero.is_some_and(|of_zero| of_zero != shared) {
            return None;
        }
        let attributes = match (shared.as_slice(), axis) {
            ([], _) => vec![],
            ([size], Some(axis)) if dims.get(axis) == Some(size) => vec![attr::int("axis", axis as i64)],
            _ => return None,
        };
        let scale = match scale {
            Some(scale) => self.float(scale)?,
            None => {
                let sizes =
                    shared.iter().map(|size| size.fixed().map(|size| size as i64)).collect::<Option<Vec<_>>>()?;
                let count = sizes.iter().product::<i64>() as usize;
                self.builder.floats(ElemType::Float, &sizes, &vec![1.0; count])
            }
        };
        let zero = if zero.is_empty() { Val::absent() } else { Val::new(zero) };
        Some(self.op("DequantizeLinear", &[&Val::new(x), &scale, &zero], attributes, Some(dims)))
    }

    /// x − zero in floats.
    fn difference(&mut self, x: &str, zero: &str, axis: Option<usize>) -> Option<Val> {
        if let Some(weights) = self.weights(x, None, zero, axis) {
            return Some(weights);
        }
        let dims = self.dims(x)?;
        let x = self.float(x)?;
        if zero.is_empty() {
            return Some(x);
        }
        let zero = self.along(zero, axis, dims.len())?;
        Some(self.op("Sub", &[&x, &zero], vec![], Some(dims)))
    }

    /// A value as float32.
    fn float(&mut self, name: &str) -> Option<Val> {
        let ty = self.types.get(name)?.clone();
        if ty.elem == ElemType::Float {
            return Some(Val::new(name));
        }
        let to = vec![attr::int("to", i64::from(ElemType::Float.code()))];
        Some(self.op("Cast", &[&Val::new(name)], to, ty.shape))
    }

    /// A scale or zero point as float32, its one axis (if it has more than one number) where `axis` is among `rank`.
    fn along(&mut self, name: &str, axis: Option<usize>, rank: usize) -> Option<Val> {
        let value = self.float(name)?;
        let dims = self.dims(name)?;
        match (dims.as_slice(), axis) {
            ([] | [Dim::Fixed(1)], _) => Some(value),
            ([size], Some(axis)) if axis < rank => {
                let mut shape = vec![1; rank];
                shape[axis] = -1;
                let mut sizes = vec![Dim::Fixed(1); rank];
                sizes[axis] = *size;
                let shape = self.builder.ints(&shape);
                Some(self.op("Reshape", &[&value, &shape], vec![], Some(sizes)))
            }
            _ => None,
        }
    }

    /// What the node makes is a float step's result, quantised.
    fn quantised(&mut self, from: &Val, scale: &str, zero: &str, node: &NodeProto) -> Option<()> {
        let y = node.output.first()?;
        self.nodes.push(NodeProto {
            op_type: "QuantizeLinear".into(),
            name: node.name.clone(),
            input: vec![from.name().to_owned(), scale.to_owned(), zero.to_owned()],
            output: vec![y.clone()],
            ..Default::default()
        });
        self.carried.insert(y.clone());
        Some(())
    }

    /// What the node makes is a float step's result in whole numbers.
    fn straight(&mut self, from: &Val, y: &str, node: &NodeProto) {
        self.nodes.push(NodeProto {
            op_type: STRAIGHT.into(),
            domain: OWN.into(),
            name: node.name.clone(),
            input: vec![from.name().to_owned()],
            output: vec![y.to_owned()],
            ..Default::default()
        });
        self.carried.insert(y.to_owned());
    }

    /// What the node makes is what this step makes; only the sweep sees it.
    fn is(&mut self, op: &str, inputs: &[&Val], attribute: Vec<AttributeProto>, node: &NodeProto) -> Option<()> {
        self.nodes.push(NodeProto {
            op_type: op.into(),
            name: node.name.clone(),
            input: inputs.iter().map(|value| value.name().to_owned()).collect(),
            output: vec![node.output.first()?.clone()],
            attribute,
            ..Default::default()
        });
        Some(())
    }

    fn constant(&mut self, tensor: TensorProto) -> Val {
        self.builder.constant(tensor)
    }

    // ---- taps ----

    /// A wanted value that is a quantised one in floats, beside the way that the integers go: its gradient is theirs by its scale. The
    /// sweep sees the integers made of it.
    fn tap(&mut self, node: &NodeProto) {
        let outputs: Vec<String> = node.output.iter().filter(|y| self.carried.contains(*y)).cloned().collect();
        for y in outputs {
            let is_tap = |reader: &&NodeProto| {
                reader.op_type == "DequantizeLinear"
                    && self.wrt.iter().any(|wanted| reader.output.first().is_some_and(|y| y == wanted))
            };
            let Some(tap) = self.index.readers(&y).find(is_tap) else { continue };
            if self.index.consumers(&y).len() < 2 {
                continue;
            }
            let inner = self.builder.fresh("before");
            let makers = self.nodes.iter_mut().rev().flat_map(|node| &mut node.output);
            let Some(made) = makers.into_iter().find(|made| **made == y) else { continue };
            made.clone_from(&inner);
            self.tapped.insert(tap.output[0].clone());
            let ty = self.types.get(&y).cloned();
            self.infos.push(value_info(&inner, ty.as_ref()));
            let mut float = NodeProto { domain: String::new(), ..tap.clone() };
            float.input[0] = inner;
            let mut again = NodeProto { op_type: "QuantizeLinear".into(), output: vec![y.clone()], ..float.clone() };
            again.input[0].clone_from(&tap.output[0]);
            again.name.push_str(".again");
            self.nodes.extend([float, again]);
        }
    }
}
