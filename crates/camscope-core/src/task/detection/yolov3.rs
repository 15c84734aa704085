//! YOLOv3 and its tiny kin as the ONNX zoo has them, from Keras: boxes `[N, M, 4]` (top, left, bottom, right, in the pixels of the size that the input
//! `image_shape` says), scores `[N, C, M]`, and the selected ones, `[K, 3]` or `[N, K, 3]`: the image, the class, and which of the boxes.

use std::sync::Arc;

use ndarray::{ArrayD, Axis, Ix2};
use onnx_grad::{ElemType, Val, attr};

use super::{
    Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies,
    table::{Says, Table, Values, shared},
};
use crate::{
    error::{Error, Result},
    task::{Context, Element},
};

pub(super) const FORMAT: Format = Format {
    name: "yolov3",
    about: "YOLOv3 of the ONNX zoo: boxes [N, M, 4], scores [N, C, M], indices [K, 3]",
    recognise,
};

/// The input that says which pixels boxes are given in: height, width.
const SIZE: &str = "image_shape";

#[derive(Debug)]
struct Head {
    boxes: Arc<str>,
    scores: Arc<str>,
    indices: Arc<str>,
    /// The network's pixels to one of the box's, across and down.
    scale: [f32; 2],
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let fed = context.network.others().find(|input| input.name == SIZE);
    if fed.is_none() && context.settings.format.is_none() {
        return None;
    }
    let [boxes, scores, indices] = context.outputs() else { return None };
    let last = |name: &str| context.extents(name).map(|shape| (shape.len(), shape.last().copied().flatten()));
    let (of_boxes, of_scores, of_indices) = (context.floats(boxes)?, context.floats(scores)?, last(indices)?);
    let are_indices = matches!(of_indices, (2 | 3, None | Some(3))) && !context.ty(indices)?.elem.is_float();
    if of_boxes.len() != 3 || of_boxes[2].is_some_and(|sides| sides != 4) || of_scores.len() != 3 || !are_indices {
        return None;
    }
    let size = fed.and_then(|input| input.value.as_ref()).map(|value| value.iter().copied().collect::<Vec<_>>());
    let [height, width] = context.size.map(|side| side as f32);
    let scale = match size.as_deref() {
        Some(&[down, across, ..]) if across > 0.0 && down > 0.0 => [width / across, height / down],
        _ => [1.0, 1.0],
    };
    let by = format!("the shapes of `{boxes}`, `{scores}` and `{indices}`, and its input `{SIZE}`");
    let [boxes, scores, indices] = [boxes, scores, indices].map(|name| shared(name));
    Some((Arc::new(Head { boxes, scores, indices, scale }), by))
}

impl Head {
    /// Which boxes were selected: class and box of each.
    fn selected(&self, value: Values<'_>) -> Result<Vec<[usize; 2]>> {
        let all: ArrayD<f32> = value(&self.indices)?;
        let shape = all.shape().to_vec();
        let wrong = || Error::Value(format!("`{}` has shape {shape:?}, not [K, 3]", self.indices));
        let all = if all.ndim() == 3 { all.index_axis_move(Axis(0), 0) } else { all };
        let rows = all.into_dimensionality::<Ix2>().map_err(|_| wrong())?;
        if rows.ncols() != 3 {
            return Err(wrong());
        }
        // One image runs at a time; what fills up is negative.
        let own = |row: &ndarray::ArrayView1<'_, f32>| row[0] == 0.0 && row[1] >= 0.0 && row[2] >= 0.0;
        Ok(rows.outer_iter().filter(own).map(|row| [row[1] as usize, row[2] as usize]).collect())
    }
}

