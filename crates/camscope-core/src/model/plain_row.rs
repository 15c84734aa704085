//! A row of plain numbers an image: what says that they are scores of classes, and what speaks against it.

use onnx_grad::{
    Types,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

use super::{
    features::has_word,
    network::{Classes, Head, Network},
};

/// What is known of a row of numbers that no softmax follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// They are scores of classes; by what that is known.
    Classes(String),
    /// Nothing says what they are.
    Unsaid,
}

/// Words in names that say that numbers are scores of classes.
const WORDS: &[&str] = &[
    "logits",
    "logit",
    "score",
    "scores",
    "prob",
    "probs",
    "probability",
    "probabilities",
    "softmax",
    "class",
    "classes",
    "cls",
    "label",
    "labels",
    "category",
    "categories",
];

/// Words in the names of weights and nodes that say it.
const WEIGHTS: &[&str] = &["classifier", "classification", "class", "classes", "cls", "logits"];

/// How many classes collections have that many networks are trained on.
const COLLECTIONS: &[(usize, &str)] = &[
    (37, "Oxford-IIIT Pet"),
    (43, "GTSRB"),
    (100, "CIFAR-100"),
    (101, "Food-101"),
    (102, "Flowers-102"),
    (120, "Stanford Dogs"),
    (200, "CUB-200"),
    (365, "Places365"),
    (400, "Kinetics-400"),
    (1000, "ImageNet"),
    (1001, "ImageNet with a background"),
    (8142, "iNaturalist 2018"),
    (10450, "ImageNet-21k-P"),
    (11221, "ImageNet-21k-P"),
    (11821, "ImageNet-12k"),
    (21841, "ImageNet-21k"),
    (21843, "ImageNet-21k"),
];

/// How many points of faces, hands and bodies have how many numbers each, where a collection of classes is hardly as large.
const POINTS: &[(usize, usize)] = &[(68, 2), (68, 3), (106, 2), (39, 5), (468, 2), (468, 3), (478, 2), (478, 3)];

/// Whether an output is called scores of classes.
pub(super) fn is_called_scores(output: &str) -> bool {
    has_word(output, WORDS)
}

/// What says that the numbers are scores of classes. `labels`: how many names of classes there are.
pub(crate) fn evidence(network: &Network, classes: &Classes, types: &Types, labels: usize) -> Row {
    let output = &classes.output;
    let count = count(types, &classes.logits);
    if count.is_some_and(|count| count == labels && labels > 0) {
        return Row::Classes(format!("the shape of `{output}`: a score for each of {labels} labels"));
    }
    if network.chosen.as_ref() == Some(output) {
        return Row::Classes("`logits` in the sidecar".into());
    }
    if has_word(output, WORDS) {
        return Row::Classes(format!("the name of `{output}`"));
    }
    if super::unlike::is_nearness(network.model.graph(), output) {
        return Row::Classes(format!("the distances before `{output}`, negated: the nearest scores most"));
    }
    if let Some((count, name)) = collection(count) {
        return Row::Classes(format!("the shape of `{output}`: {count} scores, as many as {name} has classes"));
    }
    match named_weights(network.model.graph(), &classes.logits) {
        Some(name) => Row::Classes(format!("the name of what makes `{output}`, `{name}`")),
        None => Row::Unsaid,
    }
}

/// What a row of numbers is likely instead, where nothing says that they are scores of classes.
pub(super) fn otherwise(network: &Network, classes: &Classes, types: &Types) -> Option<String> {
    let (output, count) = (&classes.output, count(types, &classes.logits)?);
    if has_word(output, WORDS) || collection(Some(count)).is_some() {
        return None;
    }
    let unsaid = "no softmax, labels or name say that they are scores of classes";
    if is_picture(network, types, count) {
        return Some(format!("`{output}` has {count} numbers, as many as the picture: {unsaid}"));
    }
    if let Some((points, each)) = POINTS.iter().find(|(points, each)| points * each == count) {
        return Some(format!("`{output}` has {count} numbers, as many as {points} points of {each}: {unsaid}"));
    }
    if let Some((side, each)) = cells(count) {
        return Some(format!("`{output}` has {count} numbers, {each} for each of {side} × {side} cells: {unsaid}"));
    }
    if classes.head != Head::Logits {
        return None;
    }
    if let Some(other) = twin(network, classes, types) {
        let place = |name: &str| network.outputs.iter().position(|output| output == name);
        let (one, other) = if place(output) < place(other) { (&**output, other) } else { (other, &**output) };
        return Some(format!(
            "`{one}` and `{other}` have {count} numbers each, as the mean and the spread of a latent vector have: {unsaid}"
        ));
    }
    let graph = network.model.graph();
    let is_size = count >= 128 && count.is_multiple_of(64);
    (is_size && is_product(graph, &classes.logits) && named_weights(graph, &classes.logits).is_none())
        .then(|| format!("`{output}` has {count} numbers, a size that embeddings have: {unsaid}"))
}

