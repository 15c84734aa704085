//! `camscope evaluate`: how good the heatmaps of methods and layers are.

mod plot;
pub(crate) mod report;
mod truth;

use std::{
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use camscope_core::{
    Error, Result,
    evaluate::{self, Asked, Evaluator, METRICS, Metric, Settings, sanity},
    explain::{Explainer, Options},
    layer::Choice,
    method::{Chosen, Method, Sign},
    model::{Network, Preprocessing, Sidecar},
    runtime::{Canceller, Runtime},
    subject::TypedModel,
    target::TargetRef,
    text::printable_path,
};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array2;

use self::{
    report::{Column, Report, Row},
    truth::Truth,
};
use crate::{
    cli::EvaluateArgs,
    explain_cmd::{
        many::{Ready, read},
        sized::sized,
    },
    input::{Input, prepared},
    output, plugins,
    setup::{create_folder, methods, note_all, note_estimate, note_provider, open, options, subject},
    whole::end_between_files,
};

/// Runs `camscope evaluate`.
///
/// # Errors
/// The model cannot be explained, an option asks for what there isn't, or the file with boxes is not as it should be. A photo that cannot be
/// read is reported, the others go on, and the exit status is 1.
pub(crate) fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    end_between_files();
    let (report, has_failed) = evaluated(args, &Canceller::new())?;
    report.finish(args)?;
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What comes out, once plugins are loaded, until it is cancelled; and whether some of it failed, which is reported. With `--json` each heatmap's
/// numbers are printed as they come.
///
/// # Errors
/// Those of [`run`], or [`Cancelled`](camscope_core::runtime::Error::Cancelled).
pub(crate) fn evaluated(args: &EvaluateArgs, canceller: &Canceller) -> Result<(Report, bool)> {
    let metrics = chosen_metrics(args)?;
    if Sign::from(args.how.sign) == Sign::Both {
        return Err(Error::Value("heat of both signs has no most relevant pixels: leave --sign both out".into()));
    }
    let (mut network, mut sidecar) = open(&args.model, &args.input)?;
    let mut inputs = Input::of(&args.images, &[], &mut network, &mut sidecar)?;
    let mut preprocessing = prepared(&inputs, &sidecar.preprocessing);
    // One size after the other: the model has to be made ready for each.
    let mut order: Vec<_> = inputs.into_iter().zip(preprocessing).collect();
    order.sort_by_key(|(_, preprocessing)| preprocessing.size);
    (inputs, preprocessing) = order.into_iter().unzip();
    let truth = Truth::read(args, &inputs)?;
    for folder in args.plot.iter().chain(args.csv.as_deref().and_then(Path::parent).map(Path::to_owned).as_ref()) {
        if !folder.as_os_str().is_empty() {
            create_folder(folder)?;
        }
    }
    note_all(&sidecar.remarks());
    let base = Options {
        batch: args.batch.into(),
        gradients: false,
        verify: false,
        ..options(&args.how, &args.run, &sidecar)?
    };
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let first = preprocessing.first().unwrap_or(&sidecar.preprocessing).clone();
    let (own, own_sidecar) = sized(&network, &sidecar, &args.input, &first)?;
    let (typed, targets) = subject(runtime, own, own_sidecar, &args.how)?;
    let methods = methods(&args.how, typed.sidecar(), &targets)?;
    note_all(&typed.label_mismatch().into_iter().collect::<Vec<_>>());
    truth.check_labels(typed.labels(), &inputs)?;
    let settings = Settings { steps: args.steps.into(), seed: args.how.seed, ..Settings::default() };
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
        typed: Some((first.size, Arc::new(typed))),
        scorer: None,
        canceller,
        bar: ProgressBar::hidden(),
        failed: false,
    };
    let mut report = Report::new(args, &run.metrics);
    for (at, chosen) in methods.iter().enumerate() {
        if let Err(error) = run.method(chosen, (at, methods.len()), (&inputs, &preprocessing), &mut report) {
            if methods.len() == 1 || canceller.is_cancelled() {
                run.bar.finish_and_clear();
                return Err(error);
            }
            run.failed = true;
            let name = chosen.method.name();
            run.bar.suspend(|| output::complain(&format!("{name}: {error}"), error.help().as_deref()));
        }
    }
    run.bar.finish_and_clear();
    Ok((report, run.failed))
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
    /// The model for pictures of one size.
    typed: Option<((u32, u32), Arc<TypedModel>)>,
    /// The same, made ready to be asked of changed pictures.
    scorer: Option<((u32, u32), Explainer)>,
    canceller: &'a Canceller,
    bar: ProgressBar,
    failed: bool,
}

/// A picture's heatmaps as they were with the model's own weights.
struct Before {
    picture: usize,
    target: TargetRef,
    group: usize,
    heat: Array2<f32>,
}

