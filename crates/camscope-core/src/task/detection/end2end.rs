//! Detectors that choose among their boxes themselves, as YOLOv10 does and Ultralytics exports with `nms=True` or `end2end=True`: one output
//! `[N, K, 6]`. Of each of K boxes left, top, right, bottom in the pixels of the input, its score and its class. Masks, key points and angles
//! stand behind. Places that are not filled are zero.

use std::sync::Arc;

use ndarray::ArrayD;

use super::{Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies, Says, nodes, yolov8};
use crate::{
    error::{Error, Result},
    task::{Context, Element},
};

pub(super) const FORMAT: Format =
    Format { name: "end2end", about: "YOLOv10, Ultralytics with nms=True: [N, boxes, 6]", recognise };

/// More boxes than a detector keeps.
const MOST: usize = 2000;

#[derive(Debug)]
struct Head {
    output: Arc<str>,
    has_logits: bool,
    /// Whether boxes are turned, and the last number is the angle in radians: then there stand centre, width and height.
    has_angle: bool,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let name = context.settings.output.as_ref().or_else(|| context.outputs().first())?;
    let shape = context.floats(name)?;
    let &[_, boxes, Some(columns)] = &shape[..] else { return None };
    if columns < 6 {
        return None;
    }
    let task = context.metadata("task").filter(|task| yolov8::of_family(task));
    let fits = columns == 6 + yolov8::behind(context, task) && boxes.is_none_or(|boxes| boxes <= MOST);
    // Turned boxes are compared by matrices of overlaps; six numbers alone could be two classes of a transformer, which has a TopK too.
    let compares = || task.is_some() && columns > 6 && nodes::has(context, "TopK");
    let chooses =
        || nodes::has(context, "NonMaxSuppression") || nodes::tail(context, name).contains("TopK") || compares();
    if context.settings.format.is_none() && !(fits && chooses()) {
        return None;
    }
    let by = match task {
        Some(task) => {
            format!("its metadata (task = {task}), the shape of `{name}`, and that its last nodes choose among boxes")
        }
        None => format!("the shape of `{name}`, and that its last nodes choose among boxes"),
    };
    let head = Head {
        output: name.as_str().into(),
        has_logits: !nodes::has_sigmoid(context, name),
        has_angle: task == Some("obb") && columns > 6,
    };
    Some((Arc::new(head), by))
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        vec![self.output.to_string()]
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::along(&*self.output, 2, 4..5)]
    }

    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
        let all = value(&self.output)?;
        let &[1, boxes, columns] = all.shape() else {
            return Err(Error::Value(format!("`{}` has shape {:?}, not [1, boxes, 6]", self.output, all.shape())));
        };
        if columns < 6 {
            return Err(Error::Value(format!("`{}` has {columns} numbers a box instead of 6", self.output)));
        }
        let of = |at: usize| {
            let given = [0, 1, 2, 3].map(|column| all[[0, at, column]]);
            let (score, class) = (all[[0, at, 4]], all[[0, at, 5]]);
            // Boxes that were covered have a score of zero, as has what fills up.
            let is_filled = class >= 0.0 && score != 0.0;
            let element = Element { value: Arc::clone(&self.output), at: vec![0, at, 4] };
            let corners = match self.has_angle {
                true => {
                    let size = yolov8::enclosing([given[2], given[3]], all[[0, at, columns - 1]]);
                    yolov8::around([given[0], given[1]], size)
                }
                false => given,
            };
            let evidence = Evidence::one((element, score), self.has_logits);
            is_filled.then(|| Detection { corners, class: class.round() as usize, evidence })
        };
        Ok((0..boxes).filter_map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        None
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let columns = to.columns(&self.output)?;
        let table = to.table(&self.output, columns)?;
        let corners = match self.has_angle {
            true => {
                let (centre, sides, angle) =
                    (to.cut(&table, 0..2), to.cut(&table, 2..4), to.cut(&table, columns - 1..columns));
                let sides = yolov8::emit_enclosing(to, &sides, &angle);
                to.around(&centre, &sides)
            }
            false => to.cut(&table, 0..4),
        };
        let (score, class) = (to.column(&table, 4), to.column(&table, 5));
        let filled = to.filled(&score, &class);
        Some(Emitted {
            pieces: vec![to.piece(&self.output, columns)?],
            columns,
            scores: Columns::Given { score: 4, classes: to.classes(&class) },
            says: if self.has_logits { Says::Logits } else { Says::Probabilities },
            corners,
            filled: Some(filled),
        })
    }
}
