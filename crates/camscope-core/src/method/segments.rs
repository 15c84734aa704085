//! Linear models of the score over the cells of a grid that are shown or hidden: LIME and Kernel SHAP.

use ndarray::{Array1, Array2, ArrayD, Axis, Zip};

use super::{
    Needs, Parameter, Parameters,
    baseline::{self, baseline},
    host::{Heat, HostMethod, Trial},
    random::Random,
    whole,
};
use crate::{error::Result, model::Layout};

const CELLS: Parameter = Parameter { name: "cells", default: 7.0, about: "cells of the grid along each side" };

/// LIME (Ribeiro et al., "Why Should I Trust You?: Explaining the Predictions of Any Classifier", 2016): ridge regression of the score on which
/// cells are shown, images weighted by exp(−d²/w²), d the cosine distance to all being shown. Cells of a grid stand for superpixels.
pub(super) struct Lime;

impl HostMethod for Lime {
    fn name(&self) -> &'static str {
        "lime"
    }

    fn about(&self) -> &'static str {
        "a linear model of the score over cells that are shown or hidden (Ribeiro et al. 2016); no gradient"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            CELLS,
            Parameter { name: "samples", default: 1000.0, about: "images with some cells hidden" },
            Parameter { name: "width", default: 0.25, about: "width of the weight, in cosine distance" },
            baseline::PARAMETER,
        ]
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn needs_plane(&self) -> bool {
        true
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        parameters.get("samples")
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let (cells, samples) = counts(self.name(), parameters)?;
        let mut random = Random::new(trial.seed);
        let count = cells * cells;
        let mut shown: Vec<Vec<bool>> =
            (0..samples).map(|_| (0..count).map(|_| random.even() < 0.5).collect()).collect();
        // The image itself is one of them.
        shown[0] = vec![true; count];
        let scores = scores(self.name(), trial, parameters, cells, &shown)?;
        let width = parameters.get("width").max(1e-6);
        let weight = |shown: &Vec<bool>| {
            let part = shown.iter().filter(|shown| **shown).count() as f64 / count as f64;
            let distance = 1.0 - part.sqrt();
            (-(distance / width).powi(2)).exp()
        };
        let weights: Vec<f64> = shown.iter().map(weight).collect();
        // Less the weighted means: so the constant is left out, and the ridge doesn't pull at it.
        let total: f64 = weights.iter().sum();
        let mean = |value: &dyn Fn(usize) -> f64| (0..samples).map(|at| weights[at] * value(at)).sum::<f64>() / total;
        let middle = mean(&|at| scores[at]);
        let means: Vec<f64> = (0..count).map(|cell| mean(&|at| f64::from(u8::from(shown[at][cell])))).collect();
        let (mut matrix, mut right) = (Array2::<f64>::eye(count), Array1::<f64>::zeros(count));
        for ((shown, weight), score) in shown.iter().zip(&weights).zip(&scores) {
            let row: Array1<f64> =
                shown.iter().zip(&means).map(|(shown, mean)| f64::from(u8::from(*shown)) - mean).collect();
            right.scaled_add(weight * (score - middle), &row);
            let row = row.insert_axis(Axis(1));
            matrix.scaled_add(*weight, &row.dot(&row.t()));
        }
        Ok(over_cells(trial.size(), cells, &solved(matrix, right)).into())
    }
}

/// Kernel SHAP (Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", 2017): Shapley values of the cells, by least squares
/// over coalitions drawn by the Shapley kernel, each with its complement. They add up to what the score rises from the baseline.
pub(super) struct KernelShap;

