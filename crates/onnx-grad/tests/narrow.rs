//! Gradients that are zero outside of a part: the zeros are put around as late as they can be.
#![allow(clippy::unwrap_used)]

mod common;

use common::{float, graph, model, node, ones};
use onnx_grad::{
    Dim, ElemType, Gradient, Model, Request, Types, ValueType, attr, differentiate,
    proto::{GraphProto, NodeProto, TensorProto},
    value_info,
};

/// x is \[N, 16, 4\] and every value in between is; `last` make y.
fn tokens(nodes: Vec<NodeProto>, last: Vec<NodeProto>, y: &[usize]) -> GraphProto {
    let shaped = nodes.iter().flat_map(|node| &node.output).map(|name| float(name, &[0, 16, 4])).collect();
    let mut graph = graph([nodes, last].concat(), vec![float("x", &[0, 16, 4])], vec![float("y", y)]);
    graph.value_info = shaped;
    graph.initializer = vec![ones("w", &[4, 4]), ones("scale", &[4]), ones("rows", &[16, 4]), ones("mix", &[16, 16])];
    let scalar = |name: &str, value: i64| TensorProto::ints(name, &[], &[value]);
    graph.initializer.extend([scalar("first", 0), scalar("second", 1), scalar("last", -1)]);
    graph
}

fn gather(x: &str, index: &str, y: &str) -> NodeProto {
    node("Gather", &[x, index], &[y], vec![attr::int("axis", 1)])
}

fn gradient(graph: GraphProto) -> Gradient {
    let model = Model::from_proto(model(graph, 20)).unwrap();
    let types = Types::stated(model.graph());
    differentiate(&model, &Request { outputs: &["y"], wrt: &["x"], types: &types }).unwrap()
}

/// The operators of the backward pass that read what an operator of that kind makes, or give it.
fn readers(gradient: &Gradient, op: &str) -> Vec<String> {
    let nodes = &gradient.backward.graph().node;
    let made: Vec<&String> = nodes.iter().filter(|node| node.op_type == op).flat_map(|node| &node.output).collect();
    let mut readers: Vec<String> = nodes
        .iter()
        .filter(|node| node.input.iter().any(|name| made.contains(&name)))
        .map(|node| node.op_type.clone())
        .collect();
    let outputs = gradient.backward.graph().output.iter().filter(|output| made.contains(&&output.name));
    readers.extend(outputs.map(|output| output.name.clone()));
    readers
}

fn count(graph: &GraphProto, op: &str) -> usize {
    graph.node.iter().filter(|node| node.op_type == op).count()
}

fn saved_shapes(gradient: &Gradient) -> Vec<Vec<Option<usize>>> {
    let types = Types::stated(gradient.backward.graph());
    let shape = |name: &String| types.get(name).unwrap().shape.clone().unwrap();
    gradient.saved.iter().map(|name| shape(name).into_iter().map(Dim::fixed).collect()).collect()
}

/// A transformer's feed-forward layer.
fn feed_forward() -> Vec<NodeProto> {
    vec![
        node("LayerNormalization", &["x", "scale"], &["n"], vec![attr::int("axis", -1)]),
        node("MatMul", &["n", "w"], &["h"], vec![]),
        node("Add", &["h", "scale"], &["b"], vec![]),
        node("Gelu", &["b"], &["g"], vec![]),
        node("MatMul", &["g", "w"], &["f"], vec![]),
        node("Add", &["x", "f"], &["sum"], vec![]),
    ]
}

#[test]
fn a_class_token_goes_back_alone() {
    let gradient = gradient(tokens(feed_forward(), vec![gather("sum", "first", "y")], &[0, 4]));
    // The zeros are put around the gradient itself and nothing before.
    assert_eq!(readers(&gradient, "Pad"), ["grad.x"]);
    assert_eq!(count(gradient.backward.graph(), "Pad"), 1);
    // What is saved is the token's; of one value that is read where it is made there is one slice.
    assert_eq!(saved_shapes(&gradient), [[None, Some(1), Some(4)], [None, Some(1), Some(4)]]);
    let slices: Vec<&str> = gradient.forward.graph().node.iter().rev().take(2).map(|node| &*node.op_type).collect();
    assert_eq!(slices, ["Slice", "Slice"]);
}

