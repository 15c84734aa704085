//! What there is to do costs so many passes, and so much time: told before it is done.

use std::time::Duration;

use camscope_core::{
    Result,
    evaluate::{Evaluator, about},
    explain::Explainer,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Run, report, sane};
use crate::{explain_cmd::many::Ready, output, setup::note_all};

impl Run<'_> {
    /// Says once how many passes are left to be run, and how long they will take, by what this picture takes, to those who see it before it
    /// begins.
    pub(super) fn tell_cost(
        &mut self,
        at: usize,
        explainer: &mut Explainer,
        (number, ready): (usize, &Ready),
    ) -> Result<()> {
        let is_told = self.is_announced || output::is_gathered();
        let Some((_, scorer)) = self.scorer.as_ref().filter(|_| !is_told) else { return Ok(()) };
        let Some(target) = self.targets(explainer, number).into_iter().next() else { return Ok(()) };
        let evaluator =
            Evaluator { scorer, explainer, metrics: &self.metrics, settings: self.settings, canceller: self.canceller };
        // A target that is not in this picture is told of when its turn comes; the next picture shows what it costs.
        let Ok(cost) = evaluator.rehearse(&ready.tensor, Some(ready.seen), &target) else { return Ok(()) };
        let explainer = &*explainer;
        let explaining_of = |method: usize| match method == at {
            true => (cost.explaining, cost.explaining_seconds),
            false => {
                let passes = about(explainer, &self.methods[method]);
                (passes, passes * cost.asking_seconds)
            }
        };
        let (mut passes, mut seconds) = (0.0, 0.0);
        for method in at..self.methods.len() {
            let (explaining, explaining_seconds) = explaining_of(method);
            let left = self.targets_left(explainer, self.done(method, 0));
            passes += left * (cost.passes + cost.explanations * (explaining - cost.explaining));
            seconds += left * (cost.seconds + cost.explanations * (explaining_seconds - cost.explaining_seconds));
            let all = self.targets_left(explainer, 0);
            let kept = (sane::KEPT / cost.heat.max(1)) as f64;
            let mut explanations = 0.0;
            for stage in 0..self.stages.len() {
                let left = self.targets_left(explainer, self.done(method, stage + 1));
                // Those before are made again where an earlier run made them, or where they are too many.
                let again = if stage == 0 { all - self.targets_left(explainer, self.done(method, 0)) } else { 0.0 };
                explanations += left + (left - kept).max(0.0) + again.min(left).min(kept);
            }
            passes += explanations * explaining;
            seconds += explanations * explaining_seconds;
        }
        note_all(&[format!(
            "some {} passes, about {}",
            report::rounded(passes),
            report::time(Duration::from_secs_f64(seconds))
        )]);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} passes, {eta} left");
        self.bar =
            ProgressBar::new(passes.round() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.is_announced = true;
        Ok(())
    }

    /// How many targets the pictures behind the first `done` have.
    fn targets_left(&self, explainer: &Explainer, done: usize) -> f64 {
        let asked = self.args.how.asked();
        let of = |input: &crate::input::Input| {
            let own = self.truth.targets(&asked, explainer.labels(), input.path());
            own.map_or(self.targets.len(), |targets| targets.len())
        };
        self.inputs[done.min(self.inputs.len())..].iter().map(of).sum::<usize>() as f64
    }
}
