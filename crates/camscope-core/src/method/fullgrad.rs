//! Gradients at the input and at every bias.

use ndarray::{Array2, ArrayView2, Axis};

use super::{
    Needs, Parameters,
    host::{Heat, HostMethod, Trial},
};
use crate::{error::Result, model::Layout, overlay::enlarge};

/// FullGrad (Srinivas and Fleuret, "Full-Gradient Representation for Neural Network Visualization", 2019), as pytorch-grad-cam has it: |x ⊙ ∂x|
/// and |b ⊙ ∂b| of every bias of a convolution or batch normalisation, each channel from 0 to 1, enlarged to the input's size and added up. A
/// batch normalisation's bias is what it adds: β − γ·mean/σ; where it was folded into the convolution before it, that is the convolution's.
pub(super) struct FullGrad;

impl HostMethod for FullGrad {
    fn name(&self) -> &'static str {
        "fullgrad"
    }

    fn about(&self) -> &'static str {
        "gradients at the input and at all biases of convolutions, added up (Srinivas and Fleuret 2019)"
    }

    fn needs(&self) -> Needs {
        Needs { biases: true, ..Needs::NONE }
    }

    fn passes(&self, _: &Parameters, _: usize) -> f64 {
        3.0
    }

    fn heat(&self, trial: &mut Trial<'_>, _: &Parameters) -> Result<Heat> {
        let [height, width] = trial.size();
        let mut heat = Array2::<f32>::zeros((height, width));
        // Enlarging is linear: parts of one size are added up first.
        let mut add = |part: Array2<f32>| heat += &enlarge(part.view(), width as u32, height as u32);
        let slope = super::given(trial.beside.slope.as_ref(), "gradient at the image")?;
        let product = slope * &trial.image;
        let channels = if trial.layout == Layout::Nchw { 1 } else { 3 };
        for channel in product.index_axis(Axis(0), 0).axis_iter(Axis(channels - 1)) {
            if let Ok(channel) = channel.into_dimensionality() {
                add(from_0_to_1(channel));
            }
        }
        for (bias, gradient) in &trial.beside.biases {
            let mut all = Array2::<f32>::zeros((gradient.dim().1, gradient.dim().2));
            for (bias, gradient) in bias.iter().zip(gradient.outer_iter()) {
                all += &from_0_to_1((&gradient * *bias).view());
            }
            add(all);
        }
        Ok(heat.into())
    }
}

/// The sizes, less the least, over the largest then: zero where all are alike.
fn from_0_to_1(part: ArrayView2<'_, f32>) -> Array2<f32> {
    let sizes = part.mapv(|value| if value.is_finite() { value.abs() } else { 0.0 });
    let least = sizes.iter().copied().fold(f32::INFINITY, f32::min);
    let rest = sizes.mapv_into(|size| size - least);
    let most = rest.iter().copied().fold(0.0, f32::max);
    rest.mapv_into(|size| size / (1e-7 + most))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_part_is_stretched_and_one_without_contrast_is_nothing() {
        let part = from_0_to_1(array![[-4.0, 1.0], [2.0, f32::NAN]].view());
        assert!((&part - &array![[1.0, 0.25], [0.5, 0.0]]).iter().all(|apart| apart.abs() < 1e-6), "{part}");
        assert_eq!(from_0_to_1(array![[3.0, -3.0]].view()), array![[0.0, 0.0]]);
        assert_eq!(from_0_to_1(array![[7.0]].view()), array![[0.0]]);
    }
}
