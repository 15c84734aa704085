//! What is known about a model beyond its graph: camscope's TOML file beside it, else what others have left there.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::foreign;
use super::labels::Labels;
use super::preprocessing::{Color, Crop, Filter, Input, Layout, Preprocessing, Source, imagenet_statistics};
use crate::text::printable_path;
use crate::{Error, Result};

/// What is known about a model beyond its graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Sidecar {
    /// How a photo becomes the model's input.
    pub preprocessing: Preprocessing,
    /// The classes' names; empty where nobody noted them.
    pub labels: Labels,
    /// The name of the output that holds the logits, where it is given.
    pub logits: Option<String>,
    /// The layer to explain by default, as `--layer` takes it.
    pub layer: Option<String>,
    /// The method to explain with by default.
    pub method: Option<String>,
}

/// What is known about the model file `model_path`, whose photo input has the shape `input_shape` (`None` for a free
/// axis).
///
/// The first that exists counts: `MODEL.toml` beside the model (`net.onnx`: `net.toml`); Hugging Face's
/// `preprocessor_config.json`, with the labels of its `config.json`; timm's `config.json`. The last two may also lie in
/// the folder above if the model is in one named `onnx`. Else ImageNet's usual values for the input's shape are taken, and
/// the [`Source`] says so.
///
/// # Errors
/// [`Error::ModelInput`] if the input takes no photos; [`Error::SidecarSyntax`] with line and column; [`Error::Metadata`]
/// for a value that can't be; [`Error::SizeMismatch`] if a size contradicts the model's; [`Error::NoSuchFile`] or
/// [`Error::Io`] for files that can't be read.
pub fn resolve(model_path: impl AsRef<Path>, input_shape: &[Option<usize>]) -> Result<Sidecar> {
    let model_path = model_path.as_ref();
    let toml = model_path.with_extension("toml");
    let no_photo = |reason| Error::ModelInput { path: printable_path(model_path), reason };
    let (sidecar, known) = if toml.is_file() {
        let raw = Raw::read(&toml)?;
        let input = Input::new(input_shape, raw.input.layout).map_err(no_photo)?;
        (raw.into_sidecar(&toml, &input)?, input)
    } else {
        let input = Input::new(input_shape, None).map_err(no_photo)?;
        (foreign::find(model_path, &input)?, input)
    };
    let path = match &sidecar.preprocessing.source {
        Source::Sidecar(path) | Source::HuggingFace(path) | Source::Timm(path) => path.clone(),
        Source::Assumed => model_path.to_owned(),
    };
    agree(&sidecar.preprocessing, &known, &path)?;
    Ok(sidecar)
}

impl Sidecar {
    /// Says of an error that `key` under `[explain]` in the file beside the model is its cause.
    pub fn at_fault(&self, key: &str, error: Error) -> Error {
        match &self.preprocessing.source {
            Source::Sidecar(path) | Source::HuggingFace(path) | Source::Timm(path) => {
                let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
                Error::Metadata {
                    path: printable_path(path),
                    reason: format!("`{key}` under [explain]: {error}{help}"),
                }
            }
            Source::Assumed => error,
        }
    }
}

/// Refuses values that can't be, or that contradict the model's input.
fn agree(preprocessing: &Preprocessing, input: &Input, path: &Path) -> Result<()> {
    let metadata = |reason| Error::Metadata { path: printable_path(path), reason };
    if let Some(reason) = preprocessing.problem() {
        return Err(metadata(reason));
    }
    let (height, width) = preprocessing.size;
    let differs = |fixed: Option<usize>, side: u32| fixed.is_some_and(|fixed| fixed != side as usize);
    if differs(input.height, height) || differs(input.width, width) {
        return Err(Error::SizeMismatch {
            path: printable_path(path),
            given: (height, width),
            model: (input.height, input.width),
        });
    }
    match input.channels {
        Some(channels) if channels != preprocessing.channels() => Err(metadata(format!(
            "it feeds {} into an input of {channels}",
            if preprocessing.color == Color::Grey { "one grey channel" } else { "three colour channels" }
        ))),
        _ => Ok(()),
    }
}

