//! Emits nodes as expressions.
//!
//! ```
//! use onnx_grad::{Builder, ElemType};
//!
//! let mut g = Builder::new();
//! let (activation, gradient) = (g.input("activation"), g.input("gradient"));
//! let weight = g.reduce_mean(&gradient, &[2, 3], true);
//! let weighted = g.mul(&activation, &weight);
//! let heat = g.reduce_sum(&weighted, &[1], false);
//! let heat = g.relu(&heat);
//! ```

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use prost::Message;

use crate::{
    attr,
    graph::{FreshNames, NameMap},
    model::Model,
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto},
    types::ElemType,
};

/// The opset of emitted nodes. From this opset on, axes and pads are inputs of every operator, not attributes.
pub const EMITTED_OPSET: i64 = 18;

/// A value of the graph under construction, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Val(Arc<str>);

impl Val {
    /// The value of that name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// An optional input that is left out.
    pub fn absent() -> Self {
        Self::new("")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Emits standard `ai.onnx` nodes (opset 18 and later forms).
///
/// Asking twice for the same operator with the same inputs and attributes gives the same value: a transposed weight or a mask
/// that several rules want is computed once. Names are unique and depend on the order of calls alone.
#[derive(Debug, Default)]
pub struct Builder {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    names: FreshNames,
    /// The positions of the nodes from [`Builder::ops`], by what they compute (see [`Builder::key`]).
    known: NameMap<u64, usize>,
    hasher: foldhash::fast::RandomState,
    /// The constants by their bytes.
    constants: NameMap<Vec<u8>, Val>,
    scope: String,
    /// Room for a name, and for bytes.
    text: String,
    bytes: Vec<u8>,
}

impl Builder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder whose names differ from all of `taken`.
    pub fn avoiding(taken: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let mut builder = Self::default();
        taken.into_iter().for_each(|name| builder.names.take(name.as_ref()));
        builder
    }

    /// Sets the prefix of the names of nodes emitted from now on.
    pub fn set_scope(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// Declares an input.
    pub fn input(&mut self, name: &str) -> Val {
        self.names.take(name);
        Val::new(name)
    }

    /// The nodes so far, in topological order.
    pub fn nodes(&self) -> &[NodeProto] {
        &self.nodes
    }

    /// Takes the nodes out, to be emitted again as they are or as others; the constants stay.
    pub(crate) fn take_nodes(&mut self) -> Vec<NodeProto> {
        self.known.clear();
        std::mem::take(&mut self.nodes)
    }

    /// The constants so far.
    pub fn constants(&self) -> &[TensorProto] {
        &self.initializers
    }

    /// The nodes and constants.
    pub fn into_parts(self) -> (Vec<NodeProto>, Vec<TensorProto>) {
        (self.nodes, self.initializers)
    }

    /// The model of what was built, at opset [`EMITTED_OPSET`]. `inputs` and `outputs` state the names and types of its inputs and outputs.
    ///
    /// # Errors
    /// A node reads, or an output names, a value that nothing computes.
    pub fn into_model(self, inputs: Vec<ValueInfoProto>, outputs: Vec<ValueInfoProto>) -> crate::Result<Model> {
        let graph = GraphProto {
            name: "program".into(),
            node: self.nodes,
            initializer: self.initializers,
            input: inputs,
            output: outputs,
            ..Default::default()
        };
        Model::from_proto(ModelProto {
            ir_version: 8,
            producer_name: "onnx-grad".into(),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: EMITTED_OPSET }],
            graph: Some(graph),
            ..Default::default()
        })
    }

    /// A new unique name that begins with the scope.
    pub fn fresh(&mut self, stem: &str) -> String {
        self.text.clear();
        if !self.scope.is_empty() {
            self.text.push_str(&self.scope);
            self.text.push('/');
        }
        self.text.push_str(stem);
        self.names.give(&self.text)
    }

    /// This name, or with a number where something has it already.
    pub(crate) fn unused(&mut self, name: &str) -> String {
        self.names.give(name)
    }

    // ---- nodes in general ----

    /// Any operator with one output.
    pub fn op(&mut self, op: &str, inputs: &[&Val], attributes: Vec<AttributeProto>) -> Val {
        let at = self.emit(op, inputs, attributes, 1);
        Val::new(&self.nodes[at].output[0])
    }

