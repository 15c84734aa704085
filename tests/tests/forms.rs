//! What must hold of the graphs themselves, so that they run in every runtime: each recorded network, both passes.

use std::collections::HashSet;

use camscope_core::probe::{Feed, probe_unrolled};
use camscope_tests::{
    recording::{Case, cases, check_all},
    runtime,
};
use onnx_grad::{
    Dim, EMITTED_OPSET, ElemType, Gradient, Model, Request, Types, ValueType, differentiate,
    proto::{GraphProto, NodeProto, TensorProto},
    upgrade::upgrade,
};

/// The largest float16.
const LARGEST: f64 = 65504.0;

fn differentiated(case: &Case) -> Result<(Model, Types, Gradient), String> {
    let picture = case.recording().floats("input");
    let original = Model::read(&case.path).map_err(|error| error.to_string())?;
    let model = upgrade(&original, EMITTED_OPSET).map_err(|error| error.to_string())?;
    let stated = model.graph().input[0].r#type.as_ref().and_then(ValueType::from_proto).ok_or("an input of a type")?;
    let free_batch = stated.shape.as_ref().is_some_and(|dims| matches!(dims[0], Dim::Free));
    let input = model.graph().input[0].name.clone();
    let feed = Feed { name: input.clone(), elem: stated.elem, shape: picture.shape().to_vec(), free_batch };
    let (model, types) = probe_unrolled(runtime(), &model, &[feed]).map_err(|error| format!("probing: {error}"))?;
    let output = model.graph().output[0].name.clone();
    let request = Request { outputs: &[&output], wrt: &[&input], types: &types };
    let gradient = differentiate(&model, &request).map_err(|error| error.to_string())?;
    Ok((model, types, gradient))
}

/// Every value is defined once, by an input, a constant or a node; each output is listed once, and a node makes it.
fn defined_once(what: &str, graph: &GraphProto) -> Result<(), String> {
    let mut seen: HashSet<&str> = HashSet::new();
    let given = graph.input.iter().map(|input| &input.name).chain(graph.initializer.iter().map(|tensor| &tensor.name));
    let made = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let made_by_nodes: HashSet<&str> = made.clone().map(String::as_str).collect();
    for name in given.chain(made) {
        if !seen.insert(name) {
            return Err(format!("{what}: {name} is defined twice"));
        }
    }
    let mut listed = HashSet::new();
    for output in &graph.output {
        if !listed.insert(&output.name) {
            return Err(format!("{what}: the output {} is listed twice", output.name));
        }
        if !made_by_nodes.contains(output.name.as_str()) {
            return Err(format!("{what}: no node makes the output {}", output.name));
        }
    }
    Ok(())
}

/// No output is computed from constants alone: a runtime folds it, and some then define it twice.
fn nothing_to_fold(what: &str, graph: &GraphProto, types: &Types) -> Result<(), String> {
    let mut fixed: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for node in &graph.node {
        let random = node.op_type.starts_with("Random") || matches!(&*node.op_type, "Bernoulli" | "Multinomial");
        let known = |name: &String| fixed.contains(name.as_str()) || types.ints(name).is_some();
        let mut read = onnx_grad::graph::reads(node).into_iter();
        if !random && read.all(|name| fixed.contains(name)) || node.output.iter().all(known) {
            fixed.extend(node.output.iter().map(String::as_str));
        }
    }
    match graph.output.iter().find(|output| fixed.contains(output.name.as_str())) {
        Some(output) => Err(format!("{what}: the output {} is the same in every run", output.name)),
        None => Ok(()),
    }
}

/// Float constants that the model does not have itself are ones that a float16 holds. (The lowest number of a type is what a max-pooling is
/// padded with; it is in no sum or product.)
fn constants_that_every_float_holds(model: &Model, gradient: &Gradient) -> Result<(), String> {
    let own: HashSet<&str> = model.graph().node.iter().map(|node| node.name.as_str()).collect();
    let model_has: HashSet<&str> = model.graph().initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let graph = gradient.backward.graph();
    let pads_only = |name: &str| {
        let pads = |node: &NodeProto| node.op_type == "Pad" && node.input.get(2).is_some_and(|value| value == name);
        graph.node.iter().filter(|node| node.input.iter().any(|input| input == name)).all(pads)
    };
    let too_large = |tensor: &TensorProto| {
        let floats = if tensor.elem_type().is_float() { tensor.to_floats().unwrap_or_default() } else { Vec::new() };
        floats.into_iter().find(|value| value.abs() > LARGEST)
    };
    for tensor in graph.initializer.iter().filter(|tensor| !model_has.contains(tensor.name.as_str())) {
        match too_large(tensor) {
            Some(value) if value == ElemType::Float.lowest() && pads_only(&tensor.name) => {}
            Some(value) => return Err(format!("the constant {} has {value}", tensor.name)),
            None => {}
        }
    }
    for node in graph.node.iter().filter(|node| !own.contains(node.name.as_str())) {
        for attribute in &node.attribute {
            let mut floats = attribute.floats.iter().chain(&attribute.f);
            if let Some(value) = floats.find(|value| f64::from(value.abs()) > LARGEST) {
                return Err(format!("the attribute {} of {} is {value}", attribute.name, node.name));
            }
        }
    }
    Ok(())
}

/// Outputs that a runtime may leave out are not asked for, but by the model itself.
fn no_optional_outputs(model: &Model, gradient: &Gradient) -> Result<(), String> {
    let outputs = |graph: &GraphProto| -> usize { graph.node.iter().map(|node| node.output.len()).sum() };
    let count = model.graph().node.len();
    let kept = GraphProto { node: gradient.forward.graph().node[..count].to_vec(), ..Default::default() };
    if outputs(&kept) == outputs(model.graph()) { Ok(()) } else { Err("the forward pass has more outputs".into()) }
}

fn check(case: &Case) -> Result<(), String> {
    let (model, types, gradient) = differentiated(case)?;
    let fused = gradient.fuse().map_err(|error| error.to_string())?;
    for (what, part) in [("forward", &gradient.forward), ("backward", &gradient.backward), ("both", &fused)] {
        defined_once(what, part.graph())?;
        nothing_to_fold(what, part.graph(), &types)?;
    }
    constants_that_every_float_holds(&model, &gradient)?;
    no_optional_outputs(&model, &gradient)
}

#[test]
fn every_network_goes_back_in_a_form_that_every_runtime_has() {
    for folder in ["families", "classifiers", "keras"] {
        let cases = cases(folder);
        assert!(cases.len() >= 3, "only {} files in {folder}", cases.len());
        check_all(&cases, check);
    }
}
