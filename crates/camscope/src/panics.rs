//! A panic is a defect of camscope's, or of a crate that it uses. It ends as an error, as everything else does.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::{Mutex, PoisonError},
};

use crate::output;

/// What panicked last, and where. Panics that somebody else catches are no errors, so that nothing is printed before it is known that nobody did.
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Runs everything. `None`: it panicked, which has been reported.
///
/// With `RUST_BACKTRACE` set a panic is also printed as Rust does it. The explorer's hook, which gives the terminal back, comes before
/// this one.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    let wanted = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    let previous = take_hook();
    set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        // That a scope noticed a thread's panic says nothing about it.
        if last.is_none() || message != "a scoped thread panicked" {
            *last = Some(format!("{message}{place}"));
        }
        drop(last);
        if wanted {
            previous(panic);
        }
    }));
    // Unwind safety: the process ends.
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| report()).ok()
}

fn report() {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
    let what = last.unwrap_or_else(|| "no message".into());
    output::complain(
        &format!("camscope has a defect: {what}"),
        Some("report it with the command and, if you can, the model; RUST_BACKTRACE=1 shows where it happened"),
    );
}
