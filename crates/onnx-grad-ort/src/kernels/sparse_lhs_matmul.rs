//! The operator `SparseLhsMatMul`: a few rows times a matrix. What of the matrix meets nothing but zeros is hardly read.
//!
//! The backward pass of a classifier is such products: the seed of one class has one number that isn't 0, and behind a ReLU half of
//! them are. What they cost is reading the matrix. That of a quantised model stays in its integers: a line of it is dequantised where it
//! is read.

use std::marker::PhantomData;

use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::TensorElementType,
};

use super::{Float, SendPtr, elements, floats, functions};
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
        Ok(Ready::new(context))
    }
}

/// The operator for a matrix of integers, with what makes floats of them, as `DequantizeLinear` has it: a float32 scale and a zero point
/// for all, or one for each index of an axis. Attributes: `turned`, and `axis`, 0 or 1.
pub(crate) struct SparseLhsMatMulOf<T>(PhantomData<T>);

impl<T> SparseLhsMatMulOf<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

/// An integer of a byte.
pub(crate) trait Byte: Copy + Send + Sync + Into<i32> + 'static {
    /// The name of the operator for it.
    const NAME: &str;
    /// As ONNX Runtime calls it.
    const ELEM: TensorElementType;
}

impl Byte for i8 {
    const NAME: &str = "SparseLhsMatMulInt8";
    const ELEM: TensorElementType = TensorElementType::Int8;
}

impl Byte for u8 {
    const NAME: &str = "SparseLhsMatMulUint8";
    const ELEM: TensorElementType = TensorElementType::Uint8;
}

impl<T: Byte> Operator for SparseLhsMatMulOf<T> {
    type Kernel<'attr> = ReadyOf<T>;

    fn name(&self) -> &str {
        T::NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = || OperatorInput::required(TensorElementType::Float32);
        [float(), OperatorInput::required(T::ELEM), float(), OperatorInput::required(T::ELEM)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<ReadyOf<T>> {
        let of_rows = context.get::<i64>("axis").is_some_and(|axis| axis == 0);
        Ok(ReadyOf { ready: Ready::new(context), of_rows, of: PhantomData })
    }
}

/// The kernel.
pub(crate) struct Ready {
    has: CpuFeatures,
    turned: bool,
}

/// The kernel for integers.
pub(crate) struct ReadyOf<T> {
    ready: Ready,
    of_rows: bool,
    of: PhantomData<T>,
}

/// A matrix that is read by parts of its rows.
trait Matrix: Copy + Send + Sync {
    /// `length` numbers from `from` on, all of one row. `room` is for those that have to be made.
    fn line<'b>(&'b self, from: usize, length: usize, room: &'b mut Vec<Float>) -> &'b [Float];

    /// One number.
    fn number(&self, at: usize) -> f32;
}

impl Matrix for &[Float] {
    fn line<'b>(&'b self, from: usize, length: usize, _: &'b mut Vec<Float>) -> &'b [Float] {
        &self[from..][..length]
    }

    fn number(&self, at: usize) -> f32 {
        f32::from_ne_bytes(self[at])
    }
}

/// Integers with their scales and zero points.
#[derive(Clone, Copy)]
struct Dequantised<'a, T> {
    numbers: &'a [T],
    /// The matrix's columns, as it lies.
    columns: usize,
    scales: &'a [f32],
    zeros: &'a [T],
    of_rows: bool,
}

impl<T: Byte> Dequantised<'_, T> {
    fn float(&self, number: T, of: usize) -> f32 {
        (number.into() - self.zeros[of].into()) as f32 * self.scales[of]
    }
}

impl<T: Byte> Matrix for Dequantised<'_, T> {
    fn line<'b>(&'b self, from: usize, length: usize, room: &'b mut Vec<Float>) -> &'b [Float] {
        let numbers = self.numbers[from..][..length].iter();
        room.clear();
        if self.scales.len() == 1 || self.of_rows {
            let of = if self.scales.len() == 1 { 0 } else { from / self.columns };
            room.extend(numbers.map(|&number| self.float(number, of).to_ne_bytes()));
        } else {
            let first = from % self.columns;
            room.extend(numbers.enumerate().map(|(at, &number)| self.float(number, first + at).to_ne_bytes()));
        }
        room
    }

    fn number(&self, at: usize) -> f32 {
        let of = match self.scales.len() {
            1 => 0,
            _ if self.of_rows => at / self.columns,
            _ => at % self.columns,
        };
        self.float(self.numbers[at], of)
    }
}

