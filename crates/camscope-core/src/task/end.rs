//! The last nodes of a model: what turns its numbers into probabilities, and what decides by them.

use onnx_grad::{
    Types,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use super::Context;

/// What makes probabilities of an output's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// A softmax, or its logarithm, along this axis, from 0.
    Softmax(usize),
    /// The logistic function.
    Sigmoid,
}

/// What leaves of the numbers a decision alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decision {
    /// The place of the largest along this axis, from 0.
    Largest(usize),
    /// Whether a number is above this one.
    Above(f32),
}

/// The end of a model, seen from an output.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    /// The value before all that: what is explained.
    pub(super) value: String,
    /// What makes probabilities of it.
    pub(super) last: Option<Last>,
    /// What decides by them.
    pub(super) decision: Option<Decision>,
}

impl End {
    /// `the softmax before`, `the ArgMax before`.
    pub(super) fn describe(&self, output: &str) -> String {
        let last = match self.last {
            Some(Last::Softmax(_)) => Some("the softmax"),
            Some(Last::Sigmoid) => Some("the logistic function"),
            None => None,
        };
        let decision = match self.decision {
            Some(Decision::Largest(_)) => Some("the ArgMax"),
            Some(Decision::Above(_)) => Some("the threshold"),
            None => None,
        };
        match (last, decision) {
            (Some(last), Some(decision)) => format!("{last} and {decision} before `{output}`"),
            (Some(one), None) | (None, Some(one)) => format!("{one} before `{output}`"),
            (None, None) => format!("the shape of `{output}`"),
        }
    }
}

/// Goes back from an output over what decides, what makes probabilities, and what only moves, resizes or scales them.
pub(super) fn end_of(graph: &GraphProto, types: &Types, output: &str) -> End {
    let index = Index::new(graph);
    let mut end = End { value: output.to_owned(), last: None, decision: None };
    let mut value = output;
    while let Some(node) = index.producer_node(value) {
        let Some(first) = node.input.first().filter(|name| !name.is_empty()) else { break };
        let rank = |name: &str| types.get(name).and_then(|ty| ty.shape.as_ref()).map(Vec::len);
        let axis = |default: i64| {
            let axis = node.attr_int("axis").unwrap_or(default);
            usize::try_from(if axis < 0 { axis + rank(first)? as i64 } else { axis }).ok()
        };
        if !matches!(&*node.domain, "" | "ai.onnx" | "com.microsoft") {
            break;
        }
        match &*node.op_type {
            "Softmax" | "LogSoftmax" => {
                let Some(axis) = axis(-1) else { break };
                return End { value: first.clone(), last: Some(Last::Softmax(axis)), ..end };
            }
            "Sigmoid" => return End { value: first.clone(), last: Some(Last::Sigmoid), ..end },
            "ArgMax" if end.decision.is_none() => {
                let Some(axis) = axis(0) else { break };
                (end.value, end.decision) = (first.clone(), Some(Decision::Largest(axis)));
                value = first;
            }
            "Greater" | "GreaterOrEqual" if end.decision.is_none() => {
                let Some(bound) = node.input.get(1).and_then(|bound| number(&index, bound)) else { break };
                (end.value, end.decision) = (first.clone(), Some(Decision::Above(bound)));
                value = first;
            }
            _ => match moved(&index, node) {
                Some(before) => value = before,
                None => break,
            },
        }
    }
    end
}

/// The value before what only moves elements: one of another rank, where a softmax is taken over a flattened copy.
pub(super) fn before_moves<'a>(graph: &'a GraphProto, from: &'a str, wanted: impl Fn(&str) -> bool) -> Option<&'a str> {
    let index = Index::new(graph);
    let mut value = from;
    loop {
        if wanted(value) {
            return Some(value);
        }
        let node = index.producer_node(value)?;
        let moves =
            matches!(&*node.op_type, "Reshape" | "Transpose" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity");
        value = node.input.first().filter(|_| moves)?;
    }
}

/// Whether a value is a fully connected layer's row of numbers in another shape, or several such rows joined: it has no places of the image.
pub(super) fn is_made_of_a_vector(context: &Context<'_>, value: &str) -> bool {
    let graph = context.network.model.graph();
    let index = Index::new(graph);
    let batch = context.network.input().batch();
    let is_batch = |rows: Option<usize>| rows.is_none() || rows == Some(1) || rows == batch;
    let is_product = |name: &str| {
        let op = index.producer_node(name).map(|node| node.op_type.as_str());
        matches!(op, Some("Gemm" | "MatMul" | "FusedGemm" | "Add"))
            && context.floats(name).is_some_and(|shape| shape.len() == 2 && is_batch(shape[0]))
    };
    let is_one = |name: &str| before_moves(graph, name, is_product).is_some();
    let joined =
        before_moves(graph, value, |name| index.producer_node(name).is_some_and(|node| node.op_type == "Concat"));
    is_one(value)
        || joined
            .and_then(|name| index.producer_node(name))
            .is_some_and(|node| node.input.iter().all(|name| is_one(name)))
}

/// The value that a node passes on, moved, resized, cut to a range, rounded, or scaled by a positive number.
fn moved<'a>(index: &Index<'_>, node: &'a NodeProto) -> Option<&'a str> {
    let (first, second) = (node.input.first()?, node.input.get(1).map_or("", String::as_str));
    let passes = match &*node.op_type {
        "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Cast" | "Resize" | "Upsample"
        | "Clip" | "QuantizeLinear" | "DequantizeLinear" => true,
        "Mul" => match (number(index, first), number(index, second)) {
            (_, Some(factor)) => factor > 0.0,
            (Some(factor), None) => return Some(second).filter(|_| factor > 0.0),
            (None, None) => false,
        },
        "Add" => match (number(index, first), number(index, second)) {
            (_, Some(_)) => true,
            (Some(_), None) => return Some(second),
            (None, None) => false,
        },
        "Div" => number(index, second).is_some_and(|divisor| divisor > 0.0),
        "Sub" => number(index, second).is_some(),
        _ => false,
    };
    passes.then_some(first)
}

/// The only number of a constant.
fn number(index: &Index<'_>, name: &str) -> Option<f32> {
    match index.constant(name)?.to_floats().ok()?[..] {
        [number] if number.is_finite() => Some(number as f32),
        _ => None,
    }
}
