//! `camscope differentiate --target`: what a target has slopes in is differentiated. Where its seed is the same for every picture, as that of a
//! class or of elements of an output is, the seed goes into the model, which then takes nothing but the model's own inputs.

use std::{process::ExitCode, sync::Arc};

use camscope_core::{
    Error, Result,
    explain::{Explainer, Options},
    image::Viewport,
    model::{Given, Network, resolve_given},
    nearest::nearest,
    rules,
    runtime::{Canceller, Runtime},
    subject::TypedModel,
    target::TargetRef,
    text::{printable, printable_path},
};
use ndarray::{ArrayD, IxDyn};
use onnx_grad::{
    ElemType, Gradient, Model, Request,
    graph::{own_squares, used_names},
    proto::{NodeProto, TensorProto},
};

use crate::{
    cli::DifferentiateArgs, differentiate_cmd::values, input::photo_or_pattern, output, plugins, setup::note_all,
};

/// A seed: the value that it is of, and its numbers.
type Seed = (String, ArrayD<f32>);

/// Runs `camscope differentiate --target`.
///
/// # Errors
/// The model cannot be read, has no such target or value, or cannot be differentiated.
pub(crate) fn run(args: &DifferentiateArgs, target: &TargetRef) -> Result<ExitCode> {
    let refused = |source| Error::Model { path: printable_path(&args.model), source };
    let mut network = Network::open(&args.model)?;
    note_all(network.note.as_slice());
    let sizes = |name: &str| args.shapes.iter().find(|shape| shape.name == name).map(|shape| &shape.sizes[..]);
    let size = match sizes(&network.input().name) {
        Some(&[_, 1 | 3, height, width] | &[_, height, width, 1 | 3]) => Some((height as u32, width as u32)),
        _ => None,
    };
    let sidecar = resolve_given(&network, &Given { size, ..Given::default() })?;
    let others: Vec<(String, Vec<usize>)> = network
        .others()
        .map(|input| {
            let stated = || input.shape.iter().map(|size| size.unwrap_or(1)).collect();
            (input.name.clone(), sizes(&input.name).map_or_else(stated, <[usize]>::to_vec))
        })
        .collect();
    for (name, shape) in others {
        // Only their types matter: the model that is written takes them as this one does.
        network.feed(&name, ArrayD::zeros(IxDyn(&shape)), None)?;
    }
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let subject = Arc::new(TypedModel::for_targets(runtime, network, sidecar, std::slice::from_ref(target))?);
    let (height, width) = subject.sidecar().preprocessing.size;
    let input = Viewport::of([height as usize, width as usize]);
    if let Some(reason) = target.point().and_then(|point| input.seen_at(point).err()) {
        return Err(Error::BadTarget { spec: target.spec(), reason });
    }
    let model = &subject.network().model;
    let known = values(model);
    if let Some(name) = args.wrt.iter().find(|name| !known.contains(&name.as_str())) {
        let (path, nearest) = (printable_path(&args.model), nearest(name, known.iter().copied()));
        return Err(Error::UnknownValue { path, name: name.clone(), nearest });
    }
    let wrt: Vec<&str> = args.wrt.iter().map(String::as_str).collect();
    let request = Request { outputs: &subject.heads(), wrt: &wrt, types: subject.types() };
    let gradient = rules::differentiate(model, &request).map_err(refused)?;
    if let Some((name, _)) = gradient.gradients.iter().find(|(_, gradient)| gradient.is_none()) {
        return Err(Error::NoGradient { name: name.clone() });
    }
    let seeds = same_for_every_picture(runtime, &subject, target)?;
    let fused = gradient.fuse().map_err(refused)?;
    let fused = seeds.as_ref().map_or_else(|| fused.clone(), |seeds| with_seeds(&fused, &gradient, seeds));
    let graph = own_squares(fused.graph(), gradient.forward.graph());
    fused.with_graph(graph).write(&args.output).map_err(refused)?;
    let names: Vec<&str> = gradient.gradients.iter().filter_map(|(_, name)| name.as_deref()).collect();
    let (path, spec, names) = (printable_path(&args.output), target.spec(), names.join(", "));
    let told = match seeds {
        Some(_) => format!("{path}: of {spec}, gives {names}"),
        None => {
            let seeds: Vec<&str> = gradient.seeds.iter().map(|(_, seed)| seed.as_str()).collect();
            let seeds = seeds.join(", ");
            note_all(&[format!("what {spec} is depends on the picture: its slopes are to be given as {seeds}")]);
            format!("{path}: of {spec}, takes {seeds}, gives {names}")
        }
    };
    output::print(&format!("{}\n", printable(&told)))?;
    Ok(ExitCode::SUCCESS)
}

