//! Sums over many numbers that lie in a row, each compiled for wide registers too.

use onnx_grad_ort::{cpu_features, multiversion};

/// How many sums go side by side.
const LANES: usize = 16;

/// The most columns of [`products`].
pub(crate) const COLUMNS: usize = 64;

/// How many rows of them are summed at once.
const ROWS: usize = 4;

/// Products of columns with each other: a line a column. Only those on and behind the diagonal are meant.
pub(crate) type Products = [[f32; COLUMNS]; COLUMNS];

/// Whether all are numbers, and none is infinite.
pub(crate) fn all_finite(numbers: &[f32]) -> bool {
    finite(cpu_features::detect(), numbers)
}

/// Whether all are 0.
pub(crate) fn all_zero(numbers: &[f32]) -> bool {
    zero(cpu_features::detect(), numbers)
}

/// The largest of their sizes; NaN counts for nothing.
pub(crate) fn largest(numbers: &[f32]) -> f32 {
    most(cpu_features::detect(), numbers)
}

/// The mean and the variance of each row of so many numbers.
pub(crate) fn moments(rows: &[f32], columns: usize) -> Vec<(f64, f64)> {
    moments_of(cpu_features::detect(), rows, columns)
}

/// Takes each row's mean from it; NaN counts as 0.
pub(crate) fn centre(rows: &mut [f32], columns: usize) {
    centre_rows(cpu_features::detect(), rows, columns);
}

/// Adds the products of each column with itself and all behind it, summed over the rows. There are at most [`COLUMNS`] of them.
pub(crate) fn add_products(rows: &[f32], columns: usize, into: &mut Products) {
    add_products_of(cpu_features::detect(), rows, columns, into);
}

multiversion! {
    fn add_products_of(rows: &[f32], columns: usize, into: &mut Products) = products_plainly[FUSED]
}

#[inline(always)]
fn products_plainly<const FUSED: bool>(rows: &[f32], columns: usize, into: &mut Products) {
    // Of four rows at once, a sum is read and written a quarter as often.
    for rows in rows.chunks(ROWS * columns.max(1)) {
        let mut some = [[0.0f32; COLUMNS]; ROWS];
        for (own, row) in some.iter_mut().zip(rows.chunks(columns.max(1))) {
            own[..row.len()].copy_from_slice(row);
        }
        // How many numbers a line has is known to the compiler.
        products_of_block::<FUSED, 0>(&some, columns, into);
        products_of_block::<FUSED, 1>(&some, columns, into);
        products_of_block::<FUSED, 2>(&some, columns, into);
        products_of_block::<FUSED, 3>(&some, columns, into);
    }
}

/// The products of one block of [`LANES`] columns with themselves and with all behind them.
#[inline(always)]
fn products_of_block<const FUSED: bool, const BLOCK: usize>(
    some: &[[f32; COLUMNS]; ROWS],
    columns: usize,
    into: &mut Products,
) {
    let added = |sum: f32, by: f32, value: f32| if FUSED { by.mul_add(value, sum) } else { sum + by * value };
    let from = BLOCK * LANES;
    for (column, line) in into.iter_mut().enumerate().take(columns.min(from + LANES)).skip(from) {
        let by = some.each_ref().map(|row| row[column]);
        for place in from..COLUMNS {
            for (by, row) in by.into_iter().zip(some) {
                line[place] = added(line[place], by, row[place]);
            }
        }
    }
}

multiversion! {
    fn finite(numbers: &[f32]) -> bool = finite_plainly
}

#[inline(always)]
fn finite_plainly(numbers: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let is_bad = |number: f32| u32::from(number.to_bits() & EXPONENT == EXPONENT);
    numbers.iter().fold(0, |bad, number| bad | is_bad(*number)) == 0
}

multiversion! {
    fn zero(numbers: &[f32]) -> bool = zero_plainly
}

#[inline(always)]
fn zero_plainly(numbers: &[f32]) -> bool {
    // All bits but the sign's.
    numbers.iter().fold(0, |bits, number| bits | number.to_bits() << 1) == 0
}

multiversion! {
    fn most(numbers: &[f32]) -> f32 = most_plainly
}

#[inline(always)]
fn most_plainly(numbers: &[f32]) -> f32 {
    let larger = |most: f32, number: f32| if number.abs() > most { number.abs() } else { most };
    let mut all = [0.0; LANES];
    let (whole, rest) = numbers.as_chunks::<LANES>();
    for some in whole {
        for (most, number) in all.iter_mut().zip(some) {
            *most = larger(*most, *number);
        }
    }
    all.iter().chain(rest).fold(0.0, |most, number| larger(most, *number))
}

