//! The operations of [`super::program`] over blocks of elements, in the widest instructions that the processor has.

use super::{Float, program::Operation};
use crate::instructions::in_widest;

in_widest! {
    /// Applies an operation to elements; all slices are as long as the target.
    ///
    /// # Panics
    /// They are not.
    pub(super) fn apply(operation: Operation, operands: [&[f32]; 3], target: &mut [f32]) = apply_plainly
}

/// The loops; inlined into each version, so that the compiler writes each in its instructions.
#[inline(always)]
fn apply_plainly(operation: Operation, operands: [&[f32]; 3], target: &mut [f32]) {
    let count = target.len();
    let [a, b, c] = operands.map(|operand| &operand[..count]);
    macro_rules! each {
        (|$x:ident| $body:expr) => {
            for at in 0..count {
                let $x = a[at];
                target[at] = $body;
            }
        };
        (|$x:ident, $y:ident| $body:expr) => {
            for at in 0..count {
                let ($x, $y) = (a[at], b[at]);
                target[at] = $body;
            }
        };
        (|$x:ident, $y:ident, $z:ident| $body:expr) => {
            for at in 0..count {
                let ($x, $y, $z) = (a[at], b[at], c[at]);
                target[at] = $body;
            }
        };
    }
    let truth = |truth: bool| if truth { 1.0 } else { 0.0 };
    match operation {
        Operation::Add => each!(|x, y| x + y),
        Operation::Sub => each!(|x, y| x - y),
        Operation::Mul => each!(|x, y| x * y),
        Operation::Div => each!(|x, y| x / y),
        Operation::Max => each!(|x, y| if x > y { x } else { y }),
        Operation::Min => each!(|x, y| if x < y { x } else { y }),
        Operation::Less => each!(|x, y| truth(x < y)),
        Operation::LessOrEqual => each!(|x, y| truth(x <= y)),
        Operation::Equal => each!(|x, y| truth(x == y)),
        Operation::Select => each!(|x, y, z| if x != 0.0 { y } else { z }),
        Operation::Neg => each!(|x| -x),
        Operation::Abs => each!(|x| x.abs()),
        Operation::Sign => each!(|x| truth(x > 0.0) - truth(x < 0.0)),
        Operation::Sqrt => each!(|x| x.sqrt()),
        Operation::Reciprocal => each!(|x| 1.0 / x),
        Operation::Exp => each!(|x| exp(x)),
        Operation::Sigmoid => each!(|x| 1.0 / (1.0 + exp(-x))),
        Operation::Tanh => each!(|x| tanh(x)),
        Operation::Erf => each!(|x| erf(x)),
        Operation::Clamp => each!(|x, y, z| {
            let low = if x > y { x } else { y };
            if low < z { low } else { z }
        }),
        Operation::IfAbove => each!(|x, y, z| if y > z { x } else { 0.0 }),
        Operation::IfBelow => each!(|x, y, z| if y < z { x } else { 0.0 }),
        Operation::HardSigmoid => each!(|x, y, z| {
            let line = x * y + z;
            let low = if line > 0.0 { line } else { 0.0 };
            if low < 1.0 { low } else { 1.0 }
        }),
    }
}

in_widest! {
    /// Adds to the sums four lines, each times its factor; all are as long as the sums.
    ///
    /// # Panics
    /// One is shorter.
    pub(super) fn add_four(factors: [f32; 4], lines: [&[Float]; 4], sums: &mut [f32]) = add_four_plainly
}

#[inline(always)]
fn add_four_plainly([p, q, r, s]: [f32; 4], lines: [&[Float]; 4], sums: &mut [f32]) {
    let count = sums.len();
    let [a, b, c, d] = lines.map(|line| &line[..count]);
    for at in 0..count {
        let [a, b, c, d] = [a[at], b[at], c[at], d[at]].map(f32::from_ne_bytes);
        sums[at] += (p * a + q * b) + (r * c + s * d);
    }
}

in_widest! {
    /// Adds to the sums a line times its factor, which is as long.
    ///
    /// # Panics
    /// It is shorter.
    pub(super) fn add(factor: f32, line: &[Float], sums: &mut [f32]) = add_plainly
}

#[inline(always)]
fn add_plainly(factor: f32, line: &[Float], sums: &mut [f32]) {
    let count = sums.len();
    let line = &line[..count];
    for at in 0..count {
        sums[at] += factor * f32::from_ne_bytes(line[at]);
    }
}

