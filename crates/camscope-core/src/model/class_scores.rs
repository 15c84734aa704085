//! Whether an output holds one score a class, and what it holds where it does not.

use onnx_grad::{Types, graph::Index, proto::GraphProto};

use super::{
    features, mixed,
    network::{Classes, Head, Network, passed_on},
    plain_row, unlike,
};

/// Checks that an output's logits are one number a class; `is_said`: a single one may speak for one class and against another. `labels`: how
/// many names of classes there are.
///
/// # Errors
/// What they are instead.
pub(super) fn class_scores(
    network: &Network,
    classes: &Classes,
    types: &Types,
    (is_said, labels): (bool, usize),
) -> Result<(), String> {
    let name = &classes.logits;
    let Some(ty) = types.get(name) else { return Err(format!("the type of `{name}` is not known")) };
    if !crate::layer::depends_on(network.model.graph(), &network.input().name, name) {
        return Err(format!("`{}` does not depend on `{}`, the picture", classes.output, network.input().name));
    }
    if !ty.elem.is_float() {
        return Err(format!(
            "`{name}` does not hold floats, and no floats were found before it by which it is decided"
        ));
    }
    let dims = ty.shape.as_deref().unwrap_or_default();
    let shape: Vec<String> = dims.iter().map(|d| d.fixed().map_or("N".into(), |n| n.to_string())).collect();
    let not = |what: &str| Err(format!("`{name}` has shape [{}], {what}", shape.join(", ")));
    let sizes: Vec<Option<usize>> = dims.iter().skip(1).map(|dim| dim.fixed()).collect();
    let several = sizes.iter().filter(|size| **size != Some(1)).count();
    if several > 1 || dims.len() < 2 {
        return not("not one score a class");
    }
    // A softmax over a flattened copy: its rows are more than images.
    let own = types.get(&classes.output).and_then(|ty| ty.shape.as_deref()).unwrap_or_default();
    if own.iter().skip(1).filter(|dim| dim.fixed() != Some(1)).count() > 1 {
        let own: Vec<String> = own.iter().map(|dim| dim.fixed().map_or("N".into(), |size| size.to_string())).collect();
        return Err(format!("`{}` has shape [{}], not one score a class", classes.output, own.join(", ")));
    }
    // One row an image: anything else along the first axis is time, or rows of a table.
    let rows = dims[0].fixed();
    if rows.is_some_and(|rows| rows != network.input().batch().unwrap_or(1)) {
        return not("not one score a class for each image");
    }
    if !is_said && labels == 0 && network.chosen.is_none() && sizes.contains(&None) {
        return not("and how many numbers there are depends on the picture");
    }
    if several == 0 && !is_said && (classes.head != Head::Sigmoid || (labels == 0 && is_measure(network, classes))) {
        return not("a single number and no class");
    }
    if unit_norm(network.model.graph(), name) {
        let is_direction = mixed::count(types, name).is_some_and(|count| count <= features::DIRECTION);
        let what = if is_direction { "a direction" } else { "an embedding" };
        return Err(format!("`{name}` is scaled to length 1: {what}, not one score a class"));
    }
    let is_labelled = labels > 0 && sizes.iter().flatten().product::<usize>() == labels;
    if network.chosen.is_some() || is_said || is_labelled {
        return Ok(());
    }
    let output = &classes.output;
    if features::is_called_places(output) {
        return Err(format!("`{output}` holds places or angles by its name, not one score a class"));
    }
    if features::is_called_parameters(output) {
        return Err(format!("`{output}` holds parameters by its name, not one score a class"));
    }
    if features::has_word(output, &["iou", "ious"]) {
        return Err(format!("`{output}` holds measures by its name, not one score a class"));
    }
    let graph = network.model.graph();
    if matches!(classes.head, Head::Softmax | Head::Mean) {
        return Ok(());
    }
    if mixed::is_joined(graph, types, name) {
        return Err(format!(
            "`{output}` joins rows that each have a softmax or a logistic function of their own: several answers, not one score a class"
        ));
    }
    beside_others(network, classes, types)?;
    if let Some(other) = is_box_beside(network, classes, types) {
        return Err(format!("`{output}` has four numbers beside `{other}`: a box maybe, and not one score a class"));
    }
    if is_laid_out(graph, types, name) {
        return Err(format!("`{output}` has the numbers of a map in a row, not one score a class"));
    }
    if classes.head == Head::Sigmoid {
        independent(network, classes, types)?;
        return plain_row::otherwise(network, classes, types).map_or(Ok(()), Err);
    }
    if crate::task::embedding::is_called(output) {
        return Err(format!("`{output}` is an embedding by its name, not one score a class"));
    }
    if let Some(reason) = unlike::made_by(graph, output) {
        return Err(format!("{reason}, and not one score a class"));
    }
    if made_of(graph, output, &["OneHot", "Equal"]).is_some() {
        return Err(format!(
            "`{output}` marks the surest class, and no floats were found before it by which it is decided"
        ));
    }
    if let Some(op) = made_of(graph, output, &["Tanh", "Sign"]) {
        return Err(format!("`{output}` ends in a {op}: numbers from −1 to 1, not one score a class"));
    }
    if let Some(by) = features::made_by(graph, types, name) {
        return Err(format!("`{output}` holds features: no classifier stands behind the last {by}"));
    }
    plain_row::otherwise(network, classes, types).map_or(Ok(()), Err)
}

