//! What is known about a model beyond its graph: camscope's TOML file beside it, else what others have left there.

use std::fmt;
use std::path::{Path, PathBuf};

use onnx_grad::ElemType;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::embedded::Embedded;
use super::foreign;
use super::given::Given;
use super::labels::Labels;
use super::network::Network;
use super::preprocessing::{Color, Crop, Filter, Input, Layout, Preprocessing, Source, type_name};
use super::shown::{Shown, output_shapes};
use super::sizing::{Sizing, multiple_where_dense};
use crate::task::TaskSettings;
use crate::text::{printable, printable_path};
use crate::{Error, Result};

/// Where labels come from that no file has.
const OWN_METADATA: &str = "the model's own metadata";

/// What is known about a model beyond its graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Sidecar {
    /// How a photo becomes the model's input.
    pub preprocessing: Preprocessing,
    /// The classes' names; empty where nobody noted them.
    pub labels: Labels,
    /// The file that names them, or another place, in words.
    pub labels_from: Option<String>,
    /// What a person should know of all this, each a sentence.
    pub notes: Vec<String>,
    /// The name of the output that holds the logits, where it is given.
    pub logits: Option<String>,
    /// The layer to explain by default, as `--layer` takes it.
    pub layer: Option<String>,
    /// The method to explain with by default.
    pub method: Option<String>,
    /// What the model answers, as far as it is said.
    pub task: TaskSettings,
}

/// What is known about the model file `model_path`, whose photo input has the shape `input_shape` (`None` for a free
/// axis) and holds floats. See [`resolve_given`].
///
/// # Errors
/// As [`resolve_given`].
pub fn resolve(model_path: impl AsRef<Path>, input_shape: &[Option<usize>]) -> Result<Sidecar> {
    let declared = Declared { path: model_path.as_ref(), shape: input_shape, elem: ElemType::Float, dense: None };
    declared.resolve(&Embedded::default(), &Given::default())
}

/// What is known about a model, and what the caller says of it, which counts first.
///
/// The first that exists counts: the sidecar that is given, or `MODEL.toml` beside the model (`net.onnx`: `net.toml`); Hugging Face's
/// `preprocessor_config.json`, with the labels of its `config.json`; timm's `config.json`; the model's own metadata, as Ultralytics
/// writes it. The files but the first may also lie in the folder above if the model is in one named `onnx`. Else ImageNet's usual
/// values for the input's shape are taken, or grey levels for an input of integers, and the [`Source`] says so. Labels that no file
/// has are those of the model's metadata (`names` of Ultralytics, `character` of PaddleOCR's converters).
///
/// # Errors
/// [`Error::ModelInput`] if the input takes no photos; [`Error::SidecarSyntax`] with line and column; [`Error::Metadata`]
/// for a value that can't be; [`Error::SizeMismatch`] if a size contradicts the model's; [`Error::FixedSize`] and
/// [`Error::BadPreprocessing`] for values of the caller's; [`Error::NoSuchFile`] or [`Error::Io`] for files that can't be read.
pub fn resolve_given(network: &Network, given: &Given) -> Result<Sidecar> {
    let input = network.input();
    let dense = multiple_where_dense(network.model.graph(), input, |side| output_shapes(network, side));
    let metadata = &network.model.proto().metadata_props;
    let mut embedded = Embedded::read(metadata.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())));
    embedded.shown = Shown::of(network);
    let dense = dense.map(|multiple| embedded.stride.unwrap_or(multiple));
    Declared { path: &network.path, shape: &input.shape, elem: input.elem, dense }.resolve(&embedded, given)
}

/// The input that takes the picture, where the sidecar names it: the one that is given, or `MODEL.toml` beside the model.
///
/// # Errors
/// [`Error::SidecarSyntax`] with line and column; [`Error::NoSuchFile`] or [`Error::Io`] if it can't be read.
pub fn said_picture(model: &Path, sidecar: Option<&Path>) -> Result<Option<String>> {
    let toml = sidecar.map_or_else(|| model.with_extension("toml"), Path::to_owned);
    let is_there = sidecar.is_some() || toml.is_file();
    if is_there { Ok(Raw::read(&toml)?.input.picture) } else { Ok(None) }
}

/// The input as the model file declares it.
struct Declared<'a> {
    path: &'a Path,
    shape: &'a [Option<usize>],
    elem: ElemType,
    /// What sides are multiples of, where the outputs grow with the input.
    dense: Option<u32>,
}

