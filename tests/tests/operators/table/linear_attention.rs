use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let node = |rule: &str, q: usize, kv: usize| {
        let node = case("LinearAttention").opsets(&[27]).attr_str("update_rule", rule).note(rule);
        let node = node.attr_int("q_num_heads", q as i64).attr_int("kv_num_heads", kv as i64);
        node.x(&[2, 3, q * 2]).x(&[2, 3, kv * 2]).x(&[2, 3, kv * 3]).outputs(2)
    };
    let past = |rule: &str| node(rule, 2, 2).x(&[2, 2, 2, 3]).outputs(2);
    let gated = |rule: &str| node(rule, 4, 2).x(&[2, 2, 2, 3]).x(&[2, 3, 2]).outputs(2);
    vec![
        node("linear", 2, 2).free_batch(),
        node("linear", 4, 2).attr_float("scale", 0.4),
        past("linear"),
        gated("gated"),
        past("gated").x(&[2, 3, 4]),
        past("delta").absent().x(&[2, 3, 2]),
        past("delta").absent().x(&[2, 3, 1]),
        gated("gated_delta").x(&[2, 3, 2]),
        past("gated_delta").x(&[2, 3, 4]).x(&[2, 3, 1]),
        node("gated_delta", 2, 2).absent().x(&[2, 3, 2]).x(&[2, 3, 2]).free_batch(),
    ]
}
