//! Max-poolings in a joint graph: their gradient in one node.

use std::collections::HashMap;

use onnx_grad::{
    Builder, ElemType, Types, Val, attr,
    graph::Index,
    proto::{GraphProto, NodeProto, TensorProto},
    rules::max_pool_gradient,
};

use crate::kernels::{DOMAIN, max_pool_grad};

/// Puts [`max_pool_grad`] in the place of what `onnx_grad` emits for max-poolings over images, two steps for every place of a window
/// along each axis. What looks otherwise stays.
pub(super) fn in_one_node(graph: &mut GraphProto, types: &Types) {
    let mut made: HashMap<String, NodeProto> = HashMap::new();
    let index = Index::new(graph);
    for pool in &graph.node {
        made.extend(replacement(&index, pool, types).map(|gradient| (gradient.output[0].clone(), gradient)));
    }
    if made.is_empty() {
        return;
    }
    for node in &mut graph.node {
        if let Some(gradient) = node.output.first().and_then(|name| made.remove(name)) {
            *node = gradient;
        }
    }
    // What made the gradients, and what it was made of, is read by nobody now.
    super::drop_unread(graph);
}

fn is(node: &NodeProto, op: &str) -> bool {
    node.domain.is_empty() && node.op_type == op
}

fn replacement(index: &Index<'_>, pool: &NodeProto, types: &Types) -> Option<NodeProto> {
    if !is(pool, "MaxPool") || types.get(&pool.output[0])?.elem != ElemType::Float {
        return None;
    }
    let pair = |name: &str, default: i64| pool.attr_ints(name).map_or(Some([default; 2]), |list| list.try_into().ok());
    let kernel: [i64; 2] = pool.attr_ints("kernel_shape")?.try_into().ok()?;
    let (strides, dilations) = (pair("strides", 1)?, pair("dilations", 1)?);
    let pads: [i64; 4] = pool.attr_ints("pads").map_or(Some([0; 4]), |list| list.try_into().ok())?;
    if dilations != [1; 2] || !matches!(pool.attr_str("auto_pad").unwrap_or("NOTSET"), "" | "NOTSET") {
        return None;
    }
    let sizes = |name: &str| {
        let dims = types.get(name)?.shape.as_ref()?.get(2..)?;
        dims.iter().map(|dim| dim.fixed()).collect::<Option<Vec<usize>>>()
    };
    let (sizes, outs) = (sizes(pool.input.first()?)?, sizes(&pool.output[0])?);
    let find = |gy: &str| {
        let mut g = Builder::avoiding([gy]);
        g.set_scope("form");
        let form = max_pool_gradient(&mut g, pool, &sizes, &outs, ElemType::Float, &Val::new(gy)).ok()?;
        found(index, &g, form.name())
    };
    let (gy, gradient) = cotangents(index, &pool.output[0]).find_map(|gy| Some((gy, find(gy)?)))?;
    let ints = |name: &str, values: [i64; 2]| attr::ints(name, &values);
    Some(NodeProto {
        op_type: max_pool_grad::NAME.into(),
        domain: DOMAIN.into(),
        name: gradient.clone(),
        input: vec![pool.input[0].clone(), pool.output[0].clone(), gy.to_owned()],
        output: vec![gradient],
        attribute: vec![ints("kernel", kernel), ints("strides", strides), ints("begins", [pads[0], pads[1]])],
        ..Default::default()
    })
}

/// What might be the cotangent of a pooling's output: what is multiplied by a mask of where the output was met.
fn cotangents<'a>(index: &'a Index<'_>, output: &'a str) -> impl Iterator<Item = &'a str> {
    let met = index.readers(output).filter(|node| is(node, "Equal"));
    let masks = met.flat_map(|node| index.readers(&node.output[0])).filter(|node| is(node, "Cast"));
    let given = masks.flat_map(|mask| {
        let name = mask.output[0].as_str();
        index.readers(name).filter(|node| is(node, "Mul")).map(move |node| (node, name))
    });
    given.flat_map(|(node, mask)| node.input.iter().map(String::as_str).filter(move |input| *input != mask))
}

