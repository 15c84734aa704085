//! The sanity check, stage by stage: heatmaps of a model whose weights are random, from the top down to some layer.

use std::{collections::HashMap, sync::Arc};

use camscope_core::{
    Error, Result,
    evaluate::{
        Evaluator,
        sanity::{self, Similarity, Weighted},
    },
    explain::{Explained, Explainer},
    method::Chosen,
    model::Network,
    subject::TypedModel,
    target::TargetRef,
};
use ndarray::Array2;
use serde_json::Value;

use super::{Made, Run, line};
use crate::{explain_cmd::many::Ready, explain_cmd::sized::sized};

/// How many numbers of heatmaps before are kept; others are computed again at each stage. 64 MiB.
pub(super) const KEPT: usize = 16 << 20;

/// A stage.
pub(super) struct StageOf {
    /// The lowest of the layers whose weights are random.
    pub(super) layer: String,
    /// All of them.
    pub(super) random: Vec<Weighted>,
}

/// The stages of a model, at most so many.
///
/// # Errors
/// It has no weights.
pub(super) fn stages(network: &Network, stages: usize) -> Result<Vec<StageOf>> {
    let layers = sanity::layers(network.model.graph());
    if layers.is_empty() {
        return Err(Error::Value(
            "the model has no weights to randomise: no initialiser and no Constant node with numbers".into(),
        ));
    }
    let of = |count: usize| StageOf { layer: layers[count - 1].name.clone(), random: layers[..count].to_vec() };
    Ok(sanity::counts(layers.len(), stages).into_iter().map(of).collect())
}

/// A target as it came out, and its heatmaps, one a group of layers.
type Shown = (TargetRef, Vec<Array2<f32>>);

/// Heatmaps with the model's own weights, by the picture and which of its targets, with the target as it came out.
#[derive(Default)]
pub(super) struct Before {
    known: HashMap<(usize, usize), Shown>,
    numbers: usize,
}

impl Before {
    /// Keeps the heatmaps of a target, one a group of layers, while there is room.
    pub(super) fn keep(&mut self, of: (usize, usize), target: TargetRef, heat: Vec<Array2<f32>>) {
        let numbers: usize = heat.iter().map(Array2::len).sum();
        if self.numbers + numbers <= KEPT {
            self.numbers += numbers;
            self.known.insert(of, (target, heat));
        }
    }
}

impl Run<'_> {
    /// One stage of a method's sanity check, over all pictures.
    pub(super) fn stage(&mut self, at: usize, chosen: &Chosen, stage: usize) -> Result<()> {
        let done = self.done(at, stage + 1);
        if done == self.inputs.len() || self.is_over() {
            return Ok(());
        }
        let random = sanity::randomised(&self.network, &self.stages[stage].random, self.settings.seed);
        let (mut made, mut own): (Made, Made) = (None, None);
        for number in done..self.inputs.len() {
            if self.is_over() {
                break;
            }
            let mut lines = Vec::new();
            let outcome = self.ready(number).and_then(|ready| {
                let explainer = self.randomised(&mut made, chosen, &random, number)?;
                let outcome = self.compared((at, stage), (&explainer, &mut own), (number, &ready), &mut lines);
                made = Some((self.preprocessing[number].size, explainer));
                outcome
            });
            self.deliver((at, stage + 1), number, lines, outcome)?;
        }
        Ok(())
    }

    /// The explainer of a model with random weights, for a picture.
    fn randomised(&self, made: &mut Made, chosen: &Chosen, random: &Network, number: usize) -> Result<Explainer> {
        let preprocessing = &self.preprocessing[number];
        if let Some((_, explainer)) = made.take().filter(|(size, _)| *size == preprocessing.size) {
            return Ok(explainer);
        }
        let (network, sidecar) = sized(random, &self.sidecar, &self.args.input, preprocessing)?;
        let typed = TypedModel::for_targets(self.runtime, network, sidecar, &self.args.how.asked())?;
        Explainer::of(self.runtime, Arc::new(typed), self.of_method(chosen))
    }

    /// Compares the heatmaps of a picture; a line each.
    fn compared(
        &mut self,
        (at, stage): (usize, usize),
        (explainer, own): (&Explainer, &mut Made),
        (number, ready): (usize, &Ready),
        lines: &mut Vec<Value>,
    ) -> Result<()> {
        let chosen = self.methods[at].clone();
        let (height, width) = self.preprocessing[number].size;
        for (place, target) in self.targets(explainer, number).into_iter().enumerate() {
            let known = self.before.known.get(&(number, place)).cloned();
            let (target, before) = match known {
                Some(known) => known,
                None => {
                    let explainer = self.made(own, &chosen, number)?;
                    let ran = explainer.work().passes();
                    let shown = Evaluator::shown(&explainer, &ready.tensor, &[ready.seen], &target, self.canceller)?;
                    self.bar.inc((explainer.work().passes() - ran) as u64);
                    *own = Some((self.preprocessing[number].size, explainer));
                    let spec = shown.first().map(|(_, target)| target.spec.clone()).unwrap_or_default();
                    let resolved = camscope_core::target::parse(&spec).unwrap_or(target);
                    let heat: Vec<Array2<f32>> = shown.into_iter().map(|(heat, _)| heat).collect();
                    self.before.keep((number, place), resolved.clone(), heat.clone());
                    (resolved, heat)
                }
            };
            let ran = explainer.work().passes();
            let after: Vec<(Array2<f32>, Explained)> =
                Evaluator::shown(explainer, &ready.tensor, &[ready.seen], &target, self.canceller)?;
            self.bar.inc((explainer.work().passes() - ran) as u64);
            for (group, (before, (after, target))) in before.iter().zip(&after).enumerate() {
                let taps = &explainer.taps()[explainer.groups()[group].taps.clone()];
                let is_blank = before.iter().all(|heat| *heat == 0.0);
                let found =
                    (!is_blank).then(|| Similarity::of(before.view(), after.view(), [height as usize, width as usize]));
                let input = &self.inputs[number];
                let stage = (stage + 1, found.as_ref());
                lines.push(line::compared(self.args, &chosen, (input, taps), (group, target), stage));
            }
        }
        Ok(())
    }
}
