//! Losses over class labels.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    types::ElemType,
    vjp::{Vjp, room},
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] =
    &[rule("NegativeLogLikelihoodLoss", likelihood), rule("SoftmaxCrossEntropyLoss", cross_entropy)];

/// How the losses of all places become one, −Σ w x\[label\] or its parts. The classes are axis 1 of every value here.
struct Loss {
    elem: ElemType,
    rank: usize,
    /// 1 where an axis of classes meets the label of the place, unless that is ignored.
    hit: Val,
    /// `hit` times the weight of the class.
    weight: Val,
    /// What arrives at −w x of each place, broadcast.
    share: Val,
    /// The sum of all weights that the loss was divided by.
    total: Option<Val>,
}

impl Loss {
    fn new(v: &mut Vjp<'_>) -> Result<Self> {
        let (rank, elem) = (v.rank(0)?, v.elem_of(&v.x(0))?.accumulator());
        if rank < 2 {
            return Err("its scores have no axis of classes".into());
        }
        let classes: Vec<i64> = (0..room(&[v.fixed(0, [1])?[0] as i64])?).collect();
        let classes = v.g.ints(&classes);
        let classes = per_class(v, &classes, rank);
        let labels = v.x(1);
        let labels = v.cast_to(&labels, ElemType::Int64)?;
        let labels = v.g.unsqueeze(&labels, &[1]);
        let mut hit = v.g.binary("Equal", &classes, &labels);
        if let Some(ignored) = v.node().attr_int("ignore_index") {
            let ignored = v.g.int(ignored);
            let ignored = v.g.binary("Equal", &labels, &ignored);
            let counts = v.g.unary("Not", &ignored);
            hit = v.g.binary("And", &hit, &counts);
        }
        let hit = v.g.cast(&hit, elem);
        let weight = if v.has(2) {
            let weights = v.x(2);
            let weights = v.cast_to(&weights, elem)?;
            let weights = per_class(v, &weights, rank);
            v.g.mul(&hit, &weights)
        } else {
            hit.clone()
        };
        let zero = v.g.scalar(elem, 0.0);
        let gy = match v.cotangent(0) {
            Some(gy) => wide(v, &gy, elem)?,
            None => zero,
        };
        let (mut share, mut total) = (gy, None);
        match v.node().attr_str("reduction").unwrap_or("mean") {
            "none" if v.cotangent(0).is_some() => share = v.g.unsqueeze(&share, &[1]),
            "none" | "sum" => {}
            "mean" => {
                let all: Vec<i64> = (0..rank as i64).collect();
                let sum = v.g.reduce_sum(&weight, &all, false);
                share = v.g.div(&share, &sum);
                total = Some(sum);
            }
            other => return Err(format!("its reduction `{other}` is not known").into()),
        }
        Ok(Self { elem, rank, hit, weight, share, total })
    }

    /// ∂x = −gy w at the label, over Σ w for the mean.
    fn scores(&self, v: &mut Vjp<'_>) -> Val {
        let product = v.g.mul(&self.share, &self.weight);
        v.g.neg(&product)
    }

    /// ∂w = −gy Σ x at the labels of this class; for the mean, of x less its mean, over Σ w.
    fn weights(&self, v: &mut Vjp<'_>, x: &Val) -> Result<Val> {
        let mut x = x.clone();
        if let Some(total) = &self.total {
            let product = v.g.mul(&self.weight, &x);
            let all: Vec<i64> = (0..self.rank as i64).collect();
            let sum = v.g.reduce_sum(&product, &all, false);
            let mean = v.g.div(&sum, total);
            x = v.g.sub(&x, &mean);
        }
        let at_label = v.g.mul(&self.hit, &x);
        let product = v.g.mul(&at_label, &self.share);
        let others: Vec<i64> = (0..self.rank as i64).filter(|&axis| axis != 1).collect();
        let sum = v.g.reduce_sum(&product, &others, false);
        let gradient = v.g.neg(&sum);
        v.in_type_of(&gradient, self.elem, 2)
    }
}

/// A cotangent, which is of the scores' type, in another.
fn wide(v: &mut Vjp<'_>, gy: &Val, elem: ElemType) -> Result<Val> {
    let own = v.elem_of(&v.x(0))?;
    Ok(if own == elem { gy.clone() } else { v.g.cast(gy, elem) })
}

/// One entry a class, against [N, C, …].
fn per_class(v: &mut Vjp<'_>, value: &Val, rank: usize) -> Val {
    let spread: Vec<i64> = std::iter::once(-1).chain((2..rank).map(|_| 1)).collect();
    v.g.reshape(value, &spread)
}

/// −w x\[label\] of every place, their sum, or that over Σ w.
fn likelihood(v: &mut Vjp<'_>) -> Result {
    let (loss, x) = (Loss::new(v)?, v.x(0));
    v.each(|v, i| match i {
        0 => {
            let gradient = loss.scores(v);
            v.in_type_of(&gradient, loss.elem, 0)
        }
        2 => {
            let x = v.cast_to(&x, loss.elem)?;
            loss.weights(v, &x)
        }
        _ => Err("there is no gradient for this input".into()),
    })
}

/// The same of x = log softmax s, which may be an output too: ∂s = ∂x − eˣ Σ ∂x over the classes.
fn cross_entropy(v: &mut Vjp<'_>) -> Result {
    let (loss, scores) = (Loss::new(v)?, v.x(0));
    let scores = v.cast_to(&scores, loss.elem)?;
    let x = v.g.op("LogSoftmax", &[&scores], vec![attr::int("axis", 1)]);
    v.each(|v, i| match i {
        0 => {
            let mut gradient = loss.scores(v);
            if let Some(gx) = v.cotangent(1) {
                let gx = wide(v, &gx, loss.elem)?;
                gradient = v.g.add(&gradient, &gx);
            }
            let sum = v.g.reduce_sum(&gradient, &[1], true);
            let probability = v.g.unary("Exp", &x);
            let product = v.g.mul(&probability, &sum);
            let gradient = v.g.sub(&gradient, &product);
            v.in_type_of(&gradient, loss.elem, 0)
        }
        2 => loss.weights(v, &x),
        _ => Err("there is no gradient for this input".into()),
    })
}
