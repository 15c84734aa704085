//! Ultralytics YOLOv8 to v12 and YOLO11: one output `[N, 4 + C, M]`. Of each of M boxes the centre, width and height in the pixels of the
//! input, then a probability a class. Masks, key points and angles stand behind the classes.

use std::sync::Arc;

use ndarray::ArrayD;

use super::{Detection, Detector, Evidence, Format, Found};
use crate::{
    error::{Error, Result},
    task::{Context, Element},
};

pub(super) const FORMAT: Format =
    Format { name: "yolov8", about: "Ultralytics YOLOv8 to v12: [N, 4 + classes, boxes]", recognise };

/// Ultralytics' own default.
const OVERLAP: f32 = 0.7;

#[derive(Debug)]
struct Head {
    output: Arc<str>,
    classes: usize,
}

fn recognise(context: &Context<'_>) -> Option<Found> {
    let name = context.settings.output.as_ref().or_else(|| context.outputs().first())?;
    let shape = context.floats(name)?;
    let &[_, Some(rows), Some(boxes)] = &shape[..] else { return None };
    let task = context.metadata("task");
    let is_said = context.settings.format.is_some();
    let of_family = matches!(task, Some("detect" | "segment" | "pose" | "obb"));
    let is_grid = boxes == cells(context.size) && rows > 4;
    if rows < 5 || !(is_said || is_grid) || (rows > boxes && !of_family) {
        return None;
    }
    let behind = match task {
        Some("segment") => 32,
        Some("obb") => 1,
        _ => 0,
    };
    let named = context.labels.len();
    let classes = if (1..=rows - 4).contains(&named) { named } else { rows.checked_sub(4 + behind)? };
    let by = match task.filter(|_| of_family) {
        Some(task) => format!("its metadata (task = {task}) and the shape of `{name}`"),
        None => format!("the shape of `{name}`: a box for each cell of grids of 8, 16 and 32 pixels"),
    };
    Some((Arc::new(Head { output: name.as_str().into(), classes }), by))
}

/// How many cells the grids of 8, 16 and 32 pixels have.
pub(super) fn cells([height, width]: [usize; 2]) -> usize {
    [8, 16, 32].iter().map(|stride| height.div_ceil(*stride) * width.div_ceil(*stride)).sum()
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        vec![self.output.to_string()]
    }

    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
        let all = value(&self.output)?;
        let &[1, rows, boxes] = all.shape() else {
            return Err(Error::Value(format!(
                "`{}` has shape {:?}, not [1, 4 + classes, boxes]",
                self.output,
                all.shape()
            )));
        };
        if rows < 4 + self.classes {
            return Err(Error::Value(format!("`{}` has {rows} rows for {} classes", self.output, self.classes)));
        }
        let of = |at: usize| {
            let score = |class: usize| all[[0, 4 + class, at]];
            let class = (0..self.classes).fold(0, |best, class| if score(class) > score(best) { class } else { best });
            let [x, y, width, height] = [0, 1, 2, 3].map(|row| all[[0, row, at]]);
            let element = Element { value: Arc::clone(&self.output), at: vec![0, 4 + class, at] };
            Detection {
                corners: [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0],
                class,
                evidence: Evidence::Probabilities(vec![(element, score(class))]),
            }
        };
        Ok((0..boxes).map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }
}
