//! Work that takes time: without the interpreter, so that other Python threads go on, and until Ctrl-C.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use camscope_core::runtime::Canceller;
use pyo3::prelude::*;

use crate::error;

/// How often it is asked whether there was a signal.
const PAUSE: Duration = Duration::from_millis(50);

/// Of the main thread of a program.
const STACK: usize = 8 << 20;

/// Does the work on a thread of its own while this one waits for it, without the interpreter, and has Python's signal handlers run. Where one of
/// them raises, as that of Ctrl-C does, the work is cancelled: it ends between two operators of a model.
///
/// # Errors
/// The work's own; what a signal handler raised.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&Canceller) -> camscope_core::Result<T> + Send,
) -> PyResult<T> {
    let canceller = Canceller::new();
    let (result, raised) = py.detach(|| {
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel(1);
            let (canceller, mut raised) = (&canceller, None);
            let work = move || {
                // Unwind safety: what the work was about is not used again.
                let result = catch_unwind(AssertUnwindSafe(|| work(canceller)));
                // Somebody waits for it, below.
                let _ = sender.send(result);
            };
            if let Err(error) = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work) {
                return (Err(format!("no thread can be started: {error}")), None);
            }
            loop {
                match receiver.recv_timeout(PAUSE) {
                    Ok(Ok(result)) => return (Ok(result), raised),
                    Ok(Err(panic)) => return (Err(defect(&*panic)), raised),
                    Err(RecvTimeoutError::Disconnected) => {
                        return (Err("the work ended without a result".into()), raised);
                    }
                    Err(RecvTimeoutError::Timeout) if raised.is_none() => {
                        raised = Python::attach(|py| py.check_signals().err());
                        if raised.is_some() {
                            canceller.cancel();
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        })
    });
    match (raised, result) {
        (Some(raised), _) => Err(raised),
        (None, Ok(result)) => result.map_err(|error| error::exception(&error)),
        (None, Err(reason)) => Err(error::said(&reason, None)),
    }
}

/// What a panic is called.
fn defect(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("camscope has a defect: {}", text.unwrap_or("no message"))
}