in_widest! {
    /// The scalar product of two lines of one length, in 16 sums that are added at the end.
    pub(super) fn dot(a: &[f32], b: &[Float]) -> f32 = dot_plainly
}

#[inline(always)]
fn dot_plainly(a: &[f32], b: &[Float]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (mut left, mut right) = (a.chunks_exact(16), b.chunks_exact(16));
    for (a, b) in (&mut left).zip(&mut right) {
        for at in 0..16 {
            sums[at] += a[at] * f32::from_ne_bytes(b[at]);
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * f32::from_ne_bytes(*b)).sum();
    sums.iter().sum::<f32>() + rest
}

/// eˣ to about 2 units in the last place, as 2ⁿ eʳ with a whole n and |r| ≤ ln 2 / 2; eʳ by its Taylor series. 0 below −87.3.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.72;
    // Two parts of ln 2; the first has so few digits that its products with n are exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let clamped = if x < LOWEST { LOWEST } else { x };
    let clamped = if clamped > HIGHEST { HIGHEST } else { clamped };
    // Adding and taking off 1.5 · 2²³ rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * LN_2.0) - n * LN_2.1;
    let series = 1.0
        + r * (1.0
            + r * (0.5
                + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)))))));
    // 2ⁿ in two factors: at the upper end n is 128.
    let bits = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = bits >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    let value = series * power(half) * power(bits - half);
    if x < LOWEST { 0.0 } else { value }
}

/// (1 − e⁻²ˣ) / (1 + e⁻²ˣ) for the size, with the sign of x; to 1e-7 of 1.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    let t = exp(-2.0 * x.abs());
    ((1.0 - t) / (1.0 + t)).copysign(x)
}

/// 1 − p(t) e^(−x²) with t = 1 / (1 + 0.3275911 |x|), with the sign of x; to 2e-7. Abramowitz and Stegun, "Handbook of Mathematical
/// Functions", 7.1.26.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let size = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * size);
    let p = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    (1.0 - p * exp(-size * size)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instructions::Has;

    fn run(operation: Operation, x: &[f32]) -> Vec<Vec<f32>> {
        let run = |has| {
            let mut y = vec![0.0; x.len()];
            apply(has, operation, [x; 3], &mut y);
            y
        };
        Has::each().into_iter().map(run).collect()
    }

    #[test]
    fn functions_are_right_to_float32s_digits() {
        let x: Vec<f32> = (-4000..=4000).map(|i| i as f32 / 400.0).collect();
        let erf = |x: f64| {
            // The integral by the trapezoidal rule, which converges fast for this function.
            let n = 2000;
            let h = x / f64::from(n);
            let f = |t: f64| (-t * t).exp();
            let inner: f64 = (1..n).map(|i| f(h * f64::from(i))).sum();
            std::f64::consts::FRAC_2_SQRT_PI * h * (inner + 0.5 * (f(0.0) + f(x)))
        };
        type Exact = Box<dyn Fn(f64) -> f64>;
        let cases: [(Operation, Exact, bool); 5] = [
            (Operation::Exp, Box::new(f64::exp), true),
            (Operation::Sigmoid, Box::new(|x: f64| 1.0 / (1.0 + (-x).exp())), true),
            (Operation::Tanh, Box::new(f64::tanh), false),
            (Operation::Erf, Box::new(erf), false),
            (Operation::Sqrt, Box::new(f64::sqrt), true),
        ];
        for (operation, exact, relative) in cases {
            for found in run(operation, &x) {
                for (&x, &y) in x.iter().zip(&found) {
                    let right = exact(f64::from(x));
                    if right.is_nan() {
                        assert!(y.is_nan());
                        continue;
                    }
                    let error = (f64::from(y) - right).abs() / if relative { right.abs().max(1e-30) } else { 1.0 };
                    assert!(error < 5e-7, "{operation:?} of {x}: {y} instead of {right}");
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_exponential_are_finite_or_zero() {
        for y in run(Operation::Exp, &[f32::NEG_INFINITY, -1e4, -87.31, -87.0, 88.7, 1e4, f32::INFINITY]) {
            assert_eq!(&y[..3], &[0.0; 3]);
            assert!(y[3] > 0.0 && (y[4] / 88.7f32.exp() - 1.0).abs() < 1e-5);
            assert!(y[5..].iter().all(|y| y.is_finite() || *y == f32::INFINITY));
        }
    }
}
