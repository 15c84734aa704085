//! The shapes of emitted values, and how nodes carry axes from their inputs to their output.

use super::size::{Size, product};
use crate::{
    graph::NameMap,
    ops::{Elementwise, Reads, elementwise},
    proto::{NodeProto, TensorProto},
    types::{ElemType, KnownTypes},
    vjp::place,
};

/// What is known of the shapes of emitted values, of the model's, and of constants.
pub(super) struct Shapes<'a> {
    types: &'a KnownTypes<'a>,
    constants: NameMap<String, (Vec<Size>, Option<Vec<i64>>)>,
    emitted: NameMap<&'a str, Vec<Size>>,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(types: &'a KnownTypes<'a>, constants: &[TensorProto]) -> Self {
        let known = |tensor: &TensorProto| {
            let shape = tensor.dims.iter().map(|&size| usize::try_from(size).ok().map(Size::fixed)).collect();
            let list = tensor.dims.len() == 1 && tensor.elem_type() == ElemType::Int64;
            let ints = list.then(|| tensor.to_ints().ok()).flatten();
            Option::map(shape, |shape| (tensor.name.clone(), (shape, ints)))
        };
        let constants = constants.iter().filter_map(known).collect();
        Self { types, constants, emitted: NameMap::default() }
    }

    /// States the shape of an emitted value.
    pub(super) fn insert(&mut self, name: &'a str, shape: Vec<Size>) {
        self.emitted.insert(name, shape);
    }

    pub(super) fn get(&self, name: &str) -> Option<Vec<Size>> {
        let known = self.emitted.get(name).or_else(|| self.constants.get(name).map(|(shape, _)| shape));
        let of_model = || self.types.get(name)?.shape.as_ref().map(|dims| dims.iter().copied().map(Size::of).collect());
        known.cloned().or_else(of_model)
    }

    /// The shape of input `i`.
    pub(super) fn of(&self, node: &NodeProto, i: usize) -> Option<Vec<Size>> {
        self.get(node.input.get(i)?)
    }

    /// The integers of input `i`, if it is an emitted list of them.
    pub(super) fn ints(&self, node: &NodeProto, i: usize) -> Option<&[i64]> {
        self.constants.get(node.input.get(i)?)?.1.as_deref()
    }

    /// What a node makes, by the shapes of what it reads. `None`: not known.
    pub(super) fn infer(&self, node: &NodeProto) -> Option<Vec<Size>> {
        if !node.domain.is_empty() || node.output.len() != 1 {
            return None;
        }
        match Kind::of(node)? {
            Kind::Each | Kind::Softmax => self.of(node, 0),
            Kind::Broadcast => {
                let shapes = (0..node.input.len()).map(|i| self.of(node, i));
                shapes.reduce(|a, b| broadcast(&a?, &b?)).flatten()
            }
            Kind::MatMul => {
                let (a, b) = (self.of(node, 0)?, self.of(node, 1)?);
                let ((a_lead, [rows, _]), (b_lead, [_, columns])) = (a.split_last_chunk()?, b.split_last_chunk()?);
                let mut shape = broadcast(a_lead, b_lead)?;
                shape.extend([*rows, *columns]);
                Some(shape)
            }
            Kind::Gemm => {
                let row = usize::from(flag(node, "transA"));
                let column = usize::from(!flag(node, "transB"));
                Some(vec![*self.of(node, 0)?.get(row)?, *self.of(node, 1)?.get(column)?])
            }
            Kind::Reduce => {
                let (mut shape, axes) = (self.of(node, 0)?, self.axes(node)?);
                for &axis in axes.iter().rev() {
                    if keeps_axes(node) {
                        shape[axis] = Size::ONE;
                    } else {
                        shape.remove(axis);
                    }
                }
                Some(shape)
            }
            Kind::Transpose => {
                let shape = self.of(node, 0)?;
                let perm = node.attr_ints("perm").filter(|perm| perm.len() == shape.len())?;
                perm.iter().map(|&from| shape.get(usize::try_from(from).ok()?).copied()).collect()
            }
            Kind::Reshape => self.reshaped(node),
            Kind::Concat => {
                let mut shape = self.of(node, 0)?;
                let axis = place(node.attr_int("axis")?, shape.len()).ok()?;
                let sizes = (0..node.input.len()).map(|i| self.of(node, i)?.get(axis)?.number());
                shape[axis] = Size::fixed(sizes.sum::<Option<usize>>()?);
                Some(shape)
            }
            Kind::Pad => {
                let (mut shape, pads) = (self.of(node, 0)?, self.ints(node, 1)?);
                for axis in 0..shape.len() {
                    let around = pads.get(axis)?.checked_add(*pads.get(shape.len() + axis)?)?;
                    if around != 0 {
                        shape[axis] = Size::fixed(shape[axis].number()?.checked_add_signed(around as isize)?);
                    }
                }
                Some(shape)
            }
            Kind::Slice => {
                let mut shape = self.of(node, 0)?;
                let (axis, range) = self.range(node)?;
                shape[axis] = Size::fixed(range.len());
                Some(shape)
            }
        }
    }

    /// The shape that `Reshape`, `Squeeze` and `Unsqueeze` give.
    fn reshaped(&self, node: &NodeProto) -> Option<Vec<Size>> {
        let (from, ints) = (self.of(node, 0)?, self.ints(node, 1)?);
        match &*node.op_type {
            "Squeeze" => {
                let axes = places(ints, from.len())?;
                Some((0..from.len()).filter(|axis| !axes.contains(axis)).map(|axis| from[axis]).collect())
            }
            "Unsqueeze" => {
                let axes = places(ints, from.len() + ints.len())?;
                let mut old = from.into_iter();
                let rank = old.len() + axes.len();
                (0..rank).map(|axis| if axes.contains(&axis) { Some(Size::ONE) } else { old.next() }).collect()
            }
            _ => {
                if node.attr_int("allowzero").unwrap_or(0) != 0 {
                    return None;
                }
                let size = |(axis, &entry): (usize, &i64)| match entry {
                    -1 => Some(Size::ONE),
                    0 => from.get(axis).copied(),
                    _ => usize::try_from(entry).ok().map(Size::fixed),
                };
                let mut to = ints.iter().enumerate().map(size).collect::<Option<Vec<Size>>>()?;
                let (all, stated) = (product(&from)?, product(&to)?);
                match ints.iter().position(|&entry| entry == -1) {
                    Some(open) => to[open] = all.over(stated)?,
                    None if all != stated => return None,
                    None => {}
                }
                Some(to)
            }
        }
    }

    /// What a `Reshape` is to give where an axis of its input and one of its output have been cut to a `size`; `Some(None)` for a node that
    /// states no sizes.
    pub(super) fn retargeted(
        &self,
        node: &NodeProto,
        (from, to): (usize, usize),
        size: Size,
    ) -> Option<Option<Vec<i64>>> {
        if node.op_type != "Reshape" {
            return Some(None);
        }
        let entry = |(axis, &entry): (usize, &i64)| match entry {
            -1 => Some(-1),
            _ if axis == to => size.number().map(|size| size as i64),
            // The input's own size.
            0 if axis == from => None,
            other => Some(other),
        };
        Some(Some(self.ints(node, 1)?.iter().enumerate().map(entry).collect::<Option<_>>()?))
    }

    /// The axes that a reduction reduces over, in order.
    pub(super) fn axes(&self, node: &NodeProto) -> Option<Vec<usize>> {
        let axes = self.ints(node, 1).filter(|axes| !axes.is_empty())?;
        places(axes, self.of(node, 0)?.len())
    }

    /// What a `Slice` of one axis and step 1 takes.
    pub(super) fn range(&self, node: &NodeProto) -> Option<(usize, std::ops::Range<usize>)> {
        let (shape, [start], [end], [axis]) =
            (self.of(node, 0)?, self.ints(node, 1)?, self.ints(node, 2)?, self.ints(node, 3)?)
        else {
            return None;
        };
        let axis = place(*axis, shape.len()).ok()?;
        let size = shape[axis].number()?;
        let bound = |at: i64| {
            let at = if at < 0 { at.saturating_add(size as i64) } else { at };
            usize::try_from(at.max(0)).map_or(size, |at| at.min(size))
        };
        (node.input.len() == 4).then(|| (axis, bound(*start)..bound(*end)))
    }

    /// For each input the axis that runs along `axis` of the output, if one does: a slice of the output there is what the node
    /// makes of the inputs' slices, and of those inputs as they are which have no such axis. `None`: that is not so, or not known.
    pub(super) fn along(&self, node: &NodeProto, axis: usize) -> Option<Vec<Option<usize>>> {
        let shape = self.get(node.output.first()?)?;
        let only_first = |first: usize| {
            let mut all = vec![None; node.input.len()];
            *all.first_mut()? = Some(first);
            Some(all)
        };
        match Kind::of(node)? {
            Kind::Each => only_first(axis),
            Kind::Softmax => {
                let own = place(node.attr_int("axis").unwrap_or(-1), shape.len()).ok()?;
                if own == axis { None } else { only_first(axis) }
            }
            Kind::Broadcast => (0..node.input.len()).map(|i| stretched(&self.of(node, i)?, &shape, axis)).collect(),
            Kind::MatMul => {
                let (a, b) = (self.of(node, 0)?, self.of(node, 1)?);
                let ((a, _), (b, _)) = (a.split_last_chunk::<2>()?, b.split_last_chunk::<2>()?);
                let batch = shape.len().checked_sub(2)?;
                match axis.checked_sub(batch) {
                    Some(0) => Some(vec![Some(a.len()), None]),
                    Some(_) => Some(vec![None, Some(b.len() + 1)]),
                    None => Some(vec![stretched(a, &shape[..batch], axis)?, stretched(b, &shape[..batch], axis)?]),
                }
            }
            Kind::Gemm if node.input.len() == 2 => match axis {
                0 => Some(vec![Some(usize::from(flag(node, "transA"))), None]),
                _ => Some(vec![None, Some(usize::from(!flag(node, "transB")))]),
            },
            Kind::Gemm => None,
            Kind::Reduce => {
                let axes = self.axes(node)?;
                if keeps_axes(node) {
                    return if axes.contains(&axis) { None } else { only_first(axis) };
                }
                let mut left = (0..self.of(node, 0)?.len()).filter(|axis| !axes.contains(axis));
                only_first(left.nth(axis)?)
            }
            Kind::Transpose => only_first(usize::try_from(*node.attr_ints("perm")?.get(axis)?).ok()?),
            Kind::Reshape => {
                let from = self.of(node, 0)?;
                let distance = product(&shape[axis + 1..]).filter(|distance| *distance != Size::fixed(0))?;
                let same = |at: &usize| from[*at] == shape[axis] && product(&from[at + 1..]) == Some(distance);
                only_first((0..from.len()).find(same)?)
            }
            Kind::Concat => {
                let own = place(node.attr_int("axis")?, shape.len()).ok()?;
                (own != axis).then(|| vec![Some(axis); node.input.len()])
            }
            Kind::Pad => {
                let pads = self.ints(node, 1)?;
                let none = pads.get(axis)? == &0 && pads.get(shape.len() + axis)? == &0;
                if none { only_first(axis) } else { None }
            }
            Kind::Slice => {
                let (own, _) = self.range(node)?;
                if own == axis { None } else { only_first(axis) }
            }
        }
    }
}

