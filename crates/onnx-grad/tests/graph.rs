//! Looking things up in a graph, cutting it, splicing two.
#![allow(clippy::unwrap_used)]

mod common;

use common::{dense, float, graph, listing, node};
use onnx_grad::{
    Model,
    graph::{Index, cut, label, splice, used_names},
    proto::NodeProto,
};

fn names(infos: &[onnx_grad::proto::ValueInfoProto]) -> Vec<&str> {
    infos.iter().map(|info| &*info.name).collect()
}

#[test]
fn the_index_knows_makers_and_readers() {
    let model = Model::from_proto(dense()).unwrap();
    let index = Index::new(model.graph());
    assert_eq!((index.producer("h"), index.producer("y"), index.producer("x")), (Some(0), Some(1), None));
    assert_eq!((index.consumers("x"), index.consumers("h"), index.consumers("y")), (&[0][..], &[1][..], &[][..]));
    assert!(index.is_given("x") && index.is_given("w") && !index.is_given("h"));
    assert!(index.initializer("w").is_some() && index.initializer("x").is_none());
    assert_eq!(index.info("h").map(|info| &*info.name), Some("h"));
}

#[test]
fn a_node_without_a_name_goes_by_its_output() {
    let named = node("Relu", &["x"], &["y"], vec![]);
    let unnamed = NodeProto { name: String::new(), ..named.clone() };
    assert_eq!((label(&named), label(&unnamed)), ("y_Relu", "y"));
}

#[test]
fn a_cut_keeps_only_what_its_outputs_need() {
    let model = Model::from_proto(dense()).unwrap();
    let first = cut(model.graph(), &["x"], &["h"]).unwrap();
    assert_eq!(listing(&first.node), ["MatMul(x, w) -> h"]);
    assert_eq!((names(&first.input), names(&first.output)), (vec!["x"], vec!["h"]));
    assert_eq!(first.output[0], float("h", &[0, 3]));
    let second = cut(model.graph(), &["h"], &["y"]).unwrap();
    assert_eq!(listing(&second.node), ["Relu(h) -> y"]);
    assert_eq!(names(&second.input), ["h"]);
    assert!(second.initializer.is_empty());
}

#[test]
fn cut_parts_splice_back_to_the_whole() {
    let model = Model::from_proto(dense()).unwrap();
    let whole = model.graph();
    let joint = splice(&cut(whole, &["x"], &["h"]).unwrap(), &cut(whole, &["h"], &["y"]).unwrap());
    assert_eq!(joint.node, whole.node);
    assert_eq!(joint.initializer, whole.initializer);
    assert_eq!((names(&joint.input), names(&joint.output)), (vec!["x"], vec!["h", "y"]));
    let again = cut(&joint, &["x"], &["y"]).unwrap();
    assert_eq!(
        (again.node, again.input, again.output),
        (whole.node.clone(), whole.input.clone(), whole.output.clone())
    );
}

#[test]
fn splicing_shares_what_both_have() {
    let model = Model::from_proto(dense()).unwrap();
    let joint = splice(model.graph(), model.graph());
    assert_eq!(&joint, model.graph());
}

#[test]
fn cutting_at_an_unknown_name_is_an_error() {
    let model = Model::from_proto(dense()).unwrap();
    let error = cut(model.graph(), &["x"], &["nothing"]).unwrap_err().to_string();
    assert_eq!(error, "the graph has no value named `nothing`");
}

#[test]
fn used_names_are_those_of_values_and_nodes() {
    let body = graph(vec![node("Relu", &["x"], &["inner"], vec![])], vec![], vec![float("inner", &[1])]);
    let branch =
        onnx_grad::proto::AttributeProto { name: "then_branch".into(), g: Some(Box::new(body)), ..Default::default() };
    let outer = graph(vec![node("If", &["c"], &["y"], vec![branch])], vec![float("x", &[1])], vec![]);
    let used = used_names(&outer);
    for name in ["x", "y", "y_If", "inner", "inner_Relu"] {
        assert!(used.contains(name), "{name}");
    }
}
