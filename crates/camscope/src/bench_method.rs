//! `camscope bench` for a method that is computed on the host: what `explain` does, next to plain forward passes.

use std::{path::Path, process::ExitCode, sync::Arc};

use camscope_core::{
    Error, Result,
    bench::{MethodReport, OfMethod, Process, profile},
    explain::Options,
    runtime::Runtime,
    subject::TypedModel,
    target::TargetRef,
    text::{printable, printable_path},
};
use ndarray::ArrayD;
use serde_json::{Value, json};

use crate::{
    bench_child::Starter,
    bench_cmd::{STARTS, clock, plan, spinner},
    bench_table::{Row, block, unit},
    cli::BenchArgs,
    cli_bench::BenchPart,
    output,
    setup::note_provider,
};

/// Measures it and prints what came out.
///
/// # Errors
/// The method can't explain the model so, or a process that is measured fails.
pub(crate) fn run(
    args: &BenchArgs,
    (runtime, subject, options): (&'static Runtime, &Arc<TypedModel>, &Options),
    tensor: ArrayD<f32>,
    targets: &[TargetRef],
) -> Result<ExitCode> {
    let name = options.method.method.name();
    if args.compare.is_some() {
        return Err(Error::Value(format!(
            "--compare puts measurements of methods of activation and gradient side by side, and {name} is none"
        )));
    }
    let of = OfMethod::new(runtime, subject, options, tensor.clone(), targets)?;
    note_provider(runtime, of.explainer(), &args.run);
    let bar = spinner();
    let plan = plan(args);
    let times = of.measure(&plan, &mut |done| {
        bar.set_message(format!("measuring {name}: round {} of {}", done + 1, plan.most));
        bar.tick();
    })?;
    let starter = Starter::new(runtime, of.plain().session().provider(), (&tensor, options.seen))?;
    let copies = if of.runs_batches() { of.explainer().batch() } else { 1 };
    let starts = args.rounds.map_or(STARTS, usize::from);
    let [mut plain, mut explain] = [Process::default(), Process::default()];
    for start in 0..starts {
        bar.set_message(format!("starting processes: {} of {starts}", start + 1));
        bar.tick();
        for (part, process) in [(BenchPart::Plain, &mut plain), (BenchPart::Explain, &mut explain)] {
            let said = starter.start_with(part, copies)?;
            process.startup_ms.push(said.first);
            process.peak_mib.extend(said.peak.map(|bytes| bytes as f64 / f64::from(1 << 20)));
        }
    }
    let profiles = match &args.profile {
        Some(prefix) => profile(runtime, subject, options, &tensor, targets, prefix)?,
        None => Vec::new(),
    };
    bar.finish_and_clear();
    let threads = args.run.threads.map(usize::from);
    let setting = (args.model.to_string_lossy().into_owned(), runtime.version().to_string(), threads, clock(args));
    let report = MethodReport::new(&of, setting, &times, (&plain, &explain));
    let report = report.ok_or_else(|| Error::Value("nothing was measured".into()))?;
    if args.json {
        let mut object = json!(report);
        if let (Value::Object(object), Some(_)) = (&mut object, &args.profile) {
            let paths: Vec<_> = profiles.iter().map(|path| path.to_string_lossy()).collect();
            object.insert("profiles".into(), json!(paths));
        }
        output::print(&output::json_line(&object))?;
    } else {
        let mut text = table(&report);
        for path in &profiles {
            text += &format!("profile: {}\n", printable_path(path));
        }
        output::print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(report: &MethodReport) -> String {
    let MethodReport { ms, ratios, .. } = report;
    let shape: Vec<String> = report.input_shape.iter().map(usize::to_string).collect();
    let at = if report.layers.is_empty() {
        "the input".to_owned()
    } else {
        printable(&report.layers.join(", ")).into_owned()
    };
    let threads = report.threads.map_or("ONNX Runtime's choice".to_owned(), |threads| threads.to_string());
    let mut text = format!(
        "{}, {}\n{} at {at} for {}: {} runs in batches of {}, {} of them with a gradient\n{} with ONNX Runtime {}, threads: {threads}; camscope {}\n",
        printable_path(Path::new(&report.model)),
        shape.join("×"),
        printable(&report.method),
        printable(&report.targets.join(", ")),
        report.runs,
        report.method_batch,
        report.gradients,
        report.provider,
        report.onnxruntime,
        report.camscope,
    );
    let row = |what: &str, value, ratio| -> Row { (what.to_owned(), Some(value), ratio) };
    let mut rows = vec![row("forward", ms.forward, None), row("explain", ms.explain, Some(ratios.explain))];
    rows.push(row(&format!("forward, {} at once", report.batch), ms.batch_forward, None));
    rows.extend(ms.to_input.map(|to_input| row("forward and to the input", to_input, None)));
    text += &block(&format!("a picture, {} rounds", report.rounds), unit(report.clock), &rows);
    if let Some(passes) = &ratios.passes {
        text += &format!(
            "\nexplain / {} plain passes in batches of {}: {:.3} ({:.3} to {:.3})\n",
            report.runs, report.batch, passes.median, passes.min, passes.max
        );
    }
    if let Some(gradients) = &ratios.gradients {
        text += &format!(
            "\nexplain / {} times forward and to the input: {:.3} ({:.3} to {:.3})\n",
            report.gradients, gradients.median, gradients.min, gradients.max
        );
    }
    let memory: Vec<Row> = vec![
        (
            format!("forward, {} at once", if report.method_batch > 1 { report.method_batch } else { 1 }),
            report.peak_mib.plain,
            None,
        ),
        ("explain".into(), report.peak_mib.explain, ratios.memory),
    ];
    match report.peak_mib.plain {
        Some(_) => text += &block(&format!("peak memory, {} starts", report.starts), "MiB", &memory),
        None => text += "\npeak memory: this system doesn't tell a process's own\n",
    }
    text
}
