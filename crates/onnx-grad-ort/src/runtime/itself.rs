//! How this program runs itself once more, for what had better not happen in this process; and what it is told by a program that has it as a
//! library, as Python has the module `camscope`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// What [`run_within`] was told.
static HOST: OnceLock<Host> = OnceLock::new();

/// A program that has camscope as a library.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// How it runs `camscope` in a process of its own; `None`: it can't.
    pub itself: Option<Itself>,
    /// Where its packages lie: the only folders where the Python package `onnxruntime` is looked for.
    pub packages: Vec<PathBuf>,
}

/// Says which program has camscope as a library. It counts for what is looked for later; only the first call does.
pub fn run_within(host: Host) {
    let _ = HOST.set(host);
}

/// What [`run_within`] was told, if it was.
pub(super) fn host() -> Option<&'static Host> {
    HOST.get()
}

/// How to run `camscope`: the words of its command line come behind these.
#[derive(Clone, Debug)]
pub struct Itself {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Itself {
    /// A program, and the arguments that have it behave as `camscope`.
    pub fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { program, arguments }
    }

    /// This program, whatever it is.
    ///
    /// # Errors
    ///
    /// Its file isn't known.
    pub fn of_process() -> std::io::Result<Self> {
        match host().and_then(|host| host.itself.clone()) {
            Some(itself) => Ok(itself),
            None => std::env::current_exe().map(|program| Self::new(program, Vec::new())),
        }
    }

    /// This program, if it is camscope or says how that is run.
    pub fn detect() -> Option<Self> {
        if let Some(host) = host() {
            return host.itself.clone();
        }
        let itself = Self::of_process().ok()?;
        let is_camscope = itself.program.file_stem().is_some_and(|stem| stem == "camscope");
        (is_camscope && itself.program.is_file()).then_some(itself)
    }

    /// To run it, the words of its command line still to come.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }
}

impl From<&str> for Itself {
    fn from(program: &str) -> Self {
        Self::new(program.into(), Vec::new())
    }
}
