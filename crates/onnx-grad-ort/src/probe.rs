//! The types of a model's values at the chosen input size.
//!
//! Gradient rules need ranks, element types and sizes, and files often lack them. Where all operators are common ones they are worked out
//! here (`probe::infer`). Else ONNX Runtime knows: the model is loaded once with every value as an output, and the session says their types.
//! Where a size is still open it is run once (twice, with the batch and with twice as many rows, where the batch is open), and what differs between
//! the runs is what depends on the batch.

mod fixed;
pub use fixed::output_shapes;
pub(crate) mod infer;
mod loops;

use std::collections::{HashMap, HashSet};

use ndarray::{ArrayD, IxDyn};
use onnx_grad::{
    Dim, ElemType, Model, Types, ValueType,
    graph::{self, Index},
    proto::{GraphProto, NodeProto},
    unroll::unroll,
    value_info,
};

use crate::{
    error::{Error, Result},
    runtime::{Optimisation, Provider, ProviderChoice, Runtime, Session, SessionOptions, Value},
    text::printable,
};

/// Integers up to this many are read in full: shapes, axes, bounds. More is data.
const MOST_INTS: usize = 64;

/// An input of the model as it will be fed.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub elem: ElemType,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Whether the first extent is a batch that may change.
    pub free_batch: bool,
}

/// Every value's type when the inputs have those shapes.
///
/// # Errors
/// ONNX Runtime cannot load the model.
pub fn probe(runtime: &Runtime, model: &Model, inputs: &[Feed]) -> Result<Types> {
    bounded(inputs)?;
    refuse_equations(model.graph())?;
    let mut types = Types::stated(model.graph());
    state_inputs(&mut types, inputs);
    if is_known(model.graph(), &types) {
        return Ok(types);
    }
    // With the batch fixed, most models have nothing left to be measured; then nothing has to be run, or even read from the file.
    if let Ok(Some(fixed)) = fixed::at_fixed_sizes(runtime, model, inputs, &types) {
        return Ok(fixed);
    }
    infer(runtime, model, &mut types)?;
    state_inputs(&mut types, inputs);
    if is_known(model.graph(), &types) {
        return Ok(types);
    }
    // A model that cannot be run on made-up values (indices out of range, say) keeps what was inferred; a rule that needs more
    // says so.
    let mut measured = types.clone();
    match measure(runtime, model, inputs, &mut measured) {
        Ok(()) => Ok(measured),
        Err(Error::Inference { .. }) => Ok(types),
        Err(error) => Err(error),
    }
}

/// The model with its control flow taken apart as far as it is known ([`onnx_grad::unroll`]), and every value's type.
///
/// # Errors
/// Those of [`probe`]; a loop too long to be taken apart.
pub fn probe_unrolled(runtime: &Runtime, model: &Model, inputs: &[Feed]) -> Result<(Model, Types)> {
    // What the file itself tells comes first: a loop that never ends would be run to see its values' types.
    let mut stated = Types::stated(model.graph());
    state_inputs(&mut stated, inputs);
    let mut model = unroll(model, &stated)?.unwrap_or_else(|| model.clone());
    let mut types = probe(runtime, &model, inputs)?;
    // Each round's types may tell the course of what was inside.
    while let Some(unrolled) = unroll(&model, &types)? {
        types = probe(runtime, &unrolled, inputs)?;
        model = unrolled;
    }
    Ok((model, types))
}

/// Runs the model once on made-up inputs of those shapes.
///
/// # Errors
/// It cannot be loaded, or doesn't run: with ONNX Runtime's own words.
pub fn run_once(runtime: &Runtime, model: &Model, inputs: &[Feed]) -> Result<()> {
    bounded(inputs)?;
    refuse_equations(model.graph())?;
    let mut graph = model.graph().clone();
    let mut taken = graph::used_names(&graph);
    loops::bound(&mut graph, &mut taken);
    let session = session(runtime, &model.with_graph(graph))?;
    run(&session, inputs, 1, &HashMap::new()).map(drop)
}

/// ONNX Runtime never comes back from an equation with other characters.
fn refuse_equations(graph: &GraphProto) -> Result<()> {
    let is_plain = |byte: &u8| byte.is_ascii_alphabetic() || b" ,.->".contains(byte);
    for node in graph.node.iter().filter(|node| node.op_type == "Einsum" && node.domain.is_empty()) {
        let equation = node.attr("equation").and_then(|attribute| attribute.s.as_deref()).unwrap_or_default();
        if !equation.iter().all(is_plain) {
            let (name, equation) = (printable(graph::label(node)).into_owned(), String::from_utf8_lossy(equation));
            return Err(Error::Value(format!(
                "the equation of Einsum `{name}` is malformed: {}",
                printable(&equation)
            )));
        }
    }
    Ok(())
}

/// The most elements of an input: 2 GiB as float32.
const MOST_ELEMENTS: usize = 1 << 29;

