//! By what of a graph a family of models is recognised.

use onnx_grad::proto::NodeProto;

use super::Look;

pub(super) fn yolox(look: &Look<'_>) -> Option<String> {
    let (name, rows, columns) = look.table()?;
    if columns < 6 || !look.are_cells(rows, 1) || nanodet(look).is_some() {
        return None;
    }
    let why = if look.has_focus() {
        "its first nodes, which take every second pixel (Focus)"
    } else if columns < rows && !look.decodes(name) {
        "its last nodes, which don't decode the boxes"
    } else {
        return None;
    };
    Some(format!("the shape of `{name}`, a box for each cell, and {why}"))
}

pub(super) fn yolo(look: &Look<'_>) -> Option<String> {
    if let Some((name, one, two)) = look.table() {
        let is_v5 = two > 5 && look.are_cells(one, 3);
        let is_v8 = one > 4 && one < two && look.are_cells(two, 1);
        let is_v6 = two > 5 && two < one && look.are_cells(one, 1) && nanodet(look).is_none();
        let boxes = if is_v5 { "three boxes" } else { "a box" };
        if look.outputs.len() < 3 && (is_v5 || is_v8 || is_v6) {
            return Some(format!("the shape of `{name}`, {boxes} for each cell of its grids"));
        }
    }
    let [height, width] = look.size?;
    let level = |stride: usize| {
        look.outputs.iter().any(|(_, shape)| {
            shape.len() == 5 && shape[1..4] == [Some(3), Some(height.div_ceil(stride)), Some(width.div_ceil(stride))]
        })
    };
    [8, 16, 32].into_iter().all(level).then(|| "its outputs' shapes, three boxes for each cell of three grids".into())
}

pub(super) fn ultraface(look: &Look<'_>) -> Option<String> {
    let rows = 3 * look.cells(&[8])? + 2 * look.cells(&[16, 32])? + 3 * look.cells(&[64])?;
    let (scores, boxes) = (look.of_shape(rows, 2)?, look.of_shape(rows, 4)?);
    Some(format!("the shapes of `{scores}` and `{boxes}`, {rows} boxes"))
}

pub(super) fn retinaface(look: &Look<'_>) -> Option<String> {
    let rows = 2 * look.cells(&[8, 16, 32])?;
    for columns in [2, 4, 10] {
        look.of_shape(rows, columns)?;
    }
    Some(format!("its outputs' shapes: of each of {rows} boxes two numbers, four and ten"))
}

pub(super) fn scrfd(look: &Look<'_>) -> Option<String> {
    let levels = look.outputs.len() / 3;
    let of = |columns| look.outputs.iter().filter(|(_, shape)| shape.last() == Some(&Some(columns))).count();
    let rows = |shape: &[Option<usize>]| shape.len().checked_sub(2).map(|at| shape[at]);
    let count = look.outputs.len();
    let fits = match count {
        9 | 15 => of(1) == levels && of(4) == levels && of(10) == levels,
        6 => of(1) == 3 && of(4) == 3,
        _ => false,
    };
    let are_tables = look.outputs.iter().all(|(_, shape)| matches!(shape.len(), 2 | 3) && rows(shape).is_some());
    (fits && are_tables).then(|| format!("its {count} outputs: scores, distances and landmarks by grid"))
}

pub(super) fn yunet(look: &Look<'_>) -> Option<String> {
    let rows = |stride| look.cells(&[stride]);
    let has = |count: usize, rows: usize, columns: usize| {
        let fits = |(_, shape): &&(&str, Vec<Option<usize>>)| shape.ends_with(&[Some(rows), Some(columns)]);
        look.outputs.iter().filter(fits).count() == count
    };
    let level = |stride| rows(stride).is_some_and(|rows| has(2, rows, 1) && has(1, rows, 4) && has(1, rows, 10));
    let fits = look.outputs.len() == 12 && [8, 16, 32].into_iter().all(level);
    fits.then(|| "its 12 outputs: two scores, boxes and landmarks by grid".into())
}

pub(super) fn centerface(look: &Look<'_>) -> Option<String> {
    let channels: Vec<Option<usize>> =
        look.outputs.iter().filter(|(_, shape)| shape.len() == 4).map(|(_, shape)| shape[1]).collect();
    (look.outputs.len() == 4 && channels == [1, 2, 2, 10].map(Some)).then(|| "its outputs: 1, 2, 2 and 10 maps".into())
}

