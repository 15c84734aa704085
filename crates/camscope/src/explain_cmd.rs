//! `camscope explain`: photos to the terminal, to files, to JSON.

pub(crate) mod deliver;
mod kept;
pub(crate) mod many;
pub(crate) mod sheet;
pub(crate) mod sized;
mod waiting;

use std::{
    ops::Range,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, mpsc::sync_channel},
    thread,
};

use camscope_core::{
    EngineError, Error, Result,
    explain::{Explainer, Options, Smooth},
    layer::Choice,
    method::{self, Chosen},
    model::Preprocessing,
    overlay, random,
    runtime::Runtime,
    subject::TypedModel,
    text::printable_path,
};

use self::{
    deliver::{Job, Pass, Stems},
    many::{Explained, Ready},
    sheet::Sheet,
    sized::{KEPT, of_size, sized, sizes},
};
use crate::{
    cli::{ExplainArgs, MethodArgs, SmoothArg},
    input::{Input, prepared},
    kept::Kept,
    output::{self, Told},
    plugins, report,
    setup::{
        asks_for_all, class_clashes, create_folder, methods, note_all, note_estimate, note_provider, open, options,
        subject, work_between_runs,
    },
    view_cmd,
    whole::{end_between_files, end_by, finish_what_is_begun, stopped},
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
    if let Some(view) = args.shown.view {
        return view_cmd::run(args, view);
    }
    plugins::load(&args.extra.plugins);
    let colormap = overlay::by_name(&args.look.colormap)?;
    let (mut network, mut sidecar) = open(&args.model, &args.input)?;
    let mut pictures = args.from.given(&args.images, &args.tensor)?;
    if pictures.is_empty() {
        note_all(&["there is no photo for this shard: it is done".into()]);
        return Ok(ExitCode::SUCCESS);
    }
    let are_arrays = !args.tensor.is_empty();
    let mut inputs = Input::of_pictures(&pictures, are_arrays, &mut network, &mut sidecar)?;
    let mut preprocessing = prepared(&inputs, &sidecar.preprocessing);
    if sizes(&preprocessing) > KEPT {
        // One size after the other: a model has to be made ready for each.
        let mut order: Vec<_> = inputs.into_iter().zip(preprocessing).zip(pictures).collect();
        order.sort_by_key(|((_, preprocessing), _)| preprocessing.size);
        ((inputs, preprocessing), pictures) = order.into_iter().unzip();
    }
    for folder in args.output.iter().chain(&args.raw) {
        create_folder(folder)?;
    }
    if let Some(folder) = &args.keep.report {
        create_folder(&folder.join(report::pictures::FOLDER))?;
    }
    if let Some(folder) = args.sheet.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty()) {
        create_folder(folder)?;
    }
    end_between_files();
    let options = Options {
        smooth: Smooth {
            eigen: args.smooth.contains(&SmoothArg::Eigen),
            augment: args.smooth.contains(&SmoothArg::Augment),
        },
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
    let (inputs, preprocessing) = (inputs.as_slice(), preprocessing.as_slice());
    let largest = preprocessing.iter().max_by_key(|preprocessing| preprocessing.size.0 * preprocessing.size.1);
    let batch =
        many::batch(provider, args.batch, largest.map_or(&sidecar.preprocessing, |largest| largest), inputs.len());
    let runs = many::runs(inputs, preprocessing, batch);
    let pictures = pictures.as_slice();
    let read = |run: &Range<usize>| many::read(&inputs[run.clone()], &preprocessing[run.clone()]);

    let all_runs = runs.len();
    let failed = thread::scope(|scope| -> Result<bool> {
        // The first photos are read while the model is made ready.
        let reading = scope.spawn(|| runs.first().map(read));
        let first_size = preprocessing.first().map_or(&sidecar.preprocessing, |first| first);
        let (own, own_sidecar) = sized(&network, &sidecar, &args.input, first_size)?;
        let (first_subject, targets) = subject(runtime, own, own_sidecar, &args.how)?;
        let first_subject = Arc::new(first_subject);
        let methods = methods(&args.how, first_subject.sidecar(), &targets)?;
        plugins::note_resolved(first_subject.resolved());
        note_all(&first_subject.label_mismatch().into_iter().collect::<Vec<_>>());
        note_all(&class_clashes(&args.how.classes, first_subject.labels()));
        let mut first = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let image = first.iter().flatten().find_map(|ready| ready.as_ref().ok());
        let image = image.map(|ready| (ready.tensor.clone(), Vec::from_iter(ready.of_photo())));
        let kept = kept::open(args, pictures, &runs, methods.len())?;
        let (mut stems, told) = (Stems::new(&methods), Told::default());
        let mut sheet = args.sheet.as_ref().map(|_| Sheet::default());
        let (mut failed, mut is_first) = (kept.as_ref().is_some_and(Kept::has_failures), true);
        for (pass, chosen) in methods.iter().enumerate() {
            let runs = &runs[kept.as_ref().map_or(0, |kept| kept.batches_done(pass))..];
            let method_stem = stems.of(chosen);
            if runs.is_empty() {
                continue;
            }
            if runs.len() < all_runs {
                first = None;
            }
            let options = Options { batch, ..of_method(&options, chosen, methods.len()) };
            let made = match method::refusal(chosen.method, &targets) {
                Some(error) => Err(error),
                None => Explainer::of(runtime, Arc::clone(&first_subject), options),
            };
            let explainer = match made {
                Ok(explainer) => explainer,
                Err(error) if methods.len() == 1 => return Err(error),
                Err(error) => {
                    failed |= !told_of_refusal(&args.how, chosen, &error);
                    continue;
                }
            };
            let explainer = match (&image, targets.first()) {
                // What is read off one token may be blind to all others.
                (Some((image, seen)), Some(target)) if !matches!(target.kind(), "class" | "contrast" | "box") => {
                    let (explainer, note) = explainer.sighted(runtime, image.view(), seen, target)?;
                    note_all(&note.into_iter().collect::<Vec<_>>());
                    explainer
                }
                _ => explainer,
            };
            let options = explainer.options().clone();
            let explainer = Arc::new(explainer);
            if is_first {
                note_provider(runtime, &explainer, &args.run);
                note_estimate(&explainer);
                let random = explainer.random_nodes();
                if !random.is_empty() {
                    note_all(&[random::told(&random)]);
                }
            }

            let run_by = Pass { number: pass + 1, method: method_stem, kept: kept.as_ref(), told: &told };
            let mut job = Job::new(args, &explainer, colormap, (inputs.len(), targets.len()), run_by, sheet.take());
            job.skip(runs.first().map_or(0, |run| run.start));
            if kept.is_some() {
                finish_what_is_begun(true);
            }
            let goes_on = || stopped().is_none() && !kept.as_ref().is_some_and(Kept::is_broken);
            let ready = runs.iter().take_while(|_| goes_on()).map(|run| first.take().unwrap_or_else(|| read(run)));
            let made = Mutex::new(vec![(first_size.size, Arc::clone(&explainer))]);
            let make = |preprocessing: &Preprocessing| {
                let (network, sidecar) = sized(&network, &sidecar, &args.input, preprocessing)?;
                let subject = TypedModel::for_targets(runtime, network, sidecar, &targets)?;
                Explainer::of(runtime, Arc::new(subject), options.clone()).map(Arc::new)
            };
            let explain = |run: &Range<usize>, ready: Vec<Result<Ready>>| {
                let preprocessing = &preprocessing[run.start];
                match of_size(&made, preprocessing.size, || make(preprocessing)) {
                    // Several photos have a bar of their own.
                    Ok(explainer) if inputs.len() == 1 => {
                        waiting::watched(explainer.work(), chosen.method.name(), || {
                            many::explain(&explainer, ready, &targets)
                        })
                    }
                    Ok(explainer) => many::explain(&explainer, ready, &targets),
                    Err(error) => {
                        let (text, mut error) = (error.to_string(), Some(error));
                        let mut next = || error.take().unwrap_or_else(|| Error::Value(text.clone()));
                        ready.iter().map(|_| Err(next())).collect()
                    }
                }
            };
            let deliver =
                |run: &Range<usize>, explained| job.deliver(&inputs[run.clone()], &pictures[run.clone()], explained);
            let provider = explainer.forward_session().provider();
            failed |= match many::beside(provider, args.run.threads.map(usize::from)) {
                true => side_by_side(runs, ready, explain, deliver),
                false => in_turn(runs, ready, explain, deliver),
            };
            finish_what_is_begun(false);
            let delivered = job.delivered();
            sheet = job.finish();
            if let (Some(signal), Some(kept)) = (stopped(), &kept) {
                kept.say_how_to_go_on(delivered);
                end_by(signal);
            }
            if kept.as_ref().is_some_and(Kept::is_broken) {
                return Ok(true);
            }
            is_first = false;
        }
        if let (Some(path), Some(sheet)) = (&args.sheet, &sheet) {
            sheet.write(path)?;
            if !args.json {
                output::print(&format!("sheet: {}\n", printable_path(path)))?;
            }
        }
        if let (Some(folder), Some(kept)) = (&args.keep.report, &kept) {
            let page = kept::write_page(kept, args, folder, &methods)?;
            if !args.json {
                output::print(&format!("report: {}\n", printable_path(&page)))?;
            }
        }
        Ok(failed)
    })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The options of one of several methods.
fn of_method(options: &Options, chosen: &Chosen, methods: usize) -> Options {
    let mut options = Options { method: chosen.clone(), ..options.clone() };
    // The layers are meant for those that look at one.
    if methods > 1 && !chosen.method.needs().layer {
        options.layers = vec![Choice::Auto];
        (options.fuse, options.layout) = (None, None);
    }
    options
}

/// Says why one of several methods is not there; whether that is as it should be: of all methods, some suit no model of this kind.
fn told_of_refusal(how: &MethodArgs, chosen: &Chosen, error: &Error) -> bool {
    let name = chosen.method.name();
    let is_unsuited = matches!(
        error,
        Error::NoAttention { .. }
            | Error::NoBlocks { .. }
            | Error::NoLinearHead { .. }
            | Error::NoPlane { .. }
            | Error::NeedsBox { .. }
            | Error::NeedsClass { .. }
            | Error::NothingToSwap { .. }
            | Error::OneAtATime { .. }
            | Error::CannotSmooth { .. }
    );
    if asks_for_all(how) && is_unsuited {
        note_all(&[format!("{name} is left out: {error}")]);
        return true;
    }
    let reason = error.to_string();
    // Some reasons begin with the method's name.
    let is_named = reason.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()));
    output::complain(&if is_named { reason } else { format!("{name}: {reason}") }, error.help().as_deref());
    false
}

/// Explains each run and delivers what it came to; whether something failed. While one is delivered the next one is read, but nothing
/// else goes on while the model runs.
fn in_turn(
    runs: &[Range<usize>],
    mut ready: impl Iterator<Item = Vec<Result<Ready>>> + Send,
    explain: impl Fn(&Range<usize>, Vec<Result<Ready>>) -> Vec<Result<Explained>>,
    mut deliver: impl FnMut(&Range<usize>, Vec<Result<Explained>>) -> bool,
) -> bool {
    let mut failed = false;
    let mut arrived = ready.next();
    for run in runs {
        let Some(explained) = arrived.take().map(|ready| explain(run, ready)) else { break };
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
    explain: impl Fn(&Range<usize>, Vec<Result<Ready>>) -> Vec<Result<Explained>>,
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
        let mut explained = runs.iter().zip(arriving).map(|(run, ready)| explain(run, ready));
        explained.all(|explained| sender.send(explained).is_ok());
        drop(sender);
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
