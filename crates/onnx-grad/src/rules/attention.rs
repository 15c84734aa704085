//! Attention as one operator: the forward pass is computed again, as far as the probabilities, from queries and keys.
//!
//! With S = scale · Q Kᵀ (+ cap, mask), P = softmax S and Y = P V: ∂V = Pᵀ gY, ∂P = gY Vᵀ, ∂S = P (∂P − Σ ∂P P),
//! ∂Q = scale · ∂S K, ∂K = scale · ∂Sᵀ Q (Dao et al. 2022, "FlashAttention", appendix B.2).

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    types::{Dim, ElemType},
    vjp::{Vjp, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("Attention", attention)];

/// The attention of all heads: queries, keys and values as [batch, heads, sequence, size].
pub(super) struct Heads {
    pub(super) elem: ElemType,
    pub(super) q: Val,
    pub(super) k: Val,
    pub(super) v: Val,
    /// How many heads of queries share one of keys.
    pub(super) shared: i64,
    pub(super) scale: f64,
    /// Scores go through c · tanh(s / c), if at all.
    pub(super) softcap: Option<f64>,
    /// Added to the scores; broadcast.
    pub(super) biases: Vec<Val>,
    /// Where a query may look at a key; broadcast.
    pub(super) allowed: Vec<Val>,
    /// The cotangent of the scores, where they are an output too.
    pub(super) shown: Option<(Stage, Val)>,
}

/// How far the scores have come that a node outputs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Raw,
    Capped,
    Masked,
    Probabilities,
}

/// The cotangents of the three, and of the scores after the cap.
pub(super) struct HeadGradients {
    pub(super) q: Val,
    pub(super) k: Val,
    pub(super) v: Val,
    pub(super) scores: Val,
}

/// The last two axes of [batch, heads, …] swapped.
fn turned(g: &mut Vjp<'_>, value: &Val) -> Val {
    g.g.transpose(value, &[0, 1, 3, 2])
}

impl Heads {
    /// Keys or values repeated for the heads of queries that share them.
    fn repeated(&self, v: &mut Vjp<'_>, value: &Val, heads: i64, size: i64) -> Val {
        if self.shared == 1 {
            return value.clone();
        }
        let parted = v.g.unsqueeze(value, &[2]);
        let times = v.g.ints(&[1, 1, self.shared, 1, 1]);
        let spread = v.g.expand_to(&parted, &times);
        v.g.reshape(&spread, &[0, heads * self.shared, -1, size])
    }

    /// The gradient of what [`Self::repeated`] repeated.
    fn gathered(&self, v: &mut Vjp<'_>, gradient: &Val, heads: i64, size: i64) -> Val {
        if self.shared == 1 {
            return gradient.clone();
        }
        let parted = v.g.reshape(gradient, &[0, heads, self.shared, -1, size]);
        v.g.sum_over(&parted, self.elem, &[2], false)
    }

