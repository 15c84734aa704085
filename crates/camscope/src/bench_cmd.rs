//! `camscope bench`: what explanations cost on this machine, next to the plain forward pass.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use camscope_core::{
    Error, Result,
    bench::{Clock, Earlier, Parts, Plan, Process, Processes, Report, Setting, Times, compare, order, profile},
    explain::Options,
    method::Method,
    runtime::Runtime,
    text::printable_path,
};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::ArrayD;
use serde_json::{Map, Value, json};

use crate::{
    bench_child::Starter,
    bench_method,
    bench_table::{comparison_table, table},
    cli::BenchArgs,
    cli_bench::{BenchClock, BenchPart},
    input::photo_or_pattern,
    output, plugins,
    setup::{class_clashes, create_folder, failed, note_all, note_provider, open_for, options, subject, suited},
};

/// How often each process is started where the options don't say.
pub(crate) const STARTS: usize = 5;

/// Runs `camscope bench`.
///
/// # Errors
/// The model cannot be explained, an option asks for what there isn't, or a process that is measured fails.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    if !clock(args).is_there() {
        return Err(Error::Value("this system doesn't tell the processors' time: leave --clock out".into()));
    }
    let earlier = args.compare.as_deref().map(Earlier::read).transpose()?;
    let (network, sidecar) = open_for(&args.model, &args.input, args.picture())?;
    let (tensor, seen) = photo_or_pattern(args.picture(), &network, &sidecar.preprocessing)?;
    if let Some(prefix) = &args.profile {
        check_prefix(prefix)?;
    }
    let options = options(&args.how, &args.run, &sidecar)?;
    if args.image.is_some() {
        note_all(&sidecar.remarks());
    }
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let (subject, targets) = subject(runtime, network, sidecar, &args.how)?;
    let options = Options { seen, ..suited(options, &args.how, subject.sidecar(), &targets)? };
    let subject = Arc::new(subject);
    plugins::note_resolved(subject.resolved());
    note_all(&class_clashes(&args.how.classes, subject.labels()));
    if let Method::Host(_) = options.method.method {
        return bench_method::run(args, (runtime, &subject, &options), tensor, &targets);
    }
    let parts = Parts::new(runtime, &subject, &options, tensor.clone(), &targets)?;
    note_provider(runtime, parts.explainer(), &args.run);

    let bar = spinner();
    let plan = plan(args);
    let one = parts.measure(&plan, &mut |done| {
        bar.set_message(format!("measuring: round {} of {}", done + 1, plan.most));
        bar.tick();
    })?;
    let setting = setting(args, runtime, &parts, &tensor);
    let starter = Starter::new(runtime, parts.plain().session().provider(), (&tensor, seen))?;
    // The sessions go first: the processes shall have the machine for themselves.
    drop(parts);
    let batch = starter.together(&mut |done| {
        bar.set_message(format!("measuring several pictures at once: round {} of {}", done + 1, plan.most));
        bar.tick();
    })?;
    let times = Times { one, batch };
    let processes = processes(&starter, args.rounds.map_or(STARTS, usize::from), &bar)?;
    let profiles = match &args.profile {
        Some(prefix) => {
            bar.set_message("writing profiles");
            bar.tick();
            profile(runtime, &subject, &options, &tensor, &targets, prefix)?
        }
        None => Vec::new(),
    };
    bar.finish_and_clear();
    let report = Report::new(setting, &times, &processes).ok_or_else(|| Error::Value("nothing was measured".into()))?;
    let compared = earlier.as_ref().map(|earlier| compare(earlier, &report)).zip(args.compare.as_deref());
    if args.json {
        let mut object = json!(report);
        if let Value::Object(object) = &mut object {
            let profiles: Vec<_> = profiles.iter().map(|path| path.to_string_lossy()).collect();
            if args.profile.is_some() {
                object.insert("profiles".into(), json!(profiles));
            }
            if let Some((comparison, path)) = &compared {
                let changes: Map<String, Value> =
                    comparison.changes.iter().map(|change| (change.name.to_owned(), json!(change))).collect();
                object.insert(
                    "compare".into(),
                    json!({
                        "file": path.to_string_lossy(),
                        "camscope": comparison.camscope,
                        "differences": comparison.differences,
                        "ratios": changes,
                    }),
                );
            }
        }
        output::print(&output::json_line(&object))?;
    } else {
        let mut text = table(&report, subject.labels());
        if let Some((comparison, path)) = &compared {
            text += &comparison_table(comparison, path);
        }
        for path in &profiles {
            text += &format!("profile: {}\n", printable_path(path));
        }
        output::print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What shows that something goes on.
pub(crate) fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// What runs are timed by.
pub(crate) fn clock(args: &BenchArgs) -> Clock {
    match args.clock {
        BenchClock::Wall => Clock::Wall,
        BenchClock::Processor => Clock::Processor,
    }
}

/// How often things are timed, and by what.
pub(crate) fn plan(args: &BenchArgs) -> Plan {
    let plan = args.rounds.map_or_else(Plan::default, |rounds| Plan::exactly(rounds.into()));
    Plan { clock: clock(args), ..plan }
}

/// ONNX Runtime is silent about profiles that it cannot write.
fn check_prefix(prefix: &Path) -> Result<()> {
    let folder = prefix.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), create_folder)?;
    let mut trial = prefix.as_os_str().to_owned();
    trial.push(".trial");
    let trial = PathBuf::from(trial);
    std::fs::write(&trial, "")
        .and_then(|()| std::fs::remove_file(&trial))
        .map_err(|error| failed("write", &trial, error))
}

