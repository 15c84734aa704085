//! Keeps values in ONNX Runtime's blocked layout where its optimiser gives it up.
//!
//! Element-wise nodes don't mind how their operands lie, as long as all lie alike: a node of which every operand was brought back from
//! blocks runs on the blocks, and only its result is brought back. Setting images apart (see `onnx_grad`'s rule of `Conv`) is a
//! node of this crate's own on blocks. Values that are brought back and forth again stay where they were.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    attr,
    graph::reads,
    proto::{GraphProto, NodeProto, TensorProto},
};

use super::{
    between, fuse,
    shape::{Shape, scales, shapes},
};
use crate::blocked;
use crate::kernels::{DOMAIN, depth_to_space, max_pool_grad, sum_products, zero_insert};

/// Rewrites a graph whose inputs have fixed sizes. `block` is how many channels a block has, `bytes` gives the bytes of a constant.
pub(super) fn keep_blocked(
    graph: &mut GraphProto,
    block: usize,
    bytes: &dyn Fn(&TensorProto) -> Option<Vec<u8>>,
) -> Option<()> {
    let sorted: Vec<NodeProto> = super::split::in_order(graph)?.into_iter().cloned().collect();
    let known = shapes(graph, &sorted.iter().collect::<Vec<_>>(), block);
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let producers: HashMap<&str, &NodeProto> =
        sorted.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let around = Around { shapes: &known, constants: &constants, producers: &producers, bytes, block: block as i64 };
    // Each value that is there in blocks, too: the blocks' name, and the channels.
    let mut blocked: HashMap<String, (String, i64)> = HashMap::new();
    let mut nodes: Vec<NodeProto> = Vec::with_capacity(sorted.len());
    for node in &sorted {
        match (&*node.domain, &*node.op_type) {
            (blocked::DOMAIN, "ReorderOutput") if node.attr_int("channels_last").unwrap_or(0) == 0 => {
                let channels = node.attr_int("channels")?;
                blocked.insert(node.output[0].clone(), (node.input[0].clone(), channels));
                nodes.push(node.clone());
                continue;
            }
            _ => {}
        }
        let moved = apart(node, &producers, &known, &blocked, bytes, &constants)
            .or_else(|| on_blocks(node, &around, &blocked, &mut nodes))
            .or_else(|| summed(node, &around, &blocked))
            .or_else(|| woven(node, block as i64, &blocked))
            .or_else(|| pooled(node, &blocked, &mut nodes))
            .map(|(moved, channels)| (moved, vec![channels]))
            .or_else(|| between::blocks(node, &around, &blocked));
        match moved {
            Some((moved, channels)) => {
                let given = moved.output.clone();
                nodes.push(moved);
                for ((own, plain), channels) in given.into_iter().zip(&node.output).zip(channels) {
                    nodes.push(NodeProto {
                        op_type: "ReorderOutput".into(),
                        domain: blocked::DOMAIN.into(),
                        name: format!("{own}/reorder"),
                        input: vec![own.clone()],
                        output: vec![plain.clone()],
                        attribute: vec![attr::int("channels", channels)],
                        ..Default::default()
                    });
                    blocked.insert(plain.clone(), (own, channels));
                }
            }
            None => nodes.push(node.clone()),
        }
    }
    // What was brought back to be brought into blocks again.
    let mut same: HashMap<String, String> = HashMap::new();
    for node in &nodes {
        if node.domain == blocked::DOMAIN
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

/// What is known of the graph.
pub(super) struct Around<'a> {
    pub(super) shapes: &'a HashMap<String, Shape>,
    pub(super) constants: &'a HashMap<&'a str, &'a TensorProto>,
    producers: &'a HashMap<&'a str, &'a NodeProto>,
    bytes: &'a dyn Fn(&TensorProto) -> Option<Vec<u8>>,
    pub(super) block: i64,
}

impl Around<'_> {
    /// What a node spreads over an image: by `Expand`, or by multiplying it with ones.
    fn spread<'n>(&self, node: &'n NodeProto) -> Option<&'n String> {
        match (&*node.op_type, node.input.as_slice()) {
            ("Expand", [value, _]) => Some(value),
            ("Mul", [value, ones]) => {
                let ones =
                    self.constants.get(ones.as_str()).filter(|ones| matches!(ones.dims.as_slice(), [1, 1, _, _]))?;
                let bytes = (self.bytes)(ones)?;
                bytes.chunks(4).all(|one| one == 1f32.to_le_bytes()).then_some(value)
            }
            _ => None,
        }
    }
}

/// Marks a standard element-wise node whose operands in blocks have different shapes: only this crate's own can do that.
pub(super) const BROADCASTS: &str = "blocked";

