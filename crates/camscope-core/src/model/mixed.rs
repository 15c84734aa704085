//! Rows of numbers that several softmaxes or logistic functions make: their mean or their product, which is a probability for each class, or one beside
//! the other, which are answers to several questions. And rows that are divided by their own sum.

use onnx_grad::{
    Types,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

/// How far weights may be from adding up to 1.
const ROUNDED: f64 = 1e-3;

/// By what an output's numbers are probabilities as they are, though no softmax or logistic function stands last.
pub(crate) fn probabilities(graph: &GraphProto, output: &str) -> Option<&'static str> {
    if is_mean(graph, output) || is_mean_of_parts(graph, output) {
        return Some("the mean of probabilities");
    }
    if is_product(&Index::new(graph), output) {
        return Some("the product of probabilities");
    }
    is_share(graph, output).then_some("the division by its own sum")
}

/// Whether a value is the mean over a batch made inside of the model, of crops of the picture, of what one softmax gives.
fn is_mean_of_parts(graph: &GraphProto, output: &str) -> bool {
    let index = Index::new(graph);
    let Some(node) = maker(&index, output).filter(|node| node.op_type == "ReduceMean") else { return false };
    let constant = || index.constant(node.input.get(1)?)?.to_ints().ok();
    let axes = node.attr_ints("axes").map(<[i64]>::to_vec).or_else(constant);
    let before = node.input.first().and_then(|name| index.producer_node(name));
    axes.as_deref() == Some(&[0])
        && before.is_some_and(|node| node.op_type == "Softmax" && node.attr_int("axis") != Some(0))
}

/// Whether a row, or each of the parts that it is joined of, is a product of probabilities: of a group and of a class in it.
fn is_product(index: &Index<'_>, output: &str) -> bool {
    maker(index, output).is_some_and(|node| match &*node.op_type {
        "Mul" => node.input.len() == 2 && node.input.iter().all(|factor| is_probability(index, factor)),
        "Concat" => node.input.len() > 1 && node.input.iter().all(|part| is_product(index, part)),
        _ => false,
    })
}

/// Whether a value is some of the numbers of a softmax or a logistic function, or a product of such.
fn is_probability(index: &Index<'_>, name: &str) -> bool {
    let Some(node) = index.producer_node(name) else { return false };
    let Some(first) = node.input.first() else { return false };
    match &*node.op_type {
        "Softmax" | "Sigmoid" => true,
        "Mul" => node.input.len() == 2 && node.input.iter().all(|factor| is_probability(index, factor)),
        "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Slice" | "Gather" | "GatherElements"
        | "Split" | "Expand" | "Tile" | "Transpose" => is_probability(index, first),
        _ => false,
    }
}

/// Whether a value is divided by its own sum, as the mean of a Dirichlet distribution is.
fn is_share(graph: &GraphProto, output: &str) -> bool {
    let index = Index::new(graph);
    let Some(node) = maker(&index, output).filter(|node| node.op_type == "Div" && node.input.len() == 2) else {
        return false;
    };
    let (divided, mut divisor) = (node.input[0].as_str(), node.input[1].as_str());
    while let Some(node) = index.producer_node(divisor) {
        match (&*node.op_type, node.input.first()) {
            ("ReduceSum", Some(summed)) => return is_same(&index, summed, divided, 8),
            ("Identity" | "Clip" | "Expand" | "Unsqueeze" | "Reshape", Some(before)) => divisor = before,
            _ => return false,
        }
    }
    false
}

/// Whether two values are the same, or are computed alike, by so many nodes at most.
fn is_same(index: &Index<'_>, one: &str, other: &str, depth: usize) -> bool {
    let node = |name| index.producer_node(name).filter(|_| depth > 0);
    one == other
        || node(one).zip(node(other)).is_some_and(|(one, other)| {
            let pairs = || one.input.iter().zip(&other.input);
            let is_constant = |name: &String| index.constant(name).is_some();
            let alike = |(a, b): (&String, &String)| {
                is_same(index, a, b, depth - 1)
                    || (is_constant(a)
                        && is_constant(b)
                        && index.constant(a).map(|a| a.to_floats().ok())
                            == index.constant(b).map(|b| b.to_floats().ok()))
            };
            one.op_type == other.op_type && one.input.len() == other.input.len() && pairs().all(alike)
        })
}