impl Head {
    /// Which pairs of a class and a box were selected, `[N, classes × boxes]`.
    fn emit_selected(&self, to: &mut Emission<'_>, (classes, boxes): (&Val, &Val), (own, whole): (&Val, &Val)) -> Val {
        let indices = to.g.cast(&Val::new(&self.indices), ElemType::Int64);
        let indices = to.g.reshape(&indices, &[-1, 3]);
        let [image, class, at] = [0, 1, 2].map(|column| {
            let column_of = to.g.slice(&indices, &[column], &[column + 1], &[1], &[1]);
            to.g.squeeze(&column_of, &[1])
        });
        let row = to.g.mul(&image, classes);
        let row = to.g.add(&row, &class);
        let place = to.g.mul(&row, boxes);
        let place = to.g.add(&place, &at);
        // What fills up is negative, and goes behind the last.
        let zero = to.g.int(0);
        let [image, class, at] = [&image, &class, &at].map(|number| to.g.binary("Less", number, &zero));
        let is_none = to.g.binary("Or", &image, &class);
        let is_none = to.g.binary("Or", &is_none, &at);
        let place = to.g.where_(&is_none, whole, &place);
        let (one, first) = (to.g.int(1), to.g.ints(&[0]));
        let length = to.g.add(whole, &one);
        let length = to.g.unsqueeze(&length, &[0]);
        let none = to.g.full(&length, ElemType::Float, 0.0);
        let count = to.g.shape(&place);
        let ones = to.g.full(&count, ElemType::Float, 1.0);
        let marked = to.g.op("ScatterElements", &[&none, &place, &ones], vec![attr::int("axis", 0)]);
        let end = to.g.unsqueeze(whole, &[0]);
        let marked = to.g.op("Slice", &[&marked, &first, &end], vec![]);
        let rest = to.g.ints(&[-1]);
        let own = to.g.unsqueeze(own, &[0]);
        let shape = to.g.concat(&[&rest, &own], 0);
        let marked = to.g.reshape_to(&marked, &shape);
        let half = to.g.scalar(ElemType::Float, 0.5);
        to.g.binary("Greater", &marked, &half)
    }
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        [&self.boxes, &self.scores, &self.indices].map(|name| name.to_string()).to_vec()
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::in_all_of(&*self.scores)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let boxes = Table::read(value, &self.boxes, 4)?;
        let scores = value(&self.scores)?;
        let [across, down] = self.scale;
        let of = |[class, at]: [usize; 2]| {
            let place = vec![0, class, at];
            let missing = || Error::Value(format!("`{}` has no element {place:?}", self.scores));
            let score = *scores.get(place.as_slice()).filter(|_| at < boxes.rows()).ok_or_else(missing)?;
            let [top, left, bottom, right] = boxes.four(at, 0);
            Ok(Detection {
                corners: [left * across, top * down, right * across, bottom * down],
                class,
                evidence: Evidence::one((Element { value: Arc::clone(&self.scores), at: place }, score), false),
            })
        };
        self.selected(value)?.into_iter().map(of).collect()
    }

    fn classes(&self) -> Option<super::ClassRow> {
        Some((|_| 1, 0..usize::MAX))
    }

    fn overlap(&self) -> Option<f32> {
        None
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        // Every pair of a class and a box, of which some are selected.
        let scores = Val::new(&self.scores);
        let (classes, boxes) = (to.extent(&scores, 1), to.extent(&scores, 2));
        let images = to.extent(&scores, 0);
        let own = to.g.mul(&classes, &boxes);
        let whole = to.g.mul(&images, &own);
        let pairs = to.range(&own);
        let numbers = to.g.div(&pairs, &boxes);
        let filled = self.emit_selected(to, (&classes, &boxes), (&own, &whole));
        let corners = to.table(&self.boxes, 4)?;
        let corners = to.g.unsqueeze(&corners, &[1]);
        let (one, classes) = (to.g.ints(&[1]), to.g.unsqueeze(&classes, &[0]));
        let times = to.g.concat(&[&one, &classes, &one, &one], 0);
        let corners = to.g.op("Tile", &[&corners, &times], vec![]);
        let corners = to.g.reshape(&corners, &[0, -1, 4]);
        Some(Emitted {
            pieces: vec![to.merged(&self.scores, 1)],
            columns: 1,
            scores: Columns::Given { score: 0, classes: to.g.unsqueeze(&numbers, &[0]) },
            says: Says::Probabilities,
            corners,
            filled: Some(filled),
        })
    }
}