    /// `heads` of keys, of the given sizes of keys and values.
    pub(super) fn gradients(&self, v: &mut Vjp<'_>, gy: &Val, heads: i64, sizes: (i64, i64)) -> HeadGradients {
        let elem = self.elem;
        let k = self.repeated(v, &self.k, heads, sizes.0);
        let values = self.repeated(v, &self.v, heads, sizes.1);
        let scaled = v.g.scale(&self.q, elem, self.scale);
        let k_turned = turned(v, &k);
        let mut scores = v.g.matmul(&scaled, &k_turned);
        let mut slope = None;
        if let Some(cap) = self.softcap {
            let shrunk = v.g.scale(&scores, elem, 1.0 / cap);
            let (t, one) = (v.g.unary("Tanh", &shrunk), v.g.scalar(elem, 1.0));
            let square = v.g.mul(&t, &t);
            slope = Some(v.g.sub(&one, &square));
            scores = v.g.scale(&t, elem, cap);
        }
        for bias in &self.biases {
            scores = v.g.add(&scores, bias);
        }
        let allowed = self
            .allowed
            .split_first()
            .map(|(first, rest)| rest.iter().fold(first.clone(), |all, next| v.g.binary("And", &all, next)));
        if let Some(allowed) = &allowed {
            let lowest = v.g.scalar(elem, elem.lowest());
            scores = v.g.where_(allowed, &scores, &lowest);
        }
        let mut p = v.g.op("Softmax", &[&scores], vec![attr::int("axis", -1)]);
        if let Some(allowed) = &allowed {
            // A query that may look at nothing gets zeros, not a mean of everything.
            let mask = v.g.cast(allowed, elem);
            p = v.g.mul(&p, &mask);
        }
        let p_turned = turned(v, &p);
        let gv = v.g.matmul(&p_turned, gy);
        let v_turned = turned(v, &values);
        let mut gp = v.g.matmul(gy, &v_turned);
        let shown = |stage| self.shown.as_ref().filter(|(at, _)| *at == stage).map(|(_, cotangent)| cotangent);
        if let Some(cotangent) = shown(Stage::Probabilities) {
            gp = v.g.add(&gp, cotangent);
        }
        let product = v.g.mul(&gp, &p);
        let sum = v.g.sum_over(&product, elem, &[-1], true);
        let centred = v.g.sub(&gp, &sum);
        let mut gs = v.g.mul(&centred, &p);
        if let Some(cotangent) = shown(Stage::Masked) {
            let zero = v.g.scalar(elem, 0.0);
            let open = allowed.as_ref().map(|allowed| v.g.where_(allowed, cotangent, &zero));
            gs = v.g.add(&gs, open.as_ref().unwrap_or(cotangent));
        }
        let mut inner = gs.clone();
        if let Some(cotangent) = shown(Stage::Capped) {
            inner = v.g.add(&inner, cotangent);
        }
        if let Some(slope) = &slope {
            inner = v.g.mul(&inner, slope);
        }
        if let Some(cotangent) = shown(Stage::Raw) {
            inner = v.g.add(&inner, cotangent);
        }
        let gq = v.g.matmul(&inner, &k);
        let gq = v.g.scale(&gq, elem, self.scale);
        let inner_turned = turned(v, &inner);
        let gk = v.g.matmul(&inner_turned, &scaled);
        let (gk, gv) = (self.gathered(v, &gk, heads, sizes.0), self.gathered(v, &gv, heads, sizes.1));
        HeadGradients { q: gq, k: gk, v: gv, scores: gs }
    }
}

/// [batch, sequence, heads · size] as [batch, heads, sequence, size].
pub(super) fn split_heads(v: &mut Vjp<'_>, value: &Val, heads: i64, size: i64) -> Val {
    let parted = v.g.reshape(value, &[0, -1, heads, size]);
    v.g.transpose(&parted, &[0, 2, 1, 3])
}

/// The way back.
pub(super) fn join_heads(v: &mut Vjp<'_>, value: &Val, heads: i64, size: i64) -> Val {
    let turned = v.g.transpose(value, &[0, 2, 1, 3]);
    v.g.reshape(&turned, &[0, -1, heads * size])
}

/// Where a query at place i may look at the key at j, of shape [queries, keys]: i + offset − left ≤ j ≤ i + offset + right.
/// The offset is a number, or one for each image as [batch, 1, 1, 1].
pub(super) fn band(
    v: &mut Vjp<'_>,
    queries: usize,
    keys: usize,
    offset: &Val,
    left: Option<i64>,
    right: Option<i64>,
) -> Result<Vec<Val>> {
    room(&[queries as i64])?;
    room(&[keys as i64])?;
    let rows: Vec<i64> = (0..queries as i64).collect();
    let columns: Vec<i64> = (0..keys as i64).collect();
    let (rows, columns) = (v.g.ints(&rows), v.g.ints(&columns));
    let rows = v.g.unsqueeze(&rows, &[1]);
    let rows = v.g.add(&rows, offset);
    let mut limit = |distance: Option<i64>, sign: i64, op: &str| {
        distance.map(|distance| {
            let distance = v.g.int(sign * distance);
            let end = v.g.add(&rows, &distance);
            v.g.binary(op, &columns, &end)
        })
    };
    let (right, left) = (limit(right, 1, "LessOrEqual"), limit(left, -1, "GreaterOrEqual"));
    Ok(right.into_iter().chain(left).collect())
}

