//! Finds the layers in a graph.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    Dim, Types,
    graph::{Index, reads},
    proto::GraphProto,
};

use super::{Layer, Layout, class_token::last_informative, layout::layouts, module_path, scales::sloping};
use crate::model::features;

/// The layers of a graph: float values with height and width, larger than one pixel, that depend on `input` and that one of
/// `outputs` depends on.
///
/// `layout` is the input's, where that is known. Order: the graph's.
pub fn find<'a>(
    graph: &'a GraphProto,
    types: &Types,
    input: &'a str,
    outputs: &[&'a str],
    layout: Option<Layout>,
) -> Vec<Layer> {
    let index = Index::new(graph);
    let from_input = descendants(graph, input);
    let to_output: HashSet<&str> = outputs.iter().flat_map(|output| ancestors(graph, &index, output)).collect();
    let modules = modules(graph, &index);
    let layouts = layouts(graph, types, input, layout);
    // What all outputs that are explained have before their classifiers.
    let informative = |output: &&'a str| {
        let is_features = !layouts.contains_key(output) && features::made_by(graph, types, output).is_some();
        let classifier = if is_features { output } else { &classifier_input(graph, &index, output, &from_input)? };
        let informative = last_informative(graph, &index, types, &layouts, classifier)
            // Of a model without a classifier the class token itself may be the output.
            .or_else(|| last_informative(graph, &index, types, &layouts, output));
        Some(ancestors(graph, &index, informative.unwrap_or(classifier)))
    };
    let before = outputs.iter().filter_map(informative);
    let before = before.reduce(|one, other| one.intersection(&other).copied().collect()).unwrap_or_default();
    let sloping = sloping(&index, outputs);
    let batch = types.get(input).and_then(|ty| ty.shape.as_ref()?.first()?.fixed());
    let mut layers = Vec::new();
    for node in &graph.node {
        for value in node.output.iter().map(String::as_str).filter(|value| !value.is_empty()) {
            let Some(&layout) = layouts.get(value) else { continue };
            let Some(ty) = types.get(value) else { continue };
            let Some(dims) = &ty.shape else { continue };
            let shape: Vec<Option<usize>> = dims.iter().map(|dim: &Dim| dim.fixed()).collect();
            let [height, width] = layout.spatial(&shape);
            let extent = height.unwrap_or(0).saturating_mul(width.unwrap_or(0));
            // Frames or windows along the first axis are parts of an image, each of which would be shown alone.
            let is_whole = batch.is_none() || shape.first() == Some(&batch);
            let is_layer = shape.len() == layout.rank() && ty.elem.is_float() && extent > 1 && is_whole;
            if !is_layer || !from_input.contains(value) || !to_output.contains(value) {
                continue;
            }
            let outputs_of = modules.outputs_of.get(value).cloned().unwrap_or_default();
            layers.push(Layer {
                index: layers.len(),
                value: value.to_owned(),
                op: node.op_type.clone(),
                module: outputs_of.first().cloned().or_else(|| modules.inside.get(value).cloned()),
                outputs_of,
                shape,
                elem: ty.elem,
                layout,
                informative: before.contains(value) && sloping.contains(value),
            });
        }
    }
    layers
}

/// A float value of the graph that is not among its layers, taken as `layout`.
pub fn unlisted(graph: &GraphProto, types: &Types, name: &str, layout: Layout) -> Option<Layer> {
    let node = Index::new(graph).producer_node(name)?;
    let ty = types.get(name).filter(|ty| ty.elem.is_float())?;
    Some(Layer {
        index: usize::MAX,
        value: name.to_owned(),
        op: node.op_type.clone(),
        module: None,
        outputs_of: Vec::new(),
        shape: ty.shape.as_ref()?.iter().map(|dim| dim.fixed()).collect(),
        elem: ty.elem,
        layout,
        informative: false,
    })
}

/// Whether a value depends on an input, other than by its shape.
pub(crate) fn depends_on(graph: &GraphProto, input: &str, value: &str) -> bool {
    descendants(graph, input).contains(value)
}

/// Everything that depends on a value.
pub(crate) fn descendants<'a>(graph: &'a GraphProto, from: &'a str) -> HashSet<&'a str> {
    let mut reached = HashSet::from([from]);
    for node in &graph.node {
        // What depends on a shape alone doesn't depend on the image.
        if !matches!(&*node.op_type, "Shape" | "Size") && reads(node).iter().any(|name| reached.contains(name)) {
            reached.extend(node.output.iter().map(String::as_str).filter(|name| !name.is_empty()));
        }
    }
    reached
}

/// Everything that a value depends on, itself included.
pub(super) fn ancestors<'a>(graph: &'a GraphProto, index: &Index<'a>, of: &'a str) -> HashSet<&'a str> {
    let mut reached = HashSet::new();
    let mut todo = vec![of];
    while let Some(name) = todo.pop() {
        if reached.insert(name)
            && let Some(at) = index.producer(name).filter(|&at| !matches!(&*graph.node[at].op_type, "Shape" | "Size"))
        {
            todo.extend(reads(&graph.node[at]));
        }
    }
    reached
}

/// What the classifier reads: going back from the output, the data input of the first operator with learned weights.
fn classifier_input<'a>(
    graph: &'a GraphProto,
    index: &Index<'a>,
    output: &'a str,
    from_input: &HashSet<&'a str>,
) -> Option<&'a str> {
    let mut name = output;
    for _ in 0..graph.node.len() {
        let node = index.producer_node(name)?;
        let data = node.input.iter().map(String::as_str).find(|name| from_input.contains(name))?;
        let learned = matches!(&*node.op_type, "Gemm" | "MatMul" | "Conv" | "FusedGemm" | "FusedMatMul")
            && node.input.iter().any(|name| !name.is_empty() && !from_input.contains(name.as_str()));
        if learned {
            return Some(data);
        }
        name = data;
    }
    None
}

/// What the modules of a graph make.
#[derive(Default)]
struct Modules {
    /// For a value, every module whose output it is, outermost first.
    outputs_of: HashMap<String, Vec<String>>,
    /// For a value, the innermost module it is made in.
    inside: HashMap<String, String>,
}

/// A module's output is the last value made inside its scope and used outside of it.
fn modules(graph: &GraphProto, index: &Index<'_>) -> Modules {
    let paths: Vec<Option<String>> = graph.node.iter().map(module_path::of).collect();
    let outputs: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut last: HashMap<&str, &str> = HashMap::new();
    let mut order: Vec<&str> = Vec::new();
    let mut found = Modules::default();
    for (node, path) in graph.node.iter().zip(&paths) {
        let Some(path) = path.as_deref() else { continue };
        for value in node.output.iter().map(String::as_str).filter(|value| !value.is_empty()) {
            if !path.is_empty() {
                found.inside.insert(value.to_owned(), path.to_owned());
            }
            for module in module_path::enclosing(path) {
                let is_inside = |at: &usize| {
                    let reader = paths[*at].as_deref().unwrap_or("");
                    reader.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                let leaves = outputs.contains(value) || index.consumers(value).iter().any(|at| !is_inside(at));
                if leaves && last.insert(module, value).is_none() {
                    order.push(module);
                }
            }
        }
    }
    order.sort_by_key(|module| module.matches('.').count());
    for module in order {
        found.outputs_of.entry(last[module].to_owned()).or_default().push(module.to_owned());
    }
    found
}
