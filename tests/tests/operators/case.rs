//! One row of the table: an operator with its inputs and attributes.

use onnx_grad::{
    ElemType, Model, attr,
    proto::{
        AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
        TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
    },
};

/// How the elements of a float input are drawn: all different, evenly spread, shuffled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    /// −2 to 2, at least 0.02 from the multiples of ½, where clips and the like have their kinks.
    Any,
    /// 0.3 to 2.3.
    Positive,
    /// −0.9 to 0.9.
    Unit,
    /// 1.2 to 3.2.
    AboveOne,
    /// Like `Any`, with a zero in place of about every third.
    Zeros,
}

/// What an input is.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    /// A float input of the model, whose gradient is checked.
    Wanted(Vec<usize>, Draw),
    /// A constant.
    Constant(Box<TensorProto>),
    /// Integers computed as the model runs, from the batch of the first input: where that is free, nobody knows them before.
    Computed(Vec<i64>),
    /// One such integer, without axes.
    ComputedScalar(i64),
    /// Left out.
    Absent,
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The operator.
    pub(crate) op: &'static str,
    /// Its domain; empty for `ai.onnx`.
    pub(crate) domain: &'static str,
    /// The type of its float inputs and constants.
    pub(crate) elem: ElemType,
    /// The opsets it is tried at.
    pub(crate) opsets: Vec<i64>,
    /// Its inputs.
    pub(crate) args: Vec<Arg>,
    /// How many of the last are no inputs of the node, but read by its subgraphs.
    pub(crate) captured: usize,
    /// Its attributes.
    pub(crate) attributes: Vec<AttributeProto>,
    /// How many outputs; gradients flow from each that is a float.
    pub(crate) outputs: usize,
    /// How many of the first outputs nobody wants: they have no names.
    pub(crate) unnamed: usize,
    /// Whether the first axis of the first input, and of others of its rank and batch, is also tried as free.
    pub(crate) free_batch: bool,
    /// Largest relative error of the gradient against finite differences.
    pub(crate) tolerance: f64,
    /// What sets it apart, for messages.
    pub(crate) note: String,
}

/// A row for an operator at opsets 18 and the newest that ONNX Runtime surely has.
pub(crate) fn case(op: &'static str) -> Case {
    Case {
        op,
        domain: "",
        elem: ElemType::Float,
        opsets: vec![18, 22],
        args: Vec::new(),
        captured: 0,
        attributes: Vec::new(),
        outputs: 1,
        unnamed: 0,
        free_batch: false,
        tolerance: 2e-3,
        note: String::new(),
    }
}

impl Case {
    pub(crate) fn opsets(mut self, opsets: &[i64]) -> Self {
        self.opsets = opsets.to_vec();
        self
    }

    pub(crate) fn domain(mut self, domain: &'static str) -> Self {
        self.domain = domain;
        self
    }

    /// All floats in another type. In one that is shorter than float32 the reference is the float32 model's.
    pub(crate) fn elem(mut self, elem: ElemType) -> Self {
        self.elem = elem;
        self
    }

    /// A float input whose gradient is checked.
    pub(crate) fn x(self, shape: &[usize]) -> Self {
        self.x_from(shape, Draw::Any)
    }

    pub(crate) fn x_from(mut self, shape: &[usize], draw: Draw) -> Self {
        self.args.push(Arg::Wanted(shape.to_vec(), draw));
        self
    }

    pub(crate) fn ints(mut self, values: &[i64]) -> Self {
        self.args.push(Arg::Constant(Box::new(TensorProto::ints("", &[values.len() as i64], values))));
        self
    }

    pub(crate) fn int_tensor(mut self, dims: &[i64], values: &[i64]) -> Self {
        self.args.push(Arg::Constant(Box::new(TensorProto::ints("", dims, values))));
        self
    }

