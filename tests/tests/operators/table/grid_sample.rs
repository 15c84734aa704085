use crate::case::{Case, Draw, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for align in [0, 1] {
        for padding in ["zeros", "border", "reflection"] {
            for mode in ["nearest", "linear", "cubic"] {
                let with = |opset: i64, x: &[usize], grid: &[usize], draw: Draw, mode: &str| {
                    let sample = case("GridSample").opsets(&[opset]).x(x).x_from(grid, draw);
                    let sample = sample.attr_str("mode", mode).attr_str("padding_mode", padding);
                    sample.attr_int("align_corners", align).note(&format!("{mode} {padding} align {align}"))
                };
                let old = match mode {
                    "linear" => "bilinear",
                    "cubic" => "bicubic",
                    other => other,
                };
                cases.extend([
                    with(20, &[2, 2, 3, 4], &[2, 3, 2, 2], Draw::Unit, mode).free_batch(),
                    with(16, &[1, 2, 4, 3], &[1, 2, 3, 2], Draw::Unit, old),
                ]);
                // The nearest element jumps, which differences would see.
                if mode != "nearest" {
                    cases.push(with(22, &[1, 2, 3, 5], &[1, 4, 5, 2], Draw::Any, mode));
                    cases.push(with(16, &[1, 2, 4, 3], &[1, 2, 3, 2], Draw::Any, old));
                } else {
                    let mut far = with(22, &[1, 2, 3, 5], &[1, 1, 4, 2], Draw::Any, mode);
                    far.args.pop();
                    cases.push(far.floats(&[1, 1, 4, 2], &[-1.7, 0.1, 1.9, -2.3, 0.37, 1.1, 3.3, -0.9]));
                }
                if mode != "cubic" {
                    cases.push(with(20, &[1, 2, 2, 3, 4], &[1, 2, 1, 3, 3], Draw::Unit, mode));
                }
            }
        }
    }
    cases.push(case("GridSample").opsets(&[20]).x(&[1, 1, 3, 3]).x_from(&[1, 2, 2, 2], Draw::Unit).note("defaults"));
    cases
}
