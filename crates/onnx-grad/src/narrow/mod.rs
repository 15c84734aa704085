//! Gradients that are zero outside of a part.
//!
//! A vision transformer's classifier reads the class token alone. The gradient at all tokens is that at this one with rows of zeros around
//! it, and what the layers before make of zeros is zeros. So they are put around as late as they can be: `f(Pad(x), y)` is
//! `Pad(f(x, Slice(y)))` where f makes each slice of its result from slices of its operands, and zeros from zeros; a product or a sum that
//! goes over the padded axis is that of the slices.
//!
//! This looks at the emitted nodes alone, after the sweep: standard operators of known meaning. No rule knows of it. A model's value
//! that only slices are read of is sliced in the forward pass, so that the slice is what is saved; what rules compute from it anew
//! (slopes, statistics) is computed from the slice.

mod moves;
mod place;
mod shapes;
mod size;

use self::{place::Place, shapes::Shapes, size::Size};
use crate::{
    builder::{Builder, Val},
    differentiate::SCOPE,
    graph::{Index, NameMap, each_read},
    proto::NodeProto,
    types::{Dim, KnownTypes, ValueType},
    vjp::Kept,
};

/// How many nodes deep a slice is taken, towards what a value is computed from.
const DEEPEST: usize = 24;

/// The gradient of a value that a node takes a part of, and that value's shape.
#[derive(Debug)]
pub(crate) struct Padded {
    pub(crate) gradient: Val,
    pub(crate) dims: Vec<Dim>,
}

/// Puts the zeros of `padded` around as late as possible. What is `wanted` stays whole.
pub(crate) fn narrow<'a>(
    builder: &mut Builder,
    kept: &mut Kept,
    (index, types): (&Index<'_>, &KnownTypes<'_>),
    padded: &[Padded],
    wanted: impl Iterator<Item = &'a Val>,
) {
    if padded.is_empty() {
        return;
    }
    let dims: NameMap<&str, &[Dim]> = padded.iter().map(|one| (one.gradient.name(), one.dims.as_slice())).collect();
    let shapes = Shapes::new(types, builder.constants());
    if !builder.nodes().iter().any(|node| source(node, &dims, &shapes).is_some()) {
        return;
    }
    let nodes = builder.take_nodes();
    let (makers, parts, slices) = (NameMap::default(), NameMap::default(), NameMap::default());
    let mut pass = Pass { builder, kept, index, types, nodes: &nodes, makers, dims, shapes, parts, slices };
    (0..nodes.len()).for_each(|at| pass.node(at));
    wanted.for_each(|value| pass.whole(value.name()));
}

/// Where the gradient of a part came to lie, and that gradient.
fn source(node: &NodeProto, dims: &NameMap<&str, &[Dim]>, shapes: &Shapes<'_>) -> Option<(Place, Val)> {
    let dims = dims.get(node.output.first()?.as_str()).filter(|_| shapes::is_zero_pad(node))?;
    Some((Place::of_pads(shapes.ints(node, 1)?, dims)?, Val::new(node.input.first()?)))
}

/// A value that is zero outside of a part.
struct Part {
    place: Place,
    /// What is there.
    inner: Val,
    /// Whether the whole was asked for, and emitted.
    whole: bool,
}

struct Pass<'a> {
    builder: &'a mut Builder,
    kept: &'a mut Kept,
    index: &'a Index<'a>,
    types: &'a KnownTypes<'a>,
    /// As they were emitted.
    nodes: &'a [NodeProto],
    /// Which of those seen makes a value.
    makers: NameMap<&'a str, usize>,
    /// The shapes of the padded gradients.
    dims: NameMap<&'a str, &'a [Dim]>,
    shapes: Shapes<'a>,
    parts: NameMap<&'a str, Part>,
    /// By value, axis, start and length.
    slices: NameMap<(String, usize, usize, usize), Val>,
}

