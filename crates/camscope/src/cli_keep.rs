//! What is kept of a run over many pictures, as clap sees it.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// Results that outlast the run.
#[derive(Args, Clone, Debug, Default)]
#[command(group(ArgGroup::new("kept").args(["output", "report"]).multiple(true)))]
pub(crate) struct KeepArgs {
    /// Write a page with all photos and their heat into this folder, index.html, to be opened in a browser
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Go on with a run that was ended, after the results in DIR/results.jsonl (of -o, else of --report); start where there are none
    #[arg(long, requires = "kept")]
    pub(crate) resume: bool,
    /// Whether no results are kept: set by commands that explain for a purpose of their own.
    #[arg(skip)]
    pub(crate) nothing: bool,
}
