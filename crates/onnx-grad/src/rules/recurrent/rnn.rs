//! `RNN`.

use super::{Back, Grad, Result, Run, activation::Activation, both_directions, scan};
use crate::vjp::Vjp;

/// hₜ = f(aₜ), a = x Wᵀ + hₜ₋₁ Rᵀ + b: ∂aₜ = f′ ∂hₜ, ∂hₜ₋₁ = ∂aₜ R + gyₜ₋₁
pub(super) fn rnn(v: &mut Vjp<'_>) -> Result<Vec<Grad>> {
    both_directions(v, 1, back)
}

fn back(v: &mut Vjp<'_>, run: &Run) -> Result<Back> {
    let [f] = Activation::of_run(v, run, [Activation::Tanh])?;
    let slope = f.slope(v, &run.after, run.elem);
    let slope = run.cut(v.g, &slope);
    let sequences = run.with_padding(&[&run.gy, &slope]);
    let mut out = scan(v, (run.elem, 2), !run.reverse, &[&run.gh], &sequences, |g, states, at| {
        let total = g.add(&states[0], &at[0]);
        let gate = g.mul(&total, &at[1]);
        let through = g.matmul(&gate, &run.r);
        (vec![run.or_before(g, through, &total, at)], vec![gate])
    });
    let gates = out.pop().ok_or("it has no gates")?;
    Ok(Back { by_input: gates.clone(), by_hidden: gates, initial: out, r: None, peepholes: None })
}
