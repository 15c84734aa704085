//! The shapes of values in a graph as ONNX Runtime's optimiser leaves it: as far as needed to say that two are the same.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    Dim, ElemType, ValueType,
    proto::{GraphProto, NodeProto, TensorProto},
    value_info,
};

use crate::blocked;
use crate::kernels::{
    DOMAIN, depth_to_space, elementwise, max_pool_grad, softmax,
    sparse_lhs_matmul::{self, Byte},
    sum_products, window, zero_insert,
};
use crate::probe::infer::{self, Value};

/// Sizes; of an image batch, channels (of a blocked one: with those that fill the last block up), height and width.
pub(super) type Shape = Vec<i64>;

/// The shapes of the values of a graph in topological order whose inputs have fixed sizes. What isn't known isn't there.
pub(super) fn shapes(graph: &GraphProto, nodes: &[&NodeProto], block: usize) -> HashMap<String, Shape> {
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut values: HashMap<&str, Value> = HashMap::new();
    for input in &graph.input {
        values.extend(stated(input.r#type.as_ref()).map(|value| (input.name.as_str(), value)));
    }
    for tensor in &graph.initializer {
        values.extend(Value::constant(tensor).map(|value| (tensor.name.as_str(), value)));
    }
    for node in nodes {
        let given = of(node, &values, &constants, block).unwrap_or_default();
        values.extend(node.output.iter().map(String::as_str).zip(given).filter(|(name, _)| !name.is_empty()));
    }
    let sizes = |value: Value| value.dims.into_iter().map(|size| i64::try_from(size).ok()).collect::<Option<Shape>>();
    values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), sizes(value)?))).collect()
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

fn stated(ty: Option<&onnx_grad::proto::TypeProto>) -> Option<Value> {
    let ty = ValueType::from_proto(ty?)?;
    Some(Value::new(ty.elem, ty.shape?.into_iter().map(Dim::fixed).collect::<Option<_>>()?))
}

