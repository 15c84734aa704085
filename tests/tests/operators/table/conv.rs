use onnx_grad::{ElemType, proto::TensorProto};

use crate::case::{Arg, Case, case};

/// The same row with a weight that is no input.
fn with_constant_weight(case: &Case) -> Option<Case> {
    let Arg::Wanted(shape, _) = case.args.get(1)? else { return None };
    let dims: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
    let count = dims.iter().product::<i64>();
    let values: Vec<f64> = (0..count).map(|at| f64::from((at * 37 % 41) as i32 - 20) / 12.0).collect();
    let mut case = case.clone();
    case.args[1] = Arg::Constant(Box::new(TensorProto::floats("", ElemType::Float, &dims, &values)));
    case.note += ", constant weight";
    Some(case)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let conv = |x: &[usize], w: &[usize]| case("Conv").x(x).x(w);
    cases.extend([
        conv(&[2, 3, 7], &[4, 3, 3]).x(&[4]).note("1-D"),
        conv(&[1, 2, 9], &[4, 1, 3])
            .attr_int("group", 2)
            .attr_ints("strides", &[2])
            .attr_ints("dilations", &[2])
            .note("1-D"),
        conv(&[2, 2, 6, 5], &[3, 2, 3, 3]).x(&[3]).free_batch(),
        conv(&[1, 2, 6, 5], &[3, 2, 3, 2]).attr_ints("pads", &[1, 0, 2, 1]).note("asymmetric pads"),
        conv(&[1, 2, 6, 7], &[3, 2, 3, 3]).attr_ints("strides", &[2, 2]).note("skips a row").free_batch(),
        conv(&[1, 2, 8, 7], &[3, 2, 3, 3]).attr_ints("strides", &[3, 2]).attr_ints("pads", &[1, 1, 1, 1]),
        conv(&[1, 2, 8, 8], &[2, 2, 2, 2]).attr_ints("strides", &[3, 3]).note("stride larger than kernel"),
        conv(&[1, 2, 7, 7], &[2, 2, 1, 1]).attr_ints("strides", &[2, 2]).note("1 × 1, strided"),
        conv(&[1, 2, 8, 7], &[3, 2, 3, 2]).attr_ints("dilations", &[2, 3]),
        conv(&[1, 2, 9, 8], &[3, 2, 3, 2])
            .attr_ints("dilations", &[2, 3])
            .attr_ints("strides", &[2, 3])
            .attr_ints("pads", &[2, 1, 0, 2]),
        conv(&[2, 4, 5, 5], &[6, 2, 3, 3]).attr_int("group", 2).x(&[6]).free_batch(),
        conv(&[2, 3, 5, 5], &[3, 1, 3, 3]).attr_int("group", 3).attr_ints("pads", &[1, 1, 1, 1]).note("depthwise"),
        conv(&[1, 2, 5, 5], &[6, 1, 3, 3])
            .attr_int("group", 2)
            .attr_ints("strides", &[2, 2])
            .note("depthwise, multiplied"),
        conv(&[1, 2, 4, 4, 3], &[2, 2, 2, 3, 2]).x(&[2]).note("3-D"),
        conv(&[1, 2, 5, 4, 3], &[2, 1, 2, 2, 2])
            .attr_int("group", 2)
            .attr_ints("strides", &[2, 1, 2])
            .attr_ints("pads", &[1, 0, 1, 0, 1, 1])
            .note("3-D"),
        conv(&[1, 2, 3, 3], &[2, 2, 3, 3]).attr_ints("pads", &[3, 3, 3, 3]).note("pads as large as the kernel"),
    ]);
    for auto_pad in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
        cases.extend([
            conv(&[1, 2, 6, 7], &[2, 2, 3, 2]).attr_str("auto_pad", auto_pad).note(auto_pad),
            conv(&[1, 2, 6, 7], &[2, 2, 3, 4])
                .attr_str("auto_pad", auto_pad)
                .attr_ints("strides", &[2, 3])
                .note(auto_pad)
                .free_batch(),
        ]);
    }
    cases.extend([
        conv(&[1, 3, 8, 7], &[3, 1, 3, 3])
            .attr_int("group", 3)
            .attr_ints("strides", &[2, 2])
            .attr_ints("pads", &[1, 1, 1, 1])
            .note("depthwise, strided")
            .free_batch(),
        conv(&[2, 3, 9, 8], &[3, 1, 5, 3])
            .attr_int("group", 3)
            .attr_ints("strides", &[3, 2])
            .attr_ints("pads", &[2, 0, 1, 1])
            .note("depthwise, strided"),
        conv(&[2, 2, 8, 7], &[3, 2, 1, 1]).attr_ints("strides", &[3, 2]).note("1 × 1, strided").free_batch(),
        conv(&[2, 16, 8, 7], &[3, 16, 3, 3])
            .attr_ints("strides", &[2, 2])
            .attr_ints("pads", &[1, 1, 1, 1])
            .note("stride 2")
            .free_batch(),
        conv(&[1, 16, 9, 6], &[2, 16, 2, 4])
            .attr_ints("strides", &[2, 2])
            .attr_ints("pads", &[0, 1, 0, 1])
            .note("stride 2"),
        conv(&[1, 16, 6, 6], &[2, 16, 5, 5])
            .attr_ints("strides", &[2, 2])
            .attr_ints("pads", &[2, 1, 1, 2])
            .note("stride 2, uneven pads"),
        conv(&[1, 4, 5, 5], &[6, 2, 1, 1]).attr_int("group", 2).attr_ints("strides", &[2, 2]).note("1 × 1, strided"),
    ]);
    cases.push(conv(&[1, 2, 6, 6], &[2, 2, 3, 3]).opsets(&[7, 11]).attr_ints("kernel_shape", &[3, 3]));

    // Constant weights have rules of their own.
    let constant: Vec<Case> = cases.iter().filter_map(with_constant_weight).collect();
    cases.extend(constant);

    let turned = |x: &[usize], w: &[usize]| case("ConvTranspose").x(x).x(w);
    cases.extend([
        turned(&[2, 3, 5], &[3, 2, 3]).x(&[2]).note("1-D"),
        turned(&[2, 3, 4, 3], &[3, 2, 3, 2]).x(&[2]).free_batch(),
        turned(&[1, 2, 4, 3], &[2, 2, 3, 3]).attr_ints("strides", &[2, 3]),
        turned(&[1, 2, 4, 3], &[2, 2, 3, 3])
            .attr_ints("strides", &[2, 3])
            .attr_ints("pads", &[1, 0, 0, 1])
            .attr_ints("output_padding", &[1, 2]),
        turned(&[1, 2, 4, 3], &[2, 2, 3, 2]).attr_ints("dilations", &[2, 2]).attr_ints("pads", &[1, 1, 2, 0]),
        turned(&[1, 4, 3, 3], &[4, 2, 2, 2]).attr_int("group", 2).attr_ints("strides", &[2, 2]).x(&[4]),
        turned(&[1, 3, 3, 3], &[3, 1, 3, 3])
            .attr_int("group", 3)
            .attr_ints("strides", &[2, 2])
            .attr_ints("pads", &[1, 1, 1, 1])
            .note("depthwise"),
        turned(&[1, 2, 3, 3], &[2, 2, 3, 3]).attr_ints("strides", &[2, 2]).attr_ints("output_shape", &[6, 6]),
        turned(&[1, 2, 3, 3], &[2, 2, 4, 4])
            .attr_ints("strides", &[2, 2])
            .attr_ints("output_shape", &[7, 6])
            .attr_str("auto_pad", "SAME_UPPER"),
        turned(&[1, 2, 3, 3], &[2, 2, 4, 3]).attr_ints("strides", &[2, 2]).attr_str("auto_pad", "SAME_LOWER"),
        turned(&[1, 2, 3, 3], &[2, 2, 4, 3]).attr_ints("strides", &[2, 2]).attr_str("auto_pad", "SAME_UPPER"),
        turned(&[1, 2, 3, 3], &[2, 2, 2, 2]).attr_str("auto_pad", "VALID"),
        turned(&[1, 2, 3, 2, 2], &[2, 1, 2, 2, 3]).attr_ints("strides", &[2, 1, 1]).note("3-D"),
        turned(&[1, 2, 3, 3], &[2, 2, 2, 2]).opsets(&[7, 11]),
    ]);
    cases
}