/// Whether a value is the weighted mean of what several softmaxes, or several logistic functions, give: an ensemble, or flipped pictures.
pub(super) fn is_mean(graph: &GraphProto, output: &str) -> bool {
    let mut found = Weighed { index: Index::new(graph), leaves: Vec::new() };
    let is_sum = found.walk(output, 1.0, false).is_some();
    let total: f64 = found.leaves.iter().map(|(_, weight)| weight).sum();
    let alike = found.leaves.windows(2).all(|pair| pair[0].0 == pair[1].0);
    is_sum && found.leaves.len() > 1 && alike && (total - 1.0).abs() < ROUNDED
}

/// The softmaxes and logistic functions that a sum is made of, each with its weight.
struct Weighed<'a> {
    index: Index<'a>,
    leaves: Vec<(&'a str, f64)>,
}

impl<'a> Weighed<'a> {
    /// Adds those of a value; `None`: it is made of something else. `is_reduced`: a mean or a sum over what is joined follows.
    fn walk(&mut self, value: &str, weight: f64, is_reduced: bool) -> Option<()> {
        let node = self.index.producer_node(value)?;
        let (first, second) = (node.input.first()?, node.input.get(1));
        match &*node.op_type {
            "Softmax" | "Sigmoid" => self.leaves.push((&node.op_type, weight)),
            "Add" | "Sum" => return self.all(node, weight, is_reduced),
            "Mean" => return self.all(node, weight / node.input.len() as f64, is_reduced),
            "Mul" => match (self.number(first), self.number(second?)) {
                (None, Some(factor)) => return self.walk(first, weight * factor, is_reduced),
                (Some(factor), None) => return self.walk(second?, weight * factor, is_reduced),
                _ => return None,
            },
            "Div" => return self.walk(first, weight / self.number(second?)?, is_reduced),
            "ReduceSum" => return self.walk(first, weight, true),
            "ReduceMean" => {
                let parts = self.joined(first)?;
                return self.walk(first, weight / parts as f64, true);
            }
            "Concat" if is_reduced => return self.all(node, weight, is_reduced),
            "Identity" | "Reshape" | "Unsqueeze" | "Squeeze" | "Flatten" | "Cast" => {
                return self.walk(first, weight, is_reduced);
            }
            _ => return None,
        }
        Some(())
    }

    fn all(&mut self, node: &NodeProto, weight: f64, is_reduced: bool) -> Option<()> {
        node.input.iter().try_for_each(|input| self.walk(input, weight, is_reduced))
    }

    /// How many values are joined in one.
    fn joined(&self, value: &str) -> Option<usize> {
        let node = self.index.producer_node(value).filter(|node| node.op_type == "Concat")?;
        Some(node.input.len())
    }

    fn number(&self, name: &str) -> Option<f64> {
        match self.index.constant(name)?.to_floats().ok()?[..] {
            [number] if number > 0.0 => Some(number),
            _ => None,
        }
    }
}

/// Whether an output joins rows, of several numbers some, each behind a softmax or a logistic function of its own, or some behind one.
pub(super) fn is_joined(graph: &GraphProto, types: &Types, output: &str) -> bool {
    let index = Index::new(graph);
    let Some(node) = maker(&index, output).filter(|node| node.op_type == "Concat" && node.input.len() > 1) else {
        return false;
    };
    let is_several = |name: &String| count(types, name).is_none_or(|count| count > 1);
    let ends = |name: &String| {
        maker(&index, name).is_some_and(|node| matches!(&*node.op_type, "Softmax" | "LogSoftmax" | "Sigmoid"))
    };
    node.input.iter().any(is_several) && node.input.iter().any(ends)
}

/// The node that makes a value's numbers, behind those that only move them.
fn maker<'a>(index: &Index<'a>, name: &str) -> Option<&'a NodeProto> {
    let mut node = index.producer_node(name)?;
    while matches!(&*node.op_type, "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Cast") {
        node = index.producer_node(node.input.first()?)?;
    }
    Some(node)
}

