//! Nodes that zeros can be put around behind, instead of before.

use super::{
    DEEPEST, Pass,
    place::Place,
    shapes::{flag, is_zero_pad},
    size::{Size, product},
};
use crate::{builder::Val, proto::NodeProto};

/// A node's inputs: where those that are zero outside of a part have it, and the part.
type Parts = Vec<Option<(Place, Val)>>;

impl Pass<'_> {
    fn parts(&self, node: &NodeProto) -> Parts {
        let part = |name: &String| self.parts.get(name.as_str()).map(|part| (part.place, part.inner.clone()));
        node.input.iter().map(part).collect()
    }

    /// What a node makes of parts, if all of its output outside is zero.
    pub(super) fn moved(&mut self, node: &NodeProto) -> Option<(Place, Val)> {
        let parts = self.parts(node);
        if parts.iter().all(Option::is_none) || node.output.len() != 1 || !node.domain.is_empty() {
            return None;
        }
        let shape = self.shapes.get(&node.output[0])?;
        if matches!(&*node.op_type, "Reshape" | "Squeeze" | "Unsqueeze") {
            return self.reshaped(node, &parts, &shape);
        }
        self.padded_again(node, &parts).or_else(|| self.cut_around(node, &parts)).or_else(|| {
            let parts = self.level(node, parts)?;
            self.each_slice(node, &parts, &shape)
        })
    }

    /// Of a node whose output's slices are made from its inputs' slices, the one that matters.
    fn each_slice(&mut self, node: &NodeProto, parts: &Parts, shape: &[Size]) -> Option<(Place, Val)> {
        let place = parts.iter().flatten().next()?.0;
        // To make a merged axis whole takes a shape with one open entry.
        if !keeps_zeros(node, parts) || !place.is_plain() && product(shape).is_none() {
            return None;
        }
        let fits = |along: &Vec<Option<usize>>| {
            let same = |(part, along): (&Option<(Place, Val)>, &Option<usize>)| match part {
                Some((place, _)) => *along == Some(place.axis),
                // Of an axis that is merged with others a slice is no range.
                None => along.is_none() || place.is_plain(),
            };
            parts.iter().zip(along).all(same)
        };
        let found = |axis: usize| Some((axis, self.shapes.along(node, axis).filter(fits)?));
        let (axis, along) = (0..shape.len()).find_map(found)?;
        let mut inputs = Vec::with_capacity(along.len());
        for ((name, part), along) in node.input.iter().zip(parts).zip(along) {
            inputs.push(match (part, along) {
                (Some((_, inner)), _) => inner.clone(),
                (None, Some(axis)) => self.slice(name, axis, (place.start, place.len), DEEPEST),
                (None, None) => Val::new(name),
            });
        }
        Some((place.along(axis), self.again(node, inputs, None)))
    }

    /// The same elements in another shape.
    fn reshaped(&mut self, node: &NodeProto, parts: &Parts, shape: &[Size]) -> Option<(Place, Val)> {
        let (place, inner) = parts.first()?.clone()?;
        let from = self.shapes.of(node, 0)?;
        // At most one size is free: a target has one open entry.
        product(&from)?;
        let new = place.reshaped(&from, shape)?;
        let target = self.shapes.retargeted(node, (place.axis, new.axis), new.size()?)?;
        Some((new, self.again(node, vec![inner, Val::new(node.input.get(1)?)], target)))
    }

    /// More zeros around along the same axis.
    fn padded_again(&self, node: &NodeProto, parts: &Parts) -> Option<(Place, Val)> {
        let (place, inner) = parts.first()?.clone().filter(|(place, _)| place.is_plain() && is_zero_pad(node))?;
        let pads = self.shapes.ints(node, 1)?;
        let (begins, ends) = pads.split_at(pads.len() / 2);
        let others = begins.iter().zip(ends).enumerate().filter(|(axis, _)| *axis != place.axis);
        let (begin, end) =
            (usize::try_from(*begins.get(place.axis)?).ok()?, usize::try_from(*ends.get(place.axis)?).ok()?);
        let only = begin + end > 0 && others.into_iter().all(|(_, pads)| pads == (&0, &0));
        let place = Place { start: place.start + begin, total: place.total + begin + end, ..place };
        only.then_some((place, inner))
    }

    /// Fewer zeros around.
    fn cut_around(&self, node: &NodeProto, parts: &Parts) -> Option<(Place, Val)> {
        let (place, inner) = parts.first()?.clone().filter(|(place, _)| place.is_plain() && node.op_type == "Slice")?;
        let (axis, range) = self.shapes.range(node)?;
        let around = range.start <= place.start && place.start + place.len <= range.end;
        let cut = Place { start: place.start.checked_sub(range.start)?, total: range.len(), ..place };
        (axis == place.axis && around && cut.is_small()).then_some((cut, inner))
    }

    /// The inputs with their parts in one place: those of a sum may be next to each other.
    fn level(&mut self, node: &NodeProto, parts: Parts) -> Option<Parts> {
        let first = parts.iter().flatten().next()?.0;
        if parts.iter().flatten().all(|(place, _)| place.along(first.axis) == first) {
            return Some(parts);
        }
        let parts: Vec<(Place, Val)> = parts.into_iter().collect::<Option<_>>()?;
        let alike = |place: &Place| place.is_plain() && place.total == first.total;
        let start = parts.iter().map(|(place, _)| place.start).min()?;
        let end = parts.iter().map(|(place, _)| place.start + place.len).max()?;
        let hull = Place { start, len: end - start, ..first };
        if !is_sum(node) || !hull.is_small() || !parts.iter().all(|(place, _)| alike(place)) {
            return None;
        }
        let wider = |(i, (place, inner)): (usize, (Place, Val))| {
            let pads = place.pads(place.axis, self.shapes.of(node, i)?.len(), start..end);
            Some(Some((hull.along(place.axis), self.builder.pad_zeros(&inner, &pads))))
        };
        parts.into_iter().enumerate().map(wider).collect()
    }

    /// The same node on parts, where it sums over the axis outside of which there are zeros: its output is a whole.
    pub(super) fn contracted(&mut self, node: &NodeProto) -> Option<NodeProto> {
        let parts = self.parts(node);
        let place = parts.iter().flatten().next().filter(|_| node.domain.is_empty())?.0;
        let rank = |i: usize| Some(self.shapes.of(node, i)?.len());
        let summed = match &*node.op_type {
            "ReduceSum" => vec![self.shapes.axes(node)?.into_iter().find(|&axis| axis == place.axis)?],
            "MatMul" => vec![rank(0)?.checked_sub(1)?, rank(1)?.checked_sub(2)?],
            "Gemm" => vec![usize::from(!flag(node, "transA")), usize::from(flag(node, "transB"))],
            _ => return None,
        };
        let (operands, others) = parts.split_at_checked(summed.len())?;
        let fits = |(part, axis): (&Option<(Place, Val)>, &usize)| match part {
            Some((own, _)) => *own == place.along(*axis),
            None => place.is_plain(),
        };
        if !operands.iter().zip(&summed).all(fits) || others.iter().any(Option::is_some) {
            return None;
        }
        let mut new = node.clone();
        for ((name, part), axis) in new.input.iter_mut().zip(operands).zip(summed) {
            let operand = match part {
                Some((_, inner)) => inner.clone(),
                None => self.slice(name, axis, (place.start, place.len), DEEPEST),
            };
            *name = operand.name().to_owned();
        }
        Some(new)
    }
}

fn is_sum(node: &NodeProto) -> bool {
    matches!(&*node.op_type, "Add" | "Sub" | "Sum")
}

/// Whether the output is zero wherever the inputs that have parts are.
fn keeps_zeros(node: &NodeProto, parts: &Parts) -> bool {
    let mut given = parts.iter().map(Option::is_some);
    match &*node.op_type {
        "Mul" | "MatMul" | "Gemm" => true,
        // Zero by zero is none of them.
        "Div" => given.eq([true, false]),
        "Cast" | "Identity" | "Neg" | "Pad" | "ReduceMean" | "ReduceSum" | "Slice" | "Transpose" => {
            given.next() == Some(true)
        }
        "Concat" => given.all(|given| given),
        _ => is_sum(node) && given.all(|given| given),
    }
}
