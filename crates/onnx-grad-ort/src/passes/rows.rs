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
    // They are dequantised once: each run reads a few of their rows.
    let mut once = Vec::new();
    found.retain(|_, product| match quantised.get(product.input[1].as_str()) {
        Some(node) => {
            let known = once.iter().any(|tensor: &TensorProto| tensor.name == node.output[0]);
            let floats = if known { None } else { floats(node, &weights) };
            let fits = known || floats.is_some();
            once.extend(floats);
            fits
        }
        None => true,
    });
    if found.is_empty() {
        return false;
    }
    for (at, product) in found {
        graph.node[at] = product;
    }
    graph.node.retain(|node| !node.output.iter().any(|name| once.iter().any(|tensor| tensor.name == *name)));
    graph.initializer.extend(once);
    // A transposition that nobody reads any more would still be computed when the session is made.
    let read: HashSet<String> = graph.node.iter().flat_map(|node| node.input.iter().cloned()).collect();
    let given: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let wanted = |name: &String| read.contains(name) || given.contains(name);
    graph.node.retain(|node| node.op_type != "Transpose" || node.output.iter().any(wanted));
    true
}

/// What a `DequantizeLinear` of constants makes, under its name; `None`: they are not at hand, or share scales in another way.
fn floats(node: &NodeProto, weights: &HashMap<&str, &TensorProto>) -> Option<TensorProto> {
    let constant = |i: usize| node.input.get(i).filter(|name| !name.is_empty()).map(|name| weights.get(name.as_str()));
    let (x, scale) = (constant(0)??, constant(1)??);
    let numbers = x.to_ints().ok()?;
    let scales = scale.to_floats().ok()?;
    let zeros = match constant(2) {
        Some(zero) => zero?.to_ints().ok()?,
        None => vec![0; scales.len()],
    };
    let &[rows, columns] = x.dims.as_slice() else { return None };
    let (rows, columns) = (usize::try_from(rows).ok()?, usize::try_from(columns).ok()?);
    let axis = node.attr_int("axis").unwrap_or(1);
    let shared = match scale.dims.as_slice() {
        [] | [1] => |_: usize, _: usize| 0,
        &[size] if matches!(axis, 0 | -2) && size == x.dims[0] => |row, _| row,
        &[size] if matches!(axis, 1 | -1) && size == x.dims[1] => |_, column| column,
        _ => return None,
    };
    if node.attr_int("block_size").unwrap_or(0) != 0 || zeros.len() != scales.len() || numbers.len() != rows * columns {
        return None;
    }
    let number = |at: usize| {
        let of = shared(at / columns, at % columns);
        f64::from((numbers[at] - zeros[of]) as f32 * scales[of] as f32)
    };
    let floats: Vec<f64> = (0..numbers.len()).map(number).collect();
    Some(TensorProto::floats(node.output[0].clone(), ElemType::Float, &x.dims, &floats))
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
    fn weights_in_integers_are_dequantised_once() {
        let mut g = Builder::new();
        let seed = g.input("seed");
        let constant = |name: &str, elem: i32, dims: &[i64], bytes: &[u8]| TensorProto {
            name: name.into(),
            data_type: elem,
            dims: dims.to_vec(),
            raw_data: Some(bytes.to_vec().into()),
            ..Default::default()
        };
        // uint8: two scores of three features.
        let weight = g.constant(constant("w", 2, &[2, 3], &[0, 10, 20, 30, 40, 255]));
        let scale = g.floats(ElemType::Float, &[2], &[0.5, 0.25]);
        let zero = g.constant(constant("z", 2, &[2], &[10, 30]));
        let floats = g.op("DequantizeLinear", &[&weight, &scale, &zero], vec![attr::int("axis", 0)]);
        let gradient = g.op("Gemm", &[&seed, &floats], vec![]);
        let output = value_info(gradient.name(), None);
        let model = g.into_model(vec![value_info("seed", None)], vec![output]).expect("a model");
        let mut graph = model.graph().clone();
        assert!(skip_zeros(&mut graph, &["seed"]));
        let [product] = graph.node.as_slice() else { panic!("{:?}", graph.node) };
        let weight = graph.initializer.iter().find(|tensor| tensor.name == product.input[1]).expect("a constant");
        assert_eq!(weight.to_floats().expect("floats"), [-5.0, 0.0, 5.0, 0.0, 2.5, 56.25]);
    }
}
