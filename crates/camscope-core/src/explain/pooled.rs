//! What lies behind a layer that is averaged over all places and goes into one linear classifier: scores in closed form, without a pass.

use ndarray::{Array1, Array2, ArrayD, ArrayView1, ArrayView3, Axis, s};

use super::{Explainer, Forward, nonfinite};
use crate::{
    error::{Error, Result},
    image::Viewport,
    method::Means,
    target::{Answer, Evaluated, Scores},
};

/// Changes of a layer that are turned into class scores at once.
const AT_ONCE: usize = 32;

/// A layer of one image, and the classifier behind its mean.
pub(super) struct Pooled<'a> {
    /// `[classes, channels]`.
    weights: &'a Array2<f32>,
    /// The mean of each channel.
    means: Array1<f64>,
}

impl<'a> Pooled<'a> {
    /// `None`: the target reads something else than class scores.
    pub(super) fn new(
        of: &Explainer,
        weights: &'a Array2<f32>,
        layer: ArrayView3<'_, f32>,
        evaluated: &Evaluated,
    ) -> Option<Self> {
        let network = of.network();
        let logits = &network.classes.as_ref()?.logits;
        let reads = evaluated.target.reads(network).ok()?;
        let fits = matches!(&reads[..], [one] if one == logits) && weights.ncols() == layer.len_of(Axis(0));
        let means = || layer.outer_iter().map(|channel| mean(channel.iter().copied())).collect();
        fits.then(|| Self { weights, means: means() })
    }

    /// The target's score for each change of the layer.
    ///
    /// # Errors
    /// A score is no number.
    pub(super) fn scores(
        &self,
        of: &Explainer,
        (forward, image): (&Forward, usize),
        evaluated: &Evaluated,
        changed: &Means,
    ) -> Result<Vec<f32>> {
        let scores = match evaluated.target.is_linear(of.options.score) {
            true => self.along_seed(evaluated, changed),
            false => self.one_by_one(of, (forward, image), evaluated, changed)?,
        };
        match scores.iter().all(|score| score.is_finite()) {
            true => Ok(scores),
            false => Err(nonfinite::not_finite(of, &forward.input, &evaluated.target.spec())),
        }
    }

    /// Of a score that is a sum of weighted class scores.
    fn along_seed(&self, evaluated: &Evaluated, changed: &Means) -> Vec<f32> {
        let mut slope = Array1::<f64>::zeros(self.weights.ncols());
        for (seed, row) in evaluated.seeds.iter().flat_map(|(_, seed)| seed.iter()).zip(self.weights.outer_iter()) {
            if *seed != 0.0 {
                slope.zip_mut_with(&row, |sum, weight| *sum += f64::from(*seed) * f64::from(*weight));
            }
        }
        let score = f64::from(evaluated.score);
        let moved = |by: f64| (score + by) as f32;
        match changed {
            Means::WithoutEach => slope.iter().zip(&self.means).map(|(slope, mean)| moved(-slope * mean)).collect(),
            Means::Each(all) => {
                let along = |own: ArrayView1<'_, f32>| {
                    let parts = own.iter().zip(&self.means).zip(&slope);
                    parts.map(|((own, mean), slope)| slope * (f64::from(*own) - mean)).sum()
                };
                all.outer_iter().map(|own| moved(along(own))).collect()
            }
        }
    }

    /// Of any other: the class scores of each change, and what the target makes of them.
    fn one_by_one(
        &self,
        of: &Explainer,
        (forward, image): (&Forward, usize),
        evaluated: &Evaluated,
        changed: &Means,
    ) -> Result<Vec<f32>> {
        let network = of.network();
        let classes = network.classes.as_ref().ok_or_else(|| network.is_no("classifier"))?;
        let shape = forward.shape_of_one(&classes.logits)?;
        let (channels, count) = (self.weights.ncols(), self.weights.nrows());
        let changes = if let Means::Each(all) = changed { all.nrows() } else { channels };
        let logits = Array1::from_iter(forward.value(&classes.logits, image)?);
        if logits.len() != count {
            return Err(Error::Value("the classifier has other classes than its scores".into()));
        }
        let mut scores = Vec::with_capacity(changes);
        for first in (0..changes).step_by(AT_ONCE) {
            let last = changes.min(first + AT_ONCE);
            let mut rows = Array2::<f32>::zeros((last - first, count));
            match changed {
                Means::WithoutEach => {
                    for (class, weights) in self.weights.outer_iter().enumerate() {
                        for channel in first..last {
                            let gone = f64::from(weights[channel]) * self.means[channel];
                            rows[[channel - first, class]] = (f64::from(logits[class]) - gone) as f32;
                        }
                    }
                }
                Means::Each(all) => {
                    let apart = &all.slice(s![first..last, ..]).mapv(f64::from) - &self.means;
                    rows.assign(&apart.mapv(|by| by as f32).dot(&self.weights.t()));
                    rows += &logits;
                }
            }
            for row in rows.outer_iter() {
                let logits = row.to_vec();
                let value = ArrayD::from_shape_vec(shape.clone(), logits.clone());
                let value = value.map_err(|error| Error::Value(error.to_string()))?;
                let other = |name: &str| Error::Value(format!("`{name}` was not computed"));
                let (height, width) = of.sidecar().preprocessing.size;
                let answer = Answer {
                    scores: Some(&Scores::of(logits, classes)),
                    classes: Some(classes),
                    labels: of.labels(),
                    task: network.task.as_ref().map(|found| &*found.task),
                    viewport: Viewport::of([height as usize, width as usize]),
                    score: of.options.score,
                    output: &|name| if name == classes.logits { Ok(value.clone()) } else { Err(other(name)) },
                    shape: &|name| if name == classes.logits { Ok(shape.clone()) } else { Err(other(name)) },
                    other: &|_, name| Err(other(name)),
                };
                scores.push(evaluated.target.evaluate(&answer)?.score);
            }
        }
        Ok(scores)
    }
}

fn mean(values: impl ExactSizeIterator<Item = f32>) -> f64 {
    let count = values.len().max(1) as f64;
    values.map(f64::from).sum::<f64>() / count
}
