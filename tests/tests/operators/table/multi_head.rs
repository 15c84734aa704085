use crate::case::{Case, case};

fn microsoft(op: &'static str) -> Case {
    case(op).domain("com.microsoft").opsets(&[18]).attr_int("num_heads", 2)
}

pub(crate) fn cases() -> Vec<Case> {
    let apart = || microsoft("MultiHeadAttention").x(&[2, 3, 4]).x(&[2, 5, 4]).x(&[2, 5, 6]);
    let same = || microsoft("MultiHeadAttention").x(&[2, 3, 4]).x(&[2, 3, 4]).x(&[2, 3, 4]);
    let joint = || microsoft("Attention").x(&[2, 3, 4]).x(&[4, 12]).x(&[12]);
    let mask = [1, 1, 0, 1, 1, 1, 0, 1, 1, 0];
    vec![
        apart().free_batch(),
        apart().attr_float("scale", 0.3).note("scale"),
        apart().x(&[14]).note("bias"),
        same().x(&[12]).free_batch().note("bias, self"),
        apart().absent().short_ints(&[2, 5], &mask).note("mask"),
        apart().absent().short_ints(&[2, 5], &mask).attr_float("mask_filter_value", -1.5).note("a soft mask"),
        apart().absent().short_ints(&[2], &[5, 3]).note("lengths"),
        apart().absent().absent().x(&[2, 2, 3, 5]).free_batch().note("bias of scores"),
        apart().x(&[14]).absent().x(&[1, 1, 3, 5]).note("bias of scores, broadcast"),
        same().attr_int("unidirectional", 1).note("causal"),
        microsoft("MultiHeadAttention").x(&[2, 3, 4]).x(&[2, 2, 5, 2]).x(&[2, 2, 5, 2]).note("heads already"),
        joint().free_batch(),
        joint().attr_int("unidirectional", 1).note("causal"),
        joint().short_ints(&[2, 3], &mask[..6]).note("mask"),
        joint().short_ints(&[2], &[3, 2]).note("lengths"),
        joint().absent().absent().x(&[2, 2, 3, 3]).note("bias of scores"),
        joint().absent().absent().x(&[1, 2, 3, 3]).attr_float("scale", 0.3).note("bias of scores, broadcast"),
        microsoft("Attention").x(&[2, 3, 4]).x(&[4, 14]).x(&[14]).attr_ints("qkv_hidden_sizes", &[4, 4, 6]),
    ]
}