/// How many numbers an image has in a value.
pub(super) fn count(types: &Types, name: &str) -> Option<usize> {
    types.get(name)?.shape.as_ref()?.iter().skip(1).map(|dim| dim.fixed()).product()
}

#[cfg(test)]
mod tests {
    use onnx_grad::{Dim, ElemType, ValueType, attr};

    use super::super::written::graph_of;

    use super::*;

    fn graph(text: &str) -> GraphProto {
        graph_of(&[("half", &[0.5]), ("three", &[3.0])], text)
    }

    #[test]
    fn the_mean_of_softmaxes_is_told_from_other_sums() {
        let two = "Softmax a -> p\nSoftmax b -> q\n";
        let is_mean = |rest: &str| is_mean(&graph(&format!("{two}{rest}")), "y");
        assert!(is_mean("Add p q -> s\nMul s half -> y"));
        assert!(is_mean("Mul p half -> r\nMul half q -> t\nAdd r t -> y"));
        assert!(is_mean("Unsqueeze p -> r\nUnsqueeze q -> t\nConcat r t -> s\nReduceMean s -> y"));
        assert!(is_mean("Softmax c -> r\nAdd p q -> s\nAdd s r -> t\nDiv t three -> y"));
        // A sum, one alone, others, and one beside the other.
        assert!(!is_mean("Add p q -> y"));
        assert!(!is_mean("Identity p -> y"));
        assert!(!is_mean("Sigmoid c -> r\nAdd p r -> s\nMul s half -> y"));
        assert!(!is_mean("Gemm c -> r\nAdd p r -> s\nMul s half -> y"));
        assert!(!is_mean("Concat p q -> s\nMul s half -> y"));
    }

    #[test]
    fn products_and_shares_are_probabilities() {
        let two = "Softmax a -> p\nSigmoid b -> q\n";
        let made = |rest: &str| probabilities(&graph(&format!("{two}{rest}")), "y");
        let product = Some("the product of probabilities");
        assert_eq!(made("Mul p q -> y"), product);
        assert_eq!(made("Slice p -> r\nMul r q -> s\nMul p q -> t\nConcat s t -> y"), product);
        assert_eq!(made("Mul p c -> y"), None);
        assert_eq!(made("Concat p q -> y"), None);
        let shares = Some("the division by its own sum");
        assert_eq!(made("Softplus a -> r\nReduceSum r -> s\nDiv r s -> y"), shares);
        assert_eq!(made("Softplus a -> r\nSoftplus a -> t\nReduceSum t -> s\nDiv r s -> y"), shares);
        assert_eq!(made("Softplus a -> r\nSoftplus b -> t\nReduceSum t -> s\nDiv r s -> y"), None);
        assert_eq!(made("ReduceL2 a -> s\nDiv a s -> y"), None);
    }

    #[test]
    fn the_mean_over_crops_is_one_of_probabilities() {
        let mean = |axis: i64| {
            let mut graph = graph("Softmax a -> p\nReduceMean p -> y");
            graph.node[1].attribute.push(attr::ints("axes", &[axis]));
            probabilities(&graph, "y").is_some()
        };
        assert!(mean(0) && !mean(1));
    }

    #[test]
    fn rows_of_their_own_functions_that_are_joined_are_several_answers() {
        let mut types = Types::default();
        for (name, size) in [("p", 5), ("q", 3), ("one", 1), ("other", 1), ("g", 4)] {
            let shape = Some(vec![Dim::Fixed(1), Dim::Fixed(size)]);
            types.insert(name.to_owned(), ValueType { elem: ElemType::Float, shape });
        }
        let is_joined = |text: &str| is_joined(&graph(text), &types, "y");
        assert!(is_joined("Softmax a -> p\nSigmoid b -> q\nConcat p q -> y"));
        assert!(is_joined("Softmax a -> p\nGemm b -> g\nConcat p g -> y"));
        // Classes that were learned one after the other; a number a class; one row.
        assert!(!is_joined("Gemm a -> p\nGemm b -> q\nConcat p q -> y"));
        assert!(!is_joined("Sigmoid a -> one\nSigmoid b -> other\nConcat one other -> y"));
        assert!(!is_joined("Softmax a -> y"));
    }
}
