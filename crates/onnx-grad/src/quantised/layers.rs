//! The values of a quantised graph as floats: one value for each number that is quantised, by the name that it has in the float model.

use std::collections::{HashMap, HashSet};

use super::channels_last::{CHANNELS_FIRST, channels_first};
use crate::{
    graph::{Index, reads, subgraphs, used_names},
    model::Model,
    proto::{GraphProto, NodeProto},
    types::{Dim, ElemType, ValueType, value_info},
};

/// Whether a node is a `QuantizeLinear` or `DequantizeLinear`, of either domain.
pub(super) fn is(node: &NodeProto, op: &str) -> bool {
    node.op_type == op && matches!(&*node.domain, "" | "ai.onnx" | "com.microsoft")
}

fn has_any(graph: &GraphProto) -> bool {
    let quantises = |node: &NodeProto| is(node, "QuantizeLinear") || node.op_type.starts_with("QLinear");
    graph.node.iter().any(quantises) && !graph.node.iter().any(|node| subgraphs(node).next().is_some())
}

/// The model with one float value for each quantised one: integers that are dequantised several times alike are once, those that no
/// node dequantises are so beside the way they go (nothing runs where nobody asks for it). The float value has the name that the float
/// model has for it. What the model computes stays the same. `None`: nothing in it is quantised.
pub fn with_floats(model: &Model) -> Option<Model> {
    let mut graph = model.graph().clone();
    if !has_any(&graph) {
        return None;
    }
    channels_first(&mut graph);
    // Quantising tools leave the types of values that are gone.
    let made: HashSet<&String> = graph.node.iter().flat_map(|node| &node.output).collect();
    let stale = |name: &String| !made.contains(name);
    let gone: HashSet<String> =
        graph.value_info.iter().map(|info| info.name.clone()).filter(|name| stale(name)).collect();
    graph.value_info.retain(|info| !gone.contains(&info.name));
    share(&mut graph);
    add_floats(&mut graph);
    name_floats(&mut graph);
    Some(model.with_graph(graph))
}

/// Integers are dequantised once: further nodes that do the same give way to the first.
fn share(graph: &mut GraphProto) {
    let outputs: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let made: HashSet<String> = graph.node.iter().flat_map(|node| node.output.clone()).collect();
    let mut first: HashMap<Vec<String>, String> = HashMap::new();
    let mut same: HashMap<String, String> = HashMap::new();
    graph.node.retain(|node| {
        let of_value = is(node, "DequantizeLinear") && node.input.first().is_some_and(|y| made.contains(y));
        let (true, [output]) = (of_value, node.output.as_slice()) else { return true };
        if !outputs.contains(output)
            && let Some(before) = first.get(&node.input)
        {
            same.insert(output.clone(), before.clone());
            return false;
        }
        first.entry(node.input.clone()).or_insert_with(|| output.clone());
        true
    });
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        if let Some(before) = same.get(input) {
            input.clone_from(before);
        }
    }
}

/// Where an operator has the scale and the zero point of what it makes.
fn parameters(node: &NodeProto) -> Option<[usize; 2]> {
    Some(match &*node.op_type {
        "QLinearConv" | "QLinearMatMul" | "QLinearAdd" | "QLinearMul" => [6, 7],
        "QGemm" | "QLinearWhere" => [7, 8],
        "QLinearLeakyRelu"
        | "QLinearSigmoid"
        | "QLinearSoftmax"
        | "QLinearAveragePool"
        | "QLinearGlobalAveragePool" => [3, 4],
        "QLinearConcat" => [0, 1],
        _ => return None,
    })
}

/// Dequantises what operators on integers make, where no node does.
fn add_floats(graph: &mut GraphProto) {
    let mut used = used_names(graph);
    let mut known: HashMap<String, [String; 2]> = HashMap::new();
    let dequantised: HashSet<String> =
        graph.node.iter().filter(|node| is(node, "DequantizeLinear")).map(|node| node.input[0].clone()).collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        let own = match parameters(&node) {
            Some(at) => Some(at.map(|at| node.input.get(at).cloned().unwrap_or_default())),
            None if is(&node, "QuantizeLinear") => {
                Some([1, 2].map(|at| node.input.get(at).cloned().unwrap_or_default()))
            }
            // Moved and pooled integers stand for what they did before.
            None if [
                "MaxPool",
                "Reshape",
                "Transpose",
                "Slice",
                "Split",
                "Squeeze",
                "Unsqueeze",
                "Gather",
                "Flatten",
            ]
            .contains(&&*node.op_type) =>
            {
                node.input.first().and_then(|x| known.get(x)).cloned()
            }
            None => None,
        };
        let Some([scale, zero]) = own.filter(|[scale, _]| !scale.is_empty()) else {
            nodes.push(node);
            continue;
        };
        // Indices, a pooling's second output, are no numbers of that kind.
        let count = if node.op_type == "MaxPool" { 1 } else { node.output.len() };
        let made: Vec<String> = node.output.iter().take(count).filter(|y| !y.is_empty()).cloned().collect();
        let quantises = is(&node, "QuantizeLinear");
        let (name, metadata, domain) = (node.name.clone(), node.metadata_props.clone(), node.domain.clone());
        nodes.push(node);
        for y in made {
            if !quantises && !dequantised.contains(&y) {
                let output = fresh(&mut used, &format!("{y}_dequantized"));
                nodes.push(NodeProto {
                    op_type: "DequantizeLinear".into(),
                    name: fresh(&mut used, &format!("{name}_dequantized")),
                    input: vec![y.clone(), scale.clone(), zero.clone()],
                    output: vec![output],
                    metadata_props: metadata.clone(),
                    domain: if quantises { domain.clone() } else { String::new() },
                    ..Default::default()
                });
            }
            known.insert(y, [scale.clone(), zero.clone()]);
        }
    }
    graph.node = nodes;
}

