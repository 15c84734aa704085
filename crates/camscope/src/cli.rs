//! The command line, as clap sees it.

use std::path::{Path, PathBuf};

use camscope_core::{
    explain::Fuse,
    layer::{Choice, Layout},
    method::Sign,
    overlay::Enlarge,
    runtime::{Precision, ProviderChoice},
    target::{self, ClassSpec, Score, TargetRef},
};
use camscope_tui::{compare::With, graphics::GraphicsChoice};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use crate::cli_bench::{BenchArgs, BenchChildArgs};
pub(crate) use crate::cli_diff::DiffArgs;
pub(crate) use crate::cli_evaluate::EvaluateArgs;
pub(crate) use crate::cli_export::ExportArgs;
pub(crate) use crate::cli_input::InputArgs;
pub(crate) use crate::cli_keep::KeepArgs;
pub(crate) use crate::cli_plugins::{Kind, Language, PluginArgs, PluginCommand};
pub(crate) use crate::cli_rank::RankArgs;
pub(crate) use crate::cli_view::ViewArgs;
pub(crate) use crate::many_pictures::ListArgs;

/// See what an ONNX image model looked at.
///
/// `camscope MODEL [IMAGE]…` opens the explorer: the photo with its heatmap, for every class and layer, by keyboard and mouse.
#[derive(Debug, Parser)]
#[command(name = "camscope", version, max_term_width = 100, arg_required_else_help = true)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The explorer.
    #[command(flatten)]
    pub(crate) explore: ExploreArgs,
}

impl Cli {
    /// Where models are to run, for a command that runs them.
    pub(crate) fn run_args(&self) -> Option<&RunArgs> {
        match &self.command {
            None => Some(&self.explore.run),
            Some(Command::Demo(args)) => Some(&args.run),
            Some(Command::Explain(args)) => Some(&args.run),
            Some(Command::Predict(args)) => Some(&args.run),
            Some(Command::Factors(args)) => Some(&args.run),
            Some(Command::Evaluate(args)) => Some(&args.run),
            Some(Command::Diff(args)) => Some(&args.run),
            Some(Command::Rank(args)) => Some(&args.run),
            Some(Command::Check(args)) => Some(&args.run),
            Some(Command::Bench(args)) => Some(&args.run),
            Some(Command::BenchChild(args)) => Some(&args.bench.run),
            // Each by name: a new command that runs models is not to be forgotten here.
            Some(
                Command::Layers(_)
                | Command::Methods(_)
                | Command::Differentiate(_)
                | Command::Export(_)
                | Command::Config(_)
                | Command::Plugin(_)
                | Command::Runtime(_)
                | Command::Completions { .. }
                | Command::Man
                | Command::ProbeRuntime { .. }
                | Command::ProbeProvider { .. }
                | Command::ExercisePlugin { .. },
            ) => None,
        }
    }
}

