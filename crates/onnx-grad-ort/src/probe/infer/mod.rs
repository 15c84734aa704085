//! Types worked out without ONNX Runtime, at fixed sizes, where every operator is a common one.
//!
//! To ask ONNX Runtime it has to load the whole graph once for every batch size, and for a graph of thousands of nodes that takes
//! longer than all else. The arithmetic of shapes itself is next to nothing. It is done here where nothing is in doubt: an operator,
//! attribute or size that isn't plainly regular ends the whole attempt, and ONNX Runtime is asked, which has the last word on what is
//! irregular. A test holds both answers against each other for every recorded network.
//!
//! What an operator gives is in [`shapes`], [`products`], [`windows`] and [`sequences`], by the ONNX operators' specification; what small integers come to is in
//! [`contents`].

mod contents;
mod products;
mod sequences;
mod shapes;
mod windows;

pub(crate) use shapes::broadcast;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use ndarray::{ArrayD, IxDyn};
use onnx_grad::{
    ElemType,
    proto::{GraphProto, NodeProto, TensorProto},
};

use super::{
    Feed, MOST_INTS, MadeUp,
    fixed::{Inferred, is_weight},
};

/// Contents of integers are followed up to this many elements: what is larger is a table of indices, and no size follows from it.
const MOST_FOLLOWED: usize = 4096;

/// What is known of a value.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) elem: ElemType,
    pub(crate) dims: Vec<usize>,
    /// Integers and booleans, where they are few and follow from sizes and constants.
    ints: Option<ArrayD<i64>>,
    /// The floats of a small constant.
    floats: Option<Vec<f64>>,
}

impl Value {
    pub(crate) fn new(elem: ElemType, dims: Vec<usize>) -> Self {
        Self { elem, dims, ints: None, floats: None }
    }

    pub(crate) fn constant(tensor: &TensorProto) -> Option<Self> {
        let dims = tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<_>>>()?;
        let mut value = Self::new(tensor.elem_type(), dims);
        if tensor.len().ok()? <= MOST_FOLLOWED {
            let shaped = |ints| ArrayD::from_shape_vec(IxDyn(&value.dims), ints).ok();
            value.ints = holds_ints(value.elem).then(|| tensor.to_ints().ok().and_then(shaped)).flatten();
        }
        if tensor.len().ok()? <= MOST_INTS && value.elem.is_float() {
            value.floats = tensor.to_floats().ok();
        }
        Some(value)
    }

    /// How many elements it has.
    fn len(&self) -> Option<usize> {
        count(&self.dims)
    }
}

/// Whether contents of that type are followed.
fn holds_ints(elem: ElemType) -> bool {
    matches!(elem, ElemType::Int64 | ElemType::Int32 | ElemType::Bool)
}

/// How many elements a shape has; `None`: more than can be counted.
fn count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |count, &size| count.checked_mul(size))
}

/// A node with what is known of its inputs.
struct Call<'a> {
    node: &'a NodeProto,
    /// `None` where an optional one is left out.
    inputs: Vec<Option<&'a Value>>,
}

impl Call<'_> {
    fn value(&self, at: usize) -> Option<&Value> {
        self.inputs.get(at).copied().flatten()
    }

    /// Whether there is such an input.
    fn has(&self, at: usize) -> bool {
        self.value(at).is_some()
    }

    fn elem(&self, at: usize) -> Option<ElemType> {
        self.value(at).map(|value| value.elem)
    }

    fn dims(&self, at: usize) -> Option<&[usize]> {
        self.value(at).map(|value| value.dims.as_slice())
    }

    /// The contents of an input that are integers, one after the other.
    fn ints(&self, at: usize) -> Option<Vec<i64>> {
        Some(self.value(at)?.ints.as_ref()?.iter().copied().collect())
    }

    /// An attribute.
    fn int(&self, name: &str, default: i64) -> i64 {
        self.node.attr_int(name).unwrap_or(default)
    }

    fn flag(&self, name: &str) -> bool {
        self.int(name, 0) != 0
    }

    /// The axis that an attribute names, for a value of that rank.
    fn axis(&self, default: i64, rank: usize) -> Option<usize> {
        axis(self.int("axis", default), rank)
    }
}

