//! `Softmax`, `LogSoftmax` and `Hardmax`, which until opset 12 saw their input as a matrix: rows up to `axis`, columns from it.

use super::{Row, Upgrade, take};
use crate::{attr, proto::NodeProto};

pub(super) const ROWS: &[Row] = &[
    Row { op: "Hardmax", until: 13, rewrite: softmax },
    Row { op: "LogSoftmax", until: 13, rewrite: softmax },
    Row { op: "Softmax", until: 13, rewrite: softmax },
];

fn softmax(up: &mut Upgrade, mut node: NodeProto) -> Result<Vec<NodeProto>, String> {
    let axis = take(&mut node, "axis").map_or(1, |axis| axis.i.unwrap_or(0));
    node.attribute.push(attr::int("axis", -1));
    let (Some(x), Some(y)) = (node.input.first().cloned(), node.output.first().cloned()) else {
        return Err("it has no input or no output".into());
    };
    // Over the last axis old and new mean the same.
    let last = up.rank(&x).or_else(|| up.rank(&y)).is_some_and(|rank| axis == rank as i64 - 1);
    if axis == -1 || last {
        return Ok(vec![node]);
    }
    let shape = up.helper(&node, "Shape", vec![x.clone()], vec![]);
    let matrix = up.helper(&node, "Flatten", vec![x], vec![attr::int("axis", axis)]);
    let result = up.fresh(&format!("{y}.matrix"));
    node.input[0] = matrix.output[0].clone();
    node.output[0] = result.clone();
    let mut back = up.helper(&node, "Reshape", vec![result, shape.output[0].clone()], vec![]);
    back.output[0] = y;
    Ok(vec![shape, matrix, node, back])
}
