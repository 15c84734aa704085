//! A box as the target of a graph: chosen among all boxes of an image as the host chooses it, see [`crate::task::detection::suppressed`].

use onnx_grad::{Builder, ElemType, Val, attr};

use super::seed::{Seeding, Seeds, spread};
use crate::{
    error::{Error, Result},
    target::{Score, class::named},
    task::detection::{Columns, Emission, Emitted, Says},
};

/// Boxes are chosen one after the other, each by some thirty nodes.
const MOST_BOXES: usize = 100;

/// Which box.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    /// The n-th surest that is left when those are taken away that overlap a surer one of their class.
    Rank(usize),
    /// The surest of a class: nothing surer of its class overlaps it.
    Class(&'a str),
}

impl Seeding<'_> {
    /// The score of a box. An image that doesn't have it gets a seed of 0.
    pub(super) fn boxed(&self, g: &mut Builder, which: Which<'_>) -> Result<Seeds> {
        let network = self.subject.network();
        let head = network.detector()?;
        let mut to = Emission { g, types: self.subject.types() };
        let emitted = head.emit(&mut to).filter(|found| found.pieces.len() == 1 || extents(found).is_some());
        let Some(found) = emitted else {
            let format = network.task.as_ref().and_then(|found| found.task.format()).unwrap_or("this");
            return Err(Error::CannotExport {
                reason: format!(
                    "where the boxes of the format `{format}` lie is not known before it runs: their sizes are open, or their priors are not named"
                ),
                help: "--size says the size of the input, priors under [task] in the sidecar the priors; --target output:NAME[…] explains an \
                       element of an output"
                    .into(),
            });
        };
        let rank = match which {
            Which::Rank(rank) if rank > MOST_BOXES => {
                let help = format!("box:1 to box:{MOST_BOXES}");
                let reason = format!("box:{rank} takes too many nodes, since boxes are chosen one after the other");
                return Err(Error::CannotExport { reason, help });
            }
            Which::Rank(rank) => rank,
            Which::Class(_) => 1,
        };
        let wanted = match which {
            Which::Class(label) => Some(self.wanted(label, &found)?),
            Which::Rank(_) => None,
        };
        let all = table(&mut to, &found);
        let (sureness, classes) = sureness(&mut to, &found, &all);
        let allowed = allowed(&mut to, &found, &sureness, wanted.map(|class| (&classes, class)));
        let gone = to.g.scalar(ElemType::Float, f64::from(f32::MIN));
        let scores = to.g.where_(&allowed, &sureness, &gone);
        let most = head.overlap().filter(|most| most.is_finite());
        let chosen = choose(&mut to, (scores, &gone), (&found.corners, &classes), (rank, most), extents(&found));
        let seed = match &found.scores {
            Columns::Given { score, .. } => self.seed_given(&mut to, (&found, *score), &all, &chosen),
            Columns::Classes { .. } => self.seed_classes(&mut to, &found, &all, (&chosen, &classes)),
        };
        // Each value has its rows.
        let (mut start, mut seeds) = (0, Vec::new());
        for piece in &found.pieces {
            let own = match (&found.pieces[..], piece.rows) {
                ([_, _, ..], Some(rows)) => {
                    let from = start;
                    start += rows as i64;
                    to.g.slice(&seed, &[from], &[start], &[1], &[1])
                }
                _ => seed.clone(),
            };
            for (value, own) in piece.seeds(to.g, &own) {
                let elem = self.elem(&value);
                let own = if elem == ElemType::Float { own } else { to.g.cast(&own, elem) };
                seeds.extend(head.emit_origins(to.g, &value, &own));
            }
        }
        Ok(seeds)
    }

    /// A class by its label or number, counted as the emitted classes are.
    fn wanted(&self, label: &str, found: &Emitted) -> Result<i64> {
        let class = named(label, self.subject.labels())? as i64;
        Ok(match &found.scores {
            Columns::Classes { first, .. } => class - *first as i64,
            Columns::Given { .. } => class,
        })
    }

    /// The seed of the table, of a box whose score stands in one column.
    fn seed_given(&self, to: &mut Emission<'_>, (found, score): (&Emitted, usize), all: &Val, chosen: &Val) -> Val {
        let chosen = to.g.unsqueeze(chosen, &[2]);
        let slope = match found.says {
            Says::Logits if self.score == Score::Probability => {
                let own = to.g.slice(all, &[score as i64], &[score as i64 + 1], &[2], &[1]);
                let slope = spread(to.g, &own, ElemType::Float);
                let zero = to.g.scalar(ElemType::Float, 0.0);
                to.g.where_(&chosen, &slope, &zero)
            }
            _ => to.g.cast(&chosen, ElemType::Float),
        };
        let column = at(to, score, found.columns);
        to.g.mul(&slope, &column)
    }

    /// The seed of the table, of a box that has a score for each class.
    fn seed_classes(&self, to: &mut Emission<'_>, found: &Emitted, all: &Val, (chosen, classes): (&Val, &Val)) -> Val {
        let Columns::Classes { own, all: exclusive, objectness, .. } = &found.scores else { return all.clone() };
        let class = of_chosen(to, chosen, classes);
        let chosen = to.g.unsqueeze(chosen, &[2]);
        // The box's row, and its class in it: `[N, 1, columns]`.
        let zero = to.g.scalar(ElemType::Float, 0.0);
        let row = to.g.where_(&chosen, all, &zero);
        let row = to.g.reduce_sum(&row, &[1], true);
        let columns = to.numbers(found.columns);
        let class = to.g.unsqueeze(&class, &[2]);
        let start = to.g.int(own.start as i64);
        let column = to.g.add(&class, &start);
        let is_class = to.g.binary("Equal", &columns, &column);
        let class = to.g.cast(&is_class, ElemType::Float);
        let slope = match (found.says, objectness) {
            (Says::Logits | Says::Probabilities, Some(objectness)) => {
                let objectness = at(to, *objectness, found.columns);
                let p = if found.says == Says::Logits { to.g.unary("Sigmoid", &row) } else { row.clone() };
                let mut of = |which: &Val| {
                    let own = to.g.mul(&p, which);
                    to.g.reduce_sum(&own, &[2], true)
                };
                let (of_object, of_class) = (of(&objectness), of(&class));
                // Each factor's slope is the other factor.
                let (one, other) = (to.g.mul(&class, &of_object), to.g.mul(&objectness, &of_class));
                let slope = to.g.add(&one, &other);
                match found.says {
                    Says::Logits => {
                        let own = spread(to.g, &row, ElemType::Float);
                        to.g.mul(&slope, &own)
                    }
                    _ => slope,
                }
            }
            (Says::Logits, None) if self.score == Score::Probability => {
                let own = spread(to.g, &row, ElemType::Float);
                to.g.mul(&class, &own)
            }
            (Says::Softmax, None) if self.score == Score::Probability => {
                let scores = to.g.slice(&row, &[exclusive.start as i64], &[exclusive.end as i64], &[2], &[1]);
                let p = to.g.op("Softmax", &[&scores], vec![attr::int("axis", 2)]);
                let behind = (found.columns - exclusive.end) as i64;
                let p = to.g.pad_zeros(&p, &[0, 0, exclusive.start as i64, 0, 0, behind]);
                let own = to.g.mul(&class, &p);
                let own = to.g.reduce_sum(&own, &[2], true);
                let away = to.g.sub(&class, &p);
                to.g.mul(&own, &away)
            }
            _ => class,
        };
        let place = to.g.cast(&chosen, ElemType::Float);
        to.g.mul(&place, &slope)
    }
}

