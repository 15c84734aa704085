//! The short causal convolution of state-space models.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::gelu::swish_slope,
    vjp::{Vjp, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("CausalConvWithState", causal_conv)];

/// y = f(w ∗ p + b), channel by channel, over p = past | x; the last places of p are the next state, an output too.
/// With gz = f′ gy: ∂p\[l + j\] = Σ gz\[l\] w\[j\] + ∂state, ∂w\[j\] = Σ gz\[l\] p\[l + j\], ∂b = Σ gz.
fn causal_conv(v: &mut Vjp<'_>) -> Result {
    let (x, w, b) = (v.x(0), v.x(1), v.x(2));
    let own = v.elem_of(&x)?;
    let elem = own.accumulator();
    let [channels, length] = v.fixed(0, [1, 2])?[..] else { return Err("its input has no three axes".into()) };
    let kernel = v.fixed(1, [2])?[0] as i64;
    let (channels, length) = (channels as i64, length as i64);
    let (x, w) = (v.cast_to(&x, elem)?, v.cast_to(&w, elem)?);
    let padded = if v.has(3) {
        let past = v.x(3);
        let past = v.cast_to(&past, elem)?;
        v.g.concat(&[&past, &x], 2)
    } else {
        v.g.pad_zeros(&x, &[0, 0, kernel - 1, 0, 0, 0])
    };
    let activation = v.node().attr_str("activation").unwrap_or("none").to_owned();
    let gz = match v.cotangent(0) {
        None => None,
        Some(gy) => {
            let gy = if own == elem { gy } else { v.g.cast(&gy, elem) };
            match activation.as_str() {
                "none" => Some(gy),
                "silu" | "swish" => {
                    let b = if v.has(2) { v.cast_to(&b, elem)? } else { Val::absent() };
                    let z = v.g.op("Conv", &[&padded, &w, &b], vec![attr::int("group", channels)]);
                    let slope = swish_slope(v, &z, elem, 1.0);
                    Some(v.g.mul(&gy, &slope))
                }
                other => return Err(format!("its activation `{other}` is not known").into()),
            }
        }
    };
    let mut terms = Vec::new();
    if let Some(gz) = &gz {
        terms.push(v.g.op("ConvTranspose", &[gz, &w], vec![attr::int("group", channels)]));
    }
    if let Some(state) = v.cotangent(1).filter(|_| kernel > 1) {
        let own = v.elem_of(&v.y(1))?;
        let state = if own == elem { state } else { v.g.cast(&state, elem) };
        terms.push(v.g.pad_zeros(&state, &[0, 0, length, 0, 0, 0]));
    }
    let whole = v.g.sum(&terms);
    v.each(|v, i| {
        let gradient = match (i, &whole, &gz) {
            (0, Some(whole), _) => v.g.slice(whole, &[kernel - 1], &[i64::MAX], &[2], &[1]),
            (3, Some(whole), _) => v.g.slice(whole, &[0], &[kernel - 1], &[2], &[1]),
            (1, _, Some(gz)) => {
                let places: Vec<i64> = (0..room(&[kernel, length])?).map(|at| at / length + at % length).collect();
                let places = v.g.ints(&places);
                let read = v.g.op("Gather", &[&padded, &places], vec![attr::int("axis", 2)]);
                let read = v.g.reshape(&read, &[0, 0, kernel, length]);
                let gz = v.g.unsqueeze(gz, &[2]);
                let product = v.g.mul(&read, &gz);
                let sum = v.g.reduce_sum(&product, &[0, 3], false);
                v.g.unsqueeze(&sum, &[1])
            }
            (2, _, Some(gz)) => v.g.reduce_sum(gz, &[0, 2], false),
            _ => {
                let shape = v.shape_value(&v.x(i))?;
                v.g.full(&shape, elem, 0.0)
            }
        };
        v.in_type_of(&gradient, elem, i)
    })
}