/// Refuses inputs that no memory holds before one is made.
fn bounded(inputs: &[Feed]) -> Result<()> {
    for Feed { name, shape, .. } in inputs {
        let whole = shape.iter().try_fold(1usize, |whole, &size| whole.checked_mul(size.max(1)));
        if whole.is_none_or(|whole| whole > MOST_ELEMENTS) {
            return Err(Error::Value(format!(
                "input `{}` of shape {shape:?} is too large: more than {MOST_ELEMENTS} elements",
                printable(name)
            )));
        }
    }
    Ok(())
}

fn state_inputs(types: &mut Types, inputs: &[Feed]) {
    for input in inputs {
        let mut dims: Vec<Dim> = input.shape.iter().map(|&size| Dim::Fixed(size)).collect();
        if let Some(batch) = dims.first_mut().filter(|_| input.free_batch) {
            *batch = Dim::Free;
        }
        types.insert(&input.name, ValueType { elem: input.elem, shape: Some(dims) });
    }
}

/// Whether nothing is open but the first axis of values, the batch, and no bound of a slice or the like is computed.
fn is_known(graph: &GraphProto, types: &Types) -> bool {
    let index = Index::new(graph);
    let is_known = |name: &str| {
        types.get(name).is_some_and(|ty| {
            // Rules ask for the shapes of floats alone.
            let dims = ty.shape.as_deref();
            !ty.elem.is_float() || dims.is_some_and(|dims| dims.iter().skip(1).all(|dim| dim.fixed().is_some()))
        })
    };
    let is_constant = |name: &String| name.is_empty() || index.constant(name).is_some();
    graph.node.iter().all(|node| {
        let computed = matches!(
            &*node.op_type,
            "Slice"
                | "Pad"
                | "Tile"
                | "Resize"
                | "Upsample"
                | "TopK"
                | "Squeeze"
                | "Unsqueeze"
                | "LSTM"
                | "GRU"
                | "RNN"
                | "Col2Im"
                | "DFT"
                | "STFT"
        ) || node.op_type.starts_with("Reduce");
        let is_float = node.input.first().and_then(|name| types.get(name)).is_none_or(|ty| ty.elem.is_float());
        // The course of control flow is in integers and booleans, whatever else it reads.
        let control = matches!(&*node.op_type, "If" | "Loop" | "Scan");
        let open = control || computed && is_float && !node.input.iter().skip(1).all(is_constant);
        !open && node.output.iter().all(|name| name.is_empty() || is_known(name))
    })
}

/// The session in which types are asked for: unoptimised, so that every value is there.
fn session(runtime: &Runtime, model: &Model) -> Result<Session> {
    let options = SessionOptions {
        provider: ProviderChoice::Named(Provider::Cpu),
        optimisation: Optimisation::Off,
        ..Default::default()
    };
    runtime.session_of(model, &options)
}

/// What ONNX Runtime infers without running.
fn infer(runtime: &Runtime, model: &Model, types: &mut Types) -> Result<()> {
    let mut graph = model.graph().clone();
    let listed: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    let made: Vec<String> = graph.node.iter().flat_map(|node| node.output.iter().cloned()).collect();
    let wanted = made.iter().filter(|name| !name.is_empty() && !listed.contains(*name));
    graph.output.extend(wanted.map(|name| value_info(name, None)));
    let session = session(runtime, &model.with_graph(graph))?;
    for info in session.outputs() {
        let elem = ElemType::from_code(info.elem.code());
        // A rank of 0 is how both a scalar and an unknown shape come out.
        let shape =
            (!info.shape.is_empty()).then(|| info.shape.iter().map(|n| n.map_or(Dim::Free, Dim::Fixed)).collect());
        if info.elem.code() != 0 {
            types.insert(&info.name, ValueType { elem, shape });
        }
    }
    Ok(())
}