/// How an operator makes its output of its inputs.
enum Kind {
    /// Each element of the first input by itself.
    Each,
    /// Each element of all inputs by itself, broadcast.
    Broadcast,
    /// Along one axis.
    Softmax,
    MatMul,
    Gemm,
    Reduce,
    Transpose,
    /// The same elements in the same order.
    Reshape,
    Concat,
    /// With zeros.
    Pad,
    Slice,
}

impl Kind {
    fn of(node: &NodeProto) -> Option<Self> {
        if let Some(Elementwise { reads, .. }) = elementwise(&node.op_type) {
            return Some(match reads {
                Reads::Each => Self::Each,
                Reads::Broadcast => Self::Broadcast,
            });
        }
        Some(match &*node.op_type {
            "LogSoftmax" | "Softmax" => Self::Softmax,
            "MatMul" => Self::MatMul,
            "Gemm" => Self::Gemm,
            "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
            | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => Self::Reduce,
            "Transpose" => Self::Transpose,
            "Reshape" | "Squeeze" | "Unsqueeze" => Self::Reshape,
            "Concat" => Self::Concat,
            "Pad" if is_zero_pad(node) => Self::Pad,
            "Slice" => Self::Slice,
            _ => return None,
        })
    }
}

/// Whether a node puts zeros around.
pub(super) fn is_zero_pad(node: &NodeProto) -> bool {
    node.op_type == "Pad" && node.domain.is_empty() && node.input.len() == 2 && node.attr("mode").is_none()
}

