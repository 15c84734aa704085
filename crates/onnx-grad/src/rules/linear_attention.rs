//! Attention without a softmax: a matrix of memories that every step decays, corrects, writes and reads.
//!
//! With A = D Sₜ₋₁, D = exp g (or 1), u = v, or β (v − Aᵀ k) where the rule corrects, Sₜ = A + k uᵀ and oₜ = scale · Sₜᵀ q. Backward in
//! time, ∂S = scale · q goᵀ + what the next step sent, ∂u = ∂Sᵀ k, ∂A = ∂S − k (β ∂u)ᵀ, and D ∂A goes to the step before; then
//! ∂q = scale · S go, ∂k = ∂S u − A (β ∂u), ∂v = β ∂u, ∂β = ∂u · (v − Aᵀ k), ∂g = Σ ∂A A.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    rules::recurrent::scan,
    types::ElemType,
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("LinearAttention", linear_attention)];

/// The sequences with time first: T × B × H × …
struct Steps {
    elem: ElemType,
    heads: i64,
    /// Heads of queries that share one memory.
    shared: i64,
    key: i64,
    value: i64,
    scale: f64,
    /// … shared × key
    q: Val,
    /// … key × 1 and … 1 × key
    k: Val,
    k_row: Val,
    /// … 1 × value
    v: Val,
    /// … key (or 1) × 1
    decay: Option<Val>,
    /// … 1 × 1
    beta: Option<Val>,
    /// B × H × key × value
    start: Val,
}

/// \[B, T, n · size\] with time first: T × B × n × size.
fn apart(v: &mut Vjp<'_>, value: &Val, dims: &[i64]) -> Val {
    let shape: Vec<i64> = [0, 0].iter().chain(dims).copied().collect();
    let parted = v.g.reshape(value, &shape);
    let perm: Vec<i64> = [1, 0].into_iter().chain(2..shape.len() as i64).collect();
    v.g.transpose(&parted, &perm)
}

/// The way back, for input `i`.
fn joined(v: &mut Vjp<'_>, value: &Val, axes: usize, i: usize) -> Result<Val> {
    let perm: Vec<i64> = [1, 0].into_iter().chain(2..axes as i64).collect();
    let turned = v.g.transpose(value, &perm);
    v.reshape_like(&turned, &v.x(i))
}

fn turned(v: &mut Vjp<'_>, value: &Val) -> Val {
    v.g.transpose(value, &[0, 1, 2, 4, 3])
}

impl Steps {
    fn new(v: &mut Vjp<'_>) -> Result<Self> {
        let elem = v.elem_of(&v.x(0))?.accumulator();
        let count = |name: &str| v.node().attr_int(name).filter(|&count| count > 0).ok_or("it states no heads");
        let (q_heads, heads) = (count("q_num_heads")?, count("kv_num_heads")?);
        let last = |i: usize| v.fixed(i, [2]).map(|sizes| sizes[0] as i64);
        let (key, value, shared) = (last(0)? / q_heads, last(2)? / heads, q_heads / heads);
        let scale = v.node().attr_float("scale").filter(|&scale| scale != 0.0).unwrap_or((key as f64).powf(-0.5));
        let rule = v.node().attr_str("update_rule").unwrap_or("gated_delta");
        let (gated, corrects) = match rule {
            "linear" => (false, false),
            "gated" => (true, false),
            "delta" => (false, true),
            "gated_delta" => (true, true),
            other => return Err(format!("its update rule `{other}` is not known").into()),
        };
        if gated != v.has(4) || corrects != v.has(5) {
            return Err("its inputs don't fit its update rule".into());
        }
        let decay_size = if gated { last(4)? / heads } else { 1 };
        let beta_heads = if corrects { last(5)? } else { 1 };
        let mut wide = Vec::new();
        for i in [0, 1, 2, 4, 5] {
            let x = v.x(i);
            wide.push(if v.has(i) { v.cast_to(&x, elem)? } else { x });
        }
        let q = apart(v, &wide[0], &[heads, shared, key]);
        let k_row = apart(v, &wide[1], &[heads, 1, key]);
        let k = turned(v, &k_row);
        let values = apart(v, &wide[2], &[heads, 1, value]);
        let decay = gated.then(|| {
            let logarithm = apart(v, &wide[3], &[heads, decay_size, 1]);
            v.g.unary("Exp", &logarithm)
        });
        let beta = corrects.then(|| apart(v, &wide[4], &[beta_heads, 1, 1]));
        let start = if v.has(3) {
            let past = v.x(3);
            v.cast_to(&past, elem)?
        } else {
            let batch = v.g.op("Shape", &[&v.x(0)], vec![attr::int("end", 1)]);
            let rest = v.g.ints(&[heads, key, value]);
            let shape = v.g.concat(&[&batch, &rest], 0);
            v.g.full(&shape, elem, 0.0)
        };
        Ok(Self { elem, heads, shared, key, value, scale, q, k, k_row, v: values, decay, beta, start })
    }

