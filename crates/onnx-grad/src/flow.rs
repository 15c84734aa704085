//! What becomes of the dependence on the asked-for values on its way through a graph: where it can be differentiated, where it is
//! flat, and where it is lost.
//!
//! A gradient is whole or an error. Integers and rounded numbers have no derivative, but they can carry what a layer showed on to the
//! scores. The reverse sweep goes along [`State::Active`] values; where one of them is made together with a [`State::Lost`] one, part
//! of the gradient would be missing, and the model is refused. `docs/architecture.md` has the table of what counts as which.

use crate::{
    graph::Index,
    model::{Model, same_domain},
    proto::{GraphProto, NodeProto},
    registry::{self, Discrete, Kind},
    types::{ElemType, KnownTypes},
};

/// How a value depends on the asked-for ones. What a node makes of several is the highest of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Not at all, or by shapes and as an index only.
    #[default]
    None,
    /// As a mask: a comparison, a sign, or numbers made of masks alone. It is flat almost everywhere.
    Mask,
    /// As the place of something, found by the node at that position. It is flat, and right as an index or told as it is.
    Place(usize),
    /// By steps that the node at that position made: numbers that carry a signal, but no gradient.
    Lost(usize),
    /// By steps that have derivatives.
    Active,
}

/// A node that keeps a gradient from being whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leak {
    /// The node that lost the dependence.
    pub(crate) at: usize,
    /// The node on the gradient's way that takes its numbers; none: they are what is differentiated.
    pub(crate) into: Option<usize>,
}

/// What masks are where weights read them and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Masks {
    /// What the network saw, told on in yes and no: lost.
    Told,
    /// The slopes of a first derivative: flat.
    Flat,
}

/// The states of a graph's values.
pub(crate) struct Flow<'a> {
    model: &'a Model,
    graph: &'a GraphProto,
    index: &'a Index<'a>,
    types: &'a KnownTypes<'a>,
    masks: Masks,
    /// By number.
    states: Vec<State>,
}

