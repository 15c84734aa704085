//! `camscope layers`: every layer of a model.

use std::process::ExitCode;

use camscope_core::{Result, layer::Layer, model::Network, runtime::Runtime, subject::TypedModel, text::printable};
use serde_json::json;

use crate::{
    cli::LayersArgs,
    output::{self, json_line},
    plugins,
    setup::{note_all, open},
};

/// Runs `camscope layers`.
///
/// # Errors
/// The model cannot be read, or ONNX Runtime cannot load it.
pub(crate) fn run(args: &LayersArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let (network, sidecar) = open(&args.model, &args.input)?;
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let subject = TypedModel::for_targets(runtime, network, sidecar, &args.targets)?;
    let sidecar = subject.sidecar();
    note_all(&sidecar.remarks());
    note_all(&sidecar.labels_remark().into_iter().chain(subject.label_mismatch()).collect::<Vec<_>>());
    plugins::note_resolved(subject.resolved());
    if args.targets.is_empty() {
        note_outputs(subject.network());
    }
    let (layers, default) = (subject.layers(), subject.default_layer());
    let text = if args.json { lines(layers, default) } else { table(layers, default) };
    output::print(&text)?;
    if layers.is_empty() {
        let why = subject.why_no_layers().map(|reason| format!(": {reason}")).unwrap_or_default();
        eprintln!("note: {}{}", camscope_core::Error::NoLayers, printable(&why));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says which of several outputs the layers lead to.
fn note_outputs(network: &Network) {
    if let Some(note) = network.choice_note() {
        eprintln!("note: {}", printable(&note));
    } else if network.classes.is_none() {
        let names: Vec<String> = network.outputs.iter().map(|name| format!("`{}`", printable(name))).collect();
        eprintln!("note: no output holds class scores; the layers are those that lead to {}", names.join(", "));
    }
}

fn lines(layers: &[Layer], default: Option<usize>) -> String {
    let line = |layer: &Layer| {
        json_line(&json!({
            "index": layer.index,
            "name": layer.value,
            "module": layer.module,
            "modules": layer.outputs_of,
            "operator": layer.op,
            "shape": layer.shape,
            "layout": layer.layout.name(),
            "default": default == Some(layer.index),
        }))
    };
    layers.iter().map(line).collect()
}

/// The module whose output a layer is, or, in brackets, the one inside which it is made.
fn module(layer: &Layer) -> String {
    match (&layer.module, layer.output_of()) {
        (_, Some(module)) => printable(module).into_owned(),
        (Some(module), None) => format!("({})", printable(module)),
        (None, None) => String::new(),
    }
}

fn table(layers: &[Layer], default: Option<usize>) -> String {
    let header = ["", "index", "name", "module", "operator", "shape", "layout"].map(str::to_owned);
    let row = |layer: &Layer| {
        let size = |size: &Option<usize>| size.map_or("N".to_owned(), |size| size.to_string());
        [
            if default == Some(layer.index) { "*" } else { "" }.to_owned(),
            layer.index.to_string(),
            printable(&layer.value).into_owned(),
            module(layer),
            printable(&layer.op).into_owned(),
            layer.shape.iter().map(size).collect::<Vec<_>>().join("×"),
            layer.layout.name(),
        ]
    };
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(layers.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
