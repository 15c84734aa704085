//! What gradients are made of: operators that many runtimes have, numbers that every float type holds.

use std::{collections::HashSet, ops::RangeInclusive};

use onnx_grad::{
    ElemType, Gradient, Model,
    graph::subgraphs,
    proto::{GraphProto, TensorProto},
};

use crate::case::Case;

/// Standard operators that OpenVINO, WebGPU or WebAssembly, and the CPU run alike. Beside them a gradient may have the model's own.
#[rustfmt::skip]
const OPERATORS: &[&str] = &[
    "Abs", "Add", "And", "ArgMax", "AveragePool", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "Conv",
    "ConvTranspose", "Cos", "Cosh", "CumSum", "DepthToSpace", "Div", "Equal", "Erf", "Exp", "Expand", "Flatten",
    "Floor", "Gather", "GatherElements", "GatherND", "Gemm", "Greater", "GreaterOrEqual", "Identity", "IsNaN", "Less",
    "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad",
    "Pow", "Range", "Reciprocal", "Relu", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "Resize", "Round", "ScatterElements", "ScatterND", "Shape", "Sigmoid", "Sign", "Sin",
    "Sinh", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose",
    "Unsqueeze", "Where",
];

/// What the gradients of a few need besides, standard but rarer. A new one wants a reason.
const RARER: &[(&str, &str)] = &[
    // Which elements were taken is not known before.
    ("Compress", "NonZero"),
    // Diagonals and matrices of sizes that are computed.
    ("DFT", "EyeLike"),
    ("Einsum", "EyeLike"),
    ("Resize", "EyeLike"),
    ("STFT", "DFT"),
    ("STFT", "EyeLike"),
    ("Upsample", "EyeLike"),
    // Loops over time.
    ("GRU", "Scan"),
    ("LSTM", "Scan"),
    ("LinearAttention", "Scan"),
    ("RNN", "Scan"),
];

/// What an operator's definition adds to a deviation before it divides by it.
const DEFINED: &[(&str, f64)] = &[("MeanVarianceNormalization", 1e-9)];

/// The sizes of the numbers that float16 holds. 0 and the lowest number of a type, around a maximum, are held by each.
const HELD: RangeInclusive<f64> = 5.9e-8..=65504.0;

/// Whether a row's gradient keeps to them.
///
/// # Errors
/// What doesn't, in words.
pub(crate) fn check(case: &Case, model: &Model, gradient: &Gradient) -> Result<(), String> {
    let (mut own, mut had) = (HashSet::new(), HashSet::new());
    walk(model.graph(), &mut |op| _ = own.insert(op.to_owned()), &mut |number| _ = had.insert(number.to_bits()));
    let (mut operators, mut numbers) = (Vec::new(), Vec::new());
    walk(gradient.backward.graph(), &mut |op| operators.push(op.to_owned()), &mut |number| numbers.push(number));
    operators.retain(|op| {
        !own.contains(op) && !OPERATORS.contains(&op.as_str()) && !RARER.contains(&(case.op, op.as_str()))
    });
    if let Some(op) = operators.first() {
        return Err(format!("its gradient has {op}, which runtimes may lack"));
    }
    let lowest = [ElemType::Float, case.elem].map(ElemType::lowest);
    let defined = |number: f64| DEFINED.iter().any(|(op, at)| *op == case.op && (number / at - 1.0).abs() < 1e-6);
    let held =
        |number: f64| number == 0.0 || HELD.contains(&number.abs()) || lowest.contains(&number) || defined(number);
    match numbers.into_iter().find(|number| !held(*number) && !had.contains(&number.to_bits())) {
        Some(number) => Err(format!("its gradient has the constant {number:e}, which not every float type holds")),
        None => Ok(()),
    }
}

/// Every operator and every float constant of a graph and those inside it.
fn walk(graph: &GraphProto, operator: &mut dyn FnMut(&str), number: &mut dyn FnMut(f64)) {
    let mut tensor = |tensor: &TensorProto| {
        if ElemType::from_code(tensor.data_type).is_float()
            && let Ok(numbers) = tensor.to_floats()
        {
            numbers.into_iter().for_each(&mut *number);
        }
    };
    graph.initializer.iter().for_each(&mut tensor);
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        attribute.t.as_deref().into_iter().for_each(&mut tensor);
        let floats = attribute.floats.iter().chain(attribute.f.as_ref());
        floats.for_each(|&float| tensor(&TensorProto::floats("", ElemType::Float, &[], &[f64::from(float)])));
    }
    for node in &graph.node {
        operator(&node.op_type);
        for inner in subgraphs(node) {
            walk(inner, operator, number);
        }
    }
}
