//! Gradient rules from elsewhere: what they give is put into the backward graph, or refused with a reason.
#![allow(clippy::unwrap_used)]

mod common;

use common::{float, graph, model, node};
use onnx_grad::{
    ForeignNode, ForeignRules, Gradient, Model, Request, Types, differentiate_with,
    proto::{FunctionProto, NodeProto, OperatorSetIdProto},
};

/// Gives one function for `test.Twice`.
struct Rules(FunctionProto);

impl ForeignRules for Rules {
    fn gradient(&self, node: &ForeignNode<'_>) -> Option<Result<FunctionProto, String>> {
        (node.node.op_type == "Twice" && node.wanted == [true]).then(|| Ok(self.0.clone()))
    }
}

fn function(nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: "gradient".into(),
        input: ["x", "y", "gy"].map(str::to_owned).to_vec(),
        output: vec!["gx".into()],
        node: nodes,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 18 }],
        ..Default::default()
    }
}

fn differentiate(function: FunctionProto) -> onnx_grad::Result<Gradient> {
    let mut twice = node("Twice", &["x"], &["h"], vec![]);
    twice.domain = "test".into();
    let nodes = vec![twice, node("Relu", &["h"], &["y"], vec![])];
    let mut proto = model(graph(nodes, vec![float("x", &[2, 3])], vec![float("y", &[2, 3])]), 18);
    proto.opset_import.push(OperatorSetIdProto { domain: "test".into(), version: 1 });
    proto.graph.as_mut().unwrap().value_info.push(float("h", &[2, 3]));
    let model = Model::from_proto(proto)?;
    let types = Types::stated(model.graph());
    differentiate_with(&model, &Request { outputs: &["y"], wrt: &["x"], types: &types }, &Rules(function))
}

fn refused(function: FunctionProto) -> String {
    differentiate(function).unwrap_err().to_string()
}

#[test]
fn the_body_becomes_part_of_the_backward_graph() {
    let gradient = differentiate(function(vec![node("Add", &["gy", "gy"], &["gx"], vec![])])).unwrap();
    let backward = gradient.backward.graph();
    let added = backward.node.iter().find(|node| node.op_type == "Add").unwrap();
    assert!(added.input[0] == added.input[1] && added.input[0] != "gy", "{:?}", added.input);
    assert_eq!(gradient.gradients[0].1.as_deref(), Some("grad.x"));
}

#[test]
fn what_is_no_gradient_is_refused() {
    let good = || node("Add", &["gy", "gy"], &["gx"], vec![]);
    let mut foreign = good();
    foreign.domain = "test".into();
    let wrong = [
        (function(vec![]), "nothing makes `gx`"),
        (function(vec![node("Add", &["gy", "q"], &["gx"], vec![])]), "`q` is read in its function before it is made"),
        (function(vec![good(), good()]), "`gx` is made twice"),
        (function(vec![foreign]), "uses `test.Add`"),
        (FunctionProto { input: vec!["x".into()], ..function(vec![good()]) }, "takes 1 values, not the 3"),
        (FunctionProto { output: vec![], ..function(vec![good()]) }, "gives 0 gradients for 1 inputs"),
        (FunctionProto { opset_import: vec![], ..function(vec![good()]) }, "says no opset"),
        (
            FunctionProto { output: vec![String::new()], ..function(vec![good()]) },
            "with respect to the input `x` has no rule",
        ),
    ];
    for (function, reason) in wrong {
        let said = refused(function);
        assert!(said.contains(reason) && said.contains("Twice (domain test, opset 1)"), "{said}");
    }
    let newer = OperatorSetIdProto { domain: String::new(), version: 99 };
    let said = refused(FunctionProto { opset_import: vec![newer], ..function(vec![good()]) });
    assert!(said.contains("is of opset 99"), "{said}");
}
