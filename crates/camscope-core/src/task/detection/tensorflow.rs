//! TensorFlow's Object Detection API: `detection_boxes` `[N, K, 4]` (top, left, bottom, right as shares of the input),
//! `detection_scores` `[N, K]`, `detection_classes` `[N, K]` (from 1) and `num_detections` `[N]`, chosen by the model already.

use std::sync::Arc;

use onnx_grad::{ElemType, Val};

use super::{
    Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies,
    table::{Says, Table, Values, called, pixels, shared},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "tensorflow",
    about: "TensorFlow's detection_boxes, detection_scores, detection_classes",
    recognise,
};

#[derive(Debug)]
struct Head {
    boxes: Arc<str>,
    scores: Arc<str>,
    classes: Arc<str>,
    count: Option<Arc<str>>,
    size: [usize; 2],
    /// By how much a class's number is less than what the model says.
    less: usize,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    let boxes = settings.boxes.as_deref().or_else(|| called(context, &["detection_boxes"]))?;
    let scores = settings.scores.as_deref().or_else(|| called(context, &["detection_scores"]))?;
    let classes = called(context, &["detection_classes"])?;
    if context.floats(boxes)?.last() != Some(&Some(4)) || context.floats(scores)?.len() != 2 {
        return None;
    }
    let count = called(context, &["num_detections"]).map(shared);
    // COCO's numbers begin at 1. Lists of labels do too where they name what 0 is.
    let names = context.labels.names();
    let has_background = names.first().is_some_and(|first| is_background(first));
    let less = usize::from(!names.is_empty() && !has_background);
    let by = format!("its outputs' names, `{boxes}`, `{scores}`, `{classes}`");
    let (boxes, scores, classes) = (shared(boxes), shared(scores), shared(classes));
    Some((Arc::new(Head { boxes, scores, classes, count, size: context.size, less }), by))
}

/// Whether a label names no class.
fn is_background(label: &str) -> bool {
    matches!(label.trim().to_ascii_lowercase().as_str(), "background" | "__background__" | "n/a" | "???" | "unlabeled")
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        [&self.boxes, &self.scores, &self.classes].into_iter().chain(&self.count).map(|name| name.to_string()).collect()
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::in_all_of(&*self.scores)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let boxes = Table::read(value, &self.boxes, 4)?;
        let scores = Table::read(value, &self.scores, 1)?;
        let classes = Table::read(value, &self.classes, 1)?;
        let said = match &self.count {
            Some(count) => value(count)?.first().map_or(usize::MAX, |count| count.max(0.0) as usize),
            None => usize::MAX,
        };
        let count = boxes.rows().min(scores.rows()).min(classes.rows()).min(said);
        let of = |at: usize| {
            let [top, left, bottom, right] = boxes.four(at, 0);
            Detection {
                corners: pixels([left, top, right, bottom], self.size),
                class: (classes.at(at, 0).max(0.0) as usize).saturating_sub(self.less),
                evidence: Evidence::Probabilities(vec![scores.element(at, 0)]),
            }
        };
        Ok((0..count).map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        None
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let corners = to.table(&self.boxes, 4)?;
        let class = to.row(&self.classes)?;
        let first = to.g.int(self.less as i64);
        let classes = to.classes(&class);
        let classes = to.g.sub(&classes, &first);
        let filled = match &self.count {
            Some(count) => {
                // `[N]` or `[N, 1]`, as a column.
                let count = to.g.cast(&Val::new(count), ElemType::Int64);
                let count = to.g.reshape(&count, &[-1, 1]);
                let boxes = to.extent(&class, 1);
                let places = to.range(&boxes);
                Some(to.g.binary("Less", &places, &count))
            }
            None => None,
        };
        Some(Emitted {
            pieces: vec![to.piece(&self.scores, 1)?],
            columns: 1,
            scores: Columns::Given { score: 0, classes },
            says: Says::Probabilities,
            corners,
            filled,
        })
    }
}