impl Run<'_> {
    /// One method, for all pictures.
    fn method(
        &mut self,
        chosen: &Chosen,
        (at, methods): (usize, usize),
        (inputs, preprocessing): (&[Input], &[Preprocessing]),
        report: &mut Report,
    ) -> Result<()> {
        let mut made: Option<((u32, u32), Explainer)> = None;
        let mut before = Vec::new();
        let mut columns: Vec<usize> = Vec::new();
        for (number, (input, preprocessing)) in inputs.iter().zip(preprocessing).enumerate() {
            let one = (std::slice::from_ref(input), std::slice::from_ref(preprocessing));
            let Some(ready) = read(one.0, one.1).pop() else { continue };
            let ready = match ready {
                Ok(ready) => ready,
                Err(error) => {
                    self.refuse(&error);
                    continue;
                }
            };
            let explainer = match made.take_if(|(size, _)| *size == preprocessing.size) {
                Some((_, explainer)) => explainer,
                None => self.explainer(chosen, preprocessing)?,
            };
            if columns.is_empty() {
                if at == 0 {
                    note_provider(self.runtime, &explainer, &self.args.run);
                    self.tell_cost(&explainer, &ready, (inputs, methods))?;
                }
                note_estimate(&explainer);
                columns = explainer
                    .groups()
                    .iter()
                    .map(|group| {
                        let taps = &explainer.taps()[group.taps.clone()];
                        let layer = taps.iter().map(|tap| tap.name()).collect::<Vec<_>>().join("+");
                        report.column(Column::new(chosen, layer))
                    })
                    .collect();
            }
            let (explainer, outcome) =
                self.picture(explainer, (number, input), &ready, &columns, (report, &mut before));
            made = Some((preprocessing.size, explainer));
            match outcome {
                // The others would fare alike.
                Err(error) if self.canceller.is_cancelled() => return Err(error),
                Err(error) => self.refuse(&error),
                Ok(()) => {}
            }
        }
        drop(made);
        match self.args.sanity {
            Some(stages) if !before.is_empty() => {
                self.sanity(chosen, stages.into(), &before, (inputs, preprocessing), (&columns, report))
            }
            _ => Ok(()),
        }
    }

    /// Reports that a picture failed.
    fn refuse(&mut self, error: &Error) {
        self.failed = true;
        self.bar.suspend(|| output::report(error));
    }

    /// One picture: every target at every layer.
    fn picture(
        &mut self,
        mut explainer: Explainer,
        (number, input): (usize, &Input),
        ready: &Ready,
        columns: &[usize],
        (report, before): (&mut Report, &mut Vec<Before>),
    ) -> (Explainer, Result<()>) {
        let mut work = |run: &mut Self| -> Result<()> {
            note_all(
                &ready.notes.iter().map(|note| format!("{}: {note}", printable_path(input.path()))).collect::<Vec<_>>(),
            );
            let labels = explainer.labels().clone();
            let targets =
                run.truth.targets(&run.args.how.asked(), &labels, input.path()).unwrap_or_else(|| run.targets.clone());
            let size = ready.photo.as_ref().map(|photo| photo.dimensions()).unwrap_or_default();
            let mask = run.truth.mask(input.path(), size)?;
            let scorer = run.scorer.as_ref().map(|(_, scorer)| scorer);
            let scorer = scorer.ok_or_else(|| Error::Value("the model is not ready to be asked".into()))?;
            let bar = run.bar.clone();
            for target in targets {
                let mut evaluator = Evaluator {
                    scorer,
                    explainer: &mut explainer,
                    metrics: &run.metrics,
                    settings: run.settings,
                    canceller: run.canceller,
                };
                let place = |asked: &Asked<'_>| Ok(run.truth.region(asked, &labels, input.path(), mask.as_ref()));
                let told = |passes: usize| bar.inc(passes as u64);
                let all = evaluator.picture(&ready.tensor, Some(ready.seen), &target, &place, &told)?;
                for one in all {
                    let column = columns.get(one.group).copied().unwrap_or_default();
                    let row = Row { image: input.path(), column, found: &one };
                    let text = report.add(&row);
                    if let Some(text) = text {
                        run.bar.suspend(|| output::print(&text))?;
                    }
                    if run.args.sanity.is_some() {
                        let spec = camscope_core::target::parse(&one.target.spec).unwrap_or_else(|_| target.clone());
                        before.push(Before { picture: number, target: spec, group: one.group, heat: one.heat });
                    }
                }
            }
            Ok(())
        };
        let outcome = work(self);
        (explainer, outcome)
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
        let typed = self.typed(preprocessing)?;
        if self.scorer.as_ref().is_none_or(|(size, _)| *size != preprocessing.size) {
            let scorer = Explainer::forward_passes(
                self.runtime,
                Arc::clone(&typed),
                Options { method: Chosen::default(), ..self.base.clone() },
            )?;
            self.scorer = Some((preprocessing.size, scorer));
        }
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

    /// Says how many passes there are, and how long they will take, to those who see it before it begins.
    fn tell_cost(&mut self, explainer: &Explainer, ready: &Ready, (inputs, methods): (&[Input], usize)) -> Result<()> {
        let Some((_, scorer)) = self.scorer.as_ref().filter(|_| !output::is_gathered()) else { return Ok(()) };
        let batch = scorer.batch();
        let views = vec![ready.tensor.view(); batch];
        let together =
            ndarray::concatenate(ndarray::Axis(0), &views).map_err(|error| Error::Value(error.to_string()))?;
        // The first run of a session takes longer.
        scorer.forward(&together, self.canceller)?;
        let start = Instant::now();
        scorer.forward(&together, self.canceller)?;
        let each = start.elapsed().as_secs_f64() / batch as f64;
        let chosen = explainer.options().method.clone();
        let groups = explainer.groups().len() as f64;
        let explaining = chosen.method.passes(&chosen.parameters, 512);
        let of = |metric: &&'static dyn Metric| {
            let layers = if metric.name() == "sensitivity" { 1.0 } else { groups };
            metric.passes(&self.settings, explaining) * layers
        };
        let labels = explainer.labels();
        let asked = self.args.how.asked();
        let targets: usize = inputs
            .iter()
            .map(|input| {
                self.truth.targets(&asked, labels, input.path()).map_or(self.targets.len(), |targets| targets.len())
            })
            .sum();
        let stages = self.args.sanity.map_or(0.0, f64::from);
        let each_target = 1.0 + explaining * (1.0 + stages) + self.metrics.iter().map(of).sum::<f64>();
        let passes = each_target * targets as f64 * methods as f64;
        note_all(&[format!(
            "some {} passes, about {}",
            report::rounded(passes),
            report::time(Duration::from_secs_f64(passes * each))
        )]);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} passes, {eta} left");
        self.bar =
            ProgressBar::new(passes.round() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(())
    }

    /// The sanity check of a method.
    fn sanity(
        &mut self,
        chosen: &Chosen,
        stages: usize,
        before: &[Before],
        (inputs, preprocessing): (&[Input], &[Preprocessing]),
        (columns, report): (&[usize], &mut Report),
    ) -> Result<()> {
        let heat: Vec<Array2<f32>> = before.iter().map(|before| before.heat.clone()).collect();
        let (height, width) = preprocessing.first().map_or((224, 224), |preprocessing| preprocessing.size);
        let network = self.network.clone();
        let options = self.of_method(chosen);
        let (bar, args, runtime, sidecar) = (self.bar.clone(), self.args, self.runtime, self.sidecar.clone());
        let canceller = self.canceller;
        let mut explain = |network: Network| -> Result<Vec<Array2<f32>>> {
            let mut made: Option<((u32, u32), Explainer)> = None;
            let mut all = Vec::with_capacity(before.len());
            let mut at = 0;
            while let Some(first) = before.get(at) {
                // A picture with a target has an entry a layer.
                let alike = before[at..]
                    .iter()
                    .take_while(|other| other.picture == first.picture && other.target.spec() == first.target.spec());
                let groups: Vec<usize> = alike.map(|one| one.group).collect();
                let (input, preprocessing) = (&inputs[first.picture], &preprocessing[first.picture]);
                let ready = read(std::slice::from_ref(input), std::slice::from_ref(preprocessing)).pop();
                let ready = ready.ok_or_else(|| Error::Value("a photo is gone".into()))??;
                let explainer = match made.take_if(|(size, _)| *size == preprocessing.size) {
                    Some((_, explainer)) => explainer,
                    None => {
                        let (network, sidecar) = sized(&network, &sidecar, &args.input, preprocessing)?;
                        let typed = TypedModel::for_targets(runtime, network, sidecar, &args.how.asked())?;
                        Explainer::of(runtime, Arc::new(typed), options.clone())?
                    }
                };
                let heat = Evaluator::heatmaps(&explainer, &ready.tensor, &[ready.seen], &first.target, canceller)?;
                bar.inc(explainer.options().method.method.passes(&options.method.parameters, 512).round() as u64);
                all.extend(groups.iter().filter_map(|group| heat.get(*group).cloned()));
                at += groups.len();
                made = Some((preprocessing.size, explainer));
            }
            Ok(all)
        };
        let stages = sanity::check(
            &network,
            (stages, self.settings.seed),
            &heat,
            [height as usize, width as usize],
            &mut explain,
        )?;
        for (group, column) in columns.iter().enumerate() {
            let own: Vec<usize> = (0..before.len()).filter(|at| before[*at].group == group).collect();
            report.sanity(*column, stages.iter().map(|stage| stage.only(&own)).collect());
        }
        Ok(())
    }
}
