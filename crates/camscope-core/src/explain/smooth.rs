//! Smoother heat: of changed images, or by a principal component.

use std::time::Instant;

use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD, Axis};

use super::{Explainer, Outcome, blank, milliseconds};
use crate::{
    error::{Error, Result},
    image::Seen,
    method::Sign,
    overlay::enlarge,
    runtime::Canceller,
    target::{self, TargetRef},
};

/// How heat is smoothed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Smooth {
    /// The first principal component of the weighted feature maps in place of their sum: pytorch-grad-cam's `eigen_smooth`.
    pub eigen: bool,
    /// The mean over the image and its mirror image, each times 0.9, 1 and 1.1: pytorch-grad-cam's `aug_smooth`. Heat then has the input's
    /// height and width.
    pub augment: bool,
}

/// What the image is multiplied by.
const FACTORS: [f32; 3] = [0.9, 1.0, 1.1];

impl Explainer {
    /// Explains some images, the heat of each the mean over changed ones. All else is said of the image as it is.
    pub(super) fn explain_augmented(
        &self,
        images: &[ArrayViewD<'_, f32>],
        seen: &[Seen],
        targets: &[TargetRef],
        canceller: &Canceller,
    ) -> Result<Vec<Outcome>> {
        if !self.network().takes_photos() {
            return Err(Error::NoPicture { what: "smoothing by `augment`" });
        }
        if let Some(target) = targets.iter().find(|target| target.is_local()) {
            let reason = "smoothing by `augment` mirrors the image, and this lies at one place of it".into();
            return Err(Error::BadTarget { spec: target.spec(), reason });
        }
        let before = self.work.planned();
        let mut outcomes = self.explain_once(images, seen, targets, canceller)?;
        // The changed images take as many runs each; of a method that announces none each image is one.
        let announced = self.work.planned() - before;
        match announced {
            0 => self.work.plan(2 * FACTORS.len() * images.len()),
            announced => self.work.plan_ahead(2 * FACTORS.len() * announced),
        }
        let layout = self.sidecar().preprocessing.layout;
        let [_, across] = layout.spatial_axes();
        for (at, (outcome, image)) in outcomes.iter_mut().zip(images).enumerate() {
            let start = Instant::now();
            let size = layout.spatial_axes().map(|axis| image.shape()[axis]);
            let changes = [false, true].into_iter().flat_map(|mirrored| FACTORS.map(|factor| (mirrored, factor)));
            let changed: Vec<(bool, ArrayD<f32>)> = changes
                .map(|(mirrored, factor)| {
                    let mut own = image.to_owned();
                    if mirrored {
                        own.invert_axis(Axis(across));
                    }
                    (mirrored, own.as_standard_layout().mapv(|value| value * factor))
                })
                .collect();
            // The same class for every change.
            let count = self.groups.len();
            let own = outcome.explanations.iter().step_by(count.max(1));
            let resolved: Vec<TargetRef> = own.map(|found| target::parse(&found.target.spec)).collect::<Result<_>>()?;
            let place: Vec<Seen> = seen.get(at).copied().into_iter().collect();
            let mut sums: Vec<Option<Array2<f32>>> = vec![None; outcome.explanations.len()];
            for some in changed.chunks(self.batch.max(1)) {
                let views: Vec<_> = some.iter().map(|(_, image)| image.view()).collect();
                let found = self.explain_once(&views, &place.repeat(views.len()), &resolved, canceller)?;
                if announced == 0 {
                    self.work.did(views.len());
                }
                for ((mirrored, _), found) in some.iter().zip(found) {
                    for (sum, explanation) in sums.iter_mut().zip(found.explanations) {
                        let Some(heat) = explanation.heatmap else { continue };
                        let mut heat = at_input(heat.view(), size, self.options.sign);
                        if *mirrored {
                            heat.invert_axis(Axis(1));
                        }
                        match sum {
                            Some(sum) => *sum += &heat,
                            None => *sum = Some(heat.as_standard_layout().into_owned()),
                        }
                    }
                }
            }
            let took = milliseconds(start) / outcome.explanations.len().max(1) as f64;
            for (explanation, sum) in outcome.explanations.iter_mut().zip(sums) {
                explanation.heatmap = sum.map(|sum| sum / changed.len() as f32);
                explanation.space = explanation.heatmap.as_ref().map(|heat| heat.shape().to_vec()).unwrap_or_default();
                let is_blank = explanation.heatmap.as_ref().is_none_or(blank::is_blank);
                explanation.blank = explanation.blank.filter(|_| is_blank);
                // Those of the image as it is would belong to other heat.
                (explanation.attributions, explanation.note) = (None, None);
                explanation.timing.method += took;
            }
        }
        Ok(outcomes)
    }
}

/// From 0 to 1, at the input's size and from 0 to 1 again, as pytorch-grad-cam scales; signed heat from −1 to 1.
fn at_input(heat: ArrayView2<'_, f32>, [height, width]: [usize; 2], sign: Sign) -> Array2<f32> {
    let small = scaled(heat.to_owned(), sign);
    scaled(enlarge(small.view(), width as u32, height as u32), sign)
}

fn scaled(heat: Array2<f32>, sign: Sign) -> Array2<f32> {
    const LEAST: f32 = 1e-7;
    if sign == Sign::Both {
        let largest = heat.iter().fold(0.0f32, |largest, heat| largest.max(heat.abs()));
        return heat / (LEAST + largest);
    }
    let least = heat.iter().copied().fold(f32::INFINITY, f32::min);
    let heat = heat - if least.is_finite() { least } else { 0.0 };
    let largest = heat.iter().copied().fold(0.0f32, f32::max);
    heat / (LEAST + largest)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn heat_is_scaled_before_and_after_it_is_enlarged() {
        let heat = at_input(array![[2.0, 4.0]].view(), [1, 4], Sign::Positive);
        assert!((heat - array![[0.0, 0.25, 0.75, 1.0]]).iter().all(|off| off.abs() < 1e-5));
        let signed = at_input(array![[-2.0, 1.0]].view(), [1, 2], Sign::Both);
        assert!((signed - array![[-1.0, 0.5]]).iter().all(|off| off.abs() < 1e-5));
        assert_eq!(at_input(array![[0.0, 0.0]].view(), [1, 2], Sign::Positive), array![[0.0, 0.0]]);
    }
}
