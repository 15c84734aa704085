//! The command line, as clap sees it.

use std::path::PathBuf;

use camscope_core::{
    layer::{Choice, Layout},
    method::{self, Sign},
    runtime::ProviderChoice,
    target::{self, ClassSpec, Score, TargetRef},
};
use camscope_tui::graphics::GraphicsChoice;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use crate::cli_bench::{BenchArgs, BenchChildArgs};
pub(crate) use crate::cli_input::InputArgs;
pub(crate) use crate::cli_plugins::{Language, PluginArgs, PluginCommand};

/// See what an ONNX image model looked at.
///
/// `camscope MODEL [IMAGE]…` opens the explorer: the photo with its heatmap, class by class and layer by layer, by keyboard and mouse.
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
            Some(Command::Check(args)) => Some(&args.run),
            Some(Command::Bench(args)) => Some(&args.run),
            Some(Command::BenchChild(args)) => Some(&args.bench.run),
            // Each by name: a new command that runs models is not to be forgotten here.
            Some(
                Command::Layers(_)
                | Command::Differentiate(_)
                | Command::Config(_)
                | Command::Plugin(_)
                | Command::Runtime(_)
                | Command::Completions { .. }
                | Command::Man
                | Command::ProbeRuntime { .. }
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
    /// Photos, and folders of photos
    #[arg(value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    #[arg(long, value_name = "NAME", help = format!("How heat is computed: {} [default: the configuration's, else the model's sidecar's, else gradcam]", method::names()))]
    pub(crate) method: Option<String>,
    /// The layer to look at first: auto, a value's name, a PyTorch module path, or a number of `camscope layers`
    #[arg(long, value_name = "LAYER")]
    pub(crate) layer: Option<Choice>,
    /// The class to explain first: top1 (top2, …), a label, or a number; '#3' is a number where labels are numbers too
    #[arg(long = "class", value_name = "CLASS")]
    pub(crate) class: Option<ClassSpec>,
    /// What to explain beside the classes: contrast:A,B, output:NAME[0,3], not:TARGET; may be given several times
    #[arg(long = "target", value_name = "TARGET", value_parser = target::parse)]
    pub(crate) targets: Vec<TargetRef>,
    /// What of a class is explained
    #[arg(long, value_enum, default_value_t = ScoreArg::Logit)]
    pub(crate) score: ScoreArg,
    /// The colours of the heat [default: the configuration's, else jet]
    #[arg(long, value_name = "NAME")]
    pub(crate) colormap: Option<String>,
    /// The photo's weight in the overlay, from 0 to 1; the heat has the rest [default: the configuration's, else 0.4]
    #[arg(long, value_name = "A", value_parser = fraction)]
    pub(crate) alpha: Option<f32>,
    /// What the explorer's terminal is asked for.
    #[command(flatten)]
    pub(crate) screen: ScreenArgs,
    /// Where it runs.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Code from elsewhere.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// How the explorer shows pictures.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ScreenArgs {
    /// How pictures are shown: auto (the best that the terminal says it can), kitty, sixel, iterm2, halfblocks, none
    /// [default: the configuration's, else auto]
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) graphics: Option<GraphicsChoice>,
    /// Width and height of a character in pixels, where the terminal doesn't tell: 10x20
    #[arg(long, value_name = "WxH", value_parser = camscope_tui::config::font_size)]
    pub(crate) font_size: Option<(u16, u16)>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Explore bundled photos with the bundled model; without a terminal, or with -o, explain them
    Demo(DemoArgs),
    /// Show what a model looked at in photos: in the terminal, as PNG, as arrays
    Explain(Box<ExplainArgs>),
    /// List a model's layers
    Layers(LayersArgs),
    /// Say whether a model can be explained, and check its gradients on this machine
    Check(CheckArgs),
    /// Forward against explain on this machine: ratios, class switch, all layers, peak memory
    Bench(Box<BenchArgs>),
    /// Write a model that also computes gradients: inputs seed.NAME, outputs grad.NAME
    Differentiate(DifferentiateArgs),
    /// The explorer's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Plugins: colormaps, layer resolvers and gradient rules of your own
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// The ONNX Runtime that models run with: show what there is, or get one
    #[command(subcommand)]
    Runtime(RuntimeCommand),
    /// Print the completions of a shell, to be put where it looks for them
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff: `camscope man | man -l -`
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
    /// Print the configuration in force, defaults included, as a file that gives the same
    Print,
}

/// The subcommands of `camscope runtime`.
#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeCommand {
    /// Show every place searched for ONNX Runtime, the execution providers, and the terminal's graphics
    Show {
        /// Print one JSON object instead
        #[arg(long)]
        json: bool,
    },
    /// Fetch an ONNX Runtime with pip, else npm, into camscope's data folder
    Install {
        /// The one with the CUDA and TensorRT providers, for NVIDIA's GPUs
        #[arg(long)]
        gpu: bool,
    },
}

