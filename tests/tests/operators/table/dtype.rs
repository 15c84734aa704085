//! The everyday operators in the other float types.

use onnx_grad::ElemType;

use crate::case::{Case, Draw, case};

/// Rows of every family.
fn everyday() -> Vec<Case> {
    let image = [2, 3, 4, 4];
    let convolved = || case("Conv").x(&[1, 2, 5, 5]).x(&[3, 2, 3, 3]).x(&[3]);
    let normalised = || case("BatchNormalization").x(&image).x(&[3]).x(&[3]).x_from(&[3], Draw::Unit);
    let unary = ["Abs", "Cos", "Erf", "Exp", "Neg", "Relu", "Sigmoid", "Sin", "Softplus", "Tanh", "LeakyRelu", "Elu"];
    let mut cases: Vec<Case> = unary.map(|op| case(op).x(&image)).to_vec();
    cases.extend(["Add", "Sub", "Mul", "Max", "Min"].map(|op| case(op).x(&image).x(&[3, 1, 1])));
    cases.extend([
        case("Div").x(&image).x_from(&[3, 1, 1], Draw::AboveOne),
        case("Pow").x(&image).scalar(2.0),
        case("Pow").x_from(&image, Draw::Positive).scalar(0.5),
        case("Sqrt").x_from(&image, Draw::Positive),
        case("Log").x_from(&image, Draw::Positive),
        case("Clip").x(&image).scalar(-1.0).scalar(1.0),
        case("Where").bools(&[4], &[true, false, true, true]).x(&image).x(&[1]),
        case("MatMul").x(&[2, 3, 4]).x(&[4, 2]),
        case("Gemm").x(&[3, 4]).x(&[5, 4]).x(&[5]).attr_int("transB", 1),
        convolved(),
        convolved().attr_ints("strides", &[2, 2]).attr_ints("pads", &[1, 1, 1, 1]),
        normalised().x_from(&[3], Draw::Positive),
        case("Softmax").x(&[2, 3, 5]),
        case("LogSoftmax").x(&[2, 3, 5]),
        case("ReduceMean").x(&image).ints(&[2, 3]),
        case("ReduceSum").x(&image).ints(&[1]),
        case("ReduceMax").x(&image).ints(&[1]),
        case("MaxPool").x(&image).attr_ints("kernel_shape", &[2, 2]),
        case("AveragePool").x(&image).attr_ints("kernel_shape", &[2, 2]),
        case("GlobalAveragePool").x(&image),
        case("Reshape").x(&image).ints(&[2, -1]),
        case("Transpose").x(&image).attr_ints("perm", &[0, 2, 3, 1]),
        case("Expand").x(&[3, 1]).ints(&[2, 3, 4]),
        case("Concat").x(&image).x(&image).attr_int("axis", 1),
        case("Slice").x(&image).ints(&[1]).ints(&[3]).ints(&[2]),
        case("Gather").x(&image).ints(&[2, 0, 2]).attr_int("axis", 1),
        case("Pad").x(&image).ints(&[0, 0, 1, 1, 0, 0, 1, 1]),
    ]);
    cases
}

/// What ONNX Runtime's CPU provider has no float64 kernel for, at opset 22 at least.
const NO_DOUBLE: [&str; 7] = ["AveragePool", "Conv", "Elu", "Erf", "GlobalAveragePool", "LeakyRelu", "Softplus"];

pub(crate) fn cases() -> Vec<Case> {
    let typed = |elem, tolerance| everyday().into_iter().map(move |case| case.elem(elem).tolerance(tolerance));
    let double = typed(ElemType::Double, 2e-3).filter(|case| !NO_DOUBLE.contains(&case.op));
    double.chain(typed(ElemType::Float16, 1e-2)).collect()
}
