//! All metrics for all heatmaps of a picture.

use std::{cell::OnceCell, time::Instant};

use ndarray::{Array2, ArrayD, ArrayView2};

use super::{Asked, Confidence, Measured, Metric, Settings, Trial, sensitivity};
use crate::{
    error::{Error, Result},
    explain::{Explained, Explainer, Group, Tap},
    image::Seen,
    method::{Chosen, Method},
    runtime::Canceller,
    target::TargetRef,
};

/// Goes through metrics for what an explainer shows of pictures.
pub struct Evaluator<'a> {
    /// Runs the model on changed pictures: see [`Asked::new`].
    pub scorer: &'a Explainer,
    /// Makes the heatmaps, at each of its groups of layers.
    pub explainer: &'a mut Explainer,
    /// What is measured.
    pub metrics: &'a [&'static dyn Metric],
    /// How much is done.
    pub settings: Settings,
    /// Ends it between two operators of the model.
    pub canceller: &'a Canceller,
}

/// What came out for one heatmap.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Position in [`Explainer::groups`].
    pub group: usize,
    /// The target as it came out.
    pub target: Explained,
    /// How sure the model is of the unchanged picture.
    pub confidence: f32,
    /// Which number that is.
    pub measured: Confidence,
    /// The heatmap, at the layer's resolution.
    pub heat: Array2<f32>,
    /// What each of [`Evaluator::metrics`] gave.
    pub found: Vec<Measured>,
}