pub(super) fn flag(node: &NodeProto, name: &str) -> bool {
    node.attr_int(name).unwrap_or(0) != 0
}

fn keeps_axes(node: &NodeProto) -> bool {
    node.attr_int("keepdims").unwrap_or(1) != 0
}

/// Axes as places from 0, in order.
fn places(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    let mut axes = axes.iter().map(|&axis| place(axis, rank).ok()).collect::<Option<Vec<usize>>>()?;
    axes.sort_unstable();
    axes.dedup();
    Some(axes)
}

fn broadcast(a: &[Size], b: &[Size]) -> Option<Vec<Size>> {
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let lead = long.len() - short.len();
    let both = long[lead..].iter().zip(short).map(|(long, short)| long.broadcast(*short));
    long[..lead].iter().map(|&size| Some(size)).chain(both).collect()
}

/// The axis of an operand that runs along an axis of what it is broadcast to: `Some(None)` where it has none, `None` where that
/// shows only as the model runs.
fn stretched(operand: &[Size], to: &[Size], axis: usize) -> Option<Option<usize>> {
    let Some(own) = axis.checked_sub(to.len().checked_sub(operand.len())?) else { return Some(None) };
    match operand[own] {
        size if size == to[axis] => Some(Some(own)),
        Size::ONE => Some(None),
        _ => None,
    }
}