    /// Any operator with `outputs` outputs.
    pub fn ops(&mut self, op: &str, inputs: &[&Val], attributes: Vec<AttributeProto>, outputs: usize) -> Vec<Val> {
        let at = self.emit(op, inputs, attributes, outputs);
        self.nodes[at].output.iter().map(|name| Val::new(name)).collect()
    }

    /// The position of the node that computes this: a new one where none does yet.
    fn emit(&mut self, op: &str, inputs: &[&Val], attributes: Vec<AttributeProto>, outputs: usize) -> usize {
        // Trailing inputs that are left out need not be written.
        let written = inputs.iter().rposition(|value| !value.name().is_empty()).map_or(0, |last| last + 1);
        let inputs = &inputs[..written];
        encode(&attributes, &mut self.bytes);
        let mut key = self.key(op, inputs, outputs);
        // Another node of the same key is in the way of the next one, as in any hash table.
        while let Some(&at) = self.known.get(&key) {
            let node = &self.nodes[at];
            if node.op_type == op
                && node.output.len() == outputs
                && node.input.iter().eq(inputs.iter().map(|value| value.name()))
                && is_encoded(&node.attribute, &self.bytes)
            {
                return at;
            }
            key = key.wrapping_add(1);
        }
        let name = self.fresh(op);
        let output = match outputs {
            1 => vec![name.clone()],
            _ => (0..outputs).map(|at| self.fresh(&format!("{op}.{at}"))).collect(),
        };
        let at = self.nodes.len();
        self.known.insert(key, at);
        self.nodes.push(NodeProto {
            op_type: op.to_owned(),
            name,
            input: inputs.iter().map(|value| value.name().to_owned()).collect(),
            output,
            attribute: attributes,
            ..Default::default()
        });
        at
    }

