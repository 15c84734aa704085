//! Numbers of a row that no scores are made of: complements of probabilities, distances, decisions, numbers that are kept above zero.

use onnx_grad::{
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use super::network::passed_on;

/// How far back the squares of a distance lie from it.
const DEPTH: usize = 12;

/// What makes an output's numbers, where its largest number is none of a likeliest class.
pub(super) fn made_by(graph: &GraphProto, output: &str) -> Option<String> {
    let index = Index::new(graph);
    let (value, node) = last(&index, output)?;
    if let Some(negated) = negated(&index, node) {
        let (_, inner) = last(&index, negated)?;
        return matches!(&*inner.op_type, "Softmax" | "Sigmoid").then(|| {
            let what = if inner.op_type == "Softmax" { "softmax" } else { "logistic function" };
            format!("`{output}` is a {what} turned around, 1 − p or −p: its largest number is the least likely class's")
        });
    }
    if is_distance(&index, value) {
        return Some(format!("`{output}` holds distances: its largest number is the farthest one's"));
    }
    let is_made_by = |name: &String, op: &str| index.producer_node(name).is_some_and(|node| node.op_type == op);
    let op = match &*node.op_type {
        // As PyTorch's other exporter spells it: beyond a threshold the number itself.
        "Where" if node.input.iter().any(|name| is_made_by(name, "Softplus")) => "Softplus",
        op => op,
    };
    let is_threshold = match op {
        "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Not" | "Round" | "Floor" | "Ceil" => true,
        "Where" => node.input.iter().skip(1).all(|name| index.constant(name).is_some()),
        _ => false,
    };
    if is_threshold {
        return Some(format!("`{output}` ends in a threshold ({op}): decisions without a slope, codes maybe"));
    }
    matches!(op, "Softplus" | "Exp" | "Elu").then(|| {
        format!(
            "`{output}` is kept above zero by a function of its own ({op}): evidence or a parameter maybe, whose shares a softmax does not give"
        )
    })
}

/// Whether the numbers are distances, negated: the nearest scores most, as prototypical networks have it (Snell et al. 2017).
pub(super) fn is_nearness(graph: &GraphProto, output: &str) -> bool {
    let index = Index::new(graph);
    let found = last(&index, output);
    found.and_then(|(_, node)| negated(&index, node)).is_some_and(|before| is_distance(&index, before))
}

/// The last value, with its node, that is more than another one moved, scaled or shifted.
fn last<'a>(index: &Index<'a>, output: &'a str) -> Option<(&'a str, &'a NodeProto)> {
    let mut value = output;
    loop {
        let node = index.producer_node(value)?;
        match passed_on(index, node) {
            Some(before) => value = before,
            None => return Some((value, node)),
        }
    }
}

/// What a node turns around: −x, c − x, or x by a negative number.
fn negated<'a>(index: &Index<'_>, node: &'a NodeProto) -> Option<&'a str> {
    let number = |name: Option<&String>| match index.constant(name?)?.to_floats().ok()?[..] {
        [number] => Some(number),
        _ => None,
    };
    let (first, second) = (node.input.first()?, node.input.get(1));
    match &*node.op_type {
        "Neg" => Some(first),
        "Sub" => number(Some(first)).and(second.map(String::as_str)),
        "Mul" | "Div" if number(second).is_some_and(|factor| factor < 0.0) => Some(first),
        "Mul" if number(Some(first)).is_some_and(|factor| factor < 0.0) => second.map(String::as_str),
        _ => None,
    }
}

/// Whether a value is a distance, or its square: a sum of squares, or of magnitudes, of differences of which one side is learned.
fn is_distance(index: &Index<'_>, name: &str) -> bool {
    let mut value = name;
    for _ in 0..DEPTH {
        let Some(node) = index.producer_node(value) else { return false };
        let Some(first) = node.input.first() else { return false };
        match &*node.op_type {
            "Sqrt" | "Clip" | "Max" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Relu" => value = first,
            "ReduceL2" | "ReduceL1" | "ReduceSumSquare" => return is_difference(index, first),
            "ReduceSum" | "ReduceMean" => return is_size(index, first),
            "Add" | "Sub" => return is_expanded(index, value),
            _ => return false,
        }
    }
    false
}

/// Whether a value is a square or a magnitude of a difference.
fn is_size(index: &Index<'_>, name: &str) -> bool {
    let Some(node) = index.producer_node(name) else { return false };
    (node.op_type == "Abs" || is_square(node)) && node.input.first().is_some_and(|first| is_difference(index, first))
}

/// Whether a node squares a value: a power, or the value times itself.
fn is_square(node: &NodeProto) -> bool {
    node.op_type == "Pow" || (node.op_type == "Mul" && matches!(&node.input[..], [one, other] if one == other))
}

/// Whether a value is a difference, one side of which is the same for every picture.
fn is_difference(index: &Index<'_>, name: &str) -> bool {
    let Some(node) = index.producer_node(name) else { return false };
    match &*node.op_type {
        "Sub" => node.input.iter().any(|side| is_constant(index, side)),
        "Add" => node.input.iter().any(|side| is_constant(index, side)) && node.input.len() == 2,
        "Abs" => node.input.first().is_some_and(|first| is_difference(index, first)),
        _ => false,
    }
}

