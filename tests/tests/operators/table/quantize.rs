use onnx_grad::{ElemType, proto::TensorProto};

use crate::case::{Arg, Case, case};

/// A `DequantizeLinear` of these bytes, 3 × 4, with scales of that shape.
fn dequantize(scales: &[usize], zero_points: bool) -> Case {
    let bytes = |dims: &[i64], step: i64| {
        let values: Vec<u8> = (0..dims.iter().product::<i64>()).map(|i| (i * step % 251) as u8).collect();
        Arg::Constant(Box::new(TensorProto::raw("", ElemType::Uint8, dims, values.into())))
    };
    let mut case = case("DequantizeLinear");
    case.args.push(bytes(&[3, 4], 77));
    case = case.x(scales);
    if zero_points {
        let dims: Vec<i64> = scales.iter().map(|&size| size as i64).collect();
        case.args.push(bytes(&dims, 31));
    }
    case
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        dequantize(&[], true),
        dequantize(&[1], false).note("a list of one"),
        dequantize(&[4], true).note("an axis"),
        dequantize(&[3], true).attr_int("axis", 0).note("the first axis"),
        dequantize(&[3, 2], true).opsets(&[21]).attr_int("block_size", 2).attr_int("axis", 1).note("blocks"),
        dequantize(&[2, 4], false).opsets(&[21]).attr_int("block_size", 2).attr_int("axis", 0).note("a short block"),
        case("DynamicQuantizeLinear").opsets(&[11]).x(&[3, 4]).outputs(3),
        case("DynamicQuantizeLinear")
            .opsets(&[11])
            .x_from(&[3, 4], crate::case::Draw::Positive)
            .outputs(3)
            .note("positive"),
    ]
}