/// What is explained, and how: shared by the commands that explain.
#[derive(Args, Clone, Debug)]
pub(crate) struct MethodArgs {
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", help = format!("How heat is computed: {} [default: the model's sidecar's, else gradcam]", method::names()))]
    pub(crate) method: Option<String>,
    /// Which side of the evidence is shown: what speaks for the target, against it, or both around zero
    #[arg(long, value_enum, default_value_t = SignArg::Positive)]
    pub(crate) sign: SignArg,
    /// The layer: auto, a value's name, a PyTorch module path, a number of `camscope layers`, or @input (gradient only);
    /// may be given several times
    #[arg(long = "layer", value_name = "LAYER", default_value = "auto")]
    pub(crate) layers: Vec<Choice>,
    /// What the layer's axes mean, where `camscope layers` misreads or leaves it out: nchw, nhwc, tokens:14x14, or tokens:1+14x14
    /// with a class token first; any value of the graph may then be named
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<Layout>,
    /// The class: top1 (top2, …), a label, or a number; '#3' is a number where labels are numbers too; may be given several times
    #[arg(long = "class", value_name = "CLASS")]
    pub(crate) classes: Vec<ClassSpec>,
    /// What is explained: class:CLASS, contrast:A,B, output:NAME[0,3], not:TARGET; may be given several times [default: what
    /// the model says first]
    #[arg(long = "target", value_name = "TARGET", value_parser = target::parse)]
    pub(crate) targets: Vec<TargetRef>,
    /// What of the class is explained
    #[arg(long, value_enum, default_value_t = ScoreArg::Logit)]
    pub(crate) score: ScoreArg,
}

/// How explanations look: shared by the commands that draw them.
#[derive(Args, Clone, Debug)]
pub(crate) struct LookArgs {
    /// The colours of the heat: jet, turbo, viridis, magma, inferno, plasma, cividis, …
    #[arg(long, value_name = "NAME", default_value = "jet")]
    pub(crate) colormap: String,
    /// The photo's weight in the overlay, from 0 to 1; the heat has the rest
    #[arg(long, value_name = "A", default_value_t = camscope_core::overlay::DEFAULT_ALPHA, value_parser = fraction)]
    pub(crate) alpha: f32,
}

/// Where models run: shared by the commands that run them.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// The execution provider: auto (the best that works), cpu, cuda, tensorrt, …
    #[arg(long, value_name = "PROVIDER", default_value = "auto")]
    pub(crate) ep: ProviderChoice,
    /// Threads within an operator [default: as many as ONNX Runtime sees fit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
}

/// `camscope explain`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExplainArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// The photos, and folders of photos
    #[arg(value_name = "IMAGE", required_unless_present = "tensor")]
    pub(crate) images: Vec<PathBuf>,
    /// An array (.npy) in place of photos, fed to the model as it is; may be given several times
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub(crate) tensor: Vec<PathBuf>,
    /// What is explained, and how.
    #[command(flatten)]
    pub(crate) how: MethodArgs,
    /// How it looks.
    #[command(flatten)]
    pub(crate) look: LookArgs,
    /// Where it runs.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Write the overlays into this folder, as STEM.png
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Write logits, activations, gradients and heatmap into this folder, as STEM.logits.npy and so on
    #[arg(long, value_name = "DIR")]
    pub(crate) raw: Option<PathBuf>,
    /// How many photos run through the model at once, where it takes any number [default: 4 on the CPU, 8 elsewhere, fewer where its
    /// input is large]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: Option<u16>,
    /// Print one JSON object a line instead of pictures and text
    #[arg(long)]
    pub(crate) json: bool,
    /// Code from elsewhere.
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
    /// Layers that lead to this target: class:CLASS, output:NAME[0,3], … [default: to the class scores, else to any output]
    #[arg(long = "target", value_name = "TARGET", value_parser = target::parse)]
    pub(crate) targets: Vec<TargetRef>,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Code from elsewhere.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// `camscope check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// A photo to check with [default: a made-up pattern]
    pub(crate) image: Option<PathBuf>,
    /// Where it runs.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Code from elsewhere.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// `camscope differentiate`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DifferentiateArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// The value that is differentiated [default: the model's first output]
    #[arg(long = "output", value_name = "NAME")]
    pub(crate) output_value: Option<String>,
    /// What it is differentiated with respect to: an input or any other value; may be given several times
    #[arg(long, value_name = "NAME", required = true)]
    pub(crate) wrt: Vec<String>,
    /// The sizes of an input with open axes beyond the batch: NAME=1,3,224,224; may be given several times
    #[arg(long = "shape", value_name = "NAME=SIZES", value_parser = Shape::parse)]
    pub(crate) shapes: Vec<Shape>,
    /// Write the model here
    #[arg(short = 'o', value_name = "OUT.onnx")]
    pub(crate) output: PathBuf,
    /// Code from elsewhere.
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
    /// Don't explore: write pictures into this folder [default: camscope-demo where there is no terminal to explore in]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// What the explorer's terminal is asked for.
    #[command(flatten)]
    pub(crate) screen: ScreenArgs,
    /// Where it runs.
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

fn fraction(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".into()),
    }
}
