//! The options of `camscope evaluate`, as clap sees them.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::{KeepArgs, ListArgs, MethodArgs, RunArgs},
    cli_input::InputArgs,
    cli_plugins::PluginArgs,
};

/// `camscope evaluate`.
#[derive(Args, Clone, Debug)]
pub(crate) struct EvaluateArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// Photos, folders of photos, or globs
    #[arg(value_name = "IMAGE", required_unless_present_any = ["tensor", "list"])]
    pub(crate) images: Vec<PathBuf>,
    /// More of them, or fewer.
    #[command(flatten)]
    pub(crate) from: ListArgs,
    /// A .npy array instead of a photo, fed to the model without preprocessing; repeatable
    #[arg(long, value_name = "FILE", conflicts_with_all = ["images", "boxes", "masks"])]
    pub(crate) tensor: Vec<PathBuf>,
    /// Layers, classes and methods.
    #[command(flatten)]
    pub(crate) how: MethodArgs,
    /// Measure this alone: deletion, insertion, road, confidence, complexity, infidelity, sensitivity, pointing, inside; repeatable
    /// [default: all; the last two where --boxes or --masks says where things are]
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Vec<String>,
    /// Where things are: COCO's JSON, or CSV with the header image,label,x0,y0,x1,y1 in the photos' pixels. Where no target is given, the
    /// classes in a photo's boxes are explained
    #[arg(long, value_name = "FILE")]
    pub(crate) boxes: Option<PathBuf>,
    /// Where the target is: for a photo STEM.jpg the mask STEM.png in this folder, as large as the photo, what isn't black is the target
    #[arg(long, value_name = "DIR", conflicts_with = "boxes")]
    pub(crate) masks: Option<PathBuf>,
    /// Steps of the curves of deletion and insertion; more are finer and cost more
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..))]
    pub(crate) steps: u16,
    /// Randomise the model's weights layer by layer from the top, in so many stages, and compare the heatmaps with those before. The file
    /// is not touched
    #[arg(long, value_name = "STAGES", num_args = 0..=1, require_equals = true, default_missing_value = "6", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) sanity: Option<u16>,
    /// Write a line a photo, method, layer and target to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Draw the curves, means over the photos, into this folder: deletion, insertion and road, as PNG and SVG
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,
    /// Keep what was measured in this folder, as results.jsonl, so that --resume can go on
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Results that outlast the run.
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// Provider and threads.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Changed photos in a run, if the model's batch axis is free
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    /// Print one JSON object a line instead of a table: a photo, method, layer and target each, then a summary a method and layer
    #[arg(long)]
    pub(crate) json: bool,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}