pub(super) fn fresh(used: &mut HashSet<String>, name: &str) -> String {
    let mut candidate = name.to_owned();
    for count in 2.. {
        if used.insert(candidate.clone()) {
            break;
        }
        candidate = format!("{name}_{count}");
    }
    candidate
}

/// Gives the float values the names that the float model has.
fn name_floats(graph: &mut GraphProto) {
    let mut used = used_names(graph);
    let mut names: HashMap<String, String> = HashMap::new();
    let index = Index::new(graph);
    let outputs: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut metadata = Vec::new();
    for (at, node) in graph.node.iter().enumerate() {
        let (true, [y, ..], [float]) = (is(node, "DequantizeLinear"), node.input.as_slice(), node.output.as_slice())
        else {
            continue;
        };
        let Some(maker) = index.producer_node(y) else { continue };
        let inner = maker.input.first().filter(|_| is(maker, "QuantizeLinear"));
        // Module paths that stand in the metadata are copied: quantising tools leave them out.
        let source = inner.and_then(|x| index.producer_node(x)).unwrap_or(maker);
        if node.metadata_props.is_empty() {
            metadata.push((at, source.metadata_props.clone()));
        }
        if outputs.contains(float.as_str()) {
            continue;
        }
        match inner {
            Some(x)
                if index.producer(x).is_some() && index.consumers(x).len() == 1 && !outputs.contains(x.as_str()) =>
            {
                names.insert(x.clone(), fresh(&mut used, &format!("{x}.unrounded")));
                names.insert(float.clone(), x.clone());
            }
            Some(_) => {}
            None => {
                let suffixes = ["_QuantizeLinear_Output", "_quantized", "_quant"];
                let first = y.strip_suffix(CHANNELS_FIRST);
                let own = first.unwrap_or(y);
                if let Some(plain) = suffixes.iter().find_map(|suffix| own.strip_suffix(suffix)).or(first)
                    && used.insert(plain.to_owned())
                {
                    names.insert(float.clone(), plain.to_owned());
                }
            }
        }
    }
    for (at, props) in metadata {
        graph.node[at].metadata_props = props;
    }
    let floats: HashSet<&String> = names.keys().filter(|old| !names.values().any(|new| new == *old)).collect();
    graph.value_info.retain(|info| !floats.contains(&info.name));
    for name in graph.node.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    }
}

