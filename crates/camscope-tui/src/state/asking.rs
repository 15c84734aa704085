//! What is asked of a model beside what it says by itself, and the numbers of that.

use std::path::PathBuf;

use super::{Form, ImageEntry, State};
use crate::{
    engine::{InputRow, Opening},
    worker::files::is_image,
};

/// How a target begins that is about another picture.
pub(crate) const SIMILAR: &str = "similar:";

/// What was asked for, until it is there.
#[derive(Clone, Debug, Default)]
pub struct Asking {
    /// The target to choose as soon as the model has answered.
    pub chosen: Option<String>,
    /// Whether the model is being opened for that.
    pub reopens: bool,
    /// A model that is not open, since its inputs lack values.
    pub inputs: Option<(PathBuf, Vec<InputRow>)>,
    /// The form that was sent off, until the model is open.
    pub form: Option<Form>,
    /// The pictures that others are compared with, by the targets that name them.
    pub others: Vec<ImageEntry>,
}

impl State {
    /// A model to open, with what is asked of it where it is the one that is open already.
    pub fn opening_of(&self, path: PathBuf) -> Opening {
        match self.model.as_ref().filter(|model| model.path == path) {
            None => Opening::of(path),
            Some(model) => {
                let given = model.inputs.iter().filter(|row| !row.value.is_empty());
                let fed = given.map(|row| (row.name.clone(), row.value.clone())).collect();
                Opening { path, targets: Some(model.targets.clone()), fed: Some(fed) }
            }
        }
    }

    /// What the model gives for a target: how sure it is, where it says so, else the target's own number.
    pub fn measure(&self, target: usize) -> String {
        let Some(scores) = self.current_scores() else { return String::new() };
        if let Some(probability) = scores.probability(target) {
            return format!("{:.1} %", 100.0 * probability);
        }
        match (scores.asked(target), scores.values.get(target)) {
            (Some(asked), Some(value)) if asked.spec.starts_with(SIMILAR) => format!("cosine {value:.3}"),
            (Some(_), Some(value)) => format!("{value:.3}"),
            _ => String::new(),
        }
    }

    /// The picture that a target compares with: its place among [`Asking::others`].
    pub fn compared_with(&self, target: usize) -> Option<usize> {
        let path = self.current_scores()?.asked(target)?.spec.strip_prefix(SIMILAR)?.to_owned();
        self.asking.others.iter().position(|entry| entry.path.as_os_str() == path.as_str())
    }

    /// Forgets what the model said, since it is asked for something else: photos are read again, under new numbers, so that what is still on
    /// its way belongs to none of them.
    pub(crate) fn forget_answers(&mut self) {
        self.scores.clear();
        self.heats.retain(|_| false);
        self.failed.clear();
        self.pinned.clear();
        self.comparing.clear();
        (self.target, self.target_stays, self.kept, self.rank) = (None, false, None, 0);
        for entry in self.images.iter_mut().chain(&mut self.asking.others) {
            entry.stale = true;
            (entry.error, entry.said) = (None, None);
        }
    }

    /// Keeps the pictures that targets name.
    pub(crate) fn note_others(&mut self, specs: &[String]) {
        for path in specs.iter().filter_map(|spec| spec.strip_prefix(SIMILAR)).filter(|path| is_image(path)) {
            let path = PathBuf::from(path);
            if self.asking.others.iter().all(|entry| entry.path != path) {
                self.asking.others.push(ImageEntry::new(path));
            }
        }
    }
}
