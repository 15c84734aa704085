//! DETR and its kin, as Hugging Face names their outputs: `logits` `[N, queries, classes]` and `pred_boxes` `[N, queries, 4]` (centre, width
//! and height as shares of the input). One box a query, none suppressed.
//!
//! DETR itself has exclusive classes, the last of them "no object" (Carion et al. 2020, section 3). RT-DETR, D-FINE, RF-DETR, Deformable and
//! Conditional DETR have independent ones, without it.

use std::sync::Arc;

use super::{
    Columns, Detection, Detector, Emission, Emitted, Format, Lies, nodes,
    table::{ALL, Found, Says, Scores, Table, Values, called, corners, pixels, says, shared, surest},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "detr",
    about: "DETR, YOLOS, Table Transformer: logits of classes and of no object, boxes as shares of the input",
    recognise: exclusive,
};

pub(super) const INDEPENDENT: Format = Format {
    name: "rtdetr",
    about: "RT-DETR, D-FINE, RF-DETR, Deformable DETR: logits of independent classes, boxes as shares of the input",
    recognise: independent,
};

#[derive(Debug)]
struct Head {
    logits: Arc<str>,
    boxes: Arc<str>,
    classes: usize,
    says: Says,
    size: [usize; 2],
}

fn exclusive(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    recognise(context, true)
}

fn independent(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    recognise(context, false)
}

fn recognise(context: &Context<'_>, wanted: bool) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    // RF-DETR calls them `dets` and `labels`, the latter floats.
    let logits =
        settings.scores.as_deref().or_else(|| called(context, &["logits", "pred_logits", "class_logits", "labels"]))?;
    let boxes = settings.boxes.as_deref().or_else(|| called(context, &["pred_boxes", "dets"]))?;
    let (&[_, Some(queries), Some(columns)], &[_, Some(of_boxes), Some(4)]) =
        (&context.floats(logits)?[..], &context.floats(boxes)?[..])
    else {
        return None;
    };
    if queries != of_boxes || columns < 1 {
        return None;
    }
    let (is_exclusive, why) = match settings.format.as_deref() {
        Some(format) => (format == FORMAT.name, "[task] in the sidecar".to_owned()),
        None => kind(context, boxes, queries, columns),
    };
    if is_exclusive != wanted || (is_exclusive && columns < 2) {
        return None;
    }
    let (classes, says) = match is_exclusive {
        true => (columns - 1, Says::Softmax),
        false => (columns, says(context, logits, Says::Logits)),
    };
    let by = format!("its outputs' names, `{logits}` and `{boxes}`, and {why}");
    Some((Arc::new(Head { logits: shared(logits), boxes: shared(boxes), classes, says, size: context.size }), by))
}

/// Whether the last column means "no object", and how that is known.
fn kind(context: &Context<'_>, boxes: &str, queries: usize, columns: usize) -> (bool, String) {
    let labels = context.labels.len();
    if labels == columns {
        return (false, format!("{labels} labels for {columns} columns"));
    }
    if labels > 0 && labels + 1 == columns {
        return (true, format!("{labels} labels for {columns} columns: the last is no object"));
    }
    // OWL-ViT has as many columns as texts, Grounding DINO one for each token of the only text.
    if let Some(texts) = context.network.others().find(|input| input.name.contains("input_ids")) {
        let given = texts.value.as_ref().and_then(|value| value.shape().first().copied());
        let rows = given.or_else(|| texts.batch());
        let what = if rows.is_some_and(|rows| rows != columns) { "token" } else { "text" };
        return (false, format!("its input `{}`: a column for each {what}", texts.name));
    }
    let has = |op: &str| context.network.model.graph().node.iter().any(|node| node.op_type == op);
    match ["TopK", "GridSample"].into_iter().find(|op| has(op)) {
        Some(op) => (false, format!("its {op} nodes: independent classes")),
        // Boxes are offsets from reference points, taken through the inverse of the logistic function: Conditional and DAB-DETR.
        None if nodes::tail(context, boxes).contains("Log") => {
            (false, format!("the logarithms before `{boxes}`, of reference points: independent classes"))
        }
        None if queries >= 300 => (false, format!("its {queries} queries: independent classes")),
        None => (
            true,
            format!("its {queries} queries, without TopK or GridSample: the last of {columns} columns is no object"),
        ),
    }
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        vec![self.logits.to_string(), self.boxes.to_string()]
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::in_all_of(&*self.logits)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let all = 0..self.classes + usize::from(self.says == Says::Softmax);
        let table = Table::read(value, &self.logits, all.end)?;
        let boxes = Table::read(value, &self.boxes, 4)?;
        let scores = [Scores { table, says: self.says, classes: 0..self.classes, all }];
        let of = |found: Found| Detection {
            corners: pixels(corners(boxes.four(found.row, 0)), self.size),
            class: found.column,
            evidence: scores[0].evidence(found.row, found.column),
        };
        Ok(surest(&scores).into_iter().map(of).collect())
    }

    fn classes(&self) -> Option<super::ClassRow> {
        Some((super::table::classes_axis, 0..self.classes))
    }

    fn overlap(&self) -> Option<f32> {
        Some(ALL)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let all = 0..self.classes + usize::from(self.says == Says::Softmax);
        let boxes = to.table(&self.boxes, 4)?;
        Some(Emitted {
            pieces: vec![to.piece(&self.logits, all.end)?],
            columns: all.end,
            scores: Columns::Classes { own: 0..self.classes, first: 0, all, objectness: None },
            says: self.says,
            corners: to.boxed(&boxes),
            filled: None,
        })
    }
}
