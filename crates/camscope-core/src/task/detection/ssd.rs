//! SSD (Liu et al. 2016): `[N, M, C]` scores of M boxes, the background first, and `[N, M, 4]` boxes. Behind a logistic function the classes
//! are independent, without a background, as YOLO-NAS and RetinaNet have them. Those are decoded already (left, top,
//! right, bottom as shares of the input or in its pixels), or they are offsets from priors (the paper's section 2.2): then the priors have
//! to be an output or a constant of the file, or be named in the sidecar.

use std::{ops::Range, sync::Arc};

use ndarray::Array2;
use onnx_grad::{Val, graph::Index};

use super::{
    Columns, Detection, Detector, Emission, Emitted, Format, Lies,
    table::{
        Found, Says, Scores, Table, Values, behind_background, called, corners, extent, is_linear, is_sigmoid, pixels,
        says, shared, surest,
    },
};
use crate::{
    error::{Error, Result},
    task::Context,
};

pub(super) const FORMAT: Format = Format {
    name: "ssd",
    about: "SSD: scores [N, boxes, classes], the background first, and boxes [N, boxes, 4], decoded or with priors",
    recognise,
};

/// The paper's.
const OVERLAP: f32 = 0.45;

/// The variances of the paper's code: of the centre, and of the logarithms of width and height.
pub(super) const VARIANCES: [f32; 2] = [0.1, 0.2];

/// Names of scores and of boxes.
const SCORES: &[&str] =
    &["scores", "confidences", "confidence", "conf", "cls_logits", "class_scores", "classes", "cls"];
const BOXES: &[&str] = &["boxes", "locations", "loc", "bbox_regression", "bboxes", "box", "locs", "regression"];

/// What the boxes are.
#[derive(Debug)]
enum Coding {
    /// Corners, as shares of the input where all are small, else in pixels.
    Corners,
    /// Offsets from priors (centre, width and height as shares of the input).
    Offsets(Array2<f32>),
    /// Offsets from priors that are an output.
    OffsetsFrom(Arc<str>),
    /// Offsets from priors that nobody gave.
    Unknown,
}

/// Also UltraFace's, which is decoded.
#[derive(Debug)]
pub(super) struct Head {
    scores: Arc<str>,
    boxes: Arc<str>,
    columns: usize,
    says: Says,
    /// How many columns of the background come first.
    background: usize,
    less: usize,
    coding: Coding,
    size: [usize; 2],
    overlap: f32,
}

impl Head {
    /// Boxes that are decoded, with scores that have a column for the background first, unless they are behind a logistic function.
    pub(super) fn decoded(context: &Context<'_>, [scores, boxes]: [&str; 2], columns: usize, overlap: f32) -> Self {
        let background = usize::from(!is_sigmoid(context, scores));
        let less = if background == 1 { behind_background(context.labels, columns) } else { 0 };
        Self {
            scores: shared(scores),
            boxes: shared(boxes),
            columns,
            says: says(context, scores, Says::Softmax),
            background,
            less,
            coding: Coding::Corners,
            size: context.size,
            overlap,
        }
    }
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    let boxes = settings.boxes.as_deref().or_else(|| called(context, BOXES))?;
    let scores = settings.scores.as_deref().or_else(|| called(context, SCORES))?;
    let ((rows, columns), (of_boxes, four)) = (extent(context, scores)?, extent(context, boxes)?);
    let are_tables = [scores, boxes].iter().all(|name| context.floats(name).is_some_and(|shape| shape.len() == 3));
    // Shares behind a logistic function are centres and sides, as DETR has them.
    let is_said = settings.format.is_some() || settings.boxes.is_some();
    if !is_said && is_sigmoid(context, boxes) {
        return None;
    }
    if !are_tables || rows != of_boxes || four != 4 || columns < 2 || rows < 4 {
        return None;
    }
    let mut head = Head::decoded(context, [scores, boxes], columns, OVERLAP);
    let mut by = format!("its outputs' names and shapes, `{scores}` {rows} × {columns} and `{boxes}` {rows} × 4");
    if head.background == 0 {
        by += ", independent classes behind a logistic function";
    }
    if is_linear(context, boxes) || settings.priors.is_some() {
        let (coding, from) = priors(context, rows);
        head.coding = coding;
        by += &format!(", offsets from priors{from}");
    }
    Some((Arc::new(head), by))
}

/// The priors, and where they are.
fn priors(context: &Context<'_>, rows: usize) -> (Coding, String) {
    const NAMES: &[&str] = &["priors", "prior_boxes", "priorboxes", "default_boxes", "dboxes", "anchors", "prior_data"];
    let graph = context.network.model.graph();
    let said = context.settings.priors.as_deref();
    if let Some(said) = said.filter(|said| said.ends_with(".npy")) {
        return match ndarray_npy::read_npy::<_, Array2<f32>>(said) {
            Ok(priors) if priors.dim() == (rows, 4) => (Coding::Offsets(priors), " of the sidecar's file".into()),
            _ => (Coding::Unknown, format!(", and `{said}` holds no {rows} × 4 floats")),
        };
    }
    let is_wanted = |name: &str| match said {
        Some(said) => name == said,
        None => {
            let last = name.rsplit(['/', '.']).next().unwrap_or(name).to_ascii_lowercase();
            NAMES.contains(&last.as_str())
        }
    };
    if let Some(output) =
        context.outputs().iter().find(|name| is_wanted(name) && extent(context, name) == Some((rows, 4)))
    {
        return (Coding::OffsetsFrom(shared(output)), format!(" in `{output}`"));
    }
    let index = Index::new(graph);
    let names = graph.initializer.iter().map(|tensor| tensor.name.as_str()).chain(said);
    for name in names.filter(|name| is_wanted(name)) {
        let numbers = index.constant(name).and_then(|tensor| tensor.to_floats().ok());
        let numbers: Vec<f32> = numbers.unwrap_or_default().iter().map(|number| *number as f32).collect();
        if let Ok(priors) = Array2::from_shape_vec((rows, 4), numbers) {
            return (Coding::Offsets(priors), format!(" in the constant `{name}`"));
        }
    }
    (Coding::Unknown, ", which the file does not name".into())
}

