//! Files are written whole: Ctrl-C waits for the one that is being written, and a second one doesn't.

use std::{
    ffi::OsString,
    path::Path,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
};

/// Held for reading by whoever writes a file.
static WRITING: RwLock<()> = RwLock::new(());

/// Writes a file that a signal shall not leave half-written.
pub(crate) fn whole<T>(write: impl FnOnce() -> T) -> T {
    let _writing = WRITING.read().unwrap_or_else(PoisonError::into_inner);
    write()
}

/// The end of names of files that are not whole yet. One for each shard: they may share a folder.
pub(crate) fn unfinished(shard: Option<crate::many_pictures::Shard>) -> String {
    shard.map_or_else(|| ".camscope-part".into(), |shard| format!(".camscope-part-{}-of-{}", shard.which, shard.of))
}

/// Writes a file under another name, one that ends in `unfinished`, and gives it its own once it is whole: whatever ends the process, a file
/// of this name is whole.
///
/// # Errors
/// It cannot be written; then nothing is left of it.
pub(crate) fn put(path: &Path, bytes: &[u8], unfinished: &str) -> std::io::Result<()> {
    // Two threads may write one file: what `--class 3` and `--class top1` give can be the same.
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}{unfinished}", WRITTEN.fetch_add(1, Ordering::Relaxed)));
    let beside = path.with_file_name(name);
    whole(|| {
        let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    })
}

/// As [`put`], of all that a file has: one whose lines came as they were found.
///
/// # Errors
/// It cannot be read or written; then nothing is left of it.
pub(crate) fn put_all(path: &Path, from: &mut std::fs::File, unfinished: &str) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom};

    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(unfinished);
    let beside = path.with_file_name(name);
    whole(|| {
        from.seek(SeekFrom::Start(0))?;
        let copied = std::fs::File::create(&beside).and_then(|mut to| std::io::copy(from, &mut to));
        let written = copied.and_then(|_| std::fs::rename(&beside, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    })
}

/// Removes what a run that was killed left of [`put`] in a folder.
pub(crate) fn remove_unfinished(folder: &Path, unfinished: &str) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(unfinished) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a signal shall end what is begun, not the process.
static FINISHING: AtomicBool = AtomicBool::new(false);
/// The signal that came meanwhile; 0 where none did.
static CAME: AtomicI32 = AtomicI32::new(0);

/// From now on (with `false`: no longer) the first signal is only noted: [`stopped`] tells of it.
pub(crate) fn finish_what_is_begun(on: bool) {
    FINISHING.store(on, Ordering::SeqCst);
}

/// The signal that came while what is begun was to be finished.
pub(crate) fn stopped() -> Option<i32> {
    Some(CAME.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// Ends the process as the signal does by itself.
pub(crate) fn end_by(signal: i32) {
    #[cfg(unix)]
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    std::process::exit(128 + signal);
}

/// From now on SIGINT, SIGTERM and SIGHUP end the process once no file is being written by [`whole`]; a second one ends it at once. Where that
/// cannot be had, they end it at once, as ever.
#[cfg(unix)]
pub(crate) fn end_between_files() {
    use std::sync::{Arc, Once};

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
            // In this order: the first one finds the flag down, and raises it. Nobody else may: the thread below may be told of a signal while
            // it is still being handled.
            let second = flag::register_conditional_default(signal, Arc::clone(&came));
            if second.is_ok() {
                let _ = flag::register(signal, Arc::clone(&came));
            }
        }
        std::thread::spawn(move || {
            for signal in arriving.forever() {
                if FINISHING.load(Ordering::SeqCst) {
                    CAME.store(signal, Ordering::SeqCst);
                    eprintln!("note: what is begun is finished; a second Ctrl-C ends it at once");
                    continue;
                }
                let _nobody_writes = WRITING.write().unwrap_or_else(PoisonError::into_inner);
                let _ = emulate_default_handler(signal);
            }
        });
    });
}

/// Elsewhere Ctrl-C ends the process at once.
#[cfg(not(unix))]
pub(crate) fn end_between_files() {}
