//! The passes that explain on the CPU against the plain way: both passes optimised as one and split, values in ONNX Runtime's blocked
//! layout, camscope's own kernels. A wrong kernel, layout or parting shows here, layer by layer.

use std::sync::Arc;

use camscope_core::{
    Error, Result,
    bench::{Everywhere, ToInput},
    explain::{Explainer, Options},
    model::{Layout, Network, resolve},
    runtime::{Canceller, Optimisation, Provider, ProviderChoice, SessionOptions, Value},
    subject::TypedModel,
    target::{ClassSpec, TargetRef},
};
use camscope_tests::{
    recording::{Case, cases, check_all},
    relative_error, runtime,
};
use ndarray::{ArrayD, IxDyn};
use onnx_grad::{Request, differentiate};

/// The contract: relative error against float64 autograd, unless float32 autograd itself is worse.
const TOLERANCE: f64 = 1e-4;

/// How far an activation or a gradient at a layer may be from the plain way's.
const APART: f64 = 1e-4;

/// A gradient that would change the score by no more than this part of the scores, were the layer moved by its own size, is rounding:
/// what it is made of cancels. So it is at the mean in a spelled-out layer normalisation, in either way.
const ROUNDING: f64 = 1e-6;

fn options(optimisation: Optimisation) -> SessionOptions {
    let provider = ProviderChoice::Named(Provider::Cpu);
    SessionOptions { provider, threads: Some(1), optimisation, ..Default::default() }
}

fn norm(array: &ArrayD<f32>) -> f64 {
    array.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt()
}

/// Written so that NaN fails. What is 0 has to be 0.
fn within(what: &str, found: &ArrayD<f32>, wanted: &ArrayD<f32>, tolerance: f64) -> Result<(), String> {
    if found.shape() != wanted.shape() {
        return Err(format!("{what} has shape {:?}, not {:?}", found.shape(), wanted.shape()));
    }
    if (norm(found) == 0.0) != (norm(wanted) == 0.0) {
        return Err(format!("{what} has norm {:.2e}, not {:.2e}", norm(found), norm(wanted)));
    }
    let error = relative_error(found, wanted);
    if error <= tolerance { Ok(()) } else { Err(format!("{what} is off by {error:.2e}, at most {tolerance:.1e}")) }
}

/// For each value its activation and its gradient, by two sessions that ONNX Runtime leaves nearly as they are.
fn plainly(
    subject: &TypedModel,
    values: &[&str],
    input: &ArrayD<f32>,
    class: usize,
) -> Result<Vec<(ArrayD<f32>, ArrayD<f32>)>> {
    let network = subject.network();
    let mut wrt = values.to_vec();
    wrt.sort_unstable();
    wrt.dedup();
    let request = Request {
        outputs: &[network.classes.as_ref().expect("classes").logits.as_str()],
        wrt: &wrt,
        types: subject.types(),
    };
    let gradient = differentiate(&network.model, &request)?;
    let session = |model| runtime().session_of(model, &options(Optimisation::Basic));

    let name = network.input().name.as_str();
    let picture = Value::from_f32(input.clone())?;
    let forward = session(&gradient.forward)?.run(&[(name, &picture)])?;
    let given = |value: &str| {
        let own = (value == name).then_some(&picture);
        own.or_else(|| forward.get(value)).ok_or_else(|| Error::Value(format!("the forward pass gives no {value}")))
    };
    let mut seed = ArrayD::zeros(given(network.classes.as_ref().expect("classes").logits.as_str())?.shape());
    seed[IxDyn(&[0, class])] = 1.0;
    let seed = Value::from_f32(seed)?;
    let mut feeds = vec![(gradient.seeds[0].1.as_str(), &seed)];
    for saved in &gradient.saved {
        feeds.push((saved, given(saved)?));
    }
    let backward = session(&gradient.backward)?.run(&feeds)?;
    let of = |value: &&str| {
        let found = gradient.gradients.iter().find(|(name, _)| name == value).and_then(|(_, name)| name.as_deref());
        let found = found.and_then(|name| backward.get(name));
        let found = found.ok_or_else(|| Error::Value(format!("{value} has no gradient")))?;
        Ok((given(value)?.to_f32()?, found.to_f32()?))
    };
    values.iter().map(of).collect()
}

fn target(class: usize) -> TargetRef {
    ClassSpec::Index(class).target()
}

/// For each tap its activation and its gradient, as they are explained from.
fn explained(explainer: &Explainer, input: &ArrayD<f32>, class: usize) -> Result<Vec<(ArrayD<f32>, ArrayD<f32>)>> {
    let canceller = Canceller::new();
    let forward = explainer.forward(input, &canceller)?;
    let backward = explainer.backward(&forward, &explainer.evaluate(&forward, &target(class))?, &canceller)?;
    let of = |tap| Ok((explainer.activation(&forward, tap)?.to_f32()?, explainer.gradient(&backward, tap)?.to_f32()?));
    (0..explainer.taps().len()).map(of).collect()
}