/// `camscope MODEL [IMAGE]…`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExploreArgs {
    /// The model, an .onnx file
    #[arg(required = true)]
    pub(crate) model: Option<PathBuf>,
    /// Photos or folders of photos
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    #[arg(
        long,
        value_name = "NAME",
        help = "The method, see `camscope methods` [default: from the configuration, else from the model's sidecar, else gradcam; hirescam for targets at one place]"
    )]
    pub(crate) method: Option<String>,
    /// The layer to show first: auto, a value's name, a PyTorch module path, or an index from `camscope layers`
    #[arg(long, value_name = "LAYER")]
    pub(crate) layer: Option<Choice>,
    /// The class to show first: top1 (top2, …), a label, or a number; '#3' is a number even if labels are numbers
    #[arg(long = "class", value_name = "CLASS")]
    pub(crate) class: Option<ClassSpec>,
    #[arg(long = "target", value_name = "TARGET", value_parser = target::parse, help = "What to show in addition to what the model says: contrast:A,B, box:N, output:NAME[0,3], not:TARGET, …; repeatable")]
    pub(crate) targets: Vec<TargetRef>,
    /// Which score of the class to explain
    #[arg(long, value_enum, default_value_t = ScoreArg::Logit)]
    pub(crate) score: ScoreArg,
    /// The colormap [default: from the configuration, else jet]
    #[arg(long, value_name = "NAME")]
    pub(crate) colormap: Option<String>,
    /// The photo's weight in the overlay, from 0 to 1; the heatmap has the rest [default: from the configuration, else 0.4]
    #[arg(long, value_name = "A", value_parser = fraction)]
    pub(crate) alpha: Option<f32>,
    /// How heat is enlarged to the photo: bicubic, bilinear, nearest [default: from the configuration, else bicubic]
    #[arg(long, value_name = "HOW")]
    pub(crate) enlarge: Option<Enlarge>,
    /// What to compare with, side by side: a second model (an .onnx file), another photo, or the name of a method
    #[arg(long, value_name = "WITH")]
    pub(crate) against: Option<With>,
    /// Begin as usual, not as the explorer was left with this model
    #[arg(long)]
    pub(crate) fresh: bool,
    /// How the explorer shows images.
    #[command(flatten)]
    pub(crate) screen: ScreenArgs,
    /// Provider and threads.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Trust an execution provider other than the CPU: don't compare the first explanation of a model with the CPU's
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// How the explorer shows images.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ScreenArgs {
    /// How to show images: auto (the best that the terminal offers), kitty, sixel, iterm2, halfblocks, none
    /// [default: from the configuration, else auto]
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) graphics: Option<GraphicsChoice>,
    /// Width and height of a character in pixels, if the terminal does not report it: 10x20
    #[arg(long, value_name = "WxH", value_parser = camscope_tui::config::font_size)]
    pub(crate) font_size: Option<(u16, u16)>,
    /// Say in lines of text what is shown, and take lines of words instead of keys: for screen readers
    #[arg(long)]
    pub(crate) plain: bool,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Explore bundled photos with the bundled model; with -o or without a terminal, write heatmaps
    Demo(DemoArgs),
    /// Explain photos: heatmaps in the terminal, as PNG files, as arrays
    Explain(Box<ExplainArgs>),
    /// Say what a model says of photos: classes, boxes, segments, text; and so what --target can ask
    Predict(Box<PredictArgs>),
    /// Take a layer apart into concepts: where each lies in a photo, and which classes it speaks for
    Factors(Box<FactorsArgs>),
    /// Measure how good heatmaps are: what happens to the model's answer where the picture is changed as they say
    Evaluate(Box<EvaluateArgs>),
    /// Try methods and layers on photos, and say which explain the model best (ROAD)
    Rank(Box<RankArgs>),
    /// Compare two models on the same photos: their answers, their heat, and where activations drift apart
    Diff(Box<DiffArgs>),
    /// List the layers of a model
    Layers(LayersArgs),
    /// List the methods, or what one computes and what can be set
    Methods(MethodsArgs),
    /// Check whether a model can be explained, and its gradient against finite differences
    Check(CheckArgs),
    /// Measure what explaining costs on this machine, compared with plain inference
    Bench(Box<BenchArgs>),
    /// Write a model that also computes gradients, with inputs seed.NAME and outputs grad.NAME
    Differentiate(DifferentiateArgs),
    /// Write a model that gives heatmaps besides its own outputs, for any ONNX runtime
    Export(Box<ExportArgs>),
    /// Show the configuration of the explorer
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List, check and create plugins: colormaps, layer resolvers, gradient rules, methods
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Show which ONNX Runtime is used, or install one
    #[command(subcommand)]
    Runtime(RuntimeCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff format: `camscope man | man -l -`
    Man,
    /// Load a library and say whether it is ONNX Runtime: camscope runs itself like this, to be safe from bad libraries.
    #[command(name = camscope_core::runtime::prober::PROBE_COMMAND, hide = true)]
    ProbeRuntime {
        /// The library.
        path: PathBuf,
    },
    /// Do one thing that is measured: camscope runs itself like this, for its memory and start.
    #[command(name = crate::bench_child::COMMAND, hide = true)]
    BenchChild(Box<BenchChildArgs>),
    /// Load ONNX Runtime, and have it take in a provider library: camscope runs itself like this, to be safe from bad libraries.
    #[command(name = camscope_core::runtime::prober::PROBE_PROVIDER_COMMAND, hide = true)]
    ProbeProvider {
        /// The library of ONNX Runtime.
        runtime: PathBuf,
        /// The provider's library.
        library: PathBuf,
    },
    /// Try a plugin: camscope runs itself like this, to be safe from bad plugins.
    #[command(name = camscope_plugin_host::EXERCISE_COMMAND, hide = true)]
    ExercisePlugin {
        /// The library.
        path: PathBuf,
        /// Which part of it.
        part: String,
    },
}

