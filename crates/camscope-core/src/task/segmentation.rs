//! A class for every pixel, and other maps: numbers for every pixel (depth, saliency, a matte), key points as heat maps.
//!
//! What is explained lies before the softmax, the logistic function and the `ArgMax` at the end, at whatever resolution it has there.

mod found;
mod otherwise;

use std::sync::Arc;

use ndarray::ArrayD;

use super::{Item, Kind, Said, Task};
use crate::{
    error::{Error, Result},
    image::Viewport,
    model::Labels,
    target::{Answer, Score, TargetRef},
};

pub(super) use found::recognise;
pub(crate) use otherwise::refused;

/// What the numbers of a map are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    /// Logits of classes of which a pixel has one.
    Exclusive,
    /// Logits of classes that don't exclude each other: p = σ(logit). A pixel has those above this number.
    Independent {
        /// The least logit.
        above: f32,
    },
    /// The logit of the foreground alone: a pixel is foreground, class 1, above this number, else background, class 0.
    Foreground {
        /// The least logit.
        above: f32,
    },
    /// Numbers that speak for themselves.
    Numbers,
}

/// A value of the graph that has numbers for every cell of a grid over the image.
#[derive(Clone, Debug)]
pub struct Map {
    value: Arc<str>,
    /// The axes of channels, height and width.
    channels: Option<usize>,
    height: usize,
    width: usize,
    /// How many channels there are.
    count: usize,
    /// What they are.
    pub meaning: Meaning,
    /// What the map is for: classes, key points, or other numbers.
    pub kind: Kind,
    /// The names of classes, or of channels.
    pub labels: Labels,
    /// The class that is no segment.
    background: Option<usize>,
}

/// The numbers of a [`Map`] for one image.
pub struct Grid<'a> {
    map: &'a Map,
    all: ArrayD<f32>,
    /// How many rows of cells there are.
    pub height: usize,
    /// How many columns.
    pub width: usize,
}

/// A cell: row and column.
pub type Cell = [usize; 2];

impl Map {
    /// The value that holds the numbers.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The axes of channels (`None`: there are none), height and width, and how many channels there are.
    pub(crate) fn axes(&self) -> (Option<usize>, [usize; 2], usize) {
        (self.channels, [self.height, self.width], self.count)
    }

    /// Whether each pixel has a class.
    pub fn is_labelled(&self) -> bool {
        self.kind == Kind::Segmentation
    }

    /// How many classes, or channels, there are.
    pub fn classes(&self) -> usize {
        if matches!(self.meaning, Meaning::Foreground { .. }) { 2 } else { self.count }
    }

    /// The class that is no segment, where there is one.
    pub fn background(&self) -> Option<usize> {
        self.background
    }

    /// The class, or channel, that a label or a number names.
    ///
    /// # Errors
    /// There is none.
    pub fn named(&self, label: &str) -> Result<usize> {
        let class = crate::target::class::named(label, &self.labels)?;
        let count = self.classes();
        if class < count { Ok(class) } else { Err(Error::ClassRange { class: label.to_owned(), count }) }
    }

    /// How a class is written in a target: its label, or its number where that is no clear name.
    pub fn written(&self, class: usize) -> String {
        let by_label = self
            .labels
            .get(class)
            .filter(|label| crate::target::class::named(label, &self.labels).is_ok_and(|found| found == class));
        by_label.map_or_else(|| class.to_string(), str::to_owned)
    }

    /// The numbers of one image.
    ///
    /// # Errors
    /// The value is not as the map has it.
    pub fn grid(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Grid<'_>> {
        let all = value(&self.value)?;
        let shape = all.shape();
        let size = |axis: usize| shape.get(axis).copied().unwrap_or(0);
        let (height, width) = (size(self.height), size(self.width));
        let channels = self.channels.map_or(1, size);
        if channels != self.count || height == 0 || width == 0 || all.len() != channels * height * width {
            let name = &self.value;
            return Err(Error::Value(format!(
                "`{name}` has shape {shape:?}, and {} channels were expected",
                self.count
            )));
        }
        Ok(Grid { map: self, all, height, width })
    }
}

