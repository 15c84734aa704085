use crate::case::{Case, case};

const COORDINATES: [&str; 5] =
    ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"];

fn by_scales(x: &[usize], scales: &[f64], mode: &str) -> Case {
    let resize = case("Resize").opsets(&[19, 22]).x(x).absent();
    resize.floats(&[scales.len() as i64], scales).attr_str("mode", mode)
}

fn by_sizes(x: &[usize], sizes: &[i64], mode: &str) -> Case {
    case("Resize").opsets(&[19, 22]).x(x).absent().absent().ints(sizes).attr_str("mode", mode)
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in ["nearest", "linear", "cubic"] {
        for coordinates in COORDINATES {
            let note = format!("{mode} {coordinates}");
            let with = |case: Case| case.attr_str("coordinate_transformation_mode", coordinates).note(&note);
            cases.extend([
                with(by_scales(&[1, 2, 3, 4], &[1.0, 1.0, 2.0, 2.0], mode)).free_batch(),
                with(by_scales(&[1, 1, 5, 6], &[1.0, 1.0, 0.6, 1.7], mode)),
                with(by_sizes(&[1, 2, 4, 5], &[1, 2, 7, 3], mode)),
                with(by_sizes(&[1, 1, 3, 4], &[1, 1, 1, 8], mode)),
            ]);
        }
        let cropped = |x: &[usize], roi: &[f64]| {
            let resize = case("Resize").opsets(&[19, 22]).x(x).floats(&[roi.len() as i64], roi);
            resize.attr_str("mode", mode).attr_str("coordinate_transformation_mode", "tf_crop_and_resize")
        };
        cases.extend([
            cropped(&[1, 1, 4, 5], &[0.0, 0.0, 0.2, 0.1, 1.0, 1.0, 0.9, 0.8])
                .absent()
                .ints(&[1, 1, 3, 6])
                .note("a crop"),
            cropped(&[1, 1, 4, 5], &[0.0, 0.0, -0.3, 0.4, 1.0, 1.0, 0.8, 1.2])
                .floats(&[4], &[1.0, 1.0, 1.5, 0.8])
                .attr_float("extrapolation_value", 3.0)
                .note("a crop beyond the edges"),
        ]);
        for policy in ["not_larger", "not_smaller"] {
            let note = format!("{mode} {policy}");
            let resize = case("Resize").x(&[1, 1, 3, 5]).absent().absent().ints(&[7, 8]).attr_ints("axes", &[2, 3]);
            let computed =
                case("Resize").x(&[1, 1, 3, 5]).absent().absent().computed(&[7, 8]).attr_ints("axes", &[2, 3]);
            for resize in [resize, computed.free_batch()] {
                cases.push(resize.attr_str("mode", mode).attr_str("keep_aspect_ratio_policy", policy).note(&note));
            }
        }
    }
    for rounding in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] {
        for coordinates in ["half_pixel", "asymmetric"] {
            let note = format!("{rounding} {coordinates}");
            let with = |case: Case| {
                let case = case.attr_str("nearest_mode", rounding).note(&note);
                case.attr_str("coordinate_transformation_mode", coordinates)
            };
            cases.extend([
                with(by_scales(&[1, 2, 2, 3], &[1.0, 1.0, 3.0, 2.0], "nearest")).free_batch(),
                with(by_scales(&[1, 2, 4, 4], &[1.0, 1.0, 0.5, 1.4], "nearest")),
            ]);
        }
    }
    for mode in ["linear", "cubic"] {
        for outside in [0, 1] {
            let with = |case: Case| {
                let case = case.attr_int("antialias", 1).attr_int("exclude_outside", outside);
                case.note(&format!("{mode} antialiased, exclude_outside {outside}"))
            };
            cases.extend([
                with(by_sizes(&[1, 2, 7, 8], &[1, 2, 3, 5], mode)),
                with(by_sizes(&[1, 2, 3, 4], &[1, 2, 6, 4], mode)).free_batch(),
                with(by_scales(&[1, 1, 7, 9], &[1.0, 1.0, 0.6, 0.4], mode)),
            ]);
        }
    }
    cases.extend([
        by_scales(&[1, 1, 4, 4], &[1.0, 1.0, 0.7, 1.6], "cubic")
            .attr_float("cubic_coeff_a", -0.5)
            .attr_int("exclude_outside", 1),
        by_scales(&[1, 2, 2, 3, 3], &[1.0, 1.0, 2.0, 1.5, 0.7], "linear").note("volumes"),
        by_sizes(&[1, 2, 2, 3, 2], &[1, 2, 4, 3, 6], "nearest").note("volumes"),
        by_scales(&[4, 5], &[1.5, 0.6], "linear").note("a matrix"),
        by_scales(&[5], &[2.4], "nearest").note("a vector"),
        by_scales(&[2, 3, 4], &[1.0, 1.0, 2.5], "nearest").note("three axes"),
        by_scales(&[2, 3, 4], &[1.0, 1.0, 2.5], "linear").note("three axes"),
        by_scales(&[1, 4, 5, 2], &[1.0, 2.0, 1.5, 1.0], "linear").note("channels last"),
        case("Resize").x(&[1, 2, 3, 3]).absent().floats(&[2], &[2.0, 1.5]).attr_ints("axes", &[3, 2]),
        case("Resize").opsets(&[11, 13]).x(&[1, 1, 3, 3]).floats(&[0], &[]).floats(&[4], &[1.0, 1.0, 2.0, 2.0]),
        case("Resize").opsets(&[10]).x(&[1, 1, 3, 3]).floats(&[4], &[1.0, 1.0, 2.0, 1.5]).attr_str("mode", "linear"),
        case("Upsample").opsets(&[9]).x(&[1, 2, 3, 3]).floats(&[4], &[1.0, 1.0, 2.0, 3.0]),
        case("Upsample").opsets(&[9]).x(&[1, 1, 3, 3]).floats(&[4], &[1.0, 1.0, 2.0, 1.5]).attr_str("mode", "linear"),
    ]);
    for mode in ["nearest", "linear", "cubic"] {
        let resize = case("Resize").x(&[2, 1, 4, 5]).absent().absent().computed(&[2, 1, 7, 3]);
        cases.push(resize.clone().attr_str("mode", mode).note("computed sizes"));
        let resize = case("Resize").x(&[2, 1, 4, 5]).absent().absent().computed(&[7, 3]).attr_ints("axes", &[2, 3]);
        cases.push(resize.attr_str("mode", mode).free_batch().note("computed sizes that change"));
    }
    cases
}