pub(super) fn mediapipe(look: &Look<'_>, columns: &[usize]) -> Option<String> {
    let tables = |columns: usize| {
        let rows = look.outputs.iter().filter_map(move |(_, shape)| match shape[..] {
            [_, Some(rows), Some(own)] if own == columns => Some(rows),
            _ => None,
        });
        rows.collect::<Vec<_>>()
    };
    // Two boxes a cell of the finer grids and six of the coarsest, or one of a single grid.
    let graded = |fine: &[usize], coarse: usize| Some(2 * look.cells(fine)? + 6 * look.cells(&[coarse])?);
    let all = [graded(&[8], 16), graded(&[16], 32), graded(&[8, 16], 32), look.cells(&[4])];
    let scores = tables(1);
    let fits = |boxes: Vec<usize>| boxes == scores && all.contains(&Some(boxes.iter().sum()));
    let columns = columns.iter().find(|columns| fits(tables(**columns)))?;
    (!scores.is_empty() && look.outputs.len() == 2 * scores.len())
        .then(|| format!("its {} outputs: scores, and boxes of {columns} numbers", look.outputs.len()))
}

pub(super) fn nanodet(look: &Look<'_>) -> Option<String> {
    let (name, rows, columns) = look.table()?;
    // Joined of scores and of 4 × 8 bins.
    let joins = |node: &&NodeProto| node.op_type == "Concat" && node.attr_int("axis") != Some(0);
    let parts = |node: &NodeProto| {
        node.input.iter().filter_map(|part| channels(look, part)).eq([columns.saturating_sub(32), 32])
    };
    let is_joined = look.graph.node.iter().filter(joins).any(parts);
    let is_coco = columns == 112;
    (look.outputs.len() == 1 && columns > 32 && (is_joined || is_coco) && look.are_cells(rows, 1))
        .then(|| format!("the shape of `{name}`: of each cell scores and 4 × 8 bins"))
}

/// How many channels the convolution puts out that makes a value.
fn channels(look: &Look<'_>, value: &str) -> Option<usize> {
    let mut value = value;
    for _ in 0..4 {
        let node = look.index.producer_node(value)?;
        if node.op_type == "Conv" {
            let weight = look.index.constant(node.input.get(1)?)?;
            return weight.dims.first().and_then(|count| usize::try_from(*count).ok());
        }
        value = node.input.first()?;
    }
    None
}

pub(super) fn paddle_detection(look: &Look<'_>) -> Option<String> {
    if look.others.contains(&"scale_factor") {
        return Some("its input `scale_factor`".into());
    }
    // Of each grid scores, and 4 × 8 bins.
    let bins: Vec<usize> = look.outputs.iter().filter_map(|(_, shape)| rows_of(shape, 32)).collect();
    let grids = [8, 16, 32, 64].into_iter().filter_map(|stride| look.cells(&[stride])).collect::<Vec<_>>();
    let fits = bins.len() > 1 && 2 * bins.len() == look.outputs.len() && bins.iter().all(|rows| grids.contains(rows));
    fits.then(|| "its outputs' shapes: scores and 4 × 8 bins by grid (PicoDet)".into())
}

fn rows_of(shape: &[Option<usize>], columns: usize) -> Option<usize> {
    match *shape {
        [_, rows, last] if last == Some(columns) => rows,
        _ => None,
    }
}

pub(super) fn rtdetr(look: &Look<'_>) -> Option<String> {
    look.others.contains(&"orig_target_sizes").then(|| "its input `orig_target_sizes`".into())
}

pub(super) fn tensorflow(look: &Look<'_>) -> Option<String> {
    ["detection_boxes", "detection_scores"]
        .into_iter()
        .all(|name| look.has_output(name))
        .then(|| "its outputs' names, `detection_boxes` and `detection_scores`".into())
}

pub(super) fn paddle_text(look: &Look<'_>) -> Option<String> {
    match &look.outputs[..] {
        [(name, shape)] if look.is_paddle && shape.len() == 4 && shape[1] == Some(1) => {
            Some(format!("PaddlePaddle's names of values, and the shape of `{name}`, one map"))
        }
        _ => None,
    }
}

pub(super) fn paddle_direction(look: &Look<'_>) -> Option<String> {
    // Later ones take pictures of 80 × 160 as they take others.
    let is_line = matches!(*look.shape, [_, _, Some(48) | None, _]);
    match &look.outputs[..] {
        [(name, shape)] if is_line && look.is_paddle && shape.len() == 2 && shape[1] == Some(2) => {
            Some(format!("PaddlePaddle's names of values, and the shape of `{name}`, two classes"))
        }
        _ => None,
    }
}

pub(super) fn paddle_reader(look: &Look<'_>) -> Option<String> {
    crnn(look).filter(|_| look.is_paddle).map(|by| format!("PaddlePaddle's names of values, and {by}"))
}

pub(super) fn crnn(look: &Look<'_>) -> Option<String> {
    let is_line = matches!(*look.shape, [_, Some(1 | 3), Some(height), None] if height <= 128);
    is_line.then(|| "its input, of a fixed height and an open width".into())
}

pub(super) fn arcface(look: &Look<'_>) -> Option<String> {
    match &look.outputs[..] {
        [(name, shape)] if look.size == Some([112, 112]) && shape.len() == 2 && shape[1] == Some(512) => {
            Some(format!("the size of its input, 112 × 112, and the shape of `{name}`, 512 numbers"))
        }
        _ => None,
    }
}
