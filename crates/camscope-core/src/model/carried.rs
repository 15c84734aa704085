//! What an exported model carries of its source's sidecar, so that photos are prepared, and classes called, as they were there.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    labels::Labels,
    preprocessing::{Color, Crop, Filter, Input, Layout, Preprocessing, Source},
    sidecar::Sidecar,
    sizing::Sizing,
};

/// The key of how photos are prepared, behind `camscope.`.
const PREPARATION: &str = "preparation";
/// The key of the classes' names.
const LABELS: &str = "labels";
/// The key of the rest.
const SIDECAR: &str = "sidecar";

/// How photos become the input, as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    /// Height and width.
    size: [u32; 2],
    /// The filter of that name in Pillow.
    resize: String,
    crop: WrittenCrop,
    /// The grey level of borders.
    fill: Option<u8>,
    /// `RGB`, `BGR`, `GREY`, or the number of bands.
    color: Value,
    /// `NCHW` or `NHWC`.
    layout: String,
    /// What the grey levels 0 and 255 become.
    range: [f32; 2],
    mean: Vec<f32>,
    std: Vec<f32>,
    white: Option<f32>,
}

/// [`Crop`] as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum WrittenCrop {
    CentreFraction { fraction: f64 },
    ResizeTo { side: u32 },
    Squash,
    SquashTo { height: u32, width: u32 },
    Border { fraction: f64 },
    Letterbox,
    Corner,
    Line,
}

const FILTERS: [(Filter, &str); 6] = [
    (Filter::Nearest, "nearest"),
    (Filter::Bilinear, "bilinear"),
    (Filter::Bicubic, "bicubic"),
    (Filter::Lanczos, "lanczos"),
    (Filter::Box, "box"),
    (Filter::Hamming, "hamming"),
];

/// What an exported model carries: keys behind `camscope.`, and values.
pub(crate) fn entries(sidecar: &Sidecar) -> Vec<(&'static str, String)> {
    let p = &sidecar.preprocessing;
    let mut entries = Vec::new();
    if p.source != Source::Array {
        let crop = match p.crop {
            Crop::CentreFraction(fraction) => WrittenCrop::CentreFraction { fraction },
            Crop::ResizeTo(side) => WrittenCrop::ResizeTo { side },
            Crop::Squash => WrittenCrop::Squash,
            Crop::SquashTo { height, width } => WrittenCrop::SquashTo { height, width },
            Crop::Border(fraction) => WrittenCrop::Border { fraction },
            Crop::Letterbox => WrittenCrop::Letterbox,
            Crop::Corner => WrittenCrop::Corner,
            Crop::Line => WrittenCrop::Line,
        };
        let color = match p.color {
            Color::Rgb => json!("RGB"),
            Color::Bgr => json!("BGR"),
            Color::Grey => json!("GREY"),
            Color::Bands(bands) => json!(bands),
        };
        let layout = if p.layout == Layout::Nchw { "NCHW" } else { "NHWC" };
        let filter = FILTERS.iter().find(|(filter, _)| *filter == p.filter).map_or("bilinear", |(_, name)| name);
        let written = Written {
            size: [p.size.0, p.size.1],
            resize: filter.to_owned(),
            crop,
            fill: p.fill,
            color,
            layout: layout.to_owned(),
            range: p.range,
            mean: p.mean.clone(),
            std: p.std.clone(),
            white: p.white,
        };
        // Of plain values it cannot fail, and floats keep their digits.
        entries.extend(serde_json::to_string(&written).map(|text| (PREPARATION, text)));
    }
    if !sidecar.labels.is_empty() {
        entries.push((LABELS, Value::from(sidecar.labels.names()).to_string()));
    }
    let said = [("logits", &sidecar.logits), ("layer", &sidecar.layer), ("method", &sidecar.method)];
    let said = said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value.clone()?))));
    let mut said: serde_json::Map<String, Value> = said.collect();
    let task = json!(sidecar.task);
    if task.as_object().is_some_and(|task| !task.is_empty()) {
        said.insert("task".into(), task);
    }
    if !said.is_empty() {
        entries.push((SIDECAR, Value::from(said).to_string()));
    }
    entries
}

