//! CpuFeatures the machine's own package client fetch a file: it knows the mirror, the proxy and the credentials to use, so that
//! This crate names no host.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::pins::{Client, Pin};

/// Why a file was not fetched.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is not on this machine.
    NoClient,
    /// The client ran and failed; its last words.
    Client(String),
}

/// Fetches the pin's file into `folder`, which is empty, and gives its path. `progress` is told now and then how many
/// bytes have arrived.
pub(super) fn fetch(pin: &Pin, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<PathBuf, Failure> {
    let out = folder.join("out");
    fs::create_dir_all(&out).map_err(|error| Failure::Client(error.to_string()))?;
    let mut last = Failure::NoClient;
    for mut command in commands(pin, &out) {
        // Both clients download into a temporary file first, which must lie where its growth can be watched.
        for name in ["TMPDIR", "TMP", "TEMP"] {
            command.env(name, folder);
        }
        match run(command, folder, progress) {
            Ok(()) => {
                let extension = if pin.client == Client::Pip { "whl" } else { "tgz" };
                let mut files = fs::read_dir(&out).into_iter().flatten().flatten().map(|entry| entry.path());
                let file = files.find(|path| path.extension().is_some_and(|found| found == extension));
                return file.ok_or_else(|| Failure::Client("the client ended well but left no file".into()));
            }
            Err(Failure::NoClient) => {}
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// The commands that would fetch the file, each under another name of the client.
fn commands(pin: &Pin, out: &Path) -> Vec<Command> {
    let spec = |between: &str| format!("{}{between}{}", pin.package, pin.version);
    match pin.client {
        Client::Pip => {
            let pythons: &[&str] = if cfg!(windows) { &["python", "py"] } else { &["python3", "python"] };
            let command = |python: &&str| {
                let mut command = Command::new(python);
                command
                    .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"])
                    .args(["--disable-pip-version-check", "--progress-bar", "off"])
                    .args(["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"])
                    .args(["--platform", pin.platform, "--dest"])
                    .arg(out)
                    .arg(spec("=="));
                command
            };
            pythons.iter().map(command).collect()
        }
        Client::Npm => {
            let mut command = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
            command
                .args(["pack", "--loglevel=error", "--ignore-scripts", "--pack-destination"])
                .arg(out)
                .arg("--cache");
            command.arg(out.with_file_name("npm-cache")).arg(spec("@")).env("npm_config_update_notifier", "false");
            vec![command]
        }
    }
}

/// Runs a client to its end.
fn run(mut command: Command, watched: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), Failure> {
    // Not in the current folder: Python would import modules from it, npm would read its settings.
    command.current_dir(watched).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::NoClient,
        _ => Failure::Client(error.to_string()),
    })?;
    let stderr = child.stderr.take();
    let words = thread::spawn(move || stderr.map(last_words).unwrap_or_default());
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => thread::sleep(Duration::from_millis(80)),
            Err(error) => return Err(Failure::Client(error.to_string())),
        }
        progress(largest_file(watched, 0));
    };
    let words = words.join().unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    // Python without pip, and the stand-ins of pyenv and of Windows for a Python that isn't installed.
    let absent = ["No module named pip", "No module named 'pip'", "command not found", "Python was not found"];
    if absent.iter().any(|text| words.contains(text)) || status.code() == Some(127) {
        return Err(Failure::NoClient);
    }
    Err(Failure::Client(if words.is_empty() { format!("the client failed ({status})") } else { words }))
}

/// What a client says of its failure, in one line: pip's reasons come last, npm's first.
fn last_words(stderr: impl Read) -> String {
    const LINES: usize = 3;
    let mut lines: Vec<String> = Vec::new();
    let mut is_npm = false;
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim().to_string();
        let is_noise = ["WARNING:", "npm warn", "[notice]"].iter().any(|noise| line.starts_with(noise));
        let npm = line.strip_prefix("npm error").map(|rest| rest.trim().to_string());
        is_npm |= npm.is_some();
        let line = npm.unwrap_or(line);
        if line.is_empty() || is_noise || (is_npm && lines.len() == LINES) {
            continue;
        }
        lines.push(line);
        if lines.len() > LINES {
            lines.remove(0);
        }
    }
    lines.join("; ")
}

/// The size of the largest file below a folder: the one being downloaded.
fn largest_file(folder: &Path, depth: usize) -> u64 {
    if depth > 12 {
        return 0;
    }
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => largest_file(&entry.path(), depth + 1),
        Ok(kind) if kind.is_file() => entry.metadata().map(|metadata| metadata.len()).unwrap_or(0),
        _ => 0,
    };
    fs::read_dir(folder).into_iter().flatten().flatten().map(size).max().unwrap_or(0)
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
    fn a_client_that_fails_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo 'WARNING: noise' >&2; echo 'ERROR: no matching distribution' >&2; exit 1";
        match run(shell(script), folder.path(), &mut |_| ()) {
            Err(Failure::Client(words)) => assert_eq!(words, "ERROR: no matching distribution"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn npms_first_lines_are_quoted() {
        let stderr =
            "npm warn old\nnpm error code ECONNREFUSED\nnpm error syscall connect\nnpm error a\nnpm error\nnpm error b";
        assert_eq!(last_words(stderr.as_bytes()), "code ECONNREFUSED; syscall connect; a");
    }

    #[test]
    fn a_python_without_pip_counts_as_no_client() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo '/usr/bin/python3: No module named pip' >&2; exit 1";
        assert!(matches!(run(shell(script), folder.path(), &mut |_| ()), Err(Failure::NoClient)));
        assert!(matches!(run(Command::new("/no/such/client"), folder.path(), &mut |_| ()), Err(Failure::NoClient)));
    }

    #[test]
    fn progress_is_the_growth_of_the_file_that_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = 0;
        run(shell("mkdir a; printf 0123456789 > a/b; sleep 0.3"), folder.path(), &mut |bytes| seen = seen.max(bytes))
            .unwrap();
        assert_eq!(seen, 10);
    }
}
