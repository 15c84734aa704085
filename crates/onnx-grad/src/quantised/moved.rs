//! Standard operators on quantised integers: they are moved, pooled, compared and summed as they are.

use super::Shadow;
use crate::{
    builder::Val,
    proto::NodeProto,
    types::{ElemType, ValueType, value_info},
};

/// Which inputs of an operator that does the same to integers as to floats are numbers; `None`: it is none.
fn numbers(op: &str) -> Option<fn(usize) -> bool> {
    Some(match op {
        "DepthToSpace" | "Expand" | "Flatten" | "Gather" | "GatherElements" | "GatherND" | "Identity" | "MaxPool"
        | "ReduceMax" | "ReduceMin" | "ReduceSum" | "Relu" | "Reshape" | "Resize" | "Slice" | "SpaceToDepth"
        | "Split" | "Squeeze" | "Tile" | "Transpose" | "Unsqueeze" | "Neg" => |i| i == 0,
        "Add" | "Sub" | "Mul" | "Max" | "Min" | "Concat" | "Clip" => |_| true,
        "Pad" => |i| i == 0 || i == 2,
        "Where" => |i| i > 0,
        _ => return None,
    })
}

impl Shadow<'_> {
    /// The operator on the numbers as floats, whose result is whole again.
    pub(super) fn moved(&mut self, node: &NodeProto) -> Option<()> {
        let is_number = numbers(&node.op_type)?;
        if node.input.iter().enumerate().any(|(i, x)| is_number(i) && self.whole.contains(x)) {
            self.whole.insert(node.output.first()?.clone());
        }
        if !node.input.iter().enumerate().any(|(i, x)| is_number(i) && self.carried.contains(x)) {
            return None;
        }
        let inputs: Option<Vec<Val>> = node
            .input
            .iter()
            .enumerate()
            .map(|(i, x)| if is_number(i) && !x.is_empty() { self.float(x) } else { Some(Val::new(x)) })
            .collect();
        let inputs = inputs?;
        let inputs: Vec<&Val> = inputs.iter().collect();
        // A pooling's gradient goes by the places of its maxima.
        let count = if node.op_type == "MaxPool" { 2 } else { node.output.len() };
        let before = self.builder.nodes().len();
        let made = self.builder.ops(&node.op_type, &inputs, node.attribute.clone(), count);
        let new = self.builder.nodes()[before..].to_vec();
        self.nodes.extend(new);
        for (i, value) in made.iter().enumerate() {
            let places = node.op_type == "MaxPool" && i == 1;
            let shape = node.output.get(if places { 0 } else { i }).and_then(|name| self.dims(name));
            let elem = if places { ElemType::Int64 } else { ElemType::Float };
            self.infos.push(value_info(value.name(), Some(&ValueType { elem, shape })));
        }
        for (value, y) in made.iter().zip(&node.output).filter(|(_, y)| !y.is_empty()).take(node.output.len()) {
            let is_places = node.op_type == "MaxPool" && node.output.get(1) == Some(y);
            if !is_places {
                self.straight(value, y, node);
            }
        }
        Some(())
    }
}
