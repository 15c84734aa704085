//! `camscope evaluate`: how good the heatmaps of methods and layers are.

mod cost;
mod line;
mod page;
pub(crate) mod plot;
mod report;
mod sane;
mod table;
mod truth;

use std::{ops::Range, path::PathBuf, process::ExitCode, sync::Arc};

use camscope_core::{
    EngineError, Error, Result,
    evaluate::{self, Asked, Evaluator, METRICS, Metric, Settings},
    explain::{Explainer, Options},
    layer::Choice,
    method::{Chosen, Method, Sign},
    model::{Network, Preprocessing, Sidecar},
    runtime::{Canceller, Runtime},
    subject::TypedModel,
    target::TargetRef,
    text::printable_path,
};
use indicatif::ProgressBar;
use serde_json::Value;

use self::{
    report::Report,
    sane::{Before, StageOf},
    truth::Truth,
};
use crate::{
    cli::EvaluateArgs,
    explain_cmd::{
        many::{Ready, read},
        sized::sized,
    },
    input::{Input, prepared},
    kept::{Kept, Place, settings},
    many_pictures::Picture,
    output::{self, Told},
    plugins,
    report::pictures,
    setup::{create_folder, methods, note_all, note_estimate, note_provider, open, options, subject},
    whole::{end_between_files, end_by, finish_what_is_begun, stopped},
};

/// Runs `camscope evaluate`.
///
/// # Errors
/// The model cannot be explained, an option asks for what there isn't, or the file with boxes is not as it should be. A photo that cannot be
/// read is reported, the others go on, and the exit status is 1.
pub(crate) fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    end_between_files();
    evaluated(args, &Canceller::new()).map(|(code, _)| code)
}

/// Does it, once plugins are loaded, until it is cancelled: how it ended, and the table. With `--json` the lines are printed as they come.
///
/// # Errors
/// Those of [`run`], or [`Cancelled`](camscope_core::runtime::Error::Cancelled).
pub(crate) fn evaluated(args: &EvaluateArgs, canceller: &Canceller) -> Result<(ExitCode, String)> {
    let metrics = chosen_metrics(args)?;
    if Sign::from(args.how.sign) == Sign::Both {
        return Err(Error::Value("heat of both signs has no most relevant pixels: leave --sign both out".into()));
    }
    let (mut network, mut sidecar) = open(&args.model, &args.input)?;
    let mut pictures = args.from.given(&args.images, &args.tensor)?;
    if pictures.is_empty() {
        note_all(&["there is no photo for this shard: it is done".into()]);
        return Ok((ExitCode::SUCCESS, String::new()));
    }
    let are_arrays = !args.tensor.is_empty();
    let mut inputs = Input::of_pictures(&pictures, are_arrays, &mut network, &mut sidecar)?;
    let mut preprocessing = prepared(&inputs, &sidecar.preprocessing);
    // One size after the other: the model has to be made ready for each.
    let mut order: Vec<_> = inputs.into_iter().zip(preprocessing).zip(pictures).collect();
    order.sort_by_key(|((_, preprocessing), _)| preprocessing.size);
    ((inputs, preprocessing), pictures) = order.into_iter().unzip();
    let truth = Truth::read(args, &inputs)?;
    for file in args.csv.iter().filter_map(|csv| csv.parent()).filter(|folder| !folder.as_os_str().is_empty()) {
        create_folder(file)?;
    }
    let page_pictures = args.keep.report.as_ref().map(|folder| folder.join(pictures::FOLDER));
    for folder in args.plot.iter().chain(&args.output).chain(&page_pictures) {
        create_folder(folder)?;
    }
    note_all(&sidecar.remarks());
    let base = Options {
        batch: args.batch.into(),
        gradients: false,
        verify: false,
        ..options(&args.how, &args.run, &sidecar)?
    };
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let first = preprocessing.first().map_or(&sidecar.preprocessing, |first| first).clone();
    let (own, own_sidecar) = sized(&network, &sidecar, &args.input, &first)?;
    let (typed, targets) = subject(runtime, own, own_sidecar, &args.how)?;
    let methods = methods(&args.how, typed.sidecar(), &targets)?;
    note_all(&typed.label_mismatch().into_iter().collect::<Vec<_>>());
    truth.check_labels(typed.labels(), &inputs)?;
    let settings = Settings { steps: args.steps.into(), seed: args.how.seed, ..Settings::default() };
    let stages = args.sanity.map(|stages| sane::stages(&network, stages.into())).transpose()?.unwrap_or_default();
    let kept = kept(args, &pictures, methods.len() * (1 + stages.len()))?;
    let report = Report::new(args, &metrics, &methods, &stages)?;
    let mut run = Run {
        args,
        runtime,
        network,
        sidecar,
        base,
        targets,
        truth,
        metrics,
        settings,
        inputs: &inputs,
        pictures: &pictures,
        preprocessing: &preprocessing,
        methods: &methods,
        stages,
        kept: kept.as_ref(),
        typed: Some((first.size, Arc::new(typed))),
        scorer: None,
        canceller,
        before: Before::default(),
        report,
        bar: ProgressBar::hidden(),
        is_announced: false,
        delivered: 0,
        failed: kept.as_ref().is_some_and(Kept::has_failures),
        told: Told::default(),
    };
    finish_what_is_begun(kept.is_some());
    for (at, chosen) in methods.iter().enumerate() {
        if let Err(error) = run.method(at, chosen) {
            if methods.len() == 1 || canceller.is_cancelled() {
                run.bar.finish_and_clear();
                return Err(error);
            }
            run.failed = true;
            let name = chosen.method.name();
            run.bar.suspend(|| output::complain(&format!("{name}: {error}"), error.help().as_deref()));
        }
    }
    finish_what_is_begun(false);
    run.bar.finish_and_clear();
    if let Some(kept) = &kept {
        if let Some(signal) = stopped() {
            kept.say_how_to_go_on(run.delivered);
            end_by(signal);
        }
        if kept.is_broken() {
            return Ok((ExitCode::FAILURE, String::new()));
        }
        kept.each(|object| run.report.add(object))?;
    }
    let failed = run.failed;
    let table = run.report.finish(kept.as_ref())?;
    Ok((if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }, table))
}

