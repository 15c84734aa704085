//! Small models made in memory, sound and unsound.

use std::path::PathBuf;

use onnx_grad::{
    Dim, ElemType, ValueType, attr,
    proto::{
        AttributeProto, DataLocation, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
        TensorProto, ValueInfoProto,
    },
    value_info,
};
use prost::Message;

use crate::common::Scene;

/// How many classes the models made here have.
pub(crate) const CLASSES: i64 = 4;

/// A node named after its operator.
pub(crate) fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: format!("{op}_{output}"),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..Default::default()
    }
}

/// A float value of the given sizes; 0 stands for a free one.
pub(crate) fn float(name: &str, sizes: &[usize]) -> ValueInfoProto {
    let dim = |&size: &usize| if size == 0 { Dim::Free } else { Dim::Fixed(size) };
    value_info(name, Some(&ValueType { elem: ElemType::Float, shape: Some(sizes.iter().map(dim).collect()) }))
}

/// A constant whose values look random.
pub(crate) fn weights(name: &str, sizes: &[i64]) -> TensorProto {
    let count = sizes.iter().product::<i64>();
    let values: Vec<f64> = (0..count).map(|at| (at as f64 * 12.9898).sin()).collect();
    TensorProto::floats(name, ElemType::Float, sizes, &values)
}

/// image \[N, `channels`, 8, 8\] → Conv → Relu → `middle` (from `relu` to `last`) → mean → MatMul → logits \[N, 4\].
///
/// The scores of class 0 depend on nothing: its weights are zero.
pub(crate) fn classifier(channels: usize, middle: Vec<NodeProto>) -> ModelProto {
    let mut nodes = vec![
        node("Conv", &["image", "kernel"], "conv", vec![attr::ints("pads", &[1, 1, 1, 1])]),
        node("Relu", &["conv"], "relu", vec![]),
    ];
    let last = if middle.is_empty() { "relu" } else { "last" };
    nodes.extend(middle);
    nodes.push(node("GlobalAveragePool", &[last], "mean", vec![]));
    nodes.push(node("Flatten", &["mean"], "flat", vec![]));
    nodes.push(node("MatMul", &["flat", "dense"], "logits", vec![]));
    let mut dense = weights("dense", &[5, CLASSES]).to_floats().expect("floats");
    dense.iter_mut().step_by(CLASSES as usize).for_each(|weight| *weight = 0.0);
    let graph = GraphProto {
        name: "classifier".into(),
        node: nodes,
        input: vec![float("image", &[0, channels, 8, 8])],
        output: vec![float("logits", &[0, CLASSES as usize])],
        initializer: vec![
            weights("kernel", &[5, channels as i64, 3, 3]),
            TensorProto::floats("dense", ElemType::Float, &[5, CLASSES], &dense),
        ],
        ..Default::default()
    };
    ModelProto { graph: Some(graph), ..model() }
}

/// A model of the given graph's parts.
pub(crate) fn of(node: Vec<NodeProto>, input: Vec<ValueInfoProto>, output: Vec<ValueInfoProto>) -> ModelProto {
    ModelProto {
        graph: Some(GraphProto { name: "graph".into(), node, input, output, ..Default::default() }),
        ..model()
    }
}

fn model() -> ModelProto {
    let import = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    ModelProto { ir_version: 8, opset_import: vec![import("", 18), import("com.microsoft", 1)], ..Default::default() }
}

/// Says of the first constant that its data is in the file `weights.bin`.
pub(crate) fn externalise(model: &mut ModelProto) {
    let tensor = &mut model.graph.as_mut().expect("a graph").initializer[0];
    tensor.raw_data = None;
    tensor.float_data.clear();
    tensor.data_location = DataLocation::External as i32;
    tensor.external_data = vec![StringStringEntryProto { key: "location".into(), value: "weights.bin".into() }];
}

impl Scene {
    /// Writes a model into the folder.
    pub(crate) fn model(&self, name: &str, model: &ModelProto) -> PathBuf {
        self.write(name, model.encode_to_vec())
    }
}