/// The subcommands of `camscope config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration in force, defaults included, as a configuration file
    Print,
}

/// The subcommands of `camscope runtime`.
#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeCommand {
    /// Show where ONNX Runtime was searched for and found, the execution providers, the devices, and the terminal graphics
    Show {
        /// A library of an execution provider (an ONNX Runtime plugin); repeatable
        #[arg(long = "ep-library", value_name = "LIB")]
        ep_libraries: Vec<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Fetch ONNX Runtime with pip, else npm, into camscope's data folder; or a library of an execution provider for it
    Install {
        /// Fetch the build with the CUDA and TensorRT providers, for NVIDIA GPUs; the same as --ep cuda
        #[arg(long)]
        gpu: bool,
        /// Fetch an execution provider: webgpu (any GPU, through Vulkan, Direct3D or Metal), openvino (Intel's processors,
        /// GPUs and NPUs), cuda (with an ONNX Runtime of its own); repeatable
        #[arg(long, value_name = "PROVIDER", value_enum, hide_possible_values = true)]
        ep: Vec<InstallEp>,
    },
}

/// An execution provider that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InstallEp {
    /// GPUs through WebGPU.
    Webgpu,
    /// Intel's devices.
    Openvino,
    /// NVIDIA's GPUs.
    Cuda,
}

/// Layers, classes and method: shared by the commands that explain.
#[derive(Args, Clone, Debug)]
pub(crate) struct MethodArgs {
    #[arg(
        long,
        value_name = "NAME[:KEY=VALUE,…]",
        help = "The method, see `camscope methods`, or all of them: all; `camscope explain` takes several [default: from the model's sidecar, else gradcam; hirescam for targets at one place]"
    )]
    pub(crate) method: Vec<String>,
    /// Where random numbers start, of methods that draw some: the same seed gives the same heat
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Which evidence to show: for the target, against it, or both around zero
    #[arg(long, value_enum, default_value_t = SignArg::Positive)]
    pub(crate) sign: SignArg,
    /// The layer: auto, a value's name, a PyTorch module path, an index from `camscope layers`, or @input (gradient only);
    /// may be given several times
    #[arg(long = "layer", value_name = "LAYER", default_value = "auto")]
    pub(crate) layers: Vec<Choice>,
    /// Fuse the heat of all the layers given into one, each normalised and enlarged to the finest: their mean, or the largest.
    /// Where auto means several layers, as for boxes, their mean is shown
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) fuse: Option<FuseArg>,
    /// The layout of the layer's axes, if `camscope layers` shows a wrong one or not the layer: nchw, nhwc, ncl, ncdhw, ndhwc,
    /// tokens:14x14, or tokens:1+14x14 with a class token first; --layer may then name any value of the graph
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<Layout>,
    /// The class: top1 (top2, …), a label, or a number; '#3' is a number even if labels are numbers; repeatable
    #[arg(long = "class", value_name = "CLASS")]
    pub(crate) classes: Vec<ClassSpec>,
    #[arg(long = "target", value_name = "TARGET", value_parser = target::parse, help = "What to explain: class:CLASS, contrast:A,B, box:N, output:NAME[0,3], not:TARGET, … (see `camscope predict`); X,Y of box:@X,Y and the like are pixels of the photo, without one of the model's input; repeatable [default: the model's first answer]")]
    pub(crate) targets: Vec<TargetRef>,
    /// Which score of the class to explain
    #[arg(long, value_enum, default_value_t = ScoreArg::Logit)]
    pub(crate) score: ScoreArg,
}

