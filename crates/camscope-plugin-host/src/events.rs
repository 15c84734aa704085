//! What a child process that tries a plugin tells its parent, a line each.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contents::{About, Contents};

/// What stands before an event in the child's output: a plugin may print something of its own.
pub(crate) const MARK: &str = "camscope-plugin: ";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The exported struct was read.
    About(About),
    /// This is tried now: should the child end here, it was this that ended it.
    Begin(String),
    /// What is in the plugin.
    Contents(Contents),
    /// All is done; the error says what is wrong.
    End(Result<(), String>),
}

/// How a check came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// As it should be.
    Success,
    /// Something is not as the contract says.
    Failed(String),
    /// The plugin ended the process, or didn't come back.
    Crashed(String),
    /// A check that this one needs did not succeed.
    Skipped,
}

impl Outcome {
    /// The word that `plugin check` prints.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Failed(_) => "Failed",
            Self::Crashed(_) => "Crashed",
            Self::Skipped => "Skipped",
        }
    }

    /// Why, where it is no success.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed(reason) | Self::Crashed(reason) => Some(reason),
            Self::Success | Self::Skipped => None,
        }
    }
}

/// One check of `plugin check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was tried.
    pub what: String,
    /// How it came out.
    pub outcome: Outcome,
}

/// What the parent learns of a child.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) about: Option<About>,
    pub(crate) contents: Option<Contents>,
    pub(crate) outcome: Outcome,
}

impl Report {
    /// Puts together what the child printed and how it ended: `status` in words, or `None` if it was ended after `limit`.
    pub(crate) fn of(printed: &str, status: Option<String>, limit: Duration) -> Self {
        let mut report = Self { about: None, contents: None, outcome: Outcome::Success };
        let (mut doing, mut end) = ("it was loaded".to_owned(), None);
        for line in printed.lines().filter_map(|line| line.strip_prefix(MARK)) {
            match serde_json::from_str(line) {
                Ok(Event::About(about)) => report.about = Some(about),
                Ok(Event::Begin(what)) => doing = what,
                Ok(Event::Contents(contents)) => report.contents = Some(contents),
                Ok(Event::End(result)) => end = Some(result),
                Err(_) => {}
            }
        }
        report.outcome = match (end, status) {
            (Some(Ok(())), Some(_)) => Outcome::Success,
            (Some(Err(reason)), Some(_)) => Outcome::Failed(reason),
            (_, None) => Outcome::Crashed(format!("it hangs (given up after {} s) while {doing}", limit.as_secs_f32())),
            (None, Some(status)) => Outcome::Crashed(format!("it ends the process ({status}) while {doing}")),
        };
        report
    }
}
