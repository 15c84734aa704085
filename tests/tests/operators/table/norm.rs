use crate::case::{Case, Draw, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in [&[2, 3, 4, 3][..], &[2, 3, 5], &[4, 3], &[1, 3, 2, 2, 2]] {
        let norm = |opsets: &[i64]| {
            let norm = case("BatchNormalization").opsets(opsets).x(shape).x(&[3]).x(&[3]);
            norm.x_from(&[3], Draw::Unit).x_from(&[3], Draw::Positive)
        };
        cases.extend([norm(&[15, 22]), norm(&[18]).attr_float("epsilon", 0.1), norm(&[7, 9, 14])]);
    }
    let fixed = case("BatchNormalization").x(&[2, 2, 3, 3]).floats(&[2], &[1.5, -0.5]).floats(&[2], &[0.1, 0.2]);
    cases.push(fixed.floats(&[2], &[0.3, -0.3]).floats(&[2], &[0.7, 1.3]).free_batch().note("constant statistics"));
    for shape in [&[2, 3, 4, 3][..], &[4, 3]] {
        let training = || {
            let node = case("BatchNormalization").opsets(&[15, 22]).x(shape).x(&[3]).x(&[3]);
            node.x_from(&[3], Draw::Unit).x_from(&[3], Draw::Positive).attr_int("training_mode", 1)
        };
        cases.extend([
            training().outputs(3).attr_float("momentum", 0.7).note("training"),
            training().outputs(3).attr_float("epsilon", 0.1).note("training, epsilon"),
        ]);
    }
    // ONNX Runtime has no even sizes.
    for size in [1, 3, 5] {
        cases.push(
            case("LRN")
                .x(&[2, 4, 3, 2])
                .attr_int("size", size)
                .attr_float("alpha", 0.7)
                .attr_float("beta", 0.6)
                .attr_float("bias", 1.4),
        );
    }
    cases.push(case("LRN").opsets(&[7, 13]).x(&[2, 4, 3, 2]).attr_int("size", 3).attr_float("alpha", 0.9).free_batch());
    cases
}
