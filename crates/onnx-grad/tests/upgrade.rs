//! Nodes of old opsets in their opset-18 forms. (That they compute the same, bit for bit, is checked with the runtime at hand.)
#![allow(clippy::unwrap_used)]

mod common;

use common::{float, graph, listing, model, node, ones};
use onnx_grad::{
    Error, Model, attr,
    proto::{AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto, TensorProto},
    upgrade::upgrade,
};

fn upgraded(nodes: Vec<NodeProto>, opset: i64) -> Model {
    let outputs = nodes.last().unwrap().output.iter().map(|name| onnx_grad::value_info(name, None)).collect();
    let proto = model(graph(nodes, vec![float("x", &[2, 3, 4, 5])], outputs), opset);
    brought_up(proto).unwrap()
}

fn brought_up(proto: ModelProto) -> onnx_grad::Result<Model> {
    let ir_version = 3;
    let model = upgrade(&Model::from_proto(ModelProto { ir_version, ..proto })?, 18)?;
    assert_eq!(model.opset(""), Some(18));
    assert!(model.proto().ir_version >= 8);
    // What was made is a valid graph: names unique, every value made before it is read.
    Model::from_bytes(model.to_bytes())
}

fn refusal(node: NodeProto, opset: i64) -> String {
    let output = node.output.last().unwrap().clone();
    let proto = model(graph(vec![node], vec![float("x", &[2, 3, 4, 5])], vec![float(&output, &[])]), opset);
    brought_up(proto).unwrap_err().to_string()
}

fn constant(model: &Model, name: &str) -> TensorProto {
    model.graph().initializer.iter().find(|tensor| tensor.name == name).cloned().unwrap()
}

fn ints(model: &Model, name: &str) -> Vec<i64> {
    constant(model, name).to_ints().unwrap()
}

#[test]
fn a_model_that_is_new_enough_stays_as_it_is() {
    for opset in [18, 19, 28] {
        let proto = model(graph(vec![node("Relu", &["x"], &["y"], vec![])], vec![float("x", &[1])], vec![]), opset);
        assert_eq!(upgrade(&Model::from_proto(proto.clone()).unwrap(), 18).unwrap().proto(), &proto);
    }
}

#[test]
fn a_model_that_is_too_old_is_refused() {
    let proto = model(graph(vec![node("Relu", &["x"], &["y"], vec![])], vec![float("x", &[1])], vec![]), 6);
    let error = brought_up(proto).unwrap_err();
    assert!(matches!(error, Error::TooOld { found: 6, oldest: 7 }));
    assert_eq!(error.to_string(), "the model is of opset 6, and the oldest that can be differentiated is 7");
}

#[test]
fn axes_become_an_input() {
    let axes = vec![attr::ints("axes", &[1, 3])];
    for (op, opset) in [("Squeeze", 12), ("Unsqueeze", 7), ("ReduceSum", 12), ("ReduceMean", 17), ("ReduceMax", 13)] {
        let model = upgraded(vec![node(op, &["x"], &["y"], axes.clone())], opset);
        assert_eq!(listing(&model.graph().node), [format!("{op}(x, y_{op}.axes) -> y")]);
        assert!(model.graph().node[0].attribute.is_empty());
        assert_eq!(ints(&model, &format!("y_{op}.axes")), [1, 3]);
    }
    let all = upgraded(vec![node("ReduceMean", &["x"], &["y"], vec![attr::int("keepdims", 0)])], 17);
    assert_eq!(listing(&all.graph().node), ["ReduceMean(x) -> y"]);
}

#[test]
fn reduce_sum_of_opset_13_has_its_axes_already() {
    let model = upgraded(vec![node("ReduceSum", &["x"], &["y"], vec![])], 13);
    assert_eq!(listing(&model.graph().node), ["ReduceSum(x) -> y"]);
}

#[test]
fn split_states_its_sizes_or_its_number() {
    let split = |attributes| node("Split", &["x"], &["y", "z"], attributes);
    let sized = upgraded(vec![split(vec![attr::int("axis", 1), attr::ints("split", &[1, 2])])], 11);
    assert_eq!(listing(&sized.graph().node), ["Split(x, y_Split.split) -> y, z"]);
    assert_eq!(ints(&sized, "y_Split.split"), [1, 2]);
    assert_eq!(sized.graph().node[0].attr_int("num_outputs"), None);
    for opset in [7, 13, 17] {
        let even = upgraded(vec![split(vec![attr::int("axis", 2)])], opset);
        assert_eq!(listing(&even.graph().node), ["Split(x) -> y, z"]);
        assert_eq!(even.graph().node[0].attr_int("num_outputs"), Some(2));
    }
}

