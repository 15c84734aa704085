//! ONNX Runtime's operators between quantised numbers: sums, products, activations, pools, concatenation.

use super::{Shadow, name};
use crate::{
    attr,
    builder::Val,
    proto::{AttributeProto, NodeProto},
};

/// The attributes that the float operator has too.
fn kept(node: &NodeProto) -> Vec<AttributeProto> {
    let own = ["channels_last", "opset"];
    node.attribute.iter().filter(|attribute| !own.contains(&&*attribute.name)).cloned().collect()
}

impl Shadow<'_> {
    pub(super) fn pointwise(&mut self, node: &NodeProto) -> Option<()> {
        if node.attr_int("channels_last").unwrap_or(0) != 0 {
            return None;
        }
        match &*node.op_type {
            "QLinearAdd" => self.of_two("Add", node),
            "QLinearMul" => self.of_two("Mul", node),
            "QLinearLeakyRelu" => self.of_one("LeakyRelu", kept(node), node),
            "QLinearSigmoid" => self.of_one("Sigmoid", vec![], node),
            "QLinearSoftmax" => {
                // Before opset 13 it goes over all axes from the given one on, which is the same only for the last.
                let rank = self.dims(name(node, 0))?.len() as i64;
                let axis = node.attr_int("axis").unwrap_or(-1);
                let is_last = axis == -1 || axis == rank - 1;
                let fits = is_last || node.attr_int("opset").is_some_and(|opset| opset >= 13);
                fits.then_some(())?;
                self.of_one("Softmax", vec![attr::int("axis", axis)], node)
            }
            "QLinearAveragePool" => self.of_one("AveragePool", kept(node), node),
            "QLinearGlobalAveragePool" => self.of_one("GlobalAveragePool", vec![], node),
            "QLinearConcat" => self.concat(node),
            "QLinearWhere" => {
                let x = self.number(name(node, 1), name(node, 2), name(node, 3), None)?;
                let y = self.number(name(node, 4), name(node, 5), name(node, 6), None)?;
                let dims = self.dims(node.output.first()?);
                let z = self.op("Where", &[&Val::new(name(node, 0)), &x, &y], vec![], dims);
                self.quantised(&z, name(node, 7), name(node, 8), node)
            }
            _ => None,
        }
    }

    /// x, its scale and zero point, then y's.
    fn of_one(&mut self, op: &str, attributes: Vec<AttributeProto>, node: &NodeProto) -> Option<()> {
        let x = self.number(name(node, 0), name(node, 1), name(node, 2), None)?;
        let dims = self.dims(node.output.first()?);
        let y = self.op(op, &[&x], attributes, dims);
        self.quantised(&y, name(node, 3), name(node, 4), node)
    }

    /// a, its scale and zero point, b, its own, then y's.
    fn of_two(&mut self, op: &str, node: &NodeProto) -> Option<()> {
        let a = self.number(name(node, 0), name(node, 1), name(node, 2), None)?;
        let b = self.number(name(node, 3), name(node, 4), name(node, 5), None)?;
        let dims = self.dims(node.output.first()?);
        let y = self.op(op, &[&a, &b], vec![], dims);
        self.quantised(&y, name(node, 6), name(node, 7), node)
    }

    /// y's scale and zero point, then each part with its own.
    fn concat(&mut self, node: &NodeProto) -> Option<()> {
        let parts = node.input.get(2..)?.chunks(3);
        let parts: Option<Vec<Val>> = parts
            .map(|part| match part {
                [x, scale, zero] => self.number(x, scale, zero, None),
                _ => None,
            })
            .collect();
        let parts = parts?;
        let dims = self.dims(node.output.first()?);
        let y = self.op("Concat", &parts.iter().collect::<Vec<_>>(), kept(node), dims);
        self.quantised(&y, name(node, 0), name(node, 1), node)
    }
}
