//! How far a method of the host is.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many runs methods of the host want to make of an explainer, and how many they made: of images through the model, or of activations
/// through what lies behind a layer. Both only grow; any thread may read them.
#[derive(Debug, Default)]
pub struct Work {
    planned: AtomicUsize,
    /// Of those that were announced, how many somebody else will announce again.
    ahead: AtomicUsize,
    done: AtomicUsize,
    gradients: AtomicUsize,
    passes: AtomicUsize,
}

impl Work {
    /// How many runs were announced.
    pub fn planned(&self) -> usize {
        self.planned.load(Ordering::Relaxed)
    }

    /// How many were made.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// How many of them went back to a gradient at the input or at a layer.
    pub fn gradients(&self) -> usize {
        self.gradients.load(Ordering::Relaxed)
    }

    /// How many forward passes were made in all, for whatever: an image through the model, or activations through what lies behind a layer.
    pub fn passes(&self) -> usize {
        self.passes.load(Ordering::Relaxed)
    }

    pub(crate) fn ran(&self, passes: usize) {
        self.passes.fetch_add(passes, Ordering::Relaxed);
    }

    pub(crate) fn plan(&self, runs: usize) {
        let mut known = 0;
        let _ = self.ahead.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ahead| {
            known = ahead.min(runs);
            Some(ahead - known)
        });
        self.planned.fetch_add(runs - known, Ordering::Relaxed);
    }

    /// Announces runs that whoever makes them will announce too, when their turn comes.
    pub(crate) fn plan_ahead(&self, runs: usize) {
        self.ahead.fetch_add(runs, Ordering::Relaxed);
        self.planned.fetch_add(runs, Ordering::Relaxed);
    }

    pub(crate) fn did(&self, runs: usize) {
        self.done.fetch_add(runs, Ordering::Relaxed);
    }

    pub(crate) fn went_back(&self, runs: usize) {
        self.gradients.fetch_add(runs, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_announced_ahead_is_counted_once() {
        let work = Work::default();
        work.plan(10);
        work.plan_ahead(20);
        assert_eq!(work.planned(), 30);
        work.plan(10);
        work.plan(15);
        assert_eq!(work.planned(), 35);
    }
}
