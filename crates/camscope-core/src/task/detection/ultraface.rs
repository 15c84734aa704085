//! UltraFace (Ultra-Light-Fast-Generic-Face-Detector-1MB): `scores` `[N, M, 2]` (background, face) behind a softmax, `boxes` `[N, M, 4]` (left,
//! top, right, bottom as shares of the input), at grids of 8 (3 boxes a cell), 16, 32 (2) and 64 pixels (3).

use std::sync::Arc;

use super::{
    Detector, Format, ssd,
    table::{called, cells, extent},
};
use crate::task::Context;

pub(super) const FORMAT: Format =
    Format { name: "ultraface", about: "UltraFace: scores [N, boxes, 2] and boxes [N, boxes, 4], decoded", recognise };

/// Its authors'.
const OVERLAP: f32 = 0.3;

fn recognise(context: &Context<'_>) -> Option<(Arc<dyn Detector>, String)> {
    let settings = context.settings;
    let boxes = settings.boxes.as_deref().or_else(|| called(context, &["boxes"]))?;
    let scores = settings.scores.as_deref().or_else(|| called(context, &["scores"]))?;
    let ((rows, columns), (of_boxes, four)) = (extent(context, scores)?, extent(context, boxes)?);
    let size = context.size;
    let expected = 3 * cells(size, &[8]) + 2 * cells(size, &[16, 32]) + 3 * cells(size, &[64]);
    let is_grid = rows == expected || settings.format.is_some();
    if rows != of_boxes || columns != 2 || four != 4 || !is_grid {
        return None;
    }
    let by = format!("its outputs' names and shapes, `{scores}` {rows} × 2 and `{boxes}` {rows} × 4");
    Some((Arc::new(ssd::Head::decoded(context, [scores, boxes], columns, OVERLAP)), by))
}
