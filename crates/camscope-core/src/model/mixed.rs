//! Rows of numbers that several softmaxes or logistic functions make: their mean, which is a probability for each class, or one beside the other,
//! which are answers to several questions.

use onnx_grad::{
    Types,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

/// How far weights may be from adding up to 1.
const ROUNDED: f64 = 1e-3;

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
    use onnx_grad::{Dim, ElemType, ValueType, attr, proto::TensorProto};

    use super::*;

    /// `OP input… -> output`, a line each; `half` and `three` are constants.
    fn graph(text: &str) -> GraphProto {
        let mut graph = GraphProto::default();
        for (name, number) in [("half", 0.5), ("three", 3.0)] {
            graph.initializer.push(TensorProto::floats(name.to_owned(), ElemType::Float, &[1], &[number]));
        }
        graph.node = text
            .lines()
            .map(|line| {
                let (given, output) = line.trim().split_once(" -> ").unwrap();
                let mut words = given.split(' ').map(str::to_owned);
                let op_type = words.next().unwrap();
                let attribute = vec![attr::int("axis", 1)];
                NodeProto {
                    op_type,
                    input: words.collect(),
                    output: vec![output.into()],
                    attribute,
                    ..Default::default()
                }
            })
            .collect();
        graph
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