fn size(dim: Option<&Dim>, what: &str) -> Result<usize> {
    dim.and_then(|dim| dim.fixed()).ok_or_else(|| format!("the {what} is not a fixed size").into())
}

/// ONNX's `Attention` (opset 23 and later): heads side by side in three axes or apart in four, grouped queries, a cache of
/// keys and values before them, a boolean or added mask.
fn attention(v: &mut Vjp<'_>) -> Result {
    let elem = v.elem()?;
    let (q_dims, k_dims, v_dims) = (v.dims(0)?, v.dims(1)?, v.dims(2)?);
    let flat = q_dims.len() == 3;
    let number = |name: &str| v.node().attr_int(name).filter(|&count| count > 0);
    let (last_q, last_k, last_v) = (
        size(q_dims.last(), "size of the queries")? as i64,
        size(k_dims.last(), "size of the keys")? as i64,
        size(v_dims.last(), "size of the values")? as i64,
    );
    let (q_heads, kv_heads) = if flat {
        let states = "it does not state its numbers of heads";
        (number("q_num_heads").ok_or(states)?, number("kv_num_heads").ok_or(states)?)
    } else {
        (size(q_dims.get(1), "number of heads")? as i64, size(k_dims.get(1), "number of heads")? as i64)
    };
    let (q_size, v_size) = if flat { (last_q / q_heads, last_v / kv_heads) } else { (last_q, last_v) };
    if kv_heads == 0 || q_heads % kv_heads != 0 || flat && last_k / kv_heads != q_size {
        return Err("its numbers of heads don't fit together".into());
    }
    let sequence = |dims: &[Dim]| dims.get(dims.len().saturating_sub(2)).copied();
    let past = v.has(4) && v.has(5);
    let past_length = if past { size(v.dims(4)?.get(2), "length of the cache")? } else { 0 };
    let own_length = |what| size(sequence(&k_dims).as_ref(), what);

    let apart = |v: &mut Vjp<'_>, i: usize, heads: i64, size: i64| {
        let value = v.x(i);
        if flat { split_heads(v, &value, heads, size) } else { value }
    };
    let (q, mut k, mut values) =
        (apart(v, 0, q_heads, q_size), apart(v, 1, kv_heads, q_size), apart(v, 2, kv_heads, v_size));
    if past {
        let (past_k, past_v) = (v.x(4), v.x(5));
        k = v.g.concat(&[&past_k, &k], 2);
        values = v.g.concat(&[&past_v, &values], 2);
    }

    let mut heads = Heads {
        elem,
        q,
        k,
        v: values,
        shared: q_heads / kv_heads,
        scale: v.node().attr_float("scale").filter(|&scale| scale != 0.0).unwrap_or((q_size as f64).powf(-0.5)),
        softcap: v.node().attr_float("softcap").filter(|&cap| cap != 0.0),
        biases: Vec::new(),
        allowed: Vec::new(),
        shown: shown(v)?,
    };
    if v.has(3) {
        mask(v, &mut heads, past_length, sequence(&k_dims))?;
    }
    let lengths = v.has(6).then(|| {
        let lengths = v.x(6);
        v.g.reshape(&lengths, &[-1, 1, 1, 1])
    });
    if let Some(lengths) = &lengths {
        let columns: Vec<i64> = (0..room(&[own_length("number of keys")? as i64])?).collect();
        let columns = v.g.ints(&columns);
        let present = v.g.binary("Less", &columns, lengths);
        heads.allowed.push(present);
    }
    let causal = v.node().attr_int("is_causal").unwrap_or(0) != 0;
    let window = |name: &str| v.node().attr_int(name).filter(|&width| width >= 0);
    let (left, right) = (window("left_window_size"), if causal { Some(0) } else { window("right_window_size") });
    if left.is_some() || right.is_some() {
        let queries = size(sequence(&q_dims).as_ref(), "number of queries")?;
        let keys = own_length("number of keys")? + past_length;
        let offset = match &lengths {
            Some(lengths) => {
                let queries = v.g.int(queries as i64);
                v.g.sub(lengths, &queries)
            }
            None => v.g.int(past_length as i64),
        };
        heads.allowed.extend(band(v, queries, keys, &offset, left, right)?);
    }

    let gy = v.gy()?;
    let gy = if flat { split_heads(v, &gy, q_heads, v_size) } else { gy };
    let mut gradients = heads.gradients(v, &gy, kv_heads, (q_size, v_size));
    for (output, gradient) in [(1, &mut gradients.k), (2, &mut gradients.v)] {
        if let Some(present) = v.cotangent(output) {
            *gradient = v.g.add(gradient, &present);
        }
    }
    v.each(|v, i| {
        let (whole, count, size) = match i {
            0 => return Ok(if flat { join_heads(v, &gradients.q, q_heads, q_size) } else { gradients.q.clone() }),
            3 => return mask_gradient(v, &gradients.scores, &k_dims, past_length),
            1 | 4 => (&gradients.k, kv_heads, q_size),
            _ => (&gradients.v, kv_heads, v_size),
        };
        let cut = past_length as i64;
        if i >= 4 {
            return Ok(v.g.slice(whole, &[0], &[cut], &[2], &[1]));
        }
        let own = if past { v.g.slice(whole, &[cut], &[i64::MAX], &[2], &[1]) } else { whole.clone() };
        Ok(if flat { join_heads(v, &own, count, size) } else { own })
    })
}

