use onnx_grad::ElemType;

use crate::case::{Case, case};

fn microsoft(op: &'static str) -> Case {
    case(op).domain("com.microsoft").opsets(&[18])
}

pub(crate) fn cases() -> Vec<Case> {
    let conv = || microsoft("FusedConv").x(&[2, 2, 4, 3]).x(&[3, 2, 3, 2]).x(&[3]);
    let mut cases = vec![
        conv().note("no activation"),
        microsoft("FusedConv").x(&[1, 2, 4, 4]).x(&[2, 2, 2, 2]).attr_str("activation", "Relu").note("no bias"),
        conv().x(&[2, 3, 2, 2]).attr_str("activation", "Relu").note("an addend"),
        conv().x(&[2, 3, 2, 2]).attr_str("activation", "HardSwish").note("an addend, HardSwish").tolerance(5e-3),
        microsoft("FusedConv")
            .x(&[1, 4, 6, 5])
            .x(&[4, 2, 3, 3])
            .x(&[4])
            .attr_int("group", 2)
            .attr_ints("strides", &[2, 1])
            .attr_ints("pads", &[1, 1, 0, 1])
            .attr_str("activation", "Tanh"),
    ];
    let activations: &[(&str, &[f32])] = &[
        ("Relu", &[]),
        ("LeakyRelu", &[0.1]),
        ("Clip", &[-2.0, 3.0]),
        ("Sigmoid", &[]),
        ("Tanh", &[]),
        ("HardSigmoid", &[0.1, 0.4]),
    ];
    for (activation, parameters) in activations {
        let conv = conv().attr_str("activation", activation).note(activation).free_batch();
        cases.push(if parameters.is_empty() { conv } else { conv.attr_floats("activation_params", parameters) });
    }
    let gemm = |activation| {
        let gemm = microsoft("FusedGemm").x(&[3, 4]).x(&[4, 2]).x(&[2]).attr_float("alpha", 0.4);
        gemm.attr_str("activation", activation).note(activation)
    };
    cases.extend(["Relu", "Sigmoid", "Tanh", "Softplus", "Softsign"].map(gemm));
    cases
        .extend(["LeakyRelu", "Elu", "Celu", "ThresholdedRelu"].map(|op| gemm(op).attr_float("activation_alpha", 0.3)));
    for op in ["HardSigmoid", "ScaledTanh"] {
        cases.push(gemm(op).attr_float("activation_alpha", 0.3).attr_float("activation_beta", 0.6));
    }
    cases.push(gemm("Selu").attr_float("activation_alpha", 1.2).attr_float("activation_gamma", 0.8));
    cases.push(
        microsoft("FusedGemm")
            .x(&[4, 3])
            .x(&[2, 4])
            .attr_int("transA", 1)
            .attr_int("transB", 1)
            .attr_str("activation", "Relu")
            .note("transposed"),
    );

    let product = |a: &[usize], b: &[usize], flags: &[&str]| {
        let product = microsoft("FusedMatMul").x(a).x(b).attr_float("alpha", 0.7).note(&flags.join(" "));
        flags.iter().fold(product, |product, flag| product.attr_int(flag, 1))
    };
    cases.extend([
        product(&[2, 3], &[3, 4], &[]),
        product(&[2, 3, 4], &[2, 5, 4], &["transB"]).free_batch(),
        product(&[2, 4, 3], &[2, 4, 5], &["transA"]).free_batch(),
        product(&[2, 4, 3], &[2, 5, 4], &["transA", "transB"]),
        product(&[2, 2, 3, 4], &[5, 4], &["transB"]),
        product(&[4, 3], &[2, 4, 5], &["transA"]),
        product(&[4], &[2, 5, 4], &["transA", "transB"]),
        product(&[5, 2, 3], &[2, 3, 4], &["transBatchA"]),
        product(&[3, 2, 5], &[2, 3, 4], &["transA", "transBatchA"]),
        product(&[2, 5, 3], &[4, 2, 3], &["transB", "transBatchB"]),
        product(&[5, 2, 3, 4], &[2, 3, 4, 2], &["transBatchA"]),
        product(&[2, 3, 4], &[2, 5, 4], &["transB"]).elem(ElemType::Double),
        microsoft("TransposeMatMul").x(&[2, 3, 4]).x(&[2, 5, 4]).attr_int("transB", 1).attr_float("alpha", 0.7),
    ]);
    cases
}
