use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for align in [0, 1] {
        let grid = |x: &[usize], size: &[i64]| {
            case("AffineGrid").opsets(&[20, 22]).x(x).ints(size).attr_int("align_corners", align)
        };
        cases.extend([grid(&[2, 2, 3], &[2, 3, 4, 5]), grid(&[1, 3, 4], &[1, 2, 2, 3, 2]).note("volumes")]);
    }
    let col2im = |x: &[usize], image: &[i64], block: &[i64]| case("Col2Im").x(x).ints(image).ints(block);
    cases.extend([
        col2im(&[2, 8, 6], &[3, 4], &[2, 2]).free_batch(),
        col2im(&[1, 4, 4], &[5, 5], &[2, 2]).attr_ints("strides", &[2, 1]).attr_ints("dilations", &[2, 3]),
        col2im(&[1, 6, 12], &[3, 4], &[3, 2]).attr_ints("pads", &[1, 0, 1, 1]),
        col2im(&[1, 6, 4], &[6], &[3]).note("one axis"),
        col2im(&[1, 8, 4], &[2, 3, 3], &[2, 2, 2]).note("volumes"),
    ]);
    for onesided in [0, 1] {
        let dft = |opset: i64, x: &[usize]| case("DFT").opsets(&[opset]).x(x).attr_int("onesided", onesided);
        cases.extend([
            dft(17, &[2, 5, 1]),
            dft(19, &[1, 4, 3, 1]).attr_int("axis", 2),
            dft(20, &[2, 5, 1]).free_batch(),
        ]);
        cases.push(dft(20, &[2, 3, 4, 1]).absent().int_tensor(&[], &[1]));
        cases.push(dft(20, &[2, 6, 1]).int_tensor(&[], &[4]).note("cut"));
        cases.push(dft(20, &[2, 3, 1]).int_tensor(&[], &[5]).note("padded"));
    }
    cases.extend([
        case("DFT").opsets(&[20, 22]).x(&[2, 4, 2]).note("complex"),
        case("DFT").opsets(&[17, 20]).x(&[2, 5, 2]).attr_int("inverse", 1).note("inverse"),
        case("MaxUnpool")
            .x(&[1, 1, 2, 2])
            .int_tensor(&[1, 1, 2, 2], &[5, 7, 13, 15])
            .attr_ints("kernel_shape", &[2, 2])
            .attr_ints("strides", &[2, 2]),
        case("MaxUnpool")
            .x(&[2, 2, 1, 2])
            .int_tensor(&[2, 2, 1, 2], &[1, 6, 8, 15, 16, 22, 29, 31])
            .attr_ints("kernel_shape", &[2, 2])
            .attr_ints("strides", &[2, 2])
            .note("images and channels"),
        case("MaxUnpool")
            .x(&[1, 1, 2, 2])
            .int_tensor(&[1, 1, 2, 2], &[6, 8, 16, 18])
            .ints(&[1, 1, 5, 5])
            .attr_ints("kernel_shape", &[2, 2])
            .attr_ints("strides", &[2, 2])
            .note("a stated shape"),
    ]);
    for mode in ["half_pixel", "output_half_pixel"] {
        for ratio in [0, 2] {
            let rois = [0.0, 0.0, 3.0, 3.5, 1.2, 0.3, 5.9, 4.0, 0.5, 2.0, 9.0, 3.0];
            cases.push(
                case("RoiAlign")
                    .opsets(&[16, 18])
                    .x(&[2, 2, 4, 6])
                    .floats(&[3, 4], &rois)
                    .ints(&[0, 1, 0])
                    .attr_str("coordinate_transformation_mode", mode)
                    .attr_int("output_height", 2)
                    .attr_int("output_width", 3)
                    .attr_int("sampling_ratio", ratio)
                    .attr_float("spatial_scale", 0.75)
                    .note(&format!("{mode}, ratio {ratio}")),
            );
        }
    }
    cases.push(
        case("RoiAlign")
            .opsets(&[10])
            .x(&[1, 1, 4, 4])
            .floats(&[1, 4], &[0.0, 0.5, 2.0, 3.0])
            .ints(&[0])
            .attr_int("output_height", 2),
    );
    cases
}