/// `--fuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FuseArg {
    /// The mean.
    Mean,
    /// The largest.
    Max,
}

impl From<FuseArg> for Fuse {
    fn from(fuse: FuseArg) -> Self {
        match fuse {
            FuseArg::Mean => Self::Mean,
            FuseArg::Max => Self::Max,
        }
    }
}

/// `--smooth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SmoothArg {
    /// By a principal component.
    Eigen,
    /// Over changed images.
    Augment,
}

/// How heatmaps look: shared by the commands that draw them.
#[derive(Args, Clone, Debug)]
pub(crate) struct LookArgs {
    /// The colormap: jet, turbo, viridis, magma, inferno, plasma, cividis, …
    #[arg(long, value_name = "NAME", default_value = "jet")]
    pub(crate) colormap: String,
    /// The photo's weight in the overlay, from 0 to 1; the heatmap has the rest
    #[arg(long, value_name = "A", default_value_t = camscope_core::overlay::DEFAULT_ALPHA, value_parser = fraction)]
    pub(crate) alpha: f32,
    /// How heat is enlarged to the photo: bicubic (smooth), bilinear (as OpenCV), nearest (the cells as they are)
    #[arg(long, value_name = "HOW", default_value_t)]
    pub(crate) enlarge: Enlarge,
    /// Leave out the boxes that the model found
    #[arg(long)]
    pub(crate) no_boxes: bool,
}

/// Where models run: shared by the commands that run them.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// The execution provider: auto (the best that starts), cpu, cuda, webgpu, openvino, tensorrt, …
    #[arg(long, value_name = "PROVIDER", default_value = "auto", value_parser = ProviderChoice::of_any_library)]
    pub(crate) ep: ProviderChoice,
    /// A library of an execution provider (an ONNX Runtime plugin), whose provider --ep can then name; repeatable
    #[arg(long = "ep-library", value_name = "LIB")]
    pub(crate) ep_libraries: Vec<PathBuf>,
    /// The device, by its number in `camscope runtime show`; it implies its provider
    #[arg(long, value_name = "N")]
    pub(crate) device: Option<usize>,
    /// Threads within an operator [default: chosen by ONNX Runtime]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// The floats to compute in: with fp16, products and convolutions in float16, sums in float32, on a provider that has kernels
    /// for it; `camscope check` says how far the heatmap is from float32's
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = PrecisionArg::Fp32)]
    pub(crate) precision: PrecisionArg,
}

/// `--precision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionArg {
    /// As the model is.
    #[default]
    Fp32,
    /// In float16 where that serves.
    Fp16,
}

impl From<PrecisionArg> for Precision {
    fn from(precision: PrecisionArg) -> Self {
        match precision {
            PrecisionArg::Fp32 => Self::Float32,
            PrecisionArg::Fp16 => Self::Float16,
        }
    }
}

