//! The shapes of values in a graph as ONNX Runtime's optimiser leaves it: as far as needed to say that two are the same.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    Dim, ElemType, ValueType,
    proto::{GraphProto, NodeProto, TensorProto, tensor_shape_proto, type_proto},
    value_info,
};

use crate::blocked;
use crate::kernels::{DOMAIN, elementwise, few_rows, max_pool_grad, set_apart, sum_products, weave};

/// Sizes; of a picture batch, channels (of a blocked one: with those that fill the last block up), height and width.
pub(super) type Shape = Vec<i64>;

/// The shapes of the values of a graph in topological order whose inputs have fixed sizes. What isn't known isn't there.
pub(super) fn shapes(graph: &GraphProto, nodes: &[&NodeProto], block: usize) -> HashMap<String, Shape> {
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut shapes: HashMap<String, Shape> = HashMap::new();
    for input in &graph.input {
        shapes.extend(stated(input.r#type.as_ref()).map(|shape| (input.name.clone(), shape)));
    }
    for tensor in &graph.initializer {
        shapes.insert(tensor.name.clone(), tensor.dims.clone());
    }
    for node in nodes {
        if let (Some(output), Some(shape)) = (node.output.first(), of(node, &shapes, &constants, block)) {
            shapes.insert(output.clone(), shape);
        }
    }
    shapes
}

/// States the shapes of what this crate's own nodes give: ONNX Runtime plans its memory by them.
pub(super) fn state(graph: &mut GraphProto, block: usize) {
    let known = shapes(graph, &graph.node.iter().collect::<Vec<_>>(), block);
    let given: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let own = graph.node.iter().filter(|node| node.domain == DOMAIN).filter_map(|node| node.output.first());
    let info = |name: &String| {
        let sizes: Option<Vec<Dim>> =
            known.get(name)?.iter().map(|&size| usize::try_from(size).ok().map(Dim::Fixed)).collect();
        Some(value_info(name, Some(&ValueType { elem: ElemType::Float, shape: Some(sizes?) })))
    };
    graph.value_info = own.filter(|name| !given.contains(name.as_str())).filter_map(info).collect();
}

fn stated(ty: Option<&onnx_grad::proto::TypeProto>) -> Option<Shape> {
    let Some(type_proto::Value::TensorType(tensor)) = &ty?.value else { return None };
    let size = |dim: &tensor_shape_proto::Dimension| match dim.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(size)) => Some(size),
        _ => None,
    };
    tensor.shape.as_ref()?.dim.iter().map(size).collect()
}

fn of(
    node: &NodeProto,
    shapes: &HashMap<String, Shape>,
    constants: &HashMap<&str, &TensorProto>,
    block: usize,
) -> Option<Shape> {
    let input = |at: usize| shapes.get(node.input.get(at)?).cloned();
    let picture = |at: usize| <[i64; 4]>::try_from(input(at)?).ok();
    let ints = |at: usize| constants.get(node.input.get(at)?.as_str())?.to_ints().ok();
    let flag = |name: &str| node.attr_int(name).unwrap_or(0) != 0;
    let block = block as i64;
    match (&*node.domain, &*node.op_type) {
        (blocked::DOMAIN, "ReorderInput") if !flag("channels_last") => {
            let [n, c, h, w] = picture(0)?;
            Some(vec![n, (c + block - 1) / block * block, h, w])
        }
        (blocked::DOMAIN, "ReorderOutput") if !flag("channels_last") => {
            let [n, _, h, w] = picture(0)?;
            Some(vec![n, node.attr_int("channels")?, h, w])
        }
        (blocked::DOMAIN | "", "Conv") | ("com.microsoft", "FusedConv") => {
            let [m, _, kh, kw] = picture(1)?;
            slide(node, picture(0)?, m, [kh, kw])
        }
        (blocked::DOMAIN | "", "MaxPool" | "AveragePool") if !flag("ceil_mode") => {
            let shape = picture(0)?;
            slide(node, shape, shape[1], node.attr_ints("kernel_shape")?.try_into().ok()?)
        }
        (blocked::DOMAIN | "", "GlobalAveragePool" | "GlobalMaxPool") => picture(0).map(|[n, c, ..]| vec![n, c, 1, 1]),
        (blocked::DOMAIN, "Upsample") => {
            let ([n, c, h, w], [_, _, down, across]) = (picture(0)?, node.attr_ints("scales")?.try_into().ok()?);
            Some(vec![n, c, h * down, w * across])
        }
        ("", "Concat") => {
            let all: Option<Vec<Shape>> = node.input.iter().map(|name| shapes.get(name).cloned()).collect();
            let all = all?;
            let mut shape = all.first()?.clone();
            let axis = usize::try_from(node.attr_int("axis")?).ok().filter(|&axis| axis < shape.len())?;
            shape[axis] = all.iter().map(|other| other.get(axis).copied()).sum::<Option<i64>>()?;
            Some(shape)
        }
        ("", "Resize") => {
            let shape = input(0)?;
            let scales = scales(node, constants).filter(|scales| scales.len() == shape.len())?;
            Some(shape.iter().zip(scales).map(|(size, scale)| size * scale).collect())
        }
        ("", "ConvTranspose") => transposed(node, picture(0)?, picture(1)?),
        (DOMAIN, max_pool_grad::NAME) => input(0),
        (DOMAIN, sum_products::NAME) => picture(0).map(|[n, c, ..]| vec![n, c, 1, 1]),
        (DOMAIN, few_rows::NAME) => {
            let (rows, weight) = (input(0)?, input(1)?);
            Some(vec![*rows.first()?, *weight.get(usize::from(!flag("turned")))?])
        }
        (DOMAIN, set_apart::NAME) => {
            let ([n, c, h, w], [down, across]) = (picture(0)?, node.attr_ints("strides")?.try_into().ok()?);
            Some(vec![n, c, h * down, w * across])
        }
        ("", "DepthToSpace") => picture(0).and_then(|shape| woven(shape, node.attr_int("blocksize")?)),
        (DOMAIN, weave::NAME) => picture(0).and_then(|shape| woven(shape, node.attr_int("size")?)),
        (DOMAIN, elementwise::NAME) => {
            let all: Option<Vec<Shape>> = node.input.iter().map(|name| shapes.get(name).cloned()).collect();
            broadcast(all?)
        }
        ("", "Gemm") => {
            let turned = |at: usize, flag: bool| {
                let [rows, columns] = <[i64; 2]>::try_from(input(at)?).ok()?;
                Some(if flag { [columns, rows] } else { [rows, columns] })
            };
            Some(vec![turned(0, flag("transA"))?[0], turned(1, flag("transB"))?[1]])
        }
        ("", "Flatten") if node.attr_int("axis").unwrap_or(1) == 1 => {
            let shape = input(0)?;
            Some(vec![*shape.first()?, shape[1..].iter().product()])
        }
        ("", "Reshape") if !flag("allowzero") => {
            let (from, mut to) = (input(0)?, ints(1)?);
            for (axis, size) in to.iter_mut().enumerate().filter(|(_, size)| **size == 0) {
                *size = *from.get(axis)?;
            }
            let rest: i64 = to.iter().filter(|&&size| size > 0).product();
            let open = to.iter_mut().find(|size| **size < 0);
            if let Some(open) = open {
                *open = from.iter().product::<i64>().checked_div(rest)?;
            }
            Some(to)
        }
        ("", "ReduceMean" | "ReduceSum") if node.attr_int("keepdims").unwrap_or(1) != 0 && ints(1).is_some() => {
            let (mut shape, axes) = (input(0)?, ints(1)?);
            for axis in axes {
                let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
                *shape.get_mut(usize::try_from(axis).ok()?)? = 1;
            }
            Some(shape)
        }
        ("", "Expand") => broadcast([input(0)?, ints(1)?]),
        _ => {
            super::fuse::is_elementwise(node, constants).then_some(())?;
            let read = node.input.iter().filter(|name| !name.is_empty());
            let all: Option<Vec<Shape>> = read.map(|name| shapes.get(name).cloned()).collect();
            broadcast(all?)
        }
    }
}

