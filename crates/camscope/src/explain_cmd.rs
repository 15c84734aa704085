//! `camscope explain`: photos to the terminal, to files, to JSON.

pub(crate) mod deliver;
pub(crate) mod many;

use std::{
    ops::Range,
    path::Path,
    process::ExitCode,
    sync::{Arc, mpsc::sync_channel},
    thread,
};

use camscope_core::{
    EngineError, Error, Result,
    explain::{Explainer, Options},
    method,
    model::{Labels, Network, Sidecar, resolve_given},
    overlay, random,
    runtime::{ProviderChoice, Runtime, SessionOptions, SharedThreads, share_threads},
    subject::TypedModel,
    target::{ClassSpec, TargetRef},
    text::{printable, printable_path},
};

use self::{
    deliver::Job,
    many::{Explained, Ready},
};
use crate::{
    cli::{ExplainArgs, InputArgs, MethodArgs, RunArgs},
    feed::feed,
    input::Input,
    plugins,
};

/// Runs `camscope explain`.
///
/// # Errors
/// The model cannot be explained, or an option asks for what there isn't. A photo that cannot be read is reported, the others
/// go on, and the exit status is 1.
pub(crate) fn run(args: &ExplainArgs) -> Result<ExitCode> {
    explain(args, Runtime::get_or_load)
}

/// As [`run`], with the runtime from wherever the caller gets it.
pub(crate) fn explain(
    args: &ExplainArgs,
    runtime: impl FnOnce() -> Result<&'static Runtime, EngineError>,
) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let colormap = overlay::by_name(&args.look.colormap)?;
    let (network, mut sidecar) = open(&args.model, &args.input)?;
    let inputs = Input::all(args, &network, &mut sidecar)?;
    for folder in args.output.iter().chain(&args.raw) {
        create_folder(folder)?;
    }
    let options = Options { gradients: args.raw.is_some(), ..options(&args.how, &args.run, &sidecar)? };
    if args.tensor.is_empty() {
        note_all(&sidecar.remarks());
    }
    if inputs.len() > 1 {
        work_between_runs(&args.run);
    }
    let runtime = plugins::runtime(runtime()?, &args.extra)?;
    let provider = many::provider(runtime, &args.run);
    let (inputs, preprocessing) = (inputs.as_slice(), sidecar.preprocessing.clone());
    let batch = many::batch(provider, args.batch, &preprocessing, inputs.len());
    let runs = many::runs(inputs, batch);
    let read = |run: &Range<usize>| many::read(&inputs[run.clone()], &preprocessing);

    let failed = thread::scope(|scope| -> Result<bool> {
        // The first photos are read while the model is made ready.
        let reading = scope.spawn(|| runs.first().map(read));
        let (subject, targets) = subject(runtime, network, sidecar, &args.how)?;
        let explainer = Explainer::of(runtime, Arc::new(subject), Options { batch, ..options })?;
        note_provider(runtime, &explainer, &args.run);
        note_estimate(&explainer);
        plugins::note_resolved(explainer.subject().resolved());
        note_all(&explainer.subject().label_mismatch().into_iter().collect::<Vec<_>>());
        note_all(&class_clashes(&args.how.classes, explainer.labels()));
        let random = explainer.random_nodes();
        if !random.is_empty() {
            note_all(&[random::told(&random)]);
        }

        let mut job = Job::new(args, &explainer, colormap, inputs.len(), targets.len());
        let mut first = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let ready = runs.iter().map(|run| first.take().unwrap_or_else(|| read(run)));
        let explain = |ready| many::explain(&explainer, ready, &targets);
        let deliver = |run: &Range<usize>, explained| job.deliver(&inputs[run.clone()], explained);
        let provider = explainer.forward_session().provider();
        let failed = match many::beside(provider, args.run.threads.map(usize::from)) {
            true => side_by_side(&runs, ready, explain, deliver),
            false => in_turn(&runs, ready, explain, deliver),
        };
        job.finish();
        Ok(failed)
    })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Explains each run and delivers what it came to; whether something failed. While one is delivered the next one is read, but nothing
