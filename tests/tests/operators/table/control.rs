use onnx_grad::{
    ElemType, ValueType, attr,
    proto::{AttributeProto, GraphProto, NodeProto, TensorProto},
    value_info,
};

use crate::case::{Case, case};

fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        op_type: op.into(),
        input: owned(inputs),
        output: owned(outputs),
        attribute: attributes,
        ..Default::default()
    }
}

fn graph(inputs: &[(&str, ElemType)], nodes: Vec<NodeProto>, outputs: &[(&str, ElemType)]) -> GraphProto {
    let info = |&(name, elem): &(&str, ElemType)| {
        // ONNX Runtime wants to know that a loop's own numbers are scalars.
        let shape = (!elem.is_float()).then(Vec::new);
        value_info(name, Some(&ValueType { elem, shape }))
    };
    GraphProto {
        name: "body".into(),
        node: nodes,
        initializer: vec![
            TensorProto::floats("two", ElemType::Float, &[], &[2.0]),
            TensorProto::ints("last", &[], &[1]),
        ],
        input: inputs.iter().map(info).collect(),
        output: outputs.iter().map(info).collect(),
        ..Default::default()
    }
}

pub(crate) fn cases() -> Vec<Case> {
    use ElemType::{Bool, Float, Int64};
    let op = |op: &str, inputs: &[&str], output: &str| node(op, inputs, &[output], vec![]);
    // The condition comes first, so the captured input second.
    let then_branch = graph(&[], vec![op("Mul", &["x1", "two"], "a"), op("Exp", &["a"], "b")], &[("b", Float)]);
    let else_branch = graph(&[], vec![op("Sin", &["x1"], "c")], &[("c", Float)]);
    let mut cases = Vec::new();
    for taken in [true, false] {
        let mut case = case("If").bools(&[], &[taken]).x(&[2, 3]).note(&format!("{taken}"));
        case.captured = 1;
        case.attributes =
            vec![attr::graph("then_branch", then_branch.clone()), attr::graph("else_branch", else_branch.clone())];
        cases.push(case);
    }
    let step =
        || vec![op("Mul", &["h", "h"], "square"), op("Sin", &["square"], "new"), op("Mul", &["new", "two"], "out")];
    let states = [("i", Int64), ("go", Bool), ("h", Float)];
    let loop_body = |nodes: Vec<NodeProto>, condition: &str| {
        graph(&states, [step(), nodes].concat(), &[(condition, Bool), ("new", Float), ("out", Float)])
    };
    let mut counted = case("Loop").int_tensor(&[], &[3]).absent().x(&[2, 3]).outputs(2).note("counted");
    counted.attributes = vec![attr::graph("body", loop_body(vec![op("Identity", &["go"], "on")], "on"))];
    cases.push(counted.free_batch());
    let mut broken = case("Loop").int_tensor(&[], &[9]).bools(&[], &[true]).x(&[2, 3]).outputs(2).note("while");
    broken.attributes = vec![attr::graph("body", loop_body(vec![op("Less", &["i", "last"], "on")], "on"))];
    cases.push(broken);
    let scan_body = || {
        let nodes =
            vec![op("Mul", &["h", "x"], "product"), op("Sin", &["product"], "new"), op("Add", &["new", "x"], "out")];
        graph(&[("h", Float), ("x", Float)], nodes, &[("new", Float), ("out", Float)])
    };
    let scan = |x: &[usize]| {
        let mut scan = case("Scan").x(&[2, 3]).x(x).outputs(2).attr_int("num_scan_inputs", 1);
        scan.attributes.push(attr::graph("body", scan_body()));
        scan
    };
    cases.extend([
        scan(&[4, 2, 3]),
        scan(&[2, 4, 3])
            .attr_ints("scan_input_axes", &[-2])
            .attr_ints("scan_input_directions", &[1])
            .attr_ints("scan_output_axes", &[1])
            .attr_ints("scan_output_directions", &[1])
            .note("another axis, backward"),
    ]);
    cases
}
