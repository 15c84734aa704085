//! Checks one row: gradients against finite differences, and what must hold of every differentiated model.

use std::collections::{BTreeMap, HashSet};

use camscope_core::{
    probe::{Feed, probe_unrolled},
    runtime::{Optimisation, Provider, ProviderChoice, Runtime, Session, SessionOptions, Value},
};
use camscope_tests::Random;
use ndarray::{ArrayD, IxDyn};
use onnx_grad::{EMITTED_OPSET, ElemType, Gradient, Model, Request, differentiate, upgrade::upgrade};

use crate::{
    case::{Arg, Case, Draw},
    portable,
};

/// Half the distance of the outer pair of evaluations; the inner pair has half of it (Richardson's extrapolation).
const STEP: f64 = 8e-3;

type Feeds = BTreeMap<String, ArrayD<f32>>;

/// Every way a row is tried.
///
/// # Errors
/// The first that is wrong, in words.
pub(crate) fn check(runtime: &Runtime, case: &Case) -> Result<(), String> {
    for &opset in &case.opsets {
        for free_batch in [false, true] {
            if free_batch && !case.free_batch {
                continue;
            }
            let at =
                |error: String| format!("{} {} opset {opset} free batch {free_batch}: {error}", case.op, case.note);
            check_at(runtime, case, opset, free_batch).map_err(at)?;
        }
    }
    Ok(())
}

fn check_at(runtime: &Runtime, case: &Case, opset: i64, free_batch: bool) -> Result<(), String> {
    let model = case.model(opset, free_batch);
    let feeds = draw(case);
    let stated: Vec<Feed> = feeds
        .iter()
        .map(|(name, array)| Feed {
            name: name.clone(),
            elem: case.elem,
            shape: array.shape().to_vec(),
            free_batch: free_batch && name[1..].parse().is_ok_and(|i| case.has_batch(i)),
        })
        .collect();
    let plain = session(runtime, &model, Optimisation::All)?;
    let model = upgrade(&model, EMITTED_OPSET).map_err(|error| error.to_string())?;
    let (model, types) = probe_unrolled(runtime, &model, &stated).map_err(|error| format!("probing: {error}"))?;
    let values = run(&plain, &feeds)?;
    // Differences of short floats are noise: the reference is the same model in float32.
    let reference = match case.elem {
        ElemType::Float16 | ElemType::BFloat16 => {
            let long = case.clone().elem(ElemType::Float).model(opset, free_batch);
            session(runtime, &long, Optimisation::All)?
        }
        _ => session(runtime, &model, Optimisation::All)?,
    };
    let is_float = |name: &String| types.get(name).is_some_and(|ty| ty.elem.is_float());
    let outputs: Vec<String> = (0..case.outputs).map(Case::output_name).filter(is_float).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let wanted = |(i, arg): (usize, &Arg)| matches!(arg, Arg::Wanted(..)).then(|| Case::input_name(i));
    let wrt: Vec<String> = case.args.iter().enumerate().filter_map(wanted).collect();
    let wrt: Vec<&str> = wrt.iter().map(String::as_str).collect();
    let request = Request { outputs: &outputs, wrt: &wrt, types: &types };
    let gradient = differentiate(&model, &request).map_err(|error| error.to_string())?;
    let again = differentiate(&model, &request).map_err(|error| error.to_string())?;
    check_form(case, &model, &gradient, &again)?;
    portable::check(case, &model, &gradient)?;

    let mut random = Random::new(7);
    let seeds: BTreeMap<&str, ArrayD<f32>> = outputs
        .iter()
        .map(|&name| {
            (name, ArrayD::from_shape_simple_fn(values[name].raw_dim(), || (random.draw() * 2.0 - 1.0) as f32))
        })
        .collect();
    let (forward, analytic) = both_passes(runtime, &gradient, &feeds, &seeds, Optimisation::All)?;
    let (_, unoptimised) = both_passes(runtime, &gradient, &feeds, &seeds, Optimisation::Off)?;
    let fused = fused_pass(runtime, &gradient, &feeds, &seeds)?;
    for name in &outputs {
        if forward[*name] != values[*name] {
            return Err(format!("the forward pass changes {name}"));
        }
    }
    for name in wrt {
        let numeric = finite_differences(&reference, &feeds, name, &seeds)?;
        if analytic[name].shape() != feeds[name].shape() {
            return Err(format!("the gradient of {name} has shape {:?}", analytic[name].shape()));
        }
        for (which, found) in [("optimised", &analytic), ("unoptimised", &unoptimised), ("fused", &fused)] {
            let error = relative(&found[name], &numeric);
            if error.is_nan() || error > case.tolerance {
                let shown =
                    |all: Vec<f64>| all.into_iter().take(8).map(|x| format!("{x:.5}")).collect::<Vec<_>>().join(" ");
                return Err(format!(
                    "the {which} gradient of {name} is off by {error:.2e}\n  found   {}\n  numeric {}",
                    shown(found[name].iter().map(|&x| f64::from(x)).collect()),
                    shown(numeric.clone())
                ));
            }
        }
    }
    Ok(())
}