#[test]
fn slice_bounds_become_inputs() {
    let attributes = vec![attr::ints("starts", &[1]), attr::ints("ends", &[3]), attr::ints("axes", &[2])];
    let model = upgraded(vec![node("Slice", &["x"], &["y"], attributes)], 9);
    assert_eq!(listing(&model.graph().node), ["Slice(x, y_Slice.starts, y_Slice.ends, y_Slice.axes) -> y"]);
    let bounds = ["starts", "ends", "axes"].map(|name| ints(&model, &format!("y_Slice.{name}")));
    assert_eq!(bounds, [[1], [3], [2]]);
}

#[test]
fn pads_become_inputs() {
    let pads = attr::ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1]);
    let zeros = upgraded(vec![node("Pad", &["x"], &["y"], vec![pads.clone()])], 10);
    assert_eq!(listing(&zeros.graph().node), ["Pad(x, y_Pad.pads) -> y"]);
    let ones = upgraded(vec![node("Pad", &["x"], &["y"], vec![pads, attr::float("value", 1.0)])], 10);
    assert_eq!(listing(&ones.graph().node), ["Pad(x, y_Pad.pads, y_Pad.value) -> y"]);
    assert_eq!(constant(&ones, "y_Pad.value").to_floats().unwrap(), [1.0]);
}

#[test]
fn clip_bounds_become_inputs() {
    let clip = |attributes| vec![node("Clip", &["x"], &["y"], attributes)];
    let both = upgraded(clip(vec![attr::float("max", 6.0), attr::float("min", 0.0)]), 10);
    assert_eq!(listing(&both.graph().node), ["Clip(x, y_Clip.min, y_Clip.max) -> y"]);
    assert_eq!(constant(&both, "y_Clip.max").to_floats().unwrap(), [6.0]);
    let upper = upgraded(clip(vec![attr::float("max", 6.0)]), 10);
    assert_eq!(listing(&upper.graph().node), ["Clip(x, , y_Clip.max) -> y"]);
}

#[test]
fn bounds_have_the_type_of_what_they_bound() {
    let to_half = || node("Cast", &["x"], &["h"], vec![attr::int("to", 10)]);
    let clip = || node("Clip", &["h"], &["y"], vec![attr::float("max", 6.0)]);
    // Two float types in the model, and nothing says which one `h` has.
    let unknown = upgraded(vec![to_half(), clip()], 10);
    assert_eq!(
        listing(&unknown.graph().node)[1..],
        ["CastLike(y_Clip.max, h) -> y_Clip.CastLike", "Clip(h, , y_Clip.CastLike) -> y"]
    );
    let mut stated = model(graph(vec![to_half(), clip()], vec![float("x", &[2])], vec![]), 10);
    let half = onnx_grad::ValueType { elem: onnx_grad::ElemType::Float16, shape: None };
    stated.graph.as_mut().unwrap().value_info.push(onnx_grad::value_info("h", Some(&half)));
    let stated = brought_up(stated).unwrap();
    assert_eq!(constant(&stated, "y_Clip.max").elem_type(), onnx_grad::ElemType::Float16);
}

#[test]
fn top_k_takes_its_number_as_an_input() {
    let model = upgraded(vec![node("TopK", &["x"], &["y", "i"], vec![attr::int("k", 2)])], 9);
    assert_eq!(listing(&model.graph().node), ["TopK(x, y_TopK.k) -> y, i"]);
    assert_eq!(ints(&model, "y_TopK.k"), [2]);
}

#[test]
fn dropout_hands_through_and_has_no_mask() {
    let ratio = vec![attr::float("ratio", 0.5)];
    let model = upgraded(vec![node("Dropout", &["x"], &["y"], ratio.clone())], 9);
    assert_eq!(model.graph().node[0].attribute, []);
    assert_eq!(
        refusal(node("Dropout", &["x"], &["y", "mask"], ratio), 9),
        "cannot upgrade node `y_Dropout` (Dropout, opset 9): its mask output changed its meaning"
    );
    // A mask that nothing reads is in most files of the old model zoo.
    let nodes = vec![node("Dropout", &["x"], &["d", "mask"], vec![]), node("Relu", &["d"], &["y"], vec![])];
    assert_eq!(listing(&upgraded(nodes, 9).graph().node), ["Dropout(x) -> d", "Relu(d) -> y"]);
}