/// Checks that an output's numbers are not those of another's rows, or a level of a detector as another is.
///
/// # Errors
/// What they are.
fn beside_others(network: &Network, classes: &Classes, types: &Types) -> Result<(), String> {
    let output = &classes.output;
    let sizes = |name: &str| -> Option<Vec<Option<usize>>> {
        Some(types.get(name)?.shape.as_ref()?.iter().map(|dim| dim.fixed()).collect())
    };
    let dims = sizes(&classes.logits).unwrap_or_default();
    let found: Vec<usize> = dims.iter().skip(1).filter_map(|size| *size).filter(|size| *size > 1).collect();
    for other in network.outputs.iter().filter(|other| *other != output) {
        let Some(sizes) = sizes(other) else { continue };
        if let (&[_, Some(boxes), Some(columns)], [own]) = (&sizes[..], &found[..])
            && boxes == *own
            && (columns == 4 || (columns > 1 && (dims.len() > 2 || features::is_called_places(other))))
        {
            return Err(format!("`{output}` has a number for each of the {boxes} boxes of `{other}`, not one a class"));
        }
        if let (&[_, Some(things), Some(_), ..], [own]) = (&sizes[..], &found[..])
            && things == *own
            && (features::is_called_places(other) || features::has_word(other, &["mask", "masks"]))
        {
            return Err(format!("`{output}` has a number for each of the {things} of `{other}`, not one a class"));
        }
        if let (&[_, Some(things)], [own]) = (&sizes[..], &found[..])
            && things == *own
            && dims.len() == 2
            && types.get(other).is_some_and(|ty| !ty.elem.is_float())
        {
            return Err(format!("`{output}` has a number for each of the {things} of `{other}`, not one a class"));
        }
        // Beside others of its kind it is a level of a detector.
        let open = sizes.iter().skip(1).filter(|size| **size != Some(1)).count();
        let alike = sizes.iter().zip(&dims).skip(1).any(|(size, own)| size == own && *size != Some(1));
        if dims.len() > 2 && sizes.len() == dims.len() && open > 1 && alike {
            return Err(format!("`{output}` is one of several levels, as `{other}` is, and not one score a class"));
        }
    }
    Ok(())
}

/// Whether an output's numbers are those of another's rows.
pub(crate) fn is_of_rows(network: &Network, types: &Types, output: &str) -> bool {
    let classes = Classes { output: output.to_owned(), logits: output.to_owned(), head: Head::Logits };
    beside_others(network, &classes, types).is_err()
}

/// Checks that probabilities that don't exclude each other are those of classes.
///
/// # Errors
/// What they are instead.
fn independent(network: &Network, classes: &Classes, types: &Types) -> Result<(), String> {
    let count = |name: &str| mixed::count(types, name);
    let own = count(&classes.logits);
    let graph = network.model.graph();
    // Coral and the like (Cao et al. 2020): one score, and a threshold for each step of a scale.
    let index = Index::new(graph);
    let is_shifted = index.producer_node(&classes.logits).is_some_and(|node| {
        let varying = || node.input.iter().filter(|name| index.constant(name).is_none());
        matches!(&*node.op_type, "Add" | "Sub")
            && varying().count() == 1
            && varying().all(|name| count(name) == Some(1) && own > Some(1))
    });
    if is_shifted {
        let logits = &classes.logits;
        return Err(format!(
            "`{logits}` is one number moved by thresholds, steps of a scale, and not one score a class"
        ));
    }
    Ok(())
}