impl Declared<'_> {
    fn resolve(&self, embedded: &Embedded, given: &Given) -> Result<Sidecar> {
        let no_photo = |reason| Error::ModelInput { path: printable_path(self.path), reason };
        if matches!(self.elem, ElemType::Bool | ElemType::String | ElemType::Other(_)) {
            return Err(no_photo(format!("its input takes {}, and a photo has grey levels", type_name(self.elem))));
        }
        let takes_photos = self.shape.len() == 4;
        let input = |layout| -> Result<Input> {
            let open = [None; 4];
            let shape = if takes_photos { self.shape } else { &open };
            let input = Input::new(shape, layout).map_err(no_photo)?;
            Ok(Input { elem: self.elem, dense: self.dense, ..input })
        };
        let toml = given.sidecar.clone().unwrap_or_else(|| self.path.with_extension("toml"));
        let (mut sidecar, known) = if given.sidecar.is_some() || toml.is_file() {
            let raw = Raw::read(&toml)?;
            let input = input(raw.input.layout)?;
            (raw.into_sidecar(&toml, &input, embedded)?, input)
        } else {
            let input = input(None)?;
            (foreign::find(self.path, &input, embedded)?, input)
        };
        embedded.carried.fill(&mut sidecar);
        if let Some((labels, key)) = embedded.labels.as_ref().filter(|_| sidecar.labels.is_empty()) {
            sidecar.labels = labels.clone();
            sidecar.labels_from = Some(format!("{OWN_METADATA} (`{key}`)"));
        }
        let unclear = embedded.unclear.iter();
        sidecar.notes.extend(unclear.map(|key| format!("the model's metadata has a `{key}` that is not understood")));
        if !takes_photos {
            given.refuse_for_array()?;
            let preprocessing = &mut sidecar.preprocessing;
            // A sidecar is named where another part of it is wrong.
            if !matches!(preprocessing.source, Source::Sidecar(_)) {
                preprocessing.source = Source::Array;
            }
        }
        given.apply(&mut sidecar, &known, embedded.stride, &printable_path(self.path))?;
        let path = sidecar.preprocessing.source.path().unwrap_or(self.path).to_owned();
        agree(&sidecar.preprocessing, &known, &path)?;
        Ok(sidecar)
    }
}

impl Sidecar {
    /// Nothing but how photos are prepared.
    pub(super) fn of(preprocessing: Preprocessing) -> Self {
        let (labels, labels_from, notes) = (Labels::default(), None, Vec::new());
        let task = TaskSettings::default();
        Self { preprocessing, labels, labels_from, notes, logits: None, layer: None, method: None, task }
    }

    /// What of it a person should be told, each a sentence: preprocessing that no file beside the model gives, and so on.
    pub fn remarks(&self) -> Vec<String> {
        let said = self.preprocessing.source.is_worth_saying().then(|| self.preprocessing.describe());
        said.into_iter().chain(self.notes.iter().cloned()).collect()
    }

    /// Where the labels come from, where that is no file.
    pub fn labels_remark(&self) -> Option<String> {
        let from = self.labels_from.as_deref().filter(|from| from.starts_with(OWN_METADATA))?;
        Some(format!("the labels, {} of them, are from {from}", self.labels.len()))
    }

    /// How many names there are, and where they come from.
    pub fn describe_labels(&self) -> String {
        match &self.labels_from {
            Some(from) => format!("{}, from {from}", self.labels.len()),
            None => "none: classes go by their numbers".into(),
        }
    }