/// Every layer's heatmap is there and finite, whatever its shape is and in whatever layout its values come.
fn heatmaps(explainer: &Explainer, input: &ArrayD<f32>, class: usize) -> Result<(), String> {
    let canceller = Canceller::new();
    let forward = explainer.forward(input, &canceller).map_err(|error| error.to_string())?;
    let target = explainer.evaluate(&forward, &target(class)).map_err(|error| error.to_string())?;
    let backward = explainer.backward(&forward, &target, &canceller).map_err(|error| error.to_string())?;
    for (at, tap) in explainer.taps().iter().enumerate() {
        let heatmap = explainer.heatmap(&forward, &backward, at, explainer.options().method.method);
        match heatmap.map_err(|error| format!("the heatmap at {}: {error}", tap.name()))? {
            Some(heatmap) if !heatmap.iter().all(|heat| heat.is_finite()) => {
                return Err(format!("the heatmap at {} is not finite", tap.name()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check(case: &Case) -> Result<(), String> {
    let mut recording = case.recording();
    let (input, gradient) = (recording.floats("input"), recording.floats("grad_input"));
    let tolerance = TOLERANCE.max(4.0 * recording.number("err_input"));
    let subject = Arc::new(subject(case, input.shape()).map_err(|error| error.to_string())?);
    let own = Options { session: options(Optimisation::All), ..Default::default() };
    let everywhere = Everywhere::new(runtime(), &subject, &own).map_err(|error| error.to_string())?;
    if let Some(reason) = everywhere.no_input {
        return Err(format!("the input has no gradient: {reason}"));
    }
    let taps = everywhere.explainer.taps();
    let input_name = &subject.network().input().name;
    let values: Vec<&str> = taps.iter().map(|tap| tap.value().unwrap_or(input_name)).collect();
    let plain = plainly(&subject, &values, &input, case.class).map_err(|error| format!("the plain way: {error}"))?;
    let all = explained(&everywhere.explainer, &input, case.class).map_err(|error| error.to_string())?;
    heatmaps(&everywhere.explainer, &input, case.class)?;
    let logits = norm(&recording.floats("logits"));
    let mut wrong = Vec::new();
    for ((tap, found), wanted) in taps.iter().zip(&all).zip(&plain) {
        wrong.extend(within(&format!("the activation at {}", tap.name()), &found.0, &wanted.0, APART).err());
        let rounding = |gradient: &ArrayD<f32>| norm(gradient) * norm(&wanted.0) <= ROUNDING * logits;
        let both_cancel = norm(&wanted.1) > 0.0 && rounding(&found.1) && rounding(&wanted.1);
        if !both_cancel {
            wrong.extend(within(&format!("the gradient at {}", tap.name()), &found.1, &wanted.1, APART).err());
        }
    }
    let (_, at_input) = all.last().ok_or("a tap")?;
    wrong.extend(within("the gradient at the input", at_input, &gradient, tolerance).err());

    // Where fewer values are kept, more is fused.
    let to_input = ToInput::new(runtime(), &subject, &own).map_err(|error| error.to_string())?;
    // Every one of these networks has convolutions: falling back would hide what is tested here.
    if !to_input.explainer.optimised_as_one() || !everywhere.explainer.optimised_as_one() {
        return Err("the passes were not optimised as one".into());
    }
    let alone = explained(&to_input.explainer, &input, case.class).map_err(|error| error.to_string())?;
    let (_, at_input) = alone.last().ok_or("a tap")?;
    wrong.extend(within("the gradient at the input alone", at_input, &gradient, tolerance).err());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n  ")) }
}

/// The model at the recording's size.
fn subject(case: &Case, shape: &[usize]) -> Result<TypedModel> {
    let network = Network::open(&case.path)?;
    let mut sidecar = resolve(&case.path, &network.input().shape)?;
    let (height, width) = match sidecar.preprocessing.layout {
        Layout::Nchw => (shape[2], shape[3]),
        Layout::Nhwc => (shape[1], shape[2]),
    };
    sidecar.preprocessing.size = (height as u32, width as u32);
    TypedModel::new(runtime(), network, sidecar)
}

#[test]
fn every_layer_of_every_family_is_what_the_plain_way_gives() {
    let cases = cases("families");
    assert!(cases.len() >= 100, "only {} files", cases.len());
    check_all(&cases, check);
}

#[test]
fn every_layer_of_keras_is_what_the_plain_way_gives() {
    check_all(&cases("keras"), check);
}

#[test]
fn every_layer_of_the_classifiers_is_what_the_plain_way_gives() {
    let cases = cases("classifiers");
    assert!(cases.len() >= 30, "only {} files", cases.len());
    check_all(&cases, check);
}
