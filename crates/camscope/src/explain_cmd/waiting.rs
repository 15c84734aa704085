//! While one photo takes long: how far it is, how fast it goes and how long it will take.

use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use camscope_core::explain::Work;
use indicatif::{ProgressBar, ProgressStyle};

/// What is done sooner has no bar.
const SOON: Duration = Duration::from_secs(1);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Does something that a method of the host takes long for; meanwhile a bar on a terminal's stderr shows its runs.
pub(super) fn watched<T>(work: &Work, what: &str, does: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        let (ended, end) = channel::<()>();
        // Not in the thread: it may begin after the method has said how many runs it takes.
        let (start, before) = (Instant::now(), (work.done(), work.planned()));
        scope.spawn(move || {
            let mut bar: Option<ProgressBar> = None;
            while matches!(end.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
                let (done, planned) = (work.done() - before.0, work.planned() - before.1);
                if start.elapsed() < SOON || planned < 2 {
                    continue;
                }
                let bar = bar.get_or_insert_with(|| shown(what, start));
                bar.set_length(planned.max(done) as u64);
                bar.set_position(done as u64);
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        let result = does();
        drop(ended);
        result
    })
}

fn shown(what: &str, start: Instant) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {per_sec}, {eta} left");
    ProgressBar::new(0)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what.to_owned())
        .with_elapsed(start.elapsed())
}
