//! SCRFD (Guo et al. 2021), InsightFace's detector: for each grid of 8, 16 and 32 pixels an output of scores `[cells × 2, 1]`, one of distances
//! to the four sides `[cells × 2, 4]` in strides, and perhaps one of landmarks `[cells × 2, 10]`; a batch may stand before. Two boxes a cell,
//! both from its upper left corner.

use std::sync::Arc;

use super::{
    Columns, Detection, Detector, Emission, Emitted, Format, Lies,
    table::{Found, Says, Scores, Table, Values, cells, extent, grid, says, shared, surest},
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
struct Level {
    scores: Arc<str>,
    boxes: Arc<str>,
    says: Says,
    stride: usize,
    anchors: usize,
}

#[derive(Debug)]
struct Head {
    levels: Vec<Level>,
    size: [usize; 2],
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let outputs = context.outputs();
    // Two boxes a cell of three grids, or one of five.
    let levels =
        [(2, &[8, 16, 32][..]), (1, &[8, 16, 32, 64, 128][..])].into_iter().find_map(|(anchors, strides)| {
            if outputs.len() != 2 * strides.len() && outputs.len() != 3 * strides.len() {
                return None;
            }
            strides.iter().map(|stride| level(context, anchors, *stride)).collect::<Option<Vec<_>>>()
        })?;
    let strides: Vec<String> = levels.iter().map(|level| level.stride.to_string()).collect();
    let by = format!("its outputs' shapes: scores and distances for grids of {} pixels", strides.join(", "));
    Some((Arc::new(Head { levels, size: context.size }), by))
}

fn level(context: &Context<'_>, anchors: usize, stride: usize) -> Option<Level> {
    let rows = anchors * cells(context.size, &[stride]);
    let with = |columns: usize| {
        let fits = |name: &&String| extent(context, name) == Some((rows, columns));
        match &context.outputs().iter().filter(fits).collect::<Vec<_>>()[..] {
            &[only] => Some(only),
            _ => None,
        }
    };
    let (scores, boxes) = (with(1)?, with(4)?);
    let says = says(context, scores, Says::Logits);
    Some(Level { scores: shared(scores), boxes: shared(boxes), says, stride, anchors })
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
            boxes.push(Table::read(value, &level.boxes, 4)?);
        }
        let of = |found: Found| {
            let Level { stride, anchors, .. } = self.levels[found.level];
            let [_, width] = grid(self.size, stride);
            let cell = found.row / anchors;
            let (x, y) = ((cell % width * stride) as f32, (cell / width * stride) as f32);
            let [left, top, right, bottom] = boxes[found.level].four(found.row, 0).map(|side| side * stride as f32);
            Detection {
                corners: [x - left, y - top, x + right, y + bottom],
                class: 0,
                evidence: scores[found.level].evidence(found.row, 0),
            }
        };
        Ok(surest(&scores).into_iter().map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let (mut pieces, mut corners) = (Vec::new(), Vec::new());
        for Level { scores, boxes, stride, anchors, .. } in &self.levels {
            pieces.push(to.piece(scores, 1)?);
            let [height, width] = grid(self.size, *stride);
            let place = |row: usize| {
                let cell = row / anchors;
                [(cell % width * stride) as f32, (cell / width * stride) as f32, *stride as f32]
            };
            let places: Vec<[f32; 3]> = (0..height * width * anchors).map(place).collect();
            let distances = to.table(boxes, 4)?;
            corners.push(to.reaching(&distances, &places));
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
