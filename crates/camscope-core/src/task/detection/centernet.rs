//! CenterNet-like heat maps (Zhou et al. 2019, "Objects as Points"): of each class a map whose peaks are the centres of boxes, with maps of
//! width and height `wh` and of the centre's offset `reg`, all in cells. A peak is the largest of the 3 × 3 around it.
//!
//! CenterFace is the same with another coding: height before width, as logarithms, down before across, from the middle of the cell, and
//! ten maps of landmarks.

use std::sync::Arc;

use onnx_grad::{Val, attr, proto::TensorProto};

use super::{
    Columns, Detection, Detector, Emission, Emitted, Format, Lies,
    table::{ALL, Found, Says, Scores, Table, Values, called, corners, says, shared, the_most},
};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format =
    Format { name: "centernet", about: "CenterNet: heat maps hm, with wh and reg", recognise: centernet };

pub(super) const FACES: Format = Format {
    name: "centerface",
    about: "CenterFace: a heat map, logarithms of height and width, offsets, landmarks",
    recognise: centerface,
};

#[derive(Debug)]
struct Head {
    heat: Arc<str>,
    classes: usize,
    says: Says,
    sides: Arc<str>,
    offset: Option<Arc<str>>,
    /// The network's pixels to a cell, across and down.
    stride: [f32; 2],
    is_face: bool,
}

/// Channels, height and width of a map.
fn map(context: &Context<'_>, name: &str) -> Option<[usize; 3]> {
    match context.floats(name)?[..] {
        [_, Some(channels), Some(height), Some(width)] => Some([channels, height, width]),
        _ => None,
    }
}

fn centernet(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    let heat = settings
        .scores
        .as_deref()
        .or_else(|| called(context, &["hm", "heatmap", "heatmaps", "heat", "center_heatmap_pred"]));
    let sides = settings.boxes.as_deref().or_else(|| called(context, &["wh", "size", "wh_pred"]));
    let offset = called(context, &["reg", "offset", "off", "offset_pred"]);
    let (heat, sides, offset, by) = match (heat, sides) {
        (Some(heat), Some(sides)) => (heat, sides, offset, format!("its outputs' names, `{heat}` and `{sides}`")),
        _ => {
            // Without names: a map behind a logistic function, and two of two channels, in that order.
            let &[heat, sides, offset] = &context.outputs() else { return None };
            let is_probability = says(context, heat, Says::Logits) == Says::Probabilities;
            let two = |name: &str| map(context, name).is_some_and(|[channels, ..]| channels == 2);
            if !is_probability || !two(sides) || !two(offset) {
                return None;
            }
            let by = format!("its outputs' shapes, and the logistic function before `{heat}`");
            (heat.as_str(), sides.as_str(), Some(offset.as_str()), by)
        }
    };
    head(context, [heat, sides], offset, false).map(|head| (head, by))
}

fn centerface(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let &[heat, sides, offset, landmarks] = &context.outputs() else { return None };
    let channels = [heat, sides, offset, landmarks].map(|name| map(context, name).map(|[channels, ..]| channels));
    if channels != [Some(1), Some(2), Some(2), Some(10)] || says(context, heat, Says::Logits) != Says::Probabilities {
        return None;
    }
    let by = format!("its outputs' shapes (1, 2, 2 and 10 maps), and the logistic function before `{heat}`");
    head(context, [heat, sides], Some(offset), true).map(|head| (head, by))
}

