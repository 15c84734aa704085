//! Seeds that the graph makes itself: ∂score/∂value for each image, of a target that needs no photo.
//!
//! Nothing here looks across images. Where an image doesn't have what is asked for (no such class, no n-th box), its seed is 0.

use onnx_grad::{Builder, ElemType, Val, attr, proto::TensorProto};

use super::{CLASS_INPUT, boxes::Which};
use crate::{
    error::{Error, Result},
    model::{Classes, Head},
    subject::TypedModel,
    target::{Along, ClassSpec, InGraph, Score},
    task::segmentation::Meaning,
};

/// A value with its seed.
pub(super) type Seeds = Vec<(String, Val)>;

/// What is asked of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// One target.
    One(InGraph),
    /// The likeliest classes, each by itself.
    Likeliest(usize),
}

/// Emits the seeds of targets.
pub(super) struct Seeding<'a> {
    pub(super) subject: &'a TypedModel,
    pub(super) score: Score,
    /// The input that takes the classes.
    pub(super) class_input: &'a str,
}

impl Seeding<'_> {
    /// For each target the seeds of the values that it has slopes in; and the classes, `[N, targets]`, where they are the likeliest.
    ///
    /// # Errors
    /// The model doesn't have what is asked for, or a graph can't say it.
    pub(super) fn emit(&self, g: &mut Builder, asked: &Asked) -> Result<(Vec<Seeds>, Option<Val>)> {
        match asked {
            Asked::One(target) => Ok((vec![self.target(g, target)?], None)),
            Asked::Likeliest(count) => {
                let classes = self.classes()?;
                self.refuse_more_than_there_are(*count)?;
                let all = self.likeliest(g, classes, *count);
                let one = |g: &mut Builder, at: usize| {
                    let at = g.int(at as i64);
                    let class = g.op("Gather", &[&all, &at], vec![attr::int("axis", 1)]);
                    vec![(classes.logits.clone(), self.class(g, classes, &class))]
                };
                let seeds = (0..*count).map(|at| one(g, at)).collect();
                Ok((seeds, Some(all)))
            }
        }
    }

    fn target(&self, g: &mut Builder, target: &InGraph) -> Result<Seeds> {
        match target {
            InGraph::Asked => {
                let classes = self.classes()?;
                let top = self.top(g, classes);
                let (asked, zero) = (Val::new(self.class_input), g.int(0));
                let is_open = g.binary("Less", &asked, &zero);
                let class = g.where_(&is_open, &top, &asked);
                Ok(vec![(classes.logits.clone(), self.class(g, classes, &class))])
            }
            InGraph::Class(class) => {
                let classes = self.classes()?;
                let class = self.chosen(g, classes, class)?;
                Ok(vec![(classes.logits.clone(), self.class(g, classes, &class))])
            }
            InGraph::Contrast(a, b) => {
                let classes = self.classes()?;
                let [a, b] = [self.chosen(g, classes, a)?, self.chosen(g, classes, b)?];
                let logit = Seeding { score: Score::Logit, ..*self };
                let [a, b] = [logit.class(g, classes, &a), logit.class(g, classes, &b)];
                Ok(vec![(classes.logits.clone(), g.sub(&a, &b))])
            }
            InGraph::Box(rank) => self.boxed(g, Which::Rank(*rank)),
            InGraph::BoxOf(label) => self.boxed(g, Which::Class(label)),
            InGraph::Segment(label) => self.segment(g, label),
            InGraph::Elements(output, selection) => self.elements(g, output, selection.as_deref()),
            InGraph::Not(inner) => {
                let seeds = self.target(g, inner)?;
                Ok(seeds.into_iter().map(|(value, seed)| (value, g.neg(&seed))).collect())
            }
        }
    }

    pub(super) fn elem(&self, value: &str) -> ElemType {
        self.subject.types().get(value).map_or(ElemType::Float, |ty| ty.elem)
    }

    // ---- classes ----

    /// # Errors
    /// The model gives no class scores.
    fn classes(&self) -> Result<&Classes> {
        let network = self.subject.network();
        network.classes.as_ref().ok_or_else(|| {
            let is = match &network.task {
                Some(found) => format!("the model was recognised as {}", found.describe()),
                None => format!("no class scores were found among its outputs: {}", network.outputs.join(", ")),
            };
            Error::CannotExport {
                reason: format!("{is}, and there are no classes to ask for"),
                help: "--target says what is explained: box:1, segment:LABEL, output:NAME[0,3]; of several outputs `[output] logits` in the \
                       sidecar names the one with the class scores"
                    .into(),
            }
        })
    }

    fn refuse_more_than_there_are(&self, count: usize) -> Result<()> {
        match self.subject.network().class_count(self.subject.types()) {
            Some(there) if count > there => Err(Error::ClassRange { class: format!("top{count}"), count: there }),
            _ => Ok(()),
        }
    }

    /// Whether one number tells two classes apart.
    fn is_one_score(&self) -> bool {
        self.subject.network().score_count(self.subject.types()) == Some(1)
    }

    /// The scores of the classes, a row an image: see [`Scores::of`](crate::target::Scores::of).
    fn flat(&self, g: &mut Builder, classes: &Classes) -> Val {
        let given = g.op("Flatten", &[&Val::new(&classes.logits)], vec![attr::int("axis", 1)]);
        if !self.is_one_score() {
            return given;
        }
        let against = g.neg(&given);
        g.op("Concat", &[&against, &given], vec![attr::int("axis", 1)])
    }

    /// The likeliest class of each image, `[N]`.
    fn top(&self, g: &mut Builder, classes: &Classes) -> Val {
        let flat = self.flat(g, classes);
        g.op("ArgMax", &[&flat], vec![attr::int("axis", 1), attr::int("keepdims", 0)])
    }

    /// The likeliest classes of each image, `[N, count]`.
    fn likeliest(&self, g: &mut Builder, classes: &Classes, count: usize) -> Val {
        let flat = self.flat(g, classes);
        let count = g.ints(&[count as i64]);
        g.ops("TopK", &[&flat, &count], vec![attr::int("axis", 1)], 2).swap_remove(1)
    }

    /// A class's number, for each image or for all.
    ///
    /// # Errors
    /// There is no such class.
    fn chosen(&self, g: &mut Builder, classes: &Classes, class: &ClassSpec) -> Result<Val> {
        if let ClassSpec::Top(rank) = class {
            if *rank == 1 {
                return Ok(self.top(g, classes));
            }
            self.refuse_more_than_there_are(*rank)?;
            let all = self.likeliest(g, classes, *rank);
            let last = g.int(*rank as i64 - 1);
            return Ok(g.op("Gather", &[&all, &last], vec![attr::int("axis", 1)]));
        }
        let count = self.subject.network().class_count(self.subject.types());
        // Of the scores themselves nothing but their count is asked.
        let class = class.resolve(&vec![0.0; count.unwrap_or(0)], self.subject.labels())?;
        Ok(g.ints(&[class as i64]))
    }

    /// The seed of the class scores, for a class an image, `[N]`, or one for all, `[1]`.
    fn class(&self, g: &mut Builder, classes: &Classes, class: &Val) -> Val {
        let logits = Val::new(&classes.logits);
        let elem = self.elem(&classes.logits);
        let flat = self.flat(g, classes);
        let class = g.unsqueeze(class, &[1]);
        let numbers = match self.subject.network().class_count(self.subject.types()) {
            Some(count) => numbers(g, count),
            None => {
                let count = g.op("Shape", &[&flat], vec![attr::int("start", 1)]);
                let count = g.squeeze(&count, &[0]);
                let (zero, one) = (g.int(0), g.int(1));
                g.op("Range", &[&zero, &count, &one], vec![])
            }
        };
        let chosen = g.binary("Equal", &numbers, &class);
        let chosen = g.cast(&chosen, elem);
        let score = if classes.head == Head::Mean { Score::Logit } else { self.score };
        let slope = match score {
            Score::Logit => {
                // A row for each image, also where one class counts for all.
                let shape = g.shape(&flat);
                g.expand_to(&chosen, &shape)
            }
            Score::Probability if classes.independent() || self.is_one_score() => {
                let spread = spread(g, &flat, elem);
                g.mul(&chosen, &spread)
            }
            Score::Probability => {
                let p = g.op("Softmax", &[&flat], vec![attr::int("axis", 1)]);
                let own = g.mul(&chosen, &p);
                let own = g.reduce_sum(&own, &[1], true);
                let away = g.sub(&chosen, &p);
                g.mul(&own, &away)
            }
        };
        let slope = match self.is_one_score() {
            true => {
                let against = g.slice(&slope, &[0], &[1], &[1], &[1]);
                let for_it = g.slice(&slope, &[1], &[2], &[1], &[1]);
                g.sub(&for_it, &against)
            }
            false => slope,
        };
        let shape = g.shape(&logits);
        g.reshape_to(&slope, &shape)
    }

    // ---- elements ----

    fn elements(&self, g: &mut Builder, output: &str, selection: Option<&[Along]>) -> Result<Seeds> {
        let fail = |reason: String| Error::BadTarget { spec: format!("output:{output}"), reason };
        let ty = self.subject.types().get(output);
        let shape = ty.and_then(|ty| ty.shape.clone()).ok_or_else(|| fail("its shape is not known".into()))?;
        let elem = self.elem(output);
        if !elem.is_float() {
            return Err(fail(format!("it holds {elem:?}, which has no gradient")));
        }
        let value = Val::new(output);
        // As one image gives it.
        let sizes: Option<Vec<usize>> =
            shape.iter().enumerate().map(|(axis, dim)| dim.fixed().or((axis == 0).then_some(1))).collect();
        let sizes = sizes.ok_or_else(|| fail("not all of its sizes are known".into()))?;
        let is_batched = shape.first().is_some_and(|dim| dim.fixed().is_none());
        let Some(selection) = selection else {
            if sizes.iter().product::<usize>() != 1 {
                let example = vec!["0"; sizes.len()].join(",");
                return Err(fail(format!("it has shape {sizes:?}: say which element, output:{output}[{example}]")));
            }
            let shape = g.shape(&value);
            return Ok(vec![(output.to_owned(), g.full(&shape, elem, 1.0))]);
        };
        if selection.len() != sizes.len() {
            return Err(fail(format!("it has shape {sizes:?}: {} axes", sizes.len())));
        }
        let (mut extents, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for (along, &size) in selection.iter().zip(&sizes) {
            let count = size as isize;
            let from_start = |at: isize| if at < 0 { at + count } else { at };
            let (first, last) = match *along {
                Along::At(at) => (from_start(at), from_start(at) + 1),
                Along::Range(first, last) => (from_start(first), last.map_or(count, from_start)),
            };
            if first < 0 || last > count || first >= last {
                return Err(fail(format!("{first}:{last} selects nothing along an axis of {size}")));
            }
            extents.push((last - first) as i64);
            before.push(first as i64);
            after.push((count - last) as i64);
        }
        let rest = g.ints(&extents[1.min(extents.len())..]);
        let extent = match is_batched {
            true => {
                let batch = g.op("Shape", &[&value], vec![attr::int("start", 0), attr::int("end", 1)]);
                g.concat(&[&batch, &rest], 0)
            }
            false => g.ints(&extents),
        };
        let ones = g.full(&extent, elem, 1.0);
        before.extend(after);
        let seed = if before.iter().all(|pad| *pad == 0) { ones } else { g.pad_zeros(&ones, &before) };
        Ok(vec![(output.to_owned(), seed)])
    }

    // ---- segments ----

    /// The mean of a class's score over the cells that the model gives to it.
    fn segment(&self, g: &mut Builder, label: &str) -> Result<Seeds> {
        let map = self.subject.network().segments()?;
        let class = map.named(label)?;
        let (channels, [_, width], count) = map.axes();
        let name = map.value().to_owned();
        let rank = self.subject.types().get(&name).and_then(|ty| ty.shape.as_ref()).map_or(width + 1, Vec::len);
        let elem = self.elem(&name);
        let all = Val::new(&name);
        let one = |g: &mut Builder, value: &Val, channel: usize| match channels {
            Some(axis) => g.slice(value, &[channel as i64], &[channel as i64 + 1], &[axis as i64], &[1]),
            None => value.clone(),
        };
        let is_above = |g: &mut Builder, value: &Val, above: f32| {
            let bound = g.scalar(elem, f64::from(above));
            g.binary("Greater", value, &bound)
        };
        // Where the model gives cells to the class, the number that is explained there, and its sign.
        let (mask, channel, sign) = match (map.meaning, channels) {
            (Meaning::Foreground { above }, _) => {
                let own = one(g, &all, 0);
                let is_foreground = is_above(g, &own, above);
                match class {
                    0 => (g.unary("Not", &is_foreground), 0, -1.0),
                    _ => (is_foreground, 0, 1.0),
                }
            }
            (Meaning::Independent { above }, _) => {
                let own = one(g, &all, class);
                (is_above(g, &own, above), class, 1.0)
            }
            (Meaning::Exclusive, Some(axis)) => {
                let axis = attr::int("axis", axis as i64);
                let likeliest = g.op("ArgMax", &[&all], vec![axis, attr::int("keepdims", 1)]);
                let class_number = g.int(class as i64);
                (g.binary("Equal", &likeliest, &class_number), class, 1.0)
            }
            _ => return Err(Error::Value(format!("`{name}` gives pixels no class"))),
        };
        let mask = g.cast(&mask, elem);
        let axes: Vec<i64> = (1..rank as i64).collect();
        let area = g.reduce_sum(&mask, &axes, true);
        let least = g.scalar(elem, 1.0);
        let area = g.binary("Max", &area, &least);
        let share = g.div(&mask, &area);
        // A one at the channel, along its axis.
        let at_channel = channels.map(|axis| {
            let mut dims = vec![1i64; rank];
            dims[axis] = count as i64;
            let values: Vec<f64> = (0..count).map(|at| if at == channel { sign } else { 0.0 }).collect();
            g.floats(elem, &dims, &values)
        });
        let slope = match (self.score, map.meaning, channels) {
            (Score::Probability, Meaning::Exclusive, Some(axis)) => {
                let p = g.op("Softmax", &[&all], vec![attr::int("axis", axis as i64)]);
                let own = one(g, &p, channel);
                let away = g.sub(at_channel.as_ref().unwrap_or(&p), &p);
                g.mul(&own, &away)
            }
            (Score::Probability, ..) => {
                let spread = spread(g, &all, elem);
                match &at_channel {
                    Some(one) => g.mul(&spread, one),
                    None => g.scale(&spread, elem, sign),
                }
            }
            (Score::Logit, ..) => match &at_channel {
                Some(one) => one.clone(),
                None => g.scalar(elem, sign),
            },
        };
        Ok(vec![(name, g.mul(&share, &slope))])
    }
}

