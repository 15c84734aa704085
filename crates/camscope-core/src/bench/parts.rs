//! What is timed: the plain forward pass, an explanation, and what more classes and layers cost.

use std::sync::Arc;

use ndarray::ArrayD;
use onnx_grad_ort::measure::{Plan, Side, rounds};

use super::{
    plain::Plain,
    reach::{Everywhere, ToInput},
    together::BatchTimes,
};
use crate::{
    error::{Error, Result},
    explain::{Explainer, Input, Options},
    method::Method,
    runtime::{Canceller, Runtime},
    subject::TypedModel,
    target::{self, ClassSpec, Evaluated, TargetRef, ranking},
};

/// Milliseconds of each part, one a round.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Of one image, in the order of [`super::Millis`].
    pub one: [Vec<f64>; 7],
    /// Of a batch, where the model takes one.
    pub batch: Option<BatchTimes>,
}

/// A model made ready to be timed on one image.
pub struct Parts {
    plain: Plain,
    explainer: Explainer,
    to_input: ToInput,
    everywhere: Everywhere,
    tensor: ArrayD<f32>,
    targets: Vec<TargetRef>,
    resolved: Vec<Evaluated>,
    other: Evaluated,
}

impl Parts {
    /// Makes a model ready: `tensor` as it takes it, a batch of one first; `targets` are explained at the layers of `options`.
    ///
    /// # Errors
    /// The model can't be explained so, it has no such target, or the runtime refuses.
    pub fn new(
        runtime: &'static Runtime,
        subject: &Arc<TypedModel>,
        options: &Options,
        tensor: ArrayD<f32>,
        targets: &[TargetRef],
    ) -> Result<Self> {
        let explainer = Explainer::of(runtime, Arc::clone(subject), options.clone())?;
        let to_input = ToInput::new(runtime, subject, options)?;
        let everywhere = Everywhere::new(runtime, subject, options)?;
        let session = runtime.session_from_file(&subject.network().path, &options.session)?;
        let plain = Plain::new(session, &tensor, subject.fed(subject.network().input().batch().unwrap_or(1))?)?;
        let forward = explainer.forward(&tensor, &Canceller::new())?;
        let evaluate = |target: &TargetRef| {
            let evaluated = explainer.evaluate(&forward, target)?.into_iter().next();
            evaluated.ok_or_else(|| Error::Value("no image was explained".into()))
        };
        let resolved = targets.iter().map(evaluate).collect::<Result<Vec<_>>>()?;
        let classes: Vec<usize> = resolved.iter().filter_map(|found| found.class).map(|found| found.class).collect();
        let other = match (resolved.first(), forward.scores.is_empty()) {
            (Some(first), true) => {
                let own = first.target.spec();
                let said = explainer.predict(&forward)?.into_iter().flat_map(|said| said.items);
                let like = |spec: &String| *spec != own && spec.split(':').next() == Some(first.target.kind());
                let mut found = ["box:1", "box:2"].map(str::to_owned).into_iter().chain(said.map(|item| item.target));
                let other = found.by_ref().filter(like).find_map(|spec| evaluate(&target::parse(&spec).ok()?).ok());
                match other {
                    Some(other) => other,
                    None => evaluate(&target::parse(&format!("not:{own}"))?)?,
                }
            }
            _ => evaluate(&ClassSpec::Index(another(forward.logits(), &classes)).target())?,
        };
        let targets = targets.to_vec();
        Ok(Self { plain, explainer, to_input, everywhere, tensor, targets, resolved, other })
    }

    /// The plain session.
    pub fn plain(&self) -> &Plain {
        &self.plain
    }

    /// The explainer of the layers asked for.
    pub fn explainer(&self) -> &Explainer {
        &self.explainer
    }

    /// The explainer of the input alone.
    pub fn to_input(&self) -> &ToInput {
        &self.to_input
    }