impl Grid<'_> {
    fn at(&self, channel: usize, [row, column]: Cell) -> Vec<usize> {
        let mut at = vec![0; self.all.ndim()];
        at[self.map.height] = row;
        at[self.map.width] = column;
        if let Some(axis) = self.map.channels {
            at[axis] = channel;
        }
        at
    }

    /// The number of a channel in a cell.
    pub fn number(&self, channel: usize, cell: Cell) -> f32 {
        self.all.get(self.at(channel, cell).as_slice()).copied().unwrap_or(f32::NAN)
    }

    /// Every cell, row by row.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + use<> {
        let (height, width) = (self.height, self.width);
        (0..height).flat_map(move |row| (0..width).map(move |column| [row, column]))
    }

    /// The class with the largest logit in a cell; of a foreground alone, that or the background.
    pub fn likeliest(&self, cell: Cell) -> usize {
        match self.map.meaning {
            Meaning::Foreground { above } => usize::from(self.number(0, cell) > above),
            _ => (1..self.map.count)
                .fold(0, |best, at| if self.number(at, cell) > self.number(best, cell) { at } else { best }),
        }
    }

    /// Whether the model gives a cell to a class.
    pub fn is_of(&self, class: usize, cell: Cell) -> bool {
        match self.map.meaning {
            Meaning::Independent { above } => self.number(class, cell) > above,
            _ => self.likeliest(cell) == class,
        }
    }

    /// The cells that the model gives to a class.
    pub fn segment(&self, class: usize) -> Vec<Cell> {
        self.cells().filter(|cell| self.is_of(class, *cell)).collect()
    }

    /// Of some cells those that are connected with one of them, over sides and corners.
    pub fn connected(&self, cells: &[Cell], from: Cell) -> Vec<Cell> {
        let mut is_left = vec![false; self.height * self.width];
        for [row, column] in cells {
            is_left[row * self.width + column] = true;
        }
        let (mut todo, mut found) = (vec![from], Vec::new());
        while let Some([row, column]) = todo.pop() {
            if !std::mem::replace(&mut is_left[row * self.width + column], false) {
                continue;
            }
            found.push([row, column]);
            for row in row.saturating_sub(1)..=(row + 1).min(self.height - 1) {
                todo.extend((column.saturating_sub(1)..=(column + 1).min(self.width - 1)).map(|column| [row, column]));
            }
        }
        found.sort_unstable();
        found
    }

    /// What each class has, the largest first: its number and its cells. Classes without any are left out.
    pub fn segments(&self) -> Vec<(usize, Vec<Cell>)> {
        let mut of_class: Vec<Vec<Cell>> = vec![Vec::new(); self.map.classes()];
        for cell in self.cells() {
            match self.map.meaning {
                Meaning::Independent { above } => {
                    let own = (0..self.map.count).filter(|class| self.number(*class, cell) > above);
                    own.for_each(|class| of_class[class].push(cell));
                }
                _ => of_class[self.likeliest(cell)].push(cell),
            }
        }
        let mut found: Vec<_> = of_class.into_iter().enumerate().filter(|(_, cells)| !cells.is_empty()).collect();
        found.sort_by_key(|(_, cells)| std::cmp::Reverse(cells.len()));
        found
    }

    /// The probability of a class in a cell; of numbers that speak for themselves there is none.
    pub fn probability(&self, class: usize, cell: Cell) -> Option<f32> {
        let sigmoid = super::detection::sigmoid;
        match self.map.meaning {
            Meaning::Numbers => None,
            Meaning::Independent { .. } => Some(sigmoid(self.number(class, cell))),
            Meaning::Foreground { .. } => {
                let logit = self.number(0, cell);
                Some(sigmoid(if class == 0 { -logit } else { logit }))
            }
            Meaning::Exclusive => {
                let logits: Vec<f32> = (0..self.map.count).map(|at| self.number(at, cell)).collect();
                crate::target::probabilities(&logits, false).get(class).copied()
            }
        }
    }

    /// The mean over some cells of a class's logit, or of its probability, and its derivative by every number of the map.
    pub fn score(&self, class: usize, cells: &[Cell], score: Score) -> (f32, ArrayD<f32>) {
        let mut seed = ArrayD::zeros(self.all.raw_dim());
        let mut sum = 0.0;
        let share = 1.0 / cells.len().max(1) as f32;
        for &cell in cells {
            // Of a foreground alone the background's logit is minus the foreground's.
            let (channel, sign) = match self.map.meaning {
                Meaning::Foreground { .. } => (0, if class == 0 { -1.0 } else { 1.0 }),
                _ => (class, 1.0),
            };
            let mut add = |channel: usize, slope: f32| {
                if let Some(place) = seed.get_mut(self.at(channel, cell).as_slice()) {
                    *place += share * slope;
                }
            };
            let probability = self.probability(class, cell).filter(|_| super::is_probability(score));
            let Some(p) = probability else {
                sum += f64::from(sign * self.number(channel, cell));
                add(channel, sign);
                continue;
            };
            sum += f64::from(p);
            if self.map.meaning == Meaning::Exclusive {
                for other in 0..self.map.count {
                    let own = f32::from(u8::from(other == class));
                    add(other, p * (own - self.probability(other, cell).unwrap_or(0.0)));
                }
            } else {
                add(channel, sign * p * (1.0 - p));
            }
        }
        ((sum * f64::from(share)) as f32, seed)
    }

    /// The cell over a point of the photo.
    ///
    /// # Errors
    /// The network doesn't see that point.
    pub fn cell_at(&self, viewport: &Viewport, point: [f64; 2]) -> Result<Cell, String> {
        let [x, y] = viewport.seen_at(point)?;
        let place = |at: f64, of: f64, cells: usize| ((at / of * cells as f64) as usize).min(cells - 1);
        Ok([place(y, viewport.height, self.height), place(x, viewport.width, self.width)])
    }

    /// The smallest box around some cells: left, top, right, bottom in the photo's pixels.
    pub fn around(&self, viewport: &Viewport, cells: &[Cell]) -> Option<[f64; 4]> {
        let least = |axis: usize| cells.iter().map(|cell| cell[axis]).min();
        let most = |axis: usize| cells.iter().map(|cell| cell[axis] + 1).max();
        let across = |at: usize| at as f64 / self.width as f64 * viewport.width;
        let down = |at: usize| at as f64 / self.height as f64 * viewport.height;
        let [left, top] = viewport.to_photo([across(least(1)?), down(least(0)?)]);
        let [right, bottom] = viewport.to_photo([across(most(1)?), down(most(0)?)]);
        Some([left, top, right, bottom])
    }

    /// The pixel of the photo in the middle of a cell.
    pub fn middle(&self, viewport: &Viewport, cell: Cell) -> [f64; 2] {
        let [left, top, right, bottom] = self.around(viewport, &[cell]).unwrap_or_default();
        [(left + right) / 2.0, (top + bottom) / 2.0]
    }

    /// The cell where a channel is largest; without one where any is, with that channel. NaN counts for nothing.
    pub fn peak(&self, channel: Option<usize>) -> (usize, Cell) {
        let channels = channel.map_or(0..self.map.count, |one| one..one + 1);
        let all = channels.flat_map(|channel| self.cells().map(move |cell| (channel, cell)));
        let key = |(channel, cell): &(usize, Cell)| {
            let number = self.number(*channel, *cell);
            if number.is_nan() { f32::NEG_INFINITY } else { number }
        };
        let first = (channel.unwrap_or(0), [0, 0]);
        all.fold(first, |best, at| if key(&at) > key(&best) { at } else { best })
    }

    /// The least, the mean and the largest number.
    pub fn range(&self) -> [f64; 3] {
        let numbers = || self.all.iter().map(|number| f64::from(*number));
        let (least, most) = (numbers().fold(f64::INFINITY, f64::min), numbers().fold(f64::NEG_INFINITY, f64::max));
        [least, numbers().sum::<f64>() / self.all.len() as f64, most]
    }
}

