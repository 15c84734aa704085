//! A gradient is whole or an error: what is discrete on the way to the scores, with a residual network around it, so that the part
//! that has a gradient would look plausible.
#![allow(clippy::unwrap_used)]

mod common;

use common::{float, graph, model, node, ones};
use onnx_grad::{
    ElemType, Error, Model, Request, Types, UnsupportedNode, ValueType, attr, differentiate,
    proto::{AttributeProto, NodeProto, TensorProto},
};

/// h = relu(x · w), then the nodes between `h` and `d`, then y = (h + d) · v: d has the shape of h.
fn residual(nodes: Vec<NodeProto>, types: &[(&str, ElemType)]) -> Result<(), Vec<UnsupportedNode>> {
    let before = vec![node("MatMul", &["x", "w"], &["a"], vec![]), node("Relu", &["a"], &["h"], vec![])];
    let after = vec![node("Add", &["h", "d"], &["s"], vec![]), node("MatMul", &["s", "v"], &["y"], vec![])];
    gradient(before.into_iter().chain(nodes).chain(after).collect(), types, &["y"], &["x", "h"])
}

fn gradient(
    nodes: Vec<NodeProto>,
    types: &[(&str, ElemType)],
    outputs: &[&str],
    wrt: &[&str],
) -> Result<(), Vec<UnsupportedNode>> {
    let names: Vec<String> = nodes.iter().flat_map(|node| node.output.clone()).collect();
    let mut graph = graph(nodes, vec![float("x", &[1, 4])], vec![float("y", &[1, 3])]);
    graph.initializer = vec![ones("w", &[4, 4]), ones("v", &[4, 3]), ones("square", &[4, 4]), ones("table", &[9, 4])];
    let scalar = |name: &str, elem, value| TensorProto::floats(name, elem, &[], &[value]);
    graph.initializer.extend([
        scalar("half", ElemType::Float, 0.5),
        scalar("three", ElemType::Float, 3.0),
        TensorProto::ints("one", &[], &[1]),
        TensorProto::ints("axes", &[1], &[-1]),
        TensorProto::ints("two", &[1], &[2]),
    ]);
    let mut proto = model(graph, 20);
    let import = onnx_grad::proto::OperatorSetIdProto { domain: "com.example".into(), version: 1 };
    proto.opset_import.push(import);
    let model = Model::from_proto(proto).unwrap();
    let mut all = Types::default();
    for name in &names {
        let elem = types.iter().find(|(of, _)| of == name).map_or(ElemType::Float, |(_, elem)| *elem);
        let shape = Some(vec![onnx_grad::Dim::Fixed(1), onnx_grad::Dim::Fixed(4)]);
        all.insert(name.clone(), ValueType { elem, shape });
    }
    match differentiate(&model, &Request { outputs, wrt, types: &all }) {
        Ok(_) => Ok(()),
        Err(Error::NotDifferentiable(obstacles)) => Err(obstacles),
        Err(other) => panic!("{other}"),
    }
}

fn to(elem: ElemType) -> Vec<AttributeProto> {
    vec![attr::int("to", i64::from(elem.code()))]
}

fn op(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    node(op, inputs, &[output], vec![])
}

fn cast(from: &str, output: &str, elem: ElemType) -> NodeProto {
    node("Cast", &[from], &[output], to(elem))
}

#[track_caller]
fn refused(result: Result<(), Vec<UnsupportedNode>>, nodes: &[&str]) {
    let obstacles = result.expect_err("should be refused");
    let found: Vec<&str> = obstacles.iter().map(|obstacle| &*obstacle.node).collect();
    assert_eq!(found, nodes, "{obstacles:?}");
}

const INT: ElemType = ElemType::Int64;

#[test]
fn the_rest_of_the_network_is_differentiated() {
    assert_eq!(residual(vec![op("Tanh", &["h"], "d")], &[]), Ok(()));
}

#[test]
fn a_cast_to_integers_and_back_is_refused() {
    let nodes = vec![cast("h", "i", INT), cast("i", "d", ElemType::Float)];
    refused(residual(nodes, &[("i", INT)]), &["i_Cast"]);
}

#[test]
fn integer_arithmetic_between_floats_is_refused() {
    let nodes = vec![cast("h", "i", INT), op("Mul", &["i", "one"], "j"), op("Mul", &["j", "j"], "k")];
    let back = nodes.into_iter().chain([cast("k", "d", ElemType::Float)]).collect();
    refused(residual(back, &[("i", INT), ("j", INT), ("k", INT)]), &["i_Cast"]);
}

