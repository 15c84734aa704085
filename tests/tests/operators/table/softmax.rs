use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in ["Softmax", "LogSoftmax"] {
        for axis in [-1, 0, 1, 2] {
            cases.push(case(op).opsets(&[13, 18, 22]).x(&[2, 3, 4]).attr_int("axis", axis));
            cases.push(case(op).opsets(&[11]).x(&[2, 3, 4]).attr_int("axis", axis).note("over all axes from this on"));
        }
        cases.push(case(op).x(&[2, 5]).free_batch());
        cases.push(case(op).x(&[5]).attr_int("axis", 0));
        cases.push(case(op).opsets(&[7, 9, 11]).x(&[2, 3, 2]).note("axis 1 by default"));
    }
    cases
}
