//! Square weights, which a backward pass reads turned.
//!
//! OpenVINO (2026.4 and before) confuses the two orders of a constant: where a graph has x · W and y · Wᵀ of one square W, it multiplies by
//! the same both times. Of weights that are not square the orders can't be confused. So files for others give the backward pass a constant
//! of its own, already turned.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::{FreshNames, used_names};
use crate::{
    attr,
    proto::{GraphProto, NodeProto, TensorProto},
};

/// The graph with square weights of their own for the nodes that `forward` doesn't have.
pub fn own_squares(graph: &GraphProto, forward: &GraphProto) -> GraphProto {
    let made: HashSet<&str> = forward.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let is_added = |node: &NodeProto| node.output.first().is_none_or(|output| !made.contains(output.as_str()));
    let read = |added: bool| -> HashSet<&str> {
        let nodes = graph.node.iter().filter(|node| is_added(node) == added);
        nodes.flat_map(|node| &node.input).map(String::as_str).collect()
    };
    let (before, behind) = (read(false), read(true));
    let is_shared = |tensor: &&TensorProto| {
        let is_square = matches!(tensor.dims[..], [rows, columns] if rows == columns && rows > 1);
        is_square && before.contains(tensor.name.as_str()) && behind.contains(tensor.name.as_str())
    };
    let mut names = FreshNames::default();
    used_names(graph).iter().for_each(|name| names.take(name));
    let mut turned: HashMap<&str, String> = HashMap::new();
    let mut constants = Vec::new();
    for tensor in graph.initializer.iter().filter(is_shared) {
        if let Some(mut other) = transposed(tensor) {
            other.name = names.give(&format!("grad/{}.turned", tensor.name));
            turned.insert(&tensor.name, other.name.clone());
            constants.push(other);
        }
    }
    if turned.is_empty() {
        return graph.clone();
    }
    let mut back: HashMap<String, String> = HashMap::new();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in &graph.node {
        let mut node = node.clone();
        if is_added(&node) {
            let is_turning = node.op_type == "Transpose" && node.attr_ints("perm").is_none_or(|perm| perm == [1, 0]);
            for input in &mut node.input {
                let Some(other) = turned.get(input.as_str()) else { continue };
                if is_turning {
                    input.clone_from(other);
                    continue;
                }
                // Turned back: what it was, computed of a constant of its own.
                let straight = back.entry(other.clone()).or_insert_with(|| {
                    let name = names.give(&format!("{other}.back"));
                    nodes.push(NodeProto {
                        op_type: "Transpose".into(),
                        name: name.clone(),
                        input: vec![other.clone()],
                        output: vec![name.clone()],
                        attribute: vec![attr::ints("perm", &[1, 0])],
                        ..Default::default()
                    });
                    name
                });
                input.clone_from(straight);
            }
            if is_turning && turned.values().any(|other| *other == node.input[0]) {
                node = NodeProto { op_type: "Identity".into(), attribute: Vec::new(), ..node };
            }
        }
        nodes.push(node);
    }
    let initializer = graph.initializer.iter().cloned().chain(constants).collect();
    GraphProto { node: nodes, initializer, ..graph.clone() }
}

/// A square matrix, its rows as columns; `None` where its bytes are not at hand.
fn transposed(tensor: &TensorProto) -> Option<TensorProto> {
    let side = usize::try_from(*tensor.dims.first()?).ok()?;
    let elem = tensor.elem_type();
    let Some(bytes) = &tensor.raw_data else {
        let values = tensor.to_floats().ok().filter(|values| elem.is_float() && values.len() == side * side)?;
        let turned: Vec<f64> = (0..side * side).map(|at| values[at % side * side + at / side]).collect();
        return Some(TensorProto::floats("", elem, &tensor.dims, &turned));
    };
    let size = elem.size().filter(|size| bytes.len() == size * side * side)?;
    let mut turned = vec![0; bytes.len()];
    for (at, to) in turned.chunks_exact_mut(size).enumerate() {
        to.copy_from_slice(&bytes[(at % side * side + at / side) * size..][..size]);
    }
    Some(TensorProto::raw("", elem, &tensor.dims, Bytes::from(turned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ElemType;

    fn node(op: &str, input: &[&str], output: &str) -> NodeProto {
        let input = input.iter().map(|name| (*name).to_owned()).collect();
        NodeProto { op_type: op.into(), name: output.into(), input, output: vec![output.into()], ..Default::default() }
    }

    #[test]
    fn the_backward_pass_has_square_weights_of_its_own() {
        let square = TensorProto::floats("w", ElemType::Float, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let wide = TensorProto::floats("v", ElemType::Float, &[1, 2], &[5.0, 6.0]);
        let forward = GraphProto {
            node: vec![node("MatMul", &["x", "w"], "y"), node("Mul", &["y", "v"], "z")],
            initializer: vec![square, wide],
            ..Default::default()
        };
        let mut joint = forward.clone();
        joint.node.extend([
            node("Transpose", &["w"], "t"),
            node("MatMul", &["z", "t"], "d"),
            node("MatMul", &["d", "w"], "e"),
            node("Mul", &["e", "v"], "f"),
        ]);
        let own = own_squares(&joint, &forward);
        let inputs = |output: &str| own.node.iter().find(|node| node.output[0] == output).expect("it").input.clone();
        assert_eq!(inputs("y"), ["x", "w"]);
        assert_eq!((inputs("t"), inputs("d")), (vec!["grad/w.turned".to_owned()], vec!["z".into(), "t".into()]));
        assert_eq!(inputs("e"), ["d", "grad/w.turned.back"]);
        assert_eq!(inputs("f"), ["e", "v"]);
        let turned = own.initializer.iter().find(|tensor| tensor.name == "grad/w.turned").expect("it");
        assert_eq!(*turned.to_floats().expect("floats"), [1.0, 3.0, 2.0, 4.0]);
        // Nothing else is touched.
        assert_eq!(own_squares(&forward, &forward).node.len(), 2);
    }
}
