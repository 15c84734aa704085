//! `camscope export`: a model that gives its heatmaps itself.

use std::{path::Path, process::ExitCode};

use camscope_core::{
    Error, Result,
    explain::{
        Options,
        export::{Export, How, Overlay, export},
    },
    method,
    model::Sidecar,
    overlay,
    runtime::Runtime,
    subject::TypedModel,
    target::TargetRef,
    text::{printable, printable_path},
};
use onnx_grad::{MOST_BYTES, Model};

use crate::{
    cli_export::ExportArgs,
    export_triton, output, plugins,
    setup::{create_folder, not_written, note_all, open},
};

/// Runs `camscope export`.
///
/// # Errors
/// The model cannot be read, doesn't have what is asked for or cannot be differentiated; the method is no program; a file cannot be written.
pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode> {
    if let Some(output) = &args.output {
        refuse_same(&args.model, output)?;
    }
    plugins::load(&args.extra.plugins);
    let colormap = overlay::by_name(&args.colormap)?;
    let how = How {
        resolution: args.heat(),
        target: args.target.clone(),
        top: args.top.map(usize::from),
        overlay: args.overlay.then_some(Overlay { colormap, alpha: args.alpha }),
        opset: args.opset,
    };
    let (network, sidecar) = open(&args.model, &args.input)?;
    let targets = how.targets()?;
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let subject = TypedModel::for_targets(runtime, network, sidecar, &targets)?;
    let how = suited(how, &subject);
    let options = options(args, subject.sidecar(), &how.targets()?)?;
    if targets.is_empty() {
        note_all(&subject.network().default_notes());
    }
    let export = export(&subject, &options, &how)?;
    note_all(&export.notes);
    if let Some(output) = &args.output {
        write(&export.model, output, args.external)?;
        output::print(&format!("{}: {}\n", printable_path(output), printable(&summary(&export))))?;
    }
    if let Some(folder) = &args.triton {
        let name = export_triton::name(args.output.as_deref().unwrap_or(&args.model));
        let (config, model) = export_triton::places(folder, &name);
        if let Some(parent) = model.parent() {
            create_folder(parent)?;
        }
        refuse_same(&args.model, &model)?;
        write(&export.model, &model, args.external)?;
        let text = export_triton::config(&export, &name);
        std::fs::write(&config, text).map_err(|source| crate::setup::failed("write", &config, source))?;
        let text = printable(&summary(&export)).into_owned();
        output::print(&format!(
            "{}: {text}\n{}: the configuration\n",
            printable_path(&model),
            printable_path(&config)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is explained where nobody says: the class that is asked for, or, of a model without classes, what it answers first.
fn suited(how: How, subject: &TypedModel) -> How {
    let is_open = how.target.is_none() && how.top.is_none() && subject.network().classes.is_none();
    let first = subject.default_target().ok().filter(|target| is_open && target.in_graph().is_some());
    How { target: first.map(|target| target.spec()).or(how.target), ..how }
}

/// Writes a model: its weights too, unless they are left outside or there are too many of them.
fn write(model: &Model, path: &Path, external: bool) -> Result<()> {
    let refused = |source| not_written(path, source);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        create_folder(folder)?;
    }
    let is_large = model.encoded_len() > MOST_BYTES;
    if !(external || is_large) {
        return model.write(path).map_err(refused);
    }
    let used = model.write_beside(path).map_err(refused)?;
    let files = used.iter().map(|file| printable_path(file)).collect::<Vec<_>>().join(", ");
    let reason = if external { "" } else { ", since one .onnx file holds no more than 2 GiB" };
    if !used.is_empty() {
        note_all(&[format!("the weights of {} are in {files}{reason}", printable_path(path))]);
    }
    Ok(())
}

/// Refuses to write over what is read.
fn refuse_same(model: &Path, output: &Path) -> Result<()> {
    match (model.canonicalize(), output.canonicalize()) {
        (Ok(model), Ok(output)) if model == output => Err(Error::CannotExport {
            reason: format!("{} is the model itself", printable_path(&output)),
            help: "give -o another file".into(),
        }),
        _ => Ok(()),
    }
}

fn options(args: &ExportArgs, sidecar: &Sidecar, targets: &[TargetRef]) -> Result<Options> {
    let method = match (&args.method, &sidecar.method) {
        (Some(name), _) => method::parse(name)?,
        (None, Some(name)) => method::parse(name).map_err(|error| sidecar.at_fault("method", error))?,
        (None, None) => method::default_for(targets),
    };
    note_all(&method::mistrust(method.method, targets).into_iter().collect::<Vec<_>>());
    Ok(Options {
        method,
        sign: args.sign.into(),
        layers: args.layers.clone(),
        layout: args.layout,
        score: args.score.into(),
        ..Options::default()
    })
}

/// `takes image, camscope_class; gives logits, heatmap (7 × 7, at features.7)`
fn summary(export: &Export) -> String {
    let graph = export.model.graph();
    let inputs: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    let output = |name: &str| match export.heatmaps.iter().find(|heatmap| heatmap.output == name) {
        Some(heatmap) => {
            let size = heatmap.size.map(|size| size.map_or("?".into(), |size| size.to_string())).join(" × ");
            format!("{name} ({size}, at {})", heatmap.layer)
        }
        None => name.to_owned(),
    };
    let outputs: Vec<String> = graph.output.iter().map(|info| output(&info.name)).collect();
    format!("takes {}; gives {}", inputs.join(", "), outputs.join(", "))
}