/// Where a target is in a picture's pixels, where that is known.
pub type Where<'a> = &'a dyn Fn(&Asked<'_>) -> Result<Option<Array2<bool>>>;

/// A picture's heatmaps, one a group, with the target as it came out.
type Shown = Vec<(Array2<f32>, Explained)>;

/// For each disturbed picture its heatmaps, one a group.
type Disturbed = Vec<Vec<Array2<f32>>>;

impl Evaluator<'_> {
    /// What one picture and target cost. A map that means nothing is measured once in small, so that the time is this machine's; an explanation
    /// that is not too dear is made twice, and what it took is counted.
    ///
    /// # Errors
    /// Those of [`Evaluator::picture`].
    pub fn rehearse(&self, picture: &ArrayD<f32>, seen: Option<Seen>, target: &TargetRef) -> Result<Cost> {
        let asked = Asked::new(self.scorer, picture, seen, target, self.canceller)?;
        let asking = timed(|| asked.confidences(1, &|_| asked.picture().to_owned()))?.1;
        let groups = self.explainer.groups().len() as f64;
        let about = about(self.explainer, &self.explainer.options().method);
        let (explaining, explaining_seconds, numbers) = if about <= AFFORDABLE {
            let seen: Vec<Seen> = seen.into_iter().collect();
            let target = &asked.answered().target;
            let once = || explained(self.explainer, std::slice::from_ref(picture), (&seen, target), self.canceller);
            // The first run of a session takes longer.
            once()?;
            let before = self.explainer.work().passes();
            let (shown, seconds) = timed(once)?;
            let heat = shown.iter().flatten().map(|(heat, _)| heat.len()).sum();
            ((self.explainer.work().passes() - before) as f64, seconds, heat)
        } else {
            (about, about * asking, 0)
        };
        let small = Settings { steps: 2, road: 2, squares: 2, disturbed: 1, ..self.settings };
        let heat = Array2::from_shape_fn((7, 7), |(y, x)| (7 * y + x) as f32);
        let map = asked.enlarged(heat.view());
        let mut cost = Cost {
            explaining,
            explaining_seconds,
            explanations: 1.0,
            asking_seconds: asking,
            heat: numbers,
            passes: 1.0 + explaining,
            seconds: asking + explaining_seconds,
        };
        for metric in self.metrics {
            let mut same = || Ok(vec![heat.clone()]);
            let mut trial = Trial {
                asked: &asked,
                heat: heat.view(),
                map: map.view(),
                settings: &small,
                truth: None,
                disturbed: &mut same,
            };
            let before = self.scorer.work().passes();
            let seconds = timed(|| metric.measure(&mut trial))?.1;
            let ran = self.scorer.work().passes() - before;
            let passes = metric.passes(&self.settings, explaining);
            // One explanation has every layer.
            let (times, own) = match (metric.name(), ran) {
                ("sensitivity", _) => {
                    cost.explanations += self.settings.disturbed as f64;
                    (1.0, self.settings.disturbed as f64 * explaining_seconds)
                }
                (_, 0) => (groups, seconds),
                (_, ran) => (groups, passes * seconds / ran as f64),
            };
            cost.passes += times * passes;
            cost.seconds += times * own;
        }
        Ok(cost)
    }

    /// One picture, `[1, …]` as the model takes it, and one target: an entry a group of layers. `seen` says what of its photo the picture shows,
    /// `place` where the target is; `told` hears after each run how many forward passes it took.
    ///
    /// # Errors
    /// The target names what the model doesn't have; a layer has no heatmap; the runtime fails.
    pub fn picture(
        &mut self,
        picture: &ArrayD<f32>,
        seen: Option<Seen>,
        target: &TargetRef,
        place: Where<'_>,
        told: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Evaluated>> {
        let asked = Asked::new(self.scorer, picture, seen, target, self.canceller)?.telling(told);
        told(1);
        let work = std::sync::Arc::clone(self.explainer.work());
        let ran = |before: usize| told(work.passes() - before);
        let before = work.passes();
        // As it was resolved: the same class for every changed picture.
        let target = asked.answered().target.clone();
        let seen: Vec<Seen> = seen.into_iter().collect();
        let canceller = self.canceller;
        let shown = explained(self.explainer, std::slice::from_ref(picture), (&seen, &target), canceller)?;
        ran(before);
        let truth = place(&asked)?;
        let groups: Vec<Group> = self.explainer.groups().to_vec();
        let disturbed: OnceCell<Disturbed> = OnceCell::new();
        let (settings, metrics) = (self.settings, self.metrics);
        let mut all = Vec::with_capacity(groups.len());
        for (group, _) in groups.iter().enumerate() {
            let (heat, target) =
                shown.first().and_then(|one| one.get(group)).cloned().ok_or_else(|| no_heat(self.explainer))?;
            let map = asked.enlarged(heat.view());
            let explainer = &mut *self.explainer;
            let mut of_disturbed = || -> Result<Vec<Array2<f32>>> {
                if disturbed.get().is_none() {
                    let before = work.passes();
                    let made = of_disturbed(explainer, &asked, (&seen, canceller), &settings)?;
                    ran(before);
                    let _ = disturbed.set(made);
                }
                let of_group = |one: &Vec<Array2<f32>>| one.get(group).cloned();
                Ok(disturbed.get().into_iter().flatten().filter_map(of_group).collect())
            };
            let mut trial = Trial {
                asked: &asked,
                heat: heat.view(),
                map: map.view(),
                settings: &settings,
                truth: truth.as_ref().map(|truth| truth.view()),
                disturbed: &mut of_disturbed,
            };
            let found = metrics.iter().map(|metric| metric.measure(&mut trial)).collect::<Result<_>>()?;
            all.push(Evaluated {
                group,
                target,
                confidence: asked.confidence(),
                measured: asked.measured(),
                heat,
                found,
            });
        }
        Ok(all)
    }

    /// The heatmaps of a picture alone, one a group.
    ///
    /// # Errors
    /// Those of [`Evaluator::picture`].
    pub fn heatmaps(
        explainer: &Explainer,
        picture: &ArrayD<f32>,
        seen: &[Seen],
        target: &TargetRef,
        canceller: &Canceller,
    ) -> Result<Vec<Array2<f32>>> {
        Ok(Self::shown(explainer, picture, seen, target, canceller)?.into_iter().map(|(heat, _)| heat).collect())
    }

    /// The same, each with the target as it came out.
    ///
    /// # Errors
    /// Those of [`Evaluator::picture`].
    pub fn shown(
        explainer: &Explainer,
        picture: &ArrayD<f32>,
        seen: &[Seen],
        target: &TargetRef,
        canceller: &Canceller,
    ) -> Result<Vec<(Array2<f32>, Explained)>> {
        let shown = explained(explainer, std::slice::from_ref(picture), (seen, target), canceller)?;
        Ok(shown.into_iter().next().unwrap_or_default())
    }
}

/// What evaluating one picture and target costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Forward passes of one explanation.
    pub explaining: f64,
    /// Seconds that it takes.
    pub explaining_seconds: f64,
    /// How many explanations are made: the heatmap itself, and those of disturbed pictures.
    pub explanations: f64,
    /// Seconds of a forward pass.
    pub asking_seconds: f64,
    /// How many numbers the heatmaps of an explanation have; 0 where none was made.
    pub heat: usize,
    /// Forward passes in all.
    pub passes: f64,
    /// Seconds in all.
    pub seconds: f64,
}

