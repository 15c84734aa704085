//! Products of a few rows with a weight, as this crate's operator `SparseLhsMatMul`.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    ElemType, attr,
    proto::{GraphProto, NodeProto, TensorProto},
};

use crate::kernels::{DOMAIN, elementwise, sparse_lhs_matmul};

/// Replaces the products of the seeds, and of what element by element comes of such products, with a weight: what the backward pass of
/// a classifier's last layers is made of. It has a row an image. Whether there was one.
pub(super) fn skip_zeros(graph: &mut GraphProto, seeds: &[&str]) -> bool {
    let weights: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let is_weight = |name: &str| {
        weights
            .get(name)
            .is_some_and(|tensor| tensor.dims.len() == 2 && ElemType::from_code(tensor.data_type) == ElemType::Float)
    };
    // What swaps the axes of a weight.
    let turned: HashMap<&str, &str> = graph
        .node
        .iter()
        .filter(|node| node.domain.is_empty() && node.op_type == "Transpose" && is_weight(&node.input[0]))
        .filter(|node| node.attr_ints("perm").is_none_or(|perm| perm == [1, 0]))
        .map(|node| (node.output[0].as_str(), node.input[0].as_str()))
        .collect();
    let mut few: HashSet<String> = seeds.iter().map(|seed| (*seed).to_owned()).collect();
    let mut found = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        let element_wise = match &*node.domain {
            "" => matches!(&*node.op_type, "Add" | "Sub" | "Mul" | "Div" | "Identity"),
            DOMAIN => node.op_type == elementwise::NAME,
            _ => false,
        };
        let goes_on = match product(node, &is_weight, &turned) {
            Some(product) if few.contains(&product.input[0]) => {
                found.insert(at, product);
                true
            }
            _ => element_wise && node.input.iter().any(|name| few.contains(name)),
        };
        if goes_on {
            few.extend(node.output.iter().cloned());
        }
    }
    if found.is_empty() {
        return false;
    }
    for (at, product) in found {
        graph.node[at] = product;
    }
    // A transposition that nobody reads any more would still be computed when the session is made.
    let read: HashSet<String> = graph.node.iter().flat_map(|node| node.input.iter().cloned()).collect();
    let given: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let wanted = |name: &String| read.contains(name) || given.contains(name);
    graph.node.retain(|node| node.op_type != "Transpose" || node.output.iter().any(wanted));
    true
}

/// The node as a product of rows with a weight, if it is one. `turned` has the weights whose axes were swapped, by the result.
fn product(node: &NodeProto, is_weight: &impl Fn(&str) -> bool, turned: &HashMap<&str, &str>) -> Option<NodeProto> {
    let [left, right] = node.input.as_slice() else { return None };
    let flag = |name: &str| node.attr_int(name).unwrap_or(0) != 0;
    let fits = match &*node.op_type {
        "Gemm" => !flag("transA") && node.attr_float("alpha").is_none_or(|alpha| alpha == 1.0),
        "MatMul" => true,
        _ => false,
    };
    let (weight, swapped) = turned.get(right.as_str()).map_or((right.as_str(), false), |weight| (*weight, true));
    let lies_turned = swapped != (node.op_type == "Gemm" && flag("transB"));
    (node.domain.is_empty() && fits && is_weight(weight)).then(|| NodeProto {
        op_type: sparse_lhs_matmul::NAME.into(),
        domain: DOMAIN.into(),
        input: vec![left.clone(), weight.to_owned()],
        attribute: vec![attr::int("turned", i64::from(lies_turned))],
        ..node.clone()
    })
}

#[cfg(test)]
mod tests {
    use onnx_grad::{Builder, value_info};

    use super::*;

    /// A classifier's end backwards: two layers with a ReLU between; the weight of the last lies as the product needs it, or turned.
    fn classifier(turned: bool) -> GraphProto {
        let mut g = Builder::new();
        let (seed, mask, features) = (g.input("seed"), g.input("mask"), g.input("features"));
        let weight = |g: &mut Builder, rows: i64, columns: i64| {
            let numbers = vec![0.5; (rows * columns) as usize];
            g.floats(ElemType::Float, &[rows, columns], &numbers)
        };
        let first = weight(&mut g, 3, 4);
        let hidden = if turned {
            let last = weight(&mut g, 4, 5);
            let last = g.transpose(&last, &[1, 0]);
            g.matmul(&seed, &last)
        } else {
            let last = weight(&mut g, 5, 4);
            g.op("Gemm", &[&seed, &last], vec![])
        };
        let masked = g.mul(&hidden, &mask);
        let gradient = g.op("Gemm", &[&masked, &first], vec![attr::int("transB", 1)]);
        // What doesn't come of the seed stays.
        let other = g.op("Gemm", &[&features, &first], vec![attr::int("transB", 1)]);
        let outputs = [&gradient, &other].map(|value| value_info(value.name(), None));
        let inputs = ["seed", "mask", "features"].map(|name| value_info(name, None));
        g.into_model(inputs.to_vec(), outputs.to_vec()).expect("a model").graph().clone()
    }

    #[test]
    fn products_of_the_seed_and_of_what_comes_of_it_skip_zeros() {
        for (turned, lies) in [(false, 0), (true, 1)] {
            let mut graph = classifier(turned);
            assert!(skip_zeros(&mut graph, &["seed"]), "{:?}", graph.node);
            let own: Vec<_> = graph.node.iter().filter(|node| node.domain == DOMAIN).collect();
            assert_eq!(own.iter().map(|node| node.attr_int("turned")).collect::<Vec<_>>(), [Some(lies), Some(1)]);
            let count = |op: &str| graph.node.iter().filter(|node| node.op_type == op).count();
            assert_eq!([count("Gemm"), count("MatMul"), count("Transpose")], [1, 0, 0]);
        }
        assert!(!skip_zeros(&mut classifier(false), &["another"]));
    }
}
