//! `If`, `Loop` and `Scan`. They have no rules: [`crate::unroll`] takes them apart before the sweep. What it leaves can't be
//! differentiated, and says why.

use crate::{
    registry::{Entry, Grad, Unsupported, rule},
    unroll::obstacle,
    vjp::Vjp,
};

pub(crate) const RULES: &[Entry] = &[rule("If", left_over), rule("Loop", left_over), rule("Scan", left_over)];

fn left_over(v: &mut Vjp<'_>) -> Result<Vec<Grad>, Unsupported> {
    Err(obstacle(&v.node().op_type).into())
}
