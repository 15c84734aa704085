//! RetinaFace (Deng et al. 2019) as its PyTorch port exports it: `[N, M, 4]` offsets from priors, `[N, M, 2]` scores (background, face) and
//! `[N, M, 10]` landmarks. The priors are two squares a cell of the grids of 8, 16 and 32 pixels.

use std::sync::Arc;

use super::{
    Columns, Detection, Detector, Emission, Emitted, Format, Lies,
    ssd::{emit_from_priors, from_prior},
    table::{Found, Says, Scores, Table, Values, behind_background, cells, extent, grid, pixels, says, shared, surest},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "retinaface",
    about: "RetinaFace: boxes, scores and landmarks of squares at 8, 16 and 32 pixels",
    recognise,
};

/// Its port's.
const OVERLAP: f32 = 0.4;

/// Grids and the sides of their priors, in pixels.
const PRIORS: [(usize, [f32; 2]); 3] = [(8, [16.0, 32.0]), (16, [64.0, 128.0]), (32, [256.0, 512.0])];

#[derive(Debug)]
struct Head {
    boxes: Arc<str>,
    scores: Arc<str>,
    says: Says,
    less: usize,
    size: [usize; 2],
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    let rows = 2 * cells(context.size, &[8, 16, 32]);
    let with = |columns: usize| {
        let fits = |name: &&str| {
            let shape = context.floats(name);
            shape.is_some_and(|shape| shape.len() == 3) && extent(context, name) == Some((rows, columns))
        };
        match &context.outputs().iter().map(String::as_str).filter(fits).collect::<Vec<_>>()[..] {
            &[only] => Some(only),
            _ => None,
        }
    };
    let boxes = settings.boxes.as_deref().or_else(|| with(4))?;
    let scores = settings.scores.as_deref().or_else(|| with(2))?;
    let is_said = settings.format.is_some();
    let fits = extent(context, boxes) == Some((rows, 4)) && extent(context, scores) == Some((rows, 2));
    if !fits || !(is_said || with(10).is_some()) {
        return None;
    }
    let by = format!("its outputs' shapes: of each of {rows} priors four numbers, two and ten");
    let less = behind_background(context.labels, 2);
    let says = says(context, scores, Says::Softmax);
    Some((Arc::new(Head { boxes: shared(boxes), scores: shared(scores), says, less, size: context.size }), by))
}

/// The priors, as shares of the input: centre, width and height.
fn priors(size: [usize; 2]) -> Vec<[f32; 4]> {
    let (down, across) = (size[0] as f32, size[1] as f32);
    let mut all = Vec::new();
    for (stride, sides) in PRIORS {
        let [height, width] = grid(size, stride);
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let centre = |cell: usize| (cell as f32 + 0.5) * stride as f32;
            all.extend(sides.map(|side| [centre(x) / across, centre(y) / down, side / across, side / down]));
        }
    }
    all
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        vec![self.scores.to_string(), self.boxes.to_string()]
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::in_all_of(&*self.scores)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let table = Table::read(value, &self.scores, 2)?;
        let boxes = Table::read(value, &self.boxes, 4)?;
        let priors = priors(self.size);
        let scores = [Scores { table, says: self.says, classes: 1..2, all: 0..2 }];
        let of = |found: Found| {
            let prior = priors.get(found.row)?;
            Some(Detection {
                corners: pixels(from_prior(boxes.four(found.row, 0), *prior), self.size),
                class: found.column - self.less,
                evidence: scores[0].evidence(found.row, found.column),
            })
        };
        Ok(surest(&scores).into_iter().filter_map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let boxes = to.table(&self.boxes, 4)?;
        let priors = to.constant(priors(self.size));
        Some(Emitted {
            pieces: vec![to.piece(&self.scores, 2)?],
            columns: 2,
            scores: Columns::Classes { own: 1..2, first: 1 - self.less, all: 0..2, objectness: None },
            says: self.says,
            corners: emit_from_priors(to, &boxes, &priors),
            filled: None,
        })
    }
}