#[test]
fn bit_operations_between_floats_are_refused() {
    let shift = node("BitShift", &["i", "i"], &["j"], vec![attr::string("direction", "LEFT")]);
    for middle in [op("BitwiseAnd", &["i", "one"], "j"), op("BitwiseXor", &["i", "one"], "j"), shift] {
        let nodes = vec![cast("h", "i", INT), middle, cast("j", "d", ElemType::Float)];
        refused(residual(nodes, &[("i", INT), ("j", INT)]), &["i_Cast"]);
    }
}

#[test]
fn rounding_down_and_up_is_refused_where_it_carries_a_signal() {
    for kind in ["Floor", "Ceil"] {
        let nodes = vec![op("Div", &["h", "half"], "i"), op(kind, &["i"], "j"), op("Mul", &["j", "half"], "d")];
        refused(residual(nodes, &[]), &[&format!("j_{kind}")]);
    }
}

#[test]
fn the_index_of_a_maximum_is_refused_in_arithmetic() {
    let index = node("ArgMax", &["h"], &["i"], vec![attr::int("axis", 1)]);
    let nodes = vec![index.clone(), cast("i", "f", ElemType::Float), op("Mul", &["f", "h"], "d")];
    refused(residual(nodes, &[("i", INT)]), &["i_ArgMax"]);
    // As one of TopK's outputs too.
    let nodes = vec![
        node("TopK", &["h", "two"], &["t", "i"], vec![]),
        cast("i", "f", ElemType::Float),
        op("Tanh", &["f"], "g"),
        op("ReduceSum", &["g"], "d"),
    ];
    refused(residual(nodes, &[("i", INT)]), &["t_TopK"]);
}

#[test]
fn the_index_of_a_maximum_is_right_as_an_index() {
    let index = node("ArgMax", &["h"], &["i"], vec![attr::int("axis", 1)]);
    let nodes = vec![index.clone(), node("Gather", &["square", "i"], &["d"], vec![])];
    assert_eq!(residual(nodes, &[("i", INT)]), Ok(()));
    let nodes = vec![index.clone(), node("Gather", &["h", "i"], &["d"], vec![attr::int("axis", 1)])];
    assert_eq!(residual(nodes, &[("i", INT)]), Ok(()));
    // Computed with as an integer, and told as a number beside the scores: the class column of a detector.
    let nodes = vec![
        index,
        op("Add", &["i", "one"], "j"),
        cast("j", "f", ElemType::Float),
        node("Concat", &["h", "f"], &["y"], vec![attr::int("axis", 1)]),
    ];
    let before = [op("MatMul", &["x", "w"], "a"), op("Relu", &["a"], "h")];
    let nodes = before.into_iter().chain(nodes).collect();
    assert_eq!(gradient(nodes, &[("i", INT), ("j", INT)], &["y"], &["x"]), Ok(()));
}

#[test]
fn masks_by_comparison_are_constants() {
    let mask = op("Greater", &["h", "half"], "m");
    let types = [("m", ElemType::Bool)];
    let nodes = vec![mask.clone(), node("Where", &["m", "h", "half"], &["d"], vec![])];
    assert_eq!(residual(nodes, &types), Ok(()));
    let product = vec![mask.clone(), cast("m", "f", ElemType::Float), op("Mul", &["f", "h"], "d")];
    assert_eq!(residual(product, &types), Ok(()));
    // Counted, and as what is added to scores before a softmax.
    let count =
        vec![mask.clone(), cast("m", "f", ElemType::Float), op("ReduceSum", &["f"], "n"), op("Div", &["h", "n"], "d")];
    assert_eq!(residual(count, &types), Ok(()));
    let added = vec![
        mask,
        node("Where", &["m", "half", "three"], &["f"], vec![]),
        op("Add", &["h", "f"], "e"),
        op("Softmax", &["e"], "d"),
    ];
    assert_eq!(residual(added, &types), Ok(()));
    let signed =
        vec![op("Sign", &["h"], "m"), op("Abs", &["h"], "b"), op("Sqrt", &["b"], "r"), op("Mul", &["m", "r"], "d")];
    assert_eq!(residual(signed, &[]), Ok(()));
}

