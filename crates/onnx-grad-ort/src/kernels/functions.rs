//! The operations of [`super::program`] over blocks of elements, in the widest cpu_features that the processor has.

use super::{
    Float,
    curves::{self, fma},
    program::{OPERANDS, Operation},
};
use crate::cpu_features::multiversion;

multiversion! {
    /// Applies an operation to elements; all slices are as long as the target.
    ///
    /// # Panics
    /// One is shorter.
    pub(super) fn apply(operation: Operation, operands: [&[f32]; OPERANDS], target: &mut [f32]) = apply_plainly[FUSED]
}

multiversion! {
    /// The same where the first operand is what lies in the target.
    ///
    /// # Panics
    /// One is shorter.
    pub(super) fn apply_in_place(
        operation: Operation,
        others: [&[f32]; OPERANDS - 1],
        target: &mut [f32],
    ) = in_place_plainly[FUSED]
}

#[inline(always)]
fn apply_plainly<const FUSED: bool>(operation: Operation, operands: [&[f32]; OPERANDS], target: &mut [f32]) {
    each_plainly::<FUSED, false>(operation, operands, target);
}

#[inline(always)]
fn in_place_plainly<const FUSED: bool>(operation: Operation, [b, c, d]: [&[f32]; OPERANDS - 1], target: &mut [f32]) {
    each_plainly::<FUSED, true>(operation, [b, b, c, d], target);
}

/// The loops; inlined into each version, so that the compiler writes each in its cpu_features. Two of each, since it
/// has to know whether what is read lies where it is written to.
#[inline(always)]
fn each_plainly<const FUSED: bool, const IN_PLACE: bool>(
    operation: Operation,
    operands: [&[f32]; OPERANDS],
    target: &mut [f32],
) {
    let count = target.len();
    let [a, b, c, d] = operands.map(|operand| &operand[..count]);
    macro_rules! each {
        (|$x:ident| $body:expr) => {
            for at in 0..count {
                let $x = if IN_PLACE { target[at] } else { a[at] };
                target[at] = $body;
            }
        };
        (|$x:ident, $y:ident| $body:expr) => {
            for at in 0..count {
                let ($x, $y) = (if IN_PLACE { target[at] } else { a[at] }, b[at]);
                target[at] = $body;
            }
        };
        (|$x:ident, $y:ident, $z:ident, $w:ident| $body:expr) => {
            for at in 0..count {
                let ($x, $y, $z, $w) = (if IN_PLACE { target[at] } else { a[at] }, b[at], c[at], d[at]);
                target[at] = $body;
            }
        };
        (|$x:ident, $y:ident, $z:ident| $body:expr) => {
            for at in 0..count {
                let ($x, $y, $z) = (if IN_PLACE { target[at] } else { a[at] }, b[at], c[at]);
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
        Operation::Exp => each!(|x| curves::exp::<FUSED>(x)),
        Operation::Sigmoid => each!(|x| curves::sigmoid::<FUSED>(x)),
        Operation::Tanh => each!(|x| curves::tanh::<FUSED>(x)),
        Operation::Erf => each!(|x| curves::erf::<FUSED>(x)),
        Operation::TimesSiluSlope => each!(|x, y| x * curves::silu_slope::<FUSED>(y)),
        Operation::TimesGeluSlope => each!(|x, y| x * curves::gelu_slope::<FUSED>(y)),
        // Both comparisons are made whatever the first says: there is no jump.
        Operation::IfBetween => each!(|x, y, z, w| if (y > z) & (y < w) { x } else { 0.0 }),
        Operation::SumIfAbove => each!(|x, y, z, w| if z > w { x + y } else { 0.0 }),
        Operation::MulAdd => each!(|x, y, z| fma::<FUSED>(x, y, z)),
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

multiversion! {
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

multiversion! {
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

multiversion! {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_features::CpuFeatures;

    fn run(operation: Operation, x: &[f32]) -> Vec<Vec<f32>> {
        let run = |has| {
            let mut y = vec![0.0; x.len()];
            apply(has, operation, [x; OPERANDS], &mut y);
            y
        };
        CpuFeatures::each().into_iter().map(run).collect()
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

    #[test]
    fn slopes_of_activations_are_right_and_finite_at_the_ends() {
        let x: Vec<f32> = (-8000..=8000).map(|i| i as f32 / 400.0).chain([-1e30, -100.0, 100.0, 1e30]).collect();
        let silu = |x: f64| {
            let s = 1.0 / (1.0 + (-x).exp());
            s + x * s * (1.0 - s)
        };
        // Φ(x) + x φ(x), with Φ by the trapezoidal rule.
        let gelu = |x: f64| {
            let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let (x, n) = (x.clamp(-12.0, 12.0), 2000);
            let h = x / f64::from(n);
            let inner: f64 = (1..n).map(|i| density(h * f64::from(i))).sum();
            0.5 + h * (inner + 0.5 * (density(0.0) + density(x))) + x * density(x)
        };
        let exact: [(Operation, &dyn Fn(f64) -> f64); 2] =
            [(Operation::TimesSiluSlope, &silu), (Operation::TimesGeluSlope, &gelu)];
        let three = vec![3.0; x.len()];
        for (operation, exact) in exact {
            for has in CpuFeatures::each() {
                let mut found = vec![0.0; x.len()];
                apply(has, operation, [&three, &x, &x, &x], &mut found);
                for (&x, &y) in x.iter().zip(&found) {
                    let right = if x.abs() > 90.0 { f64::from(u8::from(x > 0.0)) } else { exact(f64::from(x)) };
                    assert!(
                        (f64::from(y) / 3.0 - right).abs() < 5e-7,
                        "{operation:?} of {x}: {y} instead of 3 · {right}"
                    );
                }
                let mut none = [1.0];
                apply_in_place(has, operation, [&[f32::NAN]; OPERANDS - 1], &mut none);
                assert!(none[0].is_nan());
            }
        }
    }
}