/// The row beside which four numbers may be a box.
fn is_box_beside<'a>(network: &'a Network, classes: &Classes, types: &Types) -> Option<&'a str> {
    let count = |name: &str| mixed::count(types, name);
    if count(&classes.logits) != Some(4) || plain_row::is_called_scores(&classes.output) {
        return None;
    }
    let is_row = |other: &&String| **other != classes.output && count(other).is_some_and(|own| own > 1 && own != 4);
    network.outputs.iter().find(is_row).map(String::as_str)
}

/// Words in the names of outputs that hold one measure.
const MEASURES: [&str; 12] = [
    "age", "quality", "count", "distance", "iou", "angle", "steering", "valence", "arousal", "depth", "height",
    "weight",
];

/// Whether the only number of an output is a measure that a logistic function keeps in range: it is called so, or is scaled or moved.
fn is_measure(network: &Network, classes: &Classes) -> bool {
    let index = Index::new(network.model.graph());
    let mut value = classes.output.as_str();
    while let Some(node) = index.producer_node(value).filter(|_| value != classes.logits) {
        if matches!(&*node.op_type, "Mul" | "Div" | "Add" | "Sub") {
            return true;
        }
        match passed_on(&index, node) {
            Some(before) => value = before,
            None => break,
        }
    }
    features::has_word(&classes.output, &MEASURES)
}

/// Which of some operators makes a value that is then only moved, scaled or shifted.
fn made_of<'a>(graph: &GraphProto, name: &str, operators: &[&'a str]) -> Option<&'a str> {
    let index = Index::new(graph);
    let mut value = name;
    loop {
        let node = index.producer_node(value)?;
        if let Some(op) = operators.iter().find(|op| **op == node.op_type) {
            return Some(op);
        }
        value = passed_on(&index, node)?;
    }
}

/// Whether a row of numbers is a map of a convolution, laid out: its numbers stand for places.
fn is_laid_out(graph: &GraphProto, types: &Types, name: &str) -> bool {
    let index = Index::new(graph);
    let is_map = |name: &str| {
        let shape = types.get(name).and_then(|ty| ty.shape.as_ref());
        shape.is_some_and(|shape| shape.len() == 4 && shape[2..].iter().all(|dim| dim.fixed() > Some(1)))
    };
    let mut open = vec![name];
    while let Some(value) = open.pop() {
        let Some(node) = index.producer_node(value) else { continue };
        match &*node.op_type {
            "Conv" | "FusedConv" | "QLinearConv" if is_map(value) => return true,
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Cast" | "QuantizeLinear"
            | "DequantizeLinear" => open.extend(node.input.first().map(String::as_str)),
            "Concat" => open.extend(node.input.iter().map(String::as_str)),
            _ => {}
        }
    }
    false
}

/// Whether a value is divided by its own norm, as embeddings are.
pub(crate) fn unit_norm(graph: &GraphProto, name: &str) -> bool {
    let index = Index::new(graph);
    let mut value = name;
    while let Some(node) = index.producer_node(value) {
        match &*node.op_type {
            "LpNormalization" => return true,
            "Div" => return node.input.get(1).is_some_and(|divisor| is_norm(&index, divisor)),
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Cast" if !node.input.is_empty() => {
                value = &node.input[0];
            }
            _ => return false,
        }
    }
    false
}

/// Whether a value is a Euclidean norm, perhaps kept from zero and expanded.
fn is_norm(index: &Index<'_>, name: &str) -> bool {
    let mut value = name;
    while let Some(node) = index.producer_node(value) {
        match &*node.op_type {
            "ReduceL2" => return true,
            "Sqrt" | "Clip" | "Max" | "Expand" | "Add" | "Identity" if !node.input.is_empty() => value = &node.input[0],
            "ReduceSum" => {
                let square = node.input.first().and_then(|input| index.producer_node(input));
                return square.is_some_and(|square| match &*square.op_type {
                    "Mul" => square.input.len() == 2 && square.input[0] == square.input[1],
                    "Pow" => true,
                    _ => false,
                });
            }
            "ReduceSumSquare" => return true,
            _ => return false,
        }
    }
    false
}
