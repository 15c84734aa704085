//! Ultralytics YOLOv8 to v12, YOLO11 and YOLO26: one output `[N, 4 + C, M]`. Of each of M boxes the centre, width and height in the pixels of
//! the input, then a score a class. Masks, key points and angles stand behind the classes. Some exports have it turned: `[N, M, 4 + C]`.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayView2, Axis, Ix2};
use onnx_grad::Val;

use super::{Columns, Detection, Detector, Emission, Emitted, Evidence, Format, Lies, Says, grids, nodes};
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
    /// How many rows and boxes it has.
    size: [usize; 2],
    /// Whether boxes lie along axis 1.
    is_turned: bool,
    /// Whether the logistic function is still to be applied.
    has_logits: bool,
    /// Whether the last row is an angle in radians.
    has_angle: bool,
    /// Whether the first four rows are left, top, right and bottom.
    has_corners: bool,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let name = context.settings.output.as_ref().or_else(|| context.outputs().first())?;
    let shape = context.floats(name)?;
    let &[_, Some(one), Some(two)] = &shape[..] else { return None };
    let task = context.metadata("task").filter(|task| of_family(task));
    let is_said = context.settings.format.is_some();
    let grid = |boxes| grids::strides(context.size, boxes, 1);
    let (rows, boxes, is_turned) = match (grid(one), grid(two)) {
        // Of two numbers of cells the larger: there are fewer numbers a box than boxes.
        (Some(_), Some(_)) if one > two => (two, one, true),
        (_, Some(_)) => (one, two, false),
        (Some(_), None) => (two, one, true),
        (None, None) if is_said => (one.min(two), one.max(two), one > two),
        (None, None) => return None,
    };
    if rows < 5 || (rows > boxes && !is_said && task.is_none()) {
        return None;
    }
    let parts = nodes::parts(context, name, if is_turned { 2 } else { 1 });
    let named = context.labels.len();
    // Where scores stand first, boxes are no corners: NanoDet's.
    let scores_first = parts.len() > 1 && parts[0].op == "Sigmoid";
    let scores = scores(&parts, rows);
    // Ultralytics decodes no box by an exponential. YOLOX does, and has an objectness.
    let has_exponential = || scores.is_none() && nodes::tail(context, name).contains("Exp");
    let is_no_table = || nodes::has_no_scores_behind_four(&parts) || nodes::are_of_a_vector(context, name);
    let is_other = || task.is_none() && (has_another(&parts) || has_exponential() || is_no_table());
    if (has_objectness(&parts) || scores_first || is_other()) && !is_said {
        return None;
    }
    let classes = match scores {
        Some(classes) => classes,
        // Nothing tells where its classes end but their names or what else the model gives.
        None if (1..=rows - 4).contains(&named) => named,
        // Turned and not named it could as well be YOLOX's.
        None if is_turned && !is_said && task.is_none() => return None,
        None => rows.checked_sub(4 + behind(context, task)).filter(|classes| *classes > 0)?,
    };
    // An objectness before the classes is another format.
    if is_turned && scores.is_none() && named + 5 == rows && !is_said {
        return None;
    }
    let has_corners = task.is_none() && nodes::are_corners(context, name, if is_turned { 2 } else { 1 });
    let by = match (task, grid(boxes)) {
        (Some(task), _) => format!("its metadata (task = {task}) and the shape of `{name}`"),
        (None, Some(strides)) => {
            format!("the shape of `{name}`: a box for each cell of grids of {} pixels", grids::listed(strides))
        }
        (None, None) => format!("the shape of `{name}`"),
    };
    let by = if has_corners { by + ", by its corners" } else { by };
    let head = Head {
        output: name.as_str().into(),
        classes,
        size: [rows, boxes],
        is_turned,
        has_logits: !nodes::has_sigmoid(context, name),
        has_angle: task == Some("obb") && rows > 4 + classes,
        has_corners,
    };
    Some((Arc::new(head), by))
}

/// Whether Ultralytics calls a task so that gives boxes.
pub(super) fn of_family(task: &str) -> bool {
    matches!(task, "detect" | "segment" | "pose" | "obb")
}

/// How many rows stand behind the classes.
pub(super) fn behind(context: &Context<'_>, task: Option<&str>) -> usize {
    let planes = || context.outputs().iter().skip(1).find_map(|name| planes(context, name));
    match task {
        Some("obb") => 1,
        Some("pose") => {
            let shape = context.metadata("kpt_shape").and_then(|text| serde_json::from_str::<Vec<usize>>(text).ok());
            shape.map_or(0, |shape| shape.iter().product())
        }
        Some("segment") => planes().unwrap_or(32),
        // A second output of planes: masks are sums of them.
        None => planes().unwrap_or(0),
        Some(_) => 0,
    }
}

/// How many planes masks are made of, where an output is those.
fn planes(context: &Context<'_>, name: &str) -> Option<usize> {
    match &context.floats(name)?[..] {
        [_, Some(planes), Some(height), Some(width)]
            if height * 4 == context.size[0] && width * 4 == context.size[1] =>
        {
            Some(*planes)
        }
        _ => None,
    }
}

