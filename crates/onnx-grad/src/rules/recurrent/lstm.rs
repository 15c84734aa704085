//! `LSTM`.

use super::{
    Back, Grad, Result, Run, activation::Activation, both_directions, gates, initial_state, last_cotangent, pick, scan,
    shifted, sums,
};
use crate::{builder::Val, vjp::Vjp};

/// a = x Wᵀ + h Rᵀ + b in the order i, o, f, g; c′ = f c + i g, h′ = o tanh c′, where i, f and o are sigmoids, and with
/// peepholes see c, c and c′. Backward: ∂c′ += o tanh′ ∂h′, then each gate's slope times what it multiplies, and ∂c = f ∂c′.
pub(super) fn lstm(v: &mut Vjp<'_>) -> Result<Vec<Grad>> {
    if v.node().attr_int("input_forget").unwrap_or(0) != 0 {
        return Err("its input and forget gates are coupled".into());
    }
    both_directions(v, 4, back)
}

fn back(v: &mut Vjp<'_>, run: &Run) -> Result<Back> {
    let elem = run.elem;
    let [f, g, h] = Activation::of_run(v, run, [Activation::Sigmoid, Activation::Tanh, Activation::Tanh])?;
    let start = match initial_state(v, 6) {
        Some(initial) => pick(v.g, &initial, run.at, 0),
        None => {
            let shape = v.g.shape(&run.initial);
            v.g.full(&shape, elem, 0.0)
        }
    };
    let peepholes = v.has(7).then(|| {
        let own = pick(v.g, &v.x(7), run.at, 0);
        gates(v.g, run, &own, 3)
    });
    let (by_input, by_hidden) = sums(v.g, run);
    let sum = v.g.add(&by_input, &by_hidden);
    let mut sums = gates(v.g, run, &sum, 4);
    let new = g.of(v, &sums[3]);
    let cells = match &peepholes {
        None => {
            let (input, forget) = (f.of(v, &sums[0]), f.of(v, &sums[2]));
            let added = v.g.mul(&input, &new);
            let (forget, added) = (run.keep(v.g, &forget), run.cut(v.g, &added));
            scan(v, (run.elem, 2), run.reverse, &[&start], &[&forget, &added], |g, states, at| {
                let kept = g.mul(&at[0], &states[0]);
                let cell = g.add(&kept, &at[1]);
                let copy = g.unary("Identity", &cell);
                (vec![cell], vec![copy])
            })
        }
        Some(holes) => {
            let cut = run.cut(v.g, &new);
            let mut sequences = vec![&sums[0], &sums[2], &cut];
            sequences.extend(run.open());
            scan(v, (run.elem, 2), run.reverse, &[&start], &run.with_padding(&sequences), |g, states, at| {
                let gate = |g: &mut crate::Builder, sum: &Val, hole: &Val| {
                    let seen = g.mul(&states[0], hole);
                    let sum = g.add(sum, &seen);
                    g.unary(f.op(), &sum)
                };
                let (input, mut forget) = (gate(g, &at[0], &holes[0]), gate(g, &at[1], &holes[2]));
                if let Some(open) = at.get(3).filter(|_| run.open().is_some()) {
                    forget = g.mul(&forget, open);
                }
                let (kept, added) = (g.mul(&forget, &states[0]), g.mul(&input, &at[2]));
                let cell = g.add(&kept, &added);
                let cell = run.or_before(g, cell, &states[0], at);
                let copy = g.unary("Identity", &cell);
                (vec![cell], vec![copy])
            })
        }
    };
    let after = cells[1].clone();
    let before = shifted(v.g, &after, &start, run.reverse);
    if let Some(holes) = &peepholes {
        for (gate, hole, cell) in [(0, 0, &before), (2, 2, &before), (1, 1, &after)] {
            let seen = v.g.mul(cell, &holes[hole]);
            sums[gate] = v.g.add(&sums[gate], &seen);
        }
    }
    let [input, output, forget] = [0, 1, 2].map(|gate| f.of(v, &sums[gate]));
    let shown = h.of(v, &after);
    let slope = |v: &mut Vjp<'_>, of: super::activation::Activation, y: &Val, times: &Val| {
        let slope = of.slope(v, y, elem);
        let slope = v.g.mul(&slope, times);
        run.cut(v.g, &slope)
    };
    let to_cell = slope(v, h, &shown, &output);
    let to_output = slope(v, f, &output, &shown);
    let to_input = slope(v, f, &input, &new);
    let to_forget = slope(v, f, &forget, &before);
    let to_new = slope(v, g, &new, &input);
    let last = match last_cotangent(v, 2) {
        Some(gc) => pick(v.g, &gc, run.at, 0),
        None => run.zeros.clone(),
    };
    let forget = run.keep(v.g, &forget);
    let sequences = [&run.gy, &to_cell, &to_output, &to_input, &to_forget, &to_new, &forget];
    let sequences = run.with_padding(&sequences);
    let mut out = scan(v, (run.elem, 2), !run.reverse, &[&run.gh, &last], &sequences, |g, states, at| {
        let total = g.add(&states[0], &at[0]);
        let output = g.mul(&total, &at[2]);
        let shown = g.mul(&total, &at[1]);
        let mut cell = g.add(&states[1], &shown);
        if let Some(holes) = &peepholes {
            let seen = g.mul(&output, &holes[1]);
            cell = g.add(&cell, &seen);
        }
        let (input, forget, new) = (g.mul(&cell, &at[3]), g.mul(&cell, &at[4]), g.mul(&cell, &at[5]));
        let all = g.concat(&[&input, &output, &forget, &new], -1);
        let mut earlier = g.mul(&cell, &at[6]);
        if let Some(holes) = &peepholes {
            for (gate, hole) in [(&input, 0), (&forget, 2)] {
                let seen = g.mul(gate, &holes[hole]);
                earlier = g.add(&earlier, &seen);
            }
        }
        let through = g.matmul(&all, &run.r);
        (vec![run.or_before(g, through, &total, at), earlier], vec![all])
    });
    let all = out.pop().ok_or("it has no gates")?;
    let mut holes = None;
    if v.needs(7) {
        let parts = gates(v.g, run, &all, 4);
        let sums = [(0, &before), (1, &after), (2, &before)].map(|(gate, cell)| {
            let product = v.g.mul(&parts[gate], cell);
            v.g.reduce_sum(&product, &[0, 1], false)
        });
        holes = Some(v.g.concat(&[&sums[0], &sums[1], &sums[2]], 0));
    }
    Ok(Back { by_input: all.clone(), by_hidden: all, initial: out, r: None, peepholes: holes })
}