/// else goes on while the model runs.
fn in_turn(
    runs: &[Range<usize>],
    mut ready: impl Iterator<Item = Vec<Result<Ready>>> + Send,
    explain: impl Fn(Vec<Result<Ready>>) -> Vec<Result<Explained>>,
    mut deliver: impl FnMut(&Range<usize>, Vec<Result<Explained>>) -> bool,
) -> bool {
    let mut failed = false;
    let mut arrived = ready.next();
    for run in runs {
        let Some(explained) = arrived.take().map(&explain) else { break };
        arrived = thread::scope(|scope| {
            let reading = scope.spawn(|| ready.next());
            failed |= deliver(run, explained);
            reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
    }
    failed
}

/// As [`in_turn`], but while a run is explained the next one is read and the one before delivered.
fn side_by_side(
    runs: &[Range<usize>],
    mut ready: impl Iterator<Item = Vec<Result<Ready>>> + Send,
    explain: impl Fn(Vec<Result<Ready>>) -> Vec<Result<Explained>>,
    mut deliver: impl FnMut(&Range<usize>, Vec<Result<Explained>>) -> bool + Send,
) -> bool {
    thread::scope(|scope| {
        // Where nobody takes what is sent, the thread that should has ended early.
        let (sender, arriving) = sync_channel(1);
        scope.spawn(move || ready.all(|ready| sender.send(ready).is_ok()));
        let (sender, leaving) = sync_channel(1);
        let writer = scope.spawn(move || {
            let delivered = runs.iter().zip(leaving).map(|(run, explained)| deliver(run, explained));
            delivered.fold(false, |any, failed| any | failed)
        });
        arriving.into_iter().map(explain).all(|explained| sender.send(explained).is_ok());
        drop(sender);
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Reads a model and what lies beside it, unless the options say otherwise.
///
/// # Errors
/// Either cannot be read, or an option has a value that the model can't have.
pub(crate) fn open(model: &Path, input: &InputArgs) -> Result<(Network, Sidecar)> {
    let given = input.given().map_err(|reason| Error::BadPreprocessing { reason })?;
    let mut network = Network::open(model)?;
    if let Some(note) = &network.note {
        eprintln!("note: {}", printable(note));
    }
    feed(&mut network, &input.fed)?;
    let sidecar = resolve_given(&network, &given)?;
    if let Some(logits) = &sidecar.logits {
        network.choose_output(logits)?;
    }
    Ok((network, sidecar))
}

/// The model, typed, for what is asked for; and what that is: where nothing is said, what the model says first.
///
/// # Errors
/// The model cannot be typed, a target names what it doesn't have, or it has to be said what is explained.
pub(crate) fn subject(
    runtime: &'static Runtime,
    network: Network,
    sidecar: Sidecar,
    how: &MethodArgs,
) -> Result<(TypedModel, Vec<TargetRef>)> {
    let asked = how.asked();
    let subject = TypedModel::for_targets(runtime, network, sidecar, &asked)?;
    if !asked.is_empty() {
        return Ok((subject, asked));
    }
    if let Some(note) = subject.network().choice_note() {
        eprintln!("note: {}; --target output:NAME[…] explains another", printable(&note));
    }
    let default = subject.default_target()?;
    Ok((subject, vec![default]))
}

/// What the options ask for, where heatmaps are enough; what they leave open the model's sidecar says.
///
/// # Errors
/// There is no such method.
pub(crate) fn options(how: &MethodArgs, run: &RunArgs, sidecar: &Sidecar) -> Result<Options> {
    let method = match (&how.method, &sidecar.method) {
        (Some(name), _) => method::parse(name)?,
        (None, Some(name)) => method::parse(name).map_err(|error| sidecar.at_fault("method", error))?,
        (None, None) => method::Chosen::default(),
    };
    Ok(Options {
        method,
        sign: how.sign.into(),
        layers: how.layers.clone(),
        layout: how.layout,
        score: how.score.into(),
        gradients: false,
        batch: 1,
        session: session_options(run),
    })
}

/// How sessions are made.
pub(crate) fn session_options(run: &RunArgs) -> SessionOptions {
    SessionOptions { provider: run.ep, threads: run.threads.map(usize::from), ..Default::default() }
}

/// Prepares for photos that are read and overlays that are written between the model's runs: its threads shall not be in their way. To be
/// called before the runtime is loaded.
pub(crate) fn work_between_runs(run: &RunArgs) {
    share_threads(SharedThreads { count: run.threads.map(usize::from), sleep: true });
}

/// Says what is to be known, each in a line.
pub(crate) fn note_all(notes: &[String]) {
    for note in notes {
        eprintln!("note: {}", printable(note));
    }
}

/// Of classes that were asked for by a number that is a label too, which is meant.
pub(crate) fn class_clashes(classes: &[ClassSpec], labels: &Labels) -> Vec<String> {
    classes.iter().filter_map(|class| class.clash(labels)).collect()
}

/// Says why a better provider than the one in use was not taken.
pub(crate) fn note_provider(runtime: &Runtime, explainer: &Explainer, run: &RunArgs) {
    if run.ep != ProviderChoice::Auto {
        return;
    }
    for (provider, reason) in runtime.auto_provider().rejected {
        eprintln!("note: {provider} is not used: {}", printable(&reason));
    }
    if let Some(reason) = explainer.forward_session().fallback() {
        eprintln!("note: {}", printable(reason));
    }
}

/// Says that a gradient is an estimate, where the model rounds on its way.
pub(crate) fn note_estimate(explainer: &Explainer) {
    note_all(&explainer.straight_through_note().into_iter().collect::<Vec<_>>());
}

/// Makes a folder, and those above it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| failed("create the folder", folder, source))
}

/// The error of a file.
pub(crate) fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: printable_path(path), source }
}
