//! Small models made in memory, for the tests of the public interface.
#![allow(dead_code, clippy::expect_used)]

use onnx_grad::{
    Dim, ElemType, Model, ValueType,
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto},
    value_info,
};

/// A node named after its first output.
pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: format!("{}_{op}", outputs[0]),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        attribute,
        ..Default::default()
    }
}

/// A float value of the given sizes; 0 stands for a free one.
pub(crate) fn float(name: &str, sizes: &[usize]) -> ValueInfoProto {
    let dim = |&size: &usize| if size == 0 { Dim::Free } else { Dim::Fixed(size) };
    value_info(name, Some(&ValueType { elem: ElemType::Float, shape: Some(sizes.iter().map(dim).collect()) }))
}

/// A float constant, all ones.
pub(crate) fn ones(name: &str, sizes: &[i64]) -> TensorProto {
    let count = sizes.iter().product::<i64>() as usize;
    TensorProto::floats(name, ElemType::Float, sizes, &vec![1.0; count])
}

pub(crate) fn graph(node: Vec<NodeProto>, input: Vec<ValueInfoProto>, output: Vec<ValueInfoProto>) -> GraphProto {
    GraphProto { name: "test".into(), node, input, output, ..Default::default() }
}

pub(crate) fn model(graph: GraphProto, opset: i64) -> ModelProto {
    ModelProto {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
        ..Default::default()
    }
}

/// y = relu(x · w), h = x · w; x is \[N, 4\], w is \[4, 3\].
pub(crate) fn dense() -> ModelProto {
    let nodes = vec![node("MatMul", &["x", "w"], &["h"], vec![]), node("Relu", &["h"], &["y"], vec![])];
    let mut graph = graph(nodes, vec![float("x", &[0, 4])], vec![float("y", &[0, 3])]);
    graph.initializer.push(ones("w", &[4, 3]));
    graph.value_info.push(float("h", &[0, 3]));
    model(graph, 18)
}

/// What is said of a model that is refused.
pub(crate) fn refusal(proto: ModelProto) -> String {
    Model::from_proto(proto).map(|_| ()).expect_err("should be refused").to_string()
}

/// `op(inputs) -> outputs` of every node.
pub(crate) fn listing(nodes: &[NodeProto]) -> Vec<String> {
    let line = |node: &NodeProto| format!("{}({}) -> {}", node.op_type, node.input.join(", "), node.output.join(", "));
    nodes.iter().map(line).collect()
}