/// The factors by which a picture is enlarged, if they are whole numbers that never change.
pub(super) fn scales(node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> Option<Vec<i64>> {
    let scales = constants.get(node.input.get(2)?.as_str())?.to_floats().ok()?;
    let whole = |&scale: &f64| (scale.fract() == 0.0 && (1.0..1e6).contains(&scale)).then_some(scale as i64);
    scales.iter().map(whole).collect()
}

/// The shape of an element-wise result.
fn broadcast(all: impl IntoIterator<Item = Shape>) -> Option<Shape> {
    let mut shape = Shape::new();
    for own in all {
        if own.len() > shape.len() {
            let more = own.len() - shape.len();
            shape.splice(0..0, vec![1; more]);
        }
        let lead = shape.len() - own.len();
        for (all, &own) in shape[lead..].iter_mut().zip(&own) {
            match (*all, own) {
                (have, own) if have == own || own == 1 => {}
                (1, own) => *all = own,
                _ => return None,
            }
        }
    }
    Some(shape)
}

/// What a window gives that slides over a picture.
fn slide(node: &NodeProto, [n, _, h, w]: [i64; 4], channels: i64, kernel: [i64; 2]) -> Option<Shape> {
    if !matches!(node.attr_str("auto_pad").unwrap_or("NOTSET"), "NOTSET" | "") {
        return None;
    }
    let pair = |name: &str| node.attr_ints(name).map_or(Some([1, 1]), |list| list.try_into().ok());
    let (strides, dilations): ([i64; 2], [i64; 2]) = (pair("strides")?, pair("dilations")?);
    let pads: [i64; 4] = node.attr_ints("pads").map_or(Some([0; 4]), |list| list.try_into().ok())?;
    let out = |axis: usize, size: i64| {
        let room = size + pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1) - 1;
        (strides[axis] > 0).then(|| room / strides[axis] + 1)
    };
    Some(vec![n, channels, out(0, h)?, out(1, w)?])
}

fn woven([n, c, h, w]: [i64; 4], size: i64) -> Option<Shape> {
    Some(vec![n, c.checked_div(size * size)?, h * size, w * size])
}

fn transposed(node: &NodeProto, [n, _, h, w]: [i64; 4], weight: [i64; 4]) -> Option<Shape> {
    if !matches!(node.attr_str("auto_pad").unwrap_or("NOTSET"), "NOTSET" | "") || node.attr("output_shape").is_some() {
        return None;
    }
    let pair = |name: &str, default: i64| node.attr_ints(name).map_or(Some([default; 2]), |list| list.try_into().ok());
    let (strides, dilations, more): ([i64; 2], [i64; 2], [i64; 2]) =
        (pair("strides", 1)?, pair("dilations", 1)?, pair("output_padding", 0)?);
    let pads: [i64; 4] = node.attr_ints("pads").map_or(Some([0; 4]), |list| list.try_into().ok())?;
    let out = |axis: usize, size: i64| {
        strides[axis] * (size - 1) + more[axis] + dilations[axis] * (weight[axis + 2] - 1) + 1
            - pads[axis]
            - pads[axis + 2]
    };
    Some(vec![n, weight[1] * node.attr_int("group").unwrap_or(1), out(0, h), out(1, w)])
}