/// The file as it is written. Unknown keys are errors: a misspelt one would silently change every prediction.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    input: RawInput,
    output: RawOutput,
    explain: RawExplain,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawInput {
    size: Option<RawSize>,
    resize: Option<Filter>,
    crop: Option<RawCrop>,
    resize_to: Option<RawSize>,
    #[serde(alias = "colour")]
    color: Option<Color>,
    layout: Option<Layout>,
    range: Option<[f32; 2]>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawOutput {
    labels: Option<RawLabels>,
    logits: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawExplain {
    layer: Option<String>,
    method: Option<String>,
}

/// `224` or `[224, 192]`: height, width.
#[derive(Debug, Clone, Copy)]
enum RawSize {
    Side(u32),
    Both(u32, u32),
}

#[derive(Debug, Clone, Copy)]
enum RawCrop {
    Fraction(f64),
    Squash,
}

#[derive(Debug)]
enum RawLabels {
    File(PathBuf),
    List(Vec<String>),
}

impl Raw {
    fn read(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).map_err(|source| Error::Io { action: "read", path: printable_path(path), source })?;
        let text = String::from_utf8_lossy(&bytes);
        toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or(&text);
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            Error::SidecarSyntax {
                path: printable_path(path),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                reason: error.message().trim_end().replace('\n', ", "),
            }
        })
    }

    /// What isn't given is as [`Input::assumed`] has it, save mean and std of a `range` other than 0 to 1: ImageNet's are
    /// in units of that one, so for others they are 0 and 1.
    fn into_sidecar(self, path: &Path, model: &Input) -> Result<Sidecar> {
        let Self { input, output, explain } = self;
        let assumed = model.assumed();
        let metadata = |reason: &str| Error::Metadata { path: printable_path(path), reason: reason.to_owned() };
        let crop = match (input.crop, input.resize_to) {
            (Some(RawCrop::Squash) | None, Some(RawSize::Both(height, width))) => Crop::SquashTo { height, width },
            (None, Some(RawSize::Side(side))) => Crop::ResizeTo(side),
            (Some(_), Some(_)) => return Err(metadata("crop and resize_to exclude each other")),
            (Some(RawCrop::Squash), None) => Crop::Squash,
            (Some(RawCrop::Fraction(fraction)), None) => Crop::CentreFraction(fraction),
            (None, None) => assumed.crop,
        };
        let color = input.color.unwrap_or(assumed.color);
        let range = input.range.unwrap_or(assumed.range);
        let (mean, std) = if range == assumed.range {
            imagenet_statistics(color)
        } else {
            (vec![0.0; color.channels()], vec![1.0; color.channels()])
        };
        let preprocessing = Preprocessing {
            size: input.size.map_or(assumed.size, RawSize::pair),
            filter: input.resize.unwrap_or(assumed.filter),
            crop,
            color,
            layout: model.layout,
            range,
            mean: input.mean.unwrap_or(mean),
            std: input.std.unwrap_or(std),
            source: Source::Sidecar(path.to_owned()),
        };
        let labels = match output.labels {
            None => Labels::default(),
            Some(RawLabels::List(names)) => Labels::new(names),
            // Relative to the sidecar; an absolute path stays what it is.
            Some(RawLabels::File(file)) => Labels::load(path.parent().unwrap_or(Path::new("")).join(file))?,
        };
        Ok(Sidecar { preprocessing, labels, logits: output.logits, layer: explain.layer, method: explain.method })
    }
}

impl RawSize {
    fn pair(self) -> (u32, u32) {
        match self {
            Self::Side(side) => (side, side),
            Self::Both(height, width) => (height, width),
        }
    }
}

/// Deserialises by a visitor, whose errors name what was expected; serde's untagged enums don't.
macro_rules! deserialize_with {
    ($type:ty, $expected:literal, { $($method:item)+ }) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                struct Expected;
                impl<'de> Visitor<'de> for Expected {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    $($method)+
                }
                deserializer.deserialize_any(Expected)
            }
        }
    };
}

deserialize_with!(RawSize, "a number of pixels, or [height, width]", {
    fn visit_i64<E: de::Error>(self, side: i64) -> std::result::Result<RawSize, E> {
        let side = u32::try_from(side).map_err(|_| E::invalid_value(de::Unexpected::Signed(side), &self))?;
        Ok(RawSize::Side(side))
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<RawSize, A::Error> {
        match (seq.next_element()?, seq.next_element()?, seq.next_element::<u32>()?) {
            (Some(height), Some(width), None) => Ok(RawSize::Both(height, width)),
            _ => Err(de::Error::custom("expected two numbers: height, width")),
        }
    }
});

deserialize_with!(RawCrop, "a fraction or \"squash\"", {
    fn visit_f64<E: de::Error>(self, fraction: f64) -> std::result::Result<RawCrop, E> {
        Ok(RawCrop::Fraction(fraction))
    }
    fn visit_i64<E: de::Error>(self, fraction: i64) -> std::result::Result<RawCrop, E> {
        Ok(RawCrop::Fraction(fraction as f64))
    }
    fn visit_str<E: de::Error>(self, word: &str) -> std::result::Result<RawCrop, E> {
        match word {
            "squash" => Ok(RawCrop::Squash),
            _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
        }
    }
});

deserialize_with!(RawLabels, "a file's name or a list of labels", {
    fn visit_str<E: de::Error>(self, file: &str) -> std::result::Result<RawLabels, E> {
        Ok(RawLabels::File(file.into()))
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<RawLabels, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = seq.next_element()? {
            names.push(name);
        }
        Ok(RawLabels::List(names))
    }
});

#[cfg(test)]
mod tests;
