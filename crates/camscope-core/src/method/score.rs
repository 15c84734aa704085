//! Score-CAM and its kin: each channel is a mask over the image, and the score of the masked image is its weight.

use ndarray::{Array2, ArrayD, ArrayView2, Axis, Zip};

use super::{
    Needs, Parameter, Parameters,
    host::{Heat, HostMethod, Trial},
    random::Random,
};
use crate::{error::Result, model::Layout};

/// How a channel's mask becomes its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The score of the masked image.
    Score,
    /// The mean over masks with noise.
    Smooth,
    /// The mean over masks that grow.
    Integrated,
}

/// A method of this family.
pub(super) struct ScoreCam(Kind);

/// Score-CAM (Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", 2020), as pytorch-grad-cam has
/// it: masks enlarged bilinearly with aligned corners, weights the softmax of the masked images' scores.
pub(super) const SCORE: ScoreCam = ScoreCam(Kind::Score);
/// SS-CAM (Wang et al., "SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization", 2020), as TorchCAM has it: the mean score of
/// masks with Gaussian noise.
pub(super) const SMOOTH: ScoreCam = ScoreCam(Kind::Smooth);
/// IS-CAM (Naidu et al., "IS-CAM: Integrated Score-CAM for axiomatic-based explanations", 2020), as TorchCAM has it: the mean score of
/// masks that grow by 1/n, 2/n, … of the full one.
pub(super) const INTEGRATED: ScoreCam = ScoreCam(Kind::Integrated);

impl HostMethod for ScoreCam {
    fn name(&self) -> &'static str {
        match self.0 {
            Kind::Score => "scorecam",
            Kind::Smooth => "ss-cam",
            Kind::Integrated => "is-cam",
        }
    }

    fn about(&self) -> &'static str {
        match self.0 {
            Kind::Score => {
                "feature maps weighted by the score of the image under each as a mask (Wang et al. 2020); no gradient"
            }
            Kind::Smooth => "Score-CAM with noisy masks, the mean of several (Wang et al. 2020); no gradient",
            Kind::Integrated => {
                "Score-CAM with masks that grow step by step, the mean of all (Naidu et al. 2020); no gradient"
            }
        }
    }

    fn parameters(&self) -> &'static [Parameter] {
        match self.0 {
            Kind::Score => &[],
            Kind::Smooth => &[
                Parameter { name: "samples", default: 35.0, about: "noisy masks a channel" },
                Parameter {
                    name: "std",
                    default: 2.0,
                    about: "standard deviation of the noise, masks being from 0 to 1",
                },
            ],
            Kind::Integrated => &[Parameter { name: "samples", default: 10.0, about: "masks a channel" }],
        }
    }

    fn needs(&self) -> Needs {
        Needs { layer: true, ..Needs::default() }
    }

    fn needs_plane(&self) -> bool {
        true
    }

    fn weighs_channels(&self) -> bool {
        true
    }

    fn passes(&self, parameters: &Parameters, channels: usize) -> f64 {
        let samples = if self.0 == Kind::Score { 1.0 } else { parameters.get("samples") };
        1.0 + samples * channels as f64
    }

    fn heat(&self, trial: &mut Trial<'_>, parameters: &Parameters) -> Result<Heat> {
        let layer = trial.layer()?.to_owned();
        let channels = layer.len_of(Axis(0));
        let (size, layout) = (trial.size(), trial.layout);
        let image = trial.image.to_owned();
        let samples = match self.0 {
            Kind::Score => 1,
            _ => super::whole(self.name(), "samples", parameters.get("samples"))?,
        };
        let mut random = Random::new(trial.seed);
        let aligned = self.0 == Kind::Score;
        let mut mask = (usize::MAX, Array2::zeros((0, 0)));
        let mut masked = |at: usize| {
            let (channel, sample) = (at / samples, at % samples);
            if mask.0 != channel {
                // TorchCAM scales before it enlarges, pytorch-grad-cam afterwards.
                let own = layer.index_axis(Axis(0), channel);
                let own = if aligned { own.to_owned() } else { scaled(own) };
                let large = enlarged(own.view(), size, aligned);
                mask = (channel, if aligned { scaled(large.view()) } else { large });
            }
            match self.0 {
                Kind::Score => under(&image, layout, &mask.1),
                Kind::Smooth => {
                    let std = parameters.get("std");
                    let noisy = mask.1.mapv(|value| value + (std * random.normal()) as f32);
                    under(&image, layout, &noisy)
                }
                Kind::Integrated => {
                    // 1/n + 2/n + … up to this one.
                    let part = ((sample + 1) * (sample + 2)) as f32 / (2 * samples) as f32;
                    under(&image, layout, &mask.1.mapv(|value| value * part))
                }
            }
        };
        let all = trial.scores(channels * samples, &mut masked)?;
        let scores: Vec<f64> = all
            .chunks(samples)
            .map(|some| some.iter().map(|score| f64::from(*score)).sum::<f64>() / samples as f64)
            .collect();
        let weights: Vec<f32> = softmax(&scores).into_iter().map(|weight| weight as f32).collect();
        trial.weighed(&weights)
    }
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// From 0 to 1; a constant becomes 0.
fn scaled(map: ArrayView2<'_, f32>) -> Array2<f32> {
    let (least, most) = map.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    map.mapv(|value| (value - least) / (most - least + 1e-8))
}

