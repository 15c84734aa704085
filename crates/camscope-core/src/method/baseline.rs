//! What an image is compared with: an image without content.

use ndarray::{ArrayD, Axis};

use super::{Parameter, Parameters, host::Trial};
use crate::{
    error::{Error, Result},
    model::Layout,
};

pub(super) const PARAMETER: Parameter = Parameter {
    name: "baseline",
    default: 0.0,
    about: "what the image is compared with: zero (0 as the model takes it), grey, blur, or a picture's or .npy array's file",
};

/// The words that a baseline has, with their numbers.
pub(super) const WORDS: &[(&str, f64)] = &[("zero", 0.0), ("grey", 1.0), ("gray", 1.0), ("blur", 2.0)];

/// The number of a baseline that is in a file.
pub(super) const FILE: f64 = 3.0;

/// Whether a baseline's value is meant to be a file: the words have neither an ending nor a folder.
pub(super) fn is_file(value: &str) -> bool {
    value.contains(['.', '/', '\\'])
}

/// The baseline that the parameters name, of the image's shape.
///
/// # Errors
/// There is none of that number.
pub(super) fn baseline(method: &'static str, trial: &Trial<'_>, parameters: &Parameters) -> Result<ArrayD<f32>> {
    let image = trial.image.to_owned();
    match parameters.get(PARAMETER.name) {
        0.0 => Ok(ArrayD::zeros(image.raw_dim())),
        1.0 => {
            let channels = if trial.layout == Layout::Nchw { 1 } else { 3 };
            let mut grey = image;
            for (at, mut channel) in grey.axis_iter_mut(Axis(channels)).enumerate() {
                channel.fill(trial.grey.get(at).copied().unwrap_or(0.0));
            }
            Ok(grey)
        }
        2.0 if !trial.is_plane => Err(Error::NoPlane { method }),
        2.0 => {
            let [down, across] = trial.layout.spatial_axes();
            // Wide enough to leave no shape, as a share of the image's shorter side; a signal has one only.
            let deviation = trial.size().into_iter().filter(|size| *size > 1).min().unwrap_or(1) as f64 / 16.0;
            Ok(blurred(blurred(image, down, deviation), across, deviation))
        }
        FILE if trial.other.is_some() => {
            let other = super::given(trial.other.as_ref(), "baseline")?;
            match other.shape() == image.shape() {
                true => Ok(other.clone()),
                false => Err(Error::BadParameter {
                    method,
                    setting: "baseline".into(),
                    reason: format!("it is of {:?} numbers, the image of {:?}", other.shape(), image.shape()),
                }),
            }
        }
        other => Err(Error::BadParameter {
            method,
            setting: format!("baseline={other}"),
            reason: "it is zero, grey, blur or a file".into(),
        }),
    }
}

/// What to say of attributions that should add up to the rise of the score.
pub(super) fn adds_up(total: f64, rise: f64) -> String {
    let apart = 100.0 * (total - rise).abs() / rise.abs().max(f64::MIN_POSITIVE);
    format!(
        "the attributions add up to {total:.4}; from the baseline to the image the score rises by {rise:.4}, {apart:.2} % apart"
    )
}

/// Blurred along an axis by a Gaussian, edges repeated.
pub(crate) fn blurred(image: ArrayD<f32>, axis: usize, deviation: f64) -> ArrayD<f32> {
    let reach = (3.0 * deviation).ceil() as isize;
    let weight = |by: isize| (-0.5 * (by as f64 / deviation.max(1e-6)).powi(2)).exp();
    let sum: f64 = (-reach..=reach).map(weight).sum();
    let size = image.len_of(Axis(axis)) as isize;
    let mut out = ArrayD::zeros(image.raw_dim());
    for at in 0..size {
        let mut to = out.index_axis_mut(Axis(axis), at as usize);
        for by in -reach..=reach {
            let from = (at + by).clamp(0, size - 1) as usize;
            to.scaled_add((weight(by) / sum) as f32, &image.index_axis(Axis(axis), from));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blurring_keeps_constants_and_spreads_a_dot() {
        let flat = ArrayD::from_elem(vec![1, 1, 4, 4], 3.0f32);
        assert!(blurred(flat, 2, 2.0).iter().all(|value| (value - 3.0).abs() < 1e-5));
        let mut dot = ArrayD::zeros(vec![1, 1, 1, 21]);
        dot[[0, 0, 0, 10]] = 1.0;
        let spread = blurred(dot, 3, 2.0);
        assert!((spread.sum() - 1.0).abs() < 1e-4 && spread[[0, 0, 0, 10]] < 0.25 && spread[[0, 0, 0, 8]] > 0.1);
    }
}