/// How many numbers a row has.
fn count(types: &Types, name: &str) -> Option<usize> {
    types.get(name)?.shape.as_ref()?.iter().skip(1).map(|dim| dim.fixed()).product()
}

/// A collection of that many classes.
fn collection(count: Option<usize>) -> Option<(usize, &'static str)> {
    COLLECTIONS.iter().find(|(classes, _)| Some(*classes) == count).copied()
}

/// Whether it is as many numbers as the picture has, or one of its channels.
fn is_picture(network: &Network, types: &Types, count: usize) -> bool {
    let sides = |name: &str| -> Option<Vec<usize>> {
        types.get(name)?.shape.as_ref()?.iter().skip(1).map(|dim| dim.fixed()).collect()
    };
    let Some(sides) = sides(&network.input().name).filter(|sides| sides.len() == 3) else { return false };
    let all: usize = sides.iter().product();
    let channels = *sides.iter().min().unwrap_or(&1);
    count >= 64 && (count == all || count * channels == all)
}

/// The cells along a side and the numbers of each of them, where a row may be a grid's: YOLO's first version has 7 × 7 cells of 5 numbers a box,
/// two boxes, and a number a class; its second version 13 × 13.
fn cells(count: usize) -> Option<(usize, usize)> {
    let fits = |(side, least): &(usize, usize)| {
        let cells = side * side;
        (count.is_multiple_of(cells) && count / cells >= *least).then(|| (*side, count / cells))
    };
    [(7, 11), (13, 30)].iter().find_map(fits)
}

/// Another output that is as plain and as long, where there are but two or three of them: of more, each may be a choice among classes.
fn twin<'a>(network: &'a Network, classes: &Classes, types: &Types) -> Option<&'a str> {
    let own = count(types, &classes.logits).filter(|own| *own > 1)?;
    let graph = network.model.graph();
    let is_alike = |name: &&String| {
        **name != classes.output
            && count(types, name) == Some(own)
            && types
                .get(name)
                .is_some_and(|ty| ty.elem.is_float() && ty.shape.as_ref().is_some_and(|dims| dims.len() == 2))
            && !has_word(name, WORDS)
            && is_product(graph, name)
    };
    let alike: Vec<&String> = network.outputs.iter().filter(is_alike).collect();
    (is_product(graph, &classes.logits) && matches!(alike.len(), 1 | 2)).then(|| alike[0].as_str())
}

/// Whether a row comes straight from a fully connected layer.
fn is_product(graph: &GraphProto, name: &str) -> bool {
    weighing(graph, name).is_some_and(|node| matches!(&*node.op_type, "Gemm" | "MatMul" | "FusedGemm" | "FusedMatMul"))
}

/// The last node with weights, over what only moves its numbers, or adds a constant.
fn weighing<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a NodeProto> {
    let index = Index::new(graph);
    let mut value = name.to_owned();
    for _ in 0..graph.node.len() {
        let node = index.producer_node(&value)?;
        let varying = || node.input.iter().filter(|name| !name.is_empty() && index.constant(name).is_none());
        match &*node.op_type {
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Cast" | "Add" | "Mul" | "Div"
            | "ReduceMean" | "GlobalAveragePool" | "AveragePool" | "Relu" | "QuantizeLinear" | "DequantizeLinear"
                if varying().count() == 1 =>
            {
                value = varying().next()?.clone();
            }
            _ => return Some(node),
        }
    }
    None
}

/// A name of the last node with weights, or of these, that says that classes are scored.
fn named_weights<'a>(graph: &'a GraphProto, logits: &str) -> Option<&'a str> {
    let node = weighing(graph, logits)?;
    let mut names = node.input.iter().skip(1).chain([&node.name]);
    // `/classifier/classifier.1/Gemm`, `head.classifier.weight`.
    names.find(|name| has_word(name, WEIGHTS)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_cells_are_told_by_their_length() {
        assert_eq!((cells(1470), cells(539), cells(21_125)), (Some((7, 30)), Some((7, 11)), Some((13, 125))));
        assert_eq!((cells(1000), cells(490), cells(98), cells(1_014)), (None, None, None, None));
    }

    #[test]
    fn no_collection_has_as_many_classes_as_a_set_of_points_has_numbers() {
        for (points, each) in POINTS {
            assert_eq!(collection(Some(points * each)), None, "{points} × {each}");
        }
    }
}
