use crate::case::{Case, case};

const SHAPE: [usize; 4] = [2, 3, 4, 3];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in ["ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"] {
        for keepdims in [0, 1] {
            let reduce = || case(op).x(&SHAPE).attr_int("keepdims", keepdims);
            cases.extend([
                reduce().ints(&[2, 3]).free_batch(),
                reduce().ints(&[1]).free_batch(),
                reduce().ints(&[-1, 0]),
                reduce().note("all axes"),
                reduce().attr_int("noop_with_empty_axes", 1).note("nothing"),
                reduce().ints(&[0]),
            ]);
            let old = |opsets: &[i64]| case(op).opsets(opsets).x(&SHAPE).attr_int("keepdims", keepdims);
            cases.extend([
                old(&[7, 11]).attr_ints("axes", &[2, 3]),
                old(&[11]).attr_ints("axes", &[-2]),
                old(&[7, 11]),
            ]);
            if op != "ReduceSum" {
                cases.push(old(&[13]).attr_ints("axes", &[1, 3]));
            }
        }
        cases.push(case(op).x(&[5]).ints(&[0]).note("a vector"));
    }
    cases
}