/// What [`with_floats`] gave, as the float model it was made of: operators on integers are those on floats, and nothing is rounded on
/// the way. For whoever looks for layers: its values are those of the graph, but nodes don't compute what they seem to. Its `value_info`
/// has what else it names. `None`: nothing in the graph is quantised.
pub fn outline(graph: &GraphProto) -> Option<GraphProto> {
    let dynamic = |node: &NodeProto| {
        matches!(&*node.op_type, "ConvInteger" | "MatMulInteger" | "QAttention" | "DynamicQuantizeLSTM")
    };
    if !graph.node.iter().any(dynamic) && !has_any(graph) {
        return None;
    }
    let index = Index::new(graph);
    let fixed = of_no_image(graph);
    let mut same: HashMap<&str, &str> = HashMap::new();
    let mut gone: HashSet<usize> = HashSet::new();
    let mut identities: HashSet<usize> = HashSet::new();
    for (at, node) in graph.node.iter().enumerate() {
        let (Some(x), Some(y)) = (node.input.first(), node.output.first()) else { continue };
        if is(node, "QuantizeLinear") || node.op_type == "DynamicQuantizeLinear" {
            same.insert(y, x);
            gone.insert(at);
        } else if is(node, "DequantizeLinear") && index.producer(x).is_some() {
            let inner = index.producer_node(x).filter(|maker| is(maker, "QuantizeLinear"));
            match inner.and_then(|maker| maker.input.first()) {
                // The image itself, rounded.
                Some(picture) if index.producer(picture).is_none() => {
                    same.insert(y, picture);
                    gone.insert(at);
                }
                Some(before) if index.consumers(before).len() == 1 => {
                    same.insert(before, y);
                    same.insert(x, y);
                    gone.insert(at);
                }
                Some(_) => {
                    identities.insert(at);
                }
                None => {
                    same.insert(x, y);
                    gone.insert(at);
                }
            }
        } else if matches!(&*node.op_type, "ConvInteger" | "MatMulInteger") {
            // Cast, scaled and with its bias it is what the float operator makes.
            let mut made = y;
            while let Some((reader, output)) = finishing(graph, &index, &fixed, made) {
                same.insert(made, output);
                gone.insert(reader);
                made = output;
            }
        }
    }
    let resolved = |name: &str| {
        let mut name = name;
        for _ in 0..=same.len() {
            match same.get(name) {
                Some(other) => name = other,
                None => break,
            }
        }
        name.to_owned()
    };
    let mut outline = GraphProto { node: Vec::new(), value_info: Vec::new(), ..graph.clone() };
    for (at, node) in graph.node.iter().enumerate().filter(|(at, _)| !gone.contains(at)) {
        let mut node = node.clone();
        let numbers: Option<Vec<usize>> = match &*node.op_type {
            "QLinearConv" | "QLinearMatMul" | "QLinearAdd" | "QLinearMul" | "QGemm" => Some(vec![0, 3]),
            "ConvInteger" | "MatMulInteger" | "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" | "MatMulNBits" => {
                Some(vec![0, 1])
            }
            "QLinearConcat" => Some((2..node.input.len()).step_by(3).collect()),
            "QLinearWhere" => Some(vec![0, 1, 4]),
            "QAttention" => Some(vec![0, 1, 2, 5]),
            "DynamicQuantizeLSTM" => Some((0..node.input.len().min(8)).collect()),
            op if op.starts_with("QLinear") => Some(vec![0]),
            _ => None,
        };
        if let Some(numbers) = numbers {
            node.input = numbers.iter().filter_map(|&i| node.input.get(i).cloned()).collect();
            for input in &mut node.input {
                if let Some(tensor) = index.initializer(input).filter(|tensor| !tensor.elem_type().is_float()) {
                    let shape =
                        tensor.dims.iter().map(|&size| Dim::Fixed(usize::try_from(size).unwrap_or(0))).collect();
                    input.push_str(".dequantized");
                    let ty = ValueType { elem: ElemType::Float, shape: Some(shape) };
                    outline.value_info.push(value_info(input, Some(&ty)));
                }
            }
            if node.op_type != "QAttention" {
                node.domain.clear();
            }
            node.op_type = match &*node.op_type {
                "QGemm" => "Gemm".to_owned(),
                "QAttention" => "Attention".to_owned(),
                "DynamicQuantizeLSTM" => "LSTM".to_owned(),
                "ConvInteger" => "Conv".to_owned(),
                "MatMulInteger" | "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" | "MatMulNBits" => {
                    "MatMul".to_owned()
                }
                op => op.strip_prefix("QLinear").unwrap_or(op).to_owned(),
            };
        }
        if identities.contains(&at) {
            node.op_type = "Identity".into();
            node.input.truncate(1);
        }
        node.input.iter_mut().chain(&mut node.output).for_each(|name| *name = resolved(name));
        // An activation that was folded into the operator before it left its name to the value, by its module's path.
        if let Some((path, _)) = node.output.first().and_then(|made| made.rsplit_once("_output_"))
            && path.starts_with('/')
        {
            node.name = path.to_owned();
        }
        outline.node.push(node);
    }
    Some(outline)
}

/// The values that no image has a part in but by the scales that were found in it: weights, scales, biases in units of them.
fn of_no_image(graph: &GraphProto) -> HashSet<&str> {
    let mut fixed: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for node in &graph.node {
        if node.op_type == "DynamicQuantizeLinear" {
            fixed.extend(node.output.iter().skip(1).map(String::as_str));
        } else if reads(node).into_iter().all(|name| fixed.contains(name)) {
            fixed.extend(node.output.iter().map(String::as_str));
        }
    }
    fixed
}

/// The one reader of the sums that an operator on integers makes, if it casts or scales them or adds a bias; with what it makes.
fn finishing<'a>(
    graph: &'a GraphProto,
    index: &Index<'a>,
    fixed: &HashSet<&str>,
    made: &str,
) -> Option<(usize, &'a String)> {
    let &[at] = index.consumers(made) else { return None };
    let node = &graph.node[at];
    let other = node.input.iter().find(|name| *name != made).is_some_and(|name| fixed.contains(name.as_str()));
    let finishes = match &*node.op_type {
        "Cast" => true,
        "Mul" => other && index.producer_node(made).is_some_and(|maker| maker.op_type == "Cast"),
        "Add" => other,
        _ => false,
    };
    node.output.first().filter(|_| finishes).map(|output| (at, output))
}
