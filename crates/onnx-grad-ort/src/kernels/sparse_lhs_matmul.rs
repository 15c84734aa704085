//! The operator `SparseLhsMatMul`: a few rows times a matrix. What of the matrix meets nothing but zeros is hardly read.
//!
//! The backward pass of a classifier is such products: the seed of one class has one number that isn't 0, and behind a ReLU half of
//! them are. What they cost is reading the matrix.

use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::TensorElementType,
};

use super::{Float, SendPtr, floats, functions};
use crate::cpu_features::{self, CpuFeatures};

/// The operator: `[…, m, k]` times `[k, n]`, both float32, gives `[…, m, n]`. Attribute: `turned`, if 1 the matrix lies as `[n, k]`.
pub(crate) struct SparseLhsMatMul;

/// The operator's name.
pub(crate) const NAME: &str = "SparseLhsMatMul";

/// Columns of the matrix that a task goes through: their sums stay in the nearest cache.
const COLUMNS: usize = 1024;

/// A product of fewer multiplications isn't worth a second task.
const SMALL: usize = 64 * 1024;

/// Of a matrix that lies turned, single numbers are picked where so few of its columns count that whole lines would be read in vain.
const LINE: usize = 16;

impl Operator for SparseLhsMatMul {
    type Kernel<'attr> = Ready;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32), OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Ready> {
        Ok(Ready { has: cpu_features::detect(), turned: context.get::<i64>("turned").unwrap_or(0) != 0 })
    }
}

/// The kernel.
pub(crate) struct Ready {
    has: CpuFeatures,
    turned: bool,
}

/// Factors `[m, k]` and the matrix, with the numbers of the factors that aren't 0 in every row.
#[derive(Clone, Copy)]
struct Product<'a> {
    factors: &'a [f32],
    matrix: &'a [Float],
    met: &'a [usize],
    k: usize,
    n: usize,
}

impl Kernel for Ready {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let malformed = || ort::Error::new("the inputs are no matrices that fit together");
        let ((shape, factors), (inner, matrix)) = (floats(context, 0)?, floats(context, 1)?);
        let (&k, lead) = shape.split_last().filter(|(_, lead)| !lead.is_empty()).ok_or_else(malformed)?;
        let m: usize = lead.iter().product();
        let [mut same, mut n] = pair(inner).ok_or_else(malformed)?;
        if self.turned {
            (same, n) = (n, same);
        }
        if same != k {
            return Err(malformed());
        }
        let factors: Vec<f32> = factors.iter().map(|factor| f32::from_ne_bytes(*factor)).collect();
        let sizes: Vec<i64> = lead.iter().chain([&n]).map(|&size| size as i64).collect();
        let mut output = context.output(0, sizes)?.ok_or_else(malformed)?;
        let target = SendPtr::new(output.try_extract_tensor_mut::<f32>()?.1);
        if m * n == 0 {
            return Ok(());
        }
        let met: Vec<usize> = (0..k).filter(|at| (0..m).any(|row| factors[row * k + at] != 0.0)).collect();
        let width = if m * n * met.len() <= SMALL { n } else { COLUMNS.min(n.div_ceil(2)).max(16) };
        let product = Product { factors: &factors, matrix, met: &met, k, n };
        let (has, turned) = (self.has, self.turned);
        context.par_for(n.div_ceil(width), 0, move |task| {
            let (start, end) = (task * width, (task * width + width).min(n));
            // SAFETY: the output has `m` rows of `n`, and each task columns of its own, of which it holds one row at a time.
            let sums = |row: usize| unsafe { target.slice_mut(row * n + start, end - start) };
            for row in 0..m {
                sums(row).fill(0.0);
            }
            if turned {
                (0..m).for_each(|row| product.turned(has, row, start, sums(row)));
                return;
            }
            // Four rows of the matrix at a time: their products are added to sums that are read and written once.
            for four in product.met.chunks(4) {
                (0..m).for_each(|row| product.add(has, row, four, start, sums(row)));
            }
        })
    }
}

fn pair(sizes: Vec<usize>) -> Option<[usize; 2]> {
    sizes.try_into().ok()
}

