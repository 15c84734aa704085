//! MediaPipe's detectors (Bazarevsky et al., "BlazeFace", 2019): of faces `[N, M, 16]`, palms `[N, M, 18]` and bodies `[N, M, 12]` with `[N, M, 1]`
//! logits, joined or a pair a grid. A row is a box, centre, width and height in pixels of the input, the centre from the middle of its cell, and
//! key points. How many boxes a cell has is the kind's.

use std::sync::Arc;

use super::{
    Columns, Detection, Detector, Emission, Emitted, Format, Lies,
    table::{Found, Says, Scores, Table, Values, cells, corners, extent, grid, says, shared, surest},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "mediapipe",
    about: "MediaPipe's BlazeFace and its like: boxes with key points [N, M, 16] (faces), 18 (palms) or 12 (bodies) and scores [N, M, 1]",
    recognise,
};

/// MediaPipe's.
const OVERLAP: f32 = 0.3;

/// Columns of boxes with six, seven or four key points.
pub(super) const COLUMNS: [usize; 3] = [16, 18, 12];

/// Grids in pixels, each with its boxes a cell: `SsdAnchorsCalculator` with the options of the graphs of faces (near and in the back) and palms, of
/// bodies, and of faces at any distance.
const GRIDS: [&[(usize, usize)]; 4] = [&[(8, 2), (16, 6)], &[(16, 2), (32, 6)], &[(8, 2), (16, 2), (32, 6)], &[(4, 1)]];

#[derive(Debug)]
struct Level {
    scores: Arc<str>,
    boxes: Arc<str>,
    says: Says,
    /// The middle of the cell of each row, in pixels.
    middles: Vec<[f32; 2]>,
}

#[derive(Debug)]
struct Head {
    levels: Vec<Level>,
    /// The columns of its boxes.
    columns: usize,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let (columns, grids, levels) = COLUMNS.into_iter().find_map(|columns| {
        GRIDS.into_iter().find_map(|grids| Some((columns, grids, levels(context, columns, grids)?)))
    })?;
    let strides: Vec<String> = grids.iter().map(|(stride, each)| format!("{each} a cell of {stride} pixels")).collect();
    let by = format!("its outputs' shapes: boxes of {columns} numbers and a score, {}", strides.join(", "));
    Some((Arc::new(Head { levels, columns }), by))
}

/// All grids joined, or each with outputs of its own.
fn levels(context: &Context<'_>, columns: usize, grids: &[(usize, usize)]) -> Option<Vec<Level>> {
    let apart: Option<Vec<Level>> = grids.iter().map(|one| level(context, columns, &[*one])).collect();
    level(context, columns, grids).map(|joined| vec![joined]).or(apart)
}

fn level(context: &Context<'_>, columns: usize, grids: &[(usize, usize)]) -> Option<Level> {
    let rows = grids.iter().map(|(stride, each)| each * cells(context.size, &[*stride])).sum();
    let with = |columns: usize| {
        let fits = |name: &&String| {
            extent(context, name) == Some((rows, columns)) && context.floats(name).is_some_and(|shape| shape.len() == 3)
        };
        match &context.outputs().iter().filter(fits).collect::<Vec<_>>()[..] {
            &[only] => Some(only),
            _ => None,
        }
    };
    let (scores, boxes) = (with(1)?, with(columns)?);
    let says = says(context, scores, Says::Logits);
    Some(Level { scores: shared(scores), boxes: shared(boxes), says, middles: middles(context.size, grids) })
}

/// The middle of each row's cell.
fn middles(size: [usize; 2], grids: &[(usize, usize)]) -> Vec<[f32; 2]> {
    let of = |&(stride, each): &(usize, usize)| {
        let [height, width] = grid(size, stride);
        let middle = move |cell: usize| [cell % width, cell / width].map(|at| (at as f32 + 0.5) * stride as f32);
        (0..height * width * each).map(move |row| middle(row / each))
    };
    grids.iter().flat_map(of).collect()
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        self.levels.iter().flat_map(|level| [level.scores.to_string(), level.boxes.to_string()]).collect()
    }

    fn evidence(&self) -> Vec<Lies> {
        self.levels.iter().map(|level| Lies::in_all_of(&*level.scores)).collect()
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let (mut scores, mut boxes) = (Vec::new(), Vec::new());
        for level in &self.levels {
            let table = Table::read(value, &level.scores, 1)?;
            scores.push(Scores { table, says: level.says, classes: 0..1, all: 0..1 });
            boxes.push(Table::read(value, &level.boxes, self.columns)?);
        }
        let of = |found: Found| {
            let [across, down] = *self.levels[found.level].middles.get(found.row)?;
            let [x, y, width, height] = boxes[found.level].four(found.row, 0);
            Some(Detection {
                corners: corners([x + across, y + down, width, height]),
                class: 0,
                evidence: scores[found.level].evidence(found.row, 0),
            })
        };
        Ok(surest(&scores).into_iter().filter_map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let (mut pieces, mut corners) = (Vec::new(), Vec::new());
        for Level { scores, boxes, middles, .. } in &self.levels {
            pieces.push(to.piece(scores, 1)?);
            let table = to.table(boxes, self.columns)?;
            let (centre, sides) = (to.cut(&table, 0..2), to.cut(&table, 2..4));
            let middles = to.constant(middles.iter().copied());
            let centre = to.g.add(&centre, &middles);
            corners.push(to.around(&centre, &sides));
        }
        Some(Emitted {
            pieces,
            columns: 1,
            scores: Columns::Classes { own: 0..1, first: 0, all: 0..1, objectness: None },
            says: self.levels.first()?.says,
            corners: to.below(&corners),
            filled: None,
        })
    }
}
