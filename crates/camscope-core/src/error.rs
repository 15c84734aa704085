//! What can go wrong in this crate, each with what happened, to what, and what to do about it.

mod help;

use onnx_grad_ort::Error as EngineError;

use crate::image::sniff;
use crate::runtime::Provider;
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
    /// A method is of boxes, and the target is none.
    #[error("{method} looks for a box in changed images, and `{}` is none", printable(target))]
    NeedsBox {
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
    /// A metric that camscope doesn't know.
    #[error("there is no metric `{}`", printable(name))]
    UnknownMetric {
        /// As it was asked for.
        name: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// A file that says where things are in pictures is not as it should be.
    #[error("{path}{}{at}: {}", if at.is_empty() { "" } else { ", " }, printable(reason))]
    Truth {
        /// The file.
        path: String,
        /// The line; empty: all of it.
        at: String,
        /// What is wrong with it.
        reason: String,
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