multiversion! {
    fn moments_of(rows: &[f32], columns: usize) -> Vec<(f64, f64)> = moments_plainly
}

#[inline(always)]
fn moments_plainly(rows: &[f32], columns: usize) -> Vec<(f64, f64)> {
    let count = columns.max(1);
    let of_row = |row: &[f32]| {
        let mean = sum(row, |number| number) / count as f64;
        (mean, sum(row, |number| (number - mean) * (number - mean)) / count as f64)
    };
    rows.chunks(count).map(of_row).collect()
}

multiversion! {
    fn centre_rows(rows: &mut [f32], columns: usize) = centre_plainly
}

#[inline(always)]
fn centre_plainly(rows: &mut [f32], columns: usize) {
    let count = columns.max(1);
    for row in rows.chunks_mut(count) {
        for number in &mut *row {
            *number = if number.is_nan() { 0.0 } else { *number };
        }
        let mean = sum(row, |number| number) / count as f64;
        for number in row {
            *number = (f64::from(*number) - mean) as f32;
        }
    }
}

/// Σ f(x).
#[inline(always)]
fn sum(numbers: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; LANES];
    let (whole, rest) = numbers.as_chunks::<LANES>();
    for some in whole {
        for (sum, number) in sums.iter_mut().zip(some) {
            *sum += of(f64::from(*number));
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|number| of(f64::from(*number))).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use onnx_grad_ort::cpu_features::CpuFeatures;

    use super::*;

    #[test]
    fn every_width_of_registers_gives_the_same_numbers() {
        for count in [0, 1, 15, 16, 49, 1000] {
            let numbers: Vec<f32> = (0..3 * count).map(|at| (at as f32 * 0.37).sin() - 0.2).collect();
            let largest = numbers.iter().fold(0.0f32, |most, number| most.max(number.abs()));
            for has in CpuFeatures::each() {
                let found = moments_of(has, &numbers, count);
                assert_eq!(found.len(), if count == 0 { 0 } else { 3 });
                assert_eq!(most(has, &numbers), largest);
                let mut centred = numbers.clone();
                centre_rows(has, &mut centred, count);
                for ((row, own), (mean, variance)) in
                    numbers.chunks(count.max(1)).zip(centred.chunks(count.max(1))).zip(found)
                {
                    let middle = row.iter().map(|number| f64::from(*number)).sum::<f64>() / row.len() as f64;
                    let spread =
                        row.iter().map(|number| (f64::from(*number) - middle).powi(2)).sum::<f64>() / row.len() as f64;
                    assert!((mean - middle).abs() < 1e-12 && (variance - spread).abs() < 1e-12, "{has:?} {count}");
                    let apart =
                        row.iter().zip(own).map(|(number, own)| (f64::from(*number) - middle - f64::from(*own)).abs());
                    assert!(apart.fold(0.0, f64::max) < 1e-7, "{has:?} {count}");
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_every_pair_of_columns() {
        for (rows, columns) in [(1, 1), (3, 2), (10, 49), (7, COLUMNS)] {
            let matrix: Vec<f32> = (0..rows * columns).map(|at| (at as f32 * 0.61).cos()).collect();
            for has in CpuFeatures::each() {
                let mut found = [[1.0; COLUMNS]; COLUMNS];
                add_products_of(has, &matrix, columns, &mut found);
                for (a, b) in (0..columns).flat_map(|a| (a..columns).map(move |b| (a, b))) {
                    let sum: f32 = matrix.chunks(columns).map(|row| row[a] * row[b]).sum();
                    assert!((found[a][b] - 1.0 - sum).abs() < 1e-5, "{has:?} {rows} {columns}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_found_wherever_it_lies() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in 0..40 {
                let mut numbers = vec![f32::MAX; 40];
                numbers[3] = f32::MIN_POSITIVE / 2.0;
                assert!(CpuFeatures::each().into_iter().all(|has| finite(has, &numbers)));
                numbers[place] = bad;
                assert!(!CpuFeatures::each().into_iter().any(|has| finite(has, &numbers)), "{bad} at {place}");
            }
        }
        assert!(all_finite(&[]) && all_zero(&[]) && all_zero(&[0.0, -0.0]));
        assert!(![f32::NAN, f32::MIN_POSITIVE / 4.0, -1.0].into_iter().any(|number| all_zero(&[0.0, number])));
        assert_eq!(largest(&[f32::NAN, -2.0, 1.0]), 2.0);
        let mut row = [f32::NAN, 3.0, -1.0];
        centre(&mut row, 3);
        assert_eq!(row.map(|number| (number * 3.0).round()), [-2.0, 7.0, -5.0]);
    }
}
