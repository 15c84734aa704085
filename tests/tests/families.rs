//! Gradients at the input against values recorded from PyTorch and TensorFlow: small networks of the families of timm, by both
//! exporters, and of Keras.

use camscope_core::{
    probe::{Feed, probe_unrolled},
    runtime::{Provider, ProviderChoice, Session, SessionOptions, Value},
};
use camscope_tests::{
    recording::{Case, cases, check_all},
    relative_error, runtime,
};
use ndarray::{ArrayD, IxDyn};
use onnx_grad::{Dim, EMITTED_OPSET, Model, Request, ValueType, differentiate, upgrade::upgrade};

/// The contract: relative error against the float64 gradient, unless float32 autograd itself is worse.
const TOLERANCE: f64 = 1e-4;

/// How far the outputs may be from the original model's, where fusions differ.
const FORWARD_TOLERANCE: f64 = 1e-5;

fn session(model: &Model) -> Result<Session, String> {
    let provider = ProviderChoice::Named(Provider::Cpu);
    let options = SessionOptions { provider, threads: Some(1), ..Default::default() };
    runtime().session(&model.to_bytes(), &options).map_err(|error| format!("loading: {error}"))
}

fn run(model: &Model, feeds: &[(&str, &Value)], wanted: &str) -> Result<(ArrayD<f32>, ArrayD<f32>), String> {
    let outputs = session(model)?.run(feeds).map_err(|error| format!("running: {error}"))?;
    let floats = |name: &str| {
        let value = outputs.get(name).ok_or_else(|| format!("no output {name}"))?;
        value.to_f32().map_err(|error| error.to_string())
    };
    Ok((floats("logits")?, floats(wanted)?))
}

fn check(case: &Case) -> Result<(), String> {
    let mut recording = case.recording();
    let (picture, recorded) = (recording.floats("input"), recording.floats("logits"));
    let original = Model::read(&case.path).map_err(|error| error.to_string())?;
    let model = upgrade(&original, EMITTED_OPSET).map_err(|error| error.to_string())?;
    let stated = model.graph().input[0].r#type.as_ref().and_then(ValueType::from_proto).ok_or("an input of a type")?;
    let free_batch = stated.shape.as_ref().is_some_and(|dims| matches!(dims[0], Dim::Free));
    let shape = picture.shape().to_vec();
    let feed = Feed { name: "input".into(), elem: stated.elem, shape, free_batch };
    let (model, types) = probe_unrolled(runtime(), &model, &[feed]).map_err(|error| format!("probing: {error}"))?;
    let request = Request { outputs: &["logits"], wrt: &["input"], types: &types };
    let gradient = differentiate(&model, &request).map_err(|error| error.to_string())?;
    let fused = gradient.fuse().map_err(|error| error.to_string())?;

    let input = Value::from_f32(picture).map_err(|error| error.to_string())?;
    let mut seed = ArrayD::zeros(recorded.raw_dim());
    seed[IxDyn(&[0, case.class])] = 1.0;
    let seed = Value::from_f32(seed).map_err(|error| error.to_string())?;
    let (plain, _) = run(&original, &[("input", &input)], "logits")?;
    let (logits, found) = run(&fused, &[("input", &input), ("seed.logits", &seed)], "grad.input")?;

    let within = |what: &str, found: &ArrayD<f32>, wanted: &ArrayD<f32>, tolerance: f64| {
        if found.shape() != wanted.shape() {
            return Err(format!("{what} has shape {:?}, not {:?}", found.shape(), wanted.shape()));
        }
        let error = relative_error(found, wanted);
        // Written so that NaN fails.
        if error <= tolerance { Ok(()) } else { Err(format!("{what} off by {error:.2e}, at most {tolerance:.1e}")) }
    };
    within("logits of the differentiated model", &logits, &plain, FORWARD_TOLERANCE)?;
    within("logits", &logits, &recorded, TOLERANCE)?;
    let tolerance = TOLERANCE.max(4.0 * recording.number("err_input"));
    within("gradient", &found, &recording.floats("grad_input"), tolerance)
}

#[test]
fn gradients_at_the_input_equal_float64_gradients_for_every_family_and_exporter() {
    let cases = cases("families");
    assert!(cases.len() >= 100, "only {} files", cases.len());
    check_all(&cases, check);
}

#[test]
fn gradients_at_the_input_equal_float64_gradients_for_keras_by_tf2onnx() {
    let cases = cases("keras");
    assert_eq!(cases.len(), 3);
    check_all(&cases, check);
}
