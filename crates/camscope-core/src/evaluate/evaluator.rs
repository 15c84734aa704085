//! All metrics for all heatmaps of a picture.

use std::cell::OnceCell;

use ndarray::{Array2, ArrayD, ArrayView2};

use super::{Asked, Confidence, Measured, Metric, Settings, Trial, sensitivity};
use crate::{
    error::{Error, Result},
    explain::{Explained, Explainer, Group},
    image::Seen,
    method::Method,
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
    /// About how many forward passes one explanation takes.
    pub fn explaining(&self) -> f64 {
        let chosen = &self.explainer.options().method;
        chosen.method.passes(&chosen.parameters, 512)
    }

    /// About how many forward passes one picture and target take.
    pub fn passes(&self) -> f64 {
        let (explaining, groups) = (self.explaining(), self.explainer.groups().len());
        let of = |metric: &&'static dyn Metric| match metric.name() {
            // One explanation has every layer.
            "sensitivity" => metric.passes(&self.settings, explaining),
            _ => metric.passes(&self.settings, explaining) * groups as f64,
        };
        1.0 + explaining + self.metrics.iter().map(of).sum::<f64>()
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
        let explaining = self.explaining();
        // As it was resolved: the same class for every changed picture.
        let target = asked.answered().target.clone();
        let seen: Vec<Seen> = seen.into_iter().collect();
        let canceller = self.canceller;
        let shown = explained(self.explainer, std::slice::from_ref(picture), (&seen, &target), canceller)?;
        told(explaining.round() as usize);
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
                    let made = of_disturbed(explainer, &asked, (&seen, canceller), &settings)?;
                    told((explaining * made.len() as f64).round() as usize);
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
        let shown = explained(explainer, std::slice::from_ref(picture), (seen, target), canceller)?;
        Ok(shown.into_iter().next().unwrap_or_default().into_iter().map(|(heat, _)| heat).collect())
    }
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
