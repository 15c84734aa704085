//! Transforms that are linear in their input, by tables of their own.

use onnx_grad::{ElemType, proto::TensorProto};

use crate::case::{Arg, Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let old = |x: &[usize], axis| case("DFT").opsets(&[17, 18]).attr_int("axis", axis).x(x);
    let new = || case("DFT").opsets(&[20, 22]);
    let mut cases = Vec::new();
    for parts in [1, 2] {
        cases.extend([
            old(&[2, 6, parts], 1).free_batch(),
            old(&[2, 6, 3, parts], 2),
            new().x(&[2, 6, parts]).free_batch(),
            new().x(&[2, 5, 3, parts]).absent().int_tensor(&[], &[1]),
            new().x(&[2, 6, parts]).int_tensor(&[], &[8]).note("longer"),
            new().x(&[2, 6, parts]).int_tensor(&[], &[4]).note("shorter"),
        ]);
    }
    let stft = |x: &[usize], opset: i64| case("STFT").opsets(&[opset]).x(x);
    let half = TensorProto::ints("", &[], &[2]);
    let mut stepped = stft(&[2, 9, 1], 18);
    stepped.args.push(Arg::Constant(Box::new(half)));
    cases.extend([
        stepped.clone().x(&[4]).free_batch(),
        stepped.clone().absent().int_tensor(&[], &[5]).note("no window"),
        stepped.x(&[4]).attr_int("onesided", 0).note("both sides"),
        stft(&[2, 9, 1], 20).int_tensor(&[], &[3]).x(&[4]),
        stft(&[2, 9, 2], 20).int_tensor(&[], &[3]).x(&[4]).attr_int("onesided", 0).note("complex"),
        new().x(&[2, 6, 3, 1]).absent().computed_scalar(-3).note("a computed axis").free_batch(),
        new().x(&[2, 6, 3, 2]).int_tensor(&[], &[5]).computed_scalar(-3).note("a computed axis").free_batch(),
    ]);
    cases.extend([
        old(&[2, 5, 1], 1).note("odd"),
        old(&[2, 5, 2], 1).attr_int("inverse", 1).note("inverse"),
        new().x(&[2, 6, 2]).attr_int("inverse", 1).note("inverse"),
        new().x(&[2, 6, 1]).attr_int("onesided", 1).note("one side").free_batch(),
        new().x(&[2, 5, 1]).attr_int("onesided", 1).note("one side, odd"),
        new().x(&[2, 5, 1]).int_tensor(&[], &[7]).attr_int("onesided", 1).note("one side, longer"),
        new().x(&[2, 6, 2]).elem(ElemType::Double),
    ]);
    for align in [0, 1] {
        let grid = |theta: &[usize], size: &[i64]| {
            case("AffineGrid").opsets(&[20, 22]).x(theta).ints(size).attr_int("align_corners", align)
        };
        cases.extend([grid(&[2, 2, 3], &[2, 3, 4, 5]), grid(&[2, 3, 4], &[2, 1, 2, 3, 4]).note("3-D")]);
    }
    cases
}