impl HostMethod for KernelShap {
    fn name(&self) -> &'static str {
        "kernel-shap"
    }

    fn about(&self) -> &'static str {
        "Shapley values of cells that are shown or hidden (Lundberg and Lee 2017); no gradient"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[
            CELLS,
            Parameter { name: "samples", default: 1000.0, about: "images with some cells hidden" },
            baseline::PARAMETER,
        ]
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn needs_plane(&self) -> bool {
        true
    }

    fn passes(&self, parameters: &Parameters, _: usize) -> f64 {
        2.0 + parameters.get("samples")
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let (cells, samples) = counts(self.name(), parameters)?;
        let count = cells * cells;
        let mut random = Random::new(trial.seed);
        let mut shown = vec![vec![false; count], vec![true; count]];
        while shown.len() < samples + 2 && count > 1 {
            let coalition = drawn(count, &mut random);
            shown.push(coalition.iter().map(|shown| !shown).collect());
            shown.push(coalition);
        }
        let scores = scores(self.name(), trial, parameters, cells, &shown)?;
        let (none, rise) = (scores[0], scores[1] - scores[0]);
        // Σ φ = rise: the last cell is what is left of it.
        let last = count - 1;
        let (mut matrix, mut right) = (Array2::<f64>::eye(last) * 1e-9, Array1::<f64>::zeros(last));
        for (shown, score) in shown.iter().zip(&scores).skip(2) {
            let at = |cell: usize| f64::from(u8::from(shown[cell]));
            let row: Array1<f64> = (0..last).map(|cell| at(cell) - at(last)).collect();
            right.scaled_add(score - none - at(last) * rise, &row);
            let row = row.insert_axis(Axis(1));
            matrix += &row.dot(&row.t());
        }
        let mut values = solved(matrix, right).to_vec();
        values.push(rise - values.iter().sum::<f64>());
        Ok(over_cells(trial.size(), cells, &values.into()).into())
    }
}

/// A coalition by the Shapley kernel: of size k with probability ∝ 1 / (k (M − k)).
fn drawn(count: usize, random: &mut Random) -> Vec<bool> {
    let weight = |size: usize| 1.0 / (size * (count - size)) as f64;
    let total: f64 = (1..count).map(weight).sum();
    let mut left = random.even() * total;
    let mut size = 1;
    while size + 1 < count && left > weight(size) {
        left -= weight(size);
        size += 1;
    }
    // The first `size` of a shuffled row.
    let mut order: Vec<usize> = (0..count).collect();
    for at in 0..size {
        let other = at + (random.even() * (count - at) as f64) as usize;
        order.swap(at, other.min(count - 1));
    }
    let mut shown = vec![false; count];
    order[..size].iter().for_each(|&cell| shown[cell] = true);
    shown
}

fn counts(method: &'static str, parameters: &Parameters) -> Result<(usize, usize)> {
    let cells = whole(method, "cells", parameters.get("cells"))?.min(64);
    Ok((cells, whole(method, "samples", parameters.get("samples"))?))
}

/// The cell of a place along an axis.
fn cell_of(place: usize, size: usize, cells: usize) -> usize {
    (place * cells / size.max(1)).min(cells - 1)
}

/// The score of the image with these cells shown, the others as the baseline has them.
fn scores(
    method: &'static str,
    trial: &mut Trial<'_>,
    parameters: &Parameters,
    cells: usize,
    shown: &[Vec<bool>],
) -> Result<Vec<f64>> {
    let hidden = baseline(method, trial, parameters)?;
    let (image, layout, [height, width]) = (trial.image.to_owned(), trial.layout, trial.size());
    let cell_of_each =
        Array2::from_shape_fn((height, width), |(y, x)| cell_of(y, height, cells) * cells + cell_of(x, width, cells));
    let mut mixed = |at: usize| -> ArrayD<f32> {
        let is_shown = cell_of_each.mapv(|cell| shown[at][cell]);
        let is_shown = match layout {
            Layout::Nchw => is_shown.insert_axis(Axis(0)).insert_axis(Axis(0)),
            Layout::Nhwc => is_shown.insert_axis(Axis(0)).insert_axis(Axis(3)),
        };
        let mut mixed = hidden.clone();
        Zip::from(&mut mixed).and(&image).and_broadcast(&is_shown.into_dyn()).for_each(|value, own, is_shown| {
            if *is_shown {
                *value = *own;
            }
        });
        mixed
    };
    Ok(trial.scores(shown.len(), &mut mixed)?.into_iter().map(f64::from).collect())
}

