//! `camscope layers`: every layer of a model.

use std::process::ExitCode;

use camscope_core::{
    Result,
    layer::Layer,
    runtime::Runtime,
    subject::{default_layer, layers_of, resolve, type_values, why_none},
    text::printable,
};
use serde_json::json;

use crate::{
    cli::LayersArgs,
    explain_cmd::open,
    output::{self, json_line},
    plugins,
};

/// Runs `camscope layers`.
///
/// # Errors
/// The model cannot be read, or ONNX Runtime cannot load it.
pub(crate) fn run(args: &LayersArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let (mut network, sidecar) = open(&args.model)?;
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let types = type_values(runtime, &mut network, &sidecar)?;
    let mut layers = layers_of(&network, &sidecar, &types);
    let resolved = resolve(&network, &sidecar, &mut layers);
    let default = resolved.first().map_or_else(|| default_layer(&layers, &sidecar), |first| Ok(Some(first)))?;
    plugins::note_resolved(&resolved);
    let text = if args.json { lines(&layers, default) } else { table(&layers, default) };
    output::print(&text)?;
    if layers.is_empty() {
        let why = why_none(runtime, &network, &sidecar)?.map(|(reason, _)| format!(": {reason}")).unwrap_or_default();
        eprintln!("note: {}{}", camscope_core::Error::NoLayers, printable(&why));
    }
    Ok(ExitCode::SUCCESS)
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