/// Bilinear, corners on corners or pixel centres at halves.
fn enlarged(map: ArrayView2<'_, f32>, [height, width]: [usize; 2], aligned: bool) -> Array2<f32> {
    if !aligned {
        return crate::overlay::enlarge(map, width as u32, height as u32);
    }
    let (rows, columns) = map.dim();
    // Between which places of the map each of the image lies, and how far from the first.
    let places = |size: usize, from: usize| -> Vec<(usize, usize, f32)> {
        let at = |to: usize| {
            let place = if size > 1 { to as f64 * (from as f64 - 1.0) / (size as f64 - 1.0) } else { 0.0 };
            let low = (place.floor() as usize).min(from.saturating_sub(1));
            (low, (low + 1).min(from.saturating_sub(1)), (place - low as f64) as f32)
        };
        (0..size).map(at).collect()
    };
    let across = places(width, columns);
    // Each row of the map, enlarged along it: the image lies between two of them.
    let lines = Array2::from_shape_fn((rows, width), |(y, x)| {
        let (low, high, share) = across[x];
        map[[y, low]] * (1.0 - share) + map[[y, high]] * share
    });
    let mut large = Array2::zeros((height, width));
    for ((low, high, share), mut row) in places(height, rows).into_iter().zip(large.outer_iter_mut()) {
        Zip::from(&mut row).and(lines.row(low)).and(lines.row(high)).for_each(|value, above, below| {
            *value = above * (1.0 - share) + below * share;
        });
    }
    large
}

/// The image times a mask of its height and width.
pub(super) fn under(image: &ArrayD<f32>, layout: Layout, mask: &Array2<f32>) -> ArrayD<f32> {
    // A channel after the other: several times as fast as by strides.
    if let (Layout::Nchw, Some(image_of), Some(mask)) = (layout, image.as_slice(), mask.as_slice()) {
        let mut masked = ArrayD::zeros(image.raw_dim());
        let all = masked.as_slice_mut().unwrap_or_default();
        for (to, from) in all.chunks_mut(mask.len().max(1)).zip(image_of.chunks(mask.len().max(1))) {
            for ((to, from), mask) in to.iter_mut().zip(from).zip(mask) {
                *to = from * mask;
            }
        }
        return masked;
    }
    let mask = match layout {
        Layout::Nchw => mask.view().insert_axis(Axis(0)).insert_axis(Axis(0)),
        Layout::Nhwc => mask.view().insert_axis(Axis(0)).insert_axis(Axis(3)),
    };
    image * &mask
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn corners_lie_on_corners() {
        let map = array![[0.0, 1.0], [2.0, 3.0]];
        let large = enlarged(map.view(), [3, 3], true);
        assert_eq!(large, array![[0.0, 0.5, 1.0], [1.0, 1.5, 2.0], [2.0, 2.5, 3.0]]);
        assert_eq!(enlarged(map.view(), [1, 1], true), array![[0.0]]);
        assert!(scaled(array![[2.0, 2.0]].view()).iter().all(|value| *value == 0.0));
    }

    #[test]
    fn masks_cover_every_channel_of_either_layout() {
        let mask = array![[0.0, 1.0]];
        let first = ArrayD::from_elem(vec![1, 3, 1, 2], 5.0f32);
        assert_eq!(under(&first, Layout::Nchw, &mask).sum(), 15.0);
        let last = ArrayD::from_elem(vec![1, 1, 2, 3], 5.0f32);
        assert_eq!(under(&last, Layout::Nhwc, &mask).sum(), 15.0);
    }
}