/// An explanation of more passes than this is not made to see what it costs.
const AFFORDABLE: f64 = 64.0;

/// About how many forward passes an explanation by a method at an explainer's layers takes, as the method has it.
pub fn about(explainer: &Explainer, chosen: &Chosen) -> f64 {
    let channels = |tap: &Tap| match tap {
        Tap::Layer(layer) => layer.shape.get(layer.layout.channel_axis()).copied().flatten(),
        Tap::Input | Tap::Other(_) => None,
    };
    let channels = explainer.taps().iter().filter_map(channels).max().unwrap_or(1);
    // What lies behind each layer is run for itself.
    let layers = if chosen.method.needs().tail { explainer.taps().len().max(1) } else { 1 };
    chosen.method.passes(&chosen.parameters, channels) * layers as f64
}

/// What something gives, and the seconds that it took.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    Ok((work()?, start.elapsed().as_secs_f64()))
}

/// What is shown of each picture.
fn explained(
    explainer: &Explainer,
    pictures: &[ArrayD<f32>],
    (seen, target): (&[Seen], &TargetRef),
    canceller: &Canceller,
) -> Result<Vec<Shown>> {
    let mut all = Vec::with_capacity(pictures.len());
    for some in pictures.chunks(explainer.batch().max(1)) {
        let views: Vec<_> = some.iter().map(|picture| picture.view()).collect();
        let seen = seen.repeat(some.len());
        let outcomes = explainer.explain_until(&views, &seen, std::slice::from_ref(target), canceller)?;
        for outcome in outcomes {
            let heat = outcome.explanations.into_iter().map(|explanation| {
                let heat = explanation.heatmap.ok_or_else(|| no_heat(explainer))?;
                Ok((heat, explanation.target))
            });
            all.push(heat.collect::<Result<_>>()?);
        }
    }
    Ok(all)
}

/// The heatmaps of slightly disturbed pictures. A method that draws random numbers draws others for each.
fn of_disturbed(
    explainer: &mut Explainer,
    asked: &Asked<'_>,
    (seen, canceller): (&[Seen], &Canceller),
    settings: &Settings,
) -> Result<Disturbed> {
    let seeds = (1..=settings.disturbed as u64).map(|at| settings.seed.wrapping_add(at));
    let pictures: Vec<(u64, ArrayD<f32>)> =
        seeds.map(|seed| (seed, asked.as_input(sensitivity::disturbed(asked, seed)))).collect();
    let target = &asked.answered().target;
    let heat = |shown: Vec<Shown>| -> Disturbed {
        shown.into_iter().map(|groups| groups.into_iter().map(|(heat, _)| heat).collect()).collect()
    };
    if let Method::Cam(_) = explainer.options().method.method {
        let pictures: Vec<ArrayD<f32>> = pictures.into_iter().map(|(_, picture)| picture).collect();
        return Ok(heat(explained(explainer, &pictures, (seen, target), canceller)?));
    }
    let own = explainer.options().seed;
    let mut all = Vec::with_capacity(pictures.len());
    for (seed, picture) in pictures {
        explainer.reseed(own.wrapping_add(seed));
        let shown = explained(explainer, &[picture], (seen, target), canceller);
        explainer.reseed(own);
        all.extend(heat(shown?));
    }
    Ok(all)
}

fn no_heat(explainer: &Explainer) -> Error {
    let method = explainer.options().method.method.name();
    Error::Value(format!("{method} gives no heatmap there: at the input there is only a gradient"))
}

/// The norm of a map is not needed where all of it is zero.
pub(super) fn is_blank(heat: ArrayView2<'_, f32>) -> bool {
    heat.iter().all(|value| *value == 0.0)
}
