//! What a gradient rule sees of the node it differentiates, and the helpers that rules share.

use crate::{
    builder::{Builder, Val},
    error::UNKNOWN_RANK,
    graph::{Index, NameMap},
    proto::NodeProto,
    registry::{Grad, Unsupported},
    types::{Dim, ElemType, KnownTypes, ValueType},
};

/// One node under differentiation: its inputs, outputs, attributes and types, the cotangents of its outputs, and the builder
/// that takes the nodes of its gradient.
pub struct Vjp<'a> {
    /// Takes the emitted nodes.
    pub g: &'a mut Builder,
    pub(crate) node: &'a NodeProto,
    pub(crate) index: &'a Index<'a>,
    pub(crate) types: &'a KnownTypes<'a>,
    pub(crate) cotangents: &'a [Option<Val>],
    pub(crate) needs: &'a [bool],
    pub(crate) kept: &'a mut Kept,
}

/// What rules asked of the forward pass.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Emitted values to be computed in the forward pass and saved.
    pub(crate) hoisted: Vec<String>,
    /// Optional outputs that nodes must produce, by an output that the node has: (output number, name).
    pub(crate) outputs: NameMap<String, Vec<(usize, String)>>,
    /// Types of both.
    pub(crate) types: NameMap<String, ValueType>,
}