/// Only standard operators beside the row's own, names used once, the same bytes every time, the original's outputs first.
fn check_form(case: &Case, model: &Model, gradient: &Gradient, again: &Gradient) -> Result<(), String> {
    let fused = gradient.fuse().map_err(|error| error.to_string())?;
    for part in [&gradient.forward, &gradient.backward, &fused] {
        let mut seen = HashSet::new();
        for node in &part.graph().node {
            if !node.domain.is_empty() && (node.domain != case.domain || node.op_type != case.op) {
                return Err(format!("node {} is of domain {}", node.name, node.domain));
            }
            let mut names = node.output.iter().filter(|name| !name.is_empty());
            if let Some(twice) = names.find(|name| !seen.insert((*name).clone())) {
                return Err(format!("{twice} is made twice"));
            }
        }
        let nodes: HashSet<&str> = part.graph().node.iter().map(|node| node.name.as_str()).collect();
        if nodes.len() != part.graph().node.len() {
            return Err("two nodes have one name".into());
        }
    }
    if gradient.backward.to_bytes() != again.backward.to_bytes()
        || gradient.forward.to_bytes() != again.forward.to_bytes()
    {
        return Err("differentiating twice gives different bytes".into());
    }
    let named = |model: &Model| model.graph().output.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
    if !named(&gradient.forward).starts_with(&named(model)) {
        return Err("the forward model's outputs do not begin with the original's".into());
    }
    Ok(())
}

fn session(runtime: &Runtime, model: &Model, optimisation: Optimisation) -> Result<Session, String> {
    let provider = ProviderChoice::Named(Provider::Cpu);
    let options = SessionOptions { provider, optimisation, threads: Some(1), ..Default::default() };
    runtime.session(&model.to_bytes(), &options).map_err(|error| format!("loading: {error}"))
}

fn run(session: &Session, feeds: &Feeds) -> Result<BTreeMap<String, ArrayD<f32>>, String> {
    let values = values(feeds, session)?;
    let named: Vec<(&str, &Value)> = session
        .inputs()
        .iter()
        .filter_map(|input| values.get(&input.name).map(|value| (input.name.as_str(), value)))
        .collect();
    let outputs = session.run(&named).map_err(|error| format!("running: {error}"))?;
    Ok(outputs.into_iter().filter_map(|(name, value)| Some((name, value.to_f32().ok()?))).collect())
}

/// The feeds in the types that the session takes.
fn values(feeds: &Feeds, session: &Session) -> Result<BTreeMap<String, Value>, String> {
    let value = |name: &String, array: &ArrayD<f32>| {
        let input = session.inputs().iter().find(|input| input.name == *name)?;
        Some(Value::from_f32_as(array.clone(), input.elem).map_err(|error| error.to_string()))
    };
    feeds.iter().filter_map(|(name, array)| Some(value(name, array)?.map(|value| (name.clone(), value)))).collect()
}

type Arrays = BTreeMap<String, ArrayD<f32>>;

fn both_passes(
    runtime: &Runtime,
    gradient: &Gradient,
    feeds: &Feeds,
    seeds: &BTreeMap<&str, ArrayD<f32>>,
    optimisation: Optimisation,
) -> Result<(Arrays, Arrays), String> {
    let forward = session(runtime, &gradient.forward, optimisation)?;
    let mut values = values(feeds, &forward)?;
    let named: Vec<(&str, &Value)> =
        forward.inputs().iter().map(|input| (input.name.as_str(), &values[&input.name])).collect();
    let outputs = forward.run(&named).map_err(|error| format!("forward: {error}"))?;
    let floats = outputs.iter().filter_map(|(name, value)| Some((name.to_owned(), value.to_f32().ok()?))).collect();
    for (name, seed) in &gradient.seeds {
        values.insert(seed.clone(), typed(outputs.get(name), &seeds[name.as_str()])?);
    }
    values.extend(outputs);
    let backward = session(runtime, &gradient.backward, optimisation)?;
    let named: Vec<(&str, &Value)> =
        backward.inputs().iter().map(|input| (input.name.as_str(), &values[&input.name])).collect();
    let outputs = backward.run(&named).map_err(|error| format!("backward: {error}"))?;
    Ok((floats, gradients(gradient, feeds, |name| outputs.get(name).and_then(|value| value.to_f32().ok()))))
}

/// A seed in the type of the output it is for.
fn typed(output: Option<&Value>, seed: &ArrayD<f32>) -> Result<Value, String> {
    let elem = output.ok_or("no such output")?.elem_type();
    Value::from_f32_as(seed.clone(), elem).map_err(|error| error.to_string())
}

