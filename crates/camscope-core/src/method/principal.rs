//! A layer's first principal component, and the methods that draw it.

use ndarray::{Array1, Array2, ArrayView2, ArrayView3, Axis, Zip, linalg::general_mat_mul};

use super::{
    Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Trial},
};
use crate::{error::Result, numbers};

/// The channels of a layer as rows, its places as columns, less the mean of each row.
fn centred(layer: ArrayView3<'_, f32>) -> Array2<f32> {
    let (channels, height, width) = layer.dim();
    let flat = layer.as_standard_layout().into_owned();
    let mut flat = flat.into_shape_with_order((channels, height * width)).unwrap_or_default();
    if let Some(rows) = flat.as_slice_mut() {
        numbers::centre(rows, height * width);
    }
    flat
}

/// The products of all columns with each other. They are summed in float32 over a few rows at a time, and these sums in float64: half the memory
/// traffic of float64, and nearly its numbers.
fn products(matrix: ArrayView2<'_, f32>) -> Array2<f64> {
    const ROWS: usize = 128;
    // Also of one that is turned: its order doesn't matter.
    let most = matrix.as_slice_memory_order().map_or(0.0, numbers::largest);
    // Their squares have to be numbers of float32.
    if most.is_normal() && !(1e-10..=1e10).contains(&most) {
        return products(matrix.mapv(|value| value / most).view()) * f64::from(most).powi(2);
    }
    let columns = matrix.ncols();
    if let (Some(flat), true) = (matrix.as_slice(), columns <= numbers::COLUMNS) {
        return few_products(flat, columns, ROWS);
    }
    let (mut all, mut part) = (Array2::<f64>::zeros((columns, columns)), Array2::<f32>::zeros((columns, columns)));
    for rows in matrix.axis_chunks_iter(Axis(0), ROWS) {
        general_mat_mul(1.0, &rows.t(), &rows, 0.0, &mut part);
        all.zip_mut_with(&part, |all, part| *all += f64::from(*part));
    }
    all
}

/// The same of a matrix with few columns, of which so many rows are summed in float32.
fn few_products(flat: &[f32], columns: usize, rows: usize) -> Array2<f64> {
    let mut all = Array2::<f64>::zeros((columns, columns));
    for some in flat.chunks(rows * columns.max(1)) {
        let mut part = [[0.0; numbers::COLUMNS]; numbers::COLUMNS];
        numbers::add_products(some, columns, &mut part);
        for (column, (mut line, part)) in all.outer_iter_mut().zip(&part).enumerate() {
            line.iter_mut().zip(part).skip(column).for_each(|(sum, part)| *sum += f64::from(*part));
        }
    }
    for (row, column) in (0..columns).flat_map(|row| (0..row).map(move |column| (row, column))) {
        all[[row, column]] = all[[column, row]];
    }
    all
}

/// The largest eigenvalue of a symmetric tridiagonal matrix, and its unit eigenvector.
fn of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> (f64, Vec<f64>) {
    let count = diagonal.len();
    // σ − T is positive definite, all its pivots are positive, exactly where σ is beyond the largest eigenvalue.
    let pivots = |sigma: f64, into: &mut Vec<f64>| {
        into.clear();
        for at in 0..count {
            let taken = if at == 0 { 0.0 } else { beside[at - 1] * beside[at - 1] / into[at - 1] };
            into.push(sigma - diagonal[at] - taken);
            if into[at].is_nan() || into[at] <= 0.0 {
                return false;
            }
        }
        true
    };
    let side = |at: usize| beside.get(at).map_or(0.0, |number| number.abs());
    let reach = |at: usize| diagonal[at] + side(at) + if at > 0 { side(at - 1) } else { 0.0 };
    let most = |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(f64::NEG_INFINITY, f64::max);
    let mut low = most(&mut diagonal.iter().copied());
    let mut high = most(&mut (0..count).map(reach));
    high += 1e-12 * high.abs();
    let mut all = Vec::with_capacity(count);
    while high - low > 4.0 * f64::EPSILON * high.abs() {
        let middle = f64::midpoint(low, high);
        if pivots(middle, &mut all) { high = middle } else { low = middle }
    }
    pivots(high, &mut all);
    // Inverse iteration, by (σ − T)⁻¹ from its factors.
    let mut vector = vec![1.0 / (count as f64).sqrt(); count];
    for _ in 0..3 {
        for at in 1..count {
            vector[at] += beside[at - 1] / all[at - 1] * vector[at - 1];
        }
        for at in (0..count).rev() {
            let next = if at + 1 < count { beside[at] * vector[at + 1] } else { 0.0 };
            vector[at] = (vector[at] + next) / all[at];
        }
        let norm = vector.iter().map(|part| part * part).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|part| *part /= norm);
    }
    (high, vector)
}

