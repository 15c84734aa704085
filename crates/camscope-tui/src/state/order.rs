//! In which order the photos stand.

use std::{
    cmp::{Ordering, Reverse},
    collections::HashMap,
    path::PathBuf,
    time::SystemTime,
};

use super::{ImageEntry, State};

/// What photos are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they were given.
    #[default]
    Given,
    /// By their names.
    Name,
    /// By when they were last changed, the newest first.
    Time,
    /// By the score of what is explained, the highest first.
    Score,
    /// Those first for which the model says what is explained before all else, then by its score.
    Predicted,
}

impl Order {
    /// All of them, in the order in which they are stepped through.
    pub const ALL: [Self; 5] = [Self::Given, Self::Name, Self::Time, Self::Score, Self::Predicted];

    /// What it is, to be read behind "sorted".
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "as given",
            Self::Name => "by name",
            Self::Time => "by time",
            Self::Score => "by score",
            Self::Predicted => "by prediction",
        }
    }

    /// The next one.
    pub fn next(self) -> Self {
        let at = Self::ALL.iter().position(|order| *order == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// Whether the model has to be asked about each photo.
    pub fn needs_answers(self) -> bool {
        matches!(self, Self::Score | Self::Predicted)
    }
}

/// How photos are sorted, and what they were sorted for last.
#[derive(Clone, Debug, Default)]
pub struct Sorting {
    /// What they are sorted by.
    pub order: Order,
    /// The order in which they were given, once it is another.
    given: Vec<PathBuf>,
    /// When files were last changed.
    pub(crate) times: HashMap<PathBuf, SystemTime>,
    /// The target and the number of answers that they were sorted for.
    done_for: Option<(Option<String>, usize)>,
}

impl State {
    /// The place of what is explained among the targets of another image, where it was asked for and the model finds it.
    fn same_target(&self, image: usize) -> Option<usize> {
        let (target, here) = (self.current_target()?, self.current_scores()?);
        let said = self.images.get(image)?.said.as_ref()?;
        match here.asked(target) {
            None => Some(target).filter(|class| *class < said.classes()),
            Some(asked) => {
                let is_same = |other: &crate::engine::Asked| match &asked.label {
                    Some(label) => other.label.as_ref() == Some(label),
                    None => other.spec == asked.spec,
                };
                said.asked.iter().position(is_same).map(|at| at + said.classes())
            }
        }
    }

    /// The score of what is explained in another image: how sure the model is, else its number.
    pub fn score_in(&self, image: usize) -> Option<f32> {
        let target = self.same_target(image)?;
        let said = self.images.get(image)?.said.as_ref()?;
        said.probability(target).or_else(|| said.values.get(target).copied())
    }

    /// Whether the model says what is explained before all else of an image.
    fn is_predicted(&self, image: usize) -> bool {
        let first = self.images.get(image).and_then(|entry| entry.said.as_ref()?.ranking.first().copied());
        first.is_some() && first == self.same_target(image)
    }

    /// Of how many images it is known what the model says.
    pub fn answers(&self) -> usize {
        self.images.iter().filter(|entry| entry.said.is_some()).count()
    }

    /// Sorts otherwise.
    pub(crate) fn choose_order(&mut self, order: Order) {
        if self.sorting.order == Order::Given {
            self.sorting.given = self.images.iter().map(|entry| entry.path.clone()).collect();
        }
        self.sorting.order = order;
        self.sorting.done_for = None;
        self.sort_images();
    }

    /// Sorts again where what it depends on is another.
    pub(crate) fn sort_images(&mut self) {
        let order = self.sorting.order;
        let label = || self.current_target().and_then(|target| self.label(target));
        let now = if order.needs_answers() { (label(), self.answers()) } else { (None, self.images.len()) };
        if self.sorting.done_for.as_ref() == Some(&now) {
            return;
        }
        let given: HashMap<&PathBuf, usize> = self.sorting.given.iter().zip(0..).collect();
        let name = |entry: &ImageEntry| entry.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let highest = |one: Option<f32>, other: Option<f32>| match (one, other) {
            (Some(one), Some(other)) => other.total_cmp(&one),
            (one, other) => other.is_some().cmp(&one.is_some()),
        };
        let compare = |one: &usize, other: &usize| -> Ordering {
            let [a, b] = [one, other].map(|at| &self.images[*at]);
            match order {
                Order::Given => {
                    let [a, b] = [a, b].map(|entry| given.get(&entry.path).copied().unwrap_or(usize::MAX));
                    a.cmp(&b)
                }
                Order::Name => name(a).cmp(&name(b)).then_with(|| a.path.cmp(&b.path)),
                Order::Time => {
                    let [a, b] = [a, b].map(|entry| Reverse(self.sorting.times.get(&entry.path)));
                    a.cmp(&b)
                }
                Order::Score => highest(self.score_in(*one), self.score_in(*other)),
                Order::Predicted => {
                    let [a, b] = [one, other].map(|at| Reverse(self.is_predicted(*at)));
                    a.cmp(&b).then_with(|| highest(self.score_in(*one), self.score_in(*other)))
                }
            }
        };
        let mut places: Vec<usize> = (0..self.images.len()).collect();
        places.sort_by(compare);
        self.sorting.done_for = Some(now);
        if places.iter().enumerate().all(|(to, from)| to == *from) {
            return;
        }
        let mut old: Vec<Option<ImageEntry>> = std::mem::take(&mut self.images).into_iter().map(Some).collect();
        self.images = places.iter().filter_map(|from| old[*from].take()).collect();
        self.image = places.iter().position(|from| *from == self.image).unwrap_or(0);
        // Thumbnails stand by their places.
        self.shown.clear();
    }
}
