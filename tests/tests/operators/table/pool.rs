use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in ["MaxPool", "AveragePool", "LpPool"] {
        let pool = |x: &[usize], kernel: &[i64]| case(op).x(x).attr_ints("kernel_shape", kernel);
        cases.extend([
            pool(&[2, 2, 6, 6], &[2, 2]).attr_ints("strides", &[2, 2]).free_batch(),
            pool(&[2, 2, 7, 6], &[3, 3]).attr_ints("strides", &[2, 2]).free_batch().note("overlapping"),
            pool(&[1, 2, 5, 5], &[3, 3]).note("stride 1"),
            pool(&[1, 2, 7, 7], &[3, 3]).attr_ints("strides", &[2, 2]).attr_ints("pads", &[1, 1, 1, 1]).free_batch(),
            pool(&[1, 2, 6, 7], &[3, 2])
                .attr_ints("strides", &[2, 1])
                .attr_ints("pads", &[1, 0, 0, 1])
                .note("asymmetric pads"),
            pool(&[1, 1, 7, 8], &[2, 2]).attr_ints("strides", &[3, 3]).note("stride larger than kernel"),
            pool(&[2, 2, 9], &[3]).attr_ints("strides", &[2]).note("1-D"),
            pool(&[1, 2, 4, 4, 4], &[2, 2, 2]).attr_ints("strides", &[2, 1, 2]).note("3-D"),
            pool(&[1, 2, 6, 6], &[3, 3]).attr_str("auto_pad", "SAME_UPPER").attr_ints("strides", &[2, 2]),
            pool(&[1, 2, 6, 5], &[2, 2]).attr_str("auto_pad", "SAME_LOWER").attr_ints("strides", &[2, 2]),
            pool(&[1, 2, 6, 6], &[3, 3]).attr_str("auto_pad", "VALID").attr_ints("strides", &[2, 2]),
            pool(&[1, 1, 4, 4], &[2, 2]).opsets(&[7]),
        ]);
        if op != "LpPool" {
            cases.extend([
                pool(&[1, 2, 6, 6], &[3, 3]).attr_ints("strides", &[2, 2]).attr_int("ceil_mode", 1).note("ceil"),
                pool(&[1, 2, 6, 7], &[3, 3])
                    .attr_ints("strides", &[2, 2])
                    .attr_ints("pads", &[1, 1, 1, 1])
                    .attr_int("ceil_mode", 1)
                    .note("ceil, padded"),
                pool(&[1, 1, 5, 5], &[2, 2])
                    .attr_ints("strides", &[2, 2])
                    .attr_int("ceil_mode", 1)
                    .opsets(&[10, 11])
                    .note("ceil"),
            ]);
        }
    }
    let max = |x: &[usize]| case("MaxPool").x(x).attr_ints("kernel_shape", &[2, 2]);
    let average = |x: &[usize]| case("AveragePool").x(x).attr_ints("kernel_shape", &[3, 3]);
    cases.extend([
        max(&[1, 2, 7, 7]).attr_ints("dilations", &[2, 3]).note("dilated"),
        max(&[1, 2, 7, 9])
            .attr_ints("dilations", &[2, 3])
            .attr_ints("strides", &[2, 3])
            .attr_ints("pads", &[1, 1, 0, 1])
            .free_batch()
            .note("dilated, in steps, padded"),
        case("MaxPool")
            .x(&[1, 2, 11])
            .attr_ints("kernel_shape", &[3])
            .attr_ints("dilations", &[2])
            .attr_ints("strides", &[3])
            .attr_ints("pads", &[2, 2])
            .note("dilated, 1-D"),
        case("MaxPool")
            .x(&[1, 2, 5, 6, 4])
            .attr_ints("kernel_shape", &[3, 2, 3])
            .attr_ints("strides", &[2, 3, 1])
            .attr_ints("pads", &[1, 0, 1, 1, 0, 1])
            .note("3-D, padded"),
        case("MaxPool").x(&[2, 2, 20]).attr_ints("kernel_shape", &[20]).free_batch().note("one long window"),
        case("MaxPool").x(&[1, 2, 3, 19]).attr_ints("kernel_shape", &[1, 19]).note("one long window along a row"),
        case("MaxPool").x(&[1, 2, 40]).attr_ints("kernel_shape", &[19]).attr_ints("strides", &[7]).note("long windows"),
        max(&[1, 2, 5, 4]).attr_int("storage_order", 1).note("columns first"),
        max(&[2, 2, 4, 4]).outputs(2).note("with indices"),
        average(&[1, 2, 5, 5]).attr_ints("pads", &[1, 1, 1, 1]).attr_int("count_include_pad", 1),
        average(&[1, 2, 6, 6])
            .attr_ints("pads", &[1, 1, 1, 1])
            .attr_ints("strides", &[2, 2])
            .attr_int("count_include_pad", 1)
            .attr_int("ceil_mode", 1),
        average(&[1, 2, 8, 8]).attr_ints("dilations", &[2, 2]).opsets(&[19, 22]).note("dilated"),
        average(&[1, 2, 8, 8])
            .attr_ints("dilations", &[2, 1])
            .attr_ints("pads", &[1, 1, 1, 1])
            .opsets(&[19])
            .note("dilated, padded"),
        case("LpPool").x(&[1, 2, 5, 5]).attr_ints("kernel_shape", &[2, 2]).attr_int("p", 1),
        case("LpPool").x(&[1, 2, 5, 5]).attr_ints("kernel_shape", &[2, 2]).attr_int("p", 3),
    ]);
    for op in ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"] {
        // ONNX Runtime has no kernel for GlobalLpPool at opset 22.
        let newest = if op == "GlobalLpPool" { 21 } else { 22 };
        let case = |op| case(op).opsets(&[18, newest]);
        cases.extend([
            case(op).x(&[2, 3, 4, 3]).free_batch(),
            case(op).x(&[2, 3, 5]).note("1-D"),
            case(op).x(&[1, 2, 2, 3, 2]).note("3-D"),
            case(op).x(&[2, 3, 4, 3]).opsets(&[7]),
        ]);
    }
    for p in [1, 3] {
        cases.push(case("GlobalLpPool").opsets(&[18, 21]).x(&[2, 3, 4, 3]).attr_int("p", p));
    }
    cases
}