    /// The memories before each step.
    fn before(&self, v: &mut Vjp<'_>) -> Val {
        let optional = self.decay.iter().chain(&self.beta);
        let sequences: Vec<&Val> = [&self.k, &self.k_row, &self.v].into_iter().chain(optional).collect();
        let out = scan(v, (self.elem, 4), false, &[&self.start], &sequences, |g, states, at| {
            let (k, k_row, mut u) = (&at[0], &at[1], at[2].clone());
            let mut rest = at[3..].iter();
            let before = g.unary("Identity", &states[0]);
            let mut memory = states[0].clone();
            if self.decay.is_some()
                && let Some(decay) = rest.next()
            {
                memory = g.mul(decay, &memory);
            }
            if self.beta.is_some()
                && let Some(beta) = rest.next()
            {
                let read = g.matmul(k_row, &memory);
                let error = g.sub(&u, &read);
                u = g.mul(beta, &error);
            }
            let written = g.matmul(k, &u);
            (vec![g.add(&memory, &written)], vec![before])
        });
        out[1].clone()
    }
}

fn linear_attention(v: &mut Vjp<'_>) -> Result {
    let s = Steps::new(v)?;
    let elem = s.elem;
    let before = s.before(v);
    let memory = match &s.decay {
        Some(decay) => v.g.mul(decay, &before),
        None => before,
    };
    // u, and where it corrects, v − Aᵀ k.
    let (u, error) = match &s.beta {
        Some(beta) => {
            let read = v.g.matmul(&s.k_row, &memory);
            let error = v.g.sub(&s.v, &read);
            (v.g.mul(beta, &error), Some(error))
        }
        None => (s.v.clone(), None),
    };
    let written = v.g.matmul(&s.k, &u);
    let after = v.g.add(&memory, &written);

    let own = v.elem_of(&v.x(0))?;
    let go = v.gy()?;
    let go = if own == elem { go } else { v.g.cast(&go, elem) };
    let go = apart(v, &go, &[s.heads, s.shared, s.value]);
    let go = v.g.scale(&go, elem, s.scale);
    let q_turned = turned(v, &s.q);
    let reads = v.g.matmul(&q_turned, &go);
    let last = match v.cotangent(1) {
        Some(state) => {
            let own = v.elem_of(&v.y(1))?;
            if own == elem { state } else { v.g.cast(&state, elem) }
        }
        None => {
            // The batch of the seeds may be larger than that of the image.
            let shape = v.g.op("Shape", &[&reads], vec![attr::int("start", 1)]);
            v.g.full(&shape, elem, 0.0)
        }
    };
    let optional = s.decay.iter().chain(&s.beta);
    let sequences: Vec<&Val> = [&reads, &s.k, &s.k_row].into_iter().chain(optional).collect();
    let out = scan(v, (elem, 4), true, &[&last], &sequences, |g, states, at| {
        let whole = g.add(&states[0], &at[0]);
        let copy = g.unary("Identity", &whole);
        let mut rest = at[3..].iter();
        let decay = s.decay.as_ref().and_then(|_| rest.next());
        let mut earlier = whole;
        if s.beta.is_some()
            && let Some(beta) = rest.next()
        {
            let gu = g.matmul(&at[2], &earlier);
            let gu = g.mul(beta, &gu);
            let unread = g.matmul(&at[1], &gu);
            earlier = g.sub(&earlier, &unread);
        }
        let sent = match decay {
            Some(decay) => g.mul(decay, &earlier),
            None => earlier,
        };
        (vec![sent], vec![copy])
    });
    let (first, gs) = (out[0].clone(), out[1].clone());
    let gu = v.g.matmul(&s.k_row, &gs);
    let gv = match &s.beta {
        Some(beta) => v.g.mul(beta, &gu),
        None => gu.clone(),
    };
    v.each(|v, i| {
        let gradient = match i {
            0 => {
                let after = turned(v, &after);
                let gradient = v.g.matmul(&go, &after);
                joined(v, &gradient, 5, 0)?
            }
            1 => {
                let u = turned(v, &u);
                let mut gradient = v.g.matmul(&gs, &u);
                if s.beta.is_some() {
                    let gv = turned(v, &gv);
                    let unread = v.g.matmul(&memory, &gv);
                    gradient = v.g.sub(&gradient, &unread);
                }
                joined(v, &gradient, 5, 1)?
            }
            2 => joined(v, &gv, 5, 2)?,
            3 => first.clone(),
            4 => {
                let mut g_memory = gs.clone();
                if s.beta.is_some() {
                    let unread = v.g.matmul(&s.k, &gv);
                    g_memory = v.g.sub(&g_memory, &unread);
                }
                let product = v.g.mul(&g_memory, &memory);
                let per_head = v.fixed(4, [2])?[0] as i64 == s.heads && s.key != 1;
                let axes: &[i64] = if per_head { &[3, 4] } else { &[4] };
                let sum = v.g.reduce_sum(&product, axes, true);
                joined(v, &sum, 5, 4)?
            }
            _ => {
                let error = error.as_ref().ok_or("there is no gradient for this input")?;
                let product = v.g.mul(&gu, error);
                let mut sum = v.g.reduce_sum(&product, &[4], true);
                if v.fixed(5, [2])? == [1] && s.heads != 1 {
                    sum = v.g.reduce_sum(&sum, &[2], true);
                }
                joined(v, &sum, 5, 5)?
            }
        };
        v.in_type_of(&gradient, elem, i)
    })
}
