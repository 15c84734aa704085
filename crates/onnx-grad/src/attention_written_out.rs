//! Attention that is one operator, written out: products, softmax and all, so that what each token looks at is a value of the graph.

use crate::{
    Builder, Types, Val, attr,
    graph::used_names,
    model::same_domain,
    proto::{GraphProto, NodeProto},
    types::{Dim, ElemType},
};

/// The graph with each plain `Attention` of ONNX and each plain `Attention` and `MultiHeadAttention` of ONNX Runtime (`com.microsoft`) in single
/// steps. Those with a cache, a causal mask, grouped heads, rotations or a cap are left as they are. `None`: there is none to write out.
pub fn with_attention_written_out(graph: &GraphProto, types: &Types) -> Option<GraphProto> {
    let mut g = Builder::avoiding(used_names(graph));
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut found = false;
    for node in &graph.node {
        let Some(value) = written_out(&mut g, node, types) else {
            // What was begun for a node that is left alone is not kept.
            g.take_nodes();
            nodes.push(node.clone());
            continue;
        };
        found = true;
        nodes.extend(g.take_nodes());
        nodes.push(NodeProto {
            op_type: "Identity".into(),
            name: node.name.clone(),
            input: vec![value.name().to_owned()],
            output: vec![node.output[0].clone()],
            metadata_props: node.metadata_props.clone(),
            ..Default::default()
        });
    }
    if !found {
        return None;
    }
    let (_, constants) = g.into_parts();
    let mut graph = GraphProto { node: nodes, ..graph.clone() };
    graph.initializer.extend(constants);
    Some(graph)
}

/// Queries, keys and values, each `[batch, heads, sequence, size]`.
struct Parts {
    elem: ElemType,
    q: Val,
    k: Val,
    v: Val,
    scale: f64,
    mask: Option<Val>,
    /// Size of the values of all heads, where the output has the heads side by side.
    side_by_side: Option<i64>,
}

fn written_out(g: &mut Builder, node: &NodeProto, types: &Types) -> Option<Val> {
    let is_plain = node.output.iter().skip(1).all(String::is_empty)
        && ["unidirectional", "is_causal", "do_rotary"].iter().all(|name| node.attr_int(name).unwrap_or(0) == 0)
        && ["left_window_size", "right_window_size"].iter().all(|name| node.attr_int(name).unwrap_or(-1) < 0)
        && node.attr_float("softcap").unwrap_or(0.0) == 0.0;
    if !is_plain {
        return None;
    }
    let parts = match (node.op_type.as_str(), node.domain.as_str()) {
        ("Attention", domain) if same_domain(domain, "") => attention(g, node, types),
        ("MultiHeadAttention", "com.microsoft") => multi_head(g, node, types),
        ("Attention", "com.microsoft") => packed(g, node, types),
        _ => None,
    }?;
    let Parts { elem, q, k, v, scale, mask, side_by_side } = parts;
    let k = g.transpose(&k, &[0, 1, 3, 2]);
    let q = g.scale(&q, elem, scale);
    let mut scores = g.matmul(&q, &k);
    if let Some(mask) = mask {
        scores = match types.get(mask.name())?.elem {
            ElemType::Bool => {
                let lowest = g.scalar(elem, elem.lowest());
                g.where_(&mask, &scores, &lowest)
            }
            _ => g.add(&scores, &mask),
        };
    }
    let shares = g.op("Softmax", &[&scores], vec![attr::int("axis", -1)]);
    let value = g.matmul(&shares, &v);
    Some(match side_by_side {
        Some(width) => {
            let turned = g.transpose(&value, &[0, 2, 1, 3]);
            g.reshape(&turned, &[0, -1, width])
        }
        None => value,
    })
}

/// The element type and the sizes of a value, as far as they are known.
fn known(types: &Types, name: &str) -> Option<(ElemType, Vec<Dim>)> {
    let ty = types.get(name)?;
    Some((ty.elem, ty.shape.clone()?))
}

fn size(dims: &[Dim], axis: usize) -> Option<i64> {
    dims.get(axis)?.fixed().and_then(|size| i64::try_from(size).ok()).filter(|size| *size > 0)
}

fn input(node: &NodeProto, at: usize) -> Option<&str> {
    node.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
}

fn has_more_than(node: &NodeProto, inputs: usize) -> bool {
    (inputs..node.input.len()).any(|at| input(node, at).is_some())
}

fn scale(node: &NodeProto, head: i64) -> f64 {
    node.attr_float("scale").filter(|scale| *scale != 0.0).unwrap_or((head as f64).powf(-0.5))
}