/// Whether the last nodes join four rows, one probability, and others: that is YOLOX's objectness, and another format.
fn has_objectness(parts: &[nodes::Part<'_>]) -> bool {
    let [.., one, others] = parts else { return false };
    let before: usize = parts[..parts.len() - 2].iter().map(|part| part.size).sum();
    before == 4 && one.size == 1 && one.op == "Sigmoid" && others.op == "Sigmoid"
}

/// Whether the last nodes join four rows, one number that is no probability, and others: an objectness that is always 1, or the largest
/// score and its class.
fn has_another(parts: &[nodes::Part<'_>]) -> bool {
    let mut start = 0;
    for (at, part) in parts.iter().enumerate() {
        if start == 4 && part.size == 1 && part.op != "Sigmoid" && at + 1 < parts.len() {
            return true;
        }
        start += part.size;
    }
    false
}

/// How many classes there are, where the last nodes join four rows and their probabilities.
fn scores(parts: &[nodes::Part<'_>], rows: usize) -> Option<usize> {
    let mut start = 0;
    for part in parts {
        if start == 4 && part.op == "Sigmoid" && part.size < rows {
            return Some(part.size);
        }
        start += part.size;
    }
    None
}

impl Head {
    /// Its numbers, `[rows, boxes]`.
    fn table<'a>(&self, all: &'a ArrayD<f32>) -> Result<ArrayView2<'a, f32>> {
        let shape = all.shape();
        let wrong = || Error::Value(format!("`{}` has shape {shape:?}, not [1, 4 + classes, boxes]", self.output));
        if shape.len() != 3 || shape[0] != 1 {
            return Err(wrong());
        }
        let table = all.index_axis(Axis(0), 0).into_dimensionality::<Ix2>().map_err(|_| wrong())?;
        let table = if self.is_turned { table.reversed_axes() } else { table };
        let rows = table.nrows();
        match rows < 4 + self.classes {
            true => Err(Error::Value(format!("`{}` has {rows} rows for {} classes", self.output, self.classes))),
            false => Ok(table),
        }
    }
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        vec![self.output.to_string()]
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::along(&*self.output, if self.is_turned { 2 } else { 1 }, 4..4 + self.classes)]
    }

    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
        let all = value(&self.output)?;
        let table = self.table(&all)?;
        let best = best(table.slice_axis(Axis(0), (4..4 + self.classes).into()));
        let of = |(at, (class, score)): (usize, (usize, f32))| {
            let [x, y, width, height] = [0, 1, 2, 3].map(|row| table[[row, at]]);
            let [width, height] = match self.has_angle {
                true => enclosing([width, height], table[[table.nrows() - 1, at]]),
                false => [width, height],
            };
            let place = if self.is_turned { vec![0, at, 4 + class] } else { vec![0, 4 + class, at] };
            let element = Element { value: Arc::clone(&self.output), at: place };
            Detection {
                corners: if self.has_corners { [x, y, width, height] } else { around([x, y], [width, height]) },
                class,
                evidence: Evidence::one((element, score), self.has_logits),
            }
        };
        Ok(best.into_iter().enumerate().map(of).collect())
    }

    fn classes(&self) -> Option<super::ClassRow> {
        Some((if self.is_turned { |_| 2 } else { |_| 1 }, 4..4 + self.classes))
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let [columns, _] = self.size;
        let piece = match self.is_turned {
            true => to.piece(&self.output, columns)?,
            false => to.turned(&self.output, columns),
        };
        let table = piece.table(to.g);
        let (centre, sides) = (to.cut(&table, 0..2), to.cut(&table, 2..4));
        let own = 4..4 + self.classes;
        let sides = match self.has_angle {
            true => {
                let angle = to.cut(&table, columns - 1..columns);
                emit_enclosing(to, &sides, &angle)
            }
            false => sides,
        };
        let corners = if self.has_corners { to.cut(&table, 0..4) } else { to.around(&centre, &sides) };
        Some(Emitted {
            pieces: vec![piece],
            columns,
            scores: Columns::Classes { own: own.clone(), first: 0, all: own, objectness: None },
            says: if self.has_logits { Says::Logits } else { Says::Probabilities },
            corners,
            filled: None,
        })
    }
}

/// [`enclosing`] in a graph, of width and height in a table.
pub(super) fn emit_enclosing(to: &mut Emission<'_>, sides: &Val, angle: &Val) -> Val {
    let [sin, cos] = ["Sin", "Cos"].map(|op| {
        let value = to.g.unary(op, angle);
        to.g.unary("Abs", &value)
    });
    let (width, height) = (to.cut(sides, 0..1), to.cut(sides, 1..2));
    let turned = to.g.concat(&[&height, &width], 2);
    let (along, across) = (to.g.mul(sides, &cos), to.g.mul(&turned, &sin));
    to.g.add(&along, &across)
}

/// Of each column its largest element's row, the first of equal ones, and that element. Row by row, as they lie in memory, in loops without
/// branches.
pub(super) fn best(scores: ArrayView2<'_, f32>) -> Vec<(usize, f32)> {
    let mut rows = scores.outer_iter();
    let mut best: Vec<f32> = rows.next().map(|row| row.to_vec()).unwrap_or_default();
    let mut places = vec![0u32; best.len()];
    for (row, scores) in (1u32..).zip(rows) {
        let mut larger = |((best, place), score): ((&mut f32, &mut u32), &f32)| {
            let is_larger = *score > *best;
            *best = if is_larger { *score } else { *best };
            *place = if is_larger { row } else { *place };
        };
        let all = best.iter_mut().zip(&mut places);
        match scores.as_slice() {
            Some(scores) => all.zip(scores).for_each(&mut larger),
            None => all.zip(scores).for_each(&mut larger),
        }
    }
    places.into_iter().map(|place| place as usize).zip(best).collect()
}

/// The corners of a box around a point.
pub(super) fn around([x, y]: [f32; 2], [width, height]: [f32; 2]) -> [f32; 4] {
    [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
}

/// Width and height of the upright box around one that is turned by an angle in radians.
pub(super) fn enclosing([width, height]: [f32; 2], angle: f32) -> [f32; 2] {
    let (sin, cos) = (angle.sin().abs(), angle.cos().abs());
    [width * cos + height * sin, width * sin + height * cos]
}