/// An element-wise node on blocks: every operand is one number, or there in blocks and of the result's shape, or one number a channel.
fn on_blocks(
    node: &NodeProto,
    around: &Around<'_>,
    blocked: &HashMap<String, (String, i64)>,
    nodes: &mut Vec<NodeProto>,
) -> Option<Moved> {
    // On the channels that fill the last block up, which are zeros at first, these stay finite.
    let stays_finite = fuse::is_cheap(node) || matches!(&*node.op_type, "Identity" | "Sum");
    // Truth values cannot be brought back from blocks.
    let is_truth = matches!(
        &*node.op_type,
        "And" | "Equal" | "Greater" | "GreaterOrEqual" | "IsNaN" | "Less" | "LessOrEqual" | "Not" | "Or"
    );
    if !stays_finite || is_truth || !fuse::is_elementwise(node, around.constants) {
        return None;
    }
    let shape = around.shapes.get(node.output.first()?).filter(|shape| shape.len() == 4)?;
    let a_channel = [shape[0], shape[1], 1, 1];
    let mut own = node.clone();
    let (mut whole, mut broadcasts) = (false, false);
    let mut more = Vec::new();
    for name in own.input.iter_mut().filter(|name| !name.is_empty()) {
        if fuse::scalar(name, around.constants).is_some() {
            continue;
        }
        let of = |name: &str| around.shapes.get(name).map(Vec::as_slice);
        match blocked.get(name.as_str()) {
            Some((inside, channels)) if of(name) == Some(shape) && *channels == shape[1] => {
                whole = true;
                name.clone_from(inside);
                continue;
            }
            _ if of(name) == Some(shape) => {
                // Spread over the image only to be combined with it: one number a channel does.
                name.clone_from(around.spread(around.producers.get(name.as_str())?)?);
            }
            _ => {}
        }
        broadcasts = true;
        let constant = around.constants.get(name.as_str()).map(|constant| constant.dims.as_slice());
        let aligned = shape[1] % around.block == 0;
        match (constant, blocked.get(name.as_str())) {
            // In blocks a number a channel lies as it does without.
            (Some([1, c, 1, 1] | [c, 1, 1]), _) if *c == shape[1] && aligned => {}
            (None, Some((inside, channels))) if of(name) == Some(&a_channel) && *channels == shape[1] => {
                name.clone_from(inside);
            }
            (None, None) if of(name) == Some(&a_channel) && aligned => {
                let inside = format!("{name}/to blocks of {}", node.output[0]);
                more.push(reorder("ReorderInput", name, &inside));
                *name = inside;
            }
            _ => return None,
        }
    }
    if !whole {
        return None;
    }
    nodes.extend(more);
    if broadcasts {
        own.attribute.push(attr::int(BROADCASTS, 1));
    }
    own.output = vec![format!("{}/blocks", node.output[0])];
    own.name = own.output[0].clone();
    Some((own, shape[1]))
}

fn reorder(op: &str, from: &str, to: &str) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        domain: blocked::DOMAIN.into(),
        name: to.to_owned(),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        ..Default::default()
    }
}

/// The mean over an image in blocks, or the sum of products of two images in blocks. Another sum is left as it is: it
/// differs from the mean by a number that the graph would have to be given.
fn summed(node: &NodeProto, around: &Around<'_>, blocked: &HashMap<String, (String, i64)>) -> Option<Moved> {
    let axes = around.constants.get(node.input.get(1)?.as_str())?.to_ints().ok()?;
    let over_picture = axes == [2, 3] || axes == [-2, -1];
    let keeps = node.attr_int("keepdims").unwrap_or(1) != 0;
    if !node.domain.is_empty() || !over_picture || !keeps {
        return None;
    }
    let of = node.input.first()?;
    let output = format!("{}/blocks", node.output[0]);
    match &*node.op_type {
        "ReduceMean" => {
            let (inside, channels) = blocked.get(of)?;
            Some((NodeProto { op_type: "GlobalAveragePool".into(), ..reorder("", inside, &output) }, *channels))
        }
        "ReduceSum" => {
            let product =
                |name: &str| around.producers.get(name).filter(|node| node.domain.is_empty() && node.op_type == "Mul");
            // It may be there in blocks already, by ONNX Runtime's own doing, and only its result be brought back.
            let in_blocks = blocked.get(of).and_then(|(inside, channels)| Some((product(inside)?, *channels, true)));
            let plain = || Some((product(of)?, *around.shapes.get(of)?.get(1)?, false));
            let (product, channels, inside) = in_blocks.or_else(plain)?;
            let [a, b] = product.input.as_slice() else { return None };
            let shape = around.shapes.get(&product.output[0]).filter(|shape| shape.len() == 4)?;
            let whole = |name: &String| {
                let same = around.shapes.get(name) == Some(shape);
                let lies =
                    if inside { Some(name) } else { blocked.get(name).filter(|b| b.1 == channels).map(|b| &b.0) };
                lies.filter(|_| same).cloned()
            };
            let (a, b) = (whole(a)?, whole(b)?);
            let own = NodeProto {
                domain: DOMAIN.into(),
                input: vec![a.clone(), b],
                ..reorder(sum_products::NAME, &a, &output)
            };
            Some((own, channels))
        }
        _ => None,
    }
}

