//! Files are written whole: Ctrl-C waits for the one that is being written, and a second one doesn't.

use std::sync::{PoisonError, RwLock};

/// Held for reading by whoever writes a file.
static WRITING: RwLock<()> = RwLock::new(());

/// Writes a file that a signal shall not leave half-written.
pub(crate) fn whole<T>(write: impl FnOnce() -> T) -> T {
    let _writing = WRITING.read().unwrap_or_else(PoisonError::into_inner);
    write()
}

/// From now on SIGINT, SIGTERM and SIGHUP end the process once no file is being written by [`whole`]; a second one ends it at once. Where that
/// cannot be had, they end it at once, as ever.
#[cfg(unix)]
pub(crate) fn end_between_files() {
    use std::sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    };

    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        flag,
        iterator::Signals,
        low_level::emulate_default_handler,
    };

    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let signals = [SIGINT, SIGTERM, SIGHUP];
        let came = Arc::new(AtomicBool::new(false));
        let Ok(mut arriving) = Signals::new(signals) else { return };
        for signal in signals {
            // In this order: the first one finds the flag down, and raises it.
            let second = flag::register_conditional_default(signal, Arc::clone(&came));
            if second.is_ok() {
                let _ = flag::register(signal, Arc::clone(&came));
            }
        }
        std::thread::spawn(move || {
            for signal in arriving.forever() {
                came.store(true, Ordering::Relaxed);
                let _nobody_writes = WRITING.write().unwrap_or_else(PoisonError::into_inner);
                let _ = emulate_default_handler(signal);
            }
        });
    });
}

/// Elsewhere Ctrl-C ends the process at once.
#[cfg(not(unix))]
pub(crate) fn end_between_files() {}
