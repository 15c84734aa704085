//! Loads a library somewhere where it can do no harm, and gives up on it after a while.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::discover::{Library, Origin};
use super::inspect::{Unusable, probe_here};
use super::itself::Itself;
use super::load::Runtime;
use super::version::Version;

/// The hidden subcommand of `camscope` that has it load a library and print [`child_answer`].
pub const PROBE_COMMAND: &str = "__probe-runtime";

/// The hidden subcommand of `camscope` that has it take in a provider library and print [`provider_answer`].
pub const PROBE_PROVIDER_COMMAND: &str = "__probe-ep-library";

/// How long a library may take to load. The largest, with CUDA, takes a second from a slow disk.
pub const LIMIT: Duration = Duration::from_secs(10);

/// How long ONNX Runtime may take to take in a provider library: it looks for devices, some of which must wake up first.
const PROVIDER_LIMIT: Duration = Duration::from_secs(60);

/// What stands before the answer in a child's output: a library may print something of its own.
const MARK: &str = "camscope-runtime: ";

/// Who loads a library that is not known yet.
#[derive(Clone, Debug)]
pub enum Prober {
    /// A thread of this process: for programs other than camscope. A library that crashes ends the program.
    Thread {
        /// How long it may take.
        limit: Duration,
    },
    /// A child process: this program, run with [`PROBE_COMMAND`] and the library's path.
    Child {
        /// The program.
        program: Itself,
        /// How long it may take.
        limit: Duration,
    },
}

impl Prober {
    /// A child process where this program is camscope or says how that is run, else a thread.
    pub fn detect() -> Self {
        match Itself::detect() {
            Some(program) => Prober::Child { program, limit: LIMIT },
            None => Prober::Thread { limit: LIMIT },
        }
    }

    /// CpuFeatures the library loaded and asked for its version.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn probe(&self, path: &Path) -> Result<Version, Unusable> {
        match self {
            Prober::Thread { limit } => probe_in_thread(path, *limit),
            Prober::Child { program, limit } => {
                let mut command = program.command();
                command.arg(PROBE_COMMAND).arg(path);
                probe_in_child(command, *limit)
            }
        }
    }
}

/// What a child process prints about a provider library: whether the ONNX Runtime at `runtime` takes it in.
pub fn provider_answer(runtime: &Path, library: &Path) -> String {
    let probe = || {
        let version = probe_here(runtime).map_err(|reason| reason.to_string())?;
        let found = Library { origin: Origin::Variable, path: runtime.to_path_buf(), version };
        let runtime = Runtime::load(&found).map_err(|error| error.to_string())?;
        runtime.register_unprobed(library)
    };
    format!("\n{MARK}{}\n", serde_json::to_string(&probe()).unwrap_or_default())
}

/// What a child process prints about the library that it was given.
pub fn child_answer(path: &Path) -> String {
    let answer = probe_here(path);
    format!("\n{MARK}{}\n", serde_json::to_string(&answer).unwrap_or_default())
}

impl Prober {
    /// Has a child process load ONNX Runtime and take in a provider library, which may crash or hang; without one, this process will see.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, in a clause about "it".
    pub(super) fn probe_provider(&self, runtime: &Path, library: &Path) -> Result<(), String> {
        let Prober::Child { program, .. } = self else { return Ok(()) };
        let mut command = program.command();
        command.arg(PROBE_PROVIDER_COMMAND).arg(runtime).arg(library);
        provider_in_child(command, PROVIDER_LIMIT)
    }
}

fn provider_in_child(mut command: Command, limit: Duration) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("it cannot be tried in a process of its own: {error}");
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let (text, status) = output_within(&mut command, limit).map_err(failed)?;
    let status = status.ok_or_else(|| Unusable::Hang(limit).to_string())?;
    match text.lines().rev().find_map(|line| line.strip_prefix(MARK)).map(serde_json::from_str) {
        Some(Ok(answer)) => answer,
        _ => Err(Unusable::Crash(status.to_string()).to_string()),
    }
}

fn probe_in_thread(path: &Path, limit: Duration) -> Result<Version, Unusable> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_path_buf();
    // A thread that hangs is left behind: there is no way to end it, and it holds nothing of ours.
    thread::spawn(move || sender.send(probe_here(&path)));
    receiver.recv_timeout(limit).unwrap_or(Err(Unusable::Hang(limit)))
}

fn probe_in_child(mut command: Command, limit: Duration) -> Result<Version, Unusable> {
    let failed = |error: std::io::Error| Unusable::Load(format!("cannot start a process to try it in: {error}"));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let (text, status) = output_within(&mut command, limit).map_err(failed)?;
    let status = status.ok_or(Unusable::Hang(limit))?;
    match text.lines().rev().find_map(|line| line.strip_prefix(MARK)).map(serde_json::from_str) {
        Some(Ok(answer)) => answer,
        _ => Err(Unusable::Crash(status.to_string())),
    }
}

/// Runs a program for no longer than `limit`. Gives what it printed, of which at most a mebibyte is read, and how it ended; `None`: it
/// took too long, and was ended.
///
/// # Errors
/// It cannot be started or waited for.
pub fn output_within(command: &mut Command, limit: Duration) -> std::io::Result<(String, Option<ExitStatus>)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let (sender, receiver) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stdout.by_ref().take(1 << 20).read_to_end(&mut text);
            sender.send(String::from_utf8_lossy(&text).into_owned())
        });
    }
    let status = wait_until(&mut child, Instant::now() + limit)?;
    // What it left running may hold the pipe open: its end is not waited for for ever.
    Ok((receiver.recv_timeout(Duration::from_secs(1)).unwrap_or_default(), status))
}

/// Waits for the child's end; at the deadline ends it and gives `None`.
fn wait_until(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
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

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_answer_is_found_among_what_a_library_prints() {
        let script = format!("echo noise; printf 'more\\n{MARK}{{\"Ok\":\"1.32.0\"}}\\n'");
        let version = probe_in_child(shell(&script), LIMIT).unwrap();
        assert_eq!(version.to_string(), "1.32.0");
    }

    #[test]
    fn a_library_that_hangs_is_given_up() {
        let limit = Duration::from_millis(200);
        let begun = Instant::now();
        assert_eq!(probe_in_child(shell("sleep 30"), limit), Err(Unusable::Hang(limit)));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_provider_library_that_crashes_or_hangs_is_told_from_one_that_is_refused() {
        let refused = format!("echo noise; printf '\\n{MARK}{{\"Err\":\"it is none\"}}\\n'");
        assert_eq!(provider_in_child(shell(&refused), LIMIT), Err("it is none".into()));
        assert_eq!(provider_in_child(shell(&format!("printf '{MARK}{{\"Ok\":null}}\\n'")), LIMIT), Ok(()));
        let error = provider_in_child(shell("kill -SEGV $$"), LIMIT).unwrap_err();
        assert!(error.starts_with("loading it ends the process (signal: 11"), "{error}");
        let error = provider_in_child(shell("sleep 30"), Duration::from_millis(100)).unwrap_err();
        assert_eq!(error, "loading it did not end within 0.1 s");
    }

    #[test]
    fn a_library_that_crashes_is_told_from_one_that_answers() {
        let error = probe_in_child(shell("kill -SEGV $$"), LIMIT).unwrap_err();
        assert!(error.to_string().starts_with("loading it ends the process (signal: 11"), "{error}");
    }
}
