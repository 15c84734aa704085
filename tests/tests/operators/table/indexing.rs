use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let slice = |x: &[usize], starts: &[i64], ends: &[i64]| case("Slice").x(x).ints(starts).ints(ends);
    let mut cases = vec![
        slice(&[2, 5, 4], &[1], &[4]).ints(&[1]).free_batch(),
        slice(&[2, 5, 4], &[0, 1], &[2, 3]).note("no axes"),
        slice(&[3, 5], &[-3], &[-1]).ints(&[-1]),
        slice(&[3, 5], &[1], &[1000]).ints(&[1]).note("beyond the end"),
        slice(&[2, 7], &[0], &[7]).ints(&[1]).ints(&[2]).free_batch().note("step 2"),
        slice(&[2, 7], &[1], &[6]).ints(&[1]).ints(&[3]).note("step 3"),
        slice(&[2, 7], &[-1], &[-8]).ints(&[1]).ints(&[-1]).note("reversed"),
        slice(&[2, 7], &[5], &[0]).ints(&[1]).ints(&[-2]).note("step −2"),
        slice(&[4, 5, 3], &[0, 4], &[4, 0]).ints(&[0, 1]).ints(&[2, -3]).note("two axes"),
        slice(&[4, 5], &[1], &[3]).ints(&[0]).note("along the batch"),
        case("Slice")
            .opsets(&[7, 9])
            .x(&[3, 5])
            .attr_ints("starts", &[1, 0])
            .attr_ints("ends", &[3, 4])
            .attr_ints("axes", &[0, 1]),
        case("Slice").opsets(&[7]).x(&[3, 5]).attr_ints("starts", &[1]).attr_ints("ends", &[-1]),
        slice(&[3, 5], &[1], &[4]).ints(&[1]).ints(&[1]).opsets(&[10, 11, 13]),
    ];
    for mode in ["constant", "reflect", "edge", "wrap"] {
        let opsets: &[i64] = if mode == "wrap" { &[19, 22] } else { &[18, 22] };
        let pad =
            |x: &[usize], pads: &[i64]| case("Pad").opsets(opsets).x(x).ints(pads).attr_str("mode", mode).note(mode);
        cases.extend([
            pad(&[2, 3, 4], &[0, 1, 2, 0, 2, 1]).free_batch(),
            pad(&[1, 2, 4, 5], &[0, 0, 2, 1, 0, 0, 1, 3]).free_batch(),
            pad(&[5], &[3, 4]).note("long"),
            pad(&[3, 4], &[0, -1, 0, 2]).note(&format!("{mode}, one side cropped")),
            pad(&[3, 4], &[0, -1, 0, -1]).note(&format!("{mode}, cropped")),
        ]);
        cases.push(
            case("Pad")
                .opsets(opsets)
                .x(&[2, 3, 4])
                .ints(&[1, 2])
                .absent()
                .ints(&[1])
                .attr_str("mode", mode)
                .note(mode),
        );
    }
    cases.extend([
        case("Pad").x(&[2, 3]).ints(&[1, 0, 0, 2]).scalar(0.7),
        case("Pad").x(&[2, 3]).ints(&[1, 0, 0, 2]).x(&[]).note("a computed value"),
        case("Pad").opsets(&[7, 10]).x(&[2, 3]).attr_ints("pads", &[1, 0, 0, 2]).attr_float("value", 0.5),
        case("Pad").opsets(&[7, 10]).x(&[2, 3]).attr_ints("pads", &[1, 0, 0, 2]).attr_str("mode", "reflect"),
        case("Pad").opsets(&[11, 13]).x(&[2, 3]).ints(&[1, 0, 0, 2]).attr_str("mode", "edge"),
        case("Gather").x(&[4, 3]).ints(&[2, 0, 2]).attr_int("axis", 0).note("repeated"),
        case("Gather").x(&[2, 4, 3]).int_tensor(&[2, 2], &[1, 3, -1, 0]).attr_int("axis", 1).free_batch(),
        case("Gather").x(&[2, 4]).int_tensor(&[], &[1]).attr_int("axis", 1).free_batch().note("a scalar index"),
        case("Gather").x(&[2, 4]).int_tensor(&[], &[-1]).attr_int("axis", -1),
        case("Gather").x(&[4]).int_tensor(&[2, 1], &[3, 0]),
        case("Gather").opsets(&[7, 11, 13]).x(&[4, 3]).ints(&[2, 0]).attr_int("axis", 0),
    ]);
    let sliced = |starts: &[i64], ends: &[i64]| case("Slice").x(&[2, 5, 4]).computed(starts).computed(ends);
    cases.extend([
        sliced(&[1], &[4]).ints(&[1]).free_batch().note("computed bounds"),
        sliced(&[1], &[4]).computed(&[-2]).free_batch().note("computed axes"),
        sliced(&[1, -1], &[4, -4]).ints(&[1, 2]).ints(&[2, -1]).free_batch().note("computed bounds, steps"),
        case("Pad").x(&[2, 3, 4]).computed(&[0, 1, 2, 0, 2, 1]).free_batch().note("computed pads"),
        case("Split").x(&[2, 9]).computed(&[4, 5]).attr_int("axis", 1).outputs(2).note("computed sizes"),
        case("Tile").x(&[2, 3]).computed(&[2, 3]).free_batch().note("computed repeats"),
        case("Expand").x(&[2, 1]).computed(&[2, 3]).note("a computed shape"),
        case("Reshape").x(&[2, 6]).computed(&[3, 4]).note("a computed shape"),
    ]);
    for mode in ["constant", "reflect", "edge", "wrap"] {
        let pad = case("Pad").opsets(&[19]).x(&[2, 4, 5]).computed(&[1, 0, 2, 3]).absent().ints(&[1, 2]);
        cases.push(pad.attr_str("mode", mode).free_batch().note(&format!("computed pads, {mode}")));
        let pad = case("Pad").opsets(&[19]).x(&[2, 4, 5]).computed(&[1, -1, -2, 3]).absent().ints(&[1, 2]);
        cases.push(pad.attr_str("mode", mode).free_batch().note(&format!("computed pads, {mode}, cropped")));
    }
    cases
}