    /// A number that nodes which compute the same share, and others almost never; the attributes are in `bytes`.
    fn key(&self, op: &str, inputs: &[&Val], outputs: usize) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        op.hash(&mut hasher);
        inputs.iter().for_each(|value| value.name().hash(&mut hasher));
        (&self.bytes, outputs).hash(&mut hasher);
        hasher.finish()
    }

    /// A node made elsewhere; its names must come from [`Builder::fresh`].
    pub fn push(&mut self, node: NodeProto) {
        self.nodes.push(node);
    }

    // ---- constants ----

    /// A constant tensor; its name is made up.
    pub fn constant(&mut self, mut tensor: TensorProto) -> Val {
        tensor.name.clear();
        self.bytes.clear();
        tensor.encode(&mut self.bytes).unwrap_or_default();
        if let Some(value) = self.constants.get(&self.bytes) {
            return value.clone();
        }
        tensor.name = self.names.give("grad/constant");
        let value = Val::new(&tensor.name);
        self.initializers.push(tensor);
        self.constants.insert(self.bytes.clone(), value.clone());
        value
    }

    /// A one-dimensional constant of 64-bit integers.
    pub fn ints(&mut self, values: &[i64]) -> Val {
        self.constant(TensorProto::ints("", &[values.len() as i64], values))
    }

    /// An integer scalar.
    pub fn int(&mut self, value: i64) -> Val {
        self.constant(TensorProto::ints("", &[], &[value]))
    }

    /// A float scalar of the given type.
    pub fn scalar(&mut self, elem: ElemType, value: f64) -> Val {
        self.constant(TensorProto::floats("", elem, &[], &[value]))
    }

    /// A float constant of the given type and shape.
    pub fn floats(&mut self, elem: ElemType, dims: &[i64], values: &[f64]) -> Val {
        self.constant(TensorProto::floats("", elem, dims, values))
    }

    // ---- elementwise ----

    /// a + b
    pub fn add(&mut self, a: &Val, b: &Val) -> Val {
        self.op("Add", &[a, b], vec![])
    }

    /// a − b
    pub fn sub(&mut self, a: &Val, b: &Val) -> Val {
        self.op("Sub", &[a, b], vec![])
    }

    /// a · b
    pub fn mul(&mut self, a: &Val, b: &Val) -> Val {
        self.op("Mul", &[a, b], vec![])
    }

    /// a / b
    pub fn div(&mut self, a: &Val, b: &Val) -> Val {
        self.op("Div", &[a, b], vec![])
    }

    /// aᵇ
    pub fn pow(&mut self, a: &Val, b: &Val) -> Val {
        self.op("Pow", &[a, b], vec![])
    }

    /// −a
    pub fn neg(&mut self, a: &Val) -> Val {
        self.op("Neg", &[a], vec![])
    }

    /// Any operator of one input and no attributes: `Exp`, `Log`, `Sqrt`, `Tanh`, `Sign`, …
    pub fn unary(&mut self, op: &str, a: &Val) -> Val {
        self.op(op, &[a], vec![])
    }

    /// max(a, 0)
    pub fn relu(&mut self, a: &Val) -> Val {
        self.op("Relu", &[a], vec![])
    }

    /// Any operator of two inputs and no attributes: `Less`, `Equal`, `And`, `Max`, …
    pub fn binary(&mut self, op: &str, a: &Val, b: &Val) -> Val {
        self.op(op, &[a, b], vec![])
    }

    /// `condition ? a : b`, elementwise
    pub fn where_(&mut self, condition: &Val, a: &Val, b: &Val) -> Val {
        self.op("Where", &[condition, a, b], vec![])
    }

    /// Cast to another element type.
    pub fn cast(&mut self, a: &Val, to: ElemType) -> Val {
        self.op("Cast", &[a], vec![attr::int("to", i64::from(to.code()))])
    }

    /// a times a number.
    pub fn scale(&mut self, a: &Val, elem: ElemType, factor: f64) -> Val {
        if factor == 1.0 {
            return a.clone();
        }
        let factor = self.scalar(elem, factor);
        self.mul(a, &factor)
    }

    /// The sum of all, as a balanced tree of `Add`.
    pub fn sum(&mut self, terms: &[Val]) -> Option<Val> {
        match terms {
            [] => None,
            [one] => Some(one.clone()),
            many => {
                let (left, right) = many.split_at(many.len() / 2);
                let (left, right) = (self.sum(left)?, self.sum(right)?);
                Some(self.add(&left, &right))
            }
        }
    }

    // ---- reductions and products ----

    /// Any of ONNX's `Reduce…` operators over the given axes. No axes: the value itself, unreduced.
    pub fn reduce(&mut self, op: &str, a: &Val, axes: &[i64], keepdims: bool) -> Val {
        if axes.is_empty() {
            return a.clone();
        }
        let axes = self.ints(axes);
        self.op(op, &[a, &axes], vec![attr::int("keepdims", i64::from(keepdims))])
    }

    /// Sum over the given axes; none: the value itself.
    pub fn reduce_sum(&mut self, a: &Val, axes: &[i64], keepdims: bool) -> Val {
        self.reduce("ReduceSum", a, axes, keepdims)
    }

    /// Sum over the given axes of a value of type `elem`, accumulated in float32 where the type is a 16-bit float.
    pub fn sum_over(&mut self, a: &Val, elem: ElemType, axes: &[i64], keepdims: bool) -> Val {
        if axes.is_empty() || elem.accumulator() == elem {
            return self.reduce_sum(a, axes, keepdims);
        }
        let wide = self.cast(a, elem.accumulator());
        let sum = self.reduce_sum(&wide, axes, keepdims);
        self.cast(&sum, elem)
    }

    /// Mean over the given axes; none: the value itself.
    pub fn reduce_mean(&mut self, a: &Val, axes: &[i64], keepdims: bool) -> Val {
        self.reduce("ReduceMean", a, axes, keepdims)
    }

    /// Matrix product over the last two axes, the others broadcast.
    pub fn matmul(&mut self, a: &Val, b: &Val) -> Val {
        self.op("MatMul", &[a, b], vec![])
    }

    // ---- shape ----

    /// The shape, as a one-dimensional tensor of 64-bit integers.
    pub fn shape(&mut self, a: &Val) -> Val {
        self.op("Shape", &[a], vec![])
    }

    /// Reshaped to a constant shape; one entry may be −1.
    pub fn reshape(&mut self, a: &Val, dims: &[i64]) -> Val {
        let shape = self.ints(dims);
        self.reshape_to(a, &shape)
    }

    /// Reshaped to a computed shape.
    pub fn reshape_to(&mut self, a: &Val, shape: &Val) -> Val {
        self.op("Reshape", &[a, shape], vec![])
    }

    /// Transposed: axis i of the result is axis `perm[i]` of the value.
    pub fn transpose(&mut self, a: &Val, perm: &[i64]) -> Val {
        if perm.iter().enumerate().all(|(at, &from)| at as i64 == from) {
            return a.clone();
        }
        self.op("Transpose", &[a], vec![attr::ints("perm", perm)])
    }

    /// Squeezed: without the given axes, which have size 1.
    pub fn squeeze(&mut self, a: &Val, axes: &[i64]) -> Val {
        if axes.is_empty() {
            return a.clone();
        }
        let axes = self.ints(axes);
        self.op("Squeeze", &[a, &axes], vec![])
    }

    /// Unsqueezed: with new axes of size 1 at the given positions of the result.
    pub fn unsqueeze(&mut self, a: &Val, axes: &[i64]) -> Val {
        if axes.is_empty() {
            return a.clone();
        }
        let axes = self.ints(axes);
        self.op("Unsqueeze", &[a, &axes], vec![])
    }

    /// Broadcast to a computed shape (both ways, as ONNX's `Expand` does).
    pub fn expand_to(&mut self, a: &Val, shape: &Val) -> Val {
        self.op("Expand", &[a, shape], vec![])
    }

    /// Concatenated along an axis.
    pub fn concat(&mut self, parts: &[&Val], axis: i64) -> Val {
        match parts {
            [one] => (*one).clone(),
            many => self.op("Concat", many, vec![attr::int("axis", axis)]),
        }
    }

    /// A slice: `starts..ends` by `steps` along `axes`.
    pub fn slice(&mut self, a: &Val, starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]) -> Val {
        let (starts, ends, axes) = (self.ints(starts), self.ints(ends), self.ints(axes));
        let steps = if steps.iter().all(|&step| step == 1) { Val::absent() } else { self.ints(steps) };
        self.op("Slice", &[a, &starts, &ends, &axes, &steps], vec![])
    }

    /// Padded with zeros: `pads` holds the begins of every axis, then the ends. Negative ones crop, by a `Slice`: not every runtime has a
    /// `Pad` that does.
    pub fn pad_zeros(&mut self, a: &Val, pads: &[i64]) -> Val {
        let (begins, ends) = pads.split_at(pads.len() / 2);
        let cropped = |axis: &i64| begins[*axis as usize] < 0 || ends[*axis as usize] < 0;
        let axes: Vec<i64> = (0..begins.len() as i64).filter(cropped).collect();
        let mut value = a.clone();
        if !axes.is_empty() {
            let starts: Vec<i64> = axes.iter().map(|&axis| (-begins[axis as usize]).max(0)).collect();
            let stop = |&axis: &i64| if ends[axis as usize] < 0 { ends[axis as usize] } else { i64::MAX };
            let ends: Vec<i64> = axes.iter().map(stop).collect();
            value = self.slice(&value, &starts, &ends, &axes, &[1]);
        }
        let pads: Vec<i64> = pads.iter().map(|&pad| pad.max(0)).collect();
        if pads.iter().all(|&pad| pad == 0) {
            return value;
        }
        let pads = self.ints(&pads);
        self.op("Pad", &[&value, &pads], vec![])
    }

    /// A tensor of one float value, of a computed shape.
    pub fn full(&mut self, shape: &Val, elem: ElemType, value: f64) -> Val {
        let value = TensorProto::floats("value", elem, &[1], &[value]);
        self.op("ConstantOfShape", &[shape], vec![attr::tensor("value", value)])
    }
}

/// The attributes as bytes: floats that differ in their bits alone are different constants.
fn encode(attributes: &[AttributeProto], bytes: &mut Vec<u8>) {
    bytes.clear();
    for attribute in attributes {
        attribute.encode_length_delimited(bytes).unwrap_or_default();
    }
}

fn is_encoded(attributes: &[AttributeProto], bytes: &[u8]) -> bool {
    if attributes.is_empty() {
        return bytes.is_empty();
    }
    let mut own = Vec::with_capacity(bytes.len());
    encode(attributes, &mut own);
    own == bytes
}
