//! What can go wrong in this crate, each with what happened, to what, and what to do about it.

use onnx_grad_ort::Error as EngineError;

use crate::image::sniff;
use crate::runtime::{Origin, Provider};
use crate::text::printable;

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
    /// The model's scores are no numbers.
    #[error("the scores `{}` are not finite: {cause}", printable(name))]
    NotFinite {
        /// The scores.
        name: String,
        /// The first value that isn't finite, and what makes it.
        cause: String,
        /// Whether the input had it already.
        in_input: bool,
    },
    /// A model file could not be used.
    #[error("cannot use the model {path}: {source}")]
    Model {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: onnx_grad::Error,
    },
    /// The model doesn't take one image.
    #[error("the model {path} does not take one image: {reason}")]
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
    /// An input that takes an array leaves its size open, and no array was given.
    #[error("the size of the model's input `{}` is open: it is {shape}", printable(name))]
    ArrayWanted {
        /// The input.
        name: String,
        /// Its shape.
        shape: String,
    },
    /// A photo has more or fewer bands than the model takes.
    #[error("{} has {found} bands, and the model takes {wanted}", printable(photo))]
    Bands {
        /// The file.
        photo: String,
        /// How many it has.
        found: usize,
        /// How many are wanted.
        wanted: usize,
    },
    /// A method that needs height and width, and a volume.
    #[error("{method} changes patches of a picture, and a volume or a video has three axes of space")]
    NoPlane {
        /// Its name.
        method: &'static str,
    },
    /// Something is for pictures alone, and the model takes other arrays.
    #[error("{what} is for pictures, and the model takes an array of other axes")]
    NoPicture {
        /// What it is.
        what: &'static str,
    },
    /// A tensor from a file has values that the model's input can't hold.
    #[error("the tensor in {path} doesn't fit the model's input `{}`: it has {reason}", printable(input))]
    TensorValues {
        /// The file.
        path: String,
        /// The model's input.
        input: String,
        /// The value, and what is taken.
        reason: String,
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
    /// A target that is not written as it should be, or that names what the model doesn't have.
    #[error("cannot explain `{}`: {reason}", printable(spec))]
    BadTarget {
        /// As it was asked for.
        spec: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The model's outputs are not what the sidecar says they are.
    #[error("{path}: {}", printable(reason))]
    Task {
        /// The model.
        path: String,
        /// What was said, and what the outputs are.
        reason: String,
    },
    /// The model's outputs are not what a target takes them for.
    #[error("{}", printable(reason))]
    NoSuchAnswer {
        /// What it is not, and what it is.
        reason: String,
    },
    /// The model's answer alone asks nothing.
    #[error("the model gives {}: what is explained has to be said", printable(what))]
    NothingToAsk {
        /// What it gives.
        what: String,
        /// Targets that there are.
        targets: String,
    },
    /// An output that the model doesn't have.
    #[error("the model has no output `{}`", printable(name))]
    UnknownOutput {
        /// As it was asked for.
        name: String,
        /// The nearest names, or all.
        known: Vec<String>,
    },
    /// A parameter of a method that can't be.
    #[error("cannot set `{}` of {method}: {reason}", printable(setting))]
    BadParameter {
        /// The method.
        method: &'static str,
        /// The setting as it was asked for.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A method changes what passes back through some operators, and the model has none of them.
    #[error("{method} changes what passes back through ReLUs, and there is none between the input and the target")]
    NothingToSwap {
        /// The method.
        method: &'static str,
        /// The backward pass that it stands for.
        what: &'static str,
    },
    /// A method follows attention, and the model has none that can be read.
    #[error("{method} follows attention, and the model has no softmax over all tokens of an image")]
    NoAttention {
        /// The method.
        method: &'static str,
    },
    /// Heat is to be smoothed by a principal component, and it is no sum of feature maps.
    #[error("{method} weighs no feature maps, and smoothing by `eigen` takes weighted feature maps apart")]
    CannotSmooth {
        /// The method.
        method: &'static str,
    },
    /// A method is of classes, and the target is none.
    #[error("{method} explains a class, and `{}` is none", printable(target))]
    NeedsClass {
        /// The method.
        method: &'static str,
        /// The target.
        target: String,
    },
    /// A method reads the weights of a linear classifier, and there is none behind the layer.
    #[error(
        "{method} reads the weights of a linear classifier of the layer's mean, and there is none behind `{}`",
        printable(layer)
    )]
    NoLinearHead {
        /// The method.
        method: &'static str,
        /// The layer.
        layer: String,
    },
    /// A method runs an image together with what it is compared with, and the model takes one at a time.
    #[error("{method} runs an image together with what it is compared with, and the model takes no two images at once")]
    OneAtATime {
        /// The method.
        method: &'static str,
    },
    /// A method looks at the blocks of a transformer, and they are not found.
    #[error(
        "{method} looks at what each block of a transformer adds up to, and the model's attention is followed by no such sum"
    )]
    NoBlocks {
        /// The method.
        method: &'static str,
    },
    /// A layer was asked for, and the method looks at none.
    #[error("the method {method} looks at no layer, and `{}` was asked for", printable(layer))]
    NoLayerForMethod {
        /// The method.
        method: &'static str,
        /// The layer.
        layer: String,
    },
    /// An input that the model doesn't have beside the image's.
    #[error("the model has no input `{}` beside the one that takes the image", printable(name))]
    UnknownInput {
        /// As it was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Several of the model's inputs could take the image.
    #[error("{} inputs of the model {path} could take the picture: {}", names.len(), joined(names))]
    PictureOfSeveral {
        /// The file.
        path: String,
        /// The inputs.
        names: Vec<String>,
    },
    /// The input that is to take the image is none.
    #[error("the model has no input `{}` that could take the picture", printable(name))]
    UnknownPicture {
        /// As it was asked for.
        name: String,
        /// Its inputs.
        known: Vec<String>,
    },
    /// An input of the model has no value.
    #[error("the model's input `{}` of shape {shape} has no value", printable(name))]
    InputMissing {
        /// The input.
        name: String,
        /// Its shape.
        shape: String,
    },
    /// Of two models that are compared, what is wrong is this one's.
    #[error("{model}: {source}")]
    Compared {
        /// The file.
        model: String,
        /// What is wrong.
        source: Box<Error>,
    },
    /// Two models that are to be compared answer other questions.
    #[error("the models answer other questions: {a} does {task_a}, and {b} does {task_b}")]
    OtherTask {
        /// The first model's file.
        a: String,
        /// What it answers.
        task_a: String,
        /// The second's.
        b: String,
        /// What that answers.
        task_b: String,
    },
    /// A layer of the first of two models has no counterpart in the second.
    #[error("no layer of {b} matches `{}` of {a}, by name, by module path, or by depth and size", printable(layer))]
    NoCommonLayer {
        /// The layer.
        layer: String,
        /// The first model's file.
        a: String,
        /// The second's.
        b: String,
        /// Layers near it that have one.
        nearest: Vec<String>,
    },
    /// Two models have no layer of one size in common.
    #[error(
        "the models have no layer in common that has as many numbers in both: there is nowhere to see activations drift apart"
    )]
    NothingToDrift,
    /// The model has no value with spatial extent.
    #[error("the model has no layer with height and width between its input and its scores")]
    NoLayers,
    /// The model has no value with spatial extent, for a reason that is known.
    #[error("the model has no layer with height and width between its input and its scores: {reason}")]
    NoLayersSince {
        /// The reason, which names a node.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The heat can't be computed within the model.
    #[error("the model cannot be exported with its heat: {reason}")]
    CannotExport {
        /// The reason.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The model doesn't run at the size that was taken for its input.
    #[error("the model {path} does not run at {} × {}, which was assumed since its input leaves the size open: {reason}", size.0, size.1)]
    AssumedSize {
        /// The file.
        path: String,
        /// Height and width.
        size: (usize, usize),
        /// ONNX Runtime's own words.
        reason: String,
    },
    /// A value that the model doesn't have.
    #[error("the model {path} has no value named `{}`", printable(name))]
    UnknownValue {
        /// The file.
        path: String,
        /// As it was asked for.
        name: String,
        /// The nearest names.
        nearest: Vec<String>,
    },
    /// An input whose size is open and has to be given.
    #[error("input `{}` has open axes: [{}]", printable(input), printable(axes))]
    OpenInput {
        /// The input.
        input: String,
        /// Its axes: sizes, and names or `?` for those that are open.
        axes: String,
        /// What the axes may be, open ones filled in.
        suggested: String,
    },
    /// None of the model's outputs holds class scores.
    #[error("the model {path} does not give class scores: {reason}")]
    NoScores {
        /// The file.
        path: String,
        /// What it gives.
        reason: String,
    },
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
    HeatNotFinite {
        /// The layer.
        name: String,
    },
    /// In float16 some value of the backward pass is beyond the range, at any scale.
    #[error("the gradient is beyond the range of float16")]
    Float16Range,
    /// An execution provider gives something else than the CPU.
    #[error("the execution provider {provider} cannot be trusted with this model: {what} is off by {:.1} % of the CPU's", 100.0 * error)]
    ProviderDisagrees {
        /// The provider.
        provider: Provider,
        /// What is off.
        what: String,
        /// The relative error.
        error: f64,
    },
    /// A gradient was asked for at an input of integers.
    #[error("the input `{}` holds integers, and there is no gradient with respect to integers", printable(name))]
    IntegerInput {
        /// The input.
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
    #[error("{}", not_an_image(path, *looks_like))]
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
    /// An image of more bands than a photo has.
    #[error("the image {path} has {bands} bands, and a photo has one, three or four")]
    ImageBands {
        /// The file.
        path: String,
        /// How many values a pixel has.
        bands: u16,
    },
    /// An image whose levels cannot be told.
    #[error("cannot use the image {path}: {reason}")]
    ImageLevels {
        /// The file.
        path: String,
        /// What is wrong with its values.
        reason: String,
    },
    /// A file that was to be a model is something else.
    #[error("{path} is not an ONNX model: it looks like {looks_like}")]
    NotAModel {
        /// The file.
        path: String,
        /// What its content looks like, with its article.
        looks_like: &'static str,
    },
    /// A file that was to hold labels is something else.
    #[error("{path} holds no labels: it looks like {looks_like}")]
    NotLabels {
        /// The file.
        path: String,
        /// What its content looks like, with its article.
        looks_like: &'static str,
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
    /// A value is not of a kind that can be used here.
    #[error("{0}")]
    Value(String),
    /// The engine: ONNX Runtime was not found, refuses or fails; a graph could not be read, edited or differentiated.
    #[error(transparent)]
    Engine(#[from] onnx_grad_ort::Error),
}

impl From<onnx_grad::Error> for Error {
    fn from(error: onnx_grad::Error) -> Self {
        Self::Engine(error.into())
    }
}

impl Error {
    /// Whether the work was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Cancelled))
    }

    /// What the user can do about it, as one sentence in lower case; `None` where nothing useful can be said.
    pub fn help(&self) -> Option<String> {
        match self {
            Error::Engine(error) => engine_help(error),
            Error::NotAnImage { looks_like: Some("a NumPy array"), .. } => {
                Some("give a tensor by --tensor, in place of the image".into())
            }
            Error::NotAnImage { looks_like: Some("an empty file"), .. } => Some("copy or download it again".into()),
            Error::NotAnImage { looks_like: Some(kind), .. } if sniff::advice(kind).is_some() => {
                sniff::advice(kind).map(str::to_owned)
            }
            Error::NotAModel { looks_like, .. } => Some(match sniff::advice(looks_like) {
                Some(advice) if *looks_like == sniff::LFS_POINTER => advice.into(),
                _ => "give an .onnx file first, then the photos".into(),
            }),
            Error::NotFinite { in_input: true, .. } => Some("give an array of numbers that are finite".into()),
            Error::NotFinite { .. } => Some(
                "see whether the model gets what it was trained on (`camscope check MODEL` says what it is fed with), or export it again"
                    .into(),
            ),
            Error::NotLabels { looks_like, .. } => Some(match sniff::advice(looks_like) {
                Some(advice) if *looks_like == sniff::LFS_POINTER => advice.into(),
                _ => "give a text file with one label a line, or JSON".into(),
            }),
            Error::ImageBands { .. } => Some(
                "save three of them as an RGB image, or give the bands that the model takes as an array: --tensor FILE.npy".into(),
            ),
            Error::ImageLevels { reason, .. } if reason.contains("is white") => Some(
                "say it: --white 1, --white 4095 (or `white` under [input] in MODEL.toml beside the model); less than 0 is black".into(),
            ),
            Error::ImageLevels { .. } => Some("write it again without such values".into()),
            Error::NotAnImage { .. } | Error::ImageUnsupported { .. } => {
                Some("convert it to PNG or JPEG; BMP, GIF, JPEG, PNG, PNM, TIFF and WebP are read".into())
            }
            Error::ImageSize { .. } => Some("give a smaller copy of it".into()),
            Error::NoSuchFile { what: "labels file", .. } => {
                Some("correct --labels, or `labels` under [output] in the model's sidecar".into())
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
                Some("give the class by its number, or a file of labels: --labels FILE, or in MODEL.toml beside the model".into())
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
                "give an array in place of photos: --tensor FILE.npy; or export the model with one input of the shape [batch, 3, height, \
                 width] or [batch, height, width, 3]"
                    .into(),
            ),
            Error::ModelOutput { .. } => Some(
                format!(
                    "explain an element of any output by --target output:NAME[0,3]; or say what the model answers: write {}, and \
                     `logits` under [output] for the output that holds class scores",
                    crate::task::TASK_LINES
                ),
            ),
            Error::BadPreprocessing { reason } if reason.contains("input takes") => {
                Some("leave --range, --mean and --std out: such a model normalises grey levels itself".into())
            }
            Error::ArrayWanted { .. } => Some("give an array: camscope explain MODEL --tensor FILE.npy".into()),
            Error::Bands { wanted, .. } => Some(format!("give a TIFF of {wanted} bands, or an array: --tensor FILE.npy")),
            Error::NoPlane { .. } => {
                Some("methods of activations and gradients work on any axes: --method gradcam, hirescam, integrated-gradients".into())
            }
            Error::TensorValues { .. } => Some("give whole numbers, grey levels mostly: normalisation is part of such a model".into()),
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
            Error::NoLayersSince { help, .. } | Error::CannotExport { help, .. } => Some(help.clone()),
            Error::UnknownValue { nearest, .. } if !nearest.is_empty() => {
                let names: Vec<_> = nearest.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("did you mean {}?", names.join(", ")))
            }
            Error::UnknownValue { .. } => Some("`camscope layers MODEL` lists the values with height and width".into()),
            Error::OpenInput { input, suggested, .. } => {
                Some(format!("give the sizes that it is to have: --shape {}={suggested}", printable(input)))
            }
            Error::AssumedSize { .. } => Some(
                "give the size that it was made for: `size = [HEIGHT, WIDTH]` under [input] in MODEL.toml beside the model".into(),
            ),
            Error::NoScores { .. } => Some(
                "camscope explains models that give one score a class; export the model with such an output, before whatever reads the \
                 scores further"
                    .into(),
            ),
            Error::Compared { source, .. } => source.help(),
            Error::OtherTask { .. } => Some("say what of both is meant: --target output:NAME[…]; `camscope predict MODEL IMAGE` shows what there is".into()),
            Error::NoCommonLayer { nearest, .. } if !nearest.is_empty() => {
                let names: Vec<_> = nearest.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("these near it have a match: {}; or name the second model's layer by --layer-b", names.join(", ")))
            }
            Error::NoCommonLayer { .. } => {
                Some("name the second model's layer by --layer-b; `camscope layers MODEL` lists them".into())
            }
            Error::NothingToDrift => {
                Some("leave out --drift; `camscope layers MODEL` lists each model's layers with their sizes".into())
            }
            Error::NoLayers => Some("--layer @input with --raw DIR gives the gradient at the model's input".into()),
            Error::HeatNotFinite { .. } => Some(
                "`camscope check MODEL IMAGE` shows whether the model's own scores are finite; a photo prepared otherwise may help"
                    .into(),
            ),
            Error::Float16Range => Some("use --precision fp32".into()),
            Error::ProviderDisagrees { .. } => {
                Some("use --ep cpu; --no-verify explains without the comparison".into())
            }
            Error::IntegerInput { .. } => {
                Some("choose a layer behind the input: `camscope layers MODEL` lists them".into())
            }
            Error::NoGradient { .. } => {
                Some("choose a layer between the input and the scores: see `camscope layers MODEL`".into())
            }
            Error::Task { .. } => Some(
                format!("write {}", crate::task::TASK_LINES)
            ),
            Error::NoSuchAnswer { .. } => Some(format!("if that is misread, write {}", crate::task::TASK_LINES)),
            Error::NothingToAsk { targets, .. } => Some(printable(targets).into_owned()),
            Error::BadTarget { spec, .. } => Some(target_kinds(spec)),
            Error::UnknownOutput { known, .. } => {
                let names: Vec<_> = known.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("it has {}", names.join(", ")))
            }
            Error::NoAttention { .. } => Some(
                "choose another method: `camscope methods` lists them; a model whose attention is one operator shows it once it is exported \
                 with attention written out"
                    .into(),
            ),
            Error::NeedsClass { .. } => {
                Some("name a class (--class, --target class:…), or choose a method of any target: --method gradcam".into())
            }
            Error::NoLinearHead { .. } => Some(
                "where the mean of the layer is read by one linear classifier, --method gradcam gives the same heat up to its scale; elsewhere it \
                 takes the place of these weights"
                    .into(),
            ),
            Error::OneAtATime { .. } => {
                Some("export the model with an open batch, or use --method integrated-gradients, which adds up too".into())
            }
            Error::NoBlocks { .. } => Some("use --method gradient-rollout, which looks at the attention alone".into()),
            Error::NothingToSwap { .. } => {
                Some("it would be the plain gradient: --method saliency or input-x-gradient shows that".into())
            }
            Error::CannotSmooth { .. } => Some("--smooth augment smooths any method".into()),
            Error::NoLayerForMethod { .. } => Some("leave --layer out, or choose a method that looks at layers".into()),
            Error::UnknownInput { known, .. } if known.is_empty() => Some("leave --input out: the model takes the image alone".into()),
            Error::UnknownInput { known, .. } => {
                let names: Vec<_> = known.iter().map(|name| format!("`{}`", printable(name))).collect();
                Some(format!("it has {}", names.join(", ")))
            }
            Error::InputMissing { name, .. } => Some(format!(
                "give it by --input '{0}=VALUE': a photo, a .npy file, zeros, ones, a number, or numbers with commas",
                printable(name)
            )),
            Error::PictureOfSeveral { names, .. } => Some(format!(
                "say which by --picture '{}'; the others are given by --input NAME=FILE",
                names.first().map(|name| printable(name).into_owned()).unwrap_or_default()
            )),
            Error::UnknownPicture { known, .. } => Some(format!("its inputs are {}", joined(known))),
            Error::BadParameter { .. } => Some("`camscope explain --help` lists the methods".into()),
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

/// [`Error::help`] for what the engine says.
fn engine_help(error: &EngineError) -> Option<String> {
    const INSTALL: &str =
        "run `camscope runtime install`, or set ORT_DYLIB_PATH to the library of an ONNX Runtime 1.24 or newer";
    match error {
        EngineError::Config { path, .. } => Some(format!("correct {path}, or remove it")),
        EngineError::RuntimeMissing { .. } => Some(INSTALL.into()),
        EngineError::RuntimeUnusable { named_by: Some(Origin::Variable), .. } => {
            Some("set ORT_DYLIB_PATH to the library of an ONNX Runtime 1.24 or newer, or unset it".into())
        }
        EngineError::RuntimeUnusable { named_by: Some(Origin::Config), .. } => {
            Some("correct `library` in the section [runtime] of the configuration".into())
        }
        EngineError::RuntimeUnusable { .. } | EngineError::RuntimeStart { .. } => Some(INSTALL.into()),
        EngineError::RuntimeFetch { .. } => {
            Some("get an ONNX Runtime 1.24 or newer by other means, and set ORT_DYLIB_PATH to its library".into())
        }
        EngineError::RuntimeChecksum { .. } => {
            Some("check what package index or mirror pip or npm is set to, then try again".into())
        }
        EngineError::Provider { provider: Provider::Cuda | Provider::TensorRt, reason }
            if reason.contains("was built without") || reason.contains("onnxruntime_providers") =>
        {
            Some("`camscope runtime install --gpu` fetches an ONNX Runtime with it; or use --ep auto".into())
        }
        EngineError::Provider { provider: provider @ (Provider::WebGpu | Provider::OpenVino), reason }
            if reason.contains("was built without") =>
        {
            Some(format!("`camscope runtime install --ep {provider}` fetches it; or use --ep auto"))
        }
        EngineError::ProviderLibrary { reason, .. } | EngineError::Provider { reason, .. }
            if reason.contains("needs ONNX Runtime") =>
        {
            Some("`camscope runtime install` fetches a newer one; `camscope runtime show` lists which one is taken, and from where".into())
        }
        EngineError::ProviderLibrary { .. } => Some(
            "--ep-library takes the library of an ONNX Runtime plugin; `camscope runtime install --ep webgpu` (or openvino) fetches one, \
             and --ep finds it by itself"
                .into(),
        ),
        EngineError::NoSuchDevice { .. } | EngineError::DeviceOfAnother { .. } => {
            Some("`camscope runtime show` lists the devices by number".into())
        }
        EngineError::Provider { .. } => {
            Some("use --ep auto or --ep cpu; `camscope runtime show` lists what works here".into())
        }
        EngineError::Graph(onnx_grad::Error::NotDifferentiable(nodes))
            if nodes.iter().all(|node| node.reason.starts_with("the rank of ")) =>
        {
            Some(
                "the model's shapes cannot be worked out: export it with fixed input sizes, or with PyTorch's newer exporter \
                 (torch.onnx.export with dynamo=True)"
                    .into(),
            )
        }
        EngineError::Graph(onnx_grad::Error::NotDifferentiable(_)) => {
            Some(
                "choose a layer after these nodes (`camscope layers MODEL` lists them in order), or export the model with operators on \
                 floats in their place"
                    .into(),
            )
        }
        _ => None,
    }
}

/// How targets are written: those of the kind that was meant, or every kind.
fn target_kinds(spec: &str) -> String {
    let own = crate::target::KINDS.iter().find(|kind| spec.split(':').next() == Some(kind.name));
    match own {
        Some(kind) => kind.about.to_owned(),
        None => {
            let kinds: Vec<&str> = crate::target::KINDS.iter().map(|kind| kind.about).collect();
            format!("targets are {}", kinds.join("; "))
        }
    }
}

fn not_an_image(path: &str, looks_like: Option<&str>) -> String {
    match looks_like {
        // Images all the same.
        Some(kind) if sniff::is_image(kind) => {
            format!("cannot decode {path}: it is {kind}, of which there is no decoder here")
        }
        Some(kind) => format!("{path} is not an image: it looks like {kind}"),
        None => format!("{path} is not an image"),
    }
}

fn with_article(what: &str) -> String {
    let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {what}")
}

fn side(side: Option<usize>) -> String {
    side.map_or_else(|| "any".into(), |side| side.to_string())
}

/// Names in a list, each in quotes.
fn joined(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{}`", printable(name))).collect();
    match &names[..] {
        [] => "none".into(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad_ort::runtime::Unusable;

    use super::*;

    #[test]
    fn who_names_a_runtime_by_a_variable_is_told_to_unset_it() {
        let unusable = EngineError::RuntimeUnusable {
            named_by: Some(Origin::Variable),
            path: "none.so".into(),
            reason: Unusable::Missing,
        };
        assert!(Error::from(unusable).help().unwrap().contains("unset it"));
    }
}
