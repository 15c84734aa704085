//! What an exported model says of itself in its metadata, and the way back to its source.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use onnx_grad::{Model, graph, proto::StringStringEntryProto};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Heatmap, How, Options};
use crate::{
    error::{Error, Result},
    model::{Sidecar, carried},
    target::Score,
    text::printable_path,
};

/// What the keys of the metadata begin with.
pub(super) const PREFIX: &str = "camscope.";

/// What an exported model says of itself.
pub(super) struct About<'a> {
    pub(super) options: &'a Options,
    pub(super) how: &'a How,
    pub(super) class_input: Option<&'a str>,
    pub(super) heatmaps: &'a [Heatmap],
    /// Every output besides the model's own.
    pub(super) added: &'a [String],
}

impl About<'_> {
    /// # Errors
    /// The source can't be read.
    pub(super) fn metadata(&self, source: &Path, sidecar: &Sidecar) -> Result<Vec<StringStringEntryProto>> {
        let heatmaps: Vec<_> =
            self.heatmaps.iter().map(|heatmap| json!({ "output": heatmap.output, "layer": heatmap.layer })).collect();
        let score = match self.options.score {
            Score::Logit => "logit",
            Score::Probability => "probability",
        };
        let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut entries = vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("source", name),
            ("source_sha256", sha256(source)?),
            ("method", self.options.method.spec()),
            ("sign", self.options.sign.name().to_owned()),
            ("score", score.to_owned()),
            ("target", self.how.target()),
            ("resolution", self.how.resolution.name().to_owned()),
            ("heatmaps", serde_json::Value::from(heatmaps).to_string()),
            ("outputs", serde_json::Value::from(self.added).to_string()),
        ];
        entries.extend(self.class_input.map(|name| ("class_input", name.to_owned())));
        entries.extend(carried::entries(sidecar));
        let entry = |(key, value)| StringStringEntryProto { key: format!("{PREFIX}{key}"), value };
        Ok(entries.into_iter().map(entry).collect())
    }
}

/// The SHA-256 of a file, in hexadecimal digits.
fn sha256(path: &Path) -> Result<String> {
    let failed = |source| Error::Io { action: "read", path: printable_path(path), source };
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let mut hasher = Sha256::new();
    loop {
        let piece = file.fill_buf().map_err(failed)?;
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        let read = piece.len();
        file.consume(read);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The model that an exported one was made of, and a sentence that says so; `None` where it is no exported one.
pub(crate) fn plain(model: &Model) -> Option<(Model, String)> {
    let said = |key: &str| {
        let entry = model.proto().metadata_props.iter().find(|entry| entry.key.strip_prefix(PREFIX) == Some(key));
        entry.map(|entry| entry.value.as_str())
    };
    let heatmaps: Vec<serde_json::Value> = serde_json::from_str(said("heatmaps")?).ok()?;
    let each = |key: &str| -> Vec<String> {
        heatmaps.iter().filter_map(|heatmap| heatmap[key].as_str().map(str::to_owned)).collect()
    };
    let mut made = each("output");
    made.extend(said("outputs").and_then(|list| serde_json::from_str::<Vec<String>>(list).ok()).unwrap_or_default());
    let class_input = said("class_input");
    let graph = model.graph();
    let is_own = |name: &&str| Some(*name) != class_input;
    let inputs: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).filter(is_own).collect();
    let outputs: Vec<&str> = graph
        .output
        .iter()
        .map(|output| output.name.as_str())
        .filter(|name| !made.iter().any(|made| made == name))
        .collect();
    let cut = graph::cut(graph, &inputs, &outputs).ok()?;
    let source = match (said("source"), said("source_sha256").and_then(|hash| hash.get(..12))) {
        (Some(name), Some(hash)) if !name.is_empty() => format!(" from {name} (SHA-256 {hash}…)"),
        (_, Some(hash)) => format!(" from a model of SHA-256 {hash}…"),
        _ => String::new(),
    };
    let target = match said("target") {
        Some("class") | None => String::new(),
        Some(target) => format!(", for {target}"),
    };
    let note = format!(
        "camscope exported the model{source}: it gives heatmaps of itself ({} at {}{target}), and is taken here without them",
        said("method").unwrap_or_default(),
        each("layer").join(", ")
    );
    Some((model.with_graph(cut), note))
}