fn fused_pass(
    runtime: &Runtime,
    gradient: &Gradient,
    feeds: &Feeds,
    seeds: &BTreeMap<&str, ArrayD<f32>>,
) -> Result<Arrays, String> {
    let fused = gradient.fuse().map_err(|error| error.to_string())?;
    let session = session(runtime, &fused, Optimisation::All)?;
    let mut values = values(feeds, &session)?;
    for (name, seed) in &gradient.seeds {
        let wanted =
            session.inputs().iter().find(|input| input.name == *seed).ok_or("the fused model takes no seed")?;
        let value = Value::from_f32_as(seeds[name.as_str()].clone(), wanted.elem).map_err(|error| error.to_string())?;
        values.insert(seed.clone(), value);
    }
    let named: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let outputs = session.run(&named).map_err(|error| format!("fused: {error}"))?;
    Ok(gradients(gradient, feeds, |name| outputs.get(name).and_then(|value| value.to_f32().ok())))
}

/// The gradients by the name of what they are of; zeros where nothing depends on it.
fn gradients(gradient: &Gradient, feeds: &Feeds, get: impl Fn(&str) -> Option<ArrayD<f32>>) -> Arrays {
    let value = |name: &Option<String>, of: &String| match name {
        Some(name) => get(name),
        None => Some(ArrayD::zeros(feeds[of].raw_dim())),
    };
    gradient.gradients.iter().filter_map(|(of, name)| Some((of.clone(), value(name, of)?))).collect()
}

/// ∂(Σ seed · output)/∂input, one element after the other, by central differences of two widths.
fn finite_differences(
    session: &Session,
    feeds: &Feeds,
    name: &str,
    seeds: &BTreeMap<&str, ArrayD<f32>>,
) -> Result<Vec<f64>, String> {
    let score = |at: usize, step: f64| -> Result<f64, String> {
        let mut moved = feeds.clone();
        let array = moved.get_mut(name).ok_or("no such input")?;
        let element = array.iter_mut().nth(at).ok_or("no such element")?;
        *element = (f64::from(*element) + step) as f32;
        let outputs = run(session, &moved)?;
        let product = |(name, seed): (&&str, &ArrayD<f32>)| -> f64 {
            outputs[*name].iter().zip(seed).map(|(y, s)| f64::from(*y) * f64::from(*s)).sum()
        };
        Ok(seeds.iter().map(product).sum())
    };
    let element = |at: usize| f64::from(*feeds[name].iter().nth(at).unwrap_or(&0.0));
    let slope = |at: usize, step: f64| -> Result<f64, String> {
        // The steps as float32 takes them.
        let (up, down) = (f64::from((element(at) + step) as f32), f64::from((element(at) - step) as f32));
        Ok((score(at, step)? - score(at, -step)?) / (up - down))
    };
    (0..feeds[name].len())
        .map(|at| {
            let (wide, narrow) = (slope(at, STEP)?, slope(at, STEP / 2.0)?);
            Ok((4.0 * narrow - wide) / 3.0)
        })
        .collect()
}

fn relative(found: &ArrayD<f32>, numeric: &[f64]) -> f64 {
    let difference: f64 = found.iter().zip(numeric).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    let norm: f64 = numeric.iter().map(|b| b * b).sum();
    // Where the true gradient is zero, what float32 makes of differences is the scale.
    (difference / norm.max(1e-4)).sqrt()
}

/// All elements of all inputs from one evenly spaced grid, shuffled, so that no two are close to a tie.
fn draw(case: &Case) -> Feeds {
    let mut random = Random::new(case.op.len() as u64 + 11);
    let size = |arg: &Arg| match arg {
        Arg::Wanted(shape, _) => shape.iter().product(),
        _ => 0,
    };
    let total: usize = case.args.iter().map(size).sum();
    let mut grid: Vec<f64> = (0..total).map(|at| (at as f64 + 0.5) / total as f64).collect();
    random.shuffle(&mut grid);
    let mut grid = grid.into_iter();
    let mut feeds = Feeds::new();
    for (i, arg) in case.args.iter().enumerate() {
        let Arg::Wanted(shape, draw) = arg else { continue };
        let place = |at: f64| match draw {
            Draw::Zeros if ((at * total as f64) as usize).is_multiple_of(3) => 0.0,
            // Eight stretches between the multiples of ½, with their ends left out.
            Draw::Any | Draw::Zeros => -2.0 + 0.5 * (at * 8.0).floor() + 0.02 + 0.46 * (at * 8.0).fract(),
            Draw::Positive => 0.3 + 2.0 * at,
            Draw::Unit => -0.9 + 1.8 * at,
            Draw::AboveOne => 1.2 + 2.0 * at,
        };
        let list: Vec<f32> = grid.by_ref().take(size(arg)).map(|at| place(at) as f32).collect();
        feeds.insert(
            Case::input_name(i),
            ArrayD::from_shape_vec(IxDyn(shape), list).expect("as many as the shape says"),
        );
    }
    feeds
}
