use onnx_grad::{
    ElemType, attr,
    proto::{AttributeProto, AttributeType, TensorProto},
};

use crate::case::{Arg, Case, case};

const STEPS: usize = 3;
const BATCH: usize = 2;
const INPUTS: usize = 3;
const HIDDEN: usize = 2;

/// A node with everything wanted: input, weights, recurrence, bias, initial states, peepholes.
fn full(op: &'static str, direction: &str) -> Case {
    let (gates, states) = match op {
        "LSTM" => (4, 2),
        "GRU" => (3, 1),
        _ => (1, 1),
    };
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    let wide = gates * HIDDEN;
    let mut node = weights(op, direction).x(&[directions, 2 * wide]).absent();
    for _ in 0..states {
        node = node.x(&[directions, BATCH, HIDDEN]);
    }
    node.outputs(states + 1)
}

/// Input, weights and recurrence.
fn weights(op: &'static str, direction: &str) -> Case {
    let gates = match op {
        "LSTM" => 4,
        "GRU" => 3,
        _ => 1,
    };
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    let wide = gates * HIDDEN;
    let node = case(op).opsets(&[18, 22]).x(&[STEPS, BATCH, INPUTS]);
    let node = node.x(&[directions, wide, INPUTS]).x(&[directions, wide, HIDDEN]);
    node.attr_int("hidden_size", HIDDEN as i64).attr_str("direction", direction).note(direction)
}

fn activations(names: &[&'static str]) -> AttributeProto {
    let mut attribute = attr::ints("activations", &[]);
    attribute.r#type = AttributeType::Strings as i32;
    attribute.strings = names.iter().map(|name| name.as_bytes().into()).collect();
    attribute
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in ["LSTM", "GRU", "RNN"] {
        for direction in ["forward", "reverse", "bidirectional"] {
            cases.extend([full(op, direction), weights(op, direction).note(&format!("{direction}, no bias"))]);
        }
        cases.push(full(op, "forward").opsets(&[7, 14]));
        for direction in ["forward", "reverse", "bidirectional"] {
            cases.push(full(op, direction).unnamed(1).note(&format!("{direction}, the last state alone")));
        }
        let lengths = TensorProto::raw("", ElemType::Int32, &[2], [3, 0, 0, 0].repeat(BATCH).into());
        let mut stated = weights(op, "forward").absent().note("stated lengths");
        stated.args.push(Arg::Constant(Box::new(lengths)));
        cases.push(stated);
        for direction in ["forward", "reverse", "bidirectional"] {
            let lengths = TensorProto::raw("", ElemType::Int32, &[2], vec![3, 0, 0, 0, 1, 0, 0, 0].into());
            let mut uneven = full(op, direction).note(&format!("{direction}, uneven lengths"));
            uneven.args[4] = Arg::Constant(Box::new(lengths));
            cases.push(uneven.clone());
            if op == "GRU" {
                cases.push(uneven.attr_int("linear_before_reset", 1));
            } else if op == "LSTM" {
                let directions = if direction == "bidirectional" { 2 } else { 1 };
                cases
                    .push(uneven.x(&[directions, 3 * HIDDEN]).note(&format!("{direction}, uneven lengths, peepholes")));
            }
        }
    }
    for direction in ["forward", "bidirectional"] {
        let note = format!("{direction}, linear before reset");
        let mut gru = full("GRU", direction).attr_int("linear_before_reset", 1);
        cases.push(gru.clone().note(&note));
        gru.opsets = vec![7];
        cases.push(gru);
        let directions = if direction == "bidirectional" { 2 } else { 1 };
        let peepholes = full("LSTM", direction).x(&[directions, 3 * HIDDEN]);
        cases.push(peepholes.note(&format!("{direction}, peepholes")));
    }
    let mut relu = full("RNN", "bidirectional").note("other activations");
    relu.attributes.push(activations(&["Sigmoid", "Tanh"]));
    cases.push(relu);
    let mut relu = weights("RNN", "reverse").note("relu");
    relu.attributes.push(activations(&["Relu"]));
    cases.push(relu);
    let mut other = full("LSTM", "forward").note("other activations");
    other.attributes.push(activations(&["Sigmoid", "Tanh", "Sigmoid"]));
    cases.push(other);
    cases
}
