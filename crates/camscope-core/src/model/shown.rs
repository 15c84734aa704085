//! What a model's graph shows of how photos are prepared: the family that it belongs to, what its first nodes do to its input, and whether
//! it answers for places of the photo.
//!
//! A family is a row of [`FAMILIES`]. It is recognised by the outputs that the file declares; nothing is guessed in silence:
//! [`Shown::prepared`] says by what.

use std::collections::HashSet;

use onnx_grad::{
    ValueType,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use super::inside::{Inside, inside};
use super::network::{Input, Network};
use super::preprocessing::{Color, Crop, Filter, Preprocessing, Source};
use super::sizing::Sizing;
use crate::probe::{self, Feed};

/// How a family prepares photos.
pub(super) struct Family {
    name: &'static str,
    /// The formats of [`crate::task::detection::FORMATS`] that are its own, where one may be said.
    formats: &'static [&'static str],
    crop: Crop,
    fill: Option<u8>,
    filter: Filter,
    color: Color,
    range: [f32; 2],
    mean: [f32; 3],
    std: [f32; 3],
    /// By what it is recognised, where it is.
    recognise: fn(&Look<'_>) -> Option<String>,
}

/// Grey levels as they are.
const LEVELS: [f32; 2] = [0.0, 255.0];
const NO_MEAN: [f32; 3] = [0.0; 3];
const NO_STD: [f32; 3] = [1.0; 3];
/// ImageNet's, in the order of the tensor: PaddlePaddle's readers apply them so whatever the colours' order.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The families; the first that is recognised counts.
const FAMILIES: &[Family] = &[
    Family {
        name: "YOLOX",
        formats: &["yolox"],
        crop: Crop::Corner,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Bgr,
        range: LEVELS,
        mean: NO_MEAN,
        std: NO_STD,
        recognise: yolox,
    },
    Family {
        name: "YOLO",
        formats: &["yolov5", "yolov7", "yolov8", "end2end"],
        crop: Crop::Letterbox,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: [0.0, 1.0],
        mean: NO_MEAN,
        std: NO_STD,
        recognise: yolo,
    },
    Family {
        name: "UltraFace",
        formats: &["ultraface"],
        crop: Crop::Squash,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: LEVELS,
        mean: [127.0; 3],
        std: [128.0; 3],
        recognise: ultraface,
    },
    Family {
        name: "RetinaFace",
        formats: &["retinaface"],
        crop: Crop::Squash,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Bgr,
        range: LEVELS,
        mean: [104.0, 117.0, 123.0],
        std: NO_STD,
        recognise: retinaface,
    },
    Family {
        name: "InsightFace's SCRFD",
        formats: &["scrfd"],
        crop: Crop::Corner,
        fill: Some(0),
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: LEVELS,
        mean: [127.5; 3],
        std: [128.0; 3],
        recognise: scrfd,
    },
    Family {
        name: "YuNet",
        formats: &["yunet"],
        crop: Crop::Corner,
        fill: Some(0),
        filter: Filter::Bilinear,
        color: Color::Bgr,
        range: LEVELS,
        mean: NO_MEAN,
        std: NO_STD,
        recognise: yunet,
    },
    Family {
        name: "MediaPipe's detector of palms",
        formats: &[],
        crop: Crop::Letterbox,
        fill: Some(0),
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: [0.0, 1.0],
        mean: NO_MEAN,
        std: NO_STD,
        recognise: |look| mediapipe(look, &[18]),
    },
    Family {
        name: "MediaPipe's detector of faces or bodies",
        formats: &["mediapipe"],
        crop: Crop::Letterbox,
        fill: Some(0),
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: LEVELS,
        mean: [127.5; 3],
        std: [127.5; 3],
        recognise: |look| mediapipe(look, &[16, 12]),
    },
    Family {
        name: "CenterFace",
        formats: &["centerface"],
        crop: Crop::Squash,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: LEVELS,
        mean: NO_MEAN,
        std: NO_STD,
        recognise: centerface,
    },
    Family {
        name: "NanoDet",
        formats: &["nanodet"],
        crop: Crop::Squash,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Bgr,
        range: LEVELS,
        mean: [103.53, 116.28, 123.675],
        std: [57.375, 57.12, 58.395],
        recognise: nanodet,
    },
    Family {
        name: "PaddleDetection",
        formats: &["picodet", "paddle"],
        crop: Crop::Squash,
        fill: None,
        filter: Filter::Bicubic,
        color: Color::Rgb,
        range: [0.0, 1.0],
        mean: MEAN,
        std: STD,
        recognise: paddle_detection,
    },
    Family {
        name: "RT-DETR",
        formats: &["rtdetr-deployed"],
        crop: Crop::Squash,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: [0.0, 1.0],
        mean: NO_MEAN,
        std: NO_STD,
        recognise: rtdetr,
    },
    Family {
        name: "TensorFlow's Object Detection",
        formats: &["tensorflow"],
        crop: Crop::Squash,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: LEVELS,
        mean: NO_MEAN,
        std: NO_STD,
        recognise: tensorflow,
    },
    Family {
        name: "PaddleOCR's detector of text",
        formats: &[],
        crop: Crop::Squash,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Bgr,
        range: [0.0, 1.0],
        mean: MEAN,
        std: STD,
        recognise: paddle_text,
    },
    Family {
        name: DIRECTION,
        formats: &[],
        crop: Crop::Line,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Bgr,
        range: [0.0, 1.0],
        mean: [0.5; 3],
        std: [0.5; 3],
        recognise: paddle_direction,
    },
    Family {
        name: "readers of lines (CRNN)",
        formats: &[],
        crop: Crop::Line,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: [0.0, 1.0],
        mean: [0.5; 3],
        std: [0.5; 3],
        recognise: crnn,
    },
    Family {
        name: "InsightFace's recognition",
        formats: &[],
        crop: Crop::Squash,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Rgb,
        range: LEVELS,
        mean: [127.5; 3],
        std: [127.5; 3],
        recognise: arcface,
    },
];

const DIRECTION: &str = "PaddleOCR's classifier of a line's direction";

/// `cls_image_shape` of PaddleOCR: height and width of a line whose direction is told.
const LINE: (u32, u32) = (48, 192);

/// What is looked at: the graph, and the shapes that it declares, `None` where an extent is open.
struct Look<'a> {
    graph: &'a GraphProto,
    index: Index<'a>,
    input: &'a str,
    /// The input's extents.
    shape: &'a [Option<usize>],
    /// Height and width of the input, where both are fixed.
    size: Option<[usize; 2]>,
    /// The names of the other inputs.
    others: Vec<&'a str>,
    outputs: Vec<(&'a str, Vec<Option<usize>>)>,
    is_paddle: bool,
}

/// What a model's graph shows.
#[derive(Default)]
pub(super) struct Shown {
    family: Option<(&'static Family, String)>,
    inside: Option<Inside>,
    /// Whether it answers for places of the photo, so that all of it should be seen.
    has_places: bool,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = self.family.as_ref().map(|(family, by)| (family.name, by));
        f.debug_struct("Shown").field("family", &family).field("inside", &self.inside).finish_non_exhaustive()
    }
}

impl Shown {
    pub(super) fn of(network: &Network) -> Self {
        let graph = network.model.graph();
        let mut outputs: Vec<(&str, Vec<Option<usize>>)> =
            graph.output.iter().map(|output| (output.name.as_str(), declared(output))).collect();
        // What an exporter leaves open, along with the batch, mostly follows from the input's size.
        if outputs.iter().any(|(_, shape)| shape.iter().skip(1).any(Option::is_none) || shape.is_empty()) {
            let sizes = output_shapes(network).unwrap_or_default();
            for ((_, shape), sizes) in outputs.iter_mut().zip(sizes) {
                let open = shape.first().copied().flatten();
                *shape = sizes.into_iter().map(Some).collect();
                // The batch stays open.
                if let (Some(first), None) = (shape.first_mut(), open) {
                    *first = None;
                }
            }
        }
        let look = Look {
            graph,
            index: Index::new(graph),
            input: &network.input().name,
            shape: &network.input().shape,
            size: sides(&network.input().shape),
            others: network.others().map(|input| input.name.as_str()).collect(),
            outputs,
            is_paddle: is_paddle(network),
        };
        Self {
            family: FAMILIES.iter().find_map(|family| Some((family, (family.recognise)(&look)?))),
            inside: inside(graph, &look.index, look.input),
            has_places: has_places(&look, network.input().batch()),
        }
    }

    /// What is assumed of a photo, with what the graph shows in place of it. `format` is that of a detection head, where somebody said it.
    pub(super) fn prepared(&self, assumed: Preprocessing, is_open: bool, format: Option<&str>) -> Preprocessing {
        let said = format.and_then(|format| FAMILIES.iter().find(|family| family.formats.contains(&format)));
        let family = match (said, &self.family) {
            (Some(family), _) => Some((family, "`format` under [task] in the sidecar")),
            // Another format was said than the graph looks like.
            (None, Some(_)) if format.is_some() => None,
            (None, Some((family, by))) => Some((*family, by.as_str())),
            (None, None) => None,
        };
        let mut found = assumed;
        let mut said = Vec::new();
        if let Some((family, by)) = family {
            let has = if family.name.starts_with("readers") { "have" } else { "has" };
            said.push(format!("as {} {has} it, by {by}", family.name));
            family.apply(&mut found, is_open);
        } else {
            let has_centre = matches!(found.crop, Crop::CentreFraction(_));
            let places = (self.has_places || format.is_some()) && has_centre && found.sizing == Sizing::Said;
            if !places && self.inside.is_none() {
                return found;
            }
            said.push(Source::Assumed.to_string().trim_start_matches("preprocessing ").to_owned());
            if places {
                found.crop = Crop::Squash;
                said.push("all of the photo is seen, since the model answers for its places".into());
            }
        }
        if let Some(inside) = &self.inside {
            inside.apply(&mut found);
            said.push(format!("values as the model's first nodes take them, which normalise them: {inside}"));
        }
        found.source = Source::Graph(said.join("; "));
        found
    }
}

impl Family {
    fn apply(&self, to: &mut Preprocessing, is_open: bool) {
        if self.name == DIRECTION && is_open {
            (to.size, to.sizing) = (LINE, Sizing::Said);
        }
        // A size that follows the photo's keeps its proportions anyway.
        if to.sizing == Sizing::Said {
            to.crop = self.crop;
        }
        to.fill = self.fill;
        to.filter = self.filter;
        if to.color == Color::Rgb {
            to.color = self.color;
        }
        if to.whole {
            // Integers: grey levels as they are.
            return;
        }
        let channels = to.color.channels();
        let of = |values: [f32; 3]| match channels {
            1 => vec![values.iter().sum::<f32>() / 3.0],
            _ => values.to_vec(),
        };
        (to.range, to.mean, to.std) = (self.range, of(self.mean), of(self.std));
    }
}

fn declared(output: &onnx_grad::proto::ValueInfoProto) -> Vec<Option<usize>> {
    let shape = output.r#type.as_ref().and_then(ValueType::from_proto).and_then(|ty| ty.shape);
    shape.unwrap_or_default().iter().map(|dim| dim.fixed()).collect()
}

/// The extents of the outputs, for one image, where the input's are fixed.
fn output_shapes(network: &Network) -> Option<Vec<Vec<usize>>> {
    let feed = |input: &Input| {
        let rest: Option<Vec<usize>> = input.shape.iter().skip(1).copied().collect();
        let batch = input.batch().unwrap_or(1);
        let shape: Vec<usize> = std::iter::once(batch).chain(rest?).collect();
        Some(Feed { name: input.name.clone(), elem: input.elem, shape, free_batch: input.batch().is_none() })
    };
    let feeds: Option<Vec<Feed>> = network.inputs.iter().map(feed).collect();
    probe::output_shapes(network.model.graph(), &feeds?)
}

/// Height and width of an input with colours, where both are fixed.
fn sides(shape: &[Option<usize>]) -> Option<[usize; 2]> {
    match *shape {
        [_, Some(1 | 3), height, width] | [_, height, width, Some(1 | 3)] => Some([height?, width?]),
        _ => None,
    }
}

/// Whether PaddlePaddle's converter wrote the file: it says so, or values are named as it names them.
fn is_paddle(network: &Network) -> bool {
    let model = network.model.proto();
    model.producer_name.to_lowercase().contains("paddle")
        || network.outputs.iter().any(|name| name.contains(".tmp_") || name.starts_with("save_infer_model/"))
}

/// Whether the model answers for places of the photo: boxes, pixels, characters; no output is a row of scores or an embedding.
fn has_places(look: &Look<'_>, batch: Option<usize>) -> bool {
    let is_row = |shape: &[Option<usize>]| {
        let several = shape.iter().skip(1).filter(|extent| **extent != Some(1)).count();
        shape.len() > 1 && several < 2 && (shape[0] == batch || shape[0] == Some(1))
    };
    let is_map = |(name, shape): &(&str, Vec<Option<usize>>)| {
        let name = name.to_lowercase();
        let is_feature = ["hidden", "embed", "pool", "feature", "token"].iter().any(|word| name.contains(word));
        !is_feature && shape.len() > 2 && !is_row(shape)
    };
    if look.has("NonMaxSuppression") {
        return true;
    }
    !look.outputs.iter().any(|(_, shape)| shape.is_empty() || is_row(shape)) && look.outputs.iter().any(is_map)
}

impl Look<'_> {
    fn has(&self, op: &str) -> bool {
        self.graph.node.iter().any(|node| node.op_type == op)
    }

    /// Whether every second pixel is taken first, as the Focus of early YOLOv5 and of YOLOX does.
    fn has_focus(&self) -> bool {
        let readers: Vec<&NodeProto> = self.index.readers(self.input).collect();
        readers.iter().filter(|node| node.op_type == "Slice").count() >= 2
            && readers.iter().all(|node| matches!(&*node.op_type, "Slice" | "Shape"))
            && self.graph.node.iter().filter(|node| node.op_type == "Slice").count() >= 4
    }

    /// Whether arithmetic is done between a value and the weights before it, as where boxes are decoded.
    fn decodes(&self, value: &str) -> bool {
        let (mut seen, mut open) = (HashSet::new(), vec![value]);
        while let Some(name) = open.pop() {
            let Some(node) = self.index.producer_node(name).filter(|_| seen.insert(name)) else { continue };
            match &*node.op_type {
                "Add" | "Sub" | "Mul" | "Div" | "Exp" | "Pow" => return true,
                "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "QLinearConv" | "QLinearMatMul" => {}
                // What follows is a shape or a place.
                "Reshape" | "Slice" | "Gather" | "Expand" | "Split" => {
                    open.extend(node.input.first().map(String::as_str))
                }
                _ => open.extend(node.input.iter().map(String::as_str).filter(|name| !name.is_empty())),
            }
        }
        false
    }

    /// The first output, where it has three axes, without the batch: rows and columns.
    fn table(&self) -> Option<(&str, usize, usize)> {
        match &self.outputs[..] {
            [(name, shape), ..] => match shape[..] {
                [_, Some(rows), Some(columns)] => Some((name, rows, columns)),
                _ => None,
            },
            [] => None,
        }
    }

    /// How many cells grids of these strides have.
    fn cells(&self, strides: &[usize]) -> Option<usize> {
        let [height, width] = self.size?;
        Some(strides.iter().map(|stride| height.div_ceil(*stride) * width.div_ceil(*stride)).sum())
    }

    /// Whether so many rows are the cells of YOLO's grids, with so many boxes each.
    fn are_cells(&self, rows: usize, anchors: usize) -> bool {
        let grids: [&[usize]; 3] = [&[8, 16, 32], &[8, 16, 32, 64], &[4, 8, 16, 32]];
        grids.iter().any(|strides| self.cells(strides).is_some_and(|cells| cells * anchors == rows))
    }

    /// The output of so many rows and columns, behind the batch.
    fn of_shape(&self, rows: usize, columns: usize) -> Option<&str> {
        let fits = |shape: &[Option<usize>]| matches!(shape, [.., r, c] if *r == Some(rows) && *c == Some(columns));
        self.outputs.iter().find(|(_, shape)| fits(shape)).map(|(name, _)| *name)
    }

    /// Whether there is an output of that name, without what stands before its last slash or behind a colon.
    fn has_output(&self, name: &str) -> bool {
        let bare = |own: &str| own.split(':').next().and_then(|own| own.rsplit('/').next()) == Some(name);
        self.outputs.iter().any(|(own, _)| bare(own))
    }
}

