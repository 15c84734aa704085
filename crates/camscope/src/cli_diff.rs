//! `camscope diff`, as clap sees it.

use std::path::PathBuf;

use camscope_core::layer::Choice;
use clap::{Args, ValueEnum};

use crate::cli::{InputArgs, KeepArgs, ListArgs, MethodArgs, PluginArgs, RunArgs, fraction};

/// `camscope diff`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DiffArgs {
    /// The first model, an .onnx file: the one that the other is compared with
    #[arg(value_name = "A.onnx")]
    pub(crate) a: PathBuf,
    /// The second model: the same network in integers, another checkpoint, another export, …
    #[arg(value_name = "B.onnx")]
    pub(crate) b: PathBuf,
    /// Photos, folders of photos, or globs
    #[arg(value_name = "IMAGE", required_unless_present_any = ["tensor", "list"])]
    pub(crate) images: Vec<PathBuf>,
    /// More of them, or fewer.
    #[command(flatten)]
    pub(crate) from: ListArgs,
    /// A .npy array instead of a photo, fed to both models without preprocessing; repeatable
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub(crate) tensor: Vec<PathBuf>,
    /// Layers, classes and method.
    #[command(flatten)]
    pub(crate) how: MethodArgs,
    /// The second model's layer, where it is not to be the one that matches the first's; once for each --layer
    #[arg(long = "layer-b", value_name = "LAYER")]
    pub(crate) layers_b: Vec<Choice>,
    /// The second model's sidecar in TOML, in place of the file beside it
    #[arg(long = "sidecar-b", value_name = "FILE")]
    pub(crate) sidecar_b: Option<PathBuf>,
    /// Compare the activations of all layers too, and say where they first drift apart
    #[arg(long)]
    pub(crate) drift: bool,
    /// Which measure sorts photos and counts for --fail-below
    #[arg(long, value_enum, default_value_t = Measure::Cosine)]
    pub(crate) measure: Measure,
    /// End with status 3 if the measure of any photo is below this: for tests
    #[arg(long, value_name = "LEAST", value_parser = measure, allow_hyphen_values = true)]
    pub(crate) fail_below: Option<f64>,
    /// The colormap of the heat: jet, turbo, viridis, magma, inferno, plasma, cividis, …
    #[arg(long, value_name = "NAME", default_value = "jet")]
    pub(crate) colormap: String,
    /// The photo's weight in the pictures, from 0 to 1; the heat has the rest
    #[arg(long, value_name = "A", default_value_t = camscope_core::overlay::DEFAULT_ALPHA, value_parser = fraction)]
    pub(crate) alpha: f32,
    /// Provider and threads.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Trust an execution provider other than the CPU: don't compare the first explanation of a model with the CPU's
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Write pictures into this folder, as STEM.png: the heat of A, that of B, and what is different
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Draw the curve of --drift, the mean over the photos, into this folder: drift.png and drift.svg
    #[arg(long, value_name = "DIR", requires = "drift")]
    pub(crate) plot: Option<PathBuf>,
    /// Results that outlast the run.
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// Write logits and heatmaps of both and their difference into this folder, as STEM.a.logits.npy and so on
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
    /// What both are fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

/// `--measure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// The cosine of the two heatmaps
    Cosine,
    /// Their rank correlation
    Rank,
}

impl Measure {
    /// To be read.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Rank => "rank correlation",
        }
    }
}

fn measure(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (-1.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from -1 to 1".into()),
    }
}