fn head(
    context: &Context<'_>,
    [heat, sides]: [&str; 2],
    offset: Option<&str>,
    is_face: bool,
) -> Option<Arc<dyn Detector>> {
    let [classes, height, width] = map(context, heat)?;
    let alike = |name: &str| map(context, name) == Some([2, height, width]);
    let stride = [context.size[1] as f32 / width as f32, context.size[0] as f32 / height as f32];
    if !alike(sides) || !offset.is_none_or(alike) || stride[0] < 1.0 || stride[1] < 1.0 {
        return None;
    }
    let says = says(context, heat, Says::Logits);
    let (heat, sides, offset) = (shared(heat), shared(sides), offset.map(shared));
    Some(Arc::new(Head { heat, classes, says, sides, offset, stride, is_face }))
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        [&self.heat, &self.sides].into_iter().chain(&self.offset).map(|name| name.to_string()).collect()
    }

    fn evidence(&self) -> Vec<Lies> {
        vec![Lies::in_all_of(&*self.heat)]
    }

    fn boxes(&self, value: Values<'_>) -> Result<Vec<Detection>> {
        let heat = Table::read(value, &self.heat, self.classes)?;
        let sides = Table::read(value, &self.sides, 2)?;
        let offset = self.offset.as_ref().map(|offset| Table::read(value, offset, 2)).transpose()?;
        let [height, width] = heat.sides().unwrap_or([1, heat.rows()]);
        let is_peak = |row: usize, class: usize| {
            let (y, x) = (row / width, row % width);
            let own = heat.at(row, class);
            (y.saturating_sub(1)..(y + 2).min(height))
                .all(|y| (x.saturating_sub(1)..(x + 2).min(width)).all(|x| heat.at(y * width + x, class) <= own))
        };
        let corners = |row: usize| {
            let (y, x) = ((row / width) as f32, (row % width) as f32);
            let two = |table: &Table| [table.at(row, 0), table.at(row, 1)];
            let ([across, down], [wide, high]) = match (self.is_face, two(&sides), offset.as_ref().map(two)) {
                (true, [high, wide], moved) => {
                    let [down, across] = moved.unwrap_or([0.0, 0.0]);
                    ([across + 0.5, down + 0.5], [wide.exp(), high.exp()])
                }
                (false, sides, moved) => (moved.unwrap_or([0.5, 0.5]), sides),
            };
            let [of_x, of_y] = self.stride;
            corners([(x + across) * of_x, (y + down) * of_y, wide * of_x, high * of_y])
        };
        let mut peaks = Vec::new();
        for class in 0..self.classes {
            let of_class = (0..heat.rows()).filter(|row| is_peak(*row, class));
            peaks.extend(of_class.map(|row| (heat.at(row, class), Found { level: 0, row, column: class })));
        }
        let scores = Scores { table: heat, says: self.says, classes: 0..self.classes, all: 0..self.classes };
        let of = |found: Found| Detection {
            corners: corners(found.row),
            class: found.column,
            evidence: scores.evidence(found.row, found.column),
        };
        Ok(the_most(peaks).into_iter().map(of).collect())
    }

    fn classes(&self) -> Option<super::ClassRow> {
        Some((super::table::classes_axis, 0..self.classes))
    }

    fn overlap(&self) -> Option<f32> {
        // CenterNet's peaks are its choice; CenterFace's authors suppress as well.
        Some(if self.is_face { 0.3 } else { ALL })
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let extents = to.extents(&self.heat)?;
        let &[_, _, Some(height), Some(width)] = &extents[..] else { return None };
        let heat = Val::new(&self.heat);
        let around = vec![attr::ints("kernel_shape", &[3, 3]), attr::ints("pads", &[1, 1, 1, 1])];
        let most = to.g.op("MaxPool", &[&heat], around);
        let is_peak = to.g.binary("Equal", &heat, &most);
        let sides = to.table(&self.sides, 2)?;
        let moved = match &self.offset {
            Some(offset) => Some(to.table(offset, 2)?),
            None => None,
        };
        // Down before across, and logarithms.
        let turned = |to: &mut Emission<'_>, two: &Val| {
            let (first, last) = (to.cut(two, 0..1), to.cut(two, 1..2));
            to.g.concat(&[&last, &first], 2)
        };
        let (moved, sides) = match self.is_face {
            true => {
                let sides = turned(to, &sides);
                (moved.map(|moved| turned(to, &moved)), to.g.unary("Exp", &sides))
            }
            false => (moved, sides),
        };
        let middle = if self.is_face || moved.is_none() { 0.5 } else { 0.0 };
        let cells = (0..height * width).map(|cell| [(cell % width) as f32 + middle, (cell / width) as f32 + middle]);
        let places = to.constant(cells);
        let centre = match &moved {
            Some(moved) => to.g.add(&places, moved),
            None => places,
        };
        let stride = to.constant([self.stride]);
        let (centre, sides) = (to.g.mul(&centre, &stride), to.g.mul(&sides, &stride));
        let corners = to.around(&centre, &sides);
        // A box for each class and cell.
        let times = to.g.ints(&[1, self.classes as i64, 1]);
        let corners = to.g.op("Tile", &[&corners, &times], vec![]);
        let numbers: Vec<i64> = (0..self.classes).flat_map(|class| vec![class as i64; height * width]).collect();
        Some(Emitted {
            pieces: vec![to.merged(&self.heat, 1)],
            columns: 1,
            scores: Columns::Given {
                score: 0,
                classes: to.g.constant(TensorProto::ints("", &[1, numbers.len() as i64], &numbers)),
            },
            says: self.says,
            corners,
            filled: Some(to.g.reshape(&is_peak, &[0, -1])),
        })
    }
}