/// The results of so many passes, where they are to be kept.
fn kept(args: &EvaluateArgs, pictures: &[Picture], passes: usize) -> Result<Option<Kept>> {
    let Some(folder) = args.output.as_ref().or(args.keep.report.as_ref()) else { return Ok(None) };
    let mut options = args.clone();
    options.images.clear();
    options.tensor.clear();
    (options.from, options.csv, options.plot) = Default::default();
    (options.keep.resume, options.json) = (false, false);
    let mut files = vec![args.model.as_path()];
    files.extend(args.boxes.as_deref());
    let page_pictures = args.keep.report.as_ref().map(|folder| folder.join(pictures::FOLDER));
    let csv = args.csv.as_ref().and_then(|csv| csv.parent()).map(PathBuf::from);
    let written = args.keep.report.iter().chain(&page_pictures).chain(&args.plot).chain(&csv).cloned().collect();
    let place = Place { folder, written, shard: args.from.shard, resume: args.keep.resume };
    // Each by itself.
    let batches: Vec<Range<usize>> = (0..pictures.len()).map(|at| at..at + 1).collect();
    Kept::open(&place, pictures, &batches, passes, settings(&files, &options)).map(Some)
}

/// The metrics that are asked for; those that need to be told where things are only where that is told.
fn chosen_metrics(args: &EvaluateArgs) -> Result<Vec<&'static dyn Metric>> {
    let is_told = args.boxes.is_some() || args.masks.is_some();
    if args.metric.is_empty() {
        return Ok(METRICS.iter().copied().filter(|metric| is_told || !metric.needs_truth()).collect());
    }
    let mut chosen: Vec<&'static dyn Metric> = Vec::new();
    for name in &args.metric {
        let metric = evaluate::by_name(name)?;
        if metric.needs_truth() && !is_told {
            return Err(Error::Value(format!(
                "{} has to be told where things are: --boxes FILE or --masks DIR",
                metric.name()
            )));
        }
        if !chosen.iter().any(|known| known.name() == metric.name()) {
            chosen.push(metric);
        }
    }
    Ok(chosen)
}

/// The work that is done.
struct Run<'a> {
    args: &'a EvaluateArgs,
    runtime: &'static Runtime,
    network: Network,
    sidecar: Sidecar,
    base: Options,
    targets: Vec<TargetRef>,
    truth: Truth,
    metrics: Vec<&'static dyn Metric>,
    settings: Settings,
    inputs: &'a [Input],
    pictures: &'a [Picture],
    preprocessing: &'a [Arc<Preprocessing>],
    methods: &'a [Chosen],
    /// Of the sanity check; none without it.
    stages: Vec<StageOf>,
    kept: Option<&'a Kept>,
    /// The model for pictures of one size.
    typed: Option<((u32, u32), Arc<TypedModel>)>,
    /// The same, made ready to be asked of changed pictures.
    scorer: Option<((u32, u32), Explainer)>,
    canceller: &'a Canceller,
    before: Before,
    report: Report<'a>,
    bar: ProgressBar,
    is_announced: bool,
    /// How many pictures the pass that was the last has behind it.
    delivered: usize,
    failed: bool,
    /// What was said of a picture that failed: it fails again for the next method.
    told: Told,
}