#[test]
fn a_mask_that_goes_through_weights_is_refused() {
    let spikes =
        vec![op("Greater", &["h", "half"], "m"), cast("m", "f", ElemType::Float), op("MatMul", &["f", "square"], "d")];
    refused(residual(spikes, &[("m", ElemType::Bool)]), &["d_MatMul"]);
    let signs = vec![op("Sign", &["h"], "m"), op("MatMul", &["m", "square"], "d")];
    refused(residual(signs, &[]), &["d_MatMul"]);
}

#[test]
fn what_rounding_leaves_has_the_slope_of_the_number() {
    let simple = vec![op("Floor", &["h"], "f"), op("Sub", &["h", "f"], "d")];
    assert_eq!(residual(simple, &[]), Ok(()));
    // As interpolations spell their weights: both neighbours by integers, which also say where to read.
    let weights = vec![
        op("Floor", &["h"], "f"),
        cast("f", "i", INT),
        op("Add", &["i", "one"], "j"),
        cast("j", "g", ElemType::Float),
        op("Sub", &["g", "h"], "near"),
        node("GatherElements", &["h", "j"], &["read"], vec![attr::int("axis", 1)]),
        op("Mul", &["near", "read"], "d"),
    ];
    assert_eq!(residual(weights, &[("i", INT), ("j", INT)]), Ok(()));
    // By a period: x − 3 floor(x / 3).
    let modulo = vec![
        op("Div", &["h", "three"], "q"),
        op("Floor", &["q"], "f"),
        op("Mul", &["f", "three"], "p"),
        op("Sub", &["h", "p"], "d"),
    ];
    assert_eq!(residual(modulo, &[]), Ok(()));
}

#[test]
fn rounding_spelled_as_what_is_added_is_refused() {
    // x + (floor(x) − x) is floor(x), however it is written.
    let nodes = vec![op("Floor", &["h"], "f"), op("Sub", &["f", "h"], "r"), op("Add", &["h", "r"], "d")];
    refused(residual(nodes, &[]), &["f_Floor"]);
    let nodes = vec![op("Floor", &["h"], "f"), op("Sub", &["h", "f"], "r"), op("Sub", &["h", "r"], "d")];
    refused(residual(nodes, &[]), &["f_Floor"]);
}

#[test]
fn rounded_numbers_looked_up_in_a_table_are_refused() {
    let nodes = vec![cast("h", "i", INT), node("Gather", &["table", "i"], &["d"], vec![])];
    refused(residual(nodes, &[("i", INT)]), &["i_Cast"]);
}

#[test]
fn an_unknown_operator_that_makes_integers_is_refused() {
    let foreign = NodeProto { domain: "com.example".into(), ..op("Swirl", &["h"], "i") };
    let nodes = vec![foreign, cast("i", "d", ElemType::Float)];
    refused(residual(nodes, &[("i", INT)]), &["i_Swirl"]);
}

#[test]
fn a_score_that_is_rounded_is_refused() {
    let nodes = vec![op("MatMul", &["x", "w"], "h"), op("Floor", &["h"], "y")];
    refused(gradient(nodes, &[], &["y"], &["x"]), &["y_Floor"]);
}

#[test]
fn only_what_lies_between_layer_and_score_counts() {
    let nodes = vec![
        op("Floor", &["x"], "f"),
        op("MatMul", &["f", "w"], "h"),
        op("Tanh", &["h"], "y"),
        op("Floor", &["y"], "aside"),
    ];
    assert_eq!(gradient(nodes.clone(), &[], &["y"], &["h"]), Ok(()));
    refused(gradient(nodes, &[], &["y"], &["x"]), &["f_Floor"]);
}

#[test]
fn every_such_node_is_listed_with_what_it_does() {
    let nodes = vec![
        op("Floor", &["h"], "f"),
        op("Add", &["f", "h"], "e"),
        cast("e", "i", INT),
        cast("i", "g", ElemType::Float),
        op("Mul", &["g", "e"], "d"),
    ];
    let obstacles = residual(nodes, &[("i", INT)]).unwrap_err();
    let text: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "Floor (domain ai.onnx, opset 20) at node `f_Floor`: the numbers in steps that it makes have no gradient, and \
             `e_Add` computes with them: part of the gradient would be missing",
            "Cast (domain ai.onnx, opset 20) at node `i_Cast`: the integers that it makes have no gradient, and `d_Mul` \
             computes with them: part of the gradient would be missing",
        ]
    );
}
