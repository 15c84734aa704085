//! Threads that do what takes time: one runs the model, one reads files, some draw pictures. Each has the newest wishes only.

pub mod files;
pub mod model;
pub mod pictures;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where wishes lie until a worker takes them up. New ones replace old ones.
pub struct Desk<T>(Arc<(Mutex<Slot<T>>, Condvar)>);

struct Slot<T> {
    wish: Option<T>,
    closed: bool,
}

impl<T> Clone for Desk<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Desk<T> {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(Slot { wish: None, closed: false }), Condvar::new())))
    }
}

impl<T> Desk<T> {
    /// Replaces the wish.
    pub fn put(&self, wish: T) {
        self.slot().wish = Some(wish);
        self.0.1.notify_all();
    }

    /// Ends the workers.
    pub fn close(&self) {
        self.slot().closed = true;
        self.0.1.notify_all();
    }

    /// Whether there is another wish than the one that was taken last.
    pub fn has_news(&self) -> bool {
        let slot = self.slot();
        slot.wish.is_some() || slot.closed
    }

    /// Waits for a wish; `None`: the desk is closed.
    pub fn take(&self) -> Option<T> {
        let mut slot = self.slot();
        loop {
            if slot.closed {
                return None;
            }
            if let Some(wish) = slot.wish.take() {
                return Some(wish);
            }
            slot = self.0.1.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for a wish, but not longer than that: `Some(None)` when the time is over.
    pub fn take_within(&self, limit: std::time::Duration) -> Option<Option<T>> {
        let slot = self.slot();
        let waits = |slot: &mut Slot<T>| slot.wish.is_none() && !slot.closed;
        let (mut slot, _) = self.0.1.wait_timeout_while(slot, limit, waits).unwrap_or_else(PoisonError::into_inner);
        if slot.closed { None } else { Some(slot.wish.take()) }
    }

    fn slot(&self) -> MutexGuard<'_, Slot<T>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what a worker has made to the loop. The loop being gone is no error: the program is ending.
pub type Send = Arc<dyn Fn(crate::message::Message) + std::marker::Send + Sync>;
