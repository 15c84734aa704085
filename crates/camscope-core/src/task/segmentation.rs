//! A class for every pixel, and other maps: numbers for every pixel (depth, saliency, a matte), key points as heat maps.
//!
//! What is explained lies before the softmax, the logistic function and the `ArgMax` at the end, at whatever resolution it has there.

use std::sync::Arc;

use ndarray::ArrayD;

use super::{
    Context, Item, Kind, Recognised, Said, Task,
    end::{Decision, End, Last, before_moves, end_of},
};
use crate::{
    error::{Error, Result},
    image::Viewport,
    model::Labels,
    target::{Answer, Score, TargetRef},
};

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

/// Words in the names of outputs that hold numbers and no classes.
const NUMBERS: &[&str] = &[
    "depth", "disp", "saliency", "matte", "matting", "alpha", "pha", "normal", "flow", "feature", "embed", "hidden",
    "fgr", "quer",
];

/// Words in the names of outputs that hold feature maps.
const FEATURES: &[&str] = &["feature", "embed", "hidden"];

/// Words in the names of outputs that hold measures: a logistic function behind them keeps them in range and makes no probabilities.
const MEASURES: &[&str] = &["depth", "disp", "normal", "flow", "feature", "embed", "hidden"];

/// Words in the names of outputs that hold a heat map a key point.
const POINTS: &[&str] = &["heatmap", "heat_map", "keypoint", "kpt", "joint", "landmark"];

/// Words in the names of outputs that hold classes.
const CLASSES: &[&str] = &["seg", "mask", "logits", "parsing"];

fn is_called(name: &str, words: &[&str]) -> Option<String> {
    let name = name.to_lowercase();
    words.iter().find(|word| name.contains(**word)).map(|word| (*word).to_owned())
}

/// An output that is a map.
struct Found<'a> {
    output: &'a str,
    end: End,
    map: Map,
    /// Its rows and columns.
    grid: [usize; 2],
    by: String,
}

pub(super) fn recognise(context: &Context<'_>) -> Option<Recognised> {
    let wanted = |name: &&String| context.settings.output.as_ref().is_none_or(|said| said == *name);
    let found: Vec<Found<'_>> =
        context.outputs().iter().filter(wanted).filter_map(|output| map_of(context, output)).collect();
    let is_known = |found: &Found<'_>| found.end.last.is_some() || found.end.decision.is_some();
    let is_said = context.settings.kind.is_some() || context.settings.output.is_some();
    let at = found.iter().position(is_known).or_else(|| {
        // Maps of several sizes without a word are levels of something else.
        let alike = found.iter().all(|other| other.grid == found[0].grid);
        (!found.is_empty() && (alike || is_said || is_called(found[0].output, NUMBERS).is_some())).then_some(0)
    })?;
    let Found { output, map, by, .. } = found.into_iter().nth(at)?;
    // Feature maps beside the vector that is made of them.
    if !is_said && is_called(output, FEATURES).is_some() && super::embedding::recognise(context).is_some() {
        return None;
    }
    Some(Recognised { task: Arc::new(Mapping { map, output: output.to_owned() }), by })
}

/// The map that an output holds, where it holds one.
fn map_of<'a>(context: &Context<'a>, output: &'a str) -> Option<Found<'a>> {
    let said = context.settings.kind;
    if said.is_some_and(|said| !matches!(said, Kind::Segmentation | Kind::Dense | Kind::Keypoints)) {
        return None;
    }
    let graph = context.network.model.graph();
    let mut end = end_of(graph, context.types, output);
    if end.decision.is_none() && is_called(output, MEASURES).is_some() && said.is_none_or(|said| said == Kind::Dense) {
        end = End { value: output.to_owned(), last: None, decision: None };
    }
    // Tokens of a transformer: their number and their channels are no height and width.
    if said.is_none()
        && output.contains("hidden_state")
        && context.extents(output).is_some_and(|shape| shape.len() == 3)
    {
        return None;
    }
    let own = context.floats(&end.value)?;
    let is_map = |name: &str| context.floats(name).is_some_and(|shape| axes(&shape, context.size, None).is_some());
    // A softmax over a flattened copy: the map lies before.
    let count = match end.last {
        Some(Last::Softmax(axis)) => own.get(axis).copied().flatten(),
        _ => None,
    };
    let (value, axis) = match is_map(&end.value) {
        true => {
            let axis = match (end.last, end.decision) {
                (Some(Last::Softmax(axis)), _) => Some(axis),
                (None, Some(Decision::Largest(axis))) => Some(axis),
                _ => None,
            };
            (end.value.as_str(), axis)
        }
        false => {
            let value = before_moves(graph, &end.value, is_map)?;
            let shape = context.floats(value)?;
            (value, shape.iter().position(|size| *size == count && size.is_some()))
        }
    };
    let shape = context.floats(value)?;
    let ([channels, height, width], count) = axes(&shape, context.size, axis)?;
    let channels = (channels < shape.len()).then_some(channels);
    // An output that is smaller than the map it comes from was made of it, and is something else.
    let said_dims = context.extents(output).unwrap_or_default();
    if said_dims.len() < 3 {
        return None;
    }
    let grid = [shape[height]?, shape[width]?];
    let numbers = is_called(output, NUMBERS).or_else(|| is_called(value, NUMBERS));
    let points = is_called(output, POINTS).or_else(|| is_called(value, POINTS));
    let labels = context.labels;
    let is_decided = end.decision.is_some();
    let has_last = end.last.is_some();
    let coarse = grid[0] * 16 < context.size[0];
    let named = || format!("the name of `{output}`");
    let (kind, by) = match said {
        Some(kind) => (kind, String::new()),
        None if is_decided => (Kind::Segmentation, end.describe(output)),
        None if points.is_some() && count > 1 => (Kind::Keypoints, named()),
        None if numbers.is_some() => (Kind::Dense, named()),
        None if has_last => (Kind::Segmentation, end.describe(output)),
        None if count == 1 => {
            (Kind::Dense, format!("the shape of `{output}`: a number a pixel, without a logistic function behind"))
        }
        None if labels.len() == count => {
            (Kind::Segmentation, format!("the shape of `{output}`: a score for each of {count} labels at each pixel"))
        }
        None if is_called(output, CLASSES).is_some() => (Kind::Segmentation, named()),
        None if count == 3 || coarse => (
            Kind::Dense,
            format!("the shape of `{output}`: {count} numbers for each of {} × {} cells", grid[0], grid[1]),
        ),
        None => (Kind::Segmentation, format!("the shape of `{output}`: {count} scores at each pixel")),
    };
    let meaning = meaning(context, &end, kind, count);
    let labels = names(labels, meaning);
    let background = background(&labels, meaning);
    let map = Map { value: value.into(), channels, height, width, count, meaning, kind, labels, background };
    Some(Found { output, end, map, grid, by })
}

