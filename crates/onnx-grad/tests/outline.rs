//! A quantised graph as the float one it was made of.

mod common;

use common::{float, graph, node, ones};
use onnx_grad::quantised::outline;

/// As older tools write a convolution: its bias is rounded to whole steps of both scales and added to the integer sums.
#[test]
fn a_bias_in_units_of_a_scale_found_in_the_image_is_part_of_the_convolution() {
    let nodes = vec![
        node("DynamicQuantizeLinear", &["x"], &["q", "found", "zero"], vec![]),
        node("Mul", &["found", "w_scale"], &["steps"], vec![]),
        node("Div", &["bias", "steps"], &["in_steps"], vec![]),
        node("Floor", &["in_steps"], &["whole"], vec![]),
        node("Cast", &["whole"], &["integers"], vec![onnx_grad::attr::int("to", 6)]),
        node("ConvInteger", &["q", "w", "zero"], &["sums"], vec![]),
        node("Add", &["sums", "integers"], &["biased"], vec![]),
        node("Cast", &["biased"], &["floats"], vec![onnx_grad::attr::int("to", 1)]),
        node("Mul", &["floats", "steps"], &["conv"], vec![]),
        node("Sigmoid", &["conv"], &["gate"], vec![]),
        node("Mul", &["conv", "gate"], &["y"], vec![]),
    ];
    let mut written = graph(nodes, vec![float("x", &[1, 3, 8, 8])], vec![float("y", &[1, 4, 8, 8])]);
    written.initializer = vec![ones("w", &[4, 3, 1, 1]), ones("w_scale", &[]), ones("bias", &[1, 4, 1, 1])];
    let seen = outline(&written).expect("it is quantised");
    let conv = seen.node.iter().find(|node| node.op_type == "Conv").expect("a convolution");
    assert_eq!((&*conv.input[0], &*conv.output[0]), ("x", "conv"));
    // What multiplies with the gate afterwards is a node of its own.
    let last = seen.node.last().expect("nodes");
    assert_eq!((&*last.op_type, &*last.output[0]), ("Mul", "y"));
}