/// The cotangent of the output of scores, and what it shows.
fn shown(v: &Vjp<'_>) -> Result<Option<(Stage, Val)>> {
    let Some(cotangent) = v.cotangent(3) else { return Ok(None) };
    let stage = match v.node().attr_int("qk_matmul_output_mode").unwrap_or(0) {
        0 => Stage::Raw,
        1 => Stage::Capped,
        2 => Stage::Masked,
        3 => Stage::Probabilities,
        other => return Err(format!("its qk_matmul_output_mode {other} is not known").into()),
    };
    Ok(Some((stage, cotangent)))
}

/// How many keys the mask (input 3) says nothing about, at the end: these are closed.
fn uncovered(v: &Vjp<'_>, keys: Option<Dim>, past: usize) -> Result<usize> {
    let keys = keys.and_then(Dim::fixed).map(|keys| keys + past);
    match (v.dims(3)?.last(), keys) {
        (Some(Dim::Fixed(covered)), Some(keys)) if *covered != 1 => {
            keys.checked_sub(*covered).ok_or_else(|| format!("its mask is for {covered} of {keys} keys").into())
        }
        _ => Ok(0),
    }
}

/// Adds the mask (input 3) to what bounds the scores.
fn mask(v: &mut Vjp<'_>, heads: &mut Heads, past: usize, keys: Option<Dim>) -> Result<()> {
    let (mut mask, rank, uncovered) = (v.x(3), v.rank(3)?, uncovered(v, keys, past)?);
    let elem = v.elem_of(&mask)?;
    if uncovered > 0 {
        let mut pads = vec![0; 2 * rank];
        pads[2 * rank - 1] = uncovered as i64;
        let (pads, closed) = (v.g.ints(&pads), v.g.scalar(heads.elem, f64::NEG_INFINITY));
        let closed = if elem.is_float() { closed } else { Val::absent() };
        mask = v.g.op("Pad", &[&mask, &pads, &closed], vec![]);
    }
    if elem.is_float() {
        heads.biases.push(mask)
    } else {
        heads.allowed.push(mask)
    }
    Ok(())
}

/// The scores' cotangent, summed to the shape of the mask.
fn mask_gradient(v: &mut Vjp<'_>, scores: &Val, k_dims: &[Dim], past: usize) -> Result<Val> {
    let rank = v.rank(3)?;
    let keys = k_dims.get(k_dims.len().saturating_sub(2)).copied();
    let uncovered = uncovered(v, keys, past)? as i64;
    let covered = if uncovered > 0 { v.g.slice(scores, &[0], &[-uncovered], &[3], &[1]) } else { scores.clone() };
    // No axis of the scores is known to be 1, as far as the sum is concerned: over one element it changes nothing.
    v.unbroadcast_from(&covered, &vec![Dim::Free; rank.max(4)], 3)
}
