//! A softmax along an axis that is not the last runs as an operator of this crate's own: see [`crate::kernels::softmax`].

use std::collections::HashMap;

use onnx_grad::{attr, proto::GraphProto};

use super::shape::Shape;
use crate::kernels::{DOMAIN, softmax};

/// Replaces the nodes of a graph; `shapes` are those of its values as far as they are known, `is_float` tells those of float32.
pub(super) fn along_axes(graph: &mut GraphProto, shapes: &HashMap<String, Shape>, is_float: impl Fn(&str) -> bool) {
    for node in &mut graph.node {
        let ([input], [output]) = (node.input.as_slice(), node.output.as_slice()) else { continue };
        let is_softmax = node.domain.is_empty() && node.op_type == "Softmax" && is_float(input) && is_float(output);
        let Some(rank) = shapes.get(input).filter(|_| is_softmax).map(|shape| shape.len() as i64) else { continue };
        let axis = node.attr_int("axis").unwrap_or(-1);
        let axis = if axis < 0 { axis + rank } else { axis };
        if (0..rank - 1).contains(&axis) {
            node.domain = DOMAIN.into();
            node.op_type = softmax::NAME.into();
            node.attribute = vec![attr::int("axis", axis)];
        }
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad::proto::NodeProto;

    use super::*;

    #[test]
    fn those_along_the_last_axis_and_of_other_types_stay() {
        let softmax = |input: &str, axis: Option<i64>| NodeProto {
            op_type: "Softmax".into(),
            input: vec![input.into()],
            output: vec![format!("{input}.out")],
            attribute: axis.map(|axis| attr::int("axis", axis)).into_iter().collect(),
            ..Default::default()
        };
        let replaced = |input: &str, axis: Option<i64>| {
            let mut graph = GraphProto { node: vec![softmax(input, axis)], ..Default::default() };
            let shapes = ["x", "half"].map(|name| (name.to_owned(), vec![1, 16, 4, 8])).into();
            along_axes(&mut graph, &shapes, |name| name.starts_with('x') || name == "unknown");
            let node = &graph.node[0];
            (node.domain == DOMAIN).then(|| node.attr_int("axis").unwrap())
        };
        assert_eq!(replaced("x", Some(1)), Some(1));
        assert_eq!(replaced("x", Some(-3)), Some(1));
        assert_eq!(replaced("x", Some(0)), Some(0));
        for (input, axis) in [("x", None), ("x", Some(3)), ("x", Some(-1)), ("half", Some(1)), ("unknown", Some(1))] {
            assert_eq!(replaced(input, axis), None, "{input} {axis:?}");
        }
    }
}
