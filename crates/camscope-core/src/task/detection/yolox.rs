//! YOLOX and YOLOv6: one output `[N, M, 5 + C]`, a box for each cell of the grids. Of each the centre, width and height, an objectness, and a score
//! a class; what counts is the product of both. YOLOX's own export leaves the first four undecoded: offsets in the cell and logarithms
//! in strides.

use std::sync::Arc;

use ndarray::ArrayD;

use super::{Detection, Detector, Emission, Emitted, Format, Lies, grids, nodes, yolov5::Decoded, yolov8};
use crate::{error::Result, task::Context};

pub(super) const FORMAT: Format =
    Format { name: "yolox", about: "YOLOX, decoded or not, and YOLOv6: [N, cells, 5 + classes]", recognise };

/// YOLOX's own default.
const OVERLAP: f32 = 0.45;

#[derive(Debug)]
struct Head {
    table: Decoded,
    /// The cells, where the boxes are still to be decoded.
    cells: Option<Vec<[f32; 3]>>,
}

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let name = context.settings.output.as_ref().or_else(|| context.outputs().first())?;
    let shape = context.floats(name)?;
    let &[_, Some(boxes), Some(columns)] = &shape[..] else { return None };
    let strides = grids::strides(context.size, boxes, 1)?;
    if columns < 6 {
        return None;
    }
    let tail = nodes::tail(context, name);
    let parts = nodes::parts(context, name, 2);
    // Five numbers before the classes, not four.
    let has_objectness =
        ends_in_classes(&parts, columns) || context.labels.len() + 5 == columns || tail.contains("Exp");
    let is_other = nodes::has_no_scores_behind_four(&parts) || nodes::are_of_a_vector(context, name);
    if context.settings.format.is_none() && (!has_objectness || is_other) {
        return None;
    }
    let is_decoded = ["Add", "Mul", "Exp", "Sub"].iter().any(|op| tail.contains(op));
    let by = format!(
        "the shape of `{name}`: a box for each cell of grids of {} pixels, each with an objectness{}",
        grids::listed(strides),
        if is_decoded { "" } else { "; its last nodes don't decode the boxes" }
    );
    let head = Head {
        table: Decoded::new(name, !nodes::has_sigmoid(context, name)),
        cells: (!is_decoded).then(|| grids::each(context.size, strides).collect()),
    };
    Some((Arc::new(head), by))
}

/// Whether the last two parts are an objectness and the scores of the classes: made alike, or the first of them always 1. Key points behind
/// the score of a single class are no scores, and neither is the number of the surest class.
fn ends_in_classes(parts: &[nodes::Part<'_>], columns: usize) -> bool {
    let [.., one, classes] = parts else { return false };
    let is_scored = classes.op == "Sigmoid" && !matches!(one.op, "ReduceMax" | "TopK");
    [one.size, classes.size] == [1, columns - 5] && (is_scored || (one.op == classes.op && classes.op != "ArgMax"))
}

impl Detector for Head {
    fn reads(&self) -> Vec<String> {
        self.table.reads()
    }

    fn evidence(&self) -> Vec<Lies> {
        self.table.evidence()
    }

    fn boxes(&self, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
        self.table.with(value, |at, [x, y, width, height]| match self.cells.as_ref().and_then(|cells| cells.get(at)) {
            // `demo_postprocess` of YOLOX's `utils/demo_utils.py`.
            Some(&[column, row, stride]) => yolov8::around(
                [(x + column) * stride, (y + row) * stride],
                [width.exp() * stride, height.exp() * stride],
            ),
            None => yolov8::around([x, y], [width, height]),
        })
    }

    fn classes(&self) -> Option<super::ClassRow> {
        self.table.classes()
    }

    fn overlap(&self) -> Option<f32> {
        Some(OVERLAP)
    }

    fn emit(&self, to: &mut Emission<'_>) -> Option<Emitted> {
        let (columns, four) = self.table.emitted(to)?;
        let corners = match &self.cells {
            // As `boxes` decodes them.
            Some(cells) => {
                let (xy, wh) = (to.cut(&four, 0..2), to.cut(&four, 2..4));
                let places = to.constant(cells.iter().map(|[column, row, _]| [*column, *row]));
                let strides = to.constant(cells.iter().map(|[.., stride]| [*stride]));
                let (centre, sides) = (to.g.add(&xy, &places), to.g.unary("Exp", &wh));
                let (centre, sides) = (to.g.mul(&centre, &strides), to.g.mul(&sides, &strides));
                to.around(&centre, &sides)
            }
            None => to.boxed(&four),
        };
        self.table.emit_with(to, columns, corners)
    }
}