/// `camscope explain`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExplainArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// Photos, folders of photos, or globs
    #[arg(value_name = "IMAGE", required_unless_present_any = ["tensor", "list"])]
    pub(crate) images: Vec<PathBuf>,
    /// More of them, or fewer.
    #[command(flatten)]
    pub(crate) from: ListArgs,
    /// A .npy array instead of a photo, fed to the model without preprocessing: any number of channels and axes, as volumes, videos
    /// and signals have; repeatable
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub(crate) tensor: Vec<PathBuf>,
    /// Layers, classes and method.
    #[command(flatten)]
    pub(crate) how: MethodArgs,
    /// Colormap and opacity.
    #[command(flatten)]
    pub(crate) look: LookArgs,
    /// Provider and threads.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Trust an execution provider other than the CPU: don't compare the first explanation of a model with the CPU's
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Smooth the heat: by the first principal component of the weighted feature maps, or over the mirrored, darker and brighter image;
    /// may be given twice
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) smooth: Vec<SmoothArg>,
    /// Write the overlays into this folder, as STEM.png
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// A view of the explorer instead.
    #[command(flatten)]
    pub(crate) shown: ViewArgs,
    /// Put all overlays on one sheet, each with its method, layer, target and score below: a PNG, or a JPEG if FILE ends in .jpg
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub(crate) sheet: Option<PathBuf>,
    /// Results that outlast the run.
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// Write logits, activations, gradients and heatmap into this folder, as STEM.logits.npy and so on
    #[arg(long, value_name = "DIR")]
    pub(crate) raw: Option<PathBuf>,
    /// Photos in a batch, if the model's batch axis is free [default: 4 on the CPU, 8 elsewhere, fewer if the input is large]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: Option<u16>,
    /// Print one JSON object a line instead of images and text
    #[arg(long)]
    pub(crate) json: bool,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// `camscope predict`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PredictArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// Photos or folders of photos
    #[arg(value_name = "IMAGE", required_unless_present = "tensor")]
    pub(crate) images: Vec<PathBuf>,
    /// A .npy array instead of a photo, fed to the model without preprocessing: any number of channels and axes, as volumes, videos
    /// and signals have; repeatable
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub(crate) tensor: Vec<PathBuf>,
    /// Which score to print: what the model gives, or the probability
    #[arg(long, value_enum, default_value_t = ScoreArg::Logit)]
    pub(crate) score: ScoreArg,
    /// Provider and threads.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Print one JSON object a line instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// `camscope factors`.
#[derive(Args, Clone, Debug)]
pub(crate) struct FactorsArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// Photos or folders of photos
    #[arg(value_name = "IMAGE", required_unless_present = "tensor")]
    pub(crate) images: Vec<PathBuf>,
    /// A .npy array instead of a photo, fed to the model without preprocessing; repeatable
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub(crate) tensor: Vec<PathBuf>,
    /// How many concepts
    #[arg(short = 'k', long = "concepts", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) count: u16,
    /// How many classes to list a concept
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) top: u16,
    /// The layer: auto, a value's name, a PyTorch module path, or an index from `camscope layers`
    #[arg(long, value_name = "LAYER", default_value = "auto")]
    pub(crate) layer: Choice,
    /// The layout of the layer's axes, if `camscope layers` shows a wrong one or not the layer: nchw, nhwc, tokens:14x14, or
    /// tokens:1+14x14 with a class token first
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<Layout>,
    /// Where random numbers start: the same seed gives the same concepts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// The photo's weight in the picture, from 0 to 1; the concepts' colours have the rest
    #[arg(long, value_name = "A", default_value_t = camscope_core::overlay::DEFAULT_ALPHA, value_parser = fraction)]
    pub(crate) alpha: f32,
    /// Write the pictures into this folder, as STEM.factors.png
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Write the factors into this folder, as STEM.concepts.npy and STEM.factors.npy
    #[arg(long, value_name = "DIR")]
    pub(crate) raw: Option<PathBuf>,
    /// Provider and threads.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Print one JSON object a line instead of images and text
    #[arg(long)]
    pub(crate) json: bool,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// `camscope layers`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LayersArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// A photo: adds the range of each layer's numbers, and how many saturate
    pub(crate) image: Option<PathBuf>,
    /// A .npy array instead of a photo, fed to the model without preprocessing; it says how large axes of open size are
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    pub(crate) tensor: Option<PathBuf>,
    #[arg(long = "target", value_name = "TARGET", value_parser = target::parse, help = "Layers that lead to this target: class:CLASS, output:NAME[0,3], … [default: to the class scores, else to any output]")]
    pub(crate) targets: Vec<TargetRef>,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

impl LayersArgs {
    /// The photo or the array.
    pub(crate) fn picture(&self) -> Option<&Path> {
        self.image.as_deref().or(self.tensor.as_deref())
    }
}

