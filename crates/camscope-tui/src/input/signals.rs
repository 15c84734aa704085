//! Signals, as messages.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::{Handle, Signals as Iterator};
use signal_hook::low_level::emulate_default_handler;

use super::Incoming;

/// The process stopped itself: the signal that wakes it is no news.
static STOPPED_ITSELF: AtomicBool = AtomicBool::new(false);

/// Stops the process as SIGTSTP does by default; returns when it goes on.
pub(crate) fn stop_process() -> io::Result<()> {
    STOPPED_ITSELF.store(true, Ordering::SeqCst);
    emulate_default_handler(SIGTSTP)
}

/// Gives a signal on; says whether anybody listens.
type Listener = Box<dyn Fn(Incoming) -> bool + Send>;

/// The thread that waits for signals. Until somebody listens, one that ends the process gives the terminal back itself.
pub(crate) struct Signals {
    handle: Handle,
    listener: Arc<Mutex<Option<Listener>>>,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Starts waiting: before the terminal is touched.
    pub(crate) fn start() -> io::Result<Self> {
        let mut signals = Iterator::new([SIGTERM, SIGHUP, SIGINT, SIGTSTP, SIGCONT])?;
        let handle = signals.handle();
        let listener: Arc<Mutex<Option<Listener>>> = Arc::default();
        let listening = Arc::clone(&listener);
        let wait = move || {
            let mut is_ending = false;
            for signal in signals.forever() {
                let incoming = match signal {
                    SIGTSTP => Incoming::Suspend,
                    SIGCONT if STOPPED_ITSELF.swap(false, Ordering::SeqCst) => continue,
                    SIGCONT => Incoming::Continued,
                    _ => Incoming::Terminate(signal),
                };
                let is_end = matches!(incoming, Incoming::Terminate(_));
                let listener = listening.lock().unwrap_or_else(PoisonError::into_inner);
                let is_heard = match listener.as_ref() {
                    Some(send) => send(incoming),
                    None => !is_end, // there is nothing yet to stop or to draw anew
                };
                drop(listener);
                // Asked twice, or there is nobody to ask: it ends here.
                if is_end && (is_ending || !is_heard) {
                    crate::terminal::restore_and_end(|| {
                        let _ = emulate_default_handler(signal); // ends the process
                    });
                }
                is_ending |= is_end;
            }
        };
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(Signals { handle, listener, thread: Some(thread) })
    }

    /// From now on signals are sent there; `send` says whether anybody listens.
    pub(super) fn listen(&self, send: impl Fn(Incoming) -> bool + Send + 'static) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(send));
    }

    /// Ends the waiting.
    pub(super) fn stop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it cannot have panicked, and if so: it has ended
        }
    }
}
