//! The options of `camscope export`, as clap sees them.

use std::path::PathBuf;

use camscope_core::{
    explain::export::Resolution,
    layer::{Choice, Layout},
};
use clap::{Args, ValueEnum};

use crate::{
    cli::{ScoreArg, SignArg, fraction},
    cli_input::{InputArgs, SizeArg},
    cli_plugins::PluginArgs,
};

/// `camscope export`.
#[derive(Args, Clone, Debug)]
#[command(mut_arg("size", |size| size.value_parser(SizeArg::of_export).help(
    "The input's size in pixels, where the model leaves it open: N or HxW; or input or layer: as --resolution"
)))]
pub(crate) struct ExportArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// The model file to write
    #[arg(short = 'o', long = "output", value_name = "OUT.onnx", required_unless_present = "triton")]
    pub(crate) output: Option<PathBuf>,
    #[arg(
        long,
        value_name = "NAME",
        help = "The method, one of the family activation and gradient, see `camscope methods` [default: from the model's sidecar, else gradcam, or hirescam for what lies at one place]"
    )]
    pub(crate) method: Option<String>,
    #[arg(
        long,
        value_name = "TARGET",
        help = "What to explain: class (an input of the graph asks for it, for each image), class:CLASS, class:topN, contrast:A,B, box:N, box:LABEL, segment:LABEL, output:NAME[0,3], not:TARGET [default: class, or what the model answers first]"
    )]
    pub(crate) target: Option<String>,
    /// Give the heat of the K likeliest classes of each image, and these classes
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "target")]
    pub(crate) top: Option<u16>,
    /// Which evidence to show: for the target, against it, or both around zero
    #[arg(long, value_enum, default_value_t = SignArg::Positive)]
    pub(crate) sign: SignArg,
    /// The layer: auto, a value's name, a PyTorch module path, or an index from `camscope layers`; may be given several times, each has
    /// an output of its own
    #[arg(long = "layer", value_name = "LAYER", default_value = "auto")]
    pub(crate) layers: Vec<Choice>,
    /// The layout of the layer's axes, if `camscope layers` shows a wrong one: nchw, nhwc, tokens:14x14, or tokens:1+14x14
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<Layout>,
    /// Which score of the target is explained
    #[arg(long, value_enum, default_value_t = ScoreArg::Logit)]
    pub(crate) score: ScoreArg,
    /// The heat's resolution: the layer's, as the method gives it, or the input's, normalised and enlarged
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = ResolutionArg::Layer)]
    pub(crate) resolution: ResolutionArg,
    /// Give the picture under the heat too, as bytes [N, height, width, 3]
    #[arg(long)]
    pub(crate) overlay: bool,
    /// The colormap of --overlay
    #[arg(long, value_name = "NAME", default_value = "jet")]
    pub(crate) colormap: String,
    /// The picture's weight in --overlay, from 0 to 1; the heatmap has the rest
    #[arg(long, value_name = "A", default_value_t = camscope_core::overlay::DEFAULT_ALPHA, value_parser = fraction)]
    pub(crate) alpha: f32,
    /// The version of the standard operators that the file is written for [default: the model's own, or 18 if that is older]
    #[arg(long, value_name = "N")]
    pub(crate) opset: Option<i64>,
    /// Leave the weights out of the file: in the files where they are, if it is written into the same folder, else in OUT.onnx.data
    #[arg(long)]
    pub(crate) external: bool,
    /// Write a model repository for NVIDIA's Triton into this folder: NAME/config.pbtxt and NAME/1/model.onnx
    #[arg(long, value_name = "DIR")]
    pub(crate) triton: Option<PathBuf>,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

impl ExportArgs {
    /// How large the heat is.
    pub(crate) fn heat(&self) -> Resolution {
        match self.input.size {
            Some(SizeArg::OfHeat(resolution)) => resolution.into(),
            _ => self.resolution.into(),
        }
    }
}

/// [`Resolution`] as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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