/// What a run shows: the shapes of floats, and the contents of small integer tensors.
fn measure(runtime: &Runtime, model: &Model, inputs: &[Feed], types: &mut Types) -> Result<()> {
    let mut graph = model.graph().clone();
    let mut taken = graph::used_names(&graph);
    let mut asked: HashMap<String, String> = HashMap::new();
    let mut outputs = Vec::new();
    let made: Vec<String> = graph.node.iter().flat_map(|node| node.output.iter().cloned()).collect();
    for name in made.into_iter().filter(|name| !name.is_empty()) {
        let Some(elem) = types.get(&name).map(|ty| ty.elem) else { continue };
        if matches!(elem, ElemType::Int64 | ElemType::Int32) {
            outputs.push(value_info(&name, None));
        }
        let mut question = format!("{name}/shape");
        while !taken.insert(question.clone()) {
            question.push('_');
        }
        graph.node.push(NodeProto {
            op_type: "Shape".into(),
            name: question.clone(),
            input: vec![name.clone()],
            output: vec![question.clone()],
            ..Default::default()
        });
        outputs.push(value_info(&question, None));
        asked.insert(question, name);
    }
    graph.output = outputs;
    loops::bound(&mut graph, &mut taken);
    let session = session(runtime, &model.with_graph(graph))?;
    let first = run(&session, inputs, 1, &asked)?;
    // A model that claims an open batch but was exported for one row fails with two: then everything is as with one.
    let is_free = inputs.iter().any(|input| input.free_batch);
    let second = if is_free { run(&session, inputs, 2, &asked).ok() } else { None };
    let second = second.as_ref().unwrap_or(&first);
    let made_up = MadeUp::of(model.graph());
    for (name, dims) in &first.shapes {
        let Some(ValueType { elem, shape }) = types.get(name).cloned() else { continue };
        if made_up.sizes.contains(name.as_str()) {
            let shape = shape.or_else(|| Some(vec![Dim::Free; dims.len()]));
            types.insert(name, ValueType { elem, shape });
            continue;
        }
        let other = second.shapes.get(name).filter(|other| other.len() == dims.len());
        let same = |axis: usize| other.is_some_and(|other| other[axis] == dims[axis]);
        let dim = |(axis, &size): (usize, &usize)| if same(axis) { Dim::Fixed(size) } else { Dim::Free };
        let shape = other.map(|_| dims.iter().enumerate().map(dim).collect());
        types.insert(name, ValueType { elem, shape });
    }
    for (name, ints) in &first.ints {
        if second.ints.get(name) == Some(ints) && !made_up.contents.contains(name.as_str()) {
            types.insert_ints(name, ints.clone());
        }
    }
    Ok(())
}

/// The values of a graph whose sizes depend on what its inputs hold, as a list of boxes that a detector found does: their first axis is no
/// batch, and every run has another.
pub fn sized_by_content(graph: &GraphProto) -> HashSet<&str> {
    MadeUp::of(graph).sizes
}

/// The values that a run on made-up inputs tells nothing about: with real inputs they are others.
#[derive(Default)]
struct MadeUp<'a> {
    /// What these hold depends on what the inputs hold.
    contents: HashSet<&'a str>,
    /// So does how large these are.
    sizes: HashSet<&'a str>,
}

impl<'a> MadeUp<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let inputs = graph.input.iter().map(|input| input.name.as_str());
        let mut all = Self { contents: inputs.filter(|name| !constants.contains(name)).collect(), ..Self::default() };
        for node in &graph.node {
            let reads = graph::reads(node);
            let held = |at: usize| node.input.get(at).is_some_and(|name| all.contents.contains(name.as_str()));
            let contents = reads.iter().any(|name| all.contents.contains(name));
            let sizes = reads.iter().any(|name| all.sizes.contains(name));
            let (contents, sizes) = match &*node.op_type {
                "Shape" | "Size" => (sizes, false),
                "NonZero" | "Compress" | "Unique" | "NonMaxSuppression" => (contents, contents || sizes),
                "ConstantOfShape" => (sizes, held(0) || sizes),
                "If" => (contents, held(0) || sizes),
                "Range" => (contents, (0..3).any(held) || sizes),
                "Loop" => (contents, held(0) || held(1) || sizes),
                "OneHot" => (contents, held(1) || sizes),
                "Reshape" | "Expand" | "Slice" | "Pad" | "Tile" | "Resize" | "TopK" | "Split" | "Unsqueeze"
                | "Squeeze" | "CenterCropPad" | "Col2Im" => (contents, (1..5).any(held) || sizes),
                _ => (contents, sizes),
            };
            let outputs = node.output.iter().map(String::as_str).filter(|name| !name.is_empty());
            if contents {
                all.contents.extend(outputs.clone());
            }
            if sizes {
                all.sizes.extend(outputs);
            }
        }
        all
    }
}

#[derive(Default)]
struct Measured {
    shapes: HashMap<String, Vec<usize>>,
    ints: HashMap<String, Vec<i64>>,
}

/// Runs the model with batches `times` as large as stated.
fn run(session: &Session, inputs: &[Feed], times: usize, asked: &HashMap<String, String>) -> Result<Measured> {
    let mut values = Vec::new();
    for input in inputs {
        let mut shape = input.shape.clone();
        if let Some(batch) = shape.first_mut().filter(|_| input.free_batch) {
            *batch *= times;
        }
        let elem = crate::runtime::ElemType::from_code(input.elem.code());
        values.push((input.name.as_str(), Value::from_f32_as(ArrayD::from_elem(IxDyn(&shape), 0.5), elem)?));
    }
    let feeds: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (*name, value)).collect();
    let mut measured = Measured::default();
    for (name, value) in session.run(&feeds)? {
        if !value.is_tensor() {
            continue;
        }
        match asked.get(&name) {
            Some(of) => {
                let sizes = value.to_i64()?.into_iter().map(|size| usize::try_from(size).unwrap_or(0)).collect();
                measured.shapes.insert(of.clone(), sizes);
            }
            None if !value.elem_type().is_float() && value.shape().iter().product::<usize>() <= MOST_INTS => {
                measured.ints.insert(name, value.to_i64()?.into_iter().collect());
            }
            None => {}
        }
    }
    Ok(measured)
}
