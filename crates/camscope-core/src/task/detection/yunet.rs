//! YuNet (Wu et al. 2023), OpenCV's detector of faces: for each grid of 8, 16 and 32 pixels a table of class scores and one of objectness
//! `[N, cells, 1]`, one of boxes `[N, cells, 4]` and one of landmarks `[N, cells, 10]`. A box is its centre's offset from the cell's upper left corner
//! and the logarithms of its sides, in strides. OpenCV takes the root of the product of both scores.

use std::sync::Arc;

use super::{
    Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies, sigmoid,
    table::{Found, Says, Table, Values, cells, corners, extent, grid, says, shared, the_most},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "yunet",
    about: "YuNet (OpenCV): class scores, objectness, boxes and landmarks for each of the grids of 8, 16 and 32 pixels",
    recognise,
};

/// OpenCV's.
const OVERLAP: f32 = 0.3;

const STRIDES: [usize; 3] = [8, 16, 32];

#[derive(Debug)]
struct Level {
    stride: usize,
    /// Class scores and objectness.
    scores: [Arc<str>; 2],
    boxes: Arc<str>,
    are_logits: bool,
}

#[derive(Debug)]
struct Head {
    levels: Vec<Level>,
    size: [usize; 2],
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    if context.outputs().len() != 4 * STRIDES.len() {
        return None;
    }
    let levels = STRIDES.iter().map(|stride| level(context, *stride)).collect::<Option<Vec<_>>>()?;
    let by =
        "its outputs' shapes: two scores, a box and landmarks for each cell of grids of 8, 16 and 32 pixels".to_owned();
    Some((Arc::new(Head { levels, size: context.size }), by))
}

fn level(context: &Context<'_>, stride: usize) -> Option<Level> {
    let rows = cells(context.size, &[stride]);
    let with = |columns: usize| -> Vec<&String> {
        context.outputs().iter().filter(|name| extent(context, name) == Some((rows, columns))).collect()
    };
    match (&with(1)[..], &with(4)[..], with(10).len()) {
        (&[one, other], &[boxes], 1) => Some(Level {
            stride,
            scores: [shared(one), shared(other)],
            boxes: shared(boxes),
            are_logits: [one, other].into_iter().all(|name| says(context, name, Says::Logits) == Says::Logits),
        }),
        _ => None,
    }
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        let of = |level: &Level| [&level.scores[0], &level.scores[1], &level.boxes].map(|name| name.to_string());
        self.levels.iter().flat_map(of).collect()
    }

    fn evidence(&self) -> Vec<Lies> {
        self.levels.iter().flat_map(|level| &level.scores).map(|name| Lies::in_all_of(&**name)).collect()
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let (mut tables, mut found) = (Vec::new(), Vec::new());
        for (at, level) in self.levels.iter().enumerate() {
            let [one, other] = [&level.scores[0], &level.scores[1]].map(|name| Table::read(value, name, 1));
            let (one, other) = (one?, other?);
            let probability = |number: f32| if level.are_logits { sigmoid(number) } else { number };
            let both = |row: usize| probability(one.at(row, 0)) * probability(other.at(row, 0));
            found.extend((0..one.rows()).map(|row| (both(row), Found { level: at, row, column: 0 })));
            tables.push((one, other, Table::read(value, &level.boxes, 4)?));
        }
        let of = |found: Found| {
            let (level, (one, other, boxes)) = (&self.levels[found.level], &tables[found.level]);
            let stride = level.stride as f32;
            let [_, width] = grid(self.size, level.stride);
            let cell = [(found.row % width) as f32, (found.row / width) as f32];
            let [x, y, across, down] = boxes.four(found.row, 0);
            let centred = [x + cell[0], y + cell[1], across.exp(), down.exp()].map(|number| number * stride);
            let evidence = vec![one.element(found.row, 0), other.element(found.row, 0)];
            Detection { corners: corners(centred), class: 0, evidence: Evidence::several(evidence, level.are_logits) }
        };
        Ok(the_most(found).into_iter().map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let (mut pieces, mut corners) = (Vec::new(), Vec::new());
        for level in &self.levels {
            let [one, other] = [&level.scores[0], &level.scores[1]].map(|name| to.piece(name, 1));
            pieces.push(one?.beside(other?));
            let table = to.table(&level.boxes, 4)?;
            let [height, width] = grid(self.size, level.stride);
            let cells = to.constant((0..height * width).map(|row| [(row % width) as f32, (row / width) as f32]));
            let (centre, sides) = (to.cut(&table, 0..2), to.cut(&table, 2..4));
            let (centre, sides) = (to.g.add(&centre, &cells), to.g.unary("Exp", &sides));
            let around = to.around(&centre, &sides);
            corners.push(to.scale(&around, level.stride as f32));
        }
        let are_logits = self.levels.first()?.are_logits;
        Some(Emitted {
            pieces,
            columns: 2,
            scores: Columns::Classes { own: 0..1, first: 0, all: 0..1, objectness: Some(1) },
            says: if are_logits { Says::Logits } else { Says::Probabilities },
            corners: to.below(&corners),
            filled: None,
        })
    }
}
