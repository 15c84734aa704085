//! Small integers and booleans that are the same in every run: what decides how often loops run.

use std::collections::HashMap;

use crate::{
    proto::{GraphProto, NodeProto, TensorProto},
    types::{Dim, ElemType, Types},
};

/// More is data, not a condition.
const MOST: usize = 64;

/// Follows constants and shapes through the operators that conditions are made of.
pub(super) struct Known<'a> {
    types: &'a Types,
    values: HashMap<String, Vec<i64>>,
}

impl<'a> Known<'a> {
    pub(super) fn new(graph: &GraphProto, types: &'a Types) -> Self {
        let mut known = Self { types, values: HashMap::new() };
        graph.initializer.iter().for_each(|tensor| known.add_constant(tensor));
        known
    }

    pub(super) fn add_constant(&mut self, tensor: &TensorProto) {
        if tensor.len().is_ok_and(|len| len <= MOST)
            && let Ok(ints) = tensor.to_ints()
        {
            self.values.insert(tensor.name.clone(), ints);
        }
    }

    pub(super) fn rank(&self, name: &str) -> Option<usize> {
        self.types.get(name)?.shape.as_ref().map(Vec::len)
    }

    pub(super) fn size(&self, name: &str, axis: usize) -> Option<usize> {
        self.types.get(name)?.shape.as_ref()?.get(axis)?.fixed()
    }

    pub(super) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.values.get(name).cloned().or_else(|| self.types.ints(name).map(<[i64]>::to_vec))
    }

    /// Notes what a node makes, if that is known.
    pub(super) fn add(&mut self, node: &NodeProto) {
        if let (Some(values), [output]) = (self.evaluate(node), node.output.as_slice())
            && values.len() <= MOST
        {
            self.values.insert(output.clone(), values);
        }
    }

    fn evaluate(&self, node: &NodeProto) -> Option<Vec<i64>> {
        let input = |at: usize| self.ints(node.input.get(at)?);
        let pairs = |f: fn(i64, i64) -> Option<i64>| -> Option<Vec<i64>> {
            let (a, b) = (input(0)?, input(1)?);
            let len = a.len().max(b.len());
            if [a.len(), b.len()].iter().any(|&side| side != 1 && side != len) {
                return None;
            }
            (0..len).map(|at| f(a[at % a.len()], b[at % b.len()])).collect()
        };
        match &*node.op_type {
            "Constant" => node.attr_tensor("value").filter(|t| t.len().is_ok_and(|len| len <= MOST))?.to_ints().ok(),
            "Shape" => self.shape(node),
            "Cast" => {
                let values = input(0)?;
                match ElemType::from_code(node.attr_int("to")? as i32) {
                    ElemType::Bool => Some(values.into_iter().map(|value| i64::from(value != 0)).collect()),
                    ElemType::Int64 | ElemType::Int32 => Some(values),
                    _ => None,
                }
            }
            "Identity" | "Squeeze" | "Unsqueeze" | "Reshape" => input(0),
            "Concat" => (0..node.input.len()).map(input).collect::<Option<Vec<_>>>().map(|all| all.concat()),
            "Gather" if self.rank(&node.input[0]).is_none_or(|rank| rank == 1) => {
                let (values, places) = (input(0)?, input(1)?);
                let len = values.len() as i64;
                let place = |at: i64| usize::try_from(if at < 0 { at + len } else { at }).ok();
                places.into_iter().map(|at| values.get(place(at)?).copied()).collect()
            }
            "Not" => Some(input(0)?.into_iter().map(|value| i64::from(value == 0)).collect()),
            "And" => pairs(|a, b| Some(i64::from(a != 0 && b != 0))),
            "Or" => pairs(|a, b| Some(i64::from(a != 0 || b != 0))),
            "Xor" => pairs(|a, b| Some(i64::from((a != 0) != (b != 0)))),
            "Equal" => pairs(|a, b| Some(i64::from(a == b))),
            "Less" => pairs(|a, b| Some(i64::from(a < b))),
            "LessOrEqual" => pairs(|a, b| Some(i64::from(a <= b))),
            "Greater" => pairs(|a, b| Some(i64::from(a > b))),
            "GreaterOrEqual" => pairs(|a, b| Some(i64::from(a >= b))),
            "Add" => pairs(i64::checked_add),
            "Sub" => pairs(i64::checked_sub),
            "Mul" => pairs(i64::checked_mul),
            "Div" => pairs(i64::checked_div),
            "Min" => pairs(|a, b| Some(a.min(b))),
            "Max" => pairs(|a, b| Some(a.max(b))),
            _ => None,
        }
    }

    fn shape(&self, node: &NodeProto) -> Option<Vec<i64>> {
        let dims = self.types.get(node.input.first()?)?.shape.as_ref()?;
        let rank = dims.len() as i64;
        let place = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
        let (start, end) = (place(node.attr_int("start").unwrap_or(0)), place(node.attr_int("end").unwrap_or(rank)));
        let sizes = dims.get(start..end)?.iter().copied().map(Dim::fixed);
        sizes.map(|size| size.map(|size| size as i64)).collect()
    }
}
