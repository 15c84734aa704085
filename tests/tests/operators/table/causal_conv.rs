use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let conv = |kernel: usize| case("CausalConvWithState").opsets(&[27]).x(&[2, 3, 5]).x(&[3, 1, kernel]).outputs(2);
    vec![
        conv(3).free_batch(),
        conv(3).x(&[3]).x(&[2, 3, 2]).outputs(2).note("state"),
        conv(3).absent().x(&[2, 3, 2]).outputs(2).attr_str("activation", "silu").note("activation"),
        conv(4).x(&[3]).attr_str("activation", "swish").outputs(2).note("activation and bias"),
        conv(1).note("a kernel of one"),
        case("CausalConvWithState")
            .opsets(&[27])
            .x(&[2, 3, 1])
            .x(&[3, 1, 4])
            .x(&[3])
            .x(&[2, 3, 3])
            .outputs(2)
            .note("one step"),
    ]
}
