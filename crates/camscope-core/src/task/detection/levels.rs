//! Levels of detectors of one class: for each an output of scores, `[rows, 1]`, and one of boxes, `[rows, columns]`, a row a box in the order of the
//! cells; a batch may stand before. Where a row's box lies is the format's own.

use std::sync::Arc;

use onnx_grad::Val;

use super::{
    Columns, Detection, Emission, Emitted, Lies,
    table::{Found, Says, Scores, Table, Values, extent, says, shared, surest},
};
use crate::{error::Result, task::Context};

/// The outputs of one level.
#[derive(Debug)]
pub(super) struct Level {
    scores: Arc<str>,
    boxes: Arc<str>,
    says: Says,
}

/// All levels of a head.
#[derive(Debug)]
pub(super) struct Levels {
    pub(super) levels: Vec<Level>,
    /// The columns of its boxes; the first four are the box's.
    pub(super) columns: usize,
}

impl Level {
    /// The only output of so many rows and one column, and the only one of so many columns, among those that `fits`.
    pub(super) fn find(
        context: &Context<'_>,
        [rows, columns]: [usize; 2],
        fits: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let with = |columns: usize| {
            let is_it = |name: &&String| extent(context, name) == Some((rows, columns)) && fits(name);
            match &context.outputs().iter().filter(is_it).collect::<Vec<_>>()[..] {
                &[only] => Some(only),
                _ => None,
            }
        };
        let (scores, boxes) = (with(1)?, with(columns)?);
        Some(Self { scores: shared(scores), boxes: shared(boxes), says: says(context, scores, Says::Logits) })
    }
}

impl Levels {
    pub(super) fn reads(&self) -> Vec<String> {
        self.levels.iter().flat_map(|level| [level.scores.to_string(), level.boxes.to_string()]).collect()
    }

    pub(super) fn evidence(&self) -> Vec<Lies> {
        self.levels.iter().map(|level| Lies::in_all_of(&*level.scores)).collect()
    }

    /// The surest boxes; `corners` makes a box's of its first four columns, `None` where its row has no place.
    ///
    /// # Errors
    /// The outputs have other shapes.
    pub(super) fn boxes(
        &self,
        value: Values<'_>,
        corners: impl Fn(&Found, [f32; 4]) -> Option<[f32; 4]>,
    ) -> Result<Vec<Detection>> {
        let (mut scores, mut boxes) = (Vec::new(), Vec::new());
        for level in &self.levels {
            let table = Table::read(value, &level.scores, 1)?;
            scores.push(Scores { table, says: level.says, classes: 0..1, all: 0..1 });
            boxes.push(Table::read(value, &level.boxes, self.columns)?);
        }
        let of = |found: Found| {
            let corners = corners(&found, boxes[found.level].four(found.row, 0))?;
            Some(Detection { corners, class: 0, evidence: scores[found.level].evidence(found.row, 0) })
        };
        Ok(surest(&scores).into_iter().filter_map(of).collect())
    }

    /// The same in a graph; `corners` makes those of a level of its table of boxes.
    pub(super) fn emit(
        &self,
        to: &mut Emission<'_>,
        corners: impl Fn(&mut Emission<'_>, usize, &Val) -> Val,
    ) -> Option<Emitted> {
        let (mut pieces, mut all) = (Vec::new(), Vec::new());
        for (at, level) in self.levels.iter().enumerate() {
            pieces.push(to.piece(&level.scores, 1)?);
            let table = to.table(&level.boxes, self.columns)?;
            all.push(corners(to, at, &table));
        }
        Some(Emitted {
            pieces,
            columns: 1,
            scores: Columns::Classes { own: 0..1, first: 0, all: 0..1, objectness: None },
            says: self.levels.first()?.says,
            corners: to.below(&all),
            filled: None,
        })
    }
}
