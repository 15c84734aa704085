//! `GRU`.

use super::{Back, Grad, Result, Run, activation::Activation, affine, both_directions, gates, pick, scan, sums};
use crate::{attr, builder::Val, vjp::Vjp};

/// z = f(x Wzᵀ + h Rzᵀ), r = f(x Wrᵀ + h Rrᵀ), biases left out; n = g(x Wnᵀ + (r h) Rnᵀ), or g(x Wnᵀ + r (h Rnᵀ)) with
/// `linear_before_reset`; h′ = (1 − z) n + z h. Before the activations ∂z = f′ (h − n) ∂h′ and ∂n = g′ (1 − z) ∂h′.
pub(super) fn gru(v: &mut Vjp<'_>) -> Result<Vec<Grad>> {
    let linear_first = v.node().attr_int("linear_before_reset").unwrap_or(0) != 0;
    both_directions(v, 3, if linear_first { reset_after } else { reset_before })
}

/// What both forms share.
struct Gates {
    r: Val,
    z: Val,
    /// f′ (h − n), g′ (1 − z), f′ of r
    z_slope: Val,
    n_slope: Val,
    r_slope: Val,
}

fn finish(v: &mut Vjp<'_>, run: &Run, f: [Activation; 2], z: Val, r: Val, n_sum: &Val) -> Gates {
    let elem = run.elem;
    let n = f[1].of(v, n_sum);
    let slope = f[0].slope(v, &z, elem);
    let change = v.g.sub(&run.before, &n);
    let z_slope = v.g.mul(&slope, &change);
    let one = v.g.scalar(elem, 1.0);
    let slope = f[1].slope(v, &n, elem);
    let share = v.g.sub(&one, &z);
    let n_slope = v.g.mul(&slope, &share);
    let r_slope = f[0].slope(v, &r, elem);
    let (z, z_slope, n_slope) = (run.keep(v.g, &z), run.cut(v.g, &z_slope), run.cut(v.g, &n_slope));
    Gates { r, z, z_slope, n_slope, r_slope }
}

/// q = h Rnᵀ: ∂q = r ∂n, ∂r = q ∂n
fn reset_after(v: &mut Vjp<'_>, run: &Run) -> Result<Back> {
    let f = Activation::of_run(v, run, [Activation::Sigmoid, Activation::Tanh])?;
    let (by_input, by_hidden) = sums(v.g, run);
    let (inputs, hidden) = (gates(v.g, run, &by_input, 3), gates(v.g, run, &by_hidden, 3));
    let [z, r] = [0, 1].map(|gate| {
        let sum = v.g.add(&inputs[gate], &hidden[gate]);
        f[0].of(v, &sum)
    });
    let reset = v.g.mul(&r, &hidden[2]);
    let n_sum = v.g.add(&inputs[2], &reset);
    let parts = finish(v, run, f, z, r, &n_sum);
    let to_r = v.g.mul(&hidden[2], &parts.r_slope);
    let sequences = [&run.gy, &parts.z, &parts.z_slope, &parts.n_slope, &to_r, &parts.r];
    let mut out = scan(v, (run.elem, 2), !run.reverse, &[&run.gh], &sequences, |g, states, at| {
        let total = g.add(&states[0], &at[0]);
        let (z, n) = (g.mul(&total, &at[2]), g.mul(&total, &at[3]));
        let (r, q) = (g.mul(&n, &at[4]), g.mul(&n, &at[5]));
        let all = g.concat(&[&z, &r, &q], -1);
        let through = g.matmul(&all, &run.r);
        let kept = g.mul(&total, &at[1]);
        let by_input = g.concat(&[&z, &r, &n], -1);
        (vec![g.add(&through, &kept)], vec![by_input, all])
    });
    let by_hidden = out.pop().ok_or("it has no gates")?;
    let by_input = out.pop().ok_or("it has no gates")?;
    Ok(Back { by_input, by_hidden, initial: out, r: None, peepholes: None })
}