/// A value a cell, over all of its pixels.
fn over_cells([height, width]: [usize; 2], cells: usize, values: &Array1<f64>) -> Array2<f32> {
    Array2::from_shape_fn((height, width), |(y, x)| {
        values[cell_of(y, height, cells) * cells + cell_of(x, width, cells)] as f32
    })
}

/// The solution of a symmetric, positive definite system, by elimination with pivots.
fn solved(mut matrix: Array2<f64>, mut right: Array1<f64>) -> Array1<f64> {
    let n = right.len();
    for at in 0..n {
        let pivot = (at..n).max_by(|a, b| matrix[[*a, at]].abs().total_cmp(&matrix[[*b, at]].abs())).unwrap_or(at);
        if pivot != at {
            for column in 0..n {
                matrix.swap([at, column], [pivot, column]);
            }
            right.swap(at, pivot);
        }
        let top = matrix[[at, at]];
        if top == 0.0 {
            continue;
        }
        for row in at + 1..n {
            let factor = matrix[[row, at]] / top;
            for column in at..n {
                matrix[[row, column]] -= factor * matrix[[at, column]];
            }
            right[row] -= factor * right[at];
        }
    }
    let mut solution = Array1::zeros(n);
    for at in (0..n).rev() {
        let known: f64 = (at + 1..n).map(|column| matrix[[at, column]] * solution[column]).sum();
        let top = matrix[[at, at]];
        solution[at] = if top == 0.0 { 0.0 } else { (right[at] - known) / top };
    }
    solution
}

#[cfg(test)]
mod tests {
    use ndarray::IxDyn;

    use super::super::{parse, tests::trial};
    use super::*;

    /// The score is a sum over pixels, and a product of two of them.
    fn heat(method: &dyn HostMethod, setting: &str, product: f32) -> Array2<f32> {
        let image = ArrayD::from_elem(IxDyn(&[1, 1, 6, 6]), 1.0f32);
        let mut score = |images: ArrayD<f32>| {
            let one = |image: ndarray::ArrayViewD<'_, f32>| {
                3.0 * image[[0, 0, 0]] - image[[0, 3, 5]] + product * image[[0, 0, 0]] * image[[0, 5, 5]]
            };
            Ok(images.outer_iter().map(one).collect())
        };
        let mut trial = trial(image.view(), Layout::Nchw, 7, &mut score);
        method.heat(&mut trial, &parse(setting).unwrap().parameters).unwrap().map
    }

    #[test]
    fn shapley_values_of_a_sum_are_its_terms_and_a_product_is_shared() {
        let found = heat(&KernelShap, "kernel-shap:cells=3,samples=200", 0.0);
        let near = |found: f32, expected: f32| (found - expected).abs() < 1e-4;
        assert!(near(found[[1, 1]], 3.0) && near(found[[2, 4]], -1.0) && near(found[[5, 5]], 0.0), "{found}");
        let shared = heat(&KernelShap, "kernel-shap:cells=3,samples=4000", 2.0);
        assert!((shared[[0, 0]] - 4.0).abs() < 0.2 && (shared[[5, 5]] - 1.0).abs() < 0.2, "{shared}");
        // They add up to the rise from the baseline, 3 − 1 + 2, whatever was drawn.
        let cells: f32 = shared.iter().sum::<f32>() / 4.0;
        assert!((cells - 4.0).abs() < 1e-3, "{cells}");
    }

    #[test]
    fn a_linear_model_finds_a_linear_score() {
        let found = heat(&Lime, "lime:cells=3,samples=2000,width=1", 0.0);
        assert!((found[[0, 0]] - 3.0).abs() < 0.1 && (found[[3, 5]] + 1.0).abs() < 0.1, "{found}");
        assert!(found[[5, 0]].abs() < 0.05);
    }

    #[test]
    fn one_cell_has_all_of_the_rise() {
        assert!(heat(&KernelShap, "kernel-shap:cells=1,samples=4", 0.0).iter().all(|value| (value - 2.0).abs() < 1e-5));
    }
}
