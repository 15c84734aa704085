use crate::case::{Case, Draw, case};

pub(crate) fn cases() -> Vec<Case> {
    let shapes: [(&[usize], &[usize]); 14] = [
        (&[3, 4], &[4, 5]),
        (&[2, 3, 4], &[2, 4, 5]),
        (&[2, 3, 4], &[4, 5]),
        (&[3, 4], &[2, 4, 5]),
        (&[2, 2, 3, 4], &[2, 1, 4, 2]),
        (&[2, 1, 3, 4], &[3, 4, 2]),
        (&[1, 3, 4], &[2, 4, 2]),
        (&[4], &[4]),
        (&[4], &[4, 5]),
        (&[3, 4], &[4]),
        (&[2, 3, 4], &[4]),
        (&[4], &[2, 4, 3]),
        (&[2, 2, 3, 4], &[4]),
        (&[1, 1], &[1, 1]),
    ];
    let mut cases: Vec<Case> = shapes.iter().map(|(a, b)| case("MatMul").x(a).x(b)).collect();
    cases.push(case("MatMul").opsets(&[7, 9, 13]).x(&[2, 3, 4]).x(&[4, 5]));
    cases.push(case("MatMul").x(&[2, 3, 4]).x(&[2, 4, 5]).free_batch());
    for size in [1, 2, 3, 4] {
        cases.extend([case("Det").x(&[size, size]), case("Det").x(&[2, 3, size, size]).free_batch()]);
    }
    cases.push(case("Det").x_from(&[3, 3], Draw::Zeros).note("with zeros"));
    cases.push(case("MatMul").x(&[3, 4]).floats(&[4, 2], &[1.0, -0.5, 0.3, 2.0, -1.0, 0.7, 0.1, 0.2]).free_batch());
    for (trans_a, trans_b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let a: &[usize] = if trans_a == 1 { &[4, 3] } else { &[3, 4] };
        let b: &[usize] = if trans_b == 1 { &[5, 4] } else { &[4, 5] };
        let gemm = |opsets: &[i64]| {
            case("Gemm").opsets(opsets).attr_int("transA", trans_a).attr_int("transB", trans_b).x(a).x(b)
        };
        cases.extend([
            gemm(&[18, 22]).x(&[5]),
            gemm(&[11, 13]).note("without C"),
            gemm(&[7, 9]).x(&[3, 5]).attr_float("alpha", 0.5).attr_float("beta", 2.0),
            gemm(&[18]).x(&[3, 1]),
            gemm(&[18]).x(&[]).attr_float("beta", 0.3),
            gemm(&[18]).x(&[1, 5]).attr_float("alpha", -1.5),
        ]);
    }
    cases
}
