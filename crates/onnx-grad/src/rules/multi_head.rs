//! Attention as ONNX Runtime's own operators, `MultiHeadAttention` and `Attention` of `com.microsoft`.

use crate::{
    builder::Val,
    registry::{Entry, Grad, Unsupported, fused},
    rules::attention::{Heads, band, join_heads, split_heads},
    types::{Dim, ElemType},
    vjp::{Vjp, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[fused("Attention", attention), fused("MultiHeadAttention", multi_head_attention)];

fn number_of_heads(v: &Vjp<'_>) -> Result<i64> {
    v.node().attr_int("num_heads").filter(|&heads| heads > 0).ok_or_else(|| "it states no number of heads".into())
}

fn size(dims: &[Dim], axis: usize, what: &str) -> Result<i64> {
    let size = dims.get(axis).and_then(|dim| dim.fixed());
    size.map(|size| size as i64).ok_or_else(|| format!("the {what} is not a fixed size").into())
}

fn scale(v: &Vjp<'_>, head: i64) -> f64 {
    v.node().attr_float("scale").filter(|&scale| scale != 0.0).unwrap_or((head as f64).powf(-0.5))
}

/// The scores' bias for a mask of integers at input `i`: 0 where it is set, `mask_filter_value` elsewhere. One of rank 1 holds
/// how many keys each image has.
fn integer_mask(v: &mut Vjp<'_>, i: usize, elem: ElemType, keys: i64, batch: Dim) -> Result<Val> {
    let (mask, dims) = (v.x(i), v.dims(i)?);
    let filter = v.node().attr_float("mask_filter_value").unwrap_or(-10_000.0);
    let is_set = match dims.len() {
        1 if dims[0] == batch => {
            let columns: Vec<i64> = (0..room(&[keys])?).collect();
            let columns = v.g.ints(&columns);
            let lengths = v.g.cast(&mask, ElemType::Int64);
            let lengths = v.g.reshape(&lengths, &[-1, 1, 1, 1]);
            v.g.binary("Less", &columns, &lengths)
        }
        rank @ (2 | 3) => {
            let truth = v.g.cast(&mask, ElemType::Bool);
            v.g.unsqueeze(&truth, if rank == 2 { &[1, 2] } else { &[1] })
        }
        _ => return Err("its mask is of a form that has no rule".into()),
    };
    let (zero, filter) = (v.g.scalar(elem, 0.0), v.g.scalar(elem, filter));
    Ok(v.g.where_(&is_set, &zero, &filter))
}

/// Queries, keys and values side by side (or keys and values as heads already), a bias for all three before the heads are
/// parted, a mask of the keys, a bias of the scores.
fn multi_head_attention(v: &mut Vjp<'_>) -> Result {
    if (6..v.inputs()).any(|i| v.has(i)) || (1..v.node().output.len()).any(|i| v.cotangent(i).is_some()) {
        return Err("it has a cache of keys and values".into());
    }
    let (elem, count) = (v.elem()?, number_of_heads(v)?);
    let (q_dims, k_dims, v_dims) = (v.dims(0)?, v.dims(1)?, v.dims(2)?);
    if q_dims.len() != 3 || ![3, 4].contains(&k_dims.len()) || k_dims.len() != v_dims.len() {
        return Err("its queries, keys and values are packed".into());
    }
    let parted = k_dims.len() == 4;
    let width = size(&q_dims, 2, "size of the queries")?;
    let head = width / count;
    let (v_head, keys) = if parted {
        (size(&v_dims, 3, "size of the values")?, size(&k_dims, 2, "number of keys")?)
    } else {
        (size(&v_dims, 2, "size of the values")? / count, size(&k_dims, 1, "number of keys")?)
    };
    let biased = v.has(3);
    let part = |v: &mut Vjp<'_>, i: usize, start: i64, head: i64| {
        let mut value = v.x(i);
        if biased {
            let bias = v.x(3);
            let bias = v.g.slice(&bias, &[start], &[start + count * head], &[0], &[1]);
            value = v.g.add(&value, &bias);
        }
        split_heads(v, &value, count, head)
    };
    if parted && biased {
        return Err("it adds a bias to keys that are heads already".into());
    }
    let q = part(v, 0, 0, head);
    let (k, values) = if parted { (v.x(1), v.x(2)) } else { (part(v, 1, width, head), part(v, 2, 2 * width, v_head)) };
    let mut heads = Heads {
        elem,
        q,
        k,
        v: values,
        shared: 1,
        scale: scale(v, head),
        softcap: None,
        biases: Vec::new(),
        allowed: Vec::new(),
        shown: None,
    };
    if v.has(4) {
        let mask = integer_mask(v, 4, elem, keys, q_dims[0])?;
        heads.biases.push(mask);
    }
    if v.has(5) {
        heads.biases.push(v.x(5));
    }
    causal(v, &mut heads, &q_dims, keys)?;
    let gy = v.gy()?;
    let gy = split_heads(v, &gy, count, v_head);
    let gradients = heads.gradients(v, &gy, count, (head, v_head));
    let gq = join_heads(v, &gradients.q, count, head);
    let (gk, gv) = if parted {
        (gradients.k.clone(), gradients.v.clone())
    } else {
        (join_heads(v, &gradients.k, count, head), join_heads(v, &gradients.v, count, v_head))
    };
    v.each(|v, i| match i {
        0 => Ok(gq.clone()),
        1 => Ok(gk.clone()),
        2 => Ok(gv.clone()),
        3 => {
            let sums = [&gq, &gk, &gv].map(|gradient| v.g.sum_over(gradient, elem, &[0, 1], false));
            Ok(v.g.concat(&[&sums[0], &sums[1], &sums[2]], 0))
        }
        _ => v.unbroadcast_from(&gradients.scores, &[Dim::Free; 4], i),
    })
}

fn causal(v: &mut Vjp<'_>, heads: &mut Heads, q_dims: &[Dim], keys: i64) -> Result<()> {
    if v.node().attr_int("unidirectional").unwrap_or(0) != 0 {
        let queries = size(q_dims, 1, "number of queries")?;
        let offset = v.g.int(0);
        heads.allowed.extend(band(v, queries as usize, keys as usize, &offset, None, Some(0))?);
    }
    Ok(())
}

/// Queries, keys and values are parts of one product: x W + b.
fn attention(v: &mut Vjp<'_>) -> Result {
    if v.has(4) || v.has(6) || v.cotangent(1).is_some() {
        return Err("it has a cache of keys and values".into());
    }
    if v.node().attr_int("do_rotary").unwrap_or(0) != 0 {
        return Err("it turns queries and keys by their positions".into());
    }
    let (elem, count, x, w) = (v.elem()?, number_of_heads(v)?, v.x(0), v.x(1));
    let (x_dims, w_dims) = (v.dims(0)?, v.dims(1)?);
    let (inner, whole) = (size(&w_dims, 0, "size of the input")?, size(&w_dims, 1, "size of the weight")?);
    let length = size(&x_dims, 1, "length of the sequence")?;
    let (width, v_width) = match v.node().attr_ints("qkv_hidden_sizes") {
        Some(&[q, k, v]) if q == k => (q, v),
        Some(_) => return Err("its queries and keys are of different sizes".into()),
        None => (whole / 3, whole / 3),
    };
    let (head, v_head) = (width / count, v_width / count);
    let mut product = v.g.matmul(&x, &w);
    if v.has(2) {
        let bias = v.x(2);
        product = v.g.add(&product, &bias);
    }
    let part = |v: &mut Vjp<'_>, start: i64, head: i64| {
        let part = v.g.slice(&product, &[start], &[start + count * head], &[2], &[1]);
        split_heads(v, &part, count, head)
    };
    let mut heads = Heads {
        elem,
        q: part(v, 0, head),
        k: part(v, width, head),
        v: part(v, 2 * width, v_head),
        shared: 1,
        scale: scale(v, head),
        softcap: None,
        biases: Vec::new(),
        allowed: Vec::new(),
        shown: None,
    };
    if v.has(3) {
        let mask = integer_mask(v, 3, elem, length, x_dims[0])?;
        heads.biases.push(mask);
    }
    if v.has(5) {
        heads.biases.push(v.x(5));
    }
    causal(v, &mut heads, &x_dims, length)?;
    let gy = v.gy()?;
    let gy = split_heads(v, &gy, count, v_head);
    let gradients = heads.gradients(v, &gy, count, (head, v_head));
    let parts = [(&gradients.q, head), (&gradients.k, head), (&gradients.v, v_head)]
        .map(|(gradient, head)| join_heads(v, gradient, count, head));
    let joint = v.g.concat(&[&parts[0], &parts[1], &parts[2]], 2);
    v.each(|v, i| match i {
        0 => {
            let turned = v.g.transpose(&w, &[1, 0]);
            Ok(v.g.matmul(&joint, &turned))
        }
        1 => {
            let (rows, cotangents) = (v.g.reshape(&x, &[-1, inner]), v.g.reshape(&joint, &[-1, whole]));
            let turned = v.g.transpose(&rows, &[1, 0]);
            Ok(v.g.matmul(&turned, &cotangents))
        }
        2 => Ok(v.g.sum_over(&joint, elem, &[0, 1], false)),
        _ => v.unbroadcast_from(&gradients.scores, &[Dim::Free; 4], i),
    })
}