/// The unit eigenvector of a symmetric, positive semidefinite matrix with the largest eigenvalue, and that; by Lanczos's method, each direction
/// made orthogonal to all before it. A matrix of zeros gives zeros.
fn dominant(matrix: ArrayView2<'_, f64>) -> (Array1<f64>, f64) {
    let n = matrix.nrows();
    // The longest column has a part along the vector, unless all are zero.
    let longest =
        matrix.columns().into_iter().map(|column| (column.dot(&column), column)).max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((length, column)) = longest.filter(|(length, _)| *length > 0.0 && length.is_finite()) else {
        return (Array1::zeros(n), 0.0);
    };
    let length = length.sqrt();
    let mut basis = vec![column.to_owned() / length];
    let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
    loop {
        let last = &basis[basis.len() - 1];
        let mut next = matrix.dot(last);
        diagonal.push(last.dot(&next));
        // Once is not enough where little is left of it.
        for known in basis.iter().chain(&basis) {
            let along = known.dot(&next);
            next.scaled_add(-along, known);
        }
        let (left, count) = (next.dot(&next).sqrt(), basis.len());
        let is_all = count == n || left <= 1e-14 * length;
        if is_all || count.is_multiple_of(4) {
            let (value, weights) = of_tridiagonal(&diagonal, &beside);
            if is_all || left * weights[count - 1].abs() <= 1e-11 * value.abs() {
                let mut vector = Array1::zeros(n);
                weights.iter().zip(&basis).for_each(|(weight, part)| vector.scaled_add(*weight, part));
                let norm = vector.dot(&vector).sqrt();
                // Of a matrix whose numbers are all but zero nothing is left.
                return if norm.is_normal() { (vector / norm, value) } else { (Array1::zeros(n), 0.0) };
            }
        }
        beside.push(left);
        basis.push(next / left);
    }
}

/// The projection of each place on the first right singular vector: u₁ σ₁ of the centred matrix, as `[height, width]`. Its sign is open.
fn projection(layer: ArrayView3<'_, f32>) -> Array2<f32> {
    let (channels, height, width) = layer.dim();
    let flat = centred(layer);
    let projected = if channels <= height * width {
        let (vector, _) = dominant(products(flat.t()).view());
        let mut projected = Array1::<f64>::zeros(height * width);
        for (channel, weight) in flat.outer_iter().zip(&vector) {
            projected.zip_mut_with(&channel, |sum, value| *sum += weight * f64::from(*value));
        }
        projected
    } else {
        let (vector, value) = dominant(products(flat.view()).view());
        vector * value.max(0.0).sqrt()
    };
    projected.mapv(|value| value as f32).into_shape_with_order((height, width)).unwrap_or_default()
}

/// The sign that agrees with how active the places are.
fn along_activity(projection: Array2<f32>, layer: ArrayView3<'_, f32>) -> Array2<f32> {
    let activity = layer.sum_axis(Axis(0));
    let mean = activity.mean().unwrap_or(0.0);
    let agreement: f64 = projection.iter().zip(&activity).map(|(p, a)| f64::from(*p) * f64::from(a - mean)).sum();
    if agreement < 0.0 { -projection } else { projection }
}

/// The projection of each place of weighted feature maps on their first principal component, of the sign that agrees with their sum:
/// pytorch-grad-cam's `eigen_smooth`.
pub(crate) fn along_component(weighted: ArrayView3<'_, f32>) -> Array2<f32> {
    along_activity(projection(weighted), weighted)
}

/// Eigen-CAM (Muhammad and Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", 2020): the projection of the activation on
/// its first principal component. The sign of a component is open; it is the one that agrees with the sum of the activation.
pub(super) struct EigenCam;

