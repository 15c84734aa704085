//! Graphs for tests, written as text.

use onnx_grad::{
    ElemType, attr,
    proto::{GraphProto, NodeProto, TensorProto},
};

/// `OP input… -> output`, a line each, along the first axis behind the batch; beside them constants with their numbers.
pub(super) fn graph_of(constants: &[(&str, &[f64])], text: &str) -> GraphProto {
    let tensor = |&(name, numbers): &(&str, &[f64])| {
        TensorProto::floats(name.to_owned(), ElemType::Float, &[numbers.len() as i64], numbers)
    };
    let node = |line: &str| {
        let (given, output) = line.trim().split_once(" -> ").expect("an arrow");
        let mut words = given.split(' ').map(str::to_owned);
        NodeProto {
            op_type: words.next().expect("an operator"),
            input: words.collect(),
            output: vec![output.into()],
            attribute: vec![attr::int("axis", 1)],
            ..Default::default()
        }
    };
    GraphProto {
        initializer: constants.iter().map(tensor).collect(),
        node: text.lines().map(node).collect(),
        ..Default::default()
    }
}