/// Factors `[m, k]` and the matrix, with the numbers of the factors that aren't 0 in every row.
#[derive(Clone, Copy)]
struct Product<'a, M> {
    factors: &'a [f32],
    matrix: M,
    met: &'a [usize],
    k: usize,
    n: usize,
}

fn malformed() -> ort::Error {
    ort::Error::new("the inputs are no matrices that fit together")
}

impl Kernel for Ready {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (inner, matrix) = floats(context, 1)?;
        self.multiply(context, inner, matrix)
    }
}

impl<T: Byte> Kernel for ReadyOf<T> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (inner, numbers) = elements::<T>(context, 1, T::ELEM)?;
        let (scales, zeros) = (floats(context, 2)?.1, elements::<T>(context, 3, T::ELEM)?.1);
        let scales: Vec<f32> = scales.iter().map(|scale| f32::from_ne_bytes(*scale)).collect();
        let [rows, columns] = pair(inner.clone()).ok_or_else(malformed)?;
        let expected = if self.of_rows { rows } else { columns };
        if scales.len() != zeros.len() || (scales.len() != 1 && scales.len() != expected) {
            return Err(malformed());
        }
        let matrix = Dequantised { numbers, columns, scales: &scales, zeros, of_rows: self.of_rows };
        self.ready.multiply(context, inner, matrix)
    }
}

impl Ready {
    fn new(context: &KernelContext) -> Self {
        Self { has: cpu_features::detect(), turned: context.get::<i64>("turned").unwrap_or(0) != 0 }
    }

    fn multiply(&self, context: &ComputeContext, inner: Vec<usize>, matrix: impl Matrix) -> ort::Result<()> {
        let (shape, factors) = floats(context, 0)?;
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
            let mut rooms = [const { Vec::new() }; 4];
            if turned {
                (0..m).for_each(|row| product.turned(has, row, start, sums(row), &mut rooms[0]));
                return;
            }
            // Four rows of the matrix at a time: their products are added to sums that are read and written once.
            for four in product.met.chunks(4) {
                (0..m).for_each(|row| product.add(has, row, four, start, sums(row), &mut rooms));
            }
        })
    }
}

fn pair(sizes: Vec<usize>) -> Option<[usize; 2]> {
    sizes.try_into().ok()
}