/// An explainer for pictures of one size.
type Made = Option<((u32, u32), Explainer)>;

impl Run<'_> {
    /// One method, for all pictures; then the stages of its sanity check.
    fn method(&mut self, at: usize, chosen: &Chosen) -> Result<()> {
        self.before = Before::default();
        self.measured(at, chosen)?;
        for stage in 0..self.stages.len() {
            self.stage(at, chosen, stage)?;
        }
        Ok(())
    }

    /// The pass, from 1, over all pictures of a method's measurement (`stage` 0) or of a stage of its sanity check (from 1).
    fn pass(&self, method: usize, stage: usize) -> usize {
        method * (1 + self.stages.len()) + stage + 1
    }

    /// How many pictures of that pass an earlier run did.
    fn done(&self, method: usize, stage: usize) -> usize {
        self.kept.map_or(0, |kept| kept.batches_done(self.pass(method, stage) - 1))
    }

    /// Whether to end: what is done is kept.
    fn is_over(&self) -> bool {
        self.kept.is_some_and(|kept| stopped().is_some() || kept.is_broken())
    }

    fn measured(&mut self, at: usize, chosen: &Chosen) -> Result<()> {
        let mut made: Made = None;
        let done = self.done(at, 0);
        for number in done..self.inputs.len() {
            if self.is_over() {
                break;
            }
            let explainer = self.made(&mut made, chosen, number);
            let explainer = match (explainer, number) {
                // The method doesn't suit the model.
                (Err(error), 0) => return Err(error),
                (explainer, _) => explainer,
            };
            if let (Ok(explainer), true) = (&explainer, number == done) {
                if at == 0 {
                    note_provider(self.runtime, explainer, &self.args.run);
                }
                note_estimate(explainer);
            }
            let mut lines = Vec::new();
            let ready = explainer.and_then(|explainer| Ok((explainer, self.ready(number)?)));
            let outcome = ready.and_then(|(mut explainer, ready)| {
                self.tell_cost(at, &mut explainer, (number, &ready))?;
                let outcome = self.picture(at, &mut explainer, number, &ready, &mut lines);
                made = Some((self.preprocessing[number].size, explainer));
                outcome
            });
            self.deliver((at, 0), number, lines, outcome)?;
        }
        Ok(())
    }

    /// The explainer for a picture: the one that is there, or another.
    fn made(&mut self, made: &mut Made, chosen: &Chosen, number: usize) -> Result<Explainer> {
        let preprocessing = &self.preprocessing[number];
        match made.take().filter(|(size, _)| *size == preprocessing.size) {
            Some((_, explainer)) => Ok(explainer),
            None => self.explainer(chosen, preprocessing),
        }
    }

    /// The picture as the model takes it.
    fn ready(&self, number: usize) -> Result<Ready> {
        let one = |of: usize| of..of + 1;
        let all = read(&self.inputs[one(number)], &self.preprocessing[one(number)]);
        all.into_iter().next().unwrap_or_else(|| Err(Error::Value("no photo was read".into())))
    }

    /// Keeps what came of a picture in a pass, or adds it to what is told at the end. What failed is reported.
    fn deliver(
        &mut self,
        (method, stage): (usize, usize),
        number: usize,
        mut lines: Vec<Value>,
        outcome: Result<()>,
    ) -> Result<()> {
        if let Err(error) = outcome {
            if self.canceller.is_cancelled() {
                return Err(error);
            }
            self.failed = true;
            let is_only_pass = self.methods.len() == 1 && self.stages.is_empty();
            if is_only_pass || self.told.is_new(self.pictures[number].number, &error) {
                self.bar.suspend(|| output::report(&error));
            }
            lines.push(line::failure(self.args, &self.methods[method], &self.inputs[number], &error));
        }
        match self.kept {
            Some(kept) => {
                let lines = kept.lines(&self.pictures[number], self.pass(method, stage), lines);
                if let Err(error) = kept.append(&lines) {
                    self.failed = true;
                    self.bar.suspend(|| output::report(&error));
                }
            }
            None => {
                let pass = self.pass(method, stage);
                for line in &lines {
                    self.report.add_of(pass, line)?;
                }
            }
        }
        self.delivered = number + 1;
        Ok(())
    }

    /// What of a photo is explained.
    fn targets(&self, explainer: &Explainer, number: usize) -> Vec<TargetRef> {
        let own = self.truth.targets(&self.args.how.asked(), explainer.labels(), self.inputs[number].path());
        own.unwrap_or_else(|| self.targets.clone())
    }

    /// One picture: every target at every layer; a line each.
    fn picture(
        &mut self,
        at: usize,
        explainer: &mut Explainer,
        number: usize,
        ready: &Ready,
        lines: &mut Vec<Value>,
    ) -> Result<()> {
        let input = &self.inputs[number];
        self.bar.suspend(|| {
            note_all(
                &ready.notes.iter().map(|note| format!("{}: {note}", printable_path(input.path()))).collect::<Vec<_>>(),
            );
        });
        let labels = explainer.labels().clone();
        let size = ready.photo.as_ref().map(|photo| photo.dimensions()).unwrap_or_default();
        let mask = self.truth.mask(input.path(), size)?;
        let mut shown = page::Pictures::new(self.args, &self.pictures[number], self.pass(at, 0));
        for (place, target) in self.targets(explainer, number).into_iter().enumerate() {
            let scorer = self.scorer.as_ref().map(|(_, scorer)| scorer);
            let scorer = scorer.ok_or_else(|| Error::Value("the model is not ready to be asked".into()))?;
            let groups = explainer.groups().to_vec();
            let mut evaluator = Evaluator {
                scorer,
                explainer,
                metrics: &self.metrics,
                settings: self.settings,
                canceller: self.canceller,
            };
            let region = |asked: &Asked<'_>| Ok(self.truth.region(asked, &labels, input.path(), mask.as_ref()));
            let told = |passes: usize| self.bar.inc(passes as u64);
            let all = evaluator.picture(&ready.tensor, Some(ready.seen), &target, &region, &told)?;
            for one in &all {
                let taps = groups.get(one.group).map_or(&[][..], |group| &explainer.taps()[group.taps.clone()]);
                let mut object = line::measured(self.args, &self.methods[at], (input, taps), &self.metrics, one);
                if self.args.json {
                    self.bar.suspend(|| output::print(&output::json_line(&object)))?;
                }
                if let Some(report) = shown.write(ready, one.heat.view(), taps)? {
                    object["report"] = report;
                }
                lines.push(object);
            }
            if let (false, Some(first)) = (self.stages.is_empty(), all.first()) {
                let resolved = camscope_core::target::parse(&first.target.spec).unwrap_or(target);
                self.before.keep((number, place), resolved, all.into_iter().map(|one| one.heat).collect());
            }
        }
        Ok(())
    }

    /// An error, where nobody wants to wait any more.
    fn go_on(&self) -> Result<()> {
        if self.canceller.is_cancelled() { Err(EngineError::Cancelled.into()) } else { Ok(()) }
    }

    /// The model typed for pictures of this size.
    fn typed(&mut self, preprocessing: &Preprocessing) -> Result<Arc<TypedModel>> {
        if let Some((size, typed)) = &self.typed
            && *size == preprocessing.size
        {
            return Ok(Arc::clone(typed));
        }
        let (network, sidecar) = sized(&self.network, &self.sidecar, &self.args.input, preprocessing)?;
        let typed = Arc::new(TypedModel::for_targets(self.runtime, network, sidecar, &self.args.how.asked())?);
        self.typed = Some((preprocessing.size, Arc::clone(&typed)));
        Ok(typed)
    }

    /// Makes heatmaps; what changed pictures are asked of is made ready too.
    fn explainer(&mut self, chosen: &Chosen, preprocessing: &Preprocessing) -> Result<Explainer> {
        // What takes longest while a model is made ready is not cut short, but the next step is not begun.
        self.go_on()?;
        let typed = self.typed(preprocessing)?;
        self.go_on()?;
        if self.scorer.as_ref().is_none_or(|(size, _)| *size != preprocessing.size) {
            let scorer = Explainer::forward_passes(
                self.runtime,
                Arc::clone(&typed),
                Options { method: Chosen::default(), ..self.base.clone() },
            )?;
            self.scorer = Some((preprocessing.size, scorer));
        }
        self.go_on()?;
        Explainer::of(self.runtime, typed, self.of_method(chosen))
    }

    fn of_method(&self, chosen: &Chosen) -> Options {
        // Disturbed pictures go together, where that costs nothing for one alone.
        let batch = if matches!(chosen.method, Method::Cam(_)) { 1 } else { self.base.batch };
        let mut options = Options { method: chosen.clone(), batch, ..self.base.clone() };
        if !chosen.method.needs().layer {
            options.layers = vec![Choice::Auto];
            (options.fuse, options.layout) = (None, None);
        }
        options
    }
}
