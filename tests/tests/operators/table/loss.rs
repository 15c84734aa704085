use crate::case::{Case, Draw, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"] {
        for reduction in ["mean", "sum", "none"] {
            let plain = |shape: &[usize]| case(op).attr_str("reduction", reduction).x(shape).note(reduction);
            cases.extend([
                plain(&[3, 4]).int_tensor(&[3], &[0, 3, 1]),
                plain(&[3, 4]).int_tensor(&[3], &[0, 3, 1]).x_from(&[4], Draw::Positive),
                plain(&[2, 3, 2, 2]).int_tensor(&[2, 2, 2], &[0, 1, 2, 2, 1, 0, 0, 2]).x_from(&[3], Draw::Positive),
                plain(&[2, 3, 4])
                    .int_tensor(&[2, 4], &[0, 1, 2, 2, 1, 0, 0, 2])
                    .x_from(&[3], Draw::Positive)
                    .attr_int("ignore_index", 2),
                plain(&[3, 4]).int_tensor(&[3], &[0, -1, 1]).attr_int("ignore_index", -1),
            ]);
        }
        cases.extend([
            case(op).x(&[3, 4]).short_ints(&[3], &[2, 2, 0]).note("32-bit labels"),
            case(op).opsets(&[13]).x(&[3, 4]).int_tensor(&[3], &[2, 2, 0]),
        ]);
    }
    let both = |reduction| case("SoftmaxCrossEntropyLoss").attr_str("reduction", reduction).outputs(2).x(&[2, 3, 2]);
    cases.extend([
        both("mean").int_tensor(&[2, 2], &[0, 2, 1, 1]).note("with the logarithms"),
        both("none").int_tensor(&[2, 2], &[0, 2, 1, 1]).x_from(&[3], Draw::Positive).note("with the logarithms"),
    ]);
    cases
}
