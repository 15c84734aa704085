//! Preprocessing and labels as Hugging Face and timm leave them beside a model.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::embedded::Embedded;
use super::labels::Labels;
use super::preprocessing::{Color, Crop, Filter, Input, Preprocessing, Source, bounds, imagenet_statistics, type_name};
use super::sidecar::Sidecar;
use super::sizing::Sizing;
use crate::text::printable_path;
use crate::{Error, Result};

/// What the files around the model say, else what `embedded` says or ImageNet's usual values.
///
/// # Errors
/// [`Error::Metadata`] or [`Error::Io`] for a file that is there and no use.
pub(super) fn find(model_path: &Path, input: &Input, embedded: &Embedded) -> Result<Sidecar> {
    let mut sidecar = look(model_path, input, embedded)?;
    if bounds(input.elem).is_some() && sidecar.preprocessing.source.path().is_some() {
        // They describe the network before its normalisation became part of the graph.
        let preprocessing = &mut sidecar.preprocessing;
        let (range, mean, std) = input.assumed_values(preprocessing.color);
        (preprocessing.range, preprocessing.mean, preprocessing.std, preprocessing.whole) = (range, mean, std, true);
        sidecar.notes.push(format!(
            "the model's input takes {}: grey levels go in as they are, without the mean and std of the file beside it",
            type_name(input.elem)
        ));
    }
    Ok(sidecar)
}

fn look(model_path: &Path, input: &Input, embedded: &Embedded) -> Result<Sidecar> {
    if let Some(preprocessing) = embedded.carried.preprocessing(input) {
        return Ok(Sidecar::of(preprocessing));
    }
    let folders = folders(model_path);
    let first = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    let config = first("config.json").map(|path| Json::read(&path)).transpose()?;

    let (preprocessing, labels) = if let Some(path) = first("preprocessor_config.json") {
        let processor = Json::read(&path)?;
        (hugging_face(&processor, input)?, config.map_or(Ok(Labels::default()), |c| id2label(&c))?)
    } else if let Some(config) = config {
        match config.value.get("pretrained_cfg") {
            Some(cfg) => (timm(&config, cfg, input)?, timm_labels(&config, cfg)?),
            None => (embedded.preprocessing(input), id2label(&config)?),
        }
    } else {
        (embedded.preprocessing(input), Labels::default())
    };
    let labels_from = (!labels.is_empty()).then(|| first("config.json").map(|path| printable_path(&path))).flatten();
    Ok(Sidecar { preprocessing, labels, labels_from, ..Sidecar::of(Preprocessing::imagenet()) })
}

/// The model's folder and, as optimum lays a repository out, the one above a folder called `onnx`.
fn folders(model_path: &Path) -> Vec<PathBuf> {
    let folder = model_path.parent().unwrap_or(Path::new("")).to_owned();
    // `onnx/..` rather than the parent: it works for a relative path of one part as well.
    let above = folder.file_name().is_some_and(|name| name == "onnx").then(|| folder.join(".."));
    std::iter::once(folder).chain(above).collect()
}

/// A JSON file and where it lies.
struct Json {
    path: PathBuf,
    value: Value,
}

impl Json {
    fn read(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).map_err(|source| Error::Io { action: "read", path: printable_path(path), source })?;
        let json = serde_json::from_slice::<Value>(&bytes);
        let value =
            json.map_err(|e| Error::Metadata { path: printable_path(path), reason: format!("it is no JSON: {e}") })?;
        if !value.is_object() {
            return Err(Error::Metadata { path: printable_path(path), reason: "it holds no JSON object".into() });
        }
        Ok(Self { path: path.to_owned(), value })
    }

    fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::Metadata { path: printable_path(&self.path), reason: reason.into() }
    }

    /// The value of `key`, unless it is absent or null.
    fn get(&self, key: &str) -> Option<&Value> {
        present(&self.value, key)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    fn numbers(&self, object: &Value, key: &str) -> Result<Option<Vec<f32>>> {
        let Some(value) = present(object, key) else { return Ok(None) };
        let number = |v: &Value| v.as_f64().map(|v| v as f32);
        let list = match value {
            Value::Array(list) => list.iter().map(number).collect(),
            single => number(single).map(|v| vec![v]),
        };
        list.map(Some).ok_or_else(|| self.wrong(format!("{key} is not a list of numbers")))
    }
}

fn present<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn pixels(value: &Value) -> Option<u32> {
    // Some files write 224.0.
    value.as_f64().filter(|v| (1.0..=1e6).contains(v)).map(|v| v as u32)
}