    /// A constant of 32-bit integers.
    pub(crate) fn short_ints(mut self, dims: &[i64], values: &[i32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.args.push(Arg::Constant(Box::new(TensorProto::raw("", ElemType::Int32, dims, bytes.into()))));
        self
    }

    pub(crate) fn scalar(mut self, value: f64) -> Self {
        self.args.push(Arg::Constant(Box::new(TensorProto::floats("", ElemType::Float, &[], &[value]))));
        self
    }

    pub(crate) fn floats(mut self, dims: &[i64], values: &[f64]) -> Self {
        self.args.push(Arg::Constant(Box::new(TensorProto::floats("", ElemType::Float, dims, values))));
        self
    }

    pub(crate) fn bools(mut self, dims: &[i64], values: &[bool]) -> Self {
        let bytes: Vec<u8> = values.iter().map(|&value| u8::from(value)).collect();
        self.args.push(Arg::Constant(Box::new(TensorProto::raw("", ElemType::Bool, dims, bytes.into()))));
        self
    }

    pub(crate) fn computed(mut self, values: &[i64]) -> Self {
        self.args.push(Arg::Computed(values.to_vec()));
        self
    }

    pub(crate) fn computed_scalar(mut self, value: i64) -> Self {
        self.args.push(Arg::ComputedScalar(value));
        self
    }

    pub(crate) fn absent(mut self) -> Self {
        self.args.push(Arg::Absent);
        self
    }

    pub(crate) fn attr_ints(mut self, name: &str, values: &[i64]) -> Self {
        self.attributes.push(attr::ints(name, values));
        self
    }

    pub(crate) fn attr_int(mut self, name: &str, value: i64) -> Self {
        self.attributes.push(attr::int(name, value));
        self
    }

    pub(crate) fn attr_float(mut self, name: &str, value: f64) -> Self {
        self.attributes.push(attr::float(name, value));
        self
    }

    pub(crate) fn attr_floats(mut self, name: &str, values: &[f32]) -> Self {
        let attribute = AttributeProto { floats: values.to_vec(), ..attr::float(name, 0.0) };
        let r#type = AttributeType::Floats as i32;
        self.attributes.push(AttributeProto { r#type, f: None, ..attribute });
        self
    }

    pub(crate) fn attr_str(mut self, name: &str, value: &str) -> Self {
        self.attributes.push(attr::string(name, value));
        self
    }

    pub(crate) fn outputs(mut self, outputs: usize) -> Self {
        self.outputs = outputs;
        self
    }

    pub(crate) fn unnamed(mut self, unnamed: usize) -> Self {
        self.unnamed = unnamed;
        self
    }

    pub(crate) fn free_batch(mut self) -> Self {
        self.free_batch = true;
        self
    }

    pub(crate) fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    pub(crate) fn note(mut self, note: &str) -> Self {
        self.note = note.to_owned();
        self
    }

    /// Whether input `i` has the same batch as the first.
    pub(crate) fn has_batch(&self, i: usize) -> bool {
        let shape = |i: usize| match &self.args[i] {
            Arg::Wanted(shape, _) => Some(shape),
            _ => None,
        };
        match (shape(0), shape(i)) {
            (Some(first), Some(this)) => first.len() == this.len() && first.first() == this.first(),
            _ => false,
        }
    }

    /// The name of input `i`.
    pub(crate) fn input_name(i: usize) -> String {
        format!("x{i}")
    }

    /// The name of output `i`.
    pub(crate) fn output_name(i: usize) -> String {
        format!("y{i}")
    }

    /// A model of this one node.
    pub(crate) fn model(&self, opset: i64, free_batch: bool) -> Model {
        let mut graph = GraphProto { name: self.op.into(), ..Default::default() };
        let mut node = NodeProto {
            op_type: self.op.into(),
            domain: self.domain.into(),
            name: "node".into(),
            attribute: self.attributes.clone(),
            output: (0..self.outputs)
                .map(|i| if i < self.unnamed { String::new() } else { Self::output_name(i) })
                .collect(),
            ..Default::default()
        };
        for (i, arg) in self.args.iter().enumerate() {
            let name = Self::input_name(i);
            if i + self.captured < self.args.len() {
                node.input.push(if matches!(arg, Arg::Absent) { String::new() } else { name.clone() });
            }
            match arg {
                Arg::Wanted(shape, _) => {
                    graph.input.push(float_input(&name, self.elem, shape, free_batch && self.has_batch(i)));
                }
                Arg::Constant(tensor) => graph.initializer.push(TensorProto { name, ..self.typed(tensor) }),
                Arg::Computed(values) => graph.node.extend(self.computing(&name, values)),
                Arg::ComputedScalar(value) => {
                    let list = format!("{name}.list");
                    graph.node.extend(self.computing(&list, &[*value]));
                    graph.node.push(NodeProto {
                        op_type: "Squeeze".into(),
                        name: name.clone(),
                        input: vec![list],
                        output: vec![name],
                        ..Default::default()
                    });
                }
                Arg::Absent => {}
            }
        }
        let named = node.output.iter().filter(|name| !name.is_empty());
        graph.output = named.map(|name| onnx_grad::value_info(name, None)).collect();
        graph.node.push(node);
        let mut opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
        if !self.domain.is_empty() {
            opset_import.push(OperatorSetIdProto { domain: self.domain.into(), version: 1 });
        }
        let proto = ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() };
        Model::from_proto(proto).expect("a sound model")
    }

    /// A constant in the row's float type.
    fn typed(&self, tensor: &TensorProto) -> TensorProto {
        match tensor.to_floats() {
            Ok(values) => TensorProto::floats("", self.elem, &tensor.dims, &values),
            Err(_) => tensor.clone(),
        }
    }

    /// Nodes that compute integers: themselves, plus how much the batch is larger than stated.
    fn computing(&self, name: &str, values: &[i64]) -> [NodeProto; 3] {
        let batch = match &self.args[0] {
            Arg::Wanted(shape, _) => shape[0] as i64,
            _ => 0,
        };
        let less: Vec<i64> = values.iter().map(|value| value - batch).collect();
        let constant = |output: String, values: &[i64]| NodeProto {
            op_type: "Constant".into(),
            name: output.clone(),
            output: vec![output],
            attribute: vec![attr::tensor("value", TensorProto::ints("", &[values.len() as i64], values))],
            ..Default::default()
        };
        let node = |op: &str, input: Vec<String>, output: String| NodeProto {
            op_type: op.into(),
            name: output.clone(),
            input,
            output: vec![output],
            ..Default::default()
        };
        let of = |what: &str| format!("{name}.{what}");
        let mut shape = node("Shape", vec![Self::input_name(0)], of("batch"));
        shape.attribute.push(attr::int("end", 1));
        let add = node("Add", vec![of("batch"), of("less")], name.to_owned());
        [constant(of("less"), &less), shape, add]
    }
}

fn float_input(name: &str, elem: ElemType, shape: &[usize], free_batch: bool) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = |(axis, &size): (usize, &usize)| Dimension {
        value: Some(match axis {
            0 if free_batch => Value::DimParam("batch".into()),
            _ => Value::DimValue(size as i64),
        }),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: shape.iter().enumerate().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: elem.code(), shape: Some(shape) };
    let value = Some(type_proto::Value::TensorType(tensor));
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { value, ..Default::default() }), ..Default::default() }
}
