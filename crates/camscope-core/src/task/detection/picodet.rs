//! Generalised Focal Loss and its kin (Li et al. 2020; PicoDet, NanoDet, GFL): for each of several grids scores `[N, cells, C]` and
//! `[N, cells, 4 × bins]`, a distribution over the distance to each side: its mean, in strides, is the distance (equation 5 of the paper).
//! Maps `[N, channels, height, width]` are read as well. NanoDet joins the grids, and both tables, into one output `[N, cells, C + 4 × bins]`.

use std::{ops::Range, sync::Arc};

use onnx_grad::{ElemType, attr};

use super::{
    Columns, Detection, Detector, Emission, Emitted, Format, Lies,
    table::{Found, Says, Scores, Table, Values, cells, extent, grid, says, shared, surest},
};
use crate::{error::Result, target::probabilities, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "picodet",
    about: "PicoDet, GFL, NanoDet by level: scores and distributions over distances for several grids",
    recognise,
};

pub(super) const JOINED: Format = Format {
    name: "nanodet",
    about: "NanoDet: one output [N, cells, classes + 4 × bins] over grids of 8, 16, 32 (and 64) pixels",
    recognise: joined,
};

/// PaddleDetection's and NanoDet's.
const OVERLAP: f32 = 0.6;

/// The grids that there may be.
const STRIDES: [usize; 5] = [8, 16, 32, 64, 128];

/// How many bins each of four distances has, where nothing else tells: PicoDet's and NanoDet's, GFL's.
const BINS: [usize; 3] = [8, 17, 16];

/// A grid's cells in the tables of an output.
#[derive(Debug)]
struct Level {
    scores: Arc<str>,
    distances: Arc<str>,
    stride: usize,
}

#[derive(Debug)]
struct Head {
    levels: Vec<Level>,
    /// The columns of the scores, and of all.
    classes: usize,
    score_columns: usize,
    distance_columns: usize,
    /// Where the distances begin.
    from: usize,
    says: Says,
    /// Where in a cell distances are measured from.
    centre: f32,
    size: [usize; 2],
    /// Whether all levels are in one output.
    is_joined: bool,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let mut levels = Vec::new();
    let mut columns = None;
    for stride in STRIDES {
        let rows = cells(context.size, &[stride]);
        let own: Vec<(&String, usize)> = context
            .outputs()
            .iter()
            // Two grids of few cells may have equally many.
            .filter(|name| {
                !levels.iter().any(|level: &Level| [&*level.scores, &*level.distances].contains(&name.as_str()))
            })
            .filter_map(|name| {
                extent(context, name).filter(|(own, _)| *own == rows).map(|(_, columns)| (name, columns))
            })
            .collect();
        let &[(first, of_first), (second, of_second)] = &own[..] else { continue };
        let is_distribution = |name: &str, columns: usize| {
            let bins = columns / 4;
            columns.is_multiple_of(4) && BINS.contains(&bins) && says(context, name, Says::Logits) == Says::Logits
        };
        // Where both could be, the scores come first.
        let (scores, of_scores, distances, of_distances) = if is_distribution(second, of_second) {
            (first, of_first, second, of_second)
        } else if is_distribution(first, of_first) {
            (second, of_second, first, of_first)
        } else {
            return None;
        };
        if *columns.get_or_insert((of_scores, of_distances)) != (of_scores, of_distances) {
            return None;
        }
        levels.push(Level { scores: shared(scores), distances: shared(distances), stride });
    }
    let (classes, distance_columns) = columns?;
    if levels.len() < 2 || 2 * levels.len() != context.outputs().len() {
        return None;
    }
    let says = says(context, &levels[0].scores, Says::Logits);
    let strides: Vec<String> = levels.iter().map(|level| level.stride.to_string()).collect();
    let by = format!(
        "its outputs' shapes: {classes} scores and 4 × {} bins for grids of {} pixels",
        distance_columns / 4,
        strides.join(", ")
    );
    let head = Head {
        levels,
        classes,
        score_columns: classes,
        distance_columns,
        from: 0,
        says,
        centre: 0.5,
        size: context.size,
        is_joined: false,
    };
    Some((Arc::new(head), by))
}

fn joined(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let name = match context.outputs() {
        [only] => only,
        _ => context.settings.output.as_ref()?,
    };
    let (rows, columns) = extent(context, name)?;
    let strides = [&STRIDES[..4], &STRIDES[..3]].into_iter().find(|strides| cells(context.size, strides) == rows)?;
    let is_said = context.settings.format.is_some();
    // YOLO's heads have as many rows over three grids.
    if context.floats(name)?.len() != 3 || !(is_said || strides.len() == 4) {
        return None;
    }
    let labels = context.labels.len();
    let rest = |classes: usize| columns.checked_sub(classes).filter(|rest| rest.is_multiple_of(4) && *rest >= 8);
    let classes = match rest(labels).filter(|_| labels > 0) {
        Some(_) => labels,
        None => columns.checked_sub(4 * BINS[0]).filter(|classes| *classes > 0)?,
    };
    let by = format!("the shape of `{name}`: {classes} scores and 4 × {} bins a cell", (columns - classes) / 4);
    let level = |stride: &usize| Level { scores: shared(name), distances: shared(name), stride: *stride };
    let head = Head {
        levels: strides.iter().map(level).collect(),
        classes,
        score_columns: columns,
        distance_columns: columns,
        from: classes,
        says: says_of_joined(context, name),
        // NanoDet-Plus, with its fourth grid, measures from the cell's corner.
        centre: if strides.len() == 4 { 0.0 } else { 0.5 },
        size: context.size,
        is_joined: true,
    };
    Some((Arc::new(head), by))
}