/// u = r h: ∂u = ∂n Rn, ∂r = h ∂u
fn reset_before(v: &mut Vjp<'_>, run: &Run) -> Result<Back> {
    let f = Activation::of_run(v, run, [Activation::Sigmoid, Activation::Tanh])?;
    let sizes = v.g.ints(&[2 * run.hidden, run.hidden]);
    let weights = v.g.ops("Split", &[&run.r, &sizes], vec![attr::int("axis", 0)], 2);
    let by_input = affine(v.g, &run.x, &run.w, run.bias.as_ref().map(|bias| (bias, 0)));
    let inputs = gates(v.g, run, &by_input, 3);
    let mut hidden = gates2(v, run, &weights[0]);
    let mut n_bias = None;
    if let Some(bias) = &run.bias {
        let bias = pick(v.g, bias, 1, 0);
        let bias = gates(v.g, run, &bias, 3);
        hidden = hidden.iter().zip(&bias).map(|(sum, bias)| v.g.add(sum, bias)).collect();
        n_bias = bias.last().cloned();
    }
    let [z, r] = [0, 1].map(|gate| {
        let sum = v.g.add(&inputs[gate], &hidden[gate]);
        f[0].of(v, &sum)
    });
    let reset = v.g.mul(&r, &run.before);
    let product = affine(v.g, &reset, &weights[1], None);
    let mut n_sum = v.g.add(&inputs[2], &product);
    if let Some(bias) = &n_bias {
        n_sum = v.g.add(&n_sum, bias);
    }
    let parts = finish(v, run, f, z, r, &n_sum);
    let to_r = v.g.mul(&run.before, &parts.r_slope);
    let sequences = [&run.gy, &parts.z, &parts.z_slope, &parts.n_slope, &to_r, &parts.r];
    let mut out = scan(v, (run.elem, 2), !run.reverse, &[&run.gh], &sequences, |g, states, at| {
        let total = g.add(&states[0], &at[0]);
        let (z, n) = (g.mul(&total, &at[2]), g.mul(&total, &at[3]));
        let u = g.matmul(&n, &weights[1]);
        let (r, direct) = (g.mul(&u, &at[4]), g.mul(&u, &at[5]));
        let both = g.concat(&[&z, &r], -1);
        let through = g.matmul(&both, &weights[0]);
        let kept = g.mul(&total, &at[1]);
        let kept = g.add(&kept, &direct);
        (vec![g.add(&through, &kept)], vec![g.concat(&[&both, &n], -1)])
    });
    let all = out.pop().ok_or("it has no gates")?;
    let mut r = None;
    if v.needs(2) {
        let parts = gates2_of(v, run, &all);
        let flat = |v: &mut Vjp<'_>, value: &Val, width: i64| v.g.reshape(value, &[-1, width]);
        let mut products = Vec::new();
        for (gate, state, width) in [(&parts[0], &run.before, 2), (&parts[1], &reset, 1)] {
            let (gate, state) = (flat(v, gate, width * run.hidden), flat(v, state, run.hidden));
            products.push(v.g.op("Gemm", &[&gate, &state], vec![attr::int("transA", 1)]));
        }
        r = Some(v.g.concat(&[&products[0], &products[1]], 0));
    }
    Ok(Back { by_input: all.clone(), by_hidden: all, initial: out, r, peepholes: None })
}

/// h Rᵀ for the gates z and r
fn gates2(v: &mut Vjp<'_>, run: &Run, weights: &Val) -> Vec<Val> {
    let both = affine(v.g, &run.before, weights, None);
    gates(v.g, run, &both, 2)
}

/// The gates z and r as one, and n.
fn gates2_of(v: &mut Vjp<'_>, run: &Run, all: &Val) -> Vec<Val> {
    let sizes = v.g.ints(&[2 * run.hidden, run.hidden]);
    v.g.ops("Split", &[all, &sizes], vec![attr::int("axis", -1)], 2)
}