fn split(g: &mut Builder, value: &Val, heads: i64, size: i64) -> Val {
    let parted = g.reshape(value, &[0, -1, heads, size]);
    g.transpose(&parted, &[0, 2, 1, 3])
}

/// ONNX's own: heads side by side in three axes or apart in four, with a mask or without.
fn attention(g: &mut Builder, node: &NodeProto, types: &Types) -> Option<Parts> {
    if has_more_than(node, 4) {
        return None;
    }
    let names = [input(node, 0)?, input(node, 1)?, input(node, 2)?];
    let [(elem, q), (_, k), (_, v)] = [known(types, names[0])?, known(types, names[1])?, known(types, names[2])?];
    let values = names.map(Val::new);
    let keys = size(&k, k.len().checked_sub(2)?);
    let mask = input(node, 3);
    if let Some(mask) = mask {
        // One that says nothing of some keys closes these.
        let (_, dims) = known(types, mask)?;
        let covered = size(&dims, dims.len().checked_sub(1)?)?;
        if covered != 1 && Some(covered) != keys {
            return None;
        }
    }
    let mask = mask.map(Val::new);
    if q.len() == 4 {
        let same = size(&q, 1)? == size(&k, 1)? && k.len() == 4 && v.len() == 4;
        let [q_value, k_value, v_value] = values;
        let scale = scale(node, size(&q, 3)?);
        return same.then_some(Parts { elem, q: q_value, k: k_value, v: v_value, scale, mask, side_by_side: None });
    }
    let heads = node.attr_int("q_num_heads").filter(|heads| *heads > 0)?;
    if node.attr_int("kv_num_heads") != Some(heads) || [&q, &k, &v].iter().any(|dims| dims.len() != 3) {
        return None;
    }
    let widths = [size(&q, 2)?, size(&k, 2)?, size(&v, 2)?];
    let [q, k, v] = [0, 1, 2].map(|at| split(g, &values[at], heads, widths[at] / heads));
    Some(Parts { elem, q, k, v, scale: scale(node, widths[0] / heads), mask, side_by_side: Some(widths[2]) })
}

/// ONNX Runtime's with queries, keys and values apart, and a bias for all three.
fn multi_head(g: &mut Builder, node: &NodeProto, types: &Types) -> Option<Parts> {
    if has_more_than(node, 4) {
        return None;
    }
    let heads = node.attr_int("num_heads").filter(|heads| *heads > 0)?;
    let names = [input(node, 0)?, input(node, 1)?, input(node, 2)?];
    let [(elem, q), (_, k), (_, v)] = [known(types, names[0])?, known(types, names[1])?, known(types, names[2])?];
    if [&q, &k, &v].iter().any(|dims| dims.len() != 3) {
        return None;
    }
    let widths = [size(&q, 2)?, size(&k, 2)?, size(&v, 2)?];
    let mut start = 0;
    let [q, k, v] = [0, 1, 2].map(|at| {
        let mut value = Val::new(names[at]);
        if let Some(bias) = input(node, 3) {
            let bias = g.slice(&Val::new(bias), &[start], &[start + widths[at]], &[0], &[1]);
            value = g.add(&value, &bias);
        }
        start += widths[at];
        split(g, &value, heads, widths[at] / heads)
    });
    Some(Parts { elem, q, k, v, scale: scale(node, widths[0] / heads), mask: None, side_by_side: Some(widths[2]) })
}

/// ONNX Runtime's with one product for all three.
fn packed(g: &mut Builder, node: &NodeProto, types: &Types) -> Option<Parts> {
    if has_more_than(node, 3) {
        return None;
    }
    let heads = node.attr_int("num_heads").filter(|heads| *heads > 0)?;
    let (x, w) = (input(node, 0)?, input(node, 1)?);
    let ((elem, x_dims), (_, w_dims)) = (known(types, x)?, known(types, w)?);
    let width = size(&w_dims, 1)? / 3;
    let equal = node.attr_ints("qkv_hidden_sizes").is_none_or(|sizes| sizes.iter().all(|size| *size == width));
    if x_dims.len() != 3 || !equal {
        return None;
    }
    let mut product = g.matmul(&Val::new(x), &Val::new(w));
    if let Some(bias) = input(node, 2) {
        product = g.add(&product, &Val::new(bias));
    }
    let [q, k, v] = [0, 1, 2].map(|at| {
        let part = g.slice(&product, &[at * width], &[(at + 1) * width], &[2], &[1]);
        split(g, &part, heads, width / heads)
    });
    Some(Parts { elem, q, k, v, scale: scale(node, width / heads), mask: None, side_by_side: Some(width) })
}