/// A task over a map.
#[derive(Debug)]
struct Mapping {
    map: Map,
    output: String,
}

impl Task for Mapping {
    fn kind(&self) -> Kind {
        self.map.kind
    }

    fn reads(&self) -> Vec<String> {
        vec![self.map.value.to_string()]
    }

    fn output(&self) -> Option<&str> {
        Some(&self.output)
    }

    fn predict(&self, answer: &Answer<'_>) -> Result<Said> {
        let grid = self.map.grid(answer.output)?;
        match self.map.kind {
            Kind::Segmentation => Ok(self.said_segments(&grid, answer)),
            _ => Ok(self.said_numbers(&grid, answer)),
        }
    }

    fn first(&self) -> Result<TargetRef> {
        crate::target::parse(if self.map.is_labelled() { "segment:top1" } else { "pixel:peak" })
    }

    fn map(&self) -> Option<&Map> {
        Some(&self.map)
    }
}

impl Mapping {
    fn said_segments(&self, grid: &Grid<'_>, answer: &Answer<'_>) -> Said {
        let all = grid.height * grid.width;
        let item = |(class, cells): (usize, Vec<Cell>)| {
            let mean = cells.iter().filter_map(|cell| grid.probability(class, *cell)).map(f64::from).sum::<f64>();
            Item {
                target: format!("segment:{}", self.map.written(class)),
                class: Some(class),
                label: self.map.labels.get(class).map(str::to_owned),
                score: grid.score(class, &cells, answer.score).0,
                probability: Some((mean / cells.len() as f64) as f32),
                corners: grid.around(&answer.viewport, &cells),
                share: Some(cells.len() as f64 / all as f64),
            }
        };
        Said { items: grid.segments().into_iter().map(item).collect(), ..Said::default() }
    }

    /// The peak of each channel, the highest first.
    fn said_numbers(&self, grid: &Grid<'_>, answer: &Answer<'_>) -> Said {
        let count = self.map.count;
        let item = |channel: usize| {
            let (_, cell) = grid.peak(Some(channel));
            let several = count > 1;
            let [x, y] = grid.middle(&answer.viewport, cell).map(|at| at.floor());
            let target = match self.map.kind {
                Kind::Keypoints => format!("pixel:peak,{}", self.map.written(channel)),
                _ if several => format!("pixel:{x},{y},{}", self.map.written(channel)),
                _ => format!("pixel:{x},{y}"),
            };
            Item {
                target,
                class: several.then_some(channel),
                label: several.then(|| self.map.labels.get(channel).map(str::to_owned)).flatten(),
                score: grid.score(channel, &[cell], answer.score).0,
                probability: grid.probability(channel, cell),
                corners: grid.around(&answer.viewport, &[cell]),
                ..Item::default()
            }
        };
        // Of features there are hundreds.
        let mut items: Vec<Item> = (0..count).map(item).collect();
        if self.map.kind == Kind::Dense {
            items.sort_by(|a, b| b.score.total_cmp(&a.score));
            items.truncate(5);
        }
        let [least, mean, most] = grid.range();
        let facts = match self.map.kind {
            Kind::Dense => vec![("least", least), ("mean", mean), ("largest", most)],
            _ => Vec::new(),
        };
        Said { items, facts, ..Said::default() }
    }
}
