//! Operators that were renamed, lost an attribute or an output, or changed a default.

use super::{Row, Upgrade, take};
use crate::{attr, proto::NodeProto};

pub(super) const ROWS: &[Row] = &[
    Row { op: "BatchNormalization", until: 14, rewrite: batch_normalization },
    Row { op: "RoiAlign", until: 16, rewrite: roi_align },
    Row { op: "Scan", until: 9, rewrite: scan },
    Row { op: "Scatter", until: i64::MAX, rewrite: scatter },
];

type Result<T = Vec<NodeProto>> = std::result::Result<T, String>;

/// Statistics for training, asked for by naming outputs, are not carried over; nor is normalising every place by itself.
fn batch_normalization(_: &mut Upgrade, mut node: NodeProto) -> Result {
    if node.output.iter().skip(1).any(|output| !output.is_empty()) {
        return Err("it outputs statistics for training".into());
    }
    if take(&mut node, "spatial").is_some_and(|spatial| spatial.i == Some(0)) {
        return Err("it normalises every place by itself (spatial = 0), for which newer opsets have no form".into());
    }
    node.output.truncate(1);
    Ok(vec![node])
}

/// Coordinates were as `output_half_pixel` has them before there was a choice.
fn roi_align(_: &mut Upgrade, mut node: NodeProto) -> Result {
    node.attribute.push(attr::string("coordinate_transformation_mode", "output_half_pixel"));
    Ok(vec![node])
}

fn scan(_: &mut Upgrade, _: NodeProto) -> Result {
    Err("the batched form of opset 8 was given up".into())
}

fn scatter(_: &mut Upgrade, mut node: NodeProto) -> Result {
    node.op_type = "ScatterElements".into();
    Ok(vec![node])
}