#[test]
fn softmax_over_the_last_axis_says_so() {
    let softmax = |axis| node("Softmax", &["x"], &["y"], vec![attr::int("axis", axis)]);
    let last = upgraded(vec![softmax(3)], 12);
    assert_eq!(listing(&last.graph().node), ["Softmax(x) -> y"]);
    assert_eq!(last.graph().node[0].attr_int("axis"), Some(-1));
    // The rank follows from what comes before: no types are stated here.
    let nodes = vec![
        node("Flatten", &["x"], &["f"], vec![]),
        node("Relu", &["f"], &["r"], vec![]),
        node("LogSoftmax", &["r"], &["y"], vec![]),
    ];
    assert_eq!(listing(&upgraded(nodes, 9).graph().node).len(), 3);
}

#[test]
fn softmax_over_several_axes_goes_through_a_matrix() {
    let model = upgraded(vec![node("Softmax", &["x"], &["y"], vec![])], 12);
    assert_eq!(
        listing(&model.graph().node),
        [
            "Shape(x) -> y_Softmax.Shape",
            "Flatten(x) -> y_Softmax.Flatten",
            "Softmax(y_Softmax.Flatten) -> y.matrix",
            "Reshape(y.matrix, y_Softmax.Shape) -> y",
        ]
    );
    assert_eq!(model.graph().node[1].attr_int("axis"), Some(1));
    assert_eq!(model.graph().node[2].attr_int("axis"), Some(-1));
    let new = upgraded(vec![node("Softmax", &["x"], &["y"], vec![])], 13);
    assert_eq!(new.graph().node[0].attribute, []);
}

#[test]
fn upsample_is_a_resize() {
    let scales = AttributeProto {
        name: "scales".into(),
        floats: vec![1.0, 1.0, 2.0, 2.0],
        r#type: AttributeType::Floats as i32,
        ..Default::default()
    };
    let model = upgraded(vec![node("Upsample", &["x"], &["y"], vec![scales, attr::string("mode", "nearest")])], 7);
    assert_eq!(listing(&model.graph().node), ["Resize(x, , y_Upsample.scales) -> y"]);
    let resize = &model.graph().node[0];
    assert_eq!(resize.attr_str("coordinate_transformation_mode"), Some("asymmetric"));
    assert_eq!((resize.attr_str("mode"), resize.attr_str("nearest_mode")), (Some("nearest"), Some("floor")));
    let mut proto = common::model(
        graph(vec![node("Upsample", &["x", "s"], &["y"], vec![])], vec![float("x", &[1, 1, 2, 2])], vec![]),
        9,
    );
    proto.graph.as_mut().unwrap().initializer.push(ones("s", &[4]));
    assert_eq!(listing(&brought_up(proto).unwrap().graph().node), ["Resize(x, , s) -> y"]);
}

#[test]
fn resize_of_opset_10_rounds_down_to_grow_and_up_to_shrink() {
    let resized = |scales: Option<&[f64]>| {
        let mut inputs = vec![float("x", &[1, 1, 4, 4])];
        let mut proto = model(graph(vec![node("Resize", &["x", "s"], &["y"], vec![])], vec![], vec![]), 10);
        let graph = proto.graph.as_mut().unwrap();
        match scales {
            Some(scales) => {
                graph.initializer.push(TensorProto::floats("s", onnx_grad::ElemType::Float, &[4], scales));
            }
            None => inputs.push(float("s", &[4])),
        }
        graph.input = inputs;
        brought_up(proto).unwrap()
    };
    for (scales, nearest_mode) in [([1.0, 1.0, 2.0, 1.5], "floor"), ([1.0, 1.0, 0.5, 0.7], "ceil")] {
        let model = resized(Some(&scales));
        assert_eq!(listing(&model.graph().node), ["Resize(x, , s) -> y"]);
        assert_eq!(model.graph().node[0].attr_str("nearest_mode"), Some(nearest_mode));
    }
    let both_ways = [
        "Max(s, y_Resize.one) -> y_Resize.Max",
        "Min(s, y_Resize.one) -> y_Resize.Min",
        "Resize(x, , y_Resize.Max) -> y_Resize.Resize",
        "Resize(y_Resize.Resize, , y_Resize.Min) -> y",
    ];
    assert_eq!(listing(&resized(Some(&[1.0, 1.0, 2.0, 0.5])).graph().node), both_ways);
    assert_eq!(listing(&resized(None).graph().node), both_ways);
}

