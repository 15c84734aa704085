//! Keeps values in ONNX Runtime's blocked layout where its optimiser gives it up.
//!
//! Element-wise nodes don't mind how their operands lie, as long as all lie alike: a node of which every operand was brought back from
//! blocks runs on the blocks, and only its result is brought back. Setting pictures apart (see `onnx_grad`'s rule of `Conv`) is a
//! node of camscope's own on blocks. Values that are brought back and forth again stay where they were.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    attr,
    graph::reads,
    proto::{GraphProto, NodeProto, TensorProto},
};

use super::{
    BLOCKED_DOMAIN, fuse,
    shape::{Shape, shapes},
};
use crate::kernels::{DOMAIN, max_pool_grad, set_apart, weave};

/// Rewrites a graph whose inputs have fixed sizes. `block` is how many channels a block has, `bytes` gives the bytes of a constant.
pub(super) fn keep_blocked(
    graph: &mut GraphProto,
    block: usize,
    bytes: &dyn Fn(&TensorProto) -> Option<Vec<u8>>,
) -> Option<()> {
    let sorted: Vec<NodeProto> = super::in_order(graph)?.into_iter().cloned().collect();
    let known = shapes(graph, &sorted.iter().collect::<Vec<_>>(), block);
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let producers: HashMap<&str, &NodeProto> =
        sorted.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    // Each value that is there in blocks, too: the blocks' name, and the channels.
    let mut blocked: HashMap<String, (String, i64)> = HashMap::new();
    let mut nodes: Vec<NodeProto> = Vec::with_capacity(sorted.len());
    for node in &sorted {
        match (&*node.domain, &*node.op_type) {
            (BLOCKED_DOMAIN, "ReorderOutput") if node.attr_int("channels_last").unwrap_or(0) == 0 => {
                let channels = node.attr_int("channels")?;
                blocked.insert(node.output[0].clone(), (node.input[0].clone(), channels));
                nodes.push(node.clone());
                continue;
            }
            _ => {}
        }
        let moved = apart(node, &producers, &known, &blocked, bytes, &constants)
            .or_else(|| on_blocks(node, &known, &blocked, &constants))
            .or_else(|| woven(node, block as i64, &blocked))
            .or_else(|| pooled(node, &blocked, &mut nodes));
        match moved {
            Some((moved, channels)) => {
                let (own, plain) = (moved.output[0].clone(), node.output[0].clone());
                nodes.push(moved);
                nodes.push(NodeProto {
                    op_type: "ReorderOutput".into(),
                    domain: BLOCKED_DOMAIN.into(),
                    name: format!("{own}/reorder"),
                    input: vec![own.clone()],
                    output: vec![plain.clone()],
                    attribute: vec![attr::int("channels", channels)],
                    ..Default::default()
                });
                blocked.insert(plain, (own, channels));
            }
            None => nodes.push(node.clone()),
        }
    }
    // What was brought back to be brought into blocks again.
    let mut same: HashMap<String, String> = HashMap::new();
    for node in &nodes {
        if node.domain == BLOCKED_DOMAIN
            && node.op_type == "ReorderInput"
            && node.attr_int("channels_last").unwrap_or(0) == 0
            && let Some((own, _)) = blocked.get(&node.input[0])
        {
            same.insert(node.output[0].clone(), own.clone());
        }
    }
    for name in nodes.iter_mut().flat_map(|node| &mut node.input) {
        if let Some(own) = same.get(name.as_str()) {
            name.clone_from(own);
        }
    }
    let mut needed: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let mut kept = Vec::with_capacity(nodes.len());
    for node in nodes.into_iter().rev() {
        if node.output.iter().any(|name| needed.contains(name)) {
            needed.extend(reads(&node).into_iter().map(str::to_owned));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    Some(())
}

type Moved = (NodeProto, i64);

/// An element-wise node on blocks: every operand is one number, or there in blocks and of the result's shape.
fn on_blocks(
    node: &NodeProto,
    shapes: &HashMap<String, Shape>,
    blocked: &HashMap<String, (String, i64)>,
    constants: &HashMap<&str, &TensorProto>,
) -> Option<Moved> {
    // On the channels that fill the last block up, which are zeros at first, these stay finite.
    let stays_finite =
        fuse::is_cheap(node) || matches!(&*node.op_type, "Sigmoid" | "Tanh" | "Erf" | "Identity" | "Sum");
    if !stays_finite || !fuse::is_elementwise(node, constants) {
        return None;
    }
    let shape = shapes.get(node.output.first()?).filter(|shape| shape.len() == 4)?;
    let mut own = node.clone();
    let mut channels = None;
    for name in own.input.iter_mut().filter(|name| !name.is_empty()) {
        if fuse::scalar(name, constants).is_some() {
            continue;
        }
        let (inside, count) = blocked.get(name.as_str())?;
        if shapes.get(name.as_str()) != Some(shape) || *count != shape[1] {
            return None;
        }
        channels = Some(*count);
        name.clone_from(inside);
    }
    own.output = vec![format!("{}/blocks", node.output[0])];
    own.name = own.output[0].clone();
    Some((own, channels?))
}

/// Pictures woven into one, on blocks.
fn woven(node: &NodeProto, block: i64, blocked: &HashMap<String, (String, i64)>) -> Option<Moved> {
    let size = node.attr_int("blocksize")?;
    if !node.domain.is_empty() || node.op_type != "DepthToSpace" || node.attr_str("mode").unwrap_or("DCR") != "DCR" {
        return None;
    }
    let (inside, channels) = blocked.get(node.input.first()?)?;
    if channels % (size * size * block) != 0 {
        return None;
    }
    let output = format!("{}/blocks", node.output[0]);
    let moved = NodeProto {
        op_type: weave::NAME.into(),
        domain: DOMAIN.into(),
        name: output.clone(),
        input: vec![inside.clone()],
        output: vec![output],
        attribute: vec![attr::int("size", size)],
        ..Default::default()
    };
    Some((moved, channels / (size * size)))
}

/// The gradient of a max-pooling on blocks. A cotangent that is not in blocks is brought into them.
fn pooled(node: &NodeProto, blocked: &HashMap<String, (String, i64)>, nodes: &mut Vec<NodeProto>) -> Option<Moved> {
    if (&*node.domain, &*node.op_type) != (DOMAIN, max_pool_grad::NAME) {
        return None;
    }
    let [x, y, gy] = node.input.as_slice() else { return None };
    let ((x, channels), (y, _)) = (blocked.get(x)?, blocked.get(y)?);
    let gy = match blocked.get(gy) {
        Some((gy, _)) => gy.clone(),
        None => {
            let inside = format!("{gy}/to blocks of {}", node.output[0]);
            nodes.push(NodeProto {
                op_type: "ReorderInput".into(),
                domain: BLOCKED_DOMAIN.into(),
                name: inside.clone(),
                input: vec![gy.clone()],
                output: vec![inside.clone()],
                ..Default::default()
            });
            inside
        }
    };
    let mut own = node.clone();
    own.input = vec![x.clone(), y.clone(), gy];
    own.output = vec![format!("{}/blocks", node.output[0])];
    own.name = own.output[0].clone();
    own.attribute.push(attr::int("blocked", 1));
    Some((own, *channels))
}

/// A picture that was enlarged and multiplied by a mask that is 1 where its own elements are: set apart in one go.
fn apart(
    node: &NodeProto,
    producers: &HashMap<&str, &NodeProto>,
    shapes: &HashMap<String, Shape>,
    blocked: &HashMap<String, (String, i64)>,
    bytes: &dyn Fn(&TensorProto) -> Option<Vec<u8>>,
    constants: &HashMap<&str, &TensorProto>,
) -> Option<Moved> {
    if !node.domain.is_empty() || node.op_type != "Mul" {
        return None;
    }
    let [picture, mask] = node.input.as_slice() else { return None };
    let (mask, (inside, channels)) = (constants.get(mask.as_str())?, blocked.get(picture)?);
    let enlarged = producers.get(inside.as_str())?;
    if (&*enlarged.domain, &*enlarged.op_type) != (BLOCKED_DOMAIN, "Upsample")
        || enlarged.attr_str("mode").is_some_and(|mode| mode != "nearest")
    {
        return None;
    }
    let [1, 1, down, across] = enlarged.attr_ints("scales")? else { return None };
    let [_, _, rows, columns] = *shapes.get(picture)?.as_slice() else { return None };
    if mask.dims != [1, 1, rows, columns] {
        return None;
    }
    let values = bytes(mask)?;
    let own = |at: i64| at / columns % down == 0 && at % columns % across == 0;
    let is_own = |(at, value): (usize, &[u8])| {
        let value = value.try_into().map_or(f32::NAN, f32::from_le_bytes);
        value == if own(at as i64) { 1.0 } else { 0.0 }
    };
    if values.len() as i64 != 4 * rows * columns || !values.chunks(4).enumerate().all(is_own) {
        return None;
    }
    let output = format!("{}/blocks", node.output[0]);
    let moved = NodeProto {
        op_type: set_apart::NAME.into(),
        domain: DOMAIN.into(),
        name: output.clone(),
        input: vec![enlarged.input[0].clone()],
        output: vec![output],
        attribute: vec![attr::ints("strides", &[*down, *across])],
        ..Default::default()
    };
    Some((moved, *channels))
}
