//! YOLOv5, YOLOv7 and their kin: one output `[N, M, 5 + C]`. Of each of M boxes (three anchors a cell) the centre, width and height in the pixels
//! of the input, an objectness, and a score a class; what counts is the product of both. A mask's numbers stand behind the classes. Or the levels as the network gives them,
//! `[N, 3, H, W, 5 + C]` for the strides of 8, 16 and 32: these are decoded here.

use std::sync::Arc;

use ndarray::{ArrayD, Axis, Ix2};
use onnx_grad::Val;

use super::{
    Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies, Says, grids, nodes, sigmoid, yolov8,
};
use crate::{
    error::{Error, Result},
    task::{Context, Element},
};

pub(super) const FORMAT: Format = Format {
    name: "yolov5",
    about: "YOLOv5 and YOLOv7: [N, boxes, 5 + classes], or its levels [N, 3, H, W, 5 + classes]",
    recognise,
};

/// YOLOv5's own default.
const OVERLAP: f32 = 0.45;

/// YOLOv5's anchors, width and height in pixels, by level: `models/yolov5s.yaml`.
const ANCHORS: [[[f32; 2]; 3]; 3] = [
    [[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
    [[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
    [[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]],
];

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let wanted = |name: &&String| context.settings.output.as_ref().is_none_or(|chosen| chosen == *name);
    let outputs = || context.outputs().iter().filter(wanted);
    let decoded = outputs().find_map(|name| {
        let shape = context.floats(name)?;
        let &[_, Some(boxes), Some(columns)] = &shape[..] else { return None };
        let strides = grids::strides(context.size, boxes, 3);
        let is_other = || {
            nodes::has_no_scores_behind_four(&nodes::parts(context, name, 2)) || nodes::are_of_a_vector(context, name)
        };
        let fits = context.settings.format.is_some() || (strides.is_some() && !is_other());
        (columns >= 6 && fits).then_some((name, strides, columns))
    });
    if let Some((name, strides, columns)) = decoded {
        let what = strides.map(|strides| {
            format!(
                ": three boxes for each cell of grids of {} pixels, each with an objectness",
                grids::listed(strides)
            )
        });
        let mut by = format!("the shape of `{name}`{}", what.unwrap_or_default());
        let has_logits = !nodes::has_sigmoid(context, name);
        let mut head = Decoded::new(name, has_logits);
        let masks = masks(context, columns);
        if masks > 0 {
            head.end = columns - masks;
            by += &format!("; its last {masks} numbers are a mask's");
        }
        return Some((Arc::new(head), by));
    }
    let [height, width] = context.size;
    let level = |stride: usize| {
        let fits = |name: &&String| match context.floats(name).as_deref() {
            Some(&[_, Some(3), Some(rows), Some(columns), Some(numbers)]) => {
                [rows, columns] == [height.div_ceil(stride), width.div_ceil(stride)] && numbers >= 6
            }
            _ => false,
        };
        context.outputs().iter().find(fits).map(|name| Arc::from(name.as_str()))
    };
    let levels: [Arc<str>; 3] = [level(8)?, level(16)?, level(32)?];
    let by = format!(
        "the shapes of `{}`, `{}` and `{}`: three boxes for each cell of grids of 8, 16 and 32 pixels; the anchors are taken to be YOLOv5's",
        levels[0], levels[1], levels[2]
    );
    let has_logits = !nodes::has_sigmoid(context, &levels[0]);
    Some((Arc::new(Levels { levels, has_logits }), by))
}

/// How many of so many columns stand behind the classes, where another output has the planes that masks are sums of, as in YOLOv5's and YOLOv7's
/// segmentation.
fn masks(context: &Context<'_>, columns: usize) -> usize {
    if context.labels.len() + 5 == columns {
        return 0;
    }
    let masks = yolov8::behind(context, None);
    if columns > 5 + masks { masks } else { 0 }
}

/// One output, decoded by the model.
#[derive(Debug)]
pub(super) struct Decoded {
    output: Arc<str>,
    has_logits: bool,
    /// Where the columns of the classes end; beyond the last, where nothing stands behind them.
    end: usize,
}

impl Decoded {
    pub(super) fn new(output: &str, has_logits: bool) -> Self {
        Self { output: output.into(), has_logits, end: usize::MAX }
    }

    /// The boxes, with their corners from what stands in the first four columns of each.
    pub(super) fn with(
        &self,
        value: &dyn Fn(&str) -> Result<ArrayD<f32>>,
        corners: impl Fn(usize, [f32; 4]) -> [f32; 4],
    ) -> Result<Vec<Detection>> {
        let all = value(&self.output)?;
        let wrong =
            || Error::Value(format!("`{}` has shape {:?}, not [1, boxes, 5 + classes]", self.output, all.shape()));
        if all.ndim() != 3 || all.shape()[0] != 1 || all.shape()[2] < 6 {
            return Err(wrong());
        }
        let table = all.index_axis(Axis(0), 0).into_dimensionality::<Ix2>().map_err(|_| wrong())?;
        let of = |(at, row): (usize, ndarray::ArrayView1<'_, f32>)| {
            let (class, score) = largest(row.iter().take(self.end).skip(5).copied());
            let element = |column| Element { value: Arc::clone(&self.output), at: vec![0, at, column] };
            Detection {
                corners: corners(at, [row[0], row[1], row[2], row[3]]),
                class,
                evidence: Evidence::several(vec![(element(4), row[4]), (element(5 + class), score)], self.has_logits),
            }
        };
        Ok(table.outer_iter().enumerate().map(of).collect())
    }
}

impl Decoded {
    /// How many columns it has, and the first four of each row.
    pub(super) fn emitted(&self, to: &mut Emission<'_>) -> Option<(usize, Val)> {
        let columns = to.columns(&self.output)?;
        let table = to.table(&self.output, columns)?;
        Some((columns, to.cut(&table, 0..4)))
    }

    /// Its boxes, with these corners.
    pub(super) fn emit_with(&self, to: &Emission<'_>, columns: usize, corners: Val) -> Option<Emitted> {
        Some(Emitted {
            pieces: vec![to.piece(&self.output, columns)?],
            columns,
            scores: objectness(columns.min(self.end)),
            says: if self.has_logits { Says::Logits } else { Says::Probabilities },
            corners,
            filled: None,
        })
    }
}

/// An objectness behind the corners, and the classes behind it.
fn objectness(columns: usize) -> Columns {
    Columns::Classes { own: 5..columns, first: 0, all: 5..columns, objectness: Some(4) }
}

impl Detector for Decoded {
    fn reads(&self) -> Vec<String> {
        vec![self.output.to_string()]
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::along(&*self.output, 2, 4..self.end)]
    }

    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
        self.with(value, |_, [x, y, width, height]| yolov8::around([x, y], [width, height]))
    }

    fn classes(&self) -> Option<super::ClassRow> {
        Some((|_| 2, 5..self.end))
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let (columns, boxes) = self.emitted(to)?;
        let corners = to.boxed(&boxes);
        self.emit_with(to, columns, corners)
    }
}

/// The place of the largest, the first of equal ones, and itself.
fn largest(scores: impl Iterator<Item = f32>) -> (usize, f32) {
    scores.enumerate().fold((0, f32::NEG_INFINITY), |best, (at, score)| if score > best.1 { (at, score) } else { best })
}

/// Three outputs, as the network gives them.
#[derive(Debug)]
struct Levels {
    levels: [Arc<str>; 3],
    has_logits: bool,
}

impl Detector for Levels {
    fn reads(&self) -> Vec<String> {
        self.levels.iter().map(|name| name.to_string()).collect()
    }

    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
        let squashed = |number: f32| if self.has_logits { sigmoid(number) } else { number };
        let mut found = Vec::new();
        for ((name, anchors), stride) in self.levels.iter().zip(ANCHORS).zip([8.0f32, 16.0, 32.0]) {
            let all = value(name)?;
            let &[1, 3, rows, columns, numbers] = all.shape() else {
                let shape = all.shape();
                return Err(Error::Value(format!(
                    "`{name}` has shape {shape:?}, not [1, 3, height, width, 5 + classes]"
                )));
            };
            for (anchor, row, column) in cells(rows, columns) {
                let number = |at: usize| all[[0, anchor, row, column, at].as_slice()];
                let (class, score) = largest((5..numbers).map(number));
                // xy = (2 σ − 0.5 + cell) · stride, wh = (2 σ)² · anchor: `Detect` of YOLOv5's `models/yolo.py`.
                let [x, y, width, height] = [0, 1, 2, 3].map(|at| 2.0 * squashed(number(at)));
                let centre = [(x - 0.5 + column as f32) * stride, (y - 0.5 + row as f32) * stride];
                let [wide, high] = anchors[anchor];
                let element = |at| Element { value: Arc::clone(name), at: vec![0, anchor, row, column, at] };
                let elements = vec![(element(4), number(4)), (element(5 + class), score)];
                found.push(Detection {
                    corners: yolov8::around(centre, [width * width * wide, height * height * high]),
                    class,
                    evidence: Evidence::several(elements, self.has_logits),
                });
            }
        }
        Ok(found)
    }

    fn classes(&self) -> Option<super::ClassRow> {
        Some((|_| 4, 5..usize::MAX))
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let columns = to.columns(&self.levels[0])?;
        let (mut pieces, mut corners) = (Vec::new(), Vec::new());
        for ((name, anchors), stride) in self.levels.iter().zip(ANCHORS).zip([8.0f32, 16.0, 32.0]) {
            let &[_, Some(3), Some(height), Some(width), _] = &to.extents(name)?[..] else { return None };
            let piece = to.merged(name, columns);
            let table = piece.table(to.g);
            pieces.push(piece);
            let four = to.cut(&table, 0..4);
            let four = if self.has_logits { to.g.unary("Sigmoid", &four) } else { four };
            let four = to.scale(&four, 2.0);
            let (xy, wh) = (to.cut(&four, 0..2), to.cut(&four, 2..4));
            // As `boxes` decodes them.
            let places =
                to.constant(cells(height, width).map(|(_, row, column)| [column as f32 - 0.5, row as f32 - 0.5]));
            let sides = to.constant(cells(height, width).map(|(anchor, ..)| anchors[anchor]));
            let centre = to.g.add(&xy, &places);
            let centre = to.scale(&centre, stride);
            let wh = to.g.mul(&wh, &wh);
            let wh = to.g.mul(&wh, &sides);
            corners.push(to.around(&centre, &wh));
        }
        Some(Emitted {
            pieces,
            columns,
            scores: objectness(columns),
            says: if self.has_logits { Says::Logits } else { Says::Probabilities },
            corners: to.below(&corners),
            filled: None,
        })
    }
}

/// Anchors, rows and columns, in the order of memory.
fn cells(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..3).flat_map(move |anchor| (0..rows).flat_map(move |row| (0..columns).map(move |column| (anchor, row, column))))
}