/// `size` or `crop_size` of Hugging Face.
#[derive(Clone, Copy)]
enum Size {
    /// A bare number: what it means depends on the rest.
    Number(u32),
    Shortest(u32),
    Both(u32, u32),
}

impl Size {
    fn read(json: &Json, key: &str) -> Result<Option<Self>> {
        let Some(value) = json.get(key) else { return Ok(None) };
        let field = |name: &str| present(value, name).and_then(pixels);
        let size = match value {
            Value::Array(pair) => match &pair[..] {
                [height, width] => pixels(height).zip(pixels(width)).map(|(h, w)| Self::Both(h, w)),
                _ => None,
            },
            Value::Object(_) => match (field("height").zip(field("width")), field("shortest_edge")) {
                (Some((height, width)), _) => Some(Self::Both(height, width)),
                (None, edge) => edge.map(Self::Shortest),
            },
            number => pixels(number).map(Self::Number),
        };
        size.map(Some).ok_or_else(|| {
            json.wrong(format!("{key} is {value}: only height and width, or the shortest edge, are understood"))
        })
    }

    fn square(self) -> (u32, u32) {
        match self {
            Self::Number(side) | Self::Shortest(side) => (side, side),
            Self::Both(height, width) => (height, width),
        }
    }
}

/// The image processors of transformers, old and new: ViT, DeiT, CLIP, ConvNeXt, MobileNet, EfficientNet and their kin.
fn hugging_face(json: &Json, input: &Input) -> Result<Preprocessing> {
    let assumed = input.assumed();
    if json.flag("do_resize") == Some(false) {
        return Err(
            json.wrong("it does not resize photos (do_resize is false), so what the model expects is not known")
        );
    }
    let crop_size = Size::read(json, "crop_size")?;
    let size = match Size::read(json, "size")? {
        Some(size) => size,
        None => crop_size.unwrap_or(Size::Both(assumed.size.0, assumed.size.1)),
    };
    let processor = ["image_processor_type", "feature_extractor_type"].iter().find_map(|key| json.get(key)?.as_str());
    let convnext = processor.is_some_and(|name| name.starts_with("ConvNext"));
    let fraction = json.get("crop_pct").and_then(Value::as_f64).or(convnext.then_some(224.0 / 256.0));
    let centre_crop = json.flag("do_center_crop").unwrap_or(crop_size.is_some() && fraction.is_none());

    let whole = Some(size).filter(|_| fraction.is_none());
    let (size, crop) = match (fraction, size) {
        // ConvNeXt's processor squeezes from 384 pixels on and crops below that.
        (Some(_), size) if convnext && size.square().0 >= 384 => (size.square(), Crop::Squash),
        (Some(fraction), size) => (crop_size.unwrap_or(size).square(), Crop::CentreFraction(fraction)),
        (None, Size::Both(height, width)) if centre_crop => {
            (crop_size.unwrap_or(size).square(), Crop::SquashTo { height, width })
        }
        (None, Size::Number(side)) if centre_crop => (crop_size.unwrap_or(size).square(), Crop::ResizeTo(side)),
        // Without a crop the photo would keep its aspect: one size is needed, so its centre is taken.
        (None, Size::Shortest(side)) => (crop_size.unwrap_or(size).square(), Crop::ResizeTo(side)),
        (None, Size::Both(..) | Size::Number(_)) => (size.square(), Crop::Squash),
    };

    let filter = match json.get("resample") {
        None => assumed.filter,
        Some(value) => match value.as_u64() {
            Some(0) => Filter::Nearest,
            Some(1) => Filter::Lanczos,
            Some(2) => Filter::Bilinear,
            Some(3) => Filter::Bicubic,
            Some(4) => Filter::Box,
            Some(5) => Filter::Hamming,
            _ => return Err(json.wrong(format!("resample is {value}, not one of Pillow's filters 0 to 5"))),
        },
    };
    let bgr = json.flag("do_flip_channel_order") == Some(true);
    let color = if bgr { Color::Bgr } else { assumed.color };
    let factor = json.get("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0);
    let high = if json.flag("do_rescale").unwrap_or(true) { (255.0 * factor) as f32 } else { 255.0 };
    let range = if json.flag("rescale_offset") == Some(true) { [-1.0, high - 1.0] } else { [0.0, high] };

    let mean = json.numbers(&json.value, "image_mean")?;
    let std = json.numbers(&json.value, "image_std")?;
    // Some processors (MobileViT's) know no normalisation and say nothing of it.
    let normalise = json.flag("do_normalize").unwrap_or(mean.is_some());
    let (mean, std) = if normalise {
        let (usual_mean, usual_std) = imagenet_statistics(color);
        (mean.unwrap_or(usual_mean), std.unwrap_or(usual_std))
    } else {
        (vec![0.0; color.channels()], vec![1.0; color.channels()])
    };
    let source = Source::HuggingFace(json.path.clone());
    let is_said = json.get("size").is_some() || crop_size.is_some();
    let mut sizing = if is_said { Sizing::Said } else { assumed.sizing };
    let (mut size, mut crop) = (size, crop);
    let longest = json.get("size").and_then(|size| present(size, "longest_edge")).and_then(pixels);
    // Detectors' processors keep the photo whole, and its aspect.
    if let (Some(multiple), Some(Size::Shortest(side)), Some(longest)) = (input.dense, whole, longest)
        && !centre_crop
    {
        sizing = Sizing::Photo { multiple, shortest: Some(side), longest };
        (size, crop) = (sizing.without_photo(size), Crop::Squash);
    }
    Ok(Preprocessing { size, sizing, filter, crop, color, range, mean, std, source, ..assumed })
}

fn id2label(config: &Json) -> Result<Labels> {
    let map = config.get("id2label").map(Labels::from_json).transpose();
    Ok(map.map_err(|reason| config.wrong(format!("id2label: {reason}")))?.unwrap_or_default())
}

/// timm's `pretrained_cfg`, with timm's own defaults for what it leaves out (`timm.data.resolve_data_config`).
fn timm(json: &Json, cfg: &Value, input: &Input) -> Result<Preprocessing> {
    let assumed = input.assumed();
    let sizing = if present(cfg, "input_size").is_some() { Sizing::Said } else { assumed.sizing };
    let (size, color) = match present(cfg, "input_size") {
        None => (assumed.size, assumed.color),
        Some(value) => {
            let axes: Option<Vec<u32>> = value.as_array().and_then(|axes| axes.iter().map(pixels).collect());
            match axes.as_deref() {
                Some(&[1, height, width]) => ((height, width), Color::Grey),
                Some(&[3, height, width]) => ((height, width), Color::Rgb),
                _ => return Err(json.wrong(format!("input_size is {value}, not [channels, height, width]"))),
            }
        }
    };
    let filter = match present(cfg, "interpolation").and_then(Value::as_str) {
        None | Some("bicubic") => Filter::Bicubic,
        // timm evaluates models trained with random filters by the bilinear one.
        Some("bilinear" | "random") => Filter::Bilinear,
        Some("nearest") => Filter::Nearest,
        Some("lanczos") => Filter::Lanczos,
        Some("box") => Filter::Box,
        Some("hamming") => Filter::Hamming,
        Some(other) => return Err(json.wrong(format!("interpolation {other} is unknown"))),
    };
    let fraction = present(cfg, "crop_pct").and_then(Value::as_f64).unwrap_or(0.875);
    let crop = match present(cfg, "crop_mode").and_then(Value::as_str) {
        None | Some("center") => Crop::CentreFraction(fraction),
        Some("squash") if fraction == 1.0 => Crop::Squash,
        Some("squash") => {
            let scaled = |side: u32| (f64::from(side) / fraction).floor() as u32;
            Crop::SquashTo { height: scaled(size.0), width: scaled(size.1) }
        }
        Some("border") => Crop::Border(fraction),
        Some(other) => return Err(json.wrong(format!("crop_mode {other} is unknown"))),
    };
    let (mean, std) = imagenet_statistics(color);
    Ok(Preprocessing {
        size,
        sizing,
        filter,
        crop,
        color,
        range: [0.0, 1.0],
        mean: json.numbers(cfg, "mean")?.unwrap_or(mean),
        std: json.numbers(cfg, "std")?.unwrap_or(std),
        source: Source::Timm(json.path.clone()),
        ..assumed
    })
}

/// timm names classes by synset (`label_names`) and describes those names in a map of their own.
fn timm_labels(json: &Json, cfg: &Value) -> Result<Labels> {
    let look = |key: &str| json.get(key).or_else(|| present(cfg, key));
    let Some(names) = look("label_names") else { return id2label(json) };
    let labels = Labels::from_json(names).map_err(|reason| json.wrong(format!("label_names: {reason}")))?;
    let Some(descriptions) = look("label_descriptions") else { return Ok(labels) };
    let described = |name: &String| descriptions.get(name).and_then(Value::as_str).unwrap_or(name).to_owned();
    Ok(Labels::new(labels.names().iter().map(described).collect()))
}