/// NanoDet puts the logistic function before it joins scores and distances.
fn says_of_joined(context: &Context<'_>, name: &str) -> Says {
    let makers = super::table::makers(context.network.model.graph(), name);
    if makers.iter().any(|maker| maker == "Sigmoid") { Says::Probabilities } else { Says::Logits }
}

impl Head {
    /// The mean of a distribution over distances 0, 1, 2 …
    fn mean(table: &Table, row: usize, bins: Range<usize>) -> f32 {
        let logits: Vec<f32> = bins.map(|column| table.at(row, column)).collect();
        probabilities(&logits, false).iter().enumerate().map(|(distance, p)| distance as f32 * p).sum()
    }
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.levels.iter().flat_map(|level| [level.scores.to_string(), level.distances.to_string()]).collect();
        names.dedup();
        names
    }

    fn evidence(&self) -> Vec<Lies> {
        if self.is_joined {
            return self.reads().into_iter().map(Lies::in_all_of).collect();
        }
        self.levels.iter().map(|level| Lies::in_all_of(&*level.scores)).collect()
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let read = if self.is_joined { &self.levels[..1] } else { &self.levels[..] };
        let (mut scores, mut distances) = (Vec::new(), Vec::new());
        for level in read {
            let table = Table::read(value, &level.scores, self.score_columns)?;
            scores.push(Scores { table, says: self.says, classes: 0..self.classes, all: 0..self.classes });
            distances.push(Table::read(value, &level.distances, self.distance_columns)?);
        }
        let bins = (self.distance_columns - self.from) / 4;
        let of = |found: Found| {
            let (mut level, mut cell) = (found.level, found.row);
            while self.is_joined && level + 1 < self.levels.len() {
                let own = cells(self.size, &[self.levels[level].stride]);
                if cell < own {
                    break;
                }
                (level, cell) = (level + 1, cell - own);
            }
            let stride = self.levels[level].stride;
            let [_, width] = grid(self.size, stride);
            let centre = |cell: usize| (cell as f32 + self.centre) * stride as f32;
            let (x, y) = (centre(cell % width), centre(cell / width));
            let [left, top, right, bottom] = [0, 1, 2, 3].map(|side| {
                let from = self.from + side * bins;
                stride as f32 * Self::mean(&distances[found.level], found.row, from..from + bins)
            });
            Detection {
                corners: [x - left, y - top, x + right, y + bottom],
                class: found.column,
                evidence: scores[found.level].evidence(found.row, found.column),
            }
        };
        Ok(surest(&scores).into_iter().map(of).collect())
    }

    fn classes(&self) -> Option<super::ClassRow> {
        Some((super::table::classes_axis, 0..self.classes))
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let bins = (self.distance_columns - self.from) / 4;
        let read = if self.is_joined { &self.levels[..1] } else { &self.levels[..] };
        let (mut pieces, mut means) = (Vec::new(), Vec::new());
        for level in read {
            pieces.push(to.piece(&level.scores, self.score_columns)?);
            let table = to.table(&level.distances, self.distance_columns)?;
            let table = to.cut(&table, self.from..self.distance_columns);
            // The mean of each of four distributions over distances 0, 1, 2 …
            let logits = to.g.reshape(&table, &[0, -1, 4, bins as i64]);
            let shares = to.g.op("Softmax", &[&logits], vec![attr::int("axis", 3)]);
            let distances: Vec<f64> = (0..bins).map(|distance| distance as f64).collect();
            let distances = to.g.floats(ElemType::Float, &[bins as i64], &distances);
            let each = to.g.mul(&shares, &distances);
            means.push(to.g.reduce_sum(&each, &[3], false));
        }
        let mut places = Vec::new();
        for Level { stride, .. } in &self.levels {
            let [height, width] = grid(self.size, *stride);
            let centre = |cell: usize| (cell as f32 + self.centre) * *stride as f32;
            places.extend((0..height * width).map(|cell| [centre(cell % width), centre(cell / width), *stride as f32]));
        }
        let means = to.below(&means);
        Some(Emitted {
            pieces,
            columns: self.score_columns,
            scores: Columns::Classes { own: 0..self.classes, first: 0, all: 0..self.classes, objectness: None },
            says: self.says,
            corners: to.reaching(&means, &places),
            filled: None,
        })
    }
}