#[test]
fn resize_leaves_out_what_was_empty() {
    let nodes = |attributes| vec![node("Resize", &["x", "e", "e", "z"], &["y"], attributes)];
    let resized = |attributes| {
        let mut proto = model(graph(nodes(attributes), vec![float("x", &[1, 1, 4, 4])], vec![]), 11);
        let initializer = &mut proto.graph.as_mut().unwrap().initializer;
        initializer.push(ones("e", &[0]));
        initializer.push(TensorProto::ints("z", &[4], &[1, 1, 8, 8]));
        brought_up(proto).unwrap()
    };
    assert_eq!(listing(&resized(vec![]).graph().node), ["Resize(x, , , z) -> y"]);
    let mode = |name: &str, value: &str| attr::string(name, value);
    let half =
        resized(vec![mode("coordinate_transformation_mode", "tf_half_pixel_for_nn"), mode("nearest_mode", "floor")]);
    assert_eq!(half.graph().node[0].attr_str("coordinate_transformation_mode"), Some("half_pixel"));
    assert_eq!(half.graph().node[0].attr_str("nearest_mode"), Some("round_prefer_ceil"));
}

#[test]
fn batch_normalization_keeps_its_first_output() {
    let inputs = ["x", "s", "b", "m", "v"];
    let normal = |outputs: &[&str], spatial| {
        let mut proto = model(
            graph(
                vec![node("BatchNormalization", &inputs, outputs, vec![attr::int("spatial", spatial)])],
                vec![float("x", &[2, 3])],
                vec![],
            ),
            7,
        );
        proto.graph.as_mut().unwrap().initializer = inputs[1..].iter().map(|name| ones(name, &[3])).collect();
        brought_up(proto)
    };
    let model = normal(&["y", ""], 1).unwrap();
    assert_eq!(listing(&model.graph().node), ["BatchNormalization(x, s, b, m, v) -> y"]);
    assert_eq!(model.graph().node[0].attribute, []);
    let said = |result: onnx_grad::Result<Model>| result.unwrap_err().to_string();
    assert!(said(normal(&["y"], 0)).contains("(spatial = 0)"));
    assert!(said(normal(&["y", "mean"], 1)).ends_with("it outputs statistics for training"));
}

#[test]
fn renamed_operators_and_changed_defaults() {
    let mut proto =
        model(graph(vec![node("Scatter", &["x", "i", "x"], &["y"], vec![])], vec![float("x", &[1])], vec![]), 9);
    proto.graph.as_mut().unwrap().initializer.push(TensorProto::ints("i", &[1], &[0]));
    assert_eq!(brought_up(proto).unwrap().graph().node[0].op_type, "ScatterElements");
    let model = upgraded(vec![node("RoiAlign", &["x", "x", "x"], &["y"], vec![])], 15);
    assert_eq!(model.graph().node[0].attr_str("coordinate_transformation_mode"), Some("output_half_pixel"));
    assert_eq!(
        refusal(node("Scan", &["x"], &["y"], vec![]), 8),
        "cannot upgrade node `y_Scan` (Scan, opset 8): the batched form of opset 8 was given up"
    );
}

#[test]
fn operators_of_other_domains_are_left_alone() {
    let foreign =
        NodeProto { domain: "com.example".into(), ..node("Clip", &["x"], &["y"], vec![attr::float("min", 0.0)]) };
    assert_eq!(upgraded(vec![foreign.clone()], 9).graph().node, [foreign]);
}

#[test]
fn subgraphs_are_upgraded_too() {
    let body = || -> GraphProto {
        let clip = node("Clip", &["x"], &["r"], vec![attr::float("min", 0.0)]);
        graph(vec![clip], vec![], vec![float("r", &[])])
    };
    let branch = |name: &str| AttributeProto {
        name: name.into(),
        g: Some(Box::new(body())),
        r#type: AttributeType::Graph as i32,
        ..Default::default()
    };
    let choice = node("If", &["c"], &["y"], vec![branch("then_branch"), branch("else_branch")]);
    let mut proto = model(graph(vec![choice], vec![float("x", &[2])], vec![]), 9);
    let condition = TensorProto::raw("c", onnx_grad::ElemType::Bool, &[], vec![1].into());
    proto.graph.as_mut().unwrap().initializer.push(condition);
    let model = brought_up(proto).unwrap();
    let inner = onnx_grad::graph::subgraphs(&model.graph().node[0]).flat_map(|graph| listing(&graph.node));
    assert_eq!(inner.collect::<Vec<_>>(), ["Clip(x, r_Clip.min) -> r", "Clip(x, r_Clip.min_1) -> r"]);
    assert_eq!(model.graph().initializer.len(), 3);
}

#[test]
fn new_names_keep_clear_of_old_ones() {
    let nodes = vec![
        node("Relu", &["x"], &["y_Squeeze.axes"], vec![]),
        node("Squeeze", &["y_Squeeze.axes"], &["y"], vec![attr::ints("axes", &[0])]),
    ];
    let model = upgraded(nodes, 12);
    assert_eq!(listing(&model.graph().node)[1], "Squeeze(y_Squeeze.axes, y_Squeeze.axes_1) -> y");
}
