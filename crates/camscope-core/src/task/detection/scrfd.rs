//! SCRFD (Guo et al. 2021), InsightFace's detector: for each grid of 8, 16 and 32 pixels an output of scores `[cells × 2, 1]`, one of distances
//! to the four sides `[cells × 2, 4]` in strides, and perhaps one of landmarks `[cells × 2, 10]`; a batch may stand before. Two boxes a cell,
//! both from its upper left corner.

use std::sync::Arc;

use super::{
    Detection, Detector, Emission, Emitted, Format, Lies,
    levels::{Level, Levels},
    table::{Values, cells, grid},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "scrfd",
    about: "SCRFD (InsightFace): scores and distances for each of the grids of 8, 16 and 32 pixels",
    recognise,
};

/// InsightFace's.
const OVERLAP: f32 = 0.4;

#[derive(Debug)]
struct Head {
    levels: Levels,
    /// The side of a level's cells, in pixels.
    strides: &'static [usize],
    /// How many boxes a cell has.
    anchors: usize,
    size: [usize; 2],
}

/// Boxes a cell, and grids: two of three, or one of five.
const GRIDS: [(usize, &[usize]); 2] = [(2, &[8, 16, 32]), (1, &[8, 16, 32, 64, 128])];

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let head = GRIDS.into_iter().find_map(|(anchors, strides)| head(context, anchors, strides))?;
    let strides: Vec<String> = head.strides.iter().map(usize::to_string).collect();
    let by = format!("its outputs' shapes: scores and distances for grids of {} pixels", strides.join(", "));
    Some((Arc::new(head), by))
}

fn head(context: &Context<'_>, anchors: usize, strides: &'static [usize]) -> Option<Head> {
    let outputs = context.outputs().len();
    if outputs != 2 * strides.len() && outputs != 3 * strides.len() {
        return None;
    }
    let level = |stride: &usize| Level::find(context, [anchors * cells(context.size, &[*stride]), 4], |_| true);
    let levels = strides.iter().map(level).collect::<Option<Vec<_>>>()?;
    Some(Head { levels: Levels { levels, columns: 4 }, strides, anchors, size: context.size })
}

impl Head {
    /// The upper left corner of the cell of a row, in pixels.
    fn corner(&self, level: usize, row: usize) -> [f32; 2] {
        let [_, width] = grid(self.size, self.strides[level]);
        let cell = row / self.anchors;
        [cell % width, cell / width].map(|at| (at * self.strides[level]) as f32)
    }
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        self.levels.reads()
    }

    fn evidence(&self) -> Vec<Lies> {
        self.levels.evidence()
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        self.levels.boxes(value, |found, distances| {
            let [x, y] = self.corner(found.level, found.row);
            let [left, top, right, bottom] = distances.map(|side| side * self.strides[found.level] as f32);
            Some([x - left, y - top, x + right, y + bottom])
        })
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        self.levels.emit(to, |to, level, distances| {
            let stride = self.strides[level];
            let [height, width] = grid(self.size, stride);
            let place = |row: usize| {
                let [x, y] = self.corner(level, row);
                [x, y, stride as f32]
            };
            let places: Vec<[f32; 3]> = (0..height * width * self.anchors).map(place).collect();
            to.reaching(distances, &places)
        })
    }
}