/// What a node gives. Standard operators are inferred as everywhere; here are those of the optimiser, and this crate's own.
fn of(
    node: &NodeProto,
    values: &HashMap<&str, Value>,
    constants: &HashMap<&str, &TensorProto>,
    block: usize,
) -> Option<Vec<Value>> {
    if node.domain.is_empty() {
        return infer::outputs(node, |name| values.get(name));
    }
    let input = |at: usize| values.get(node.input.get(at)?.as_str()).map(|value| value.dims.as_slice());
    let picture = |at: usize| <[usize; 4]>::try_from(input(at)?).ok();
    let pair = |name: &str| <[usize; 2]>::try_from(sizes(node.attr_ints(name)?)?).ok();
    let number = |name: &str| usize::try_from(node.attr_int(name)?).ok();
    let flag = |name: &str| node.attr_int(name).unwrap_or(0) != 0;
    let broadcast = || {
        let read = node.input.iter().filter(|name| !name.is_empty());
        let all = read.map(|name| values.get(name.as_str()).map(|value| value.dims.as_slice()));
        all.collect::<Option<Vec<_>>>()?.into_iter().try_fold(Vec::new(), |all, own| infer::broadcast(&all, own))
    };
    let dims = match (&*node.domain, &*node.op_type) {
        (blocked::DOMAIN, "ReorderInput") => {
            let [n, mut c, mut h, mut w] = picture(0)?;
            if flag("channels_last") {
                (h, w, c) = (c, h, w);
            }
            vec![n, c.next_multiple_of(block), h, w]
        }
        (blocked::DOMAIN, "ReorderOutput") => {
            let ([n, _, h, w], c) = (picture(0)?, number("channels")?);
            if flag("channels_last") { vec![n, h, w, c] } else { vec![n, c, h, w] }
        }
        (blocked::DOMAIN, "Conv") | ("com.microsoft", "FusedConv") => {
            let ([n, _, sides @ ..], [many, _, kernel @ ..]) = (picture(0)?, picture(1)?);
            infer::slid(node, [n, many], &sides, &kernel)?
        }
        ("com.microsoft", "FusedMatMul") if !flag("transBatchA") && !flag("transBatchB") => {
            let (mut left, mut right) = (input(0)?.to_vec(), input(1)?.to_vec());
            for (dims, turned) in [(&mut left, flag("transA")), (&mut right, flag("transB"))] {
                let rank = dims.len();
                (rank >= 2).then_some(())?;
                if turned {
                    dims.swap(rank - 2, rank - 1);
                }
            }
            let ([batch @ .., rows, _], [other @ .., _, columns]) = (&left[..], &right[..]) else { return None };
            [infer::broadcast(batch, other)?, vec![*rows, *columns]].concat()
        }
        (blocked::DOMAIN, "MaxPool" | "AveragePool") => {
            let [n, c, sides @ ..] = picture(0)?;
            infer::slid(node, [n, c], &sides, &pair("kernel_shape")?)?
        }
        (blocked::DOMAIN, "GlobalAveragePool" | "GlobalMaxPool") | (DOMAIN, sum_products::NAME) => {
            let [n, c, ..] = picture(0)?;
            vec![n, c, 1, 1]
        }
        (blocked::DOMAIN, "Upsample") => {
            let [_, _, down, across] = *sizes(node.attr_ints("scales")?)?.as_slice() else { return None };
            enlarged(picture(0)?, [down, across])?
        }
        (DOMAIN, max_pool_grad::NAME | softmax::NAME) => input(0)?.to_vec(),
        (DOMAIN, sparse_lhs_matmul::NAME | i8::NAME | u8::NAME) => {
            vec![*input(0)?.first()?, *input(1)?.get(usize::from(!flag("turned")))?]
        }
        (DOMAIN, zero_insert::NAME) => enlarged(picture(0)?, pair("strides")?)?,
        (DOMAIN, depth_to_space::NAME) => {
            let ([n, c, h, w], size) = (picture(0)?, number("size")?);
            // The pictures are one input, or one each.
            let pictures = if node.input.len() == 1 { size.checked_mul(size)? } else { 1 };
            enlarged([n, c.checked_div(pictures)?, h, w], [size, size])?
        }
        (DOMAIN, window::NAME) => {
            let ([n, c, ..], to) = (picture(0)?, sizes(node.attr_ints("to")?)?);
            let around = sizes(node.attr_ints("around")?)?;
            let (&[_, _, rows, _, _, _, columns, _], &[top, bottom, left, right]) = (&to[..], &around[..]) else {
                return None;
            };
            vec![n, c, rows + top + bottom, columns + left + right]
        }
        (DOMAIN, elementwise::NAME) => broadcast()?,
        _ if super::fuse::is_elementwise(node, constants) => broadcast()?,
        _ => return None,
    };
    Some(vec![Value::new(ElemType::Float, dims)])
}

fn enlarged([n, c, h, w]: [usize; 4], [down, across]: [usize; 2]) -> Option<Vec<usize>> {
    Some(vec![n, c, h.checked_mul(down)?, w.checked_mul(across)?])
}

fn sizes(list: &[i64]) -> Option<Vec<usize>> {
    list.iter().map(|&size| usize::try_from(size).ok()).collect()
}