impl Pass<'_> {
    /// Emits the node of that position again, as a whole or as a part.
    fn node(&mut self, at: usize) {
        let node = &self.nodes[at];
        self.builder.set_scope(node.name.rsplit_once('/').map_or(SCOPE, |(scope, _)| scope));
        self.makers.extend(node.output.iter().map(|name| (name.as_str(), at)));
        let Some(name) = node.output.first() else { return self.builder.push(node.clone()) };
        let stated = self.dims.get(name.as_str());
        let stated = || stated.map(|dims| dims.iter().copied().map(Size::of).collect());
        if let Some(shape) = self.shapes.infer(node).or_else(stated) {
            self.shapes.insert(name, shape);
        }
        if let Some((place, inner)) = self.moved(node) {
            self.parts.insert(name, Part { place, inner, whole: false });
        } else if let Some((place, inner)) = source(node, &self.dims, &self.shapes) {
            self.whole(inner.name());
            self.parts.insert(name, Part { place, inner, whole: false });
        } else if let Some(node) = self.contracted(node) {
            self.builder.push(node);
        } else {
            each_read(node).for_each(|name| self.whole(name));
            self.builder.push(node.clone());
        }
    }

    /// Emits a value that is zero outside of a part as a whole, under its own name; any other is whole.
    fn whole(&mut self, name: &str) {
        let Some(part) = self.parts.get_mut(name).filter(|part| !part.whole) else { return };
        part.whole = true;
        let (place, inner, shape) = (part.place, part.inner.clone(), self.shapes.get(name).unwrap_or_default());
        let (apart, pads) = place.apart(&shape);
        let (op, value, list) = if place.is_plain() {
            ("Pad", inner, pads)
        } else {
            let entries = |shape: &[Size]| shape.iter().map(|size| size.entry()).collect::<Vec<i64>>();
            let padded = self.builder.reshape(&inner, &entries(&apart));
            ("Reshape", self.builder.pad_zeros(&padded, &pads), entries(&shape))
        };
        let list = self.builder.ints(&list);
        self.builder.push(NodeProto {
            op_type: op.to_owned(),
            name: name.to_owned(),
            input: vec![value.name().to_owned(), list.name().to_owned()],
            output: vec![name.to_owned()],
            ..Default::default()
        });
    }

    /// `start..start + len` of a value along an axis, computed from as little as possible.
    fn slice(&mut self, name: &str, axis: usize, (start, len): (usize, usize), deepest: usize) -> Val {
        let key = (name.to_owned(), axis, start, len);
        if let Some(slice) = self.slices.get(&key) {
            return slice.clone();
        }
        let computed = self.computed_slice(name, axis, (start, len), deepest);
        let slice = computed.unwrap_or_else(|| {
            self.whole(name);
            let (begin, end) = (start as i64, (start + len) as i64);
            let slice = self.builder.slice(&Val::new(name), &[begin], &[end], &[axis as i64], &[1]);
            self.save(name, axis, len, &slice);
            slice
        });
        self.slices.insert(key, slice.clone());
        slice
    }

    /// A slice of an emitted value, computed from slices of what that is computed from.
    fn computed_slice(&mut self, name: &str, axis: usize, range: (usize, usize), deepest: usize) -> Option<Val> {
        let node = &self.nodes[*self.makers.get(name)?];
        if deepest == 0 || self.parts.contains_key(name) || node.output.len() != 1 || !node.domain.is_empty() {
            return None;
        }
        let along = self.shapes.along(node, axis)?;
        let own = *along.first()?;
        let reshaped = self.shapes.retargeted(node, (own.unwrap_or(axis), axis), Size::fixed(range.1))?;
        let mut inputs = Vec::with_capacity(along.len());
        for (input, own) in node.input.iter().zip(along) {
            inputs.push(match own {
                Some(axis) => self.slice(input, axis, range, deepest - 1),
                None => Val::new(input),
            });
        }
        Some(self.again(node, inputs, reshaped))
    }

    /// The node with other inputs, and where it reshapes to another shape.
    fn again(&mut self, node: &NodeProto, mut inputs: Vec<Val>, reshaped: Option<Vec<i64>>) -> Val {
        if let Some(target) = reshaped {
            inputs.truncate(1);
            inputs.push(self.builder.ints(&target));
        }
        let inputs: Vec<&Val> = inputs.iter().collect();
        self.builder.op(&node.op_type, &inputs, node.attribute.clone())
    }

    /// Has a slice of one of the model's values be saved in its stead.
    fn save(&mut self, name: &str, axis: usize, len: usize, slice: &Val) {
        let of_model = self.index.number(name).is_some() && self.index.constant(name).is_none();
        if let Some(ValueType { elem, shape: Some(mut dims) }) = self.types.get(name).filter(|_| of_model).cloned() {
            dims[axis] = Dim::Fixed(len);
            self.kept.hoisted.push(slice.name().to_owned());
            self.kept.types.insert(slice.name().to_owned(), ValueType { elem, shape: Some(dims) });
        }
    }
}
