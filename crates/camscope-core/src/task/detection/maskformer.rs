//! MaskFormer, Mask2Former, OneFormer and EoMT, as Hugging Face names their outputs: `class_queries_logits` `[N, queries, classes + 1]`, the
//! last of them "no object", and `masks_queries_logits` `[N, queries, height, width]`, a mask a query. Channels of the masks are queries and
//! no classes. A box is what lies around its query's mask.

use std::sync::Arc;

use onnx_grad::{ElemType, Val};

use super::{
    Columns, Detection, Detector, Emission, Emitted, Format, Lies,
    table::{ALL, Found, Says, Scores, Table, Values, called, is_sigmoid, pixels, shared, surest},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format = Format {
    name: "maskformer",
    about: "MaskFormer, Mask2Former, OneFormer: logits of classes and of no object, a mask a query",
    recognise,
};

#[derive(Debug)]
struct Head {
    logits: Arc<str>,
    masks: Arc<str>,
    queries: usize,
    classes: usize,
    /// A pixel is of the mask above this number.
    above: f32,
    size: [usize; 2],
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    let logits = settings.scores.as_deref().or_else(|| called(context, &["class_queries_logits", "pred_logits"]))?;
    let masks = settings.boxes.as_deref().or_else(|| called(context, &["masks_queries_logits", "pred_masks"]))?;
    let (&[_, Some(queries), Some(columns)], &[_, Some(of_masks), Some(_), Some(_)]) =
        (&context.floats(logits)?[..], &context.floats(masks)?[..])
    else {
        return None;
    };
    if queries != of_masks || columns < 2 {
        return None;
    }
    let above = if is_sigmoid(context, masks) { 0.5 } else { 0.0 };
    let by = format!(
        "its outputs' names, `{logits}` and `{masks}`, with a mask for each of {queries} queries: the last of {columns} columns is no object"
    );
    let (logits, masks) = (shared(logits), shared(masks));
    Some((Arc::new(Head { logits, masks, queries, classes: columns - 1, above, size: context.size }), by))
}

/// Left, top, right and bottom of the mask of a query, as shares of the image; `None` where no pixel is of it.
fn around(masks: &Table, query: usize, above: f32) -> Option<[f32; 4]> {
    let [height, width] = masks.sides()?;
    let inside = || (0..height * width).filter(|cell| masks.at(*cell, query) > above);
    let across = |share: usize| share as f32 / width as f32;
    let down = |share: usize| share as f32 / height as f32;
    let left = inside().map(|cell| cell % width).min()?;
    let right = inside().map(|cell| cell % width).max()? + 1;
    let (top, bottom) = (inside().next()? / width, inside().next_back()? / width + 1);
    Some([across(left), down(top), across(right), down(bottom)])
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        vec![self.logits.to_string(), self.masks.to_string()]
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::in_all_of(&*self.logits)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let all = 0..self.classes + 1;
        let table = Table::read(value, &self.logits, all.end)?;
        let masks = Table::read(value, &self.masks, self.queries)?;
        let scores = [Scores { table, says: Says::Softmax, classes: 0..self.classes, all }];
        let of = |found: Found| {
            Some(Detection {
                corners: pixels(around(&masks, found.row, self.above)?, self.size),
                class: found.column,
                evidence: scores[0].evidence(found.row, found.column),
            })
        };
        Ok(surest(&scores).into_iter().filter_map(of).collect())
    }

    fn classes(&self) -> Option<super::ClassRow> {
        Some((super::table::classes_axis, 0..self.classes))
    }

    fn overlap(&self) -> Option<f32> {
        Some(ALL)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let &[_, _, Some(height), Some(width)] = &to.extents(&self.masks)?[..] else { return None };
        let above = to.g.scalar(ElemType::Float, f64::from(self.above));
        let inside = to.g.binary("Greater", &Val::new(&self.masks), &above);
        let inside = to.g.cast(&inside, ElemType::Float);
        let half = to.g.scalar(ElemType::Float, 0.5);
        // Of the rows, or of the columns, the first and the last that have something of the mask.
        let mut ends = |axis: i64, count: usize| {
            let any = to.g.reduce("ReduceMax", &inside, &[axis], false);
            let any = to.g.binary("Greater", &any, &half);
            let row = |first: usize| (first..first + count).map(|at| at as f64).collect::<Vec<_>>();
            let (firsts, lasts) = (row(0), row(1));
            let [from, end] = [firsts, lasts].map(|numbers| to.g.floats(ElemType::Float, &[count as i64], &numbers));
            let (beyond, none) = (to.g.scalar(ElemType::Float, count as f64), to.g.scalar(ElemType::Float, 0.0));
            let from = to.g.where_(&any, &from, &beyond);
            let end = to.g.where_(&any, &end, &none);
            [to.g.reduce("ReduceMin", &from, &[2], true), to.g.reduce("ReduceMax", &end, &[2], true)]
        };
        let ([top, bottom], [left, right]) = (ends(3, height), ends(2, width));
        let corners = to.g.concat(&[&left, &top, &right, &bottom], 2);
        let is_any = to.g.binary("Greater", &right, &left);
        let columns = self.classes + 1;
        Some(Emitted {
            pieces: vec![to.piece(&self.logits, columns)?],
            columns,
            scores: Columns::Classes { own: 0..self.classes, first: 0, all: 0..columns, objectness: None },
            says: Says::Softmax,
            corners,
            filled: Some(to.g.squeeze(&is_any, &[2])),
        })
    }
}
