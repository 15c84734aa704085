//! Signals, as messages.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// The thread that waits for signals.
pub(super) struct Signals {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Starts waiting; `send` says whether anybody listens.
    pub(super) fn start(send: impl Fn(Incoming) -> bool + Send + 'static) -> io::Result<Self> {
        let mut signals = Iterator::new([SIGTERM, SIGHUP, SIGINT, SIGTSTP, SIGCONT])?;
        let handle = signals.handle();
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
                let is_heard = send(incoming);
                // Asked twice, or there is nobody to ask: it ends here.
                if is_end && (is_ending || !is_heard) {
                    crate::terminal::emergency_restore();
                    let _ = emulate_default_handler(signal); // ends the process
                }
                is_ending |= is_end;
            }
        };
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(Signals { handle, thread: Some(thread) })
    }

    /// Ends the waiting.
    pub(super) fn stop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it cannot have panicked, and if so: it has ended
        }
    }
}
