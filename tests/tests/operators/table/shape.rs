use crate::case::{Case, case};

const SHAPE: [usize; 4] = [2, 3, 4, 3];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("Identity").x(&SHAPE).free_batch(),
        case("Dropout").x(&SHAPE).free_batch(),
        case("Dropout").opsets(&[7, 10]).x(&SHAPE).attr_float("ratio", 0.4),
        case("Dropout").opsets(&[12, 13]).x(&SHAPE).scalar(0.4),
        case("Dropout").x(&SHAPE).scalar(0.0).bools(&[], &[true]).note("training that drops nothing"),
        case("Dropout").x(&SHAPE).scalar(0.4).bools(&[], &[false]).note("inference"),
        case("Cast").x(&SHAPE).attr_int("to", 11).note("to double and on").tolerance(2e-3),
        case("Cast").x(&SHAPE).attr_int("to", 1),
        case("CastLike").x(&SHAPE).floats(&[1], &[0.0]),
        case("Reshape").x(&SHAPE).ints(&[6, 12]),
        case("Reshape").x(&SHAPE).ints(&[0, -1]).free_batch(),
        case("Reshape").x(&SHAPE).ints(&[0, -1, 0, 1]).note("a zero that copies"),
        case("Reshape").x(&SHAPE).ints(&[-1]),
        case("Reshape").x(&[1]).ints(&[]).note("to a scalar"),
        case("Reshape").opsets(&[7, 13]).x(&SHAPE).ints(&[6, -1]),
        case("Transpose").x(&SHAPE).attr_ints("perm", &[0, 2, 3, 1]).free_batch(),
        case("Transpose").x(&SHAPE).attr_ints("perm", &[3, 0, 2, 1]),
        case("Transpose").x(&[2, 3]).note("no perm"),
        case("Transpose").opsets(&[7]).x(&[2, 3, 4]),
        case("Squeeze").x(&[2, 1, 3, 1]).ints(&[1, 3]).free_batch(),
        case("Squeeze").x(&[2, 1, 3, 1]).ints(&[-1]),
        case("Squeeze").x(&[2, 1, 3, 1]).note("all"),
        case("Squeeze").opsets(&[7, 11]).x(&[2, 1, 3, 1]).attr_ints("axes", &[1]),
        case("Unsqueeze").x(&[2, 3]).ints(&[0, 3]),
        case("Unsqueeze").x(&[2, 3]).ints(&[-1]).free_batch(),
        case("Unsqueeze").opsets(&[7, 11]).x(&[2, 3]).attr_ints("axes", &[1, 2]),
        case("Expand").x(&[3, 1]).ints(&[2, 1, 4]),
        case("Expand").x(&[2, 3]).ints(&[1]).note("nothing to do").free_batch(),
        case("Expand").x(&[1]).ints(&[2, 2]),
        case("Expand").x(&[]).ints(&[3]),
        case("Expand").opsets(&[8]).x(&[3, 1]).ints(&[3, 4]),
        case("Split").x(&[2, 6]).ints(&[2, 3, 1]).attr_int("axis", 1).outputs(3).free_batch(),
        case("Split").x(&[5, 2]).attr_int("num_outputs", 2).outputs(2).note("uneven"),
        case("Split").x(&[2, 6]).attr_int("num_outputs", 3).attr_int("axis", -1).outputs(3),
        case("Split").opsets(&[7, 11]).x(&[6, 2]).attr_ints("split", &[1, 5]).outputs(2),
        case("Split").opsets(&[7, 11, 13]).x(&[6, 2]).outputs(3).note("evenly"),
        case("Split").opsets(&[13]).x(&[6, 2]).ints(&[4, 2]).outputs(2),
    ];
    for axis in [0, 1, 2, 4, -1] {
        cases.push(case("Flatten").x(&SHAPE).attr_int("axis", axis).note("axis"));
    }
    cases.push(case("Flatten").x(&SHAPE).free_batch());
    cases.push(case("Flatten").opsets(&[7, 9, 11]).x(&SHAPE).attr_int("axis", 2));
    cases.extend([
        case("Concat").x(&[2, 3]).x(&[2, 1]).x(&[2, 2]).attr_int("axis", 1).free_batch(),
        case("Concat").x(&[2, 3]).x(&[1, 3]).attr_int("axis", 0),
        case("Concat").x(&[2, 3]).x(&[2, 3]).attr_int("axis", 0).free_batch().note("along the free axis"),
        case("Concat").x(&[2, 3, 2]).x(&[2, 3, 4]).attr_int("axis", -1),
        case("Concat").x(&[2, 3]).attr_int("axis", 1).note("one part"),
        case("Concat").opsets(&[7, 11]).x(&[2, 3]).x(&[2, 1]).attr_int("axis", 1),
    ]);
    cases
}
