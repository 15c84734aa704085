//! What can go wrong in this crate, each with what happened, to what, and what to do about it.

use std::path::PathBuf;

use crate::runtime::{Origin, Provider, Unusable};
use crate::text::{printable, printable_path};

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a photo and a heatmap.
///
/// `Display` says what happened and to what; [`Error::help`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// camscope's configuration file is no good.
    #[error("cannot use the configuration {path}: {reason}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No place that is searched holds an ONNX Runtime that can be used.
    #[error("no usable ONNX Runtime was found{}", refused_runtimes(refused))]
    RuntimeMissing {
        /// The libraries that were found and refused.
        refused: Vec<(PathBuf, Unusable)>,
    },
    /// A file that was to serve as ONNX Runtime cannot.
    #[error("cannot use {} as ONNX Runtime{}: {reason}", printable_path(path), named_by.map(|place| format!(" (named by {place})")).unwrap_or_default())]
    RuntimeUnusable {
        /// Who named the file, where the user did.
        named_by: Option<Origin>,
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: Unusable,
    },
    /// ONNX Runtime was found good but did not start.
    #[error("cannot start the ONNX Runtime {}: {reason}", printable_path(path))]
    RuntimeStart {
        /// The library.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// An ONNX Runtime could not be fetched.
    #[error("cannot fetch {package}: {reason}")]
    RuntimeFetch {
        /// The package and its version.
        package: String,
        /// What went wrong.
        reason: String,
    },
    /// What was fetched is not what was asked for. Nothing of it was kept.
    #[error(
        "{file} is not the file that camscope expects: its SHA-256 is {found}, not {expected}; nothing was installed"
    )]
    RuntimeChecksum {
        /// The file's name.
        file: String,
        /// The SHA-256 that is pinned, in hexadecimal.
        expected: String,
        /// The SHA-256 of the file that came.
        found: String,
    },
    /// An execution provider that was asked for by name does not work here.
    #[error("the execution provider {provider} cannot be used: {reason}")]
    Provider {
        /// The provider.
        provider: Provider,
        /// Why not.
        reason: String,
    },
    /// ONNX Runtime refused a model, or failed while running it.
    #[error("ONNX Runtime cannot {action}: {reason}")]
    Inference {
        /// What it was to do, as a verb and its object.
        action: &'static str,
        /// ONNX Runtime's own words.
        reason: String,
    },
    /// A value of a model is not of a kind that can be used here.
    #[error("{0}")]
    Value(String),
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A model file could not be used.
    #[error("cannot use the model {path}: {source}")]
    Model {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: onnx_grad::Error,
    },
    /// The model doesn't take one picture.
    #[error("the model {path} does not take one picture: {reason}")]
    ModelInput {
        /// The file.
        path: String,
        /// What it takes.
        reason: String,
    },
    /// The model doesn't give class scores.
    #[error("the model {path} does not give class scores: {reason}")]
    ModelOutput {
        /// The file.
        path: String,
        /// What it gives.
        reason: String,
    },
    /// A tensor from a file doesn't fit the model's input.
    #[error("the tensor in {path} has shape {found:?}, and the model's input `{input}` takes {expected}")]
    TensorShape {
        /// The file.
        path: String,
        /// Its shape.
        found: Vec<usize>,
        /// The model's input.
        input: String,
        /// The shape that is expected.
        expected: String,
    },
    /// A file that was to hold an array does not.
    #[error("{path} is not an array of floats: {reason}")]
    NotAnArray {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A class that the model doesn't have.
    #[error("class {class} is out of range: the model has {count} classes")]
    ClassRange {
        /// As it was asked for.
        class: String,
        /// How many there are.
        count: usize,
    },
    /// The model has no value with spatial extent.
    #[error("the model has no layer with height and width between its input and its scores")]
    NoLayers,
    /// A layer that the model doesn't have.
    #[error("the model has no layer `{}`", printable(name))]
    UnknownLayer {
        /// As it was asked for.
        name: String,
        /// The nearest names.
        nearest: Vec<String>,
    },
    /// A layout that a layer's shape doesn't fit.
    #[error("layer `{}` of shape {shape} cannot be taken as {layout}", printable(name))]
    Layout {
        /// The layer.
        name: String,
        /// Its shape.
        shape: String,
        /// The layout that was asked for.
        layout: String,
    },
    /// A number beyond the list of layers.
    #[error("layer {index} is out of range: the model has {count} layers, from 0 to {}", count - 1)]
    LayerIndex {
        /// The number.
        index: usize,
        /// How many layers there are.
        count: usize,
    },
    /// The scores don't depend on a layer.
    #[error("the scores do not depend on layer `{}`", printable(name))]
    NoGradient {
        /// The layer.
        name: String,
    },
    /// An activation or gradient is infinite or no number.
    #[error("the heat at layer `{}` is not finite: its activation or gradient overflows", printable(name))]
    NotFinite {
        /// The layer.
        name: String,
    },
    /// A method that camscope doesn't know.
    #[error("there is no method `{}`", printable(name))]
    UnknownMethod {
        /// As it was asked for.
        name: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// A file that was named does not exist.
    #[error("no such {what}: {path}")]
    NoSuchFile {
        /// What it was to be: `image`, `labels file`.
        what: &'static str,
        /// The file.
        path: String,
    },
    /// A folder was named where a file is needed.
    #[error("{path} is a folder, not {}", with_article(what))]
    IsFolder {
        /// What it was to be: `image`, `labels file`.
        what: &'static str,
        /// The folder.
        path: String,
    },
    /// A file that was to be a photo is something else.
    #[error("{path} is not an image{}", looks_like.map(|kind| format!(": it looks like {kind}")).unwrap_or_default())]
    NotAnImage {
        /// The file.
        path: String,
        /// What its content looks like, with its article; `None` if it looks like nothing known.
        looks_like: Option<&'static str>,
    },
    /// An image of a kind that cannot be decoded.
    #[error("cannot decode {path}: this kind of {format} image is not supported ({reason})")]
    ImageUnsupported {
        /// The file.
        path: String,
        /// The file format.
        format: String,
        /// What the decoder says.
        reason: String,
    },
    /// An image that takes more memory than is allowed, or has no pixels at all.
    #[error("cannot use the image {path}: {reason}")]
    ImageSize {
        /// The file.
        path: String,
        /// Its size and the limit.
        reason: String,
    },
    /// An image file that ends too early.
    #[error("the image {path} is truncated: its {format} data ends too early")]
    ImageTruncated {
        /// The file.
        path: String,
        /// The file format.
        format: String,
    },
    /// An image file with wrong data in it.
    #[error("the image {path} is corrupt: {reason}")]
    ImageCorrupt {
        /// The file.
        path: String,
        /// The file format.
        format: String,
        /// What the decoder says.
        reason: String,
    },
    /// A model's sidecar is not valid TOML, or has a key or value that it can't have.
    #[error("{path}:{line}:{column}: {reason}")]
    SidecarSyntax {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// The character in the line, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// What a file beside a model says cannot be used.
    #[error("cannot use {path}: {reason}")]
    Metadata {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file beside a model gives another input size than the model has.
    #[error("{path} says that the input is {} × {} pixels, but the model takes {} × {}", given.0, given.1, side(model.0), side(model.1))]
    SizeMismatch {
        /// The file.
        path: String,
        /// The file's height and width.
        given: (u32, u32),
        /// The model's height and width; `None` where they are free.
        model: (Option<usize>, Option<usize>),
    },
    /// Values by which no photo can be prepared.
    #[error("the photo cannot be prepared for the model: {reason}")]
    BadPreprocessing {
        /// Which value is wrong.
        reason: String,
    },
    /// No class has this label.
    #[error("no class is called `{}`{}", printable(label), if *known { "" } else { ": the model's labels are not known" })]
    UnknownLabel {
        /// As it was asked for.
        label: String,
        /// The nearest labels.
        nearest: Vec<String>,
        /// Whether the model has labels at all.
        known: bool,
    },
    /// Several classes have this label.
    #[error("several classes are called `{}`: {}", printable(label), matches.join(", "))]
    AmbiguousLabel {
        /// As it was asked for.
        label: String,
        /// The classes, each with its number.
        matches: Vec<String>,
    },
    /// A colormap that camscope doesn't know.
    #[error("there is no colormap `{}`", printable(name))]
    UnknownColormap {
        /// As it was asked for.
        name: String,
        /// All that there are, the nearest first.
        known: Vec<String>,
    },
    /// A size was asked for that the model doesn't leave open.
    #[error("the model {path} cannot be run at {} × {}: its input is {} × {}", asked.0, asked.1, side(model.0), side(model.1))]
    FixedSize {
        /// The model's file.
        path: String,
        /// The height and width that were asked for.
        asked: (usize, usize),
        /// The model's height and width; `None` where they are free.
        model: (Option<usize>, Option<usize>),
    },
    /// A file that was to be what `camscope bench --json` printed is something else.
    #[error("{path} is not what `camscope bench --json` prints: {reason}")]
    NotABench {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A process that was started to be measured didn't do what it should.
    #[error("the process that {what} {reason}")]
    Measured {
        /// What it was to do: `runs the plain model`.
        what: &'static str,
        /// How it ended: `was ended by a signal`.
        reason: String,
    },
    /// The graph could not be read, edited or differentiated.
    #[error(transparent)]
    Graph(#[from] onnx_grad::Error),
}

impl Error {
    /// What the user can do about it, as one sentence in lower case; `None` where nothing useful can be said.
    pub fn help(&self) -> Option<String> {
        const INSTALL: &str =
            "run `camscope runtime install`, or set ORT_DYLIB_PATH to the library of an ONNX Runtime 1.24 or newer";
        match self {
            Error::Config { path, .. } => Some(format!("correct {path}, or remove it")),
            Error::RuntimeMissing { .. } => Some(INSTALL.into()),
            Error::RuntimeUnusable { named_by: Some(Origin::Variable), .. } => {
                Some("set ORT_DYLIB_PATH to the library of an ONNX Runtime 1.24 or newer, or unset it".into())
            }
            Error::RuntimeUnusable { named_by: Some(Origin::Config), .. } => {
                Some("correct `library` in the section [runtime] of the configuration".into())
            }
            Error::RuntimeUnusable { .. } | Error::RuntimeStart { .. } => Some(INSTALL.into()),
            Error::RuntimeFetch { .. } => {
                Some("get an ONNX Runtime 1.24 or newer by other means, and set ORT_DYLIB_PATH to its library".into())
            }
            Error::RuntimeChecksum { .. } => {
                Some("check what package index or mirror pip or npm is set to, then try again".into())
            }
            Error::Provider { provider: Provider::Cuda | Provider::TensorRt, reason }
                if reason.contains("was built without") || reason.contains("onnxruntime_providers") =>
            {
                Some("`camscope runtime install --gpu` fetches an ONNX Runtime with it; or use --ep auto".into())
            }
            Error::Provider { .. } => {
                Some("use --ep auto or --ep cpu; `camscope runtime show` lists what works here".into())
            }
            Error::NotAnImage { looks_like: Some("a NumPy array"), .. } => {
                Some("give a tensor by --tensor, in place of the image".into())
            }
            Error::NotAnImage { looks_like: Some("an empty file"), .. } => Some("copy or download it again".into()),
            Error::NotAnImage { .. } | Error::ImageUnsupported { .. } => {
                Some("convert it to PNG or JPEG; BMP, GIF, JPEG, PNG, PNM, TIFF and WebP are read".into())
            }
            Error::ImageSize { .. } => Some("give a smaller copy of it".into()),
            Error::NoSuchFile { what: "labels file", .. } => {
                Some("correct `labels` under [output] in MODEL.toml beside the model".into())
            }
            Error::ImageTruncated { .. } | Error::ImageCorrupt { .. } => {
                Some("copy or download it again: part of it is missing or damaged".into())
            }
            Error::SidecarSyntax { path, .. } | Error::Metadata { path, .. } | Error::SizeMismatch { path, .. } => {
                Some(if path.ends_with(".json") {
                    "write the right values into MODEL.toml beside the model, which counts before this file".into()
                } else {
                    format!("correct {path}")
                })
            }
            Error::UnknownLabel { known: false, .. } => {
                Some("give the class by its number, or name a file of labels in MODEL.toml beside the model".into())
            }
            Error::UnknownLabel { nearest, .. } if !nearest.is_empty() => {
                let names: Vec<_> = nearest.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("did you mean {}?", names.join(", ")))
            }
            Error::UnknownLabel { .. } => Some("give the class by its number".into()),
            Error::AmbiguousLabel { .. } => Some("give the class by its number".into()),
            Error::Model { source: onnx_grad::Error::TooNew { .. }, .. } => {
                Some("export the model for an older opset, or use a newer camscope".into())
            }
            Error::Model { source: onnx_grad::Error::TooOld { .. }, .. } => {
                Some("export the model again, for opset 18 or newer".into())
            }
            Error::Graph(onnx_grad::Error::NotDifferentiable(_)) => {
                Some(
                    "choose a layer after these nodes (`camscope layers MODEL` lists them in order), or export the model with \
                     operators on floats in their place"
                        .into(),
                )
            }
            Error::Model { source: onnx_grad::Error::ExternalData { .. }, .. } => {
                Some("put the file that holds the weights back into the model's folder".into())
            }
            Error::Model { source: onnx_grad::Error::Truncated(_), .. } => {
                Some("copy or download it again: part of it is missing".into())
            }
            Error::Model { source: onnx_grad::Error::NotOnnx(_), .. } => {
                Some("give an .onnx file; PyTorch writes one with torch.onnx.export".into())
            }
            Error::ModelInput { .. } => Some(
                "export the model with one input of the shape [batch, 3, height, width] or [batch, height, width, 3]"
                    .into(),
            ),
            Error::ModelOutput { .. } => Some(
                "name the output that holds the class scores: `logits` under [output] in MODEL.toml beside the model"
                    .into(),
            ),
            Error::NotAnArray { .. } => Some("write it with numpy.save, as float32".into()),
            Error::ClassRange { count, .. } => {
                Some(format!("give a class from 0 to {}, a label, or top1 to top{count}", count.saturating_sub(1)))
            }
            Error::UnknownLayer { nearest, .. } if !nearest.is_empty() => {
                let names: Vec<_> = nearest.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("did you mean {}? `camscope layers MODEL` lists them all", names.join(", ")))
            }
            Error::UnknownLayer { .. } | Error::LayerIndex { .. } => {
                Some("`camscope layers MODEL` lists the layers".into())
            }
            Error::Layout { .. } => Some("`camscope layers MODEL` shows the layers' own shapes and layouts".into()),
            Error::NoLayers => Some("--layer @input with --raw DIR gives the gradient at the model's input".into()),
            Error::NotFinite { .. } => Some(
                "`camscope check MODEL IMAGE` shows whether the model's own scores are finite; a photo prepared otherwise may help"
                    .into(),
            ),
            Error::NoGradient { .. } => {
                Some("choose a layer between the input and the scores: see `camscope layers MODEL`".into())
            }
            Error::UnknownMethod { known, .. } => Some(format!("there are {}", known.join(", "))),
            Error::UnknownColormap { known, .. } => Some(format!("there are {}", known.join(", "))),
            Error::FixedSize { .. } => {
                Some("leave --size out: it is for models whose input has open height and width".into())
            }
            Error::NotABench { .. } => Some("write one with `camscope bench MODEL --json > FILE`".into()),
            _ => None,
        }
    }
}

fn refused_runtimes(refused: &[(PathBuf, Unusable)]) -> String {
    refused.iter().map(|(path, reason)| format!("; {}: {reason}", printable_path(path))).collect()
}

fn with_article(what: &str) -> String {
    let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {what}")
}

fn side(side: Option<usize>) -> String {
    side.map_or_else(|| "any".into(), |side| side.to_string())
}