impl HostMethod for EigenCam {
    fn name(&self) -> &'static str {
        "eigencam"
    }

    fn about(&self) -> &'static str {
        "the first principal component of the feature maps, whatever the target (Muhammad and Yeasin 2020); no gradient"
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, ..Needs::default() }
    }

    fn is_of_target(&self) -> bool {
        false
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        1.0
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        Ok(along_component(trial.layer()?).into())
    }
}

/// Eigen-CAM of activation × gradient, as pytorch-grad-cam has it.
pub(super) struct EigenGradCam;

impl HostMethod for EigenGradCam {
    fn name(&self) -> &'static str {
        "eigengradcam"
    }

    fn about(&self) -> &'static str {
        "the first principal component of feature maps × gradient (pytorch-grad-cam)"
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, gradient: true, ..Needs::default() }
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        1.1
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let product = &trial.layer()? * &trial.layer_gradient()?;
        Ok(along_component(product.view()).into())
    }
}

/// Seg-Eigen-CAM (Chung and Ying, "Seg-Eigen-CAM", Applied Sciences 15(13), 2025): Eigen-CAM of activation × |gradient| (equation 10), its
/// sign such that the largest value is positive (equation 13).
pub(super) struct SegEigenCam;

impl HostMethod for SegEigenCam {
    fn name(&self) -> &'static str {
        "segeigencam"
    }

    fn about(&self) -> &'static str {
        "the first principal component of feature maps × |gradient| (Chung and Ying 2025)"
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, gradient: true, ..Needs::default() }
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        1.1
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let gradient = trial.layer_gradient()?;
        let weighted = Zip::from(trial.layer()?).and(gradient).map_collect(|value, slope| value * slope.abs());
        let projected = projection(weighted.view());
        let (least, most) = projected.iter().fold((0.0f32, 0.0f32), |(least, most), v| (least.min(*v), most.max(*v)));
        Ok(if -least > most { -projected } else { projected }.into())
    }
}

/// KPCA-CAM (Karmani et al., "KPCA-CAM: Visual Explainability of Deep Computer Vision Models using Kernel PCA", 2024): the first component in
/// the space of the kernel tanh(γ x·y + 1), γ one by the number of channels, as scikit-learn's `KernelPCA` has it.
pub(super) struct KpcaCam;

impl HostMethod for KpcaCam {
    fn name(&self) -> &'static str {
        "kpcacam"
    }

    fn about(&self) -> &'static str {
        "the first kernel principal component of the feature maps, whatever the target (Karmani et al. 2024); no gradient"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter {
            name: "gamma",
            default: 0.0,
            about: "γ of the kernel tanh(γ x·y + 1); 0: one by the number of channels",
        }]
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, ..Needs::default() }
    }

    fn is_of_target(&self) -> bool {
        false
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        1.0
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let layer = trial.layer()?;
        let (channels, height, width) = layer.dim();
        let gamma = match parameters.get("gamma") {
            0.0 => 1.0 / channels.max(1) as f64,
            gamma => gamma,
        };
        let mut kernel = products(centred(layer).view()).mapv_into(|product| (gamma * product + 1.0).tanh());
        // Centred in the kernel's own space: less the means of rows and columns, plus that of all.
        let means = kernel.mean_axis(Axis(0)).unwrap_or_default();
        let mean = means.mean().unwrap_or(0.0);
        kernel -= &means;
        kernel -= &means.view().insert_axis(Axis(1));
        kernel += mean;
        // This kernel is not positive semidefinite: shifted, its largest eigenvalue becomes the one of largest magnitude.
        let bound = kernel.rows().into_iter().map(|row| row.mapv(f64::abs).sum()).fold(0.0, f64::max);
        let mut shifted = kernel.clone();
        shifted.diag_mut().mapv_inplace(|value| value + bound);
        let (vector, value) = dominant(shifted.view());
        let projected = vector * (value - bound).max(0.0).sqrt();
        let projected = projected.mapv(|value| value as f32).into_shape_with_order((height, width));
        Ok(along_activity(projected.unwrap_or_default(), layer).into())
    }
}

/// FEM (Fuad et al., "Features Understanding in 3D CNNs for Actions Recognition in Video", 2020): each channel weighted by the share of its
/// values beyond its mean plus k deviations.
pub(super) struct Fem;