/// What the numbers of a map are.
fn meaning(context: &Context<'_>, end: &End, kind: Kind, count: usize) -> Meaning {
    let p = context.settings.threshold.unwrap_or(0.5).clamp(1e-6, 1.0 - 1e-6);
    let above = match (end.decision, end.last, context.settings.threshold) {
        (Some(Decision::Above(bound)), None, None) => bound,
        (Some(Decision::Above(bound)), Some(_), None) => {
            let p = bound.clamp(1e-6, 1.0 - 1e-6);
            (p / (1.0 - p)).ln()
        }
        _ => (p / (1.0 - p)).ln(),
    };
    match (kind, end.last) {
        // Behind a softmax or a logistic function numbers are logits even so.
        (Kind::Segmentation, _) if count == 1 => Meaning::Foreground { above },
        (Kind::Segmentation, Some(Last::Sigmoid)) => Meaning::Independent { above },
        (Kind::Segmentation, _) => Meaning::Exclusive,
        (_, Some(Last::Sigmoid)) => Meaning::Independent { above },
        _ => Meaning::Numbers,
    }
}

/// The names of a map's classes.
fn names(labels: &Labels, meaning: Meaning) -> Labels {
    match (meaning, labels.names()) {
        (Meaning::Foreground { .. }, [only]) => Labels::new(vec!["background".into(), only.clone()]),
        (Meaning::Foreground { .. }, names) if names.len() != 2 => {
            Labels::new(vec!["background".into(), "foreground".into()])
        }
        _ => labels.clone(),
    }
}

/// The class that is no segment: the one that is called so; where classes have no names, the first.
fn background(labels: &Labels, meaning: Meaning) -> Option<usize> {
    let is_it =
        |name: &String| matches!(&*name.to_lowercase(), "background" | "__background__" | "bg" | "_background_");
    match meaning {
        Meaning::Foreground { .. } => Some(0),
        Meaning::Independent { .. } | Meaning::Numbers => None,
        Meaning::Exclusive if labels.is_empty() => Some(0),
        Meaning::Exclusive => labels.names().iter().position(is_it),
    }
}

/// The axes of channels, height and width of a value's shape, and how many channels there are; without channels their axis is the rank.
/// `None`: it is no map of an image of that height and width.
fn axes(shape: &[Option<usize>], [height, width]: [usize; 2], channel: Option<usize>) -> Option<([usize; 3], usize)> {
    let fits = |down: usize, across: usize| {
        let (Some(Some(rows)), Some(Some(columns))) = (shape.get(down), shape.get(across)) else { return false };
        let (rows, columns) = (*rows as f64 / height as f64, *columns as f64 / width as f64);
        // Sides are rounded up or down, by a cell mostly.
        let cell = (1.0 / height as f64).max(1.0 / width as f64);
        (rows - columns).abs() <= 0.1 * rows.max(columns) + cell && rows <= 4.0 && shape[down] > Some(1)
    };
    match (shape.len(), channel) {
        (4, Some(axis @ 1)) | (4, Some(axis @ 3)) => {
            let [down, across] = if axis == 1 { [2, 3] } else { [1, 2] };
            fits(down, across).then_some(([axis, down, across], shape[axis]?))
        }
        (4, None) if fits(2, 3) => Some(([1, 2, 3], shape[1]?)),
        (4, None) if fits(1, 2) => Some(([3, 1, 2], shape[3]?)),
        // An image of one: without a batch, where a channel axis is known.
        (3, Some(0)) => fits(1, 2).then_some(([0, 1, 2], shape[0]?)),
        (3, None) => (fits(1, 2) && shape[0].is_none_or(|batch| batch == 1)).then_some(([3, 1, 2], 1)),
        _ => None,
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