/// Images woven into one, on blocks.
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
        op_type: depth_to_space::NAME.into(),
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
            nodes.push(reorder("ReorderInput", gy, &inside));
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

/// An image that was enlarged and multiplied by a mask that is 1 where its own elements are: set apart in one go.
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
    let mask = constants.get(mask.as_str())?;
    // Enlarged in blocks, or before it got into blocks.
    let (from, channels, scales) = match (blocked.get(picture), producers.get(picture.as_str())) {
        (Some((inside, channels)), _) => {
            let enlarged = producers.get(inside.as_str())?;
            let nearest = enlarged.attr_str("mode").is_none_or(|mode| mode == "nearest");
            ((&*enlarged.domain, &*enlarged.op_type) == (blocked::DOMAIN, "Upsample") && nearest).then_some(())?;
            (&enlarged.input[0], *channels, enlarged.attr_ints("scales")?.to_vec())
        }
        (None, Some(enlarged)) => {
            let attribute = |name: &str, value: &str| enlarged.attr_str(name).is_some_and(|own| own == value);
            let repeats = attribute("mode", "nearest")
                && attribute("coordinate_transformation_mode", "asymmetric")
                && attribute("nearest_mode", "floor");
            (enlarged.op_type == "Resize" && repeats).then_some(())?;
            let (inside, channels) = blocked.get(enlarged.input.first()?)?;
            (inside, *channels, scales(enlarged, constants)?)
        }
        _ => return None,
    };
    let [1, 1, down, across] = scales.as_slice() else { return None };
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
        op_type: zero_insert::NAME.into(),
        domain: DOMAIN.into(),
        name: output.clone(),
        input: vec![from.clone()],
        output: vec![output],
        attribute: vec![attr::ints("strides", &[*down, *across])],
        ..Default::default()
    };
    Some((moved, channels))
}

#[cfg(test)]
mod tests {
    use onnx_grad::{Dim, ElemType, ValueType, proto::TensorProto, value_info};

    use super::*;

    /// The sum over an image of the products of two that are there in blocks; multiplied as plain images, or in blocks.
    fn squeezed(multiplied_in_blocks: bool) -> GraphProto {
        let node = |domain: &str, op: &str, inputs: &[&str], output: &str| NodeProto {
            op_type: op.into(),
            domain: domain.into(),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.into()],
            attribute: if op == "ReorderOutput" { vec![attr::int("channels", 16)] } else { Vec::new() },
            ..Default::default()
        };
        let mut nodes = vec![
            node(blocked::DOMAIN, "ReorderInput", &["x"], "x.blocks"),
            node(blocked::DOMAIN, "ReorderInput", &["y"], "y.blocks"),
        ];
        if multiplied_in_blocks {
            nodes.push(node("", "Mul", &["x.blocks", "y.blocks"], "product.blocks"));
            nodes.push(node(blocked::DOMAIN, "ReorderOutput", &["product.blocks"], "product"));
        } else {
            nodes.push(node(blocked::DOMAIN, "ReorderOutput", &["x.blocks"], "x.plain"));
            nodes.push(node(blocked::DOMAIN, "ReorderOutput", &["y.blocks"], "y.plain"));
            nodes.push(node("", "Mul", &["x.plain", "y.plain"], "product"));
        }
        nodes.push(node("", "ReduceSum", &["product", "axes"], "sum"));
        let sizes = Some([1, 16, 4, 4].map(Dim::Fixed).to_vec());
        let picture = ValueType { elem: ElemType::Float, shape: sizes };
        GraphProto {
            node: nodes,
            initializer: vec![TensorProto::ints("axes", &[2], &[2, 3])],
            input: ["x", "y"].map(|name| value_info(name, Some(&picture))).to_vec(),
            output: vec![value_info("sum", None)],
            ..Default::default()
        }
    }

    #[test]
    fn products_of_pictures_are_summed_in_blocks_wherever_they_were_multiplied() {
        for multiplied_in_blocks in [false, true] {
            let mut graph = squeezed(multiplied_in_blocks);
            keep_blocked(&mut graph, 8, &|_| None).expect("a graph");
            let count = |op: &str| graph.node.iter().filter(|node| node.op_type == op).count();
            assert_eq!([count(sum_products::NAME), count("ReduceSum"), count("Mul")], [1, 0, 0], "{:?}", graph.node);
            let own = graph.node.iter().find(|node| node.op_type == sum_products::NAME).expect("it is there");
            assert_eq!(own.input, ["x.blocks", "y.blocks"]);
        }
    }
}