/// What a model file carries of its source's sidecar.
#[derive(Debug, Default)]
pub(super) struct Carried {
    written: Option<Written>,
    labels: Option<Labels>,
    rest: serde_json::Map<String, Value>,
    /// The source's file.
    source: String,
}

impl Carried {
    /// Takes an entry of the metadata; whether it is one of these, and why it can't be read.
    pub(super) fn take(&mut self, key: &str, value: &str) -> Option<&'static str> {
        match key.strip_prefix("camscope.")? {
            PREPARATION => match serde_json::from_str(value) {
                Ok(written) => self.written = Some(written),
                Err(_) => return Some("camscope.preparation"),
            },
            LABELS => match serde_json::from_str::<Value>(value).ok().and_then(|list| Labels::from_json(&list).ok()) {
                Some(labels) => self.labels = Some(labels),
                None => return Some("camscope.labels"),
            },
            SIDECAR => match serde_json::from_str(value) {
                Ok(rest) => self.rest = rest,
                Err(_) => return Some("camscope.sidecar"),
            },
            "source" => value.clone_into(&mut self.source),
            _ => {}
        }
        None
    }

    /// How photos become the input, where it is carried.
    pub(super) fn preprocessing(&self, input: &Input) -> Option<Preprocessing> {
        let written = self.written.as_ref()?;
        let assumed = input.assumed();
        let side = |fixed: Option<usize>, said: u32| fixed.and_then(|side| u32::try_from(side).ok()).unwrap_or(said);
        let crop = match written.crop {
            WrittenCrop::CentreFraction { fraction } => Crop::CentreFraction(fraction),
            WrittenCrop::ResizeTo { side } => Crop::ResizeTo(side),
            WrittenCrop::Squash => Crop::Squash,
            WrittenCrop::SquashTo { height, width } => Crop::SquashTo { height, width },
            WrittenCrop::Border { fraction } => Crop::Border(fraction),
            WrittenCrop::Letterbox => Crop::Letterbox,
            WrittenCrop::Corner => Crop::Corner,
            WrittenCrop::Line => Crop::Line,
        };
        let color = match (written.color.as_str(), written.color.as_u64()) {
            (Some("RGB"), _) => Color::Rgb,
            (Some("BGR"), _) => Color::Bgr,
            (Some("GREY"), _) => Color::Grey,
            (_, Some(bands)) => Color::Bands(bands as usize),
            _ => return None,
        };
        let filter = FILTERS.iter().find(|(_, name)| *name == written.resize)?.0;
        let [height, width] = written.size;
        Some(Preprocessing {
            size: (side(input.height, height), side(input.width, width)),
            sizing: Sizing::Said,
            filter,
            crop,
            fill: written.fill,
            color,
            layout: if written.layout == "NHWC" { Layout::Nhwc } else { Layout::Nchw },
            range: written.range,
            mean: written.mean.clone(),
            std: written.std.clone(),
            white: written.white,
            source: Source::Exported(self.source.clone()),
            ..assumed
        })
    }

    /// Puts the rest into a sidecar, where that says nothing of it.
    pub(super) fn fill(&self, sidecar: &mut Sidecar) {
        if let Some(labels) = self.labels.as_ref().filter(|_| sidecar.labels.is_empty()) {
            sidecar.labels = labels.clone();
            let source = if self.source.is_empty() { "its source" } else { &self.source };
            sidecar.labels_from = Some(format!("the exported model, as {source} has them"));
        }
        let said = |key: &str| self.rest.get(key).and_then(Value::as_str).map(str::to_owned);
        sidecar.logits = sidecar.logits.take().or_else(|| said("logits"));
        sidecar.layer = sidecar.layer.take().or_else(|| said("layer"));
        sidecar.method = sidecar.method.take().or_else(|| said("method"));
        if sidecar.task == Default::default()
            && let Some(task) = self.rest.get("task").and_then(|task| serde_json::from_value(task.clone()).ok())
        {
            sidecar.task = task;
        }
    }
}
