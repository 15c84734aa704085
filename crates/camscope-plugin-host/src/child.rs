//! Has plugins tried in child processes, and gives up on those that don't end.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

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
    pub program: PathBuf,
    /// How long a plugin may take.
    pub limit: Duration,
}

impl Trier {
    /// This program, if it is camscope.
    pub fn detect() -> Option<Self> {
        let program = std::env::current_exe().ok()?;
        let is_camscope = program.file_stem().is_some_and(|stem| stem == "camscope");
        is_camscope.then_some(Self { program, limit: LIMIT })
    }

    pub(crate) fn run(&self, path: &Path, part: &str) -> Report {
        let mut command = Command::new(&self.program);
        command.arg(EXERCISE_COMMAND).arg(path).arg(part);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        match self.wait(command) {
            Ok((printed, status)) => Report::of(&printed, status.map(|status| status.to_string()), self.limit),
            Err(error) => {
                let reason = format!("no process to try it in can be started: {error}");
                Report { about: None, contents: None, outcome: Outcome::Failed(reason) }
            }
        }
    }

    fn wait(&self, mut command: Command) -> std::io::Result<(String, Option<ExitStatus>)> {
        let mut child = command.spawn()?;
        let (sender, receiver) = mpsc::channel();
        if let Some(mut stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut text = Vec::new();
                let _ = stdout.by_ref().take(1 << 20).read_to_end(&mut text);
                sender.send(String::from_utf8_lossy(&text).into_owned())
            });
        }
        let status = end(&mut child, Instant::now() + self.limit)?;
        // What the plugin left running may hold the pipe open: its end is not waited for for ever.
        Ok((receiver.recv_timeout(Duration::from_secs(1)).unwrap_or_default(), status))
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

/// Waits for the child's end; at the deadline ends it and gives `None`.
fn end(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