/// The numbers from 0, `[count]`.
fn numbers(g: &mut Builder, count: usize) -> Val {
    g.constant(TensorProto::ints("", &[count as i64], &(0..count as i64).collect::<Vec<_>>()))
}

/// p · (1 − p) of logits of the logistic function.
pub(super) fn spread(g: &mut Builder, logits: &Val, elem: ElemType) -> Val {
    let p = g.unary("Sigmoid", logits);
    let one = g.scalar(elem, 1.0);
    let rest = g.sub(&one, &p);
    g.mul(&p, &rest)
}

/// A target as `--target` of `camscope export` takes it: `class` alone is the class that the input of the graph asks for.
///
/// # Errors
/// There is no such target, or a graph can't say it.
pub(super) fn in_graph(spec: &str) -> Result<InGraph> {
    if spec == "class" {
        return Ok(InGraph::Asked);
    }
    if let Some(rest) = spec.strip_prefix("not:") {
        return Ok(InGraph::Not(Box::new(in_graph(rest)?)));
    }
    crate::target::parse(spec)?.in_graph().ok_or_else(|| Error::CannotExport {
        reason: format!("`{spec}` takes the photo, or another one, and cannot be said in the graph"),
        help: format!(
            "what can: class (asked for by the input `{CLASS_INPUT}`), class:NAME, class:topN, contrast:A,B, box:N, box:LABEL, segment:LABEL, \
             output:NAME[…], and not: before each"
        ),
    })
}

/// Whether the graph is asked for a class by an input.
pub(super) fn takes_class(asked: &Asked) -> bool {
    fn of(target: &InGraph) -> bool {
        match target {
            InGraph::Asked => true,
            InGraph::Not(inner) => of(inner),
            _ => false,
        }
    }
    matches!(asked, Asked::One(target) if of(target))
}
