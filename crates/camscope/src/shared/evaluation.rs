//! `camscope evaluate` for Python: what it would print is returned.

use std::path::PathBuf;

use camscope_core::{
    Error, Result,
    explain::{Fuse, Options},
    method::Sign,
    model::Given,
    runtime::{Canceller, Precision},
    target::{Score, TargetRef},
};
use ndarray::ArrayD;
use serde_json::Value;

use crate::{
    cli::{EvaluateArgs, FuseArg, MethodArgs, PrecisionArg, RunArgs, ScoreArg, SignArg},
    cli_input::{InputArgs, SizeArg},
    cli_keep::KeepArgs,
    cli_plugins::PluginArgs,
    evaluate_cmd::evaluated,
    feed::FedInput,
    output::{Gathered, gathered},
};

/// What is evaluated, and how: the options of the command.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// The model.
    pub model: PathBuf,
    /// Photos and folders of photos.
    pub images: Vec<PathBuf>,
    /// Methods; none: the one that suits.
    pub methods: Vec<String>,
    /// What is measured; none: all that can be.
    pub metrics: Vec<String>,
    /// What is explained; none: the classes of boxes, else what the model says first.
    pub targets: Vec<TargetRef>,
    /// Layers, their layout and how they are fused, sign, score, seed, and the session's provider, threads and precision.
    pub options: Options,
    /// A file with boxes.
    pub boxes: Option<PathBuf>,
    /// A folder of masks.
    pub masks: Option<PathBuf>,
    /// Steps of the curves, at least 2.
    pub steps: u16,
    /// Changed photos in a run, at least 1.
    pub batch: u16,
    /// Stages of the sanity check.
    pub sanity: Option<u16>,
    /// A file that gets a line a heatmap.
    pub csv: Option<PathBuf>,
    /// A folder that gets the curves.
    pub plot: Option<PathBuf>,
    /// What photos become.
    pub given: Given,
    /// The input that takes the photo.
    pub picture: Option<String>,
    /// What inputs get that don't take it.
    pub fed: Vec<(String, ArrayD<f32>)>,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// A line of JSON for each heatmap.
    pub heatmaps: Vec<String>,
    /// A line of JSON for each method and layer.
    pub summaries: Vec<String>,
    /// The table.
    pub table: String,
    /// What is to be known, each a sentence.
    pub notes: Vec<String>,
    /// What failed while the rest went on: what happened, and what to do about it.
    pub failed: Vec<(String, Option<String>)>,
}

impl Evaluation {
    /// Does it, until it is cancelled. Plugins are loaded.
    ///
    /// # Errors
    /// As those of the command, or the work was cancelled.
    pub fn run(self, canceller: &Canceller) -> Result<Evaluated> {
        let args = self.into_args()?;
        let (result, gathered) = gathered(|| evaluated(&args, canceller));
        let Gathered { printed, notes, complaints } = gathered;
        let (_, table) = result?;
        let is_summary =
            |line: &String| serde_json::from_str::<Value>(line).is_ok_and(|line| line.get("summary").is_some());
        let (summaries, heatmaps) = printed.into_iter().partition(is_summary);
        Ok(Evaluated { heatmaps, summaries, table, notes, failed: complaints })
    }

    fn into_args(self) -> Result<EvaluateArgs> {
        let options = self.options;
        let threads = options.session.threads.map(u16::try_from).transpose();
        let threads = threads.map_err(|_| Error::Value("there cannot be so many threads".into()))?;
        let given = self.given;
        Ok(EvaluateArgs {
            model: self.model,
            images: self.images,
            tensor: Vec::new(),
            from: Default::default(),
            keep: KeepArgs::default(),
            output: None,
            how: MethodArgs {
                method: self.methods,
                seed: options.seed,
                sign: match options.sign {
                    Sign::Positive => SignArg::Positive,
                    Sign::Negative => SignArg::Negative,
                    Sign::Both => SignArg::Both,
                },
                layers: options.layers,
                fuse: options.fuse.map(|fuse| match fuse {
                    Fuse::Mean => FuseArg::Mean,
                    Fuse::Max => FuseArg::Max,
                }),
                layout: options.layout,
                classes: Vec::new(),
                targets: self.targets,
                score: match options.score {
                    Score::Logit => ScoreArg::Logit,
                    Score::Probability => ScoreArg::Probability,
                },
            },
            metric: self.metrics,
            boxes: self.boxes,
            masks: self.masks,
            steps: self.steps,
            sanity: self.sanity,
            csv: self.csv,
            plot: self.plot,
            run: RunArgs {
                ep: options.session.provider,
                ep_libraries: Vec::new(),
                device: None,
                threads,
                precision: match options.session.precision {
                    Precision::Float32 => PrecisionArg::Fp32,
                    Precision::Float16 => PrecisionArg::Fp16,
                },
            },
            batch: self.batch,
            json: true,
            extra: PluginArgs::default(),
            input: InputArgs {
                picture: self.picture,
                fed: self.fed.into_iter().map(|(name, array)| FedInput::of_array(name, array)).collect(),
                size: given.size.map(|(height, width)| SizeArg::Pixels(height, width)),
                crop: given.crop,
                bgr: given.bgr,
                range: given.range.map(Vec::from).unwrap_or_default(),
                mean: given.mean.unwrap_or_default(),
                std: given.std.unwrap_or_default(),
                white: given.white,
                labels: given.labels,
                sidecar: given.sidecar,
            },
        })
    }
}
