//! Operators whose `axes` became an input: `Squeeze`, `Unsqueeze`, `ReduceSum` with opset 13, the other reductions with 18.

use super::{Row, Upgrade, set_input, take};
use crate::proto::NodeProto;

pub(super) const ROWS: &[Row] = &[
    Row { op: "ReduceL1", until: 18, rewrite: axes },
    Row { op: "ReduceL2", until: 18, rewrite: axes },
    Row { op: "ReduceLogSum", until: 18, rewrite: axes },
    Row { op: "ReduceLogSumExp", until: 18, rewrite: axes },
    Row { op: "ReduceMax", until: 18, rewrite: axes },
    Row { op: "ReduceMean", until: 18, rewrite: axes },
    Row { op: "ReduceMin", until: 18, rewrite: axes },
    Row { op: "ReduceProd", until: 18, rewrite: axes },
    Row { op: "ReduceSum", until: 13, rewrite: axes },
    Row { op: "ReduceSumSquare", until: 18, rewrite: axes },
    Row { op: "Squeeze", until: 13, rewrite: axes },
    Row { op: "Unsqueeze", until: 13, rewrite: axes },
];

fn axes(up: &mut Upgrade, mut node: NodeProto) -> Result<Vec<NodeProto>, String> {
    if let Some(axes) = take(&mut node, "axes").filter(|axes| !axes.ints.is_empty()) {
        let axes = up.ints(&node, "axes", &axes.ints);
        set_input(&mut node, 1, axes);
    }
    Ok(vec![node])
}
