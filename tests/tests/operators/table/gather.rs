use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let elements = |x: &[usize]| case("GatherElements").x(x);
    let nd = |x: &[usize]| case("GatherND").x(x);
    let top = |x: &[usize], k: i64| case("TopK").x(x).ints(&[k]).outputs(2);
    let compress = |x: &[usize], keep: &[bool]| case("Compress").x(x).bools(&[keep.len() as i64], keep);
    vec![
        elements(&[3, 4]).int_tensor(&[2, 4], &[0, 2, -1, 1, 0, 0, 2, 1]).note("rows"),
        elements(&[2, 3]).int_tensor(&[2, 5], &[0, 0, 2, 1, -3, 1, 2, 2, 2, 0]).attr_int("axis", 1).free_batch(),
        elements(&[3, 3, 2]).int_tensor(&[2, 1, 2], &[0, 2, 1, 1]).attr_int("axis", 1).note("fewer elsewhere"),
        elements(&[2, 3]).int_tensor(&[2, 1], &[0, 2]).attr_int("axis", -1).opsets(&[11, 13]),
        nd(&[2, 3]).int_tensor(&[2, 2], &[0, 0, 1, -1]).note("elements"),
        nd(&[2, 3]).int_tensor(&[3, 1], &[1, 0, 1]).note("repeated rows"),
        nd(&[2, 3, 4]).int_tensor(&[2, 1, 2], &[0, 1, -1, 2]).note("vectors"),
        nd(&[2, 3, 4]).int_tensor(&[2, 1], &[1, -1]).attr_int("batch_dims", 1).free_batch(),
        nd(&[2, 3, 4]).int_tensor(&[2, 2, 2], &[1, 0, 1, 0, 2, 3, 0, -1]).attr_int("batch_dims", 1).note("tuples"),
        nd(&[2, 2, 3, 2]).int_tensor(&[2, 2, 1], &[1, 0, 2, 1]).attr_int("batch_dims", 2).note("two batch axes"),
        nd(&[2, 3]).int_tensor(&[2, 2], &[0, 0, 1, 2]).opsets(&[11, 12]),
        top(&[3, 5], 2).free_batch(),
        top(&[4, 2, 3], 3).attr_int("axis", 0).attr_int("largest", 0),
        top(&[2, 6], 4).attr_int("sorted", 0).attr_int("axis", 1),
        top(&[2, 6], 2).opsets(&[10, 11]),
        case("TopK").opsets(&[7]).x(&[2, 6]).attr_int("k", 3).outputs(2),
        compress(&[3, 4], &[true, false, true]).attr_int("axis", 0),
        compress(&[3, 4], &[false, true, true]).attr_int("axis", 1).free_batch().note("a short condition"),
        compress(&[3, 2], &[false, true, false, true, true]).note("flat"),
        compress(&[3, 2, 2], &[true, false]).attr_int("axis", -1),
        compress(&[3, 2], &[false, true]).attr_int("axis", 1).opsets(&[9]),
        case("Unique").x(&[7]).outputs(4),
        case("Unique").x(&[2, 3]).attr_int("sorted", 0).note("flat, as they come"),
        case("Unique").x(&[3, 2]).attr_int("axis", 0).note("rows"),
        case("OneHot").ints(&[1, 0, -1, 7]).int_tensor(&[], &[3]).x(&[2]),
        case("OneHot").int_tensor(&[2, 2], &[1, 0, -1, 7]).ints(&[3]).x(&[2]).attr_int("axis", 1),
    ]
}