impl<'a> Flow<'a> {
    pub(crate) fn new(
        model: &'a Model,
        (graph, index): (&'a GraphProto, &'a Index<'a>),
        types: &'a KnownTypes<'a>,
        from: &[&str],
        masks: Masks,
    ) -> Self {
        let mut flow = Self { model, graph, index, types, masks, states: vec![State::None; index.len()] };
        from.iter().filter_map(|name| index.number(name)).for_each(|value| flow.states[value] = State::Active);
        for at in 0..graph.node.len() {
            flow.step(at);
        }
        flow
    }

    /// Whether the gradient goes through a value.
    pub(crate) fn active(&self, value: usize) -> bool {
        self.states[value] == State::Active
    }

    /// Which of its inputs a node on the gradient's way takes without a gradient, although they carry a signal.
    pub(crate) fn leaks(&self, at: usize) -> Vec<Leak> {
        let node = &self.graph.node[at];
        let moves = moves(node);
        let leak = |(i, value): (usize, usize)| match self.states[value] {
            State::Lost(from) if !self.is_remainder(at, i) => Some(Leak { at: from, into: Some(at) }),
            State::Place(from) if !moves => Some(Leak { at: from, into: Some(at) }),
            _ => None,
        };
        self.carriers(at).filter_map(leak).collect()
    }

    /// The node that lost the dependence of a value that is to be differentiated.
    pub(crate) fn lost(&self, value: usize) -> Option<Leak> {
        match self.states[value] {
            State::Lost(at) => Some(Leak { at, into: None }),
            _ => None,
        }
    }

    /// What a node reads as numbers, by place: its inputs but for those that only choose, and what its subgraphs capture.
    fn carriers(&self, at: usize) -> impl Iterator<Item = (usize, usize)> {
        let node = &self.graph.node[at];
        let known = |value: usize| self.types.ints(self.index.name_of(value)).is_some();
        let values = self.index.read_by(at).iter().copied().enumerate();
        values.filter(move |&(i, value)| !chooses(node, i) && !known(value))
    }

    fn kind(&self, node: &NodeProto) -> Option<Kind> {
        let opset = self.model.opset(&node.domain).unwrap_or(1);
        registry::lookup(&node.domain, &node.op_type, opset).map(|entry| entry.kind)
    }

    fn elem(&self, name: &str) -> Option<ElemType> {
        self.types.get(name).map(|ty| ty.elem)
    }

    fn step(&mut self, at: usize) {
        let node = &self.graph.node[at];
        let met = self.carriers(at).map(|(_, value)| self.states[value]).max().unwrap_or_default();
        let met = met.max(self.looked_up(at));
        if met == State::None {
            return;
        }
        let kind = self.kind(node);
        let met = match (met, kind) {
            (_, Some(Kind::Stop(Discrete::Shape))) => return,
            (_, Some(Kind::Stop(Discrete::Mask))) => State::Mask,
            (_, Some(Kind::Stop(Discrete::Place))) => State::Place(at),
            (State::Active, Some(Kind::Stop(Discrete::Steps))) => State::Lost(at),
            (State::Mask, _) if self.masks == Masks::Told && has_weights(node) && self.is_alone(at) => State::Lost(at),
            // An index is computed with integers; where it is computed with as a float, it is a number like others.
            (State::Place(from), _) if !moves(node) && self.makes_float(node) => State::Lost(from),
            (met, _) => met,
        };
        for (&value, name) in self.index.made_by(at).iter().zip(&node.output).filter(|(_, name)| !name.is_empty()) {
            let state = match (met, self.elem(name)) {
                (_, Some(ElemType::Bool)) => State::Mask,
                (State::Active, Some(elem)) if !elem.is_float() => match &*node.op_type {
                    _ if matches!(kind, Some(Kind::Through(_))) => State::Active,
                    "TopK" | "MaxPool" | "Unique" => State::Place(at),
                    _ => State::Lost(at),
                },
                (met, _) => met,
            };
            // Integers that are the same in every run depend on nothing. A value asked for stays what it is.
            if self.types.ints(name).is_none() {
                self.states[value] = self.states[value].max(state);
            }
        }
    }

    /// What is looked up in a table of constants by numbers that were rounded carries them on.
    fn looked_up(&self, at: usize) -> State {
        let node = &self.graph.node[at];
        let looks_up =
            same_domain(&node.domain, "") && matches!(&*node.op_type, "Gather" | "GatherElements" | "GatherND");
        match self.index.read_by(at) {
            &[_, index, ..] if looks_up => match self.states[index] {
                lost @ State::Lost(_) => lost,
                _ => State::None,
            },
            _ => State::None,
        }
    }

    /// Whether all that a node computes with comes from one mask and constants.
    fn is_alone(&self, at: usize) -> bool {
        let mut states = self.carriers(at).map(|(_, value)| self.states[value]);
        states.by_ref().filter(|state| *state != State::None).count() == 1
    }

    fn makes_float(&self, node: &NodeProto) -> bool {
        node.output.iter().any(|name| self.elem(name).is_some_and(ElemType::is_float))
    }

    // ---- remainders ----

    /// Whether the node at `at` takes from a value what rounding it (input `i`) left, as the weights of an interpolation do:
    /// x − floor(x) has the slope 1 wherever it has one. Where the value is added back on, the sum is the rounded value again.
    fn is_remainder(&self, at: usize, i: usize) -> bool {
        let Some([rounded, other]) = self.difference(at, i) else { return false };
        let (steps, numbers) = (self.behind(rounded), self.behind(other));
        // Values are known by number; both lists go back to what they have in common.
        let common = |(value, slope): &(usize, f64)| {
            let also = steps.iter().find(|(step, _)| step == value && self.active(*value))?;
            Some((*value, also.1, *slope))
        };
        let Some((source, by_steps, by_number)) = numbers.iter().find_map(common) else { return false };
        let sign =
            |place: usize, at: usize| if place == 1 && self.graph.node[at].op_type == "Sub" { -1.0 } else { 1.0 };
        let (by_steps, by_number) = (by_steps * sign(i, at), by_number * sign(1 - i, at));
        let cancel = |a: f64, b: f64| (a + b).abs() <= 1e-4 * a.abs();
        let made = self.index.made_by(at)[0];
        let adds_back = |&reader: &usize| {
            (0..2).filter_map(|place| Some((place, self.difference(reader, place)?))).any(|(place, [left, other])| {
                let again = self.behind(other).into_iter().find(|(value, _)| left == made && *value == source);
                again.is_some_and(|(_, slope)| cancel(by_number * sign(place, reader), slope * sign(1 - place, reader)))
            })
        };
        cancel(by_steps, by_number) && !self.index.consumers(self.index.name_of(made)).iter().any(adds_back)
    }

    /// Input `i` of a sum or difference of two, and the other one.
    fn difference(&self, at: usize, i: usize) -> Option<[usize; 2]> {
        let node = &self.graph.node[at];
        if !matches!(&*node.op_type, "Add" | "Sub") || !same_domain(&node.domain, "") {
            return None;
        }
        let &[a, b] = self.index.read_by(at) else { return None };
        Some(if i == 0 { [a, b] } else { [b, a] })
    }

    /// A value and what it was made of, number by number, with constants alone; with its slope in each of them if nothing were
    /// rounded.
    fn behind(&self, value: usize) -> Vec<(usize, f64)> {
        let mut found = vec![(value, 1.0)];
        while let Some((from, slope)) = self.index.producer_of(found[found.len() - 1].0).and_then(|at| self.line(at)) {
            found.push((from, found[found.len() - 1].1 * slope));
        }
        found
    }

    /// What a node makes a line or steps of, number by number, and their slope.
    fn line(&self, at: usize) -> Option<(usize, f64)> {
        let node = &self.graph.node[at];
        let read = self.index.read_by(at);
        let first = *read.first().filter(|_| same_domain(&node.domain, ""))?;
        let number = |i: usize| {
            let numbers = self.index.constant(self.index.name_of(*read.get(i)?))?.to_floats().ok()?;
            let (first, rest) = numbers.split_first()?;
            rest.iter().all(|number| number == first).then_some(*first)
        };
        let constant = |i: usize| read.get(i).is_some_and(|&value| self.states[value] == State::None);
        match (&*node.op_type, read.len()) {
            ("Cast" | "Ceil" | "Floor" | "Identity" | "Round", 1) => Some((first, 1.0)),
            ("Neg", 1) => Some((first, -1.0)),
            ("Add" | "Sub", 2) if constant(1) => Some((first, 1.0)),
            ("Add", 2) if constant(0) => Some((read[1], 1.0)),
            ("Sub", 2) if constant(0) => Some((read[1], -1.0)),
            ("Mul", 2) => number(1).map(|by| (first, by)).or_else(|| Some((read[1], number(0)?))),
            ("Div", 2) => Some((first, 1.0 / number(1)?)),
            _ => None,
        }
    }
}

/// Operators that move numbers to other places and types, and leave them what they are.
fn moves(node: &NodeProto) -> bool {
    same_domain(&node.domain, "")
        && matches!(
            &*node.op_type,
            "Cast"
                | "CastLike"
                | "Compress"
                | "Concat"
                | "DepthToSpace"
                | "Dropout"
                | "Expand"
                | "Flatten"
                | "Gather"
                | "GatherElements"
                | "GatherND"
                | "Identity"
                | "Pad"
                | "Reshape"
                | "ScatterElements"
                | "ScatterND"
                | "Slice"
                | "SpaceToDepth"
                | "Split"
                | "Squeeze"
                | "Tile"
                | "Transpose"
                | "Unsqueeze"
                | "Where"
        )
}

/// Whether input `i` of a node says where, how much of or in what order, and is no number that goes into what the node makes.
fn chooses(node: &NodeProto, i: usize) -> bool {
    if !same_domain(&node.domain, "") {
        return false;
    }
    match &*node.op_type {
        "Gather" | "GatherElements" | "GatherND" | "ScatterElements" | "ScatterND" => i == 1,
        "Reshape" | "Expand" | "Tile" | "TopK" | "Split" | "Squeeze" | "Unsqueeze" | "CumSum" | "CumProd" | "Trilu"
        | "CenterCropPad" | "Compress" => i == 1,
        "Slice" | "MaxUnpool" => i >= 1,
        "OneHot" => i <= 1,
        "Pad" => i == 1 || i == 3,
        "Resize" | "RoiAlign" | "TensorScatter" => i >= 2,
        "ReverseSequence" | "DFT" => i >= 1,
        "LSTM" | "GRU" | "RNN" => i == 4,
        op => op.starts_with("Reduce") && i == 1,
    }
}

/// Operators that take an image through learned weights.
pub(crate) fn has_weights(node: &NodeProto) -> bool {
    matches!(&*node.op_type, "Conv" | "ConvTranspose" | "DeformConv" | "Einsum" | "Gemm" | "MatMul")
}
