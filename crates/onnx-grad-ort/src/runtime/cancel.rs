//! Ending runs from another thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::RunOptions;

use crate::error::{Error, Result};

/// Ends runs from another thread. Clones refer to the same runs; once cancelled it stays so, and every run that is
/// given it ends at once.
#[derive(Clone, Default)]
pub struct Canceller(Arc<CancelState>);

#[derive(Default)]
struct CancelState {
    cancelled: AtomicBool,
    running: Mutex<Vec<Arc<RunOptions>>>,
}

impl Canceller {
    /// One that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every run that was given this, now and later. A run ends between two operators.
    pub fn cancel(&self) {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.cancelled.store(true, Ordering::SeqCst);
        for options in running.iter() {
            let _ = options.terminate(); // it sets a flag: nothing to fail
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Notes that a run begins; the note ends with what is returned.
    pub(super) fn enter(&self, options: &Arc<RunOptions>) -> Result<Running<'_>> {
        // Under the lock, so that `cancel` sees the run or the run sees that it is cancelled.
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        running.push(Arc::clone(options));
        Ok(Running { canceller: self, options: Arc::clone(options) })
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canceller").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// A run that a canceller can end.
pub(super) struct Running<'a> {
    canceller: &'a Canceller,
    options: Arc<RunOptions>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut running = self.canceller.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|options| !Arc::ptr_eq(options, &self.options));
    }
}
