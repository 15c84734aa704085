//! Which segment lies where in a photo.

use ndarray::Array2;

use super::{Explainer, Forward};
use crate::{error::Result, image::Seen};

/// What a model for segmentation gives each place of a photo to.
#[derive(Clone, Debug, PartialEq)]
pub struct Segments {
    /// The class of each cell, row by row; `None` where it has none.
    cells: Array2<Option<usize>>,
    /// The rectangle of the photo that the cells cover.
    seen: Seen,
    /// Each class as `--target` takes it.
    specs: Vec<String>,
}

impl Segments {
    /// The segment at a point of the photo, x and y in its pixels, as `--target` takes it; `None` where there is none.
    pub fn at(&self, [x, y]: [f64; 2]) -> Option<&str> {
        let (rows, columns) = self.cells.dim();
        let cell = |at: f64, count: usize| (0.0..1.0).contains(&at).then_some((at * count as f64) as usize);
        let row = cell((y - self.seen.y) / self.seen.height, rows)?;
        let column = cell((x - self.seen.x) / self.seen.width, columns)?;
        self.specs.get((*self.cells.get([row, column])?)?).map(String::as_str)
    }
}

impl Explainer {
    /// What an image of a run is divided into; `None` where the model gives pixels no class.
    ///
    /// # Errors
    /// The output is not as it was recognised.
    pub fn segments(&self, forward: &Forward, image: usize) -> Result<Option<Segments>> {
        let is_labelled =
            self.network().task.as_ref().and_then(|found| found.task.map()).is_some_and(|map| map.is_labelled());
        if !is_labelled {
            return Ok(None);
        }
        self.answer(forward, image, |answer| {
            let map = answer.segments()?;
            let grid = map.grid(answer.output)?;
            let of_cell = |(row, column)| {
                let class = grid.likeliest([row, column]);
                grid.is_of(class, [row, column]).then_some(class)
            };
            Ok(Some(Segments {
                cells: Array2::from_shape_fn((grid.height, grid.width), of_cell),
                seen: answer.viewport.seen,
                specs: (0..map.classes()).map(|class| format!("segment:{}", map.written(class))).collect(),
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_point_of_the_photo_is_in_a_cell() {
        let cells = array![[Some(0), Some(1)], [None, Some(1)]];
        let seen = Seen { x: 10.0, y: 0.0, width: 20.0, height: 40.0 };
        let segments = Segments { cells, seen, specs: vec!["segment:sky".into(), "segment:1".into()] };
        assert_eq!(segments.at([10.0, 0.0]), Some("segment:sky"));
        assert_eq!(segments.at([29.9, 39.9]), Some("segment:1"));
        for outside in [[9.9, 5.0], [30.0, 5.0], [12.0, 40.0], [12.0, 30.0], [f64::NAN, 1.0]] {
            assert_eq!(segments.at(outside), None, "{outside:?}");
        }
    }
}