impl HostMethod for Fem {
    fn name(&self) -> &'static str {
        "fem"
    }

    fn about(&self) -> &'static str {
        "feature maps weighted by how many of their values stand out, whatever the target (Fuad et al. 2020); no gradient"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter { name: "k", default: 2.0, about: "values beyond the mean by k standard deviations stand out" }]
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, ..Needs::default() }
    }

    fn is_of_target(&self) -> bool {
        false
    }

    fn weighs_channels(&self) -> bool {
        true
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        1.0
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let k = parameters.get("k") as f32;
        let layer = trial.layer()?.as_standard_layout().into_owned();
        let places = layer.len_of(Axis(1)) * layer.len_of(Axis(2));
        let flat = layer.as_slice().unwrap_or_default();
        let share = |(channel, (mean, variance)): (&[f32], (f64, f64))| {
            let threshold = mean as f32 + k * variance.sqrt() as f32;
            let above = channel.iter().filter(|value| **value > threshold).count();
            above as f32 / channel.len().max(1) as f32
        };
        let moments = numbers::moments(flat, places);
        let weights: Vec<f32> = flat.chunks(places.max(1)).zip(moments).map(share).collect();
        trial.weighed(&weights)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn the_component_is_the_direction_of_largest_spread() {
        // Channel 1 is twice channel 0 and channel 2 is noise a hundred times smaller.
        let layer = Array3::from_shape_fn((3, 2, 3), |(c, y, x)| {
            let t = (3 * y + x) as f32;
            [t, 2.0 * t, 0.01 * (t * 7.3).sin()][c]
        });
        for layer in [layer.clone(), layer.slice(ndarray::s![.., .., ..1]).to_owned()] {
            let found = projection(layer.view());
            let (_, height, width) = layer.dim();
            let mean = layer.index_axis(Axis(0), 0).mean().unwrap();
            for ((y, x), value) in found.indexed_iter() {
                let expected = 5f32.sqrt() * (layer[[0, y, x]] - mean);
                assert!((value.abs() - expected.abs()).abs() < 1e-2, "{height} {width}: {value} {expected}");
            }
        }
    }

    /// Against repeated multiplication, on matrices whose largest eigenvalues lie near each other, far apart, or are alike.
    #[test]
    fn the_largest_eigenvalue_and_its_vector_are_found() {
        let mut seed = 1u64;
        let mut number = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f64 / (1u64 << 24) as f64 - 0.5
        };
        for (rows, columns) in [(1, 1), (2, 5), (3, 1), (9, 40), (40, 9), (49, 60), (64, 64)] {
            let part = Array2::from_shape_simple_fn((rows, columns), &mut number);
            let matrix = part.dot(&part.t());
            let (vector, value) = dominant(matrix.view());
            let mut expected = Array1::from_shape_simple_fn(rows, &mut number);
            for _ in 0..20_000 {
                expected = matrix.dot(&expected);
                expected /= expected.dot(&expected).sqrt();
            }
            let wanted = expected.dot(&matrix.dot(&expected));
            assert!((value - wanted).abs() <= 1e-9 * wanted, "{rows}×{columns}: {value}, not {wanted}");
            assert!(vector.dot(&expected).abs() > 1.0 - 1e-9, "{rows}×{columns}");
        }
        let (vector, value) = dominant(Array2::eye(5).view());
        assert!((value - 1.0).abs() < 1e-12 && (vector.dot(&vector) - 1.0).abs() < 1e-12);
        assert_eq!(dominant(Array2::zeros((3, 3)).view()).1, 0.0);
    }

    #[test]
    fn what_is_tiny_or_huge_has_the_same_component() {
        let layer = Array3::from_shape_fn((5, 2, 3), |(c, y, x)| ((7 * c + 3 * y + x) as f32).sin());
        let plain = projection(layer.view());
        for scale in [1e-30f32, 1e30] {
            let found = projection(layer.mapv(|value| value * scale).view()).mapv(|value| value / scale);
            assert!(
                found.iter().zip(&plain).all(|(a, b)| (a.abs() - b.abs()).abs() < 1e-4),
                "{scale}: {found} {plain}"
            );
        }
    }

    #[test]
    fn constant_activations_have_no_component() {
        let layer = Array3::from_elem((4, 3, 3), 2.0f32);
        assert!(projection(layer.view()).iter().all(|value| *value == 0.0));
        assert_eq!(projection(Array3::from_elem((4, 1, 1), 2.0f32).view()).dim(), (1, 1));
    }
}