    /// The explainer of every layer.
    pub fn everywhere(&self) -> &Everywhere {
        &self.everywhere
    }

    /// The targets that are explained.
    pub fn targets(&self) -> &[Evaluated] {
        &self.resolved
    }

    /// The target that is switched to.
    pub fn other(&self) -> &Evaluated {
        &self.other
    }

    /// Times the parts side by side; see [`rounds`].
    ///
    /// # Errors
    /// The runtime fails.
    pub fn measure(&self, plan: &Plan, progress: &mut dyn FnMut(usize)) -> Result<[Vec<f64>; 7]> {
        let canceller = Canceller::new();
        let at_layer = self.explainer.forward(&self.tensor, &canceller)?;
        let first = std::slice::from_ref(self.resolved.first().unwrap_or(&self.other));
        let other = std::slice::from_ref(&self.other);
        let (to_input, everywhere) = (&self.to_input.explainer, &self.everywhere.explainer);
        let at_input = to_input.forward(&self.tensor, &canceller)?;
        let at_all = everywhere.forward(&self.tensor, &canceller)?;
        // The plain forward pass reads a tensor of the runtime's: so do the others.
        let input = |explainer: &Explainer| explainer.input(self.tensor.clone());
        let (own, back, all) = (input(&self.explainer)?, input(to_input)?, input(everywhere)?);
        let there_and_back = |explainer: &Explainer, input: &Input| {
            let forward = explainer.forward_of_input(input, &canceller)?;
            explainer.backward(&forward, first, &canceller)?.wait()
        };
        let mut sides = [
            Side::new(|| self.plain.run()),
            Side::new(|| explain(&self.explainer, &own, &self.targets)),
            Side::new(|| {
                let backward = self.explainer.backward(&at_layer, other, &canceller)?;
                heatmaps(&self.explainer, &at_layer, &backward)
            }),
            Side::new(|| there_and_back(to_input, &back)),
            Side::new(|| to_input.backward(&at_input, other, &canceller)?.wait()),
            Side::new(|| there_and_back(everywhere, &all)),
            Side::new(|| everywhere.backward(&at_all, other, &canceller)?.wait()),
        ];
        let mut times = rounds(&mut sides, plan, progress)?.into_iter();
        Ok(std::array::from_fn(|_| times.next().unwrap_or_default()))
    }
}

/// From a prepared image to the heatmaps of the targets at every tap.
pub(super) fn explain(explainer: &Explainer, input: &Input, targets: &[TargetRef]) -> Result<()> {
    if let Method::Host(_) = explainer.options().method.method {
        return explainer.explain_input(input, targets).map(drop);
    }
    let canceller = Canceller::new();
    let forward = explainer.forward_of_input(input, &canceller)?;
    for target in targets {
        let evaluated = explainer.evaluate(&forward, target)?;
        let backward = explainer.backward(&forward, &evaluated, &canceller)?;
        heatmaps(explainer, &forward, &backward)?;
    }
    Ok(())
}

fn heatmaps(
    explainer: &Explainer,
    forward: &crate::explain::Forward,
    backward: &crate::explain::Backward,
) -> Result<()> {
    for tap in 0..explainer.taps().len() {
        explainer.heatmap(forward, backward, tap, explainer.options().method.method)?;
    }
    Ok(())
}

/// The likeliest class that is none of these; the first of these where the model has no other.
fn another(logits: &[f32], classes: &[usize]) -> usize {
    let others = ranking(logits).into_iter().find(|class| !classes.contains(class));
    others.or(classes.first().copied()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::another;

    #[test]
    fn the_class_that_is_switched_to_is_another_one_where_there_is_one() {
        assert_eq!(another(&[1.0, 3.0, 2.0], &[1]), 2);
        assert_eq!(another(&[1.0, 3.0, 2.0], &[1, 2]), 0);
        assert_eq!(another(&[1.0], &[0]), 0);
    }
}
