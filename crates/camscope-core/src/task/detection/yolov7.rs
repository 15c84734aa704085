//! YOLOv7 as its own script exports it with the suppression inside (`--end2end --max-wh`): one output `[boxes, 7]`. Of each box the image that
//! it is in, left, top, right, bottom in the pixels of the input, its class, and its score.

use std::sync::Arc;

use ndarray::ArrayD;
use onnx_grad::ElemType;

use super::{Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies, Says, nodes};
use crate::{
    error::{Error, Result},
    task::{Context, Element},
};

pub(super) const FORMAT: Format =
    Format { name: "yolov7", about: "YOLOv7 with the suppression inside: [boxes, 7]", recognise };

#[derive(Debug)]
struct Head {
    output: Arc<str>,
    has_logits: bool,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let name = context.settings.output.as_ref().or_else(|| context.outputs().first())?;
    let shape = context.floats(name)?;
    // What a suppression leaves has no size before it runs.
    let &[boxes, columns] = &shape[..] else { return None };
    let is_said = context.settings.format.is_some();
    if columns.unwrap_or(joined(context, name)) != 7
        || (!is_said && (boxes.is_some() || !nodes::has(context, "NonMaxSuppression")))
    {
        return None;
    }
    let by = format!("the shape of `{name}`, seven numbers a box, and the suppression inside");
    Some((Arc::new(Head { output: name.as_str().into(), has_logits: !nodes::has_sigmoid(context, name) }), by))
}

/// How many columns the parts have that a table is joined of.
fn joined(context: &Context<'_>, name: &str) -> usize {
    nodes::parts(context, name, 1).iter().map(|part| part.size).sum()
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        vec![self.output.to_string()]
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::along(&*self.output, 1, 6..7)]
    }

    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
        let all = value(&self.output)?;
        let &[boxes, 7] = all.shape() else {
            return Err(Error::Value(format!("`{}` has shape {:?}, not [boxes, 7]", self.output, all.shape())));
        };
        let of = |at: usize| {
            let element = Element { value: Arc::clone(&self.output), at: vec![at, 6] };
            Detection {
                corners: [1, 2, 3, 4].map(|column| all[[at, column]]),
                class: all[[at, 5]].round().max(0.0) as usize,
                evidence: Evidence::one((element, all[[at, 6]]), self.has_logits),
            }
        };
        // One image runs at a time.
        Ok((0..boxes).filter(|at| all[[*at, 0]] == 0.0).map(of).collect())
    }

    fn overlap(&self) -> Option<f32> {
        None
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let table = to.table(&self.output, 7)?;
        let (image, class) = (to.column(&table, 0), to.column(&table, 5));
        let zero = to.g.scalar(ElemType::Float, 0.0);
        Some(Emitted {
            pieces: vec![to.piece(&self.output, 7)?],
            columns: 7,
            scores: Columns::Given { score: 6, classes: to.classes(&class) },
            says: if self.has_logits { Says::Logits } else { Says::Probabilities },
            corners: to.cut(&table, 1..5),
            // One image runs at a time.
            filled: Some(to.g.binary("Equal", &image, &zero)),
        })
    }
}
