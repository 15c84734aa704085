//! `camscope export`: a model that gives its heatmaps itself.

use std::{path::Path, process::ExitCode};

use camscope_core::{
    Error, Result,
    explain::{
        Options,
        export::{Export, export},
    },
    method,
    model::Sidecar,
    runtime::Runtime,
    subject::TypedModel,
    text::{printable, printable_path},
};

use crate::{
    cli_export::ExportArgs,
    output, plugins,
    setup::{note_all, open},
};

/// Runs `camscope export`.
///
/// # Errors
/// The model cannot be read, gives no class scores or cannot be differentiated; the method is no program; the file cannot be written.
pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode> {
    refuse_same(&args.model, &args.output)?;
    plugins::load(&args.extra.plugins);
    let (network, sidecar) = open(&args.model, &args.input)?;
    let options = options(args, &sidecar)?;
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let subject = TypedModel::new(runtime, network, sidecar)?;
    note_all(&subject.network().choice_note().into_iter().collect::<Vec<_>>());
    let export = export(&subject, &options, args.resolution.into())?;
    note_all(&export.notes);
    let refused = |source| Error::Model { path: printable_path(&args.output), source };
    export.model.write(&args.output).map_err(refused)?;
    output::print(&format!("{}: {}\n", printable_path(&args.output), printable(&summary(&export))))?;
    Ok(ExitCode::SUCCESS)
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

fn options(args: &ExportArgs, sidecar: &Sidecar) -> Result<Options> {
    let method = match (&args.method, &sidecar.method) {
        (Some(name), _) => method::parse(name)?,
        (None, Some(name)) => method::parse(name).map_err(|error| sidecar.at_fault("method", error))?,
        (None, None) => method::Chosen::default(),
    };
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
