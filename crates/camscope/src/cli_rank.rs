//! `camscope rank`, as clap sees it.

use std::path::PathBuf;

use camscope_core::{
    layer::Choice,
    target::{self, ClassSpec, TargetRef},
};
use clap::Args;

use crate::cli::{InputArgs, MethodArgs, PluginArgs, RunArgs, ScoreArg, SignArg, fraction};

/// `camscope rank`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RankArgs {
    /// The model, an .onnx file
    pub(crate) model: PathBuf,
    /// Photos, folders of photos, or globs
    #[arg(value_name = "IMAGE", required_unless_present = "list")]
    pub(crate) images: Vec<PathBuf>,
    /// Take photos and folders from this file too, one a line (or ended by NUL, as `find -print0` gives them); - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// A method to try, or all of them: all; repeatable [default: those that are programs over activation and
    /// gradient, eigencam, and input-x-gradient]
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]")]
    pub(crate) method: Vec<String>,
    /// A layer to try: auto, a value's name, a PyTorch module path, or an index from `camscope layers`; repeatable
    /// [default: auto, and those where the resolution changes]
    #[arg(long = "layer", value_name = "LAYER")]
    pub(crate) layers: Vec<Choice>,
    /// The class: top1 (top2, …), a label, or a number; '#3' is a number even if labels are numbers
    #[arg(long = "class", value_name = "CLASS", conflicts_with = "target")]
    pub(crate) class: Option<ClassSpec>,
    #[arg(long, value_name = "TARGET", value_parser = target::parse, help = "What to explain: class:CLASS, contrast:A,B, box:N, … (see `camscope predict`) [default: the model's first answer to each photo]")]
    pub(crate) target: Option<TargetRef>,
    /// Which score of the class to explain
    #[arg(long, value_enum, default_value_t = ScoreArg::Logit)]
    pub(crate) score: ScoreArg,
    /// What it may cost: a time (30s, 5m, 1h) from the start of the command, or a number of forward passes. With less, maps are scored by
    /// fewer passes and on fewer photos
    #[arg(long, value_name = "BUDGET", default_value = "30s", value_parser = budget)]
    pub(crate) budget: Budget,
    /// Where random numbers start: the same seed gives the same scores
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Put the heat of all that was tried on one sheet, the best first: a PNG, or a JPEG if FILE ends in .jpg
    #[arg(long, value_name = "FILE")]
    pub(crate) sheet: Option<PathBuf>,
    /// The colormap of the sheet
    #[arg(long, value_name = "NAME", default_value = "jet")]
    pub(crate) colormap: String,
    /// The photo's weight on the sheet, from 0 to 1; the heat has the rest
    #[arg(long, value_name = "A", default_value_t = camscope_core::overlay::DEFAULT_ALPHA, value_parser = fraction)]
    pub(crate) alpha: f32,
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

impl RankArgs {
    /// The same as the commands that explain have it.
    pub(crate) fn how(&self) -> MethodArgs {
        MethodArgs {
            method: self.method.clone(),
            seed: self.seed,
            sign: SignArg::Positive,
            layers: self.layers.clone(),
            fuse: None,
            layout: None,
            classes: self.class.iter().cloned().collect(),
            targets: self.target.iter().cloned().collect(),
            score: self.score,
        }
    }
}

/// What ranking may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Budget {
    /// Seconds, from the start of the command.
    Seconds(f64),
    /// Forward passes.
    Passes(f64),
}

impl Budget {
    /// So many seconds or more, as [`Budget::Seconds`] is given: round, and easily typed.
    pub(crate) fn seconds_in_words(seconds: f64) -> String {
        match seconds {
            ..=90.0 => format!("{:.0}s", (seconds / 10.0).ceil().max(1.0) * 10.0),
            ..=5400.0 => format!("{:.0}m", (seconds / 60.0).ceil()),
            _ => format!("{:.0}h", (seconds / 3600.0).ceil()),
        }
    }
}

fn budget(text: &str) -> Result<Budget, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
    let unit = |ending: &str, seconds: f64| Some(Budget::Seconds(number(text.strip_suffix(ending)?)? * seconds));
    let found = number(text).map(Budget::Passes).or_else(|| unit("s", 1.0));
    let found = found.or_else(|| unit("min", 60.0)).or_else(|| unit("m", 60.0)).or_else(|| unit("h", 3600.0));
    found.ok_or_else(|| "it must be a time, such as 30s, 5m or 1h, or a number of forward passes".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_time_or_a_number_of_passes() {
        assert_eq!(budget("30s"), Ok(Budget::Seconds(30.0)));
        assert_eq!([budget("1.5m"), budget("2min")], [Ok(Budget::Seconds(90.0)), Ok(Budget::Seconds(120.0))]);
        assert_eq!([budget("1h"), budget("500")], [Ok(Budget::Seconds(3600.0)), Ok(Budget::Passes(500.0))]);
        for (seconds, words) in [(0.2, "10s"), (31.0, "40s"), (91.0, "2m"), (5401.0, "2h")] {
            assert_eq!(Budget::seconds_in_words(seconds), words);
            assert!(matches!(budget(words), Ok(Budget::Seconds(own)) if own >= seconds));
        }
        for wrong in ["", "s", "0", "-3s", "nan", "3 days"] {
            assert!(budget(wrong).is_err(), "{wrong}");
        }
    }
}
