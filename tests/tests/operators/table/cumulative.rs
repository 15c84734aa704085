use crate::case::{Case, Draw, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for exclusive in [0, 1] {
        for reverse in [0, 1] {
            let scan = |op| case(op).attr_int("exclusive", exclusive).attr_int("reverse", reverse);
            let sum = |opsets: &[i64]| scan("CumSum").opsets(opsets);
            cases.extend([
                sum(&[11, 14, 22]).x(&[2, 5, 3]).int_tensor(&[], &[1]),
                sum(&[18]).x(&[2, 5]).int_tensor(&[], &[-1]).free_batch(),
                sum(&[18]).x(&[5]).ints(&[0]).note("axis of rank 1"),
            ]);
            let product = |draw| scan("CumProd").opsets(&[26]).x_from(&[4, 6], draw);
            cases.extend([
                product(Draw::Positive).int_tensor(&[], &[1]).free_batch(),
                product(Draw::Any).int_tensor(&[], &[0]),
                product(Draw::Zeros).int_tensor(&[], &[1]).note("with zeros"),
                product(Draw::Zeros).int_tensor(&[], &[-2]).note("with zeros"),
            ]);
        }
    }
    let line = || case("Range").x(&[]).floats(&[], &[9.0]);
    cases.extend([line().x_from(&[], Draw::Positive), line().floats(&[], &[1.5])]);
    cases
}