/// How many boxes there are; `None`: as many as a run finds.
fn extents(found: &Emitted) -> Option<usize> {
    found.pieces.iter().map(|piece| piece.rows).sum()
}

/// The scores of all boxes, `[N, boxes, columns]`, as floats.
fn table(to: &mut Emission<'_>, found: &Emitted) -> Val {
    let float = |to: &mut Emission<'_>, piece: &crate::task::detection::Piece| {
        let table = piece.table(to.g);
        let elem = to.types.get(&piece.value).map_or(ElemType::Float, |ty| ty.elem);
        if elem == ElemType::Float { table } else { to.g.cast(&table, ElemType::Float) }
    };
    let parts: Vec<Val> = found.pieces.iter().map(|piece| float(to, piece)).collect();
    to.g.concat(&parts.iter().collect::<Vec<_>>(), 1)
}

/// A one at a column, `[columns]`.
fn at(to: &mut Emission<'_>, column: usize, columns: usize) -> Val {
    let values: Vec<f64> = (0..columns).map(|at| f64::from(u8::from(at == column))).collect();
    to.g.floats(ElemType::Float, &[columns as i64], &values)
}

/// How sure the model is of each box, and the box's class, both `[N, boxes]`.
fn sureness(to: &mut Emission<'_>, found: &Emitted, all: &Val) -> (Val, Val) {
    let cut = |g: &mut Builder, value: &Val, from: usize, end: usize| {
        g.slice(value, &[from as i64], &[end as i64], &[2], &[1])
    };
    let probability = |g: &mut Builder, value: &Val| match found.says {
        Says::Logits => g.unary("Sigmoid", value),
        Says::Probabilities | Says::Softmax => value.clone(),
    };
    match &found.scores {
        Columns::Given { score, classes } => {
            let own = cut(to.g, all, *score, score + 1);
            let own = to.g.squeeze(&own, &[2]);
            (probability(to.g, &own), classes.clone())
        }
        Columns::Classes { own, all: exclusive, objectness, .. } => {
            let scores = cut(to.g, all, own.start, own.end);
            let classes = to.g.op("ArgMax", &[&scores], vec![attr::int("axis", 2), attr::int("keepdims", 0)]);
            let scores = match found.says {
                Says::Softmax => {
                    let row = cut(to.g, all, exclusive.start, exclusive.end);
                    let row = to.g.op("Softmax", &[&row], vec![attr::int("axis", 2)]);
                    cut(to.g, &row, own.start - exclusive.start, own.end - exclusive.start)
                }
                Says::Logits | Says::Probabilities => scores,
            };
            let best = to.g.reduce("ReduceMax", &scores, &[2], false);
            let best = probability(to.g, &best);
            let sure = match objectness {
                Some(objectness) => {
                    let other = cut(to.g, all, *objectness, objectness + 1);
                    let other = to.g.squeeze(&other, &[2]);
                    let other = probability(to.g, &other);
                    to.g.mul(&best, &other)
                }
                None => best,
            };
            (sure, classes)
        }
    }
}

