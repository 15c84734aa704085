//! Models that ask for more than there is: deep nesting, endless loops, sizes and attributes out of any range.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{float, graph, model, node, ones};
use onnx_grad::{
    ElemType, Model, Request, Types, attr, differentiate,
    proto::{AttributeProto, AttributeType, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto},
    unroll::unroll,
};

fn case(name: &str) -> Model {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/cases").join(name);
    Model::read(&path).unwrap()
}

fn subgraph(name: &str, body: GraphProto) -> AttributeProto {
    let g = Some(Box::new(body));
    AttributeProto { name: name.into(), r#type: AttributeType::Graph as i32, g, ..Default::default() }
}

fn truth(name: &str) -> TensorProto {
    TensorProto::raw(name, ElemType::Bool, &[], vec![1].into())
}

fn int(name: &str, value: i64) -> TensorProto {
    TensorProto::ints(name, &[], &[value])
}

fn taken_apart(proto: ModelProto) -> onnx_grad::Result<Model> {
    let model = Model::from_proto(proto)?;
    let types = Types::stated(model.graph());
    Ok(unroll(&model, &types)?.unwrap_or(model))
}

/// The message of whatever stands in the way of y's gradient with respect to x.
fn refused(proto: ModelProto) -> String {
    let model = Model::from_proto(proto).unwrap();
    let types = Types::stated(model.graph());
    differentiate(&model, &Request { outputs: &["y"], wrt: &["x"], types: &types }).unwrap_err().to_string()
}

#[test]
fn taking_nested_branches_apart_takes_memory_in_proportion() {
    let model = case("if_deep.onnx");
    let types = Types::stated(model.graph());
    let apart = unroll(&model, &types).unwrap().expect("it is taken apart");
    let nodes = &apart.graph().node;
    assert!(nodes.iter().all(|node| node.op_type != "If"));
    let longest = nodes.iter().flat_map(|node| node.output.iter().chain([&node.name])).map(String::len).max();
    assert!(longest.is_some_and(|longest| longest < 300), "{longest:?}");
    assert!(apart.to_bytes().len() < 20 * model.to_bytes().len());
}

/// A loop within the body of another, so often, each of so many iterations; the innermost doubles.
fn nested_loops(depth: usize, iterations: i64, empty: bool) -> ModelProto {
    let mut inner = match empty {
        true => node("Identity", &["s"], &["n0"], vec![]),
        false => node("Add", &["s", "s"], &["n0"], vec![]),
    };
    for level in 0..depth {
        let out = inner.output[0].clone();
        let mut body = graph(vec![inner], vec![float("i", &[]), float("c", &[]), float("s", &[2])], vec![]);
        body.output = vec![float("c", &[]), float(if empty && level == 0 { "s" } else { &out }, &[2])];
        if empty && level == 0 {
            body.node.clear();
        }
        let (input, output) = (if level + 1 == depth { "x" } else { "s" }, format!("n{}", level + 1));
        let output = if level + 1 == depth { "y".to_owned() } else { output };
        inner = node("Loop", &["m", "", input], &[&output], vec![subgraph("body", body)]);
    }
    let mut whole = graph(vec![inner], vec![float("x", &[2])], vec![float("y", &[2])]);
    whole.initializer.push(int("m", iterations));
    model(whole, 18)
}

#[test]
fn loops_within_loops_are_taken_apart_or_refused() {
    let apart = taken_apart(nested_loops(3, 2, false)).unwrap();
    assert_eq!(apart.graph().node.iter().filter(|node| node.op_type == "Add").count(), 8);
    // Bodies without nodes count too.
    let said = taken_apart(nested_loops(4, 4000, true)).unwrap_err().to_string();
    assert!(said.starts_with("the model is too large to be differentiated: Loop `"), "{said}");
}

#[test]
fn an_endless_loop_is_named_before_anything_runs() {
    let model = case("loop_long.onnx");
    let said = unroll(&model, &Types::stated(model.graph())).unwrap_err().to_string();
    insta::assert_snapshot!(said, @"the model is too large to be differentiated: Loop `r` runs more than 4096 times");
}

#[test]
fn an_endless_loop_in_a_branch_that_may_be_taken_is_named_too() {
    let mut endless = node("Loop", &["m", "", "x"], &["r"], vec![]);
    let mut body = graph(vec![], vec![float("i", &[]), float("c", &[]), float("s", &[2])], vec![]);
    body.output = vec![float("c", &[]), float("s", &[2])];
    endless.attribute.push(subgraph("body", body));
    let branch = |node: NodeProto| graph(vec![node], vec![], vec![float("r", &[2])]);
    let branches = vec![
        subgraph("then_branch", branch(endless)),
        subgraph("else_branch", branch(node("Relu", &["x"], &["r"], vec![]))),
    ];
    let choose = node("If", &["condition"], &["y"], branches);
    let mut whole = graph(vec![choose], vec![float("x", &[2])], vec![float("y", &[2])]);
    whole.initializer.push(int("m", 1 << 40));
    let condition = onnx_grad::ValueType { elem: ElemType::Bool, shape: Some(vec![]) };
    whole.input.push(onnx_grad::value_info("condition", Some(&condition)));
    let mut known = whole.clone();
    let said = taken_apart(model(whole, 18)).unwrap_err().to_string();
    assert!(said.ends_with("Loop `r_Loop` runs more than 4096 times"), "{said}");
    // A branch that is never taken does no harm.
    known.input.pop();
    known.initializer.push(TensorProto { raw_data: Some(vec![0].into()), ..truth("condition") });
    let apart = taken_apart(model(known, 18)).unwrap();
    assert_eq!(apart.graph().node[0].op_type, "Relu");
}

/// A loop of the largest trip count that its condition ends: how exporters write `while`.
#[test]
fn a_loop_that_its_condition_ends_is_taken_apart() {
    let nodes = vec![node("Add", &["s", "s"], &["t"], vec![]), node("Less", &["i", "two"], &["goes_on"], vec![])];
    let mut body = graph(nodes, vec![float("i", &[]), float("c", &[]), float("s", &[2])], vec![]);
    body.output = vec![float("goes_on", &[]), float("t", &[2])];
    let repeat = node("Loop", &["m", "", "x"], &["y"], vec![subgraph("body", body)]);
    let mut whole = graph(vec![repeat], vec![float("x", &[2])], vec![float("y", &[2])]);
    whole.initializer.extend([int("m", i64::MAX), int("two", 2)]);
    let apart = taken_apart(model(whole, 18)).unwrap();
    assert_eq!(apart.graph().node.iter().filter(|node| node.op_type == "Add").count(), 3);
}

#[test]
fn functions_that_double_on_every_level_are_refused_at_once() {
    let name = |level: usize| format!("F{level}");
    let call = |op: String, input: &str, output: &str| NodeProto {
        domain: "local".into(),
        ..node(&op, &[input], &[output], vec![])
    };
    let functions = (0..30).map(|level| FunctionProto {
        name: name(level),
        domain: "local".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: match level {
            0 => vec![node("Relu", &["a"], &["b"], vec![])],
            _ => vec![call(name(level - 1), "a", "t"), call(name(level - 1), "t", "b")],
        },
        ..Default::default()
    });
    let mut proto = model(graph(vec![call(name(29), "x", "y")], vec![float("x", &[2])], vec![float("y", &[2])]), 18);
    proto.functions = functions.collect();
    let start = Instant::now();
    let said = Model::from_proto(proto).unwrap_err().to_string();
    assert!(said.starts_with("the model is too large to be differentiated: with the functions that node `"), "{said}");
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

/// One node from x to y.
fn one(op: &str, sizes: &[usize], out: &[usize], attributes: Vec<AttributeProto>) -> ModelProto {
    let inputs: &[&str] = if op.starts_with("Conv") { &["x", "w"] } else { &["x"] };
    let nodes = vec![node(op, inputs, &["y"], attributes)];
    let mut graph = graph(nodes, vec![float("x", sizes)], vec![float("y", out)]);
    if op.starts_with("Conv") {
        graph.initializer.push(ones("w", &[4, 2, 1, 1]));
    }
    model(graph, 18)
}

#[test]
fn sizes_and_attributes_out_of_range_are_named_rather_than_reckoned_with() {
    let huge = 1usize << 40;
    let mut said = Vec::new();
    said.push(refused(one("Relu", &[1, huge], &[1, huge], vec![])));
    said.push(refused(one("ReduceSum", &[huge, huge], &[1, 1], vec![])));
    let kernel = |size: i64| vec![attr::ints("kernel_shape", &[size, size]), attr::ints("strides", &[1, 1])];
    said.push(refused(one("AveragePool", &[1, 2, 8, 8], &[1, 2, 8, 8], kernel(1 << 20))));
    said.push(refused(one("MaxPool", &[1, 2, 8, 8], &[1, 2, 8, 8], kernel(i64::MAX))));
    said.push(refused(one("Conv", &[1, 2, 8, 8], &[1, 4, 8, 8], vec![attr::int("group", 0)])));
    let strides = vec![attr::ints("strides", &[i64::MAX, 1])];
    said.push(refused(one("ConvTranspose", &[1, 4, 8, 8], &[1, 2, 8, 8], strides)));
    said.push(refused(one("ConvTranspose", &[1, 4, 8, 8], &[1, 2, 8, 8], vec![attr::int("group", -1)])));
    said.push(refused(one("Transpose", &[2, 2], &[2, 2], vec![attr::ints("perm", &[0, 5])])));
    insta::assert_snapshot!(said.join("\n"));
}
