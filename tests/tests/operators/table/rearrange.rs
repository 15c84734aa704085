use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("Tile").x(&[2, 3]).ints(&[2, 1]),
        case("Tile").x(&[2, 3]).ints(&[1, 2]).free_batch(),
        case("Tile").x(&[2, 3]).ints(&[3, 2]).free_batch().note("the batch too"),
        case("Tile").x(&[2, 1, 3]).ints(&[1, 4, 2]),
        case("Tile").x(&[2]).ints(&[1]).note("nothing to do"),
        case("Tile").opsets(&[7, 13]).x(&[2, 3]).ints(&[2, 2]),
        case("Trilu").x(&[3, 4]),
        case("Trilu").x(&[3, 4]).int_tensor(&[], &[1]).attr_int("upper", 0),
        case("Trilu").x(&[2, 3, 3]).int_tensor(&[], &[-1]).free_batch(),
        case("Trilu").x(&[3, 3]).attr_int("upper", 0).opsets(&[14]),
        case("SpaceToDepth").x(&[2, 2, 4, 6]).attr_int("blocksize", 2).free_batch(),
        case("SpaceToDepth").x(&[1, 1, 3, 6]).attr_int("blocksize", 3).opsets(&[7, 13]),
        case("ReverseSequence").x(&[4, 2, 3]).ints(&[3, 2]),
        case("ReverseSequence")
            .x(&[2, 4])
            .ints(&[4, 1])
            .attr_int("batch_axis", 0)
            .attr_int("time_axis", 1)
            .free_batch()
            .opsets(&[10, 18]),
        case("CenterCropPad").x(&[2, 5, 4]).ints(&[2, 3, 7]),
        case("CenterCropPad").x(&[2, 4, 5]).ints(&[7, 2]).attr_ints("axes", &[1, 2]).free_batch(),
        case("CenterCropPad").x(&[2, 4, 3]).ints(&[6]).attr_ints("axes", &[-1]),
    ];
    for mode in ["DCR", "CRD"] {
        let opened = || case("DepthToSpace").x(&[2, 8, 2, 3]).attr_int("blocksize", 2).attr_str("mode", mode);
        cases.extend([opened().free_batch().note(mode), opened().opsets(&[11, 13]).note(mode)]);
    }
    cases.push(case("DepthToSpace").opsets(&[7]).x(&[1, 9, 1, 2]).attr_int("blocksize", 3));
    cases
}
