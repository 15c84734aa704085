//! The passes that were run last.

use std::sync::Arc;

use camscope_core::explain::{Backward, Forward};

#[derive(Default)]
pub(super) struct Kept {
    pub(super) forwards: Vec<(Pass, Arc<Forward>)>,
    pub(super) backwards: Vec<(Pass, Arc<Backward>)>,
}

/// What a pass was run for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) photo: u64,
    /// Only of a backward pass.
    pub(super) target: usize,
    pub(super) all: bool,
}

/// Forward passes are large where every layer is kept; going back further than this runs them again.
pub(super) const FORWARDS: usize = 2;
pub(super) const BACKWARDS: usize = 3;

pub(super) fn find<T>(kept: &mut Vec<(Pass, Arc<T>)>, pass: Pass) -> Option<Arc<T>> {
    let at = kept.iter().position(|(known, _)| *known == pass)?;
    let entry = kept.remove(at);
    let found = Arc::clone(&entry.1);
    kept.push(entry);
    Some(found)
}

pub(super) fn keep<T>(kept: &mut Vec<(Pass, Arc<T>)>, most: usize, pass: Pass, value: &Arc<T>) {
    kept.push((pass, Arc::clone(value)));
    if kept.len() > most {
        kept.remove(0);
    }
}