/// Whether a value is made of constants alone.
fn is_constant(index: &Index<'_>, name: &str) -> bool {
    let moves = |node: &NodeProto| matches!(&*node.op_type, "Unsqueeze" | "Reshape" | "Identity" | "Expand" | "Cast");
    index.constant(name).is_some()
        || index
            .producer_node(name)
            .filter(|node| moves(node))
            .and_then(|node| node.input.first())
            .is_some_and(|first| is_constant(index, first))
}

/// Whether a value is |x|² − 2 x·w + |w|².
fn is_expanded(index: &Index<'_>, name: &str) -> bool {
    let (mut open, mut has_square, mut has_product) = (vec![(name, 1.0)], false, false);
    for _ in 0..DEPTH {
        let Some((value, sign)) = open.pop() else { break };
        let Some(node) = index.producer_node(value) else { continue };
        let number = |name: &String| match index.constant(name)?.to_floats().ok()?[..] {
            [number] => Some(number),
            _ => None,
        };
        match (&*node.op_type, &node.input[..]) {
            ("Add", [one, other]) => open.extend([(&**one, sign), (&**other, sign)]),
            ("Sub", [one, other]) => open.extend([(&**one, sign), (&**other, -sign)]),
            ("Mul", [one, other]) => match (number(one), number(other)) {
                (Some(factor), None) => open.push((other, sign * factor)),
                (None, Some(factor)) => open.push((one, sign * factor)),
                _ => {}
            },
            ("MatMul" | "Gemm", [one, ..]) => {
                // The factor may stand before the product.
                let before = index.producer_node(one).filter(|node| node.op_type == "Mul");
                let factor = before.and_then(|node| node.input.iter().find_map(number)).unwrap_or(1.0);
                has_product |= sign * factor < 0.0;
            }
            ("ReduceSum", [one, ..]) => {
                has_square |= sign > 0.0 && index.producer_node(one).is_some_and(is_square);
            }
            ("ReduceSumSquare", _) => has_square |= sign > 0.0,
            _ => {}
        }
    }
    has_square && has_product
}

#[cfg(test)]
mod tests {
    use super::super::written::graph_of;
    use super::*;

    fn graph(text: &str) -> GraphProto {
        graph_of(&[("one", &[1.0]), ("two", &[2.0]), ("less", &[-1.0]), ("rows", &[1.0, 2.0])], text)
    }

    fn says(text: &str) -> &'static str {
        let said = made_by(&graph(text), "y").unwrap_or_default();
        let known = ["turned around", "distances", "threshold", "above zero"];
        known.into_iter().find(|word| said.contains(word)).unwrap_or("nothing")
    }

    #[test]
    fn complements_of_probabilities_are_no_scores() {
        for turned in ["Sub one p -> y", "Neg p -> y", "Mul p less -> y", "Sub one p -> q\nMul q two -> y"] {
            assert_eq!(says(&format!("Softmax x -> p\n{turned}")), "turned around", "{turned}");
            assert_eq!(says(&format!("Gemm x -> p\n{turned}")), "nothing", "{turned}");
        }
        assert_eq!(says("Softmax x -> p\nSub p one -> y"), "nothing");
    }

    #[test]
    fn distances_are_no_scores_and_negated_ones_are() {
        let squares = "Sub x rows -> d\nPow d two -> s\nReduceSum s -> t\n";
        let expanded =
            "Mul x x -> a\nReduceSum a -> b\nMatMul x rows -> c\nMul c two -> d\nSub b d -> e\nAdd e rows -> t\n";
        for known in [squares, expanded, "Sub x rows -> d\nReduceL2 d -> t\n"] {
            assert_eq!(says(&format!("{known}Sqrt t -> y")), "distances", "{known}");
            let nearness = |rest: &str| is_nearness(&graph(&format!("{known}{rest}")), "y");
            assert!(nearness("Neg t -> y") && nearness("Sqrt t -> u\nMul u less -> y"), "{known}");
            assert!(!nearness("Sqrt t -> y"), "{known}");
        }
        // A length, and what is no difference from anything learned.
        assert_eq!(says("ReduceL2 x -> y"), "nothing");
        assert_eq!(says("Sub x z -> d\nReduceL2 d -> y"), "nothing");
    }

    #[test]
    fn decisions_and_evidence_are_no_scores() {
        assert_eq!(says("Greater x one -> p\nCast p -> y"), "threshold");
        assert_eq!(says("Sigmoid x -> p\nRound p -> y"), "threshold");
        assert_eq!(says("Softplus x -> p\nAdd p one -> y"), "above zero");
        assert_eq!(says("Softplus x -> p\nGreater x two -> g\nWhere g x p -> y"), "above zero");
        assert_eq!(says("Greater x one -> p\nWhere p one two -> y"), "threshold");
        assert_eq!(says("LogSoftmax x -> p\nExp p -> y"), "nothing");
        assert_eq!(says("Where c x two -> y"), "nothing");
    }

    #[test]
    fn nodes_that_lack_inputs_say_nothing() {
        for node in ["Mul", "Mul x", "Abs", "Pow", "Sub", "Neg"] {
            for known in ["ReduceSum t -> y", "ReduceL2 t -> y", "Neg t -> y", "MatMul t z -> u\nSub t u -> y"] {
                assert_eq!(says(&format!("{node} -> t\n{known}")), "nothing", "{node}: {known}");
            }
        }
    }
}