/// `camscope methods`.
#[derive(Args, Clone, Debug)]
pub(crate) struct MethodsArgs {
    /// One method: its parameters with their defaults
    pub(crate) name: Option<String>,
    /// A plugin or a folder of plugins, in addition to the plugin folder; repeatable
    #[arg(long = "plugin", value_name = "PATH")]
    pub(crate) plugins: Vec<PathBuf>,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// `camscope check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// The photo to check with [default: a synthetic pattern]
    pub(crate) image: Option<PathBuf>,
    /// A .npy array instead of a photo, fed to the model without preprocessing; it says how large axes of open size are
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    pub(crate) tensor: Option<PathBuf>,
    #[arg(long, value_name = "TARGET", value_parser = target::parse, help = "The target whose gradient is checked: class:CLASS, box:N, pixel:X,Y (in pixels of the photo, without one of the model's input), output:NAME[0,3], … [default: the model's first answer]")]
    pub(crate) target: Option<TargetRef>,
    /// Provider and threads.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

impl CheckArgs {
    /// The photo or the array.
    pub(crate) fn picture(&self) -> Option<&Path> {
        self.image.as_deref().or(self.tensor.as_deref())
    }
}

/// `camscope differentiate`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DifferentiateArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// The value to differentiate [default: the model's first output]
    #[arg(long = "output", value_name = "NAME")]
    pub(crate) output_value: Option<String>,
    #[arg(long, value_name = "TARGET", value_parser = target::parse, conflicts_with = "output_value", help = "The target to differentiate: class:CLASS, output:NAME[0,3], box:N, pixel:X,Y (in pixels of the model's input), not:TARGET, … Where its slopes at the outputs are the same for every picture, the model written has them inside; else it takes them as further inputs, of a box one a scale")]
    pub(crate) target: Option<TargetRef>,
    /// The value to differentiate with respect to: an input or any other value; repeatable
    #[arg(long, value_name = "NAME", required = true)]
    pub(crate) wrt: Vec<String>,
    /// The shape of an input that has free axes besides the batch: NAME=1,3,224,224; repeatable
    #[arg(long = "shape", value_name = "NAME=SIZES", value_parser = Shape::parse)]
    pub(crate) shapes: Vec<Shape>,
    /// The floats that the written model computes in: with fp16, products and convolutions in float16, sums, inputs, outputs and
    /// gradients in float32
    #[arg(long, value_enum, hide_possible_values = true, default_value_t = PrecisionArg::Fp32)]
    pub(crate) precision: PrecisionArg,
    /// The model file to write
    #[arg(short = 'o', value_name = "OUT.onnx")]
    pub(crate) output: PathBuf,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
}

/// An input's name and sizes.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) sizes: Vec<usize>,
}

impl Shape {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, sizes) = text.rsplit_once('=').ok_or("it must be NAME=1,3,224,224")?;
        let size = |text: &str| text.trim().parse::<usize>().ok().filter(|&size| size > 0);
        let sizes: Option<Vec<usize>> = sizes.split(',').map(size).collect();
        Ok(Self { name: name.to_owned(), sizes: sizes.ok_or("its sizes must be positive numbers")? })
    }
}

/// `camscope demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// Write heatmaps into this folder instead of exploring [default without a terminal: camscope-demo]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// How the explorer shows images.
    #[command(flatten)]
    pub(crate) screen: ScreenArgs,
    /// Provider and threads.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

impl MethodArgs {
    /// What is asked for: classes, then other targets.
    pub(crate) fn asked(&self) -> Vec<TargetRef> {
        let classes = self.classes.iter().map(|class| class.clone().target());
        classes.chain(self.targets.iter().cloned()).collect()
    }
}

/// [`Sign`] as an option.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SignArg {
    /// What speaks for it.
    Positive,
    /// What speaks against it.
    Negative,
    /// Both, around zero.
    Both,
}

impl From<SignArg> for Sign {
    fn from(sign: SignArg) -> Self {
        match sign {
            SignArg::Positive => Self::Positive,
            SignArg::Negative => Self::Negative,
            SignArg::Both => Self::Both,
        }
    }
}

/// [`Score`] as an option.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ScoreArg {
    /// The logit, before any softmax at the end of the model.
    Logit,
    /// The probability, after it.
    Probability,
}

impl From<ScoreArg> for Score {
    fn from(score: ScoreArg) -> Self {
        match score {
            ScoreArg::Logit => Self::Logit,
            ScoreArg::Probability => Self::Probability,
        }
    }
}

pub(crate) fn fraction(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".into()),
    }
}
