//! `Upsample` and `Resize`.
//!
//! Until opset 10 coordinates were what is now `asymmetric`: x / scale. The nearest element was that below where an axis grows
//! and that above where it shrinks, as ONNX Runtime reads it.

use super::{Row, Upgrade, set_input, set_string, take};
use crate::{
    attr,
    proto::{NodeProto, TensorProto},
    types::ElemType,
};

pub(super) const ROWS: &[Row] =
    &[Row { op: "Resize", until: 18, rewrite: resize }, Row { op: "Upsample", until: i64::MAX, rewrite: upsample }];

type Result<T = Vec<NodeProto>> = std::result::Result<T, String>;

/// `Upsample` is `Resize` with scales of 1 and more.
fn upsample(up: &mut Upgrade, mut node: NodeProto) -> Result {
    let scales = match take(&mut node, "scales") {
        Some(scales) => {
            let values: Vec<f64> = scales.floats.iter().map(|&scale| f64::from(scale)).collect();
            let tensor = TensorProto::floats("", ElemType::Float, &[values.len() as i64], &values);
            up.constant(&node, "scales", tensor)
        }
        None => node.input.get(1).cloned().ok_or("it has no scales")?,
    };
    node.op_type = "Resize".into();
    if node.attr_str("mode") == Some("bilinear") {
        set_string(&mut node, "mode", "linear");
    }
    Ok(vec![asymmetric(node, scales, "floor")])
}

fn resize(up: &mut Upgrade, mut node: NodeProto) -> Result {
    if up.opset > 10 {
        return from_11(up, node);
    }
    let scales = node.input.get(1).cloned().ok_or("it has no scales")?;
    if node.attr_str("mode").unwrap_or("nearest") != "nearest" {
        return Ok(vec![asymmetric(node, scales, "floor")]);
    }
    let values = up.known.small.get(&scales).and_then(|tensor| tensor.to_floats().ok());
    match values {
        Some(values) if values.iter().all(|&scale| scale >= 1.0) => Ok(vec![asymmetric(node, scales, "floor")]),
        Some(values) if values.iter().all(|&scale| scale <= 1.0) => Ok(vec![asymmetric(node, scales, "ceil")]),
        // One step for the axes that grow, and one for those that shrink.
        _ => {
            let one = up.constant(&node, "one", TensorProto::floats("", ElemType::Float, &[], &[1.0]));
            let growing = up.helper(&node, "Max", vec![scales.clone(), one.clone()], vec![]);
            let shrinking = up.helper(&node, "Min", vec![scales, one], vec![]);
            let x = node.input.first().cloned().unwrap_or_default();
            let mut first = up.helper(&node, "Resize", vec![x], node.attribute.clone());
            first = asymmetric(first, growing.output[0].clone(), "floor");
            set_input(&mut node, 0, first.output[0].clone());
            let second = asymmetric(node, shrinking.output[0].clone(), "ceil");
            Ok(vec![growing, shrinking, first, second])
        }
    }
}

fn asymmetric(mut node: NodeProto, scales: String, nearest_mode: &str) -> NodeProto {
    node.input.truncate(1);
    set_input(&mut node, 2, scales);
    node.attribute.push(attr::string("coordinate_transformation_mode", "asymmetric"));
    if node.attr_str("mode").unwrap_or("nearest") == "nearest" {
        node.attribute.push(attr::string("nearest_mode", nearest_mode));
    }
    node
}

/// From opset 11: inputs that are not used were empty tensors and are now left out.
fn from_11(up: &mut Upgrade, mut node: NodeProto) -> Result {
    let mode = node.attr_str("coordinate_transformation_mode").unwrap_or("half_pixel").to_owned();
    if mode != "tf_crop_and_resize"
        && let Some(roi) = node.input.get_mut(1)
    {
        roi.clear();
    }
    for input in node.input.iter_mut().skip(1) {
        if up.known.small.get(input.as_str()).is_some_and(TensorProto::is_empty) {
            input.clear();
        }
    }
    if node.input.get(3).is_some_and(|sizes| !sizes.is_empty()) {
        // Sizes win over scales, of which there may be no more than one of the two now.
        node.input[2].clear();
    }
    if mode == "tf_half_pixel_for_nn" {
        // ⌊(x + ½) / scale⌋ is (x + ½) / scale − ½, the half pixel's place, rounded with halves up.
        if node.attr_str("nearest_mode") != Some("floor") {
            return Err("its coordinates (tf_half_pixel_for_nn) have no newer form with this nearest_mode".into());
        }
        set_string(&mut node, "coordinate_transformation_mode", "half_pixel");
        set_string(&mut node, "nearest_mode", "round_prefer_ceil");
    }
    Ok(vec![node])
}
