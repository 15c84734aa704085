//! Products with weights: of quantised numbers, of integers, and of floats that are quantised on the way.

use super::{Shadow, name};
use crate::{
    builder::Val,
    proto::NodeProto,
    types::{Dim, ElemType},
};

impl Shadow<'_> {
    /// `QLinearConv`: x, its scale and zero point; w, its own, one a filter or one for all; y's; a bias in units of both scales.
    pub(super) fn conv(&mut self, node: &NodeProto) -> Option<()> {
        if node.attr_int("channels_last").unwrap_or(0) != 0 {
            return None;
        }
        let x = self.number(name(node, 0), name(node, 1), name(node, 2), None)?;
        let w = self.number(name(node, 3), name(node, 4), name(node, 5), Some(0))?;
        let mut inputs = vec![x, w];
        if !name(node, 8).is_empty() {
            inputs.push(self.bias(name(node, 8), name(node, 1), name(node, 4))?);
        }
        let dims = self.dims(node.output.first()?);
        let y = self.op("Conv", &inputs.iter().collect::<Vec<_>>(), node.attribute.clone(), dims);
        self.quantised(&y, name(node, 6), name(node, 7), node)
    }

    fn bias(&mut self, bias: &str, x_scale: &str, w_scale: &str) -> Option<Val> {
        let dims = self.dims(bias);
        let bias = self.float(bias)?;
        let (x_scale, w_scale) = (self.float(x_scale)?, self.float(w_scale)?);
        let first = self.op("Mul", &[&bias, &x_scale], vec![], dims.clone());
        Some(self.op("Mul", &[&first, &w_scale], vec![], dims))
    }

    /// `QLinearMatMul`: a and b, each with scale and zero point, b's also one a column; then y's.
    pub(super) fn matmul(&mut self, node: &NodeProto) -> Option<()> {
        let a = self.number(name(node, 0), name(node, 1), name(node, 2), None)?;
        let b = self.columns(node, [3, 4, 5])?;
        let dims = self.dims(node.output.first()?);
        let y = self.op("MatMul", &[&a, &b], vec![], dims);
        self.quantised(&y, name(node, 6), name(node, 7), node)
    }

    /// A matrix whose columns may have scales and zero points of their own.
    fn columns(&mut self, node: &NodeProto, [b, scale, zero]: [usize; 3]) -> Option<Val> {
        let rank = self.dims(name(node, b))?.len();
        self.number(name(node, b), name(node, scale), name(node, zero), rank.checked_sub(1))
    }

    /// `ConvInteger`: the sums as they are.
    pub(super) fn conv_integer(&mut self, node: &NodeProto) -> Option<()> {
        let x = self.difference(name(node, 0), name(node, 2), None)?;
        let w = self.difference(name(node, 1), name(node, 3), Some(0))?;
        let y = node.output.first()?;
        let dims = self.dims(y);
        let sum = self.op("Conv", &[&x, &w], node.attribute.clone(), dims);
        self.straight(&sum, y, node);
        Some(())
    }

    /// `MatMulInteger`: the sums as they are.
    pub(super) fn matmul_integer(&mut self, node: &NodeProto) -> Option<()> {
        let a = self.difference(name(node, 0), name(node, 2), None)?;
        let rank = self.dims(name(node, 1))?.len();
        let b = self.difference(name(node, 1), name(node, 3), rank.checked_sub(1))?;
        let y = node.output.first()?;
        let dims = self.dims(y);
        let sum = self.op("MatMul", &[&a, &b], vec![], dims);
        self.straight(&sum, y, node);
        Some(())
    }

    /// `MatMulIntegerToFloat`: a, b, their scales, their zero points, a bias in floats.
    pub(super) fn matmul_to_float(&mut self, node: &NodeProto) -> Option<()> {
        let a = self.number(name(node, 0), name(node, 2), name(node, 4), None)?;
        let b = self.columns(node, [1, 3, 5])?;
        self.product(node, &a, &b, name(node, 6))
    }

    /// `DynamicQuantizeMatMul`: a is quantised over its own range, so nothing of it saturates; b as ever.
    pub(super) fn dynamic_matmul(&mut self, node: &NodeProto) -> Option<()> {
        let b = self.columns(node, [1, 2, 3])?;
        let a = Val::new(name(node, 0));
        let through = self.builder.fresh("quantised");
        self.nodes.push(NodeProto {
            op_type: super::STRAIGHT.into(),
            domain: super::OWN.into(),
            name: node.name.clone(),
            input: vec![a.name().to_owned()],
            output: vec![through.clone()],
            ..Default::default()
        });
        self.infos.push(crate::types::value_info(&through, self.types.get(a.name())));
        self.product(node, &Val::new(&through), &b, name(node, 4))
    }

    /// What the node makes is a · b, with a bias where there is one.
    pub(super) fn product(&mut self, node: &NodeProto, a: &Val, b: &Val, bias: &str) -> Option<()> {
        if bias.is_empty() {
            return self.is("MatMul", &[a, b], vec![], node);
        }
        let product = self.builder.fresh("product");
        let dims = self.dims(node.output.first()?);
        let ty = crate::types::ValueType { elem: ElemType::Float, shape: dims };
        self.infos.push(crate::types::value_info(&product, Some(&ty)));
        self.nodes.push(NodeProto {
            op_type: "MatMul".into(),
            name: format!("{}.product", node.name),
            input: vec![a.name().to_owned(), b.name().to_owned()],
            output: vec![product.clone()],
            ..Default::default()
        });
        self.is("Add", &[&Val::new(&product), &Val::new(bias)], vec![], node)
    }

    /// `QGemm`: a and b, each with scale and zero point; c in units of both scales; y's, or floats without them.
    pub(super) fn gemm(&mut self, node: &NodeProto) -> Option<()> {
        let a = self.number(name(node, 0), name(node, 1), name(node, 2), None)?;
        let transposed = node.attr_int("transB").unwrap_or(0) != 0;
        let b = self.number(name(node, 3), name(node, 4), name(node, 5), Some(usize::from(!transposed)))?;
        let mut inputs = vec![a, b];
        if !name(node, 6).is_empty() {
            inputs.push(self.bias(name(node, 6), name(node, 1), name(node, 4))?);
        }
        let inputs: Vec<&Val> = inputs.iter().collect();
        // C is in units of alpha too: what is summed in integers is scaled as one.
        let alpha = node.attr_float("alpha").unwrap_or(1.0);
        let mut attributes = node.attribute.clone();
        if inputs.len() > 2 && alpha != 1.0 {
            attributes.push(crate::attr::float("beta", alpha));
        }
        if name(node, 7).is_empty() {
            return self.is("Gemm", &inputs, attributes, node);
        }
        let dims: Option<Vec<Dim>> = self.dims(node.output.first()?);
        let y = self.op("Gemm", &inputs, attributes, dims);
        self.quantised(&y, name(node, 7), name(node, 8), node)
    }
}
