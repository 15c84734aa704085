//! What follows for a model's values at fixed sizes, without its weights and without a run: by this crate's own arithmetic where all
//! operators are common ones ([`infer`]), else by what ONNX Runtime infers.

use std::collections::{HashMap, HashSet};

use onnx_grad::{
    Dim, ElemType, Model, Types, ValueType, graph,
    proto::{GraphProto, NodeProto, TensorProto},
    value_info,
};

use super::{Feed, MOST_INTS, MadeUp, infer, session, state_inputs};
use crate::{
    error::Result,
    runtime::{Optimisation, Provider, ProviderChoice, Runtime, SessionOptions},
};

/// Larger constants of floats are weights.
const MOST_BYTES: usize = 1024;

/// What follows at the inputs' own sizes, and with twice the batch where that is open: what differs depends on the batch. `None`: a
/// float's size is still open, so that the model has to be run.
pub(super) fn at_fixed_sizes(
    runtime: &Runtime,
    model: &Model,
    inputs: &[Feed],
    stated: &Types,
) -> Result<Option<Types>> {
    let of_floats = inputs.iter().all(|input| input.elem.is_float() || input.shape.len() >= 3);
    let control = |node: &NodeProto| matches!(&*node.op_type, "If" | "Loop" | "Scan");
    if !of_floats || model.graph().node.iter().any(control) {
        return Ok(None);
    }
    let made_up = MadeUp::of(model.graph());
    let is_free = inputs.iter().any(|input| input.free_batch);
    let (first, second) = match own(model.graph(), inputs, is_free, &made_up) {
        Some(found) => found,
        None => match asked(runtime, model, inputs, is_free, &made_up)? {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    // An open batch that the graph doesn't stand is none, as when it is run.
    let second = second.as_ref().unwrap_or(&first);
    let mut types = stated.clone();
    for (name, (elem, dims)) in &first.types {
        let other = second.types.get(name).map(|(_, dims)| dims).filter(|other| other.len() == dims.len());
        let Some(other) = other else { return Ok(None) };
        let dim = |(&size, &other): (&usize, &usize)| if size == other { Dim::Fixed(size) } else { Dim::Free };
        let shape = if made_up.sizes.contains(name.as_str()) {
            vec![Dim::Free; dims.len()]
        } else {
            dims.iter().zip(other).map(dim).collect()
        };
        types.insert(name, ValueType { elem: *elem, shape: Some(shape) });
    }
    for (name, ints) in &first.ints {
        if second.ints.get(name) == Some(ints) {
            types.insert_ints(name, ints.clone());
        }
    }
    state_inputs(&mut types, inputs);
    Ok(Some(types))
}

/// The extents of the graph's outputs where the inputs have those shapes, without ONNX Runtime. `None`: something is not of the common kind.
pub fn output_shapes(graph: &GraphProto, inputs: &[Feed]) -> Option<Vec<Vec<usize>>> {
    let found = infer::infer(graph, inputs, 1, &MadeUp::of(graph))?;
    graph.output.iter().map(|output| found.types.get(&output.name).map(|(_, dims)| dims.clone())).collect()
}

/// What is inferred at one set of sizes.
pub(super) struct Inferred {
    /// Of every value that a node makes.
    pub(super) types: HashMap<String, (ElemType, Vec<usize>)>,
    /// Small integers that follow from sizes.
    pub(super) ints: HashMap<String, Vec<i64>>,
}

/// At the inputs' own sizes, and with twice the batch where that is open and the graph stands it.
type Both = (Inferred, Option<Inferred>);

/// By this crate's own arithmetic. `None`: something is not of the common kind.
fn own(graph: &GraphProto, inputs: &[Feed], is_free: bool, made_up: &MadeUp<'_>) -> Option<Both> {
    let second = if is_free { Some(infer::infer(graph, inputs, 2, made_up)?) } else { None };
    Some((infer::infer(graph, inputs, 1, made_up)?, second))
}

/// By ONNX Runtime, which is given the weights as mere inputs. `None`: the size of a float is open.
fn asked(
    runtime: &Runtime,
    model: &Model,
    inputs: &[Feed],
    is_free: bool,
    made_up: &MadeUp<'_>,
) -> Result<Option<Both>> {
    let (first, second) = std::thread::scope(|scope| {
        let second = is_free.then(|| scope.spawn(|| inferred_with(runtime, model, inputs, 2, made_up)));
        let first = inferred_with(runtime, model, inputs, 1, made_up);
        (first, second.and_then(|second| second.join().ok()?.ok()?))
    });
    Ok(first?.map(|first| (first, second)))
}

/// Whether a constant is a weight: what shapes there are doesn't depend on what it holds.
pub(super) fn is_weight(tensor: &TensorProto) -> bool {
    tensor.elem_type().is_float() && tensor.raw_data.as_ref().is_some_and(|bytes| bytes.len() > MOST_BYTES)
}

/// `None`: the size of a float is open.
pub(super) fn inferred_with(
    runtime: &Runtime,
    model: &Model,
    inputs: &[Feed],
    times: usize,
    made_up: &MadeUp<'_>,
) -> Result<Option<Inferred>> {
    let mut graph = model.graph().clone();
    let weights: Vec<TensorProto> = graph.initializer.extract_if(.., |tensor| is_weight(tensor)).collect();
    for input in &mut graph.input {
        let Some(feed) = inputs.iter().find(|feed| feed.name == input.name) else { return Ok(None) };
        let mut dims: Vec<Dim> = feed.shape.iter().map(|&size| Dim::Fixed(size)).collect();
        if let (true, Some(batch)) = (feed.free_batch, dims.first_mut()) {
            *batch = Dim::Fixed(feed.shape[0] * times);
        }
        *input = value_info(&input.name, Some(&ValueType { elem: feed.elem, shape: Some(dims) }));
    }
    for weight in weights {
        let dims = weight.dims.iter().map(|&size| usize::try_from(size).map_or(Dim::Free, Dim::Fixed)).collect();
        let ty = ValueType { elem: weight.elem_type(), shape: Some(dims) };
        graph.input.push(value_info(&weight.name, Some(&ty)));
    }
    graph.value_info.clear();
    let made = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    graph.output = made.map(|name| value_info(name, None)).collect();
    let options = SessionOptions {
        provider: ProviderChoice::Named(Provider::Cpu),
        // Folds what follows from sizes.
        optimisation: Optimisation::Basic,
        ..Default::default()
    };
    let session = runtime.session_of(&model.with_graph(graph.clone()), &options)?;
    let mut types = HashMap::new();
    for (info, ranked) in session.outputs().iter().zip(session.ranked_outputs()) {
        let elem = ElemType::from_code(info.elem.code());
        let sizes: Option<Vec<usize>> = info.shape.iter().copied().collect();
        match sizes {
            Some(sizes) if ranked => {
                types.insert(info.name.clone(), (elem, sizes));
            }
            _ if elem.is_float() => return Ok(None),
            _ => {}
        }
    }
    let ints = integers(runtime, model, &graph, &types, made_up)?;
    Ok(Some(Inferred { types, ints }))
}

/// The small integers of a graph that follow from sizes alone, worked out by the nodes that make them.
fn integers(
    runtime: &Runtime,
    model: &Model,
    graph: &GraphProto,
    types: &HashMap<String, (ElemType, Vec<usize>)>,
    made_up: &MadeUp<'_>,
) -> Result<HashMap<String, Vec<i64>>> {
    let given: HashMap<&str, Vec<usize>> = graph
        .input
        .iter()
        .filter_map(|input| {
            let dims = ValueType::from_proto(input.r#type.as_ref()?)?.shape?;
            Some((input.name.as_str(), dims.iter().filter_map(|dim| dim.fixed()).collect()))
        })
        .collect();
    let mut small = GraphProto { name: "integers".into(), ..Default::default() };
    let mut known: HashSet<String> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    let mut wanted = Vec::new();
    for node in &graph.node {
        let outputs = || node.output.iter().filter(|name| !name.is_empty());
        if outputs().any(|name| made_up.contents.contains(name.as_str())) {
            continue;
        }
        if node.op_type == "Shape" && node.domain.is_empty() {
            let Some(of) = node.input.first() else { continue };
            let sizes = types.get(of).map(|(_, sizes)| sizes).or_else(|| given.get(of.as_str()));
            let Some(sizes) = sizes.cloned() else { continue };
            let place = |name: &str, default: i64| {
                let at = node.attr_int(name).unwrap_or(default);
                (if at < 0 { at + sizes.len() as i64 } else { at }).clamp(0, sizes.len() as i64) as usize
            };
            let (start, end) = (place("start", 0), place("end", sizes.len() as i64));
            let part: Vec<i64> = sizes[start..end.max(start)].iter().map(|&size| size as i64).collect();
            small.initializer.push(TensorProto::ints(&node.output[0], &[part.len() as i64], &part));
            known.insert(node.output[0].clone());
            wanted.push((node.output[0].clone(), Some(part)));
            continue;
        }
        if !graph::reads(node).iter().all(|name| known.contains(*name)) {
            continue;
        }
        known.extend(outputs().cloned());
        for name in outputs() {
            let integer = types.get(name).is_some_and(|(elem, _)| matches!(elem, ElemType::Int64 | ElemType::Int32));
            if integer {
                wanted.push((name.clone(), None));
            }
        }
        small.node.push(node.clone());
    }
    let mut ints: HashMap<String, Vec<i64>> = HashMap::new();
    let computed: Vec<&String> = wanted.iter().filter(|(_, ints)| ints.is_none()).map(|(name, _)| name).collect();
    if !computed.is_empty() {
        small.output = computed.iter().map(|name| value_info(name, None)).collect();
        let names: HashSet<&str> = small.node.iter().flat_map(graph::reads).collect();
        let read = graph.initializer.iter().filter(|tensor| names.contains(tensor.name.as_str()));
        small.initializer.extend(read.cloned());
        let outputs: Vec<&str> = computed.iter().map(|name| name.as_str()).collect();
        let needed = graph::cut(&small, &[], &outputs)?;
        for (name, value) in session(runtime, &model.with_graph(needed))?.run(&[])? {
            if value.is_tensor() && value.shape().iter().product::<usize>() <= MOST_INTS {
                ints.insert(name, value.to_i64()?.into_iter().collect());
            }
        }
    }
    ints.extend(wanted.into_iter().filter_map(|(name, known)| Some((name, known?))));
    Ok(ints)
}