fn setting(args: &BenchArgs, runtime: &Runtime, parts: &Parts, tensor: &ArrayD<f32>) -> Setting {
    let (explainer, everywhere) = (parts.explainer(), parts.everywhere());
    Setting {
        camscope: env!("CARGO_PKG_VERSION").into(),
        model: args.model.to_string_lossy().into_owned(),
        input_shape: tensor.shape().to_vec(),
        provider: explainer.forward_session().provider().name().into(),
        onnxruntime: runtime.version().to_string(),
        threads: args.run.threads.map(usize::from),
        clock: clock(args).name(),
        processors: std::thread::available_parallelism().ok().map(usize::from),
        method: explainer.options().method.method.name().into(),
        layers: explainer.taps().iter().map(|tap| tap.name().to_owned()).collect(),
        classes: parts.targets().iter().filter_map(|found| found.class).map(|found| found.class).collect(),
        other_class: parts.other().class.map(|found| found.class),
        targets: parts.targets().iter().map(|found| found.target.spec()).collect(),
        other_target: parts.other().target.spec(),
        all_layers: everywhere.layers(),
        all_layers_input: parts.to_input().no_input.is_none(),
        all_layers_end: parts.to_input().end().to_owned(),
        layers_without_gradient: everywhere.left_out,
    }
}

/// Starts each process so many times, in turn.
fn processes(starter: &Starter, starts: usize, bar: &ProgressBar) -> Result<Processes> {
    let parts = [BenchPart::Plain, BenchPart::Explain, BenchPart::ToInput, BenchPart::EveryLayer];
    let mut all: [Process; 4] = Default::default();
    for start in 0..starts {
        bar.set_message(format!("starting processes: {} of {starts}", start + 1));
        bar.tick();
        for at in order(start, parts.len()) {
            let said = starter.start(parts[at])?;
            all[at].startup_ms.push(said.first);
            all[at].peak_mib.extend(said.peak.map(|bytes| bytes as f64 / f64::from(1 << 20)));
        }
    }
    let [plain, explain, all_layers, every_layer] = all;
    Ok(Processes { plain, explain, all_layers, every_layer })
}
