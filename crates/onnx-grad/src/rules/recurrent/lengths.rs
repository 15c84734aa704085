//! Sequences of different lengths: beyond its end a sequence is padding, which leaves the state as it is and outputs zeros.

use super::{Result, Run};
use crate::{
    builder::{Builder, Val},
    rules::indexing::axis_size,
    types::ElemType,
    vjp::Vjp,
};

/// Which steps are padding, S × B × 1 each.
#[derive(Clone)]
pub(super) struct Padding {
    /// 1 within the sequences, 0 beyond; and the other way round.
    open: Val,
    held: Val,
    /// Whether a step is the last of its sequence.
    last: Val,
}

impl Padding {
    /// What input 4 says of `x`, whose first axis is time; `None` where all sequences are as long as they can be.
    pub(super) fn of(v: &mut Vjp<'_>, elem: ElemType, time: usize) -> Result<Option<Self>> {
        if !v.has(4) {
            return Ok(None);
        }
        let (x, dim) = (v.x(0), v.dims(0)?[time]);
        if let (Some(steps), Ok(lengths)) = (dim.fixed(), v.ints(4))
            && lengths.iter().all(|&length| length == steps as i64)
        {
            return Ok(None);
        }
        let steps = axis_size(v, &x, dim, time);
        let steps = v.g.squeeze(&steps, &[0]);
        let (zero, one, lengths) = (v.g.int(0), v.g.int(1), v.x(4));
        let lengths = v.g.cast(&lengths, ElemType::Int64);
        let lengths = v.g.reshape(&lengths, &[1, -1, 1]);
        let steps = v.g.op("Range", &[&zero, &steps, &one], vec![]);
        let steps = v.g.unsqueeze(&steps, &[1, 2]);
        let within = v.g.binary("Less", &steps, &lengths);
        let beyond = v.g.unary("Not", &within);
        let next = v.g.add(&steps, &one);
        let last = v.g.binary("Equal", &next, &lengths);
        Ok(Some(Self { open: v.g.cast(&within, elem), held: v.g.cast(&beyond, elem), last }))
    }

    /// A sequence with something else (broadcast) at the last step of each.
    pub(super) fn at_last(&self, g: &mut Builder, sequence: &Val, value: &Val) -> Val {
        g.where_(&self.last, value, sequence)
    }

    /// Zero beyond the ends.
    pub(super) fn cut(&self, g: &mut Builder, sequence: &Val) -> Val {
        g.mul(sequence, &self.open)
    }
}

impl Run {
    /// Zero beyond the ends of the sequences: slopes, and what is added to a state.
    pub(super) fn cut(&self, g: &mut Builder, sequence: &Val) -> Val {
        self.padding.as_ref().map_or_else(|| sequence.clone(), |padding| padding.cut(g, sequence))
    }

    /// One beyond the ends of the sequences: what a state is multiplied by.
    pub(super) fn keep(&self, g: &mut Builder, sequence: &Val) -> Val {
        let Some(padding) = &self.padding else { return sequence.clone() };
        let cut = padding.cut(g, sequence);
        g.add(&cut, &padding.held)
    }

    /// One within the sequences and zero beyond, where there is a beyond.
    pub(super) fn open(&self) -> Option<&Val> {
        self.padding.as_ref().map(|padding| &padding.open)
    }

    /// The sequences of a loop over steps, and which of them are padding behind them.
    pub(super) fn with_padding<'a>(&'a self, sequences: &[&'a Val]) -> Vec<&'a Val> {
        sequences.iter().copied().chain(self.padding.as_ref().map(|padding| &padding.held)).collect()
    }

    /// Within such a loop: a new state, or the one before where the step is padding, for which the new one is zero.
    pub(super) fn or_before(&self, g: &mut Builder, new: Val, before: &Val, at: &[Val]) -> Val {
        match (&self.padding, at.last()) {
            (Some(_), Some(held)) => {
                let kept = g.mul(before, held);
                g.add(&new, &kept)
            }
            _ => new,
        }
    }
}