    /// Says of an error that `key` under `[explain]` in the file beside the model is its cause.
    pub fn at_fault(&self, key: &str, error: Error) -> Error {
        match self.preprocessing.source.path() {
            Some(path) => {
                let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
                Error::Metadata {
                    path: printable_path(path),
                    reason: format!("`{key}` under [explain]: {error}{help}"),
                }
            }
            None => error,
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
    if let Some(reason) = input.unfit(preprocessing) {
        return Err(match preprocessing.source {
            Source::Given(_) => Error::BadPreprocessing { reason },
            _ => metadata(reason),
        });
    }
    match input.channels {
        Some(channels) if channels != preprocessing.channels() => Err(metadata(format!(
            "it feeds {} into an input of {channels}",
            match preprocessing.color {
                Color::Grey => "one grey channel".to_owned(),
                Color::Bands(bands) => format!("{bands} bands"),
                Color::Rgb | Color::Bgr => "three colour channels".to_owned(),
            }
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
    task: TaskSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawInput {
    picture: Option<String>,
    size: Option<RawSize>,
    resize: Option<Filter>,
    crop: Option<RawCrop>,
    fill: Option<u8>,
    resize_to: Option<RawSize>,
    #[serde(alias = "colour")]
    color: Option<Color>,
    layout: Option<Layout>,
    range: Option<[f32; 2]>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    white: Option<f32>,
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
    Border,
    Letterbox,
    Corner,
    Line,
}

#[derive(Debug)]
enum RawLabels {
    File(PathBuf),
    List(Vec<String>),
}

impl Raw {
    fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NoSuchFile { what: "sidecar", path: printable_path(path) },
            std::io::ErrorKind::IsADirectory => Error::IsFolder { what: "sidecar", path: printable_path(path) },
            _ => Error::Io { action: "read", path: printable_path(path), source },
        })?;
        let text = String::from_utf8_lossy(&bytes);
        toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or(&text);
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            Error::SidecarSyntax {
                path: printable_path(path),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                reason: printable(&error.message().trim_end().replace('\n', ", ")).into_owned(),
            }
        })
    }

    /// What isn't given is as [`Input::assumed`] has it, save mean and std of a `range` other than 0 to 1: ImageNet's are
    /// in units of that one, so for others they are 0 and 1.
    fn into_sidecar(self, path: &Path, model: &Input, embedded: &Embedded) -> Result<Sidecar> {
        let Self { input, output, explain, mut task } = self;
        if let Some(priors) = task.priors.as_mut().filter(|priors| priors.ends_with(".npy")) {
            *priors = path.with_file_name(&*priors).to_string_lossy().into_owned();
        }
        task.check().map_err(|reason| Error::Metadata { path: printable_path(path), reason })?;
        let assumed = embedded.preprocessing_of(model, task.format.as_deref());
        let metadata = |reason: &str| Error::Metadata { path: printable_path(path), reason: reason.to_owned() };
        let crop = match (input.crop, input.resize_to) {
            (Some(RawCrop::Squash) | None, Some(RawSize::Both(height, width))) => Crop::SquashTo { height, width },
            (None, Some(RawSize::Side(side))) => Crop::ResizeTo(side),
            (Some(_), Some(_)) => return Err(metadata("crop and resize_to exclude each other")),
            (Some(RawCrop::Squash), None) => Crop::Squash,
            (Some(RawCrop::Border), None) => Crop::Border(1.0),
            (Some(RawCrop::Letterbox), None) => Crop::Letterbox,
            (Some(RawCrop::Corner), None) => Crop::Corner,
            (Some(RawCrop::Line), None) => Crop::Line,
            (Some(RawCrop::Fraction(fraction)), None) => Crop::CentreFraction(fraction),
            (None, None) => assumed.crop,
        };
        let color = input.color.unwrap_or(assumed.color);
        let range = input.range.unwrap_or(assumed.range);
        let (mean, std) = if assumed.source == Source::Assumed && range == assumed.range {
            let (_, mean, std) = model.assumed_values(color);
            (mean, std)
        } else if range == assumed.range && color.channels() == assumed.channels() {
            let (mut mean, mut std) = (assumed.mean, assumed.std);
            if color != assumed.color {
                // They belong to the channels.
                mean.reverse();
                std.reverse();
            }
            (mean, std)
        } else {
            (vec![0.0; color.channels()], vec![1.0; color.channels()])
        };
        let preprocessing = Preprocessing {
            size: input.size.map_or(assumed.size, RawSize::pair),
            sizing: if input.size.is_some() { Sizing::Said } else { assumed.sizing },
            filter: input.resize.unwrap_or(assumed.filter),
            crop,
            fill: input.fill.or(assumed.fill.filter(|_| crop == assumed.crop)),
            color,
            layout: model.layout,
            range,
            mean: input.mean.unwrap_or(mean),
            std: input.std.unwrap_or(std),
            white: input.white,
            whole: assumed.whole,
            source: Source::Sidecar(path.to_owned()),
        };
        let (labels, labels_from) = match output.labels {
            None => (Labels::default(), None),
            Some(RawLabels::List(names)) => (Labels::new(names), Some(printable_path(path))),
            Some(RawLabels::File(file)) => {
                // Relative to the sidecar; an absolute path stays what it is.
                let file = path.parent().unwrap_or(Path::new("")).join(file);
                (Labels::load(&file)?, Some(printable_path(&file)))
            }
        };
        let (logits, layer, method) = (output.logits, explain.layer, explain.method);
        Ok(Sidecar { labels, labels_from, logits, layer, method, task, ..Sidecar::of(preprocessing) })
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

deserialize_with!(RawCrop, "a fraction, \"squash\", \"border\", \"letterbox\", \"corner\" or \"line\"", {
    fn visit_f64<E: de::Error>(self, fraction: f64) -> std::result::Result<RawCrop, E> {
        Ok(RawCrop::Fraction(fraction))
    }
    fn visit_i64<E: de::Error>(self, fraction: i64) -> std::result::Result<RawCrop, E> {
        Ok(RawCrop::Fraction(fraction as f64))
    }
    fn visit_str<E: de::Error>(self, word: &str) -> std::result::Result<RawCrop, E> {
        match word {
            "squash" => Ok(RawCrop::Squash),
            "border" => Ok(RawCrop::Border),
            "letterbox" => Ok(RawCrop::Letterbox),
            "corner" => Ok(RawCrop::Corner),
            "line" => Ok(RawCrop::Line),
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
