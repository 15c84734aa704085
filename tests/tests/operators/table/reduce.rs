use onnx_grad::ElemType;

use crate::case::{Case, Draw, case};

const SHAPE: [usize; 4] = [2, 3, 4, 3];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let all = [
        ("ReduceL1", Draw::Any),
        ("ReduceL2", Draw::Any),
        ("ReduceLogSum", Draw::Positive),
        ("ReduceLogSumExp", Draw::Any),
        ("ReduceMax", Draw::Any),
        ("ReduceMean", Draw::Any),
        ("ReduceMin", Draw::Any),
        ("ReduceProd", Draw::Positive),
        ("ReduceSum", Draw::Any),
        ("ReduceSumSquare", Draw::Any),
    ];
    for (op, draw) in all {
        // Differences of logarithms of many numbers are coarse in float32.
        let tolerance = if op.starts_with("ReduceLog") { 5e-3 } else { 2e-3 };
        let case = |op| case(op).tolerance(tolerance);
        for keepdims in [0, 1] {
            let reduce = || case(op).x_from(&SHAPE, draw).attr_int("keepdims", keepdims);
            cases.extend([
                reduce().ints(&[2, 3]).free_batch(),
                reduce().ints(&[1]).free_batch(),
                reduce().ints(&[-1, 0]),
                reduce().note("all axes"),
                reduce().attr_int("noop_with_empty_axes", 1).note("nothing"),
                reduce().ints(&[0]),
            ]);
            let old = |opsets: &[i64]| case(op).opsets(opsets).x_from(&SHAPE, draw).attr_int("keepdims", keepdims);
            cases.extend([
                old(&[7, 11]).attr_ints("axes", &[2, 3]),
                old(&[11]).attr_ints("axes", &[-2]),
                old(&[7, 11]),
            ]);
            if op != "ReduceSum" {
                cases.push(old(&[13]).attr_ints("axes", &[1, 3]));
            }
        }
        cases.push(case(op).x_from(&[5], draw).ints(&[0]).note("a vector"));
        cases.push(case(op).x_from(&SHAPE, draw).ints(&[1, 2]).elem(ElemType::Double));
    }
    for shape in [&[4, 3][..], &[4, 6], &[3, 2, 4]] {
        cases.push(case("ReduceProd").x_from(shape, Draw::Zeros).ints(&[-1]).note("with zeros"));
        cases.push(case("ReduceProd").x_from(shape, Draw::Zeros).ints(&[0, 1]).note("with zeros"));
    }
    cases.push(case("ReduceMean").x(&[64, 64]).ints(&[0, 1]).elem(ElemType::Float16).tolerance(1e-2));
    cases
}
