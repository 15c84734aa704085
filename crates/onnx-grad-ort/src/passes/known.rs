//! Puts integers that are known in the place of the nodes that compute them.
//!
//! Exporters that keep sizes open write shapes and bounds as dozens of nodes for every operator that needs one. With a free batch ONNX
//! Runtime can fold few of them, so that it loads, plans and runs them all.

use std::collections::HashSet;

use onnx_grad::{
    Model, Types, graph,
    proto::{NodeProto, TensorProto},
};

use crate::error::Result;

/// The model with each integer value that is the same in every run as a constant, without the nodes that only such values need.
///
/// # Errors
/// The graph reads a value that nothing makes.
pub(super) fn with_known(model: &Model, types: &Types) -> Result<Model> {
    let mut graph = model.graph().clone();
    let given: HashSet<&str> = model.graph().output.iter().map(|output| output.name.as_str()).collect();
    let mut constants = Vec::new();
    graph.node.retain(|node| {
        let known = constants_of(node, types, &given);
        let keep = known.is_none();
        constants.extend(known.into_iter().flatten());
        keep
    });
    graph.initializer.append(&mut constants);
    let inputs: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    Ok(model.with_graph(graph::cut(&graph, &inputs, &outputs)?))
}

/// What a node makes, if all of it is known. What the model gives stays computed.
fn constants_of(node: &NodeProto, types: &Types, given: &HashSet<&str>) -> Option<Vec<TensorProto>> {
    let named = node.output.iter().filter(|name| !name.is_empty());
    named.map(|name| types.constant(name).filter(|_| !given.contains(name.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use onnx_grad::{Builder, Dim, ElemType, ValueType, attr, value_info};

    use super::*;

    #[test]
    fn a_shape_that_is_the_same_in_every_run_is_not_computed() {
        let mut g = Builder::new();
        let x = g.input("x");
        let sides = g.op("Shape", &[&x], vec![attr::int("start", 1)]);
        let side = g.op("ReduceProd", &[&sides], vec![]);
        let batch = g.op("Shape", &[&x], vec![attr::int("end", 1)]);
        let whole = g.concat(&[&batch, &side], 0);
        let y = g.reshape_to(&x, &whole);
        let dims = |dims: &[Option<usize>]| Some(dims.iter().map(|dim| dim.map_or(Dim::Free, Dim::Fixed)).collect());
        let ty = ValueType { elem: ElemType::Float, shape: dims(&[None, Some(3), Some(4)]) };
        let ints = |size| ValueType { elem: ElemType::Int64, shape: dims(&[Some(size)]) };
        let (sides, side, y) = (sides.name().to_owned(), side.name().to_owned(), y.name().to_owned());
        let mut types = Types::default();
        for (name, values) in [(&sides, vec![3, 4]), (&side, vec![12])] {
            types.insert(name, ints(values.len()));
            types.insert_ints(name, values);
        }
        let outputs = vec![value_info(&y, None), value_info(&sides, None)];
        let model = g.into_model(vec![value_info("x", Some(&ty))], outputs).unwrap();

        let known = with_known(&model, &types).unwrap();
        let ops: Vec<&str> = known.graph().node.iter().map(|node| node.op_type.as_str()).collect();
        // What the model gives is still computed, and so is what depends on the batch.
        assert_eq!(ops, ["Shape", "Shape", "Concat", "Reshape"]);
        let constant = known.graph().initializer.iter().find(|tensor| tensor.name == side).unwrap();
        assert_eq!(constant.to_ints().unwrap(), [12]);
        assert_eq!(known.graph().output, model.graph().output);
    }
}