/// Which places hold a box whose numbers are numbers, of a class where one is wanted; `[N, boxes]`.
fn allowed(to: &mut Emission<'_>, found: &Emitted, sureness: &Val, wanted: Option<(&Val, i64)>) -> Val {
    let size = to.g.unary("Abs", &found.corners);
    let most = to.g.scalar(ElemType::Float, f64::from(f32::MAX));
    let is_finite = to.g.binary("LessOrEqual", &size, &most);
    let is_finite = to.g.cast(&is_finite, ElemType::Float);
    let is_finite = to.g.reduce("ReduceMin", &is_finite, &[2], false);
    let half = to.g.scalar(ElemType::Float, 0.5);
    let mut allowed = to.g.binary("Greater", &is_finite, &half);
    let is_no_number = to.g.unary("IsNaN", sureness);
    let is_number = to.g.unary("Not", &is_no_number);
    allowed = to.g.binary("And", &allowed, &is_number);
    if let Some(filled) = &found.filled {
        allowed = to.g.binary("And", &allowed, filled);
    }
    if let Some((classes, class)) = wanted {
        let class = to.g.int(class);
        let is_wanted = to.g.binary("Equal", classes, &class);
        allowed = to.g.binary("And", &allowed, &is_wanted);
    }
    allowed
}

/// What stands at the chosen box of each image, `[N, 1]`: 0 where there is none.
fn of_chosen(to: &mut Emission<'_>, chosen: &Val, each: &Val) -> Val {
    let zero = to.g.int(0);
    let own = to.g.where_(chosen, each, &zero);
    to.g.reduce_sum(&own, &[1], true)
}

