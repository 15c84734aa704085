//! MediaPipe's detectors (Bazarevsky et al., "BlazeFace", 2019): of faces `[N, M, 16]`, palms `[N, M, 18]` and bodies `[N, M, 12]` with `[N, M, 1]`
//! logits, joined or a pair a grid. A row is a box, centre, width and height in pixels of the input, the centre from the middle of its cell, and
//! key points. How many boxes a cell has is the kind's.

use std::sync::Arc;

use super::{
    Detection, Detector, Emission, Emitted, Format, Lies,
    levels::{Level, Levels},
    table::{Values, cells, corners, grid},
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
struct Head {
    levels: Levels,
    /// Of each level the middle of each row's cell, in pixels.
    middles: Vec<Vec<[f32; 2]>>,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let (grids, head) = COLUMNS
        .into_iter()
        .find_map(|columns| GRIDS.into_iter().find_map(|grids| Some((grids, head(context, columns, grids)?))))?;
    let strides: Vec<String> = grids.iter().map(|(stride, each)| format!("{each} a cell of {stride} pixels")).collect();
    let columns = head.levels.columns;
    let by = format!("its outputs' shapes: boxes of {columns} numbers and a score, {}", strides.join(", "));
    Some((Arc::new(head), by))
}

/// All grids joined, or each with outputs of its own.
fn head(context: &Context<'_>, columns: usize, grids: &[(usize, usize)]) -> Option<Head> {
    let level = |grids: &[(usize, usize)]| {
        let rows = grids.iter().map(|(stride, each)| each * cells(context.size, &[*stride])).sum();
        let has_batch = |name: &str| context.floats(name).is_some_and(|shape| shape.len() == 3);
        Some((Level::find(context, [rows, columns], has_batch)?, middles(context.size, grids)))
    };
    let apart = || grids.iter().map(|one| level(&[*one])).collect::<Option<Vec<_>>>();
    let (levels, middles) = level(grids).map(|joined| vec![joined]).or_else(apart)?.into_iter().unzip();
    Some(Head { levels: Levels { levels, columns }, middles })
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
        self.levels.reads()
    }

    fn evidence(&self) -> Vec<Lies> {
        self.levels.evidence()
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        self.levels.boxes(value, |found, [x, y, width, height]| {
            let [across, down] = *self.middles[found.level].get(found.row)?;
            Some(corners([x + across, y + down, width, height]))
        })
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        self.levels.emit(to, |to, level, table| {
            let (centre, sides) = (to.cut(table, 0..2), to.cut(table, 2..4));
            let middles = to.constant(self.middles[level].iter().copied());
            let centre = to.g.add(&centre, &middles);
            to.around(&centre, &sides)
        })
    }
}
