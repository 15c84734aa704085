//! RT-DETR, D-FINE and DEIM as their repositories deploy them: inputs `images` and `orig_target_sizes` `[N, 2]` (width, height); outputs
//! `labels` `[N, K]` (integers), `boxes` `[N, K, 4]` (left, top, right, bottom in pixels of that size) and `scores` `[N, K]`.

use std::sync::Arc;

use super::{
    Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies,
    table::{Says, Table, Values, called, shared},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "rtdetr-deployed",
    about: "RT-DETR, D-FINE, DEIM with their post-processing: labels, boxes, scores, and the input orig_target_sizes",
    recognise,
};

/// The input that says which pixels boxes are given in.
const SIZE: &str = "orig_target_sizes";

#[derive(Debug)]
struct Head {
    labels: Arc<str>,
    boxes: Arc<str>,
    scores: Arc<str>,
    /// The network's pixels to a pixel of the size that was fed, across and down.
    scale: [f32; 2],
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    let labels = called(context, &["labels"])?;
    let boxes = settings.boxes.as_deref().or_else(|| called(context, &["boxes"]))?;
    let scores = settings.scores.as_deref().or_else(|| called(context, &["scores"]))?;
    let fed = context.network.others().find(|input| input.name == SIZE);
    let is_said = settings.format.is_some();
    let has_batch = context.floats(boxes)?.len() == 3 && context.floats(boxes)?.last() == Some(&Some(4));
    let are_rows = context.extents(labels)?.len() == 2 && context.floats(scores)?.len() == 2;
    if context.ty(labels)?.elem.is_float() || !has_batch || !are_rows || !(is_said || fed.is_some()) {
        return None;
    }
    let size = fed.and_then(|input| input.value.as_ref()).map(|value| value.iter().copied().collect::<Vec<_>>());
    let [height, width] = context.size.map(|side| side as f32);
    let scale = match size.as_deref() {
        Some(&[across, down, ..]) if across > 0.0 && down > 0.0 => [width / across, height / down],
        _ => [1.0, 1.0],
    };
    let by = format!("its outputs' names, `{labels}`, `{boxes}`, `{scores}`, and its input `{SIZE}`");
    Some((Arc::new(Head { labels: shared(labels), boxes: shared(boxes), scores: shared(scores), scale }), by))
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        [&self.labels, &self.boxes, &self.scores].map(|name| name.to_string()).to_vec()
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::in_all_of(&*self.scores)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let labels = Table::read(value, &self.labels, 1)?;
        let boxes = Table::read(value, &self.boxes, 4)?;
        let scores = Table::read(value, &self.scores, 1)?;
        let [across, down] = self.scale;
        let of = |at: usize| {
            let [left, top, right, bottom] = boxes.four(at, 0);
            Detection {
                corners: [left * across, top * down, right * across, bottom * down],
                class: labels.at(at, 0).max(0.0) as usize,
                evidence: Evidence::Probabilities(vec![scores.element(at, 0)]),
            }
        };
        Ok((0..boxes.rows().min(scores.rows()).min(labels.rows())).map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        None
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let class = to.row(&self.labels)?;
        Some(Emitted {
            pieces: vec![to.piece(&self.scores, 1)?],
            columns: 1,
            scores: Columns::Given { score: 0, classes: to.classes(&class) },
            says: Says::Probabilities,
            corners: to.table(&self.boxes, 4)?,
            filled: None,
        })
    }
}