/// The seeds of a target that are the same whatever the picture shows; `None` where they depend on it.
fn same_for_every_picture(
    runtime: &'static Runtime,
    subject: &Arc<TypedModel>,
    target: &TargetRef,
) -> Result<Option<Vec<Seed>>> {
    let spec = target.spec();
    let mut inner = spec.as_str();
    while let Some(rest) = inner.strip_prefix("not:") {
        inner = rest;
    }
    // Two pictures may have the same likeliest class, and their surest boxes the same place.
    let is_fixed = match inner.split_once(':') {
        Some(("class", class)) => !class.starts_with("top"),
        Some(("contrast", pair)) => !pair.split(',').any(|class| class.trim().starts_with("top")),
        Some(("output", _)) => true,
        Some(("pixel", pixel)) => !pixel.starts_with("peak") && has_one_seed(subject.network(), pixel),
        _ => false,
    };
    let explainer = Explainer::forward_passes(runtime, Arc::clone(subject), Options::default())?;
    let preprocessing = &subject.sidecar().preprocessing;
    let (picture, _) = photo_or_pattern(None, subject.network(), preprocessing)?;
    let [low, high] = preprocessing.range;
    let other = if preprocessing.whole { picture.mapv(|level| low + high - level) } else { picture.mapv(|x| -x / 2.0) };
    let mut found: Vec<Vec<Seed>> = Vec::new();
    for picture in [picture, other] {
        // A box that neither shows has slopes all the same, which nobody knows here.
        let forward = explainer.forward(&picture, &Canceller::new())?;
        match explainer.evaluate(&forward, target) {
            Ok(evaluated) => found.extend(evaluated.into_iter().map(|evaluated| evaluated.seeds)),
            Err(error) if is_fixed => return Err(error),
            Err(_) => {}
        }
    }
    let one = found.pop();
    Ok(one.filter(|one| is_fixed && found.iter().all(|other| other == one)))
}

/// Whether a pixel's number is the same element for every picture: its class is said, or there is one number a pixel, and the model's size is
/// not open.
fn has_one_seed(network: &Network, pixel: &str) -> bool {
    let is_sized = network.input().shape.iter().skip(1).all(Option::is_some);
    let is_single = || network.map().is_ok_and(|map| !map.is_labelled() && map.classes() == 1);
    is_sized && (pixel.matches(',').count() > 1 || is_single())
}

/// The model with seeds as constants, each for as many images as there are.
fn with_seeds(fused: &Model, gradient: &Gradient, seeds: &[Seed]) -> Model {
    let mut graph = fused.graph().clone();
    let mut used = used_names(&graph);
    let mut fresh = |start: String| {
        let mut name = start;
        while !used.insert(name.clone()) {
            name.push('_');
        }
        name
    };
    for (value, seed) in &gradient.seeds {
        let Some(first) = graph.node.iter().position(|node| node.input.contains(seed)) else { continue };
        graph.input.retain(|input| input.name != *seed);
        // What the target has no slope in.
        let none = (vec![1], vec![0.0]);
        let given = seeds.iter().find(|(name, _)| name == value);
        let (dims, numbers) = given.map_or(none, |(_, seed)| {
            let dims = seed.shape().iter().map(|size| *size as i64).collect();
            (dims, seed.iter().map(|number| f64::from(*number)).collect())
        });
        let (constant, shape) = (fresh(format!("{seed}.of_one")), fresh(format!("{seed}.shape")));
        graph.initializer.push(TensorProto::floats(constant.clone(), ElemType::Float, &dims, &numbers));
        let node = |op: &str, input: Vec<String>, output: &str| NodeProto {
            op_type: op.into(),
            name: output.to_owned(),
            input,
            output: vec![output.to_owned()],
            ..Default::default()
        };
        let nodes = [node("Shape", vec![value.clone()], &shape), node("Expand", vec![constant, shape.clone()], seed)];
        graph.node.splice(first..first, nodes);
    }
    graph.input.retain(|input| !gradient.seeds.iter().any(|(_, seed)| *seed == input.name));
    fused.with_graph(graph)
}
