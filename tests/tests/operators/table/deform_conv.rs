use crate::case::{Case, case};

/// Weights of `kernel` over `x` at places that are no kink: no offset is a whole number.
fn deformed(x: &[usize], w: &[usize], offset: &[usize]) -> Case {
    case("DeformConv").opsets(&[19, 22]).x(x).x(w).x(offset)
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        deformed(&[1, 2, 4, 4], &[2, 2, 2, 2], &[1, 8, 3, 3]),
        deformed(&[2, 2, 4, 3], &[3, 2, 2, 2], &[2, 8, 3, 2]).x(&[3]).x(&[2, 4, 3, 2]).free_batch().note("a mask"),
        deformed(&[1, 4, 4, 4], &[2, 2, 1, 2], &[1, 8, 4, 3])
            .absent()
            .x(&[1, 4, 4, 3])
            .attr_int("group", 2)
            .attr_int("offset_group", 2)
            .note("groups"),
        deformed(&[1, 1, 5, 6], &[1, 1, 2, 3], &[1, 12, 3, 3])
            .attr_ints("pads", &[1, 0, 1, 1])
            .attr_ints("strides", &[2, 1])
            .attr_ints("dilations", &[2, 2])
            .note("padded, strided, dilated"),
    ]
}
