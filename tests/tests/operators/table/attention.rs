use onnx_grad::ElemType;

use crate::case::{Case, case};

/// True where `i` modulo 3 is not 1, for a mask that closes no row.
fn most(count: usize) -> Vec<bool> {
    (0..count).map(|i| i % 3 != 1).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    let at = |opsets: &[i64]| case("Attention").opsets(opsets);
    let both = || at(&[23, 24]);
    // Four axes: [batch, heads, sequence, size].
    let apart = || both().x(&[2, 2, 3, 4]).x(&[2, 2, 5, 4]).x(&[2, 2, 5, 3]);
    let flat = |q: i64, kv: i64| both().attr_int("q_num_heads", q).attr_int("kv_num_heads", kv);
    let mut cases = vec![
        apart().free_batch(),
        apart().attr_float("scale", 0.3).note("scale"),
        apart().attr_float("softcap", 0.7).note("softcap"),
        apart().attr_int("is_causal", 1).note("causal").free_batch(),
        both().x(&[2, 2, 5, 4]).x(&[2, 2, 3, 4]).x(&[2, 2, 3, 4]).attr_int("is_causal", 1).note("causal, few keys"),
        apart().bools(&[3, 5], &most(15)).note("boolean mask"),
        apart().bools(&[2, 1, 3, 5], &most(30)).note("boolean mask an image"),
        apart().bools(&[3, 5], &most(15)).attr_int("is_causal", 1).note("mask and causal"),
        apart().x(&[3, 5]).note("added mask"),
        apart().x(&[2, 1, 3, 5]).note("added mask an image"),
        apart().x(&[2, 2, 3, 5]).free_batch().note("added mask a head"),
        apart().x(&[3, 5]).attr_float("softcap", 0.7).attr_int("is_causal", 1).note("everything"),
        both().x(&[2, 4, 3, 4]).x(&[2, 2, 5, 4]).x(&[2, 2, 5, 3]).free_batch().note("grouped queries"),
        both().x(&[1, 4, 3, 4]).x(&[1, 1, 5, 4]).x(&[1, 1, 5, 3]).x(&[4, 3, 5]).note("one head of keys"),
        flat(2, 2).x(&[2, 3, 8]).x(&[2, 5, 8]).x(&[2, 5, 6]).free_batch().note("flat"),
        flat(4, 2).x(&[2, 3, 8]).x(&[2, 5, 4]).x(&[2, 5, 6]).free_batch().note("flat, grouped"),
        flat(2, 2).x(&[2, 3, 8]).x(&[2, 3, 8]).x(&[2, 3, 8]).attr_int("is_causal", 1).note("flat, causal"),
        apart().absent().x(&[2, 2, 2, 4]).x(&[2, 2, 2, 3]).outputs(3).note("cache"),
        apart().absent().x(&[2, 2, 2, 4]).x(&[2, 2, 2, 3]).attr_int("is_causal", 1).outputs(3).note("cache, causal"),
        apart().elem(ElemType::Float16).tolerance(2e-2),
    ];
    let padded = || at(&[24]).x(&[2, 2, 3, 4]).x(&[2, 2, 5, 4]).x(&[2, 2, 5, 3]);
    cases.extend([
        padded().absent().absent().absent().ints(&[4, 3]).note("padded keys"),
        padded().absent().absent().absent().ints(&[5, 4]).attr_int("is_causal", 1).note("padded keys, causal"),
        apart().bools(&[3, 5], &[vec![false; 5], most(10)].concat()).note("a row that may look at nothing"),
        at(&[25]).x(&[2, 2, 4, 4]).x(&[2, 2, 4, 4]).x(&[2, 2, 4, 3]).attr_int("left_window_size", 1).note("window"),
    ]);

    for mode in 0..4 {
        let shows = |node: Case| node.attr_int("qk_matmul_output_mode", mode).note(&format!("scores, mode {mode}"));
        cases.extend([
            shows(apart().outputs(4)),
            shows(apart().x(&[3, 5]).attr_float("softcap", 0.7).outputs(4)),
            shows(both().x(&[2, 4, 3, 4]).x(&[2, 2, 5, 4]).x(&[2, 2, 5, 3]).outputs(4)),
        ]);
    }

    let angles: Vec<f64> = (0..64).map(|i| f64::from(i) * 0.37 % 3.0 - 1.5).collect();
    let (cosines, sines): (Vec<f64>, Vec<f64>) = angles.iter().map(|angle| (angle.cos(), angle.sin())).unzip();
    for interleaved in [0, 1] {
        let rotary = || case("RotaryEmbedding").opsets(&[23]).attr_int("interleaved", interleaved);
        let full = |x: &[usize]| rotary().x(x).floats(&[2, 3, 2], &cosines[..12]).floats(&[2, 3, 2], &sines[..12]);
        let placed = |x: &[usize]| {
            let cached = rotary().x(x).floats(&[4, 2], &cosines[..8]).floats(&[4, 2], &sines[..8]);
            cached.int_tensor(&[2, 3], &[0, 1, 2, 3, 1, 0])
        };
        let microsoft = |x: &[usize]| {
            let rotary = case("RotaryEmbedding").domain("com.microsoft").opsets(&[18]);
            rotary.attr_int("interleaved", interleaved).x(x)
        };
        cases.extend([
            full(&[2, 2, 3, 4]),
            full(&[2, 3, 8]).attr_int("num_heads", 2).note("flat"),
            full(&[2, 2, 3, 6]).attr_int("rotary_embedding_dim", 4).note("part of a head"),
            placed(&[2, 2, 3, 4]).note("positions"),
            rotary().x(&[2, 2, 3, 4]).x(&[2, 3, 2]).x(&[2, 3, 2]).note("angles that are computed"),
            rotary()
                .x(&[2, 3, 8])
                .x(&[4, 2])
                .x(&[4, 2])
                .int_tensor(&[2, 3], &[0, 1, 2, 3, 1, 0])
                .attr_int("num_heads", 2)
                .note("angles that are computed, positions"),
            placed(&[2, 3, 12]).attr_int("num_heads", 2).attr_int("rotary_embedding_dim", 4).note("flat, part"),
            microsoft(&[2, 3, 8]).ints(&[1]).floats(&[4, 2], &cosines[..8]).floats(&[4, 2], &sines[..8]),
            microsoft(&[2, 2, 3, 4])
                .int_tensor(&[2, 3], &[0, 1, 2, 3, 1, 0])
                .floats(&[4, 2], &cosines[..8])
                .floats(&[4, 2], &sines[..8]),
        ]);
    }
    cases
}
