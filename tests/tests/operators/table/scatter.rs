use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for reduction in ["none", "add", "mul", "max", "min"] {
        let reduced = |op: &'static str| match reduction {
            "none" => case(op),
            _ => case(op).attr_str("reduction", reduction),
        };
        cases.extend([
            reduced("ScatterElements").x(&[3, 4]).int_tensor(&[2, 3], &[0, 2, -1, 1, 0, 0]).x(&[2, 3]).note(reduction),
            reduced("ScatterElements")
                .x(&[2, 5])
                .int_tensor(&[2, 2], &[1, -1, 0, 3])
                .x(&[2, 2])
                .attr_int("axis", 1)
                .free_batch()
                .note(reduction),
            reduced("ScatterND").x(&[4, 3]).int_tensor(&[2, 1], &[2, -4]).x(&[2, 3]).note(&format!("{reduction} rows")),
            reduced("ScatterND").x(&[2, 3]).int_tensor(&[3, 2], &[0, 1, 1, 2, 1, 0]).x(&[3]).note(reduction),
        ]);
        if reduction != "none" {
            cases.extend([
                reduced("ScatterElements")
                    .x(&[2, 4])
                    .int_tensor(&[2, 3], &[1, 1, 0, 3, 3, 3])
                    .x(&[2, 3])
                    .attr_int("axis", 1)
                    .note(&format!("{reduction} repeated")),
                reduced("ScatterND")
                    .x(&[4, 2])
                    .int_tensor(&[2, 2, 1], &[1, 1, 0, 1])
                    .x(&[2, 2, 2])
                    .note(&format!("{reduction} repeated")),
            ]);
        }
    }
    cases.extend([
        case("ScatterElements")
            .x(&[1, 3])
            .int_tensor(&[1, 4], &[0, 1, 1, 2])
            .floats(&[1, 4], &[2.0, 0.0, 3.0, 0.0])
            .attr_int("axis", 1)
            .attr_str("reduction", "mul")
            .note("constant zeros"),
        case("ScatterElements").opsets(&[11, 13, 16]).x(&[3, 2]).int_tensor(&[1, 2], &[0, 2]).x(&[1, 2]),
        case("ScatterND").opsets(&[11, 13, 16]).x(&[3, 2]).int_tensor(&[1, 1], &[2]).x(&[1, 2]),
        case("TensorScatter").opsets(&[24]).x(&[2, 5, 3]).x(&[2, 2, 3]).ints(&[1, 3]).free_batch(),
        case("TensorScatter").opsets(&[24]).x(&[2, 5, 3]).x(&[2, 2, 3]).note("from the start"),
        case("TensorScatter")
            .opsets(&[24])
            .x(&[2, 2, 4, 3])
            .x(&[2, 2, 2, 3])
            .ints(&[1, 3])
            .attr_str("mode", "circular")
            .note("around the end"),
    ]);
    cases
}
