//! Errors as exceptions, with the texts that the command prints.

use std::ffi::CString;

use camscope_core::text::printable;
use pyo3::{create_exception, exceptions::PyException, exceptions::PyUserWarning, prelude::*};

create_exception!(
    camscope,
    Error,
    PyException,
    "What camscope cannot do: the text says what happened, and to what.\n\n``help`` says what to do about it, or is None. It is a note of \
     the exception too, so that a traceback shows it."
);

create_exception!(
    camscope,
    Note,
    PyUserWarning,
    "What to know of a model or an image that can be explained all the same: that nothing says how photos become its input, for example."
);

/// The exception of an error.
pub(crate) fn exception(error: &camscope_core::Error) -> PyErr {
    said(&error.to_string(), error.help().as_deref())
}

/// The exception of what happened, and what to do about it. Texts repeat names from files, so all of it is made safe to show.
pub(crate) fn said(what: &str, help: Option<&str>) -> PyErr {
    let exception = Error::new_err(safe(what));
    let Some(help) = help.map(safe) else { return exception };
    Python::attach(|py| {
        let value = exception.value(py);
        // Without them the text is as true.
        let _ = value.setattr("help", &help);
        let _ = value.call_method1("add_note", (format!("help: {help}"),));
    });
    exception
}

/// Says what is to be known, each as a warning.
///
/// # Errors
/// Warnings are errors here.
pub(crate) fn warn_all(py: Python<'_>, notes: &[String]) -> PyResult<()> {
    let category = py.get_type::<Note>();
    for note in notes {
        // What is safe to show has no zero byte.
        let text = CString::new(safe(note)).unwrap_or_default();
        PyErr::warn(py, &category, &text, 1)?;
    }
    Ok(())
}

/// [`printable`], with the line breaks left in.
fn safe(text: &str) -> String {
    text.trim_end().split('\n').map(printable).collect::<Vec<_>>().join("\n")
}
