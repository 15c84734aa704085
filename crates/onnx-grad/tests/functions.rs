//! Model-local functions are replaced by their bodies.
#![allow(clippy::unwrap_used)]

mod common;

use common::{dense, float, graph, listing, model, node, refusal};
use onnx_grad::{
    Model, attr,
    proto::{AttributeProto, AttributeType, FunctionProto, ModelProto, NodeProto, OperatorSetIdProto},
};

fn function(name: &str, inputs: &[&str], outputs: &[&str], node: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: name.into(),
        domain: "local".into(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        node,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 18 }],
        ..Default::default()
    }
}

fn call(op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto { domain: "local".into(), ..node(op, inputs, outputs, attributes) }
}

fn calling(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> ModelProto {
    let mut proto = model(graph(nodes, vec![float("x", &[2])], vec![float("y", &[2])]), 18);
    proto.opset_import.push(OperatorSetIdProto { domain: "local".into(), version: 1 });
    proto.functions = functions;
    proto
}

/// An attribute that takes its value from the function's attribute `from`.
fn by_reference(name: &str, from: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), ref_attr_name: from.into(), r#type: kind as i32, ..Default::default() }
}

#[test]
fn calls_within_calls_get_names_of_their_own() {
    let twice = function(
        "Twice",
        &["a"],
        &["b"],
        vec![call("Once", &["a"], &["t"], vec![]), call("Once", &["t"], &["b"], vec![])],
    );
    let once = function(
        "Once",
        &["a"],
        &["b"],
        vec![node("Relu", &["a"], &["t"], vec![]), node("Neg", &["t"], &["b"], vec![])],
    );
    let nodes = vec![call("Twice", &["x"], &["h"], vec![]), call("Twice", &["h"], &["y"], vec![])];
    let model = Model::from_proto(calling(nodes, vec![twice, once])).unwrap();
    assert!(model.proto().functions.is_empty());
    assert_eq!(
        listing(&model.graph().node),
        [
            "Relu(x) -> h_Twice/t_Once/t",
            "Neg(h_Twice/t_Once/t) -> h_Twice/t",
            "Relu(h_Twice/t) -> h_Twice/b_Once/t",
            "Neg(h_Twice/b_Once/t) -> h",
            "Relu(h) -> y_Twice/t_Once/t",
            "Neg(y_Twice/t_Once/t) -> y_Twice/t",
            "Relu(y_Twice/t) -> y_Twice/b_Once/t",
            "Neg(y_Twice/b_Once/t) -> y",
        ]
    );
}

#[test]
fn attributes_come_from_the_call_or_the_defaults() {
    let body = vec![node("LeakyRelu", &["a"], &["b"], vec![by_reference("alpha", "slope", AttributeType::Float)])];
    let leaky = FunctionProto {
        attribute_proto: vec![attr::float("slope", 0.25)],
        ..function("Leaky", &["a"], &["b"], body.clone())
    };
    let optional = FunctionProto { attribute: vec!["slope".into()], ..function("Optional", &["a"], &["b"], body) };
    let nodes = vec![
        call("Leaky", &["x"], &["h"], vec![attr::float("slope", 0.5)]),
        call("Leaky", &["h"], &["i"], vec![]),
        call("Optional", &["i"], &["y"], vec![]),
    ];
    let model = Model::from_proto(calling(nodes, vec![leaky, optional])).unwrap();
    let slopes: Vec<Option<f64>> = model.graph().node.iter().map(|node| node.attr_float("alpha")).collect();
    assert_eq!(slopes, [Some(0.5), Some(0.25), None]);
}

#[test]
fn attributes_pass_through_calls_within_calls() {
    let inner = FunctionProto {
        attribute: vec!["alpha".into()],
        ..function(
            "Inner",
            &["a"],
            &["b"],
            vec![node("LeakyRelu", &["a"], &["b"], vec![by_reference("alpha", "alpha", AttributeType::Float)])],
        )
    };
    let outer = FunctionProto {
        attribute: vec!["slope".into()],
        ..function(
            "Outer",
            &["a"],
            &["b"],
            vec![call("Inner", &["a"], &["b"], vec![by_reference("alpha", "slope", AttributeType::Float)])],
        )
    };
    let nodes = vec![call("Outer", &["x"], &["y"], vec![attr::float("slope", 0.5)])];
    let model = Model::from_proto(calling(nodes, vec![outer, inner])).unwrap();
    assert_eq!(model.graph().node[0].attr_float("alpha"), Some(0.5));
}

#[test]
fn subgraphs_in_a_function_see_the_callers_values() {
    let branch = |op: &str| {
        let body = graph(vec![node(op, &["a"], &["r"], vec![])], vec![], vec![float("r", &[2])]);
        Some(Box::new(body))
    };
    let branches = ["then_branch", "else_branch"].into_iter().zip(["Relu", "Neg"]).map(|(name, op)| AttributeProto {
        name: name.into(),
        r#type: AttributeType::Graph as i32,
        g: branch(op),
        ..Default::default()
    });
    let choose = function("Choose", &["c", "a"], &["b"], vec![node("If", &["c"], &["b"], branches.collect())]);
    let mut proto = calling(vec![call("Choose", &["c", "x"], &["y"], vec![])], vec![choose]);
    let condition = onnx_grad::proto::TensorProto::raw("c", onnx_grad::ElemType::Bool, &[], vec![1].into());
    proto.graph.as_mut().unwrap().initializer.push(condition);
    let model = Model::from_proto(proto).unwrap();
    let choice = &model.graph().node[0];
    assert_eq!(choice.input, ["c"]);
    let inner: Vec<String> = onnx_grad::graph::subgraphs(choice).flat_map(|graph| listing(&graph.node)).collect();
    assert_eq!(inner, ["Relu(x) -> y_Choose/r", "Neg(x) -> y_Choose/r"]);
    assert_eq!(onnx_grad::graph::reads(choice), ["c", "x", "x"]);
}

#[test]
fn an_output_that_is_an_input_goes_through_an_identity() {
    let same = function("Same", &["a"], &["a"], vec![]);
    let model = Model::from_proto(calling(vec![call("Same", &["x"], &["y"], vec![])], vec![same])).unwrap();
    assert_eq!(listing(&model.graph().node), ["Identity(x) -> y"]);
}

#[test]
fn functions_that_call_each_other_without_end_are_refused() {
    let body = |op: &str| vec![call(op, &["a"], &["b"], vec![])];
    let functions = vec![function("A", &["a"], &["b"], body("B")), function("B", &["a"], &["b"], body("A"))];
    let said = refusal(calling(vec![call("A", &["x"], &["y"], vec![])], functions));
    assert!(said.ends_with("call each other without end"), "{said}");
}

#[test]
fn a_model_without_functions_stays_as_it_is() {
    let model = Model::from_proto(dense()).unwrap();
    assert_eq!(model.proto(), &dense());
}
