//! Times several things side by side: in each round a block of runs of each, in an order that changes from round to round.

use std::time::{Duration, Instant};

use super::{Clock, Spread};

/// The least time that the counted runs of a block take together.
const BLOCK: Duration = Duration::from_millis(30);

/// How often things are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The rounds there must be, however long they take.
    pub least: usize,
    /// The rounds there may be.
    pub most: usize,
    /// After this time no round begins, once there are [`Plan::least`].
    pub budget: Duration,
    /// What runs are timed by; the budget is always the wall's.
    pub clock: Clock,
}

impl Plan {
    /// Exactly so many rounds.
    pub fn exactly(rounds: usize) -> Self {
        Self { least: rounds, most: rounds, budget: Duration::ZERO, clock: Clock::Wall }
    }

    /// Whether another round follows `done` rounds that took `elapsed` in all.
    fn goes_on(&self, done: usize, elapsed: Duration) -> bool {
        done < self.least || (done < self.most && elapsed < self.budget)
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self { least: 5, most: 15, budget: Duration::from_secs(10), clock: Clock::Wall }
    }
}

/// One of the things that are timed.
pub struct Side<'a, E>(Box<dyn FnMut() -> Result<(), E> + 'a>);

impl<'a, E> Side<'a, E> {
    /// What is done in a run.
    pub fn new(run: impl FnMut() -> Result<(), E> + 'a) -> Self {
        Self(Box::new(run))
    }

    fn time(&mut self, clock: Clock) -> Result<Duration, E> {
        clock.time(&mut self.0)
    }

    /// The median of `runs` runs, in milliseconds. One before them isn't counted: the memory was hot with another side's.
    fn block(&mut self, runs: usize, clock: Clock) -> Result<f64, E> {
        self.time(clock)?;
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            times.push(self.time(clock)?.as_secs_f64() * 1e3);
        }
        Ok(Spread::of(times).map_or(0.0, |spread| spread.median))
    }
}

/// How many counted runs a block has, where one takes `run`.
fn runs(run: Duration) -> usize {
    let run = run.max(Duration::from_micros(1));
    (BLOCK.as_secs_f64() / run.as_secs_f64()).ceil() as usize
}

/// The order of the sides in a round: each comes first in turn, and every order is followed by its reverse, so that no side always
/// follows the same one.
pub fn order(round: usize, sides: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sides).map(|at| (at + round / 2) % sides).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// Times the sides; `progress` is told before each round how many are done. The result has for each side its milliseconds, one a
/// round: the median of its block.
///
/// # Errors
/// The first run that fails.
pub fn rounds<E>(sides: &mut [Side<'_, E>], plan: &Plan, progress: &mut dyn FnMut(usize)) -> Result<Vec<Vec<f64>>, E> {
    let mut runs_of = Vec::with_capacity(sides.len());
    for side in sides.iter_mut() {
        // The first run of a session plans its memory; the second is what a run takes.
        side.time(plan.clock)?;
        runs_of.push(runs(side.time(plan.clock)?));
    }
    let mut times = vec![Vec::new(); sides.len()];
    let start = Instant::now();
    let mut done = 0;
    while plan.goes_on(done, start.elapsed()) {
        progress(done);
        for at in order(done, sides.len()) {
            times[at].push(sides[at].block(runs_of[at], plan.clock)?);
        }
        done += 1;
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn every_side_takes_its_turn_in_every_place() {
        for sides in 1..6 {
            let mut firsts = vec![0; sides];
            for round in 0..2 * sides {
                let mut order = order(round, sides);
                firsts[order[0]] += 1;
                order.sort_unstable();
                assert_eq!(order, (0..sides).collect::<Vec<_>>());
            }
            assert!(firsts.iter().all(|&count| count > 0), "{sides}: {firsts:?}");
        }
    }

    #[test]
    fn short_runs_are_repeated_and_long_ones_are_not() {
        assert_eq!(runs(Duration::from_millis(100)), 1);
        assert_eq!(runs(Duration::from_millis(30)), 1);
        assert_eq!(runs(Duration::from_millis(10)), 3);
        assert_eq!(runs(Duration::from_micros(7)), 4286);
        assert_eq!(runs(Duration::ZERO), 30_000);
    }

    #[test]
    fn rounds_end_with_the_time_but_not_too_early() {
        let plan = Plan { least: 5, most: 15, budget: Duration::from_secs(20), clock: Clock::Wall };
        let late = Duration::from_secs(60);
        assert!(plan.goes_on(4, late) && !plan.goes_on(5, late));
        assert!(plan.goes_on(14, Duration::ZERO) && !plan.goes_on(15, Duration::ZERO));
        assert!(Plan::exactly(2).goes_on(1, late) && !Plan::exactly(2).goes_on(2, Duration::ZERO));
    }

    #[test]
    fn sides_alternate_and_each_has_a_time_a_round() {
        let ran = RefCell::new(Vec::new());
        let side = |name: char| {
            let ran = &ran;
            Side::new(move || {
                ran.borrow_mut().push(name);
                std::thread::sleep(BLOCK);
                Ok::<(), ()>(())
            })
        };
        let mut told = Vec::new();
        let times = rounds(&mut [side('a'), side('b')], &Plan::exactly(2), &mut |done| told.push(done)).unwrap();
        assert_eq!(told, [0, 1]);
        assert!(times.len() == 2 && times.iter().all(|times| times.len() == 2));
        // Twice each to begin with; then blocks of one run that isn't counted and one that is.
        assert_eq!(ran.borrow().iter().collect::<String>(), "aabb".to_owned() + "aabb" + "bbaa");
    }

    #[test]
    fn a_run_that_fails_ends_it() {
        let mut sides = [Side::new(|| Err(crate::Error::Cancelled))];
        assert!(rounds(&mut sides, &Plan::default(), &mut |_| {}).is_err());
    }
}
