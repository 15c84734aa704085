//! `camscope check`: can this model be explained, and are its gradients right?

use std::{process::ExitCode, time::Duration};

use camscope_core::{
    Result,
    check::{Outcome, Row, check_telling},
    runtime::Runtime,
    text::printable,
};
use indicatif::ProgressBar;
use serde_json::json;

use crate::{
    cli::CheckArgs,
    input::photo_or_pattern,
    output, plugins,
    setup::{open_for, session_options},
};

/// Runs `camscope check`. The exit status is 1 where a check fails.
///
/// # Errors
/// The model or the photo cannot be read.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let (network, sidecar) = open_for(&args.model, &args.input, args.picture())?;
    let (tensor, seen) = photo_or_pattern(args.picture(), &network, &sidecar.preprocessing)?;
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut doing = |what| bar.set_message(what);
    let rows = check_telling(
        runtime,
        &network,
        &sidecar,
        (&tensor, seen, args.target.as_ref()),
        &session_options(&args.run),
        &mut doing,
    );
    bar.finish_and_clear();
    let text: String = rows.iter().map(|row| if args.json { line(row) } else { table_row(row) }).collect();
    output::print(&text)?;
    let failed = rows.iter().any(|row| row.outcome == Outcome::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Noted => "noted",
        Outcome::Failed => "FAILED",
    }
}

fn table_row(row: &Row) -> String {
    let lines: Vec<String> = row.detail.lines().map(|line| printable(line).into_owned()).collect();
    format!("{:6}  {:13}  {}\n", mark(row.outcome), row.what, lines.join(&format!("\n{:23}", "")))
}

fn line(row: &Row) -> String {
    let object = json!({ "check": row.what, "outcome": mark(row.outcome).to_lowercase(), "detail": row.detail });
    format!("{object}\n")
}