/// What a graph calls the value that was built as `wanted` from values of the graph, if it has the same nodes.
fn found(index: &Index<'_>, built: &Builder, wanted: &str) -> Option<String> {
    let (nodes, constants) = (built.nodes(), built.constants());
    let constants: HashMap<&str, &TensorProto> =
        constants.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut names: HashMap<&str, &str> = HashMap::new();
    for node in nodes {
        let name = |input: &'_ String| names.get(input.as_str()).copied().map_or_else(|| input.clone(), str::to_owned);
        let same_input = |(own, there): (&String, &String)| match constants.get(own.as_str()) {
            Some(constant) => index.initializer(there).is_some_and(|tensor| same(constant, tensor)),
            None => name(own) == *there,
        };
        let first = node.input.iter().find(|input| !constants.contains_key(input.as_str()))?;
        let first = name(first);
        let twin = index.readers(&first).find(|there| {
            is(there, &node.op_type)
                && there.attribute == node.attribute
                && there.output.len() == 1
                && there.input.len() == node.input.len()
                && node.input.iter().zip(&there.input).all(same_input)
        })?;
        names.insert(&node.output[0], &twin.output[0]);
    }
    names.get(wanted).map(|name| (*name).to_owned())
}

/// Whether two constants are the same but for their names.
fn same(a: &TensorProto, b: &TensorProto) -> bool {
    a.data_type == b.data_type && a.dims == b.dims && TensorProto { name: b.name.clone(), ..a.clone() } == *b
}

#[cfg(test)]
mod tests {
    use onnx_grad::{Dim, Model, Request, ValueType, differentiate, graph::splice, value_info};

    use super::*;

    /// A pooling between two functions, and back.
    fn joint(attributes: &[(&str, &[i64])], out: usize) -> GraphProto {
        let picture = |side| ValueType {
            elem: ElemType::Float,
            shape: Some(vec![Dim::Free, Dim::Fixed(3), Dim::Fixed(side), Dim::Fixed(side)]),
        };
        let mut g = Builder::new();
        let x = g.input("x");
        let inner = g.unary("Exp", &x);
        let pooled = g.op("MaxPool", &[&inner], attributes.iter().map(|(name, list)| attr::ints(name, list)).collect());
        let y = g.unary("Exp", &pooled);
        let mut types = Types::default();
        for (value, side) in [(&x, 9), (&inner, 9), (&pooled, out), (&y, out)] {
            types.insert(value.name(), picture(side));
        }
        let y = y.name().to_owned();
        let model: Model =
            g.into_model(vec![value_info("x", Some(&picture(9)))], vec![value_info(&y, Some(&picture(out)))]).unwrap();
        let gradient = differentiate(&model, &Request { outputs: &[&y], wrt: &["x"], types: &types }).unwrap();
        let mut joint = splice(gradient.forward.graph(), gradient.backward.graph());
        in_one_node(&mut joint, &types);
        joint
    }

    #[test]
    fn a_pooling_of_pictures_goes_back_in_one_node() {
        type Case<'a> = (&'a [(&'a str, &'a [i64])], usize);
        let cases: [Case<'_>; 3] = [
            (&[("kernel_shape", &[3, 3]), ("strides", &[2, 2]), ("pads", &[1, 1, 1, 1])], 5),
            (&[("kernel_shape", &[2, 2]), ("strides", &[2, 2])], 4),
            (&[("kernel_shape", &[3, 3]), ("pads", &[1, 1, 1, 1])], 9),
        ];
        for (attributes, out) in cases {
            let joint = joint(attributes, out);
            let ops: Vec<&str> = joint.node.iter().map(|node| &*node.op_type).collect();
            assert_eq!(ops, ["Exp", "MaxPool", "Exp", "Mul", "MaxPoolGrad", "Mul"], "{attributes:?}");
            let own = &joint.node[4];
            let (pool, seed) = (&joint.node[1], &joint.node[3].output[0]);
            assert_eq!(own.input, [&pool.input[0], &pool.output[0], seed].map(String::as_str));
        }
    }

    #[test]
    fn a_pooling_that_the_kernel_does_not_know_stays_as_it_is() {
        let joint = joint(&[("kernel_shape", &[2, 2]), ("dilations", &[2, 2])], 7);
        assert!(joint.node.iter().all(|node| node.domain.is_empty()));
    }
}
