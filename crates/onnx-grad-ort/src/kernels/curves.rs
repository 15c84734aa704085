//! The functions that element-wise programs have beside arithmetic, for one number, without branches: loops over them
//! become loops over many numbers at once.
//!
//! `FUSED`: the processor takes a product and a sum in one instruction. Elsewhere that would be a call, far slower than
//! the two.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// a b + c
#[inline(always)]
pub(super) fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// x, at least `low`, at most `high`; no number stays none.
#[inline(always)]
fn within(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// Below it, eˣ has no float32 of all digits.
const LOWEST: f32 = -87.3;

/// eˣ as eʳ and n, where eˣ = 2ⁿ eʳ with a whole n and |r| ≤ ln 2 / 2. eʳ is 1 + r + r² p(r) with the p of degree 3 of
/// which the largest relative error is the least: 1.1e-7.
#[inline(always)]
fn exp_parts<const FUSED: bool>(x: f32) -> (f32, i32) {
    // Two parts of ln 2; the first has so few digits that its products with n are exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    // Adding and taking off 1.5 · 2²³ rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let shifted = fma::<FUSED>(x, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma::<FUSED>(-n, LN_2.1, fma::<FUSED>(-n, LN_2.0, x));
    let p = fma::<FUSED>(r, 0.008_312_478, 0.041_890_55);
    let p = fma::<FUSED>(r, p, 0.166_671_16);
    let p = fma::<FUSED>(r, p, 0.499_992_28);
    let series = fma::<FUSED>(r, fma::<FUSED>(r, p, 1.0), 1.0);
    (series, shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32)
}

/// 2ⁿ for −126 ≤ n ≤ 127
#[inline(always)]
fn power(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23) as u32)
}

/// eˣ to about 2 units in the last place. 0 below −87.3.
#[inline(always)]
pub(super) fn exp<const FUSED: bool>(x: f32) -> f32 {
    let (series, n) = exp_parts::<FUSED>(within(x, LOWEST, 88.72));
    // 2ⁿ in two factors: at the upper end n is 128.
    let half = n >> 1;
    let value = series * power(half) * power(n - half);
    if x < LOWEST { 0.0 } else { value }
}

/// The same for −87.3 ≤ x ≤ 88.
#[inline(always)]
fn exp_within<const FUSED: bool>(x: f32) -> f32 {
    let (series, n) = exp_parts::<FUSED>(x);
    series * power(n)
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
pub(super) fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp_within::<FUSED>(within(-x, LOWEST, 88.0)))
}

/// The slope of x σ(x): with e = e⁻ˣ and s = σ(x) = 1 / (1 + e), of which 1 − s is e s, that is s (1 + x e s). Beyond
/// ±87 it is what it is there: 0 and 1.
#[inline(always)]
pub(super) fn silu_slope<const FUSED: bool>(x: f32) -> f32 {
    let x = within(x, -87.0, 87.0);
    let e = exp_within::<FUSED>(-x);
    let s = 1.0 / (1.0 + e);
    s * fma::<FUSED>(x, e * s, 1.0)
}

/// The slope of GELU, Φ(x) + x φ(x) with the normal distribution's Φ and φ, to 2e-7. Φ is (1 + erf(x / √2)) / 2, and
/// e^(−x²/2) is in both: see [`erf`]. Beyond ±13 it is what it is there: 0 and 1.
#[inline(always)]
pub(super) fn gelu_slope<const FUSED: bool>(x: f32) -> f32 {
    // 1 / √2π
    const DENSITY: f32 = 0.398_942_3;
    let x = within(x, -13.0, 13.0);
    let bell = exp_within::<FUSED>(-0.5 * x * x);
    // Φ below 0, and 1 − Φ above, as a factor of the bell.
    let tail = 0.5 * erf_tail::<FUSED>(FRAC_1_SQRT_2 * x.abs());
    let above = x > 0.0;
    let factor = fma::<FUSED>(x, DENSITY, if above { -tail } else { tail });
    fma::<FUSED>(factor, bell, if above { 1.0 } else { 0.0 })
}

/// (1 − e⁻²ˣ) / (1 + e⁻²ˣ) for the size, with the sign of x; to 1e-7 of 1.
#[inline(always)]
pub(super) fn tanh<const FUSED: bool>(x: f32) -> f32 {
    let t = exp_within::<FUSED>(within(-2.0 * x.abs(), LOWEST, 0.0));
    ((1.0 - t) / (1.0 + t)).copysign(x)
}

/// (1 − erf x) e^(x²) for x ≥ 0: p(t) with t = 1 / (1 + 0.3275911 x). Abramowitz and Stegun, "Handbook of Mathematical
/// Functions", 7.1.26.
#[inline(always)]
fn erf_tail<const FUSED: bool>(x: f32) -> f32 {
    let t = 1.0 / fma::<FUSED>(x, 0.327_591_1, 1.0);
    let p = fma::<FUSED>(t, 1.061_405_4, -1.453_152);
    let p = fma::<FUSED>(t, p, 1.421_413_7);
    let p = fma::<FUSED>(t, p, -0.284_496_74);
    t * fma::<FUSED>(t, p, 0.254_829_6)
}

/// 1 − p(t) e^(−x²), see [`erf_tail`], with the sign of x; to 2e-7.
#[inline(always)]
pub(super) fn erf<const FUSED: bool>(x: f32) -> f32 {
    let size = x.abs();
    let bell = exp_within::<FUSED>(within(-size * size, LOWEST, 0.0));
    (1.0 - erf_tail::<FUSED>(size) * bell).copysign(x)
}