fn yolox(look: &Look<'_>) -> Option<String> {
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

fn yolo(look: &Look<'_>) -> Option<String> {
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

fn ultraface(look: &Look<'_>) -> Option<String> {
    let rows = 3 * look.cells(&[8])? + 2 * look.cells(&[16, 32])? + 3 * look.cells(&[64])?;
    let (scores, boxes) = (look.of_shape(rows, 2)?, look.of_shape(rows, 4)?);
    Some(format!("the shapes of `{scores}` and `{boxes}`, {rows} boxes"))
}

fn retinaface(look: &Look<'_>) -> Option<String> {
    let rows = 2 * look.cells(&[8, 16, 32])?;
    for columns in [2, 4, 10] {
        look.of_shape(rows, columns)?;
    }
    Some(format!("its outputs' shapes: of each of {rows} boxes two numbers, four and ten"))
}

fn scrfd(look: &Look<'_>) -> Option<String> {
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

fn yunet(look: &Look<'_>) -> Option<String> {
    let rows = |stride| look.cells(&[stride]);
    let has = |count: usize, rows: usize, columns: usize| {
        let fits = |(_, shape): &&(&str, Vec<Option<usize>>)| shape.ends_with(&[Some(rows), Some(columns)]);
        look.outputs.iter().filter(fits).count() == count
    };
    let level = |stride| rows(stride).is_some_and(|rows| has(2, rows, 1) && has(1, rows, 4) && has(1, rows, 10));
    let fits = look.outputs.len() == 12 && [8, 16, 32].into_iter().all(level);
    fits.then(|| "its 12 outputs: two scores, boxes and landmarks by grid".into())
}

fn centerface(look: &Look<'_>) -> Option<String> {
    let channels: Vec<Option<usize>> =
        look.outputs.iter().filter(|(_, shape)| shape.len() == 4).map(|(_, shape)| shape[1]).collect();
    (look.outputs.len() == 4 && channels == [1, 2, 2, 10].map(Some)).then(|| "its outputs: 1, 2, 2 and 10 maps".into())
}

fn mediapipe(look: &Look<'_>, columns: &[usize]) -> Option<String> {
    let is_table = |name_and_shape: &(&str, Vec<Option<usize>>), columns: usize| {
        name_and_shape.1.len() == 3 && name_and_shape.1[2] == Some(columns)
    };
    let of = |columns| look.outputs.iter().filter(|output| is_table(output, columns)).count();
    let pairs = of(1);
    // As many cells as its grids have, which the format looks for.
    let rows = |columns: usize| {
        let boxes: usize =
            look.outputs.iter().filter(|output| is_table(output, columns)).filter_map(|output| output.1[1]).sum();
        let grids: [Option<usize>; 4] = [
            look.cells(&[8]).zip(look.cells(&[16])).map(|(fine, coarse)| 2 * fine + 6 * coarse),
            look.cells(&[16]).zip(look.cells(&[32])).map(|(fine, coarse)| 2 * fine + 6 * coarse),
            look.cells(&[8, 16]).zip(look.cells(&[32])).map(|(fine, coarse)| 2 * fine + 6 * coarse),
            look.cells(&[4]),
        ];
        grids.contains(&Some(boxes))
    };
    let columns = columns.iter().find(|&&columns| of(columns) == pairs && rows(columns))?;
    (pairs > 0 && look.outputs.len() == 2 * pairs)
        .then(|| format!("its {} outputs: scores, and boxes of {columns} numbers", look.outputs.len()))
}

fn nanodet(look: &Look<'_>) -> Option<String> {
    let (name, rows, columns) = look.table()?;
    // Joined of scores and of 4 × 8 bins.
    let node = look.graph.node.iter().rev().find(|node| node.op_type == "Concat" && node.attr_int("axis") != Some(0));
    let is_joined = node.is_some_and(|node| {
        node.input.iter().filter_map(|part| channels(look, part)).eq([columns.saturating_sub(32), 32])
    });
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

fn paddle_detection(look: &Look<'_>) -> Option<String> {
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

fn rtdetr(look: &Look<'_>) -> Option<String> {
    look.others.contains(&"orig_target_sizes").then(|| "its input `orig_target_sizes`".into())
}

fn tensorflow(look: &Look<'_>) -> Option<String> {
    ["detection_boxes", "detection_scores"]
        .into_iter()
        .all(|name| look.has_output(name))
        .then(|| "its outputs' names, `detection_boxes` and `detection_scores`".into())
}

fn paddle_text(look: &Look<'_>) -> Option<String> {
    match &look.outputs[..] {
        [(name, shape)] if look.is_paddle && shape.len() == 4 && shape[1] == Some(1) => {
            Some(format!("PaddlePaddle's names of values, and the shape of `{name}`, one map"))
        }
        _ => None,
    }
}

fn paddle_direction(look: &Look<'_>) -> Option<String> {
    match &look.outputs[..] {
        [(name, shape)] if look.is_paddle && shape.len() == 2 && shape[1] == Some(2) => {
            Some(format!("PaddlePaddle's names of values, and the shape of `{name}`, two classes"))
        }
        _ => None,
    }
}

fn crnn(look: &Look<'_>) -> Option<String> {
    let is_line = matches!(*look.shape, [_, Some(1 | 3), Some(height), None] if height <= 128);
    is_line.then(|| "its input, of a fixed height and an open width".into())
}

fn arcface(look: &Look<'_>) -> Option<String> {
    match &look.outputs[..] {
        [(name, shape)] if look.size == Some([112, 112]) && shape.len() == 2 && shape[1] == Some(512) => {
            Some(format!("the size of its input, 112 × 112, and the shape of `{name}`, 512 numbers"))
        }
        _ => None,
    }
}
