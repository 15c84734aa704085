//! What runs are timed by.

use std::time::{Duration, Instant};

/// A clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The one on the wall.
    #[default]
    Wall,
    /// The processors' time for this process, of all its threads together: others on the machine hardly change it, and threads that spin while they wait
    /// count.
    Processor,
}

impl Clock {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Processor => "processor",
        }
    }

    /// Whether this system has it.
    pub fn is_there(self) -> bool {
        self == Self::Wall || processor_time().is_some()
    }

    /// How long something takes; by the clock on the wall where this system has no other.
    ///
    /// # Errors
    /// Those of what is done.
    pub fn time<E>(self, run: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
        let (start, before) = (Instant::now(), self.spent());
        run()?;
        let spent = before.zip(self.spent()).map(|(before, after)| after.saturating_sub(before));
        Ok(spent.unwrap_or_else(|| start.elapsed()))
    }

    fn spent(self) -> Option<Duration> {
        if self == Self::Processor { processor_time() } else { None }
    }
}

/// The processors' time for this process.
#[cfg(unix)]
fn processor_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is there, and of the type that the function fills.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0;
    let parts = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (!failed).then(|| Duration::new(parts.0, parts.1))
}

#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sleeps_takes_no_processor() {
        let nothing = || {
            std::thread::sleep(Duration::from_millis(30));
            Ok::<_, ()>(())
        };
        assert!(Clock::Wall.time(nothing).unwrap() >= Duration::from_millis(30));
        assert_eq!(Clock::Processor.is_there(), cfg!(unix));
        let work = || {
            std::hint::black_box((0..3_000_000u64).fold(1u64, |all, at| all.wrapping_mul(31).wrapping_add(at)));
            Ok::<_, ()>(())
        };
        if Clock::Processor.is_there() {
            assert!(Clock::Processor.time(work).unwrap() > Duration::ZERO);
        }
    }
}
