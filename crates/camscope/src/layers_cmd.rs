//! `camscope layers`: every layer of a model.

use std::process::ExitCode;

use camscope_core::{
    Result,
    layer::Layer,
    layer_ranges::{LayerRange, Ranges},
    model::Network,
    runtime::{Canceller, Runtime, SessionOptions},
    subject::TypedModel,
    text::printable,
};
use serde_json::json;

use crate::{
    cli::LayersArgs,
    input::photo_or_pattern,
    output::{self, json_line},
    plugins,
    setup::{note_all, open_for},
};

/// Runs `camscope layers`.
///
/// # Errors
/// The model or the photo cannot be read, or ONNX Runtime cannot load the model.
pub(crate) fn run(args: &LayersArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let (network, sidecar) = open_for(&args.model, &args.input, args.picture())?;
    let tensor = args
        .picture()
        .map(|photo| photo_or_pattern(Some(photo), &network, &sidecar.preprocessing))
        .transpose()?
        .map(|(tensor, _)| tensor);
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let subject = TypedModel::for_targets(runtime, network, sidecar, &args.targets)?;
    let sidecar = subject.sidecar();
    note_all(&sidecar.remarks());
    note_all(&sidecar.labels_remark().into_iter().chain(subject.label_mismatch()).collect::<Vec<_>>());
    plugins::note_resolved(subject.resolved());
    if args.targets.is_empty() {
        note_outputs(subject.network());
    }
    let forms = subject.forms();
    if !forms.is_empty() {
        eprintln!(
            "note: the model is quantised ({}): its layers are listed as the floats that they stand for",
            forms.join(", ")
        );
    }
    let ranges = match &tensor {
        Some(tensor) => {
            let ranges = Ranges::new(runtime, &subject, &SessionOptions::default())?;
            Some(ranges.of(&subject, tensor, &Canceller::new())?)
        }
        None => None,
    };
    let text = if args.json { lines(&subject, ranges.as_deref()) } else { table(&subject, ranges.as_deref()) };
    output::print(&text)?;
    if subject.layers().is_empty() {
        let why = subject.why_no_layers().map(|reason| format!(": {reason}")).unwrap_or_default();
        eprintln!("note: {}{}", camscope_core::Error::NoLayers, printable(&why));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says which of several outputs the layers lead to.
fn note_outputs(network: &Network) {
    let notes = network.default_notes();
    note_all(&notes);
    if notes.is_empty() && network.classes.is_none() {
        let names: Vec<String> = network.outputs.iter().map(|name| format!("`{}`", printable(name))).collect();
        eprintln!("note: no output holds class scores; the layers are those that lead to {}", names.join(", "));
    }
}

fn lines(subject: &TypedModel, ranges: Option<&[LayerRange]>) -> String {
    let line = |(at, layer): (usize, &Layer)| {
        let range = ranges.and_then(|ranges| ranges.get(at));
        json_line(&json!({
            "index": layer.index,
            "name": layer.value,
            "module": layer.module,
            "modules": layer.outputs_of,
            "operator": layer.op,
            "shape": layer.shape,
            "layout": layer.layout.name(),
            "type": subject.stored()[at].as_ref().map_or("float32", |stored| stored.name),
            "range": range.map(|range| [range.least, range.most]),
            "numbers": range.map(|range| range.numbers),
            "saturated": range.and_then(|range| range.saturated),
            "default": subject.default_layer() == Some(layer.index),
        }))
    };
    subject.layers().iter().enumerate().map(line).collect()
}

/// The module whose output a layer is, or, in brackets, the one inside which it is made.
fn module(layer: &Layer) -> String {
    match (&layer.module, layer.output_of()) {
        (_, Some(module)) => printable(module).into_owned(),
        (Some(module), None) => format!("({})", printable(module)),
        (None, None) => String::new(),
    }
}

fn table(subject: &TypedModel, ranges: Option<&[LayerRange]>) -> String {
    // The type is told where it is not float32 everywhere.
    let is_told = subject.stored().iter().any(Option::is_some);
    let mut header: Vec<&str> = vec!["", "index", "name", "module", "operator", "shape", "layout"];
    header.extend(is_told.then_some("type"));
    header.extend(ranges.is_some().then_some(["range", "saturated"]).into_iter().flatten());
    let row = |(at, layer): (usize, &Layer)| {
        let size = |size: &Option<usize>| size.map_or("N".to_owned(), |size| size.to_string());
        let mut row = vec![
            if subject.default_layer() == Some(layer.index) { "*" } else { "" }.to_owned(),
            layer.index.to_string(),
            printable(&layer.value).into_owned(),
            module(layer),
            printable(&layer.op).into_owned(),
            layer.shape.iter().map(size).collect::<Vec<_>>().join("×"),
            layer.layout.name(),
        ];
        row.extend(is_told.then(|| subject.stored()[at].as_ref().map_or("float32", |stored| stored.name).to_owned()));
        if let Some(range) = ranges.and_then(|ranges| ranges.get(at)) {
            row.push(format!("{:.3} to {:.3}", range.least, range.most));
            row.push(saturated(range));
        }
        row
    };
    let header = header.into_iter().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(subject.layers().iter().enumerate().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// How many of a layer's numbers saturate, and which share that is.
fn saturated(range: &LayerRange) -> String {
    match range.saturated {
        Some(0) => "0".to_owned(),
        Some(saturated) => format!("{saturated} ({})", range.percent()),
        None => String::new(),
    }
}
