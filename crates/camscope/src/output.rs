//! What the commands print: results to stdout, errors to stderr.

use std::io::{ErrorKind, Write};

use camscope_core::{Error, Result};

/// Prints text to stdout. A reader that has gone (`| head`) is no error.
///
/// # Errors
///
/// stdout cannot be written, such as on a full disk.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Io { action: "write to", path: "stdout".into(), source: error })
        }
        _ => Ok(()),
    }
}

/// Prints an error to stderr: what happened, then what to do about it.
pub(crate) fn report(error: &Error) {
    eprintln!("error: {error}");
    if let Some(help) = error.help() {
        eprintln!("help: {help}");
    }
}
