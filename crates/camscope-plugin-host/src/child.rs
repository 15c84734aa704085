//! Has plugins tried in child processes, and gives up on those that don't end.

use std::{path::Path, process::Stdio, time::Duration};

use camscope_core::runtime::{Itself, prober::output_within};

use crate::{
    contents::{About, Contents},
    events::{Check, Outcome, Report},
    exercise::EXERCISE_COMMAND,
};

/// How long a plugin may take to show all that it can.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The program that tries plugins when it is run with [`EXERCISE_COMMAND`]: camscope itself.
#[derive(Clone, Debug)]
pub struct Trier {
    /// The program.
    pub program: Itself,
    /// How long a plugin may take.
    pub limit: Duration,
}

impl Trier {
    /// This program, if it is camscope or says how that is run.
    pub fn detect() -> Option<Self> {
        Itself::detect().map(|program| Self { program, limit: LIMIT })
    }

    pub(crate) fn run(&self, path: &Path, part: &str) -> Report {
        let mut command = self.program.command();
        command.arg(EXERCISE_COMMAND).arg(path).arg(part);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        match output_within(&mut command, self.limit) {
            Ok((printed, status)) => Report::of(&printed, status.map(|status| status.to_string()), self.limit),
            Err(error) => {
                let reason = format!("no process to try it in can be started: {error}");
                Report { about: None, contents: None, outcome: Outcome::Failed(reason) }
            }
        }
    }

    /// Every check of `plugin check`, each in its own child.
    pub fn check(&self, path: &Path) -> (Option<About>, Vec<Check>) {
        let mut checks = Vec::new();
        let mut go = |what: &str, part: Option<String>| {
            let report = part.map(|part| self.run(path, &part));
            let outcome = report.as_ref().map_or(Outcome::Skipped, |report| report.outcome.clone());
            checks.push(Check { what: what.to_owned(), outcome });
            report
        };
        let succeeded =
            |report: &Option<Report>| report.as_ref().is_some_and(|report| report.outcome == Outcome::Success);
        let load = go("load", Some("load".into()));
        let contents = go("contents", succeeded(&load).then(|| "contents".into()));
        let fine = succeeded(&contents);
        let items = contents.as_ref().and_then(|report| report.contents.clone()).unwrap_or_else(Contents::default);
        if !fine {
            go("what it has", None);
        }
        for (at, (what, name)) in items.items().iter().enumerate() {
            go(&format!("{what} {name}"), fine.then(|| at.to_string()));
        }
        go("end", fine.then(|| "end".into()));
        (load.and_then(|report| report.about), checks)
    }
}
