//! What every gradient graph keeps to, whatever its rules.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;

use common::{dense, float, graph, listing, model, node};
use onnx_grad::{
    Builder, Dim, ElemType, Error, Gradient, Model, Request, Types, Val, ValueType, attr, differentiate,
    graph::splice,
    proto::{NodeProto, TensorProto},
    rules::max_pool_gradient,
};

fn gradient(model: &Model, outputs: &[&str], wrt: &[&str]) -> onnx_grad::Result<Gradient> {
    let types = Types::stated(model.graph());
    differentiate(model, &Request { outputs, wrt, types: &types })
}

fn names(infos: &[onnx_grad::proto::ValueInfoProto]) -> Vec<&str> {
    infos.iter().map(|info| &*info.name).collect()
}

#[test]
fn a_dense_layer_goes_back_by_its_transposed_weight() {
    let model = Model::from_proto(dense()).unwrap();
    let gradient = gradient(&model, &["y"], &["h", "x"]).unwrap();
    assert_eq!(gradient.seeds, [("y".to_owned(), "seed.y".to_owned())]);
    let named = |name: &str| (name.to_owned(), Some(format!("grad.{name}")));
    assert_eq!(gradient.gradients, [named("h"), named("x")]);
    assert_eq!(&gradient.forward.graph().node[..2], &model.graph().node[..]);
    assert_eq!(names(&gradient.forward.graph().output), ["y", "h"]);
    let backward = gradient.backward.graph();
    assert_eq!(names(&backward.output), ["grad.h", "grad.x"]);
    assert!(names(&backward.input).contains(&"seed.y"));
    assert!(names(&backward.initializer.iter().map(|w| float(&w.name, &[])).collect::<Vec<_>>()).contains(&"w"));
    let fused = gradient.fuse().unwrap();
    assert_eq!(names(&fused.graph().input), ["x", "seed.y"]);
    assert_eq!(names(&fused.graph().output), ["y", "grad.h", "grad.x"]);
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let bytes = || {
        let gradient = gradient(&Model::from_proto(dense()).unwrap(), &["y"], &["h", "x"]).unwrap();
        [gradient.forward.to_bytes(), gradient.backward.to_bytes(), gradient.fuse().unwrap().to_bytes()]
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn names_are_unique_and_operators_standard() {
    // Names that the builder would choose itself are taken already.
    let mut proto = dense();
    proto.graph.as_mut().unwrap().node.push(node("Neg", &["x"], &["grad/y_Relu/Greater"], vec![]));
    proto.graph.as_mut().unwrap().node.push(node("Neg", &["x"], &["grad/constant"], vec![]));
    let gradient = gradient(&Model::from_proto(proto).unwrap(), &["y"], &["x"]).unwrap();
    let joint = splice(gradient.forward.graph(), gradient.backward.graph());
    let mut seen = HashSet::new();
    let given = joint.input.iter().map(|input| &input.name).chain(joint.initializer.iter().map(|tensor| &tensor.name));
    for name in given.chain(joint.node.iter().flat_map(|node| &node.output)).filter(|name| !name.is_empty()) {
        assert!(seen.insert(name), "{name} is made twice");
    }
    let labels: HashSet<&String> = joint.node.iter().map(|node| &node.name).collect();
    assert_eq!(labels.len(), joint.node.len());
    assert!(joint.node.iter().all(|node| node.domain.is_empty()));
    Model::from_bytes(gradient.fuse().unwrap().to_bytes()).unwrap();
}

#[test]
fn a_value_that_no_output_depends_on_has_no_gradient() {
    let nodes = vec![node("Relu", &["x"], &["y"], vec![]), node("Neg", &["x"], &["aside"], vec![])];
    let proto = model(graph(nodes, vec![float("x", &[2])], vec![float("y", &[2]), float("aside", &[2])]), 18);
    let gradient = gradient(&Model::from_proto(proto).unwrap(), &["y"], &["aside", "x"]).unwrap();
    assert_eq!(gradient.gradients[0], ("aside".to_owned(), None));
    assert_eq!(gradient.gradients[1].1.as_deref(), Some("grad.x"));
    assert_eq!(names(&gradient.backward.graph().output), ["grad.x"]);
}

#[test]
fn an_unknown_name_is_an_error() {
    let model = Model::from_proto(dense()).unwrap();
    for (outputs, wrt) in [(["logits"], ["x"]), (["y"], ["logits"])] {
        let error = gradient(&model, &outputs, &wrt).unwrap_err().to_string();
        assert_eq!(error, "the graph has no value named `logits`");
    }
}

#[test]
fn every_operator_in_the_way_is_listed() {
    let foreign =
        |op: &str, from: &str, to: &str| NodeProto { domain: "com.example".into(), ..node(op, &[from], &[to], vec![]) };
    let mut nodes = vec![
        foreign("Swirl", "x", "a"),
        node("Relu", &["a"], &["b"], vec![]),
        node("MaxRoiPool", &["b"], &["c"], vec![]),
        foreign("Whirl", "c", "y"),
    ];
    nodes[2].name.clear();
    let mut proto = model(graph(nodes, vec![float("x", &[2, 2])], vec![float("y", &[])]), 18);
    let import = onnx_grad::proto::OperatorSetIdProto { domain: "com.example".into(), version: 3 };
    proto.opset_import.push(import);
    let model = Model::from_proto(proto).unwrap();
    let error = gradient(&model, &["y"], &["x"]).unwrap_err();
    assert!(matches!(&error, Error::NotDifferentiable(obstacles) if obstacles.len() == 3));
    assert_eq!(
        error.to_string(),
        "no gradient: 3 nodes are in the way
  Swirl (domain com.example, opset 3) at node `a_Swirl`: there is no gradient rule for this operator
  MaxRoiPool (domain ai.onnx, opset 18) at node `c`: there is no gradient rule for this operator
  Whirl (domain com.example, opset 3) at node `y_Whirl`: there is no gradient rule for this operator"
    );
    let error = gradient(&model, &["c"], &["b"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no gradient: MaxRoiPool (domain ai.onnx, opset 18) at node `c`: there is no gradient rule for this operator"
    );
}

#[test]
fn the_seed_itself_is_the_gradient_of_the_output() {
    let gradient = gradient(&Model::from_proto(dense()).unwrap(), &["y"], &["y"]).unwrap();
    assert_eq!(listing(&gradient.backward.graph().node), ["Identity(seed.y) -> grad.y"]);
}

/// A scale that is computed from a size, as attention layers have it: what a runtime folds must be no output of the forward pass. Some give
/// the value twice then.
#[test]
fn what_comes_of_known_integers_alone_is_not_saved() {
    let nodes = vec![
        node("Shape", &["x"], &["shape"], vec![]),
        node("Gather", &["shape", "last"], &["size"], vec![]),
        node("Cast", &["size"], &["number"], vec![attr::int("to", 1)]),
        node("Sqrt", &["number"], &["root"], vec![]),
        node("Mul", &["x", "root"], &["y"], vec![]),
    ];
    let mut graph = graph(nodes, vec![float("x", &[2, 9])], vec![float("y", &[2, 9])]);
    graph.initializer.push(TensorProto::ints("last", &[], &[1]));
    let model = Model::from_proto(model(graph, 18)).unwrap();
    let mut types = Types::stated(model.graph());
    let ints = |shape: &[usize]| ValueType {
        elem: ElemType::Int64,
        shape: Some(shape.iter().map(|&size| Dim::Fixed(size)).collect()),
    };
    types.insert("size", ints(&[]));
    types.insert_ints("size", vec![9]);
    let gradient = differentiate(&model, &Request { outputs: &["y"], wrt: &["x"], types: &types }).unwrap();
    assert_eq!(gradient.saved, Vec::<String>::new());
    assert_eq!(names(&gradient.forward.graph().output), ["y"]);
    let backward = gradient.backward.graph();
    assert_eq!(names(&backward.input), ["seed.y"]);
    let ops: Vec<&str> = backward.node.iter().map(|node| &*node.op_type).collect();
    assert_eq!(ops, ["Cast", "Sqrt", "Mul"]);
    let size = backward.initializer.iter().find(|tensor| tensor.name == "size").unwrap();
    assert_eq!((size.to_ints().unwrap(), size.dims.len()), (vec![9], 0));
    // Together, the model's own nodes make these values, once.
    let fused = gradient.fuse().unwrap();
    assert_eq!(fused.graph().node.iter().filter(|node| node.op_type == "Sqrt").count(), 1);
    assert!(fused.graph().initializer.iter().all(|tensor| tensor.name != "size"));
}

/// Many runtimes have no second output of `MaxPool`.
#[test]
fn pooling_asks_for_no_places_of_its_maxima() {
    let attributes = vec![attr::ints("kernel_shape", &[2, 2])];
    let nodes = vec![node("MaxPool", &["x"], &["y"], attributes)];
    let proto = model(graph(nodes, vec![float("x", &[0, 1, 3, 3])], vec![float("y", &[0, 1, 2, 2])]), 18);
    let gradient = gradient(&Model::from_proto(proto).unwrap(), &["y"], &["x"]).unwrap();
    assert_eq!(gradient.saved, ["x", "y"]);
    assert_eq!(listing(&gradient.forward.graph().node), ["MaxPool(x) -> y"]);
}

/// What a rule emits for a node, so that a pass finds it: the same nodes as in the backward graph.
#[test]
fn the_form_of_a_pooling_gradient_can_be_had_by_itself() {
    let attributes = vec![attr::ints("kernel_shape", &[3, 2]), attr::ints("strides", &[2, 1])];
    let pool = node("MaxPool", &["x"], &["y"], attributes);
    let proto = model(graph(vec![pool.clone()], vec![float("x", &[0, 1, 7, 3])], vec![float("y", &[0, 1, 3, 2])]), 18);
    let gradient = gradient(&Model::from_proto(proto).unwrap(), &["y"], &["x"]).unwrap();
    let mut g = Builder::new();
    max_pool_gradient(&mut g, &pool, &[7, 3], &[3, 2], ElemType::Float, &Val::new("seed.y")).unwrap();
    let ops = |nodes: &[NodeProto]| nodes.iter().map(|node| node.op_type.clone()).collect::<Vec<_>>();
    assert_eq!(ops(g.nodes()), ops(&gradient.backward.graph().node));
}