/// Of each image the one box that is wanted, `[N, boxes]`; none where there are fewer.
fn choose(
    to: &mut Emission<'_>,
    (mut scores, gone): (Val, &Val),
    (corners, classes): (&Val, &Val),
    (rank, most): (usize, Option<f32>),
    count: Option<usize>,
) -> Val {
    let places = match count {
        Some(count) => to.numbers(count),
        None => {
            let end = to.extent(&scores, 1);
            to.range(&end)
        }
    };
    let areas = most.map(|_| area(to.g, corners));
    let mut step = 1;
    loop {
        // Where there may be no box at all, there is one place more, behind the others.
        let all = match count {
            Some(_) => scores.clone(),
            None => {
                let batch = to.g.op("Shape", &[&scores], vec![attr::int("start", 0), attr::int("end", 1)]);
                let one = to.g.ints(&[1]);
                let shape = to.g.concat(&[&batch, &one], 0);
                let none = to.g.full(&shape, ElemType::Float, f64::from(f32::MIN));
                to.g.concat(&[&scores, &none], 1)
            }
        };
        let place = to.g.op("ArgMax", &[&all], vec![attr::int("axis", 1), attr::int("keepdims", 1)]);
        let surest = to.g.binary("Equal", &places, &place);
        if step == rank {
            let is_there = to.g.binary("Greater", &scores, gone);
            return to.g.binary("And", &surest, &is_there);
        }
        let is_gone = match (most, &areas) {
            (Some(most), Some(areas)) => {
                let class = of_chosen(to, &surest, classes);
                // A corner that is no number stays out of the sum.
                let (is_it, zero) = (to.g.unsqueeze(&surest, &[2]), to.g.scalar(ElemType::Float, 0.0));
                let own = to.g.where_(&is_it, corners, &zero);
                let own = to.g.reduce_sum(&own, &[1], true);
                let shared = overlap(to.g, (corners, areas), &own);
                let most = to.g.scalar(ElemType::Float, f64::from(most));
                let covers = to.g.binary("Greater", &shared, &most);
                let is_alike = to.g.binary("Equal", classes, &class);
                let covered = to.g.binary("And", &covers, &is_alike);
                to.g.binary("Or", &covered, &surest)
            }
            _ => surest,
        };
        scores = to.g.where_(&is_gone, gone, &scores);
        step += 1;
    }
}

/// A side of boxes `[…, 4]`: left, top, right or bottom.
fn side(g: &mut Builder, corners: &Val, at: i64) -> Val {
    let side = g.slice(corners, &[at], &[at + 1], &[2], &[1]);
    g.squeeze(&side, &[2])
}

/// The area of boxes.
fn area(g: &mut Builder, corners: &Val) -> Val {
    let [left, top, right, bottom] = [0, 1, 2, 3].map(|at| side(g, corners, at));
    extent(g, [&left, &top, &right, &bottom])
}

fn extent(g: &mut Builder, [left, top, right, bottom]: [&Val; 4]) -> Val {
    let zero = g.scalar(ElemType::Float, 0.0);
    let mut along = |from: &Val, to: &Val| {
        let side = g.sub(to, from);
        g.binary("Max", &side, &zero)
    };
    let (across, down) = (along(left, right), along(top, bottom));
    g.mul(&across, &down)
}

/// The intersection of each box and another over their union, as [`crate::task::detection::overlap`].
fn overlap(g: &mut Builder, (corners, areas): (&Val, &Val), other: &Val) -> Val {
    let mut shared = |at: i64, op: &str| {
        let (a, b) = (side(g, corners, at), side(g, other, at));
        g.binary(op, &a, &b)
    };
    let sides = [shared(0, "Max"), shared(1, "Max"), shared(2, "Min"), shared(3, "Min")];
    let both = extent(g, sides.each_ref());
    let own = area(g, other);
    let either = g.add(areas, &own);
    let either = g.sub(&either, &both);
    let zero = g.scalar(ElemType::Float, 0.0);
    let is_any = g.binary("Greater", &either, &zero);
    let one = g.scalar(ElemType::Float, 1.0);
    let divisor = g.where_(&is_any, &either, &one);
    let ratio = g.div(&both, &divisor);
    g.where_(&is_any, &ratio, &zero)
}
