//! The families of models, and how each prepares photos.

use super::{Look, looks};
use crate::model::{
    preprocessing::{Color, Crop, Filter, Preprocessing},
    sizing::Sizing,
};

/// How a family prepares photos.
pub(super) struct Family {
    pub(super) name: &'static str,
    /// The formats of [`crate::task::detection::FORMATS`] that are its own, where one may be said.
    pub(super) formats: &'static [&'static str],
    crop: Crop,
    fill: Option<u8>,
    filter: Filter,
    color: Color,
    range: [f32; 2],
    mean: [f32; 3],
    std: [f32; 3],
    /// By what it is recognised, where it is.
    pub(super) recognise: fn(&Look<'_>) -> Option<String>,
}

/// Grey levels as they are.
const LEVELS: [f32; 2] = [0.0, 255.0];
const NO_MEAN: [f32; 3] = [0.0; 3];
const NO_STD: [f32; 3] = [1.0; 3];
/// ImageNet's, in the order of the tensor: PaddlePaddle's readers apply them so whatever the colours' order.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The families; the first that is recognised counts.
pub(super) const FAMILIES: &[Family] = &[
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
        recognise: looks::yolox,
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
        recognise: looks::yolo,
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
        recognise: looks::ultraface,
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
        recognise: looks::retinaface,
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
        recognise: looks::scrfd,
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
        recognise: looks::yunet,
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
        recognise: |look| looks::mediapipe(look, &[18]),
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
        recognise: |look| looks::mediapipe(look, &[16, 12]),
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
        recognise: looks::centerface,
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
        recognise: looks::nanodet,
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
        recognise: looks::paddle_detection,
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
        recognise: looks::rtdetr,
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
        recognise: looks::tensorflow,
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
        recognise: looks::paddle_text,
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
        recognise: looks::paddle_direction,
    },
    Family {
        name: "PaddleOCR's reader of lines",
        formats: &[],
        crop: Crop::Line,
        fill: None,
        filter: Filter::Bilinear,
        color: Color::Bgr,
        range: [0.0, 1.0],
        mean: [0.5; 3],
        std: [0.5; 3],
        recognise: looks::paddle_reader,
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
        recognise: looks::crnn,
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
        recognise: looks::arcface,
    },
];

const DIRECTION: &str = "PaddleOCR's classifier of a line's direction";

/// `cls_image_shape` of PaddleOCR: height and width of a line whose direction is told.
const LINE: (u32, u32) = (48, 192);

impl Family {
    pub(super) fn apply(&self, to: &mut Preprocessing, is_open: bool) {
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
