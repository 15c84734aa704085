//! ONNX Runtime's whole layers with quantised weights: attention and recurrent networks.

use super::{ROUNDED_STATE, Shadow, name};
use crate::{
    attr,
    builder::Val,
    proto::NodeProto,
    types::{Dim, ElemType, ValueType, value_info},
};

impl Shadow<'_> {
    /// `QAttention`: x and w are integers, each with a scale and a zero point; what it multiplies afterwards are floats. Then it is an
    /// `Attention` of the same domain.
    pub(super) fn attention(&mut self, node: &NodeProto) -> Option<()> {
        // Keys and values of earlier steps.
        if !name(node, 8).is_empty() {
            return None;
        }
        let x = self.number(name(node, 0), name(node, 3), name(node, 6), None)?;
        let w = self.number(name(node, 1), name(node, 4), name(node, 7), Some(1))?;
        let input = [x.name(), w.name(), name(node, 2), name(node, 5)].map(str::to_owned).to_vec();
        self.nodes.push(NodeProto { op_type: "Attention".into(), input, ..node.clone() });
        Some(())
    }

    /// `DynamicQuantizeLSTM`: the sequence is quantised over its own range, and so is the state before each step. The weights lie the
    /// other way round than those of `LSTM`.
    pub(super) fn dynamic_lstm(&mut self, node: &NodeProto) -> Option<()> {
        let x = name(node, 0);
        let rounded = self.rounded_over_own_range(x, node)?;
        let w = self.gates(node, [1, 8, 9])?;
        let r = self.gates(node, [2, 10, 11])?;
        let mut input = vec![rounded.name().to_owned(), w.name().to_owned(), r.name().to_owned()];
        input.extend(node.input.iter().take(8).skip(3).cloned());
        let mut attribute = node.attribute.clone();
        attribute.push(attr::int(ROUNDED_STATE, 1));
        self.nodes.push(NodeProto { op_type: "LSTM".into(), domain: String::new(), input, attribute, ..node.clone() });
        Some(())
    }

    /// A float value as it is after it was quantised to 8 bits over its own range, where nothing saturates.
    fn rounded_over_own_range(&mut self, x: &str, node: &NodeProto) -> Option<Val> {
        let ty = self.types.get(x).filter(|ty| ty.elem == ElemType::Float)?.clone();
        let found = self.builder.ops("DynamicQuantizeLinear", &[&Val::new(x)], vec![], 3);
        let y = self.builder.op("DequantizeLinear", &[&found[0], &found[1], &found[2]], vec![]);
        self.infos.push(value_info(y.name(), Some(&ty)));
        self.nodes.push(NodeProto {
            op_type: super::STRAIGHT.into(),
            domain: super::OWN.into(),
            name: node.name.clone(),
            input: vec![x.to_owned()],
            output: vec![y.name().to_owned()],
            ..Default::default()
        });
        Some(y)
    }

    /// Weights of an `LSTM` [directions, 4 · hidden, inputs] out of quantised ones [directions, inputs, 4 · hidden], whose scales and
    /// zero points are one a direction, or one a direction and gate's row.
    fn gates(&mut self, node: &NodeProto, [weights, scale, zero]: [usize; 3]) -> Option<Val> {
        let dims = self.dims(name(node, weights)).filter(|dims| dims.len() == 3)?;
        let along = |shadow: &mut Self, i: usize| {
            let value = shadow.float(name(node, i))?;
            let (own, shape) = match shadow.dims(name(node, i))?.as_slice() {
                [_] => (vec![dims[0], Dim::Fixed(1), Dim::Fixed(1)], [-1, 1, 1]),
                [_, rows] => (vec![dims[0], Dim::Fixed(1), *rows], [0, 1, -1]),
                _ => return None,
            };
            let shape = shadow.builder.ints(&shape);
            Some(shadow.op("Reshape", &[&value, &shape], vec![], Some(own)))
        };
        let mut numbers = self.float(name(node, weights))?;
        if !name(node, zero).is_empty() {
            let zero = along(self, zero)?;
            numbers = self.op("Sub", &[&numbers, &zero], vec![], Some(dims.clone()));
        }
        let scale = along(self, scale)?;
        let numbers = self.op("Mul", &[&numbers, &scale], vec![], Some(dims.clone()));
        let turned = ValueType { elem: ElemType::Float, shape: Some(vec![dims[0], dims[2], dims[1]]) };
        let perm = vec![attr::ints("perm", &[0, 2, 1])];
        Some(self.op("Transpose", &[&numbers], perm, turned.shape))
    }
}