impl<M: Matrix> Product<'_, M> {
    /// Adds to row `row` of the product, from column `start` on, what up to four rows of the matrix give.
    fn add(
        &self,
        has: CpuFeatures,
        row: usize,
        four: &[usize],
        start: usize,
        sums: &mut [f32],
        rooms: &mut [Vec<Float>; 4],
    ) {
        let factors = &self.factors[row * self.k..(row + 1) * self.k];
        let from = |at: usize| at * self.n + start;
        let length = sums.len();
        match *four {
            [a, b, c, d] => {
                let own = [a, b, c, d].map(|at| factors[at]);
                if own != [0.0; 4] {
                    let [first, second, third, fourth] = rooms;
                    let lines = [(a, first), (b, second), (c, third), (d, fourth)];
                    functions::add_four(
                        has,
                        own,
                        lines.map(|(at, room)| self.matrix.line(from(at), length, room)),
                        sums,
                    );
                }
            }
            _ => {
                for &at in four {
                    let line = self.matrix.line(from(at), length, &mut rooms[0]);
                    functions::add(has, factors[at], line, sums);
                }
            }
        }
    }

    /// Row `row` of the product from column `start` on, where the matrix lies turned: each sum is a row of it times the factors.
    fn turned(&self, has: CpuFeatures, row: usize, start: usize, sums: &mut [f32], room: &mut Vec<Float>) {
        let factors = &self.factors[row * self.k..(row + 1) * self.k];
        for (at, sum) in sums.iter_mut().enumerate() {
            let from = (start + at) * self.k;
            *sum = if self.met.len() * LINE < self.k {
                self.met.iter().map(|&at| factors[at] * self.matrix.number(from + at)).sum()
            } else {
                functions::dot(has, factors, self.matrix.line(from, self.k, room))
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
                let mut rooms = [const { Vec::new() }; 4];
                let has = cpu_features::detect();
                let product = Product { factors, matrix: straight_lying.as_slice(), met: &met, k, n };
                met.chunks(4).for_each(|four| product.add(has, row, four, start, &mut straight, &mut rooms));
                let mut turned = vec![0.0; end - start];
                let product = Product { matrix: turned_lying.as_slice(), ..product };
                product.turned(has, row, start, &mut turned, &mut rooms[0]);
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
        let product = Product { factors: &factors, matrix: matrix.as_slice(), met: &[1], k: 3, n: 2 };
        let mut sums = [0.0; 2];
        product.add(cpu_features::detect(), 0, &[1], 0, &mut sums, &mut [const { Vec::new() }; 4]);
        assert_eq!(sums, [3.0, 6.0]);
    }
    /// The same product of integers with their scales, and of the floats they stand for.
    fn check_integers<T: Byte>(make: impl Fn(usize) -> T) {
        let (m, k, n) = (2, 9, 21);
        let factors = numbers(m * k, 2);
        let met: Vec<usize> = (0..k).collect();
        for turned in [false, true] {
            let (rows, columns) = if turned { (n, k) } else { (k, n) };
            let integers: Vec<T> = (0..k * n).map(|at| make(at * 7919 + 3)).collect();
            for (count, of_rows) in [(1, false), (rows, true), (columns, false)] {
                let scales: Vec<f32> = (0..count).map(|at| 0.5 + at as f32 / 16.0).collect();
                let zeros: Vec<T> = (0..count).map(|at| make(at * 31)).collect();
                let of = |at: usize| match count {
                    1 => 0,
                    _ if of_rows => at / columns,
                    _ => at % columns,
                };
                let float = |at: usize| (integers[at].into() - zeros[of(at)].into()) as f32 * scales[of(at)];
                let floats = lying(&(0..k * n).map(float).collect::<Vec<f32>>());
                let matrix = Dequantised { numbers: &integers, columns, scales: &scales, zeros: &zeros, of_rows };
                let of_floats = Product { factors: &factors, matrix: floats.as_slice(), met: &met, k, n };
                let of_integers = Product { factors: &factors, matrix, met: &met, k, n };
                let (mut one, mut other) = (vec![0.0; n - 5], vec![0.0; n - 5]);
                multiplied(&of_floats, turned, &mut one);
                multiplied(&of_integers, turned, &mut other);
                assert_eq!(one, other, "{} of {count} scales, rows {of_rows}, turned {turned}", T::NAME);
                // And where single numbers are picked.
                let few = [4];
                let mut factors = vec![0.0; 100];
                factors[4] = 2.0;
                let wide: Vec<T> = (0..300).map(&make).collect();
                let (scales, zeros) = ([0.25], [make(5)]);
                let matrix =
                    Dequantised { numbers: &wide, columns: 100, scales: &scales, zeros: &zeros, of_rows: false };
                let mut sums = [0.0; 3];
                multiplied(&Product { factors: &factors, matrix, met: &few, k: 100, n: 3 }, true, &mut sums);
                let picked = |row: usize| (wide[row * 100 + 4].into() - zeros[0].into()) as f32 * 0.25 * 2.0;
                assert_eq!(sums, [0, 1, 2].map(picked));
            }
        }
    }

    /// The product's last row, from the fifth column on or from the first.
    fn multiplied<M: Matrix>(product: &Product<'_, M>, turned: bool, sums: &mut [f32]) {
        let (row, start) = (product.factors.len() / product.k - 1, product.n - sums.len());
        let mut rooms = [const { Vec::new() }; 4];
        if turned {
            product.turned(cpu_features::detect(), row, start, sums, &mut rooms[0]);
        } else {
            product
                .met
                .chunks(4)
                .for_each(|four| product.add(cpu_features::detect(), row, four, start, sums, &mut rooms));
        }
    }

    #[test]
    fn integers_are_dequantised_as_they_are_read() {
        check_integers(|at| (at % 251) as u8);
        check_integers(|at| (at % 251) as u8 as i8);
    }
}
