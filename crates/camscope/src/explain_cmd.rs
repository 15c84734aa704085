//! `camscope explain`: photos to the terminal, to files, to JSON.

pub(crate) mod deliver;
pub(crate) mod many;

use std::{
    ops::Range,
    process::ExitCode,
    sync::{Arc, mpsc::sync_channel},
    thread,
};

use camscope_core::{
    EngineError, Result,
    explain::{Explainer, Options},
    overlay, random,
    runtime::Runtime,
};

use self::{
    deliver::Job,
    many::{Explained, Ready},
};
use crate::{
    cli::ExplainArgs,
    input::Input,
    plugins,
    setup::{
        class_clashes, create_folder, note_all, note_estimate, note_provider, open, options, subject, suited,
        work_between_runs,
    },
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
    let inputs = Input::of(&args.images, &args.tensor, &network, &mut sidecar)?;
    for folder in args.output.iter().chain(&args.raw) {
        create_folder(folder)?;
    }
    let options = Options {
        gradients: args.raw.is_some(),
        verify: !args.no_verify,
        said: !args.look.no_boxes,
        ..options(&args.how, &args.run, &sidecar)?
    };
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
        let options = suited(options, &args.how, subject.sidecar(), &targets)?;
        let explainer = Explainer::of(runtime, Arc::new(subject), Options { batch, ..options })?;
        let mut first = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let image = first.iter().flatten().find_map(|ready| ready.as_ref().ok());
        let explainer = match (image, targets.first()) {
            // What is read off one token may be blind to all others.
            (Some(image), Some(target)) if !matches!(target.kind(), "class" | "contrast" | "box") => {
                let (explainer, note) = explainer.sighted(runtime, image.tensor.view(), &[image.seen], target)?;
                note_all(&note.into_iter().collect::<Vec<_>>());
                explainer
            }
            _ => explainer,
        };
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
