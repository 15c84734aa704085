//! What the commands print: results to stdout, errors to stderr.

use std::{
    cell::RefCell,
    collections::HashSet,
    io::{ErrorKind, Write},
    sync::{Mutex, PoisonError},
};

use camscope_core::{
    Error, Result,
    text::{is_hidden, printable},
};
use serde_json::Value;

/// What would have been printed.
#[derive(Default)]
pub(crate) struct Gathered {
    /// Results.
    pub(crate) printed: Vec<String>,
    /// What is to be known, each a sentence.
    pub(crate) notes: Vec<String>,
    /// Errors of parts of the work, the rest of which went on: what happened, and what to do about it.
    pub(crate) complaints: Vec<(String, Option<String>)>,
}

thread_local! {
    static GATHERED: RefCell<Option<Gathered>> = const { RefCell::new(None) };
}

/// Does some work; what this thread would print meanwhile is gathered instead. For Python, whose streams are its own.
pub(crate) fn gathered<T>(work: impl FnOnce() -> T) -> (T, Gathered) {
    /// Ends it even where the work panics.
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            GATHERED.with_borrow_mut(Option::take);
        }
    }
    GATHERED.set(Some(Gathered::default()));
    let ends = Ends;
    let result = work();
    let all = GATHERED.with_borrow_mut(Option::take).unwrap_or_default();
    drop(ends);
    (result, all)
}

/// Whether it is gathered what this thread would print.
pub(crate) fn is_gathered() -> bool {
    GATHERED.with_borrow(Option::is_some)
}

/// Gives something to [`gathered`], where that goes on.
fn gather(give: impl FnOnce(&mut Gathered)) -> bool {
    GATHERED.with_borrow_mut(|all| all.as_mut().map(give).is_some())
}

/// Says to stderr what is to be known.
pub(crate) fn note(note: &str) {
    if !gather(|all| all.notes.push(note.to_owned())) {
        eprintln!("note: {}", printable(note));
    }
}

/// Prints text to stdout. A reader that has gone (`| head`) is no error.
///
/// # Errors
///
/// stdout cannot be written, such as on a full disk.
pub(crate) fn print(text: &str) -> Result<()> {
    if gather(|all| all.printed.push(text.to_owned())) {
        return Ok(());
    }
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Io { action: "write to", path: "stdout".into(), source: error })
        }
        _ => Ok(()),
    }
}

/// Whether stdout is a pipe: somebody else writes what comes through it.
pub(crate) fn is_piped() -> bool {
    #[cfg(unix)]
    {
        use std::os::{fd::AsFd, unix::fs::FileTypeExt};
        let file = std::io::stdout().as_fd().try_clone_to_owned().map(std::fs::File::from);
        file.and_then(|file| file.metadata()).is_ok_and(|data| data.file_type().is_fifo())
    }
    #[cfg(not(unix))]
    false
}

/// Prints an error to stderr: what happened, then what to do about it.
///
/// ONNX Runtime's and the decoders' own words repeat names from files, so all of it is made safe to show.
pub(crate) fn report(error: &Error) {
    complain(&error.to_string(), error.help().as_deref());
}

/// Prints what happened, then what to do about it, to stderr.
pub(crate) fn complain(error: &str, help: Option<&str>) {
    if gather(|all| all.complaints.push((error.to_owned(), help.map(str::to_owned)))) {
        return;
    }
    eprintln!("error: {}", safe(error));
    if let Some(help) = help {
        eprintln!("help: {}", safe(help));
    }
}

/// [`printable`], with the line breaks left in.
fn safe(text: &str) -> String {
    text.trim_end().split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// What was said of pictures that failed, by their numbers: what fails for each of several methods is said once.
#[derive(Default)]
pub(crate) struct Told(Mutex<HashSet<(usize, String)>>);

impl Told {
    /// Whether this was not said of the picture; now it is.
    pub(crate) fn is_new(&self, picture: usize, error: &Error) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((picture, error.to_string()))
    }
}

/// A JSON object as a line. What would steer a terminal is escaped: JSON asks for that below U+0020 only.
pub(crate) fn json_line(object: &Value) -> String {
    let mut line = String::new();
    for c in object.to_string().chars() {
        if is_hidden(c) {
            let mut units = [0; 2];
            line.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            line.push(c);
        }
    }
    line + "\n"
}