#[test]
fn twice_gives_the_same_bytes() {
    let bytes = || {
        let gradient = gradient(tokens(feed_forward(), vec![gather("sum", "first", "y")], &[0, 4]));
        [gradient.forward.to_bytes(), gradient.backward.to_bytes(), gradient.fuse().unwrap().to_bytes()]
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn slices_are_read_from_either_end_and_from_slices() {
    let bounds = |name: &str, value: i64| TensorProto::ints(name, &[1], &[value]);
    for (start, end, axis) in [(0, 1, 1), (-1, 16, -2), (12, 100, -2), (2, 9, 1)] {
        let last = vec![
            node("Slice", &["sum", "start", "end", "axis"], &["part"], vec![]),
            node("Slice", &["part", "zero", "one", "axis"], &["y"], vec![]),
        ];
        let mut graph = tokens(feed_forward(), last, &[0, 1, 4]);
        let values = [("start", start), ("end", end), ("axis", axis), ("zero", 0), ("one", 1)];
        graph.initializer.extend(values.map(|(name, value)| bounds(name, value)));
        graph
            .value_info
            .push(float("part", &[0, (if end < 16 { end } else { 16 } - start.rem_euclid(16)) as usize, 4]));
        let gradient = gradient(graph);
        assert_eq!(readers(&gradient, "Pad"), ["grad.x"], "{start}..{end}");
        assert_eq!(saved_shapes(&gradient), [[None, Some(1), Some(4)], [None, Some(1), Some(4)]], "{start}..{end}");
    }
}

#[test]
fn parts_are_added_before_zeros_are_put_around() {
    let two = |index: &str| {
        let last = vec![
            gather("sum", "first", "one"),
            gather("sum", index, "other"),
            node("Add", &["one", "other"], &["y"], vec![]),
        ];
        let mut graph = tokens(feed_forward(), last, &[0, 4]);
        graph.value_info.extend([float("one", &[0, 4]), float("other", &[0, 4])]);
        gradient(graph)
    };
    // The same token, by two nodes; and its neighbour, as distilled models have it: the two go back as one part.
    assert_eq!(readers(&two("first"), "Pad"), ["grad.x"]);
    let neighbours = two("second");
    assert_eq!(readers(&neighbours, "Pad"), ["Add", "grad.x"]);
    assert_eq!(saved_shapes(&neighbours), [[None, Some(2), Some(4)], [None, Some(2), Some(4)]]);
    // From the first to the last is everything.
    let far = two("last");
    assert_eq!(readers(&far, "Pad"), ["Add"]);
    assert_eq!(saved_shapes(&far), [[None, Some(16), Some(4)], [None, Some(16), Some(4)]]);
}

#[test]
fn a_large_part_goes_back_as_a_whole() {
    let bounds = |name: &str, value: i64| TensorProto::ints(name, &[1], &[value]);
    let part = |len: i64| {
        let last = vec![node("Slice", &["h", "start", "end", "axis"], &["y"], vec![])];
        let mut graph = tokens(vec![node("Tanh", &["x"], &["h"], vec![])], last, &[0, len as usize, 4]);
        graph.initializer.extend([bounds("start", 0), bounds("end", len), bounds("axis", 1)]);
        gradient(graph)
    };
    assert_eq!(readers(&part(4), "Pad"), ["grad.x"]);
    assert_eq!(readers(&part(5), "Pad"), ["Mul"]);
}

/// Which operators read the padded gradient where the model is these nodes from x to h, then the first token.
fn behind(nodes: Vec<NodeProto>) -> Vec<String> {
    readers(&gradient(tokens(nodes, vec![gather("h", "first", "y")], &[0, 4])), "Pad")
}

#[test]
fn nodes_that_work_token_by_token_are_run_on_the_part() {
    for op in ["Erf", "Relu", "Sigmoid", "Neg", "Identity", "Exp", "Sqrt", "Softplus", "HardSwish", "Mish", "Abs"] {
        assert_eq!(behind(vec![node(op, &["x"], &["h"], vec![])]), ["grad.x"], "{op}");
    }
    for op in ["Add", "Sub", "Mul", "Div", "Max"] {
        for other in ["scale", "rows"] {
            assert_eq!(behind(vec![node(op, &["x", other], &["h"], vec![])]), ["grad.x"], "{op} {other}");
        }
        let square = vec![node("Neg", &["x"], &["t"], vec![]), node(op, &["x", "t"], &["h"], vec![])];
        assert_eq!(behind(square), ["grad.x"], "{op}");
    }
    assert_eq!(behind(vec![node("MatMul", &["x", "w"], &["h"], vec![])]), ["grad.x"]);
    assert_eq!(behind(vec![node("Softmax", &["x"], &["h"], vec![attr::int("axis", -1)])]), ["grad.x"]);
    assert_eq!(behind(vec![node("LpNormalization", &["x"], &["h"], vec![])]), ["grad.x"]);
    let swapped = |op: NodeProto| {
        let perm = || vec![attr::ints("perm", &[1, 0, 2])];
        vec![node("Transpose", &["x"], &["t"], perm()), op, node("Transpose", &["u"], &["h"], perm())]
    };
    let mut graph = tokens(swapped(node("Tanh", &["t"], &["u"], vec![])), vec![gather("h", "first", "y")], &[0, 4]);
    graph.value_info.retain(|info| info.name == "h");
    graph.value_info.extend([float("t", &[16, 0, 4]), float("u", &[16, 0, 4])]);
    assert_eq!(readers(&gradient(graph), "Pad"), ["grad.x"]);
}

#[test]
fn tokens_that_mix_are_read_by_the_part_and_written_whole() {
    // Rows of a constant matrix: the product goes over the part alone, and its result is whole.
    let mixed =
        gradient(tokens(vec![node("MatMul", &["mix", "x"], &["h"], vec![])], vec![gather("h", "first", "y")], &[0, 4]));
    assert_eq!(count(mixed.backward.graph(), "Pad"), 0);
    assert_eq!(behind(vec![node("Softmax", &["x"], &["h"], vec![attr::int("axis", 1)])]), ["Sub"]);
}

#[test]
fn tokens_merged_with_a_free_batch_come_apart_again() {
    let list = |name: &str, values: &[i64]| TensorProto::ints(name, &[values.len() as i64], values);
    let merged = |transposed: bool| {
        let perm = || vec![attr::ints("perm", &[1, 0, 2])];
        let nodes = if transposed {
            vec![
                node("Transpose", &["x"], &["t"], perm()),
                node("Reshape", &["t", "to_rows"], &["r"], vec![]),
                node("Gemm", &["r", "w"], &["p"], vec![attr::int("transB", 1)]),
                node("Reshape", &["p", "from_rows"], &["u"], vec![]),
                node("Transpose", &["u"], &["h"], perm()),
            ]
        } else {
            vec![
                node("Reshape", &["x", "to_rows"], &["r"], vec![]),
                node("Gemm", &["r", "w"], &["p"], vec![attr::int("transB", 1)]),
                node("Reshape", &["p", "from_rows"], &["h"], vec![]),
            ]
        };
        let mut graph = tokens(nodes, vec![gather("h", "first", "y")], &[0, 4]);
        let outer = if transposed { [16, -1, 4] } else { [-1, 16, 4] };
        graph.initializer.extend([list("to_rows", &[-1, 4]), list("from_rows", &outer)]);
        graph.value_info.retain(|info| info.name == "h");
        graph.value_info.extend([float("t", &[16, 0, 4]), float("u", &[16, 0, 4])]);
        graph.value_info.extend([float("r", &[0, 4]), float("p", &[0, 4])]);
        gradient(graph)
    };
    assert_eq!(readers(&merged(true), "Pad"), ["grad.x"]);
    assert_eq!(readers(&merged(false), "Pad"), ["grad.x"]);
}

#[test]
fn what_has_no_known_shape_is_whole() {
    let mut graph = tokens(feed_forward(), vec![gather("sum", "first", "y")], &[0, 4]);
    graph.value_info.retain(|info| info.name != "b");
    graph.value_info.push(value_info("b", Some(&ValueType { elem: ElemType::Float, shape: None })));
    let model = Model::from_proto(model(graph, 20)).unwrap();
    let types = Types::stated(model.graph());
    let gradient = differentiate(&model, &Request { outputs: &["y"], wrt: &["g"], types: &types }).unwrap();
    assert_eq!(readers(&gradient, "Pad"), ["grad.g"]);
    // GELU's slope is that of b.
    let gradient = differentiate(&model, &Request { outputs: &["y"], wrt: &["b"], types: &types }).unwrap();
    assert_eq!(readers(&gradient, "Pad"), ["Mul"]);
}