impl Product<'_> {
    /// Adds to row `row` of the product, from column `start` on, what up to four rows of the matrix give.
    fn add(&self, has: CpuFeatures, row: usize, four: &[usize], start: usize, sums: &mut [f32]) {
        let factors = &self.factors[row * self.k..(row + 1) * self.k];
        let line = |at: usize, length: usize| &self.matrix[at * self.n + start..][..length];
        match *four {
            [a, b, c, d] => {
                let own = [a, b, c, d].map(|at| factors[at]);
                if own != [0.0; 4] {
                    functions::add_four(has, own, [a, b, c, d].map(|at| line(at, sums.len())), sums);
                }
            }
            _ => four.iter().for_each(|&at| functions::add(has, factors[at], line(at, sums.len()), sums)),
        }
    }

    /// Row `row` of the product from column `start` on, where the matrix lies turned: each sum is a row of it times the factors.
    fn turned(&self, has: CpuFeatures, row: usize, start: usize, sums: &mut [f32]) {
        let factors = &self.factors[row * self.k..(row + 1) * self.k];
        for (at, sum) in sums.iter_mut().enumerate() {
            let line = &self.matrix[(start + at) * self.k..][..self.k];
            *sum = if self.met.len() * LINE < self.k {
                self.met.iter().map(|&at| factors[at] * f32::from_ne_bytes(line[at])).sum()
            } else {
                functions::dot(has, factors, line)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, every third of them 0.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |at: usize| ((at * 7919 + seed * 104_729) % 1009) as f32 / 500.0 - 1.0;
        (0..count).map(|at| if (at + seed).is_multiple_of(3) { 0.0 } else { number(at) }).collect()
    }

    fn lying(numbers: &[f32]) -> Vec<Float> {
        numbers.iter().map(|number| number.to_ne_bytes()).collect()
    }

    fn check(m: usize, k: usize, n: usize, factors: &[f32]) {
        let matrix = numbers(k * n, 1);
        let other: Vec<f32> = (0..n * k).map(|at| matrix[at % k * n + at / k]).collect();
        let (straight_lying, turned_lying) = (lying(&matrix), lying(&other));
        let met: Vec<usize> = (0..k).filter(|at| (0..m).any(|row| factors[row * k + at] != 0.0)).collect();
        let exact = |row: usize, column: usize| {
            (0..k).map(|at| f64::from(factors[row * k + at]) * f64::from(matrix[at * n + column])).sum::<f64>()
        };
        for row in 0..m {
            // In two parts, as two tasks.
            for (start, end) in [(0, n / 3), (n / 3, n)] {
                let mut straight = vec![0.0; end - start];
                let product = Product { factors, matrix: &straight_lying, met: &met, k, n };
                met.chunks(4).for_each(|four| product.add(cpu_features::detect(), row, four, start, &mut straight));
                let mut turned = vec![0.0; end - start];
                Product { matrix: &turned_lying, ..product }.turned(cpu_features::detect(), row, start, &mut turned);
                for (at, (straight, turned)) in straight.iter().zip(&turned).enumerate() {
                    let exact = exact(row, start + at);
                    for found in [straight, turned] {
                        assert!((f64::from(*found) - exact).abs() < 1e-4, "{m} {k} {n}: {found} instead of {exact}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_times_a_matrix() {
        for (m, k, n) in [(1, 1, 1), (1, 7, 40), (2, 33, 18), (3, 100, 67), (5, 4, 1), (1, 0, 3)] {
            check(m, k, n, &numbers(m * k, 2));
            check(m, k, n, &vec![0.0; m * k]);
        }
        let mut one = vec![0.0; 200];
        one[37] = 2.0;
        check(1, 200, 50, &one);
        check(2, 100, 50, &one);
    }

    #[test]
    fn what_meets_zeros_alone_is_not_read() {
        let matrix = lying(&[f32::NAN, f32::NAN, 1.0, 2.0, f32::NAN, f32::NAN]);
        let factors = [0.0, 3.0, 0.0];
        let product = Product { factors: &factors, matrix: &matrix, met: &[1], k: 3, n: 2 };
        let mut sums = [0.0; 2];
        product.add(cpu_features::detect(), 0, &[1], 0, &mut sums);
        assert_eq!(sums, [3.0, 6.0]);
    }
}