impl Vjp<'_> {
    // ---- the node ----

    /// The node itself, for its attributes.
    pub fn node(&self) -> &NodeProto {
        self.node
    }

    /// Number of inputs, absent ones in the middle included.
    pub fn inputs(&self) -> usize {
        self.node.input.len()
    }

    /// Whether input `i` is there.
    pub fn has(&self, i: usize) -> bool {
        self.node.input.get(i).is_some_and(|name| !name.is_empty())
    }

    /// Whether somebody wants the gradient of input `i`.
    pub fn needs(&self, i: usize) -> bool {
        self.needs.get(i).copied().unwrap_or(false)
    }

    /// Input `i` (the empty value where it is absent).
    pub fn x(&self, i: usize) -> Val {
        self.node.input.get(i).map_or_else(Val::absent, |name| Val::new(name))
    }

    /// Output `i`.
    pub fn y(&self, i: usize) -> Val {
        self.node.output.get(i).map_or_else(Val::absent, |name| Val::new(name))
    }

    /// Output `i`, of the given element type, as a value that the forward pass must make even if the model left that optional
    /// output out.
    pub fn y_kept(&mut self, i: usize, elem: ElemType) -> Val {
        let y = self.y(i);
        if !y.name().is_empty() {
            self.kept.types.insert(y.name().to_owned(), ValueType { elem, shape: None });
            return y;
        }
        // The node is known by an output that it has.
        let first = self.node.output.iter().find(|name| !name.is_empty()).cloned().unwrap_or_default();
        let kept = self.kept.outputs.entry(first).or_default();
        if let Some((_, name)) = kept.iter().find(|(at, _)| *at == i) {
            return Val::new(name);
        }
        let name = self.g.fresh(&format!("{}.output_{i}", self.node.op_type));
        self.kept.types.insert(name.clone(), ValueType { elem, shape: None });
        kept.push((i, name.clone()));
        Val::new(&name)
    }

    /// Has the forward pass compute this emitted value (64-bit integers: a shape, a count), which must not depend on a
    /// cotangent, and save it.
    pub fn hoist(&mut self, value: &Val) {
        if !self.kept.types.contains_key(value.name()) {
            let shape = self.length_of_shape(value).map(|count| vec![Dim::Fixed(count)]);
            self.kept.types.insert(value.name().to_owned(), ValueType { elem: ElemType::Int64, shape });
        }
        self.kept.hoisted.push(value.name().to_owned());
    }

    /// How many entries a shape of a value of the model has: a runtime that is told the rank of what is brought to it knows more.
    fn length_of_shape(&self, shape: &Val) -> Option<usize> {
        let maker = self.g.nodes().iter().rev().find(|node| node.output.iter().any(|name| name == shape.name()))?;
        let rank = self.dims_named(maker.input.first().filter(|_| maker.op_type == "Shape")?).ok()?.len();
        let from_start = |end: i64| if end < 0 { end + rank as i64 } else { end }.clamp(0, rank as i64) as usize;
        let start = from_start(maker.attr_int("start").unwrap_or(0));
        Some(from_start(maker.attr_int("end").unwrap_or(rank as i64)).saturating_sub(start))
    }

    // ---- cotangents ----

    /// The cotangent of output `i`, if any reached it.
    pub fn cotangent(&self, i: usize) -> Option<Val> {
        self.cotangents.get(i).cloned().flatten()
    }

    /// The cotangent of output `i`; zeros where none reached it.
    pub fn gy_at(&mut self, i: usize) -> Result<Val, Unsupported> {
        match self.cotangent(i) {
            Some(value) => Ok(value),
            None => {
                let shape = self.shape_value(&self.y(i))?;
                let elem = self.elem_of(&self.y(i))?;
                Ok(self.g.full(&shape, elem, 0.0))
            }
        }
    }

    /// The cotangent of the first output.
    pub fn gy(&mut self) -> Result<Val, Unsupported> {
        self.gy_at(0)
    }

    // ---- results ----

    /// Calls `f` for every input whose gradient is needed.
    ///
    /// # Errors
    /// The first that `f` gives.
    pub fn each(
        &mut self,
        mut f: impl FnMut(&mut Self, usize) -> Result<Val, Unsupported>,
    ) -> Result<Vec<Grad>, Unsupported> {
        (0..self.inputs()).map(|i| if self.needs(i) { f(self, i).map(Grad::Of) } else { Ok(Grad::NotNeeded) }).collect()
    }

    /// The result of a rule that differentiates the first input only. (Asked for another as well, the sweep says that it has no rule.)
    pub fn first(&self, gradient: Val) -> Result<Vec<Grad>, Unsupported> {
        let mut all = vec![Grad::NotNeeded; self.inputs()];
        if let Some(slot) = all.first_mut() {
            *slot = Grad::Of(gradient);
        }
        Ok(all)
    }

    /// What `rule` answers for this node if the cotangent of its first output were `gy`: for operators that are another one
    /// with something added before its output.
    ///
    /// # Errors
    /// Those of `rule`.
    pub fn with_gy(
        &mut self,
        gy: &Val,
        rule: impl FnOnce(&mut Vjp<'_>) -> Result<Vec<Grad>, Unsupported>,
    ) -> Result<Vec<Grad>, Unsupported> {
        let cotangents = [Some(gy.clone())];
        rule(&mut Vjp {
            g: &mut *self.g,
            node: self.node,
            index: self.index,
            types: self.types,
            cotangents: &cotangents,
            needs: self.needs,
            kept: &mut *self.kept,
        })
    }

    // ---- types ----

    /// Element type of a value of the model.
    ///
    /// # Errors
    /// It isn't known.
    pub fn elem_of(&self, value: &Val) -> Result<ElemType, Unsupported> {
        self.elem_named(value.name())
    }

    fn elem_named(&self, name: &str) -> Result<ElemType, Unsupported> {
        let ty = self.types.get(name);
        ty.map(|ty| ty.elem).ok_or_else(|| format!("the element type of `{name}` is not known").into())
    }

    /// Element type of the first output.
    ///
    /// # Errors
    /// It isn't known.
    pub fn elem(&self) -> Result<ElemType, Unsupported> {
        self.elem_named(nth(&self.node.output, 0))
    }

    /// Axes of a value of the model.
    ///
    /// # Errors
    /// Its rank isn't known.
    pub fn dims_of(&self, value: &Val) -> Result<Vec<Dim>, Unsupported> {
        self.dims_named(value.name()).map(<[Dim]>::to_vec)
    }

    fn dims_named(&self, name: &str) -> Result<&[Dim], Unsupported> {
        let shape = self.types.get(name).and_then(|ty| ty.shape.as_deref());
        shape.ok_or_else(|| {
            format!("{UNKNOWN_RANK}`{name}` is not known: give types, by value_info or by running the model once")
                .into()
        })
    }

    /// Axes of input `i`.
    ///
    /// # Errors
    /// Its rank isn't known.
    pub fn dims(&self, i: usize) -> Result<Vec<Dim>, Unsupported> {
        self.dims_named(nth(&self.node.input, i)).map(<[Dim]>::to_vec)
    }

    /// Axes of output `i`.
    ///
    /// # Errors
    /// Its rank isn't known.
    pub fn out_dims(&self, i: usize) -> Result<Vec<Dim>, Unsupported> {
        self.dims_named(nth(&self.node.output, i)).map(<[Dim]>::to_vec)
    }

    /// Number of axes of input `i`.
    ///
    /// # Errors
    /// It isn't known.
    pub fn rank(&self, i: usize) -> Result<usize, Unsupported> {
        self.dims_named(nth(&self.node.input, i)).map(<[Dim]>::len)
    }

    /// Sizes of the given axes of input `i`.
    ///
    /// # Errors
    /// One of them is not fixed.
    pub fn fixed(&self, i: usize, axes: impl IntoIterator<Item = usize>) -> Result<Vec<usize>, Unsupported> {
        let name = nth(&self.node.input, i);
        let dims = self.dims_named(name)?;
        let size = |axis: usize| dims.get(axis).and_then(|dim| dim.fixed());
        axes.into_iter()
            .map(|axis| size(axis).ok_or_else(|| format!("axis {axis} of `{name}` has no fixed size").into()))
            .collect()
    }

    /// The integers in input `i`, where they are the same in every run.
    ///
    /// # Errors
    /// They are computed from something that changes.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>, Unsupported> {
        let name = nth(&self.node.input, i);
        if let Some(ints) = self.types.ints(name) {
            return Ok(ints.to_vec());
        }
        let tensor = self.index.constant(name);
        let ints = tensor.and_then(|tensor| tensor.to_ints().ok());
        ints.ok_or_else(|| format!("the contents of `{name}` are computed while the model runs").into())
    }

    /// The constant behind input `i`, if it is one.
    pub fn constant(&self, i: usize) -> Option<&crate::proto::TensorProto> {
        self.index.constant(self.node.input.get(i)?)
    }

    /// Axes that an attribute or (later opsets) input `i` names, none named: all; as places from 0, in order.
    ///
    /// # Errors
    /// They are computed while the model runs, or out of range.
    pub fn axes(&self, attribute: &str, i: usize, rank: usize) -> Result<Vec<usize>, Unsupported> {
        let named = match self.node.attr_ints(attribute) {
            Some(axes) => axes.to_vec(),
            None if self.has(i) => self.ints(i)?,
            None => Vec::new(),
        };
        if named.is_empty() {
            return Ok((0..rank).collect());
        }
        let mut axes = named.into_iter().map(|axis| place(axis, rank)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }

    // ---- shapes of gradients ----

    /// The shape of a value of the model as a one-dimensional tensor: a constant where it is fixed, else computed in the
    /// forward pass.
    ///
    /// # Errors
    /// None today; kept for callers' `?`.
    pub fn shape_value(&mut self, value: &Val) -> Result<Val, Unsupported> {
        let fixed: Option<Vec<i64>> =
            self.dims_of(value).ok().and_then(|dims| dims.iter().map(|dim| dim.fixed().map(|n| n as i64)).collect());
        match fixed {
            Some(dims) => Ok(self.g.ints(&dims)),
            None => {
                let shape = self.g.shape(value);
                self.hoist(&shape);
                Ok(shape)
            }
        }
    }

    /// A gradient in the shape of a value of the model that has as many elements.
    ///
    /// With at most one free axis (the batch) the target shape is a constant, so it also holds when several seeds for one
    /// image run as a batch.
    ///
    /// # Errors
    /// None today; kept for callers' `?`.
    pub fn reshape_like(&mut self, gradient: &Val, value: &Val) -> Result<Val, Unsupported> {
        if let Ok(dims) = self.dims_of(value) {
            let free = dims.iter().filter(|dim| dim.fixed().is_none()).count();
            let empty = dims.contains(&Dim::Fixed(0));
            if free <= 1 && !empty {
                let dims: Vec<i64> = dims.iter().map(|dim| dim.fixed().map_or(-1, |n| n as i64)).collect();
                return Ok(self.g.reshape(gradient, &dims));
            }
        }
        let shape = self.g.shape(value);
        self.hoist(&shape);
        Ok(self.g.op("Reshape", &[gradient, &shape], vec![crate::attr::int("allowzero", 1)]))
    }

    /// A gradient spread out to the shape of a value of the model, by ONNX's broadcasting.
    ///
    /// # Errors
    /// None today; kept for callers' `?`.
    pub fn expand_like(&mut self, gradient: &Val, value: &Val) -> Result<Val, Unsupported> {
        // A free axis is left as the gradient has it: the batch.
        if let Ok(dims) = self.dims_of(value)
            && dims.iter().filter(|dim| dim.fixed().is_none()).count() <= 1
            && dims.first().is_none_or(|_| dims.iter().skip(1).all(|dim| dim.fixed().is_some()))
        {
            let target: Vec<i64> = dims.iter().map(|dim| dim.fixed().map_or(1, |n| n as i64)).collect();
            if dims.first().is_none_or(|dim| dim.fixed().is_some()) {
                let shape = self.g.ints(&target);
                return Ok(self.g.expand_to(gradient, &shape));
            }
        }
        let shape = self.shape_value(value)?;
        Ok(self.g.expand_to(gradient, &shape))
    }

    /// A value of type `elem` in the type of input `i`.
    ///
    /// # Errors
    /// The type of the input isn't known.
    pub fn in_type_of(&mut self, value: &Val, elem: ElemType, i: usize) -> Result<Val, Unsupported> {
        let own = self.elem_of(&self.x(i))?;
        Ok(if own == elem { value.clone() } else { self.g.cast(value, own) })
    }

    /// A value of the model in type `elem`.
    ///
    /// # Errors
    /// The type of the value isn't known.
    pub fn cast_to(&mut self, value: &Val, elem: ElemType) -> Result<Val, Unsupported> {
        let own = self.elem_of(value)?;
        Ok(if own == elem { value.clone() } else { self.g.cast(value, elem) })
    }

    /// A cotangent of the first output in the type that sums are accumulated in.
    ///
    /// # Errors
    /// The type of the output isn't known.
    pub fn widen(&mut self, value: &Val) -> Result<Val, Unsupported> {
        let elem = self.elem()?;
        Ok(if elem.accumulator() == elem { value.clone() } else { self.g.cast(value, elem.accumulator()) })
    }

    /// Whether input `i` comes from a node of one of these kinds.
    pub(crate) fn made_by(&self, i: usize, ops: &[&str]) -> bool {
        let producer = self.node.input.get(i).and_then(|name| self.index.producer_node(name));
        producer.is_some_and(|node| node.domain.is_empty() && ops.contains(&&*node.op_type))
    }

    /// Whether output 0 goes, as it is or cast, to a node of this kind.
    pub(crate) fn leads_to(&self, op: &str) -> bool {
        let mut todo = vec![nth(&self.node.output, 0)];
        while let Some(name) = todo.pop() {
            for node in self.index.readers(name) {
                if node.op_type == op {
                    return true;
                }
                if matches!(&*node.op_type, "Cast" | "Identity") {
                    todo.extend(node.output.iter().map(String::as_str));
                }
            }
        }
        false
    }
}

/// A node's input or output number `i`; nothing where it is absent.
fn nth(names: &[String], i: usize) -> &str {
    names.get(i).map_or("", String::as_str)
}

/// The most elements of a constant that a rule makes.
const MOST_ELEMENTS: i64 = 1 << 26;

/// How many elements a constant of these sizes has.
///
/// # Errors
/// A negative size, or more elements than a constant of a gradient should take.
pub fn room(sizes: &[i64]) -> Result<i64, Unsupported> {
    let product = sizes.iter().try_fold(1i64, |product, &size| product.checked_mul(size).filter(|_| size >= 0));
    let room = product.filter(|&product| product <= MOST_ELEMENTS);
    room.ok_or_else(|| format!("its gradient needs a constant of the sizes {sizes:?}, which is too large").into())
}

/// An axis counted from either end as a place from 0.
///
/// # Errors
/// Out of range.
pub fn place(axis: i64, rank: usize) -> Result<usize, Unsupported> {
    let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let place = usize::try_from(from_start).ok().filter(|&place| place < rank);
    place.ok_or_else(|| format!("axis {axis} is out of range for rank {rank}").into())
}
