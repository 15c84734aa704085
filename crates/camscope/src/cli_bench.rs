//! The part of the command line that is about measuring, as clap sees it.

use std::path::{Path, PathBuf};

use camscope_core::{
    image::Seen,
    runtime::{ProviderChoice, Version},
};
use clap::{Args, ValueEnum};

use crate::cli::{InputArgs, MethodArgs, PluginArgs, RunArgs};

/// `camscope bench`.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// The photo to measure with [default: a synthetic pattern]
    pub(crate) image: Option<PathBuf>,
    /// A .npy array instead of a photo, fed to the model without preprocessing; it says how large axes of open size are
    #[arg(long, value_name = "FILE", conflicts_with = "image")]
    pub(crate) tensor: Option<PathBuf>,
    /// Layers, classes and method.
    #[command(flatten)]
    pub(crate) how: MethodArgs,
    /// Images in a batch, for the part that measures batches [default: as in `camscope explain`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: Option<u16>,
    /// Rounds to measure, for one image and for a batch, and starts of each process [default: as many rounds as fit into 10
    /// seconds, from 5 to 15; 5 starts]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: Option<u16>,
    /// What runs are timed by: the clock on the wall, or the processors' time for this program, which others on a busy machine hardly
    /// change (with --threads 1: threads that wait for work count too)
    #[arg(long, value_name = "CLOCK", value_enum, default_value_t = BenchClock::Wall)]
    pub(crate) clock: BenchClock,
    /// Provider and threads.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Afterwards, write ONNX Runtime's profiles of ten explanations: PREFIX.forward_TIME.json, PREFIX.backward_TIME.json,
    /// PREFIX.method_TIME.json
    #[arg(long, value_name = "PREFIX")]
    pub(crate) profile: Option<PathBuf>,
    /// Compare each ratio with an earlier measurement: a file with the output of --json
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Plugins and operator libraries.
    #[command(flatten)]
    pub(crate) extra: PluginArgs,
    /// What it is fed with.
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

impl BenchArgs {
    /// The photo or the array.
    pub(crate) fn picture(&self) -> Option<&Path> {
        self.image.as_deref().or(self.tensor.as_deref())
    }
}

/// What runs are timed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchClock {
    /// The clock on the wall
    Wall,
    /// The processors' time for this program, in all its threads
    Processor,
}

/// A process that does one thing.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchChildArgs {
    /// The thing.
    pub(crate) part: BenchPart,
    /// The library of ONNX Runtime.
    #[arg(long)]
    pub(crate) library: PathBuf,
    /// Its version.
    #[arg(long)]
    pub(crate) library_version: Version,
    /// The execution provider of the plain session.
    #[arg(long, value_parser = ProviderChoice::of_any_library)]
    pub(crate) on: ProviderChoice,
    /// How many images the plain session runs at once.
    #[arg(long, default_value_t = 1)]
    pub(crate) copies: usize,
    /// What the picture shows of the photo: left, top, width and height.
    #[arg(long, value_parser = seen)]
    pub(crate) seen: Option<Seen>,
    /// What the parent was given.
    #[command(flatten)]
    pub(crate) bench: BenchArgs,
}

fn seen(text: &str) -> Result<Seen, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(str::parse).collect();
    match numbers.map_err(|error| error.to_string())?[..] {
        [x, y, width, height] => Ok(Seen { x, y, width, height }),
        _ => Err("it takes four numbers".into()),
    }
}

/// What a process is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchPart {
    /// A plain session and one run.
    Plain,
    /// One explanation.
    Explain,
    /// The gradient at the input alone.
    ToInput,
    /// The gradients at every layer and at the input.
    EveryLayer,
    /// Several pictures at once, round after round.
    Together,
}