/// An axis that may be counted from the end.
fn axis(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

/// What a node of the standard domain gives, by what is known of its inputs. `None`: an input isn't known, or the node is not of the
/// common kind.
pub(crate) fn outputs<'a>(node: &NodeProto, known: impl Fn(&str) -> Option<&'a Value>) -> Option<Vec<Value>> {
    let input = |name: &String| if name.is_empty() { Some(None) } else { known(name).map(Some) };
    let call = Call { node, inputs: node.input.iter().map(input).collect::<Option<_>>()? };
    let mut outputs = shapes::outputs(&call)?;
    contents::fill(&call, &mut outputs);
    Some(outputs)
}

/// What a convolution or pooling gives, by its attributes: `lead` are the images and the output's channels, `sides` the images'.
pub(crate) fn slid(node: &NodeProto, lead: [usize; 2], sides: &[usize], kernel: &[usize]) -> Option<Vec<usize>> {
    windows::slid(&Call { node, inputs: Vec::new() }, lead[0], lead[1], sides, kernel)
}

/// Every value's type and the small integers that follow from sizes, with batches `times` as large as stated. `None`: something is not
/// of the common kind.
pub(super) fn infer(graph: &GraphProto, inputs: &[Feed], times: usize, made_up: &MadeUp<'_>) -> Option<Inferred> {
    if !graph.sparse_initializer.is_empty() {
        return None;
    }
    let mut values: HashMap<&str, Value> = HashMap::with_capacity(graph.node.len() + graph.initializer.len());
    // What follows from constants and sizes alone.
    let mut follows: HashSet<&str> = HashSet::with_capacity(graph.node.len());
    for tensor in &graph.initializer {
        values.insert(&tensor.name, Value::constant(tensor)?);
        if !is_weight(tensor) {
            follows.insert(&tensor.name);
        }
    }
    for input in &graph.input {
        let feed = inputs.iter().find(|feed| feed.name == input.name)?;
        let mut dims = feed.shape.clone();
        if let Some(batch) = dims.first_mut().filter(|_| feed.free_batch) {
            *batch = batch.checked_mul(times)?;
        }
        values.insert(&input.name, Value::new(feed.elem, dims));
    }
    let mut found = Inferred { types: HashMap::with_capacity(graph.node.len()), ints: HashMap::new() };
    for node in &graph.node {
        if !matches!(&*node.domain, "" | "ai.onnx") {
            return None;
        }
        let input = |name: &String| if name.is_empty() { Some(None) } else { values.get(name.as_str()).map(Some) };
        let call = Call { node, inputs: node.input.iter().map(input).collect::<Option<_>>()? };
        let mut outputs = shapes::outputs(&call)?;
        contents::fill(&call, &mut outputs);
        if outputs.len() < node.output.len() {
            return None;
        }
        let named = || node.output.iter().filter(|name| !name.is_empty());
        let is_shape = node.op_type == "Shape";
        let made = named().any(|name| made_up.contents.contains(name.as_str()));
        let follow = !made && (is_shape || node.input.iter().all(|name| name.is_empty() || follows.contains(&**name)));
        for (name, value) in node.output.iter().zip(outputs).filter(|(name, _)| !name.is_empty()) {
            let small = value.len()? <= MOST_INTS && matches!(value.elem, ElemType::Int64 | ElemType::Int32);
            if follow {
                follows.insert(name);
                if small {
                    found.ints.insert(name.clone(), value.ints.as_ref()?.iter().copied().collect());
                }
            }
            found.types.insert(name.clone(), (value.elem, value.dims.clone()));
            values.insert(name, value);
        }
    }
    Some(found)
}
