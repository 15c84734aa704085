//! Products of a few rows with a weight, as this crate's operator `SparseLhsMatMul`.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    ElemType, attr,
    proto::{GraphProto, NodeProto, TensorProto},
};

use crate::kernels::{
    DOMAIN, elementwise,
    sparse_lhs_matmul::{self, Byte},
};

/// Replaces the products of the seeds, and of what element by element comes of such products, with a weight: what the backward pass of
/// a classifier's last layers is made of. It has a row an image. Whether there was one.
pub(super) fn skip_zeros(graph: &mut GraphProto, seeds: &[&str]) -> bool {
    let weights: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    // Weights of a quantised model, by the floats they stand for.
    let quantised: HashMap<&str, &NodeProto> = graph
        .node
        .iter()
        .filter(|node| node.domain.is_empty() && node.op_type == "DequantizeLinear")
        .filter(|node| weights.get(node.input[0].as_str()).is_some_and(|tensor| tensor.dims.len() == 2))
        .map(|node| (node.output[0].as_str(), node))
        .collect();
    let is_weight = |name: &str| {
        let is_float =
            |tensor: &&TensorProto| tensor.dims.len() == 2 && ElemType::from_code(tensor.data_type) == ElemType::Float;
        weights.get(name).is_some_and(is_float) || quantised.contains_key(name)
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
    // Weights in integers stay so: each run reads a few of their rows.
    let mut zeros = Vec::new();
    found.retain(|_, product| match quantised.get(product.input[1].as_str()) {
        Some(node) => of_integers(product, node, &weights, &mut zeros).is_some(),
        None => true,
    });
    if found.is_empty() {
        return false;
    }
    for (at, product) in found {
        graph.node[at] = product;
    }
    graph.initializer.extend(zeros);
    // A transposition or a dequantised weight that nobody reads any more would still be computed when the session is made.
    let read: HashSet<String> = graph.node.iter().flat_map(|node| node.input.iter().cloned()).collect();
    let given: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let wanted = |name: &String| read.contains(name) || given.contains(name);
    let of_weights = |node: &NodeProto| matches!(&*node.op_type, "Transpose" | "DequantizeLinear");
    graph.node.retain(|node| !of_weights(node) || node.output.iter().any(wanted));
    true
}

/// Makes a product with what `node`, a `DequantizeLinear`, gives read the integers themselves; `None`: they are not at hand, or not of a
/// byte, or share scales in another way. `zeros` gets the zero points that the node does without.
fn of_integers(
    product: &mut NodeProto,
    node: &NodeProto,
    weights: &HashMap<&str, &TensorProto>,
    zeros: &mut Vec<TensorProto>,
) -> Option<()> {
    let named = |i: usize| node.input.get(i).filter(|name| !name.is_empty());
    let constant = |i: usize| weights.get(named(i)?.as_str());
    let (numbers, scale) = (constant(0)?, constant(1)?);
    let elem = numbers.elem_type();
    let name = match elem {
        ElemType::Int8 => i8::NAME,
        ElemType::Uint8 => u8::NAME,
        _ => return None,
    };
    let axis = node.attr_int("axis").unwrap_or(1);
    let axis = if axis < 0 { axis + 2 } else { axis };
    let fits = match *scale.dims.as_slice() {
        [] | [1] => true,
        [size] => matches!(axis, 0 | 1) && numbers.dims.get(axis as usize) == Some(&size),
        _ => false,
    };
    if !fits || scale.elem_type() != ElemType::Float || node.attr_int("block_size").unwrap_or(0) != 0 {
        return None;
    }
    let zero = match named(2) {
        Some(name) => {
            let zero = weights.get(name.as_str())?;
            (zero.elem_type() == elem && zero.len().ok()? == scale.len().ok()?).then(|| name.clone())?
        }
        None => {
            let name = format!("{}_zero_point", node.output[0]);
            if !zeros.iter().any(|tensor| tensor.name == name) {
                let bytes = vec![0; scale.len().ok()?];
                zeros.push(TensorProto::raw(name.clone(), elem, &scale.dims, bytes.into()));
            }
            name
        }
    };
    product.op_type = name.into();
    product.attribute.push(attr::int("axis", axis));
    product.input.truncate(1);
    product.input.extend([node.input[0].clone(), node.input[1].clone(), zero]);
    Some(())
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

    #[test]
    fn weights_in_integers_stay_so() {
        let mut g = Builder::new();
        let seed = g.input("seed");
        // uint8: two scores of three features.
        let weight = g.constant(TensorProto::raw("w", ElemType::Uint8, &[2, 3], vec![0, 10, 20, 30, 40, 255].into()));
        let scale = g.floats(ElemType::Float, &[2], &[0.5, 0.25]);
        let floats = g.op("DequantizeLinear", &[&weight, &scale], vec![attr::int("axis", -2)]);
        let gradient = g.op("Gemm", &[&seed, &floats], vec![]);
        let output = value_info(gradient.name(), None);
        let model = g.into_model(vec![value_info("seed", None)], vec![output]).expect("a model");
        let mut graph = model.graph().clone();
        assert!(skip_zeros(&mut graph, &["seed"]));
        let [product] = graph.node.as_slice() else { panic!("{:?}", graph.node) };
        assert_eq!((product.op_type.as_str(), product.attr_int("axis")), ("SparseLhsMatMulUint8", Some(0)));
        assert_eq!(product.input[..3], ["seed", weight.name(), scale.name()]);
        let zero = graph.initializer.iter().find(|tensor| tensor.name == product.input[3]).expect("a constant");
        assert_eq!(zero.to_ints().expect("integers"), [0, 0]);
    }
}
