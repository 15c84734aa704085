//! The configuration of an exported model for NVIDIA's Triton Inference Server (and KServe, which runs it): `config.pbtxt` as the server's
//! `model_config.proto` has it, in a model repository.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use camscope_core::explain::export::Export;
use onnx_grad::{ElemType, ValueType, proto::ValueInfoProto};

/// How many images the server may put together, where the model takes any number.
const BATCH: usize = 8;

/// The model's name in the repository: the file's, of letters, digits, `_`, `-` and `.`.
pub(crate) fn name(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let name: String = stem.chars().map(plain).collect();
    if name.trim_matches('.').is_empty() { "model".into() } else { name }
}

/// Where the configuration and the model go.
pub(crate) fn places(repository: &Path, name: &str) -> (PathBuf, PathBuf) {
    let folder = repository.join(name);
    (folder.join("config.pbtxt"), folder.join("1").join("model.onnx"))
}

/// The configuration.
pub(crate) fn config(export: &Export, name: &str) -> String {
    let graph = export.model.graph();
    // The server puts requests together along the first axis, of all tensors or of none.
    let is_free = |info: &ValueInfoProto| shape(info).is_some_and(|shape| shape.first() == Some(&-1));
    let batches = graph.input.iter().chain(&graph.output).all(is_free);
    let mut text = String::new();
    let mut line = |line: &str| {
        let _ = writeln!(text, "{line}"); // a string takes whatever comes
    };
    line(&format!(
        "# Written by camscope {}: what goes in is prepared as the model wants it.",
        env!("CARGO_PKG_VERSION")
    ));
    line(&format!("name: {}", quoted(name)));
    line("backend: \"onnxruntime\"");
    line(&format!("max_batch_size: {}", if batches { BATCH } else { 0 }));
    for (kind, infos) in [("input", &graph.input), ("output", &graph.output)] {
        let each: Vec<String> = infos.iter().map(|info| tensor(info, batches)).collect();
        line(&format!("{kind} [\n{}\n]", each.join(",\n")));
    }
    if batches {
        line("dynamic_batching { }");
    }
    text
}

/// A tensor's sizes, -1 for open ones.
fn shape(info: &ValueInfoProto) -> Option<Vec<i64>> {
    let ty = ValueType::from_proto(info.r#type.as_ref()?)?;
    Some(ty.shape?.iter().map(|dim| dim.fixed().map_or(-1, |size| size as i64)).collect())
}

fn tensor(info: &ValueInfoProto, batches: bool) -> String {
    let shape = shape(info).unwrap_or_default();
    let own = if batches { shape.get(1..).unwrap_or_default() } else { &shape };
    let elem = info.r#type.as_ref().and_then(ValueType::from_proto).map_or(ElemType::Float, |ty| ty.elem);
    let list = |sizes: &[i64]| sizes.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    // A tensor has an axis at least: that of one number a request is taken off again.
    let (dims, reshape) =
        if own.is_empty() { ("1".to_owned(), "\n    reshape: { shape: [ ] }") } else { (list(own), "") };
    format!(
        "  {{\n    name: {}\n    data_type: {}\n    dims: [ {dims} ]{reshape}\n  }}",
        quoted(&info.name),
        type_name(elem)
    )
}

/// An element type as `model_config.proto` calls it.
fn type_name(elem: ElemType) -> &'static str {
    match elem {
        ElemType::Bool => "TYPE_BOOL",
        ElemType::Uint8 => "TYPE_UINT8",
        ElemType::Uint16 => "TYPE_UINT16",
        ElemType::Uint32 => "TYPE_UINT32",
        ElemType::Uint64 => "TYPE_UINT64",
        ElemType::Int8 => "TYPE_INT8",
        ElemType::Int16 => "TYPE_INT16",
        ElemType::Int32 => "TYPE_INT32",
        ElemType::Int64 => "TYPE_INT64",
        ElemType::Float16 => "TYPE_FP16",
        ElemType::BFloat16 => "TYPE_BF16",
        ElemType::Double => "TYPE_FP64",
        ElemType::String => "TYPE_STRING",
        ElemType::Float | ElemType::Other(_) => "TYPE_FP32",
    }
}

/// A string of the text format of protocol buffers.
fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => c.to_string().bytes().map(|byte| format!("\\{byte:03o}")).collect(),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}