/// The factors by which an image is enlarged, if they are whole numbers that never change.
pub(super) fn scales(node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> Option<Vec<i64>> {
    let scales = constants.get(node.input.get(2)?.as_str())?.to_floats().ok()?;
    let whole = |&scale: &f64| (scale.fract() == 0.0 && (1.0..1e6).contains(&scale)).then_some(scale as i64);
    scales.iter().map(whole).collect()
}

#[cfg(test)]
mod tests {
    use onnx_grad::attr;

    use super::*;

    #[test]
    fn shapes_go_through_blocks_and_through_this_crates_own_operators() {
        let node = |domain: &str, op: &str, inputs: &[&str], output: &str, attribute| NodeProto {
            op_type: op.into(),
            domain: domain.into(),
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.into()],
            attribute,
            ..Default::default()
        };
        let (ints, int) = (attr::ints, attr::int);
        let window = || vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])];
        let nodes = vec![
            node(blocked::DOMAIN, "ReorderInput", &["x"], "in", vec![]),
            node(blocked::DOMAIN, "ReorderInput", &["x"], "in.last", vec![int("channels_last", 1)]),
            node(blocked::DOMAIN, "Conv", &["in", "kernel"], "conv", window()),
            node("com.microsoft", "FusedConv", &["x", "kernel3"], "fused", window()),
            node(blocked::DOMAIN, "MaxPool", &["conv"], "pool", window()),
            node(blocked::DOMAIN, "GlobalAveragePool", &["conv"], "mean", vec![]),
            node(blocked::DOMAIN, "Upsample", &["conv"], "large", vec![ints("scales", &[1, 1, 2, 3])]),
            node(blocked::DOMAIN, "ReorderOutput", &["large"], "out", vec![int("channels", 13)]),
            node(
                blocked::DOMAIN,
                "ReorderOutput",
                &["large"],
                "out.last",
                vec![int("channels", 13), int("channels_last", 1)],
            ),
            node("", "Add", &["conv", "mean"], "sum", vec![]),
            node("com.microsoft", "QuickGelu", &["sum"], "gelu", vec![]),
            node(DOMAIN, elementwise::NAME, &["sum", "mean"], "program", vec![]),
            node(DOMAIN, sum_products::NAME, &["sum", "sum"], "sums", vec![]),
            node(DOMAIN, zero_insert::NAME, &["sum"], "apart", vec![ints("strides", &[2, 2])]),
            node(DOMAIN, depth_to_space::NAME, &["sum"], "woven", vec![int("size", 2)]),
            node(DOMAIN, max_pool_grad::NAME, &["conv", "pool", "pool"], "unpooled", vec![]),
            node(DOMAIN, sparse_lhs_matmul::NAME, &["rows", "weight"], "product", vec![int("turned", 1)]),
            node(DOMAIN, sparse_lhs_matmul::NAME, &["product", "weight"], "back", vec![]),
            node("", "Softmax", &["back"], "last", vec![]),
            node("com.microsoft", "FusedMatMul", &["back", "x"], "turned", vec![int("transA", 1), int("transB", 1)]),
            node("com.microsoft", "FusedMatMul", &["x", "x"], "square", vec![int("transB", 1)]),
            node("", "Unknown", &["back"], "unknown", vec![]),
            node("", "Add", &["unknown", "back"], "after", vec![]),
        ];
        let of = |name: &str, sizes: &[usize]| {
            let shape = Some(sizes.iter().map(|&size| Dim::Fixed(size)).collect());
            value_info(name, Some(&ValueType { elem: ElemType::Float, shape }))
        };
        let tensor = |name: &str, dims: &[i64]| {
            let count = dims.iter().product::<i64>() as usize;
            TensorProto::floats(name, ElemType::Float, dims, &vec![0.0; count])
        };
        let graph = GraphProto {
            input: vec![of("x", &[2, 3, 8, 6]), of("rows", &[4, 5])],
            initializer: vec![
                tensor("kernel", &[16, 8, 3, 3]),
                tensor("kernel3", &[16, 3, 3, 3]),
                tensor("weight", &[7, 5]),
            ],
            node: nodes,
            ..Default::default()
        };
        let found = shapes(&graph, &graph.node.iter().collect::<Vec<_>>(), 8);
        let expected: [(&str, &[i64]); 21] = [
            ("in", &[2, 8, 8, 6]),
            ("in.last", &[2, 8, 3, 8]),
            ("conv", &[2, 16, 4, 3]),
            ("fused", &[2, 16, 4, 3]),
            ("pool", &[2, 16, 2, 2]),
            ("mean", &[2, 16, 1, 1]),
            ("large", &[2, 16, 8, 9]),
            ("out", &[2, 13, 8, 9]),
            ("out.last", &[2, 8, 9, 13]),
            ("sum", &[2, 16, 4, 3]),
            ("gelu", &[2, 16, 4, 3]),
            ("program", &[2, 16, 4, 3]),
            ("sums", &[2, 16, 1, 1]),
            ("apart", &[2, 16, 8, 6]),
            ("woven", &[2, 4, 8, 6]),
            ("unpooled", &[2, 16, 4, 3]),
            ("product", &[4, 7]),
            ("back", &[4, 5]),
            ("last", &[4, 5]),
            ("turned", &[2, 3, 5, 8]),
            ("square", &[2, 3, 8, 8]),
        ];
        for (name, shape) in expected {
            assert_eq!(found.get(name).map(Vec::as_slice), Some(shape), "{name}");
        }
        assert_eq!((found.get("unknown"), found.get("after")), (None, None));
    }
}
