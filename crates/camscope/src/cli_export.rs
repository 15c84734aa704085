//! The options of `camscope export`, as clap sees them.

use std::path::PathBuf;

use camscope_core::{
    explain::export::Resolution,
    layer::{Choice, Layout},
};
use clap::{Args, ValueEnum};

use crate::{
    cli::{ScoreArg, SignArg},
    cli_input::InputArgs,
    cli_plugins::PluginArgs,
};

/// `camscope export`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExportArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// The model file to write
    #[arg(short = 'o', long = "output", value_name = "OUT.onnx")]
    pub(crate) output: PathBuf,
    #[arg(
        long,
        value_name = "NAME",
        help = "The method, one of the family activation and gradient, see `camscope methods` [default: from the model's sidecar, else gradcam]"
    )]
    pub(crate) method: Option<String>,
    /// Which evidence to show: for the class, against it, or both around zero
    #[arg(long, value_enum, default_value_t = SignArg::Positive)]
    pub(crate) sign: SignArg,
    /// The layer: auto, a value's name, a PyTorch module path, or an index from `camscope layers`; may be given several times, each has
    /// an output of its own
    #[arg(long = "layer", value_name = "LAYER", default_value = "auto")]
    pub(crate) layers: Vec<Choice>,
    /// The layout of the layer's axes, if `camscope layers` shows a wrong one: nchw, nhwc, tokens:14x14, or tokens:1+14x14
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<Layout>,
    /// Which score of the class is explained
    #[arg(long, value_enum, default_value_t = ScoreArg::Logit)]
    pub(crate) score: ScoreArg,
    /// The heat's resolution: the layer's, as the method gives it, or the input's, normalised and enlarged
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = ResolutionArg::Layer)]
    pub(crate) resolution: ResolutionArg,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// [`Resolution`] as an option.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ResolutionArg {
    /// As the method gives it.
    Layer,
    /// From 0 to 1, as large as the input.
    Input,
}

impl From<ResolutionArg> for Resolution {
    fn from(resolution: ResolutionArg) -> Self {
        match resolution {
            ResolutionArg::Layer => Self::Layer,
            ResolutionArg::Input => Self::Input,
        }
    }
}
