//! `camscope check`: can this model be explained, and are its gradients right?

use std::process::ExitCode;

use camscope_core::{
    Result,
    check::{Outcome, Row, check},
    image::{Photo, prepare},
    model::Layout,
    runtime::Runtime,
    text::printable,
};
use ndarray::{ArrayD, IxDyn};
use serde_json::json;

use crate::{
    cli::CheckArgs,
    explain_cmd::{open, session_options},
    output, plugins,
};

/// Runs `camscope check`. The exit status is 1 where a check fails.
///
/// # Errors
/// The model or the photo cannot be read.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let (network, sidecar) = open(&args.model)?;
    let preprocessing = &sidecar.preprocessing;
    let tensor = match &args.image {
        Some(path) => prepare(&Photo::open(path)?.pixels, preprocessing)?.tensor,
        None => {
            let (height, width) = (preprocessing.size.0 as usize, preprocessing.size.1 as usize);
            pattern(preprocessing.layout, preprocessing.channels(), height, width)
        }
    };
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let rows = check(runtime, &network, &sidecar, &tensor, &session_options(&args.run));
    let text: String = rows.iter().map(|row| if args.json { line(row) } else { table_row(row) }).collect();
    output::print(&text)?;
    let failed = rows.iter().any(|row| row.outcome == Outcome::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Something to look at where no photo is given: noise over waves, about as strong as a normalised photo.
fn pattern(layout: Layout, channels: usize, height: usize, width: usize) -> ArrayD<f32> {
    let mut state = 1u32;
    let mut value = |y: usize, x: usize, channel: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
        let phase = (channel + 1) as f32;
        (y as f32 / 9.0 * phase).sin() + (x as f32 / 13.0 + phase).cos() + noise
    };
    match layout {
        Layout::Nchw => ArrayD::from_shape_fn(IxDyn(&[1, channels, height, width]), |at| value(at[2], at[3], at[1])),
        Layout::Nhwc => ArrayD::from_shape_fn(IxDyn(&[1, height, width, channels]), |at| value(at[1], at[2], at[3])),
    }
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
