//! Operators whose attributes became inputs.

use super::{Row, Upgrade, set_input, take};
use crate::{
    attr,
    proto::{NodeProto, TensorProto},
};

pub(super) const ROWS: &[Row] = &[
    Row { op: "Clip", until: 11, rewrite: clip },
    Row { op: "Dropout", until: 12, rewrite: dropout },
    Row { op: "Pad", until: 11, rewrite: pad },
    Row { op: "Slice", until: 10, rewrite: slice },
    Row { op: "Split", until: 18, rewrite: split },
    Row { op: "TopK", until: 10, rewrite: top_k },
];

type Result<T = Vec<NodeProto>> = std::result::Result<T, String>;

/// `min` and `max`; what isn't stated stays unbounded.
fn clip(up: &mut Upgrade, mut node: NodeProto) -> Result {
    let mut nodes = Vec::new();
    let like = node.input.first().cloned().unwrap_or_default();
    for (at, name) in [(1, "min"), (2, "max")] {
        if let Some(bound) = take(&mut node, name) {
            let bound = f64::from(bound.f.unwrap_or(0.0));
            let bound = up.scalar_like(&node, name, bound, &like, &mut nodes);
            set_input(&mut node, at, bound);
        }
    }
    nodes.push(node);
    Ok(nodes)
}

/// At inference the ratio is of no effect. What the mask holds then is not the same in every version; where nothing reads it, as
/// in most old files that have one, it goes.
fn dropout(up: &mut Upgrade, mut node: NodeProto) -> Result {
    if node.output.get(1).is_some_and(|mask| up.known.read.contains(mask)) {
        return Err("its mask output changed its meaning".into());
    }
    node.output.truncate(1);
    take(&mut node, "ratio");
    Ok(vec![node])
}

/// `pads` and `value`
fn pad(up: &mut Upgrade, mut node: NodeProto) -> Result {
    let pads = take(&mut node, "pads").ok_or("it has no pads")?;
    let pads = up.ints(&node, "pads", &pads.ints);
    set_input(&mut node, 1, pads);
    let mut nodes = Vec::new();
    if let Some(value) = take(&mut node, "value").and_then(|value| value.f).filter(|&value| value != 0.0) {
        let like = node.input.first().cloned().unwrap_or_default();
        let value = up.scalar_like(&node, "value", f64::from(value), &like, &mut nodes);
        set_input(&mut node, 2, value);
    }
    nodes.push(node);
    Ok(nodes)
}

/// `starts`, `ends` and `axes`
fn slice(up: &mut Upgrade, mut node: NodeProto) -> Result {
    for (at, name) in [(1, "starts"), (2, "ends"), (3, "axes")] {
        match take(&mut node, name) {
            Some(values) => {
                let values = up.ints(&node, name, &values.ints);
                set_input(&mut node, at, values);
            }
            None if at < 3 => return Err(format!("it has no {name}")),
            None => {}
        }
    }
    Ok(vec![node])
}

/// `split` (opset 13); equal parts are now asked for by their number (opset 18).
fn split(up: &mut Upgrade, mut node: NodeProto) -> Result {
    if let Some(sizes) = take(&mut node, "split").filter(|sizes| !sizes.ints.is_empty()) {
        let sizes = up.ints(&node, "split", &sizes.ints);
        set_input(&mut node, 1, sizes);
    } else if node.input.get(1).is_none_or(String::is_empty) {
        let parts = node.output.len() as i64;
        node.attribute.push(attr::int("num_outputs", parts));
    }
    Ok(vec![node])
}

/// `k`
fn top_k(up: &mut Upgrade, mut node: NodeProto) -> Result {
    let k = take(&mut node, "k").and_then(|k| k.i).ok_or("it has no k")?;
    let k = up.constant(&node, "k", TensorProto::ints("", &[1], &[k]));
    set_input(&mut node, 1, k);
    Ok(vec![node])
}