/// A box of an offset from a prior (centre, width and height as shares of the input), as corners in shares.
pub(super) fn from_prior([x, y, wide, high]: [f32; 4], [px, py, pw, ph]: [f32; 4]) -> [f32; 4] {
    let [centre, side] = VARIANCES;
    corners([px + x * centre * pw, py + y * centre * ph, pw * (wide * side).exp(), ph * (high * side).exp()])
}

/// Corners of a table of offsets from priors: [`from_prior`] in a graph.
pub(super) fn emit_from_priors(to: &mut Emission<'_>, offsets: &Val, priors: &Val) -> Val {
    let [centre, side] = VARIANCES;
    let (xy, wh) = (to.cut(offsets, 0..2), to.cut(offsets, 2..4));
    let (own, sides) = (to.cut(priors, 0..2), to.cut(priors, 2..4));
    let moved = to.scale(&xy, centre);
    let moved = to.g.mul(&moved, &sides);
    let centre = to.g.add(&own, &moved);
    let grown = to.scale(&wh, side);
    let grown = to.g.unary("Exp", &grown);
    let sides = to.g.mul(&sides, &grown);
    to.around(&centre, &sides)
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        let mut names = vec![self.scores.to_string(), self.boxes.to_string()];
        if let Coding::OffsetsFrom(priors) = &self.coding {
            names.push(priors.to_string());
        }
        names
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::in_all_of(&*self.scores)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let table = Table::read(value, &self.scores, self.columns)?;
        let boxes = Table::read(value, &self.boxes, 4)?;
        let scores = [Scores { table, says: self.says, classes: self.background..self.columns, all: 0..self.columns }];
        let priors = match &self.coding {
            Coding::OffsetsFrom(priors) => Some(Table::read(value, priors, 4)?),
            Coding::Unknown => return Err(unknown(&self.boxes, boxes.rows())),
            Coding::Corners | Coding::Offsets(_) => None,
        };
        let found = surest(&scores);
        // Shares of the input may reach beyond it, by less than its size.
        let far = (0..boxes.rows()).flat_map(|row| boxes.four(row, 0)).fold(0.0_f32, |far, side| far.max(side.abs()));
        let is_share = far <= 4.0;
        let corners = |row: usize| {
            let own = boxes.four(row, 0);
            match (&self.coding, &priors) {
                (Coding::Offsets(priors), _) => {
                    pixels(from_prior(own, [0, 1, 2, 3].map(|column| priors[[row, column]])), self.size)
                }
                (_, Some(priors)) => pixels(from_prior(own, priors.four(row, 0)), self.size),
                _ if is_share => pixels(own, self.size),
                _ => own,
            }
        };
        let of = |found: Found| Detection {
            corners: corners(found.row),
            class: found.column - self.less,
            evidence: scores[0].evidence(found.row, found.column),
        };
        Ok(found.into_iter().map(of).collect())
    }

    fn classes(&self) -> Option<super::ClassRow> {
        Some((super::table::classes_axis, self.background..self.columns))
    }

    fn numbers(&self) -> Option<Range<usize>> {
        Some(self.background - self.less..self.columns - self.less)
    }

    fn overlap(&self) -> Option<f32> {
        Some(self.overlap)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let boxes = to.table(&self.boxes, 4)?;
        let corners = match &self.coding {
            // Shares of the input or pixels: overlaps are the same.
            Coding::Corners => boxes,
            Coding::Offsets(priors) => {
                let priors = to.constant(priors.outer_iter().map(|prior| [0, 1, 2, 3].map(|at| prior[at])));
                emit_from_priors(to, &boxes, &priors)
            }
            Coding::OffsetsFrom(priors) => {
                let priors = to.table(priors, 4)?;
                emit_from_priors(to, &boxes, &priors)
            }
            Coding::Unknown => return None,
        };
        Some(Emitted {
            pieces: vec![to.piece(&self.scores, self.columns)?],
            columns: self.columns,
            scores: Columns::Classes {
                own: self.background..self.columns,
                first: self.background - self.less,
                all: 0..self.columns,
                objectness: None,
            },
            says: self.says,
            corners,
            filled: None,
        })
    }
}

/// That the priors have to be said.
fn unknown(boxes: &str, rows: usize) -> Error {
    Error::Value(format!(
        "`{boxes}` holds offsets from {rows} priors, which the file does not name; write under [task] in the sidecar: priors = \"NAME\" (an \
         output or a constant of the model) or priors = \"FILE.npy\" ([{rows}, 4] float32: centre x, y, width, height as shares of the input)"
    ))
}
