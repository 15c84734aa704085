//! Gradients at the input against values recorded from PyTorch and TensorFlow: small networks of the families of timm, by both
//! exporters, and of Keras.

use std::{
    fs::File,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use camscope_core::{
    probe::{Feed, probe_unrolled},
    runtime::{Provider, ProviderChoice, Session, SessionOptions, Value},
};
use camscope_tests::{fixture, relative_error, runtime};
use ndarray::{Array1, ArrayD, IxDyn};
use ndarray_npy::NpzReader;
use onnx_grad::{Dim, EMITTED_OPSET, Model, Request, ValueType, differentiate, upgrade::upgrade};
use serde_json::Value as Json;

/// The contract: relative error against the float64 gradient, unless float32 autograd itself is worse.
const TOLERANCE: f64 = 1e-4;

/// How far the outputs may be from the original model's, where fusions differ.
const FORWARD_TOLERANCE: f64 = 1e-5;

struct Recorded {
    input: ArrayD<f32>,
    logits: ArrayD<f32>,
    gradient: ArrayD<f32>,
    float32_error: f64,
}

impl Recorded {
    fn read(path: &Path) -> Self {
        let mut npz = NpzReader::new(File::open(path).expect("the recording")).expect("an npz file");
        let mut floats = |name: &str| -> ArrayD<f32> {
            npz.by_name(&format!("{name}.npy")).or_else(|_| npz.by_name(name)).expect("a recorded array")
        };
        let (input, logits, gradient) = (floats("input"), floats("logits"), floats("grad_input"));
        let error: Array1<f64> =
            npz.by_name("err_input.npy").or_else(|_| npz.by_name("err_input")).expect("a recorded number");
        Self { input, logits, gradient, float32_error: error[0] }
    }
}

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

fn check(recorded: &Recorded, class: usize, file: &Path) -> Result<(), String> {
    let original = Model::read(file).map_err(|error| error.to_string())?;
    let model = upgrade(&original, EMITTED_OPSET).map_err(|error| error.to_string())?;
    let stated = model.graph().input[0].r#type.as_ref().and_then(ValueType::from_proto).ok_or("an input of a type")?;
    let free_batch = stated.shape.as_ref().is_some_and(|dims| matches!(dims[0], Dim::Free));
    let shape = recorded.input.shape().to_vec();
    let feed = Feed { name: "input".into(), elem: stated.elem, shape, free_batch };
    let (model, types) = probe_unrolled(runtime(), &model, &[feed]).map_err(|error| format!("probing: {error}"))?;
    let request = Request { outputs: &["logits"], wrt: &["input"], types: &types };
    let gradient = differentiate(&model, &request).map_err(|error| error.to_string())?;
    let fused = gradient.fuse().map_err(|error| error.to_string())?;

    let input = Value::from_f32(recorded.input.clone()).map_err(|error| error.to_string())?;
    let mut seed = ArrayD::zeros(recorded.logits.raw_dim());
    seed[IxDyn(&[0, class])] = 1.0;
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
    within("logits", &logits, &recorded.logits, TOLERANCE)?;
    within("gradient", &found, &recorded.gradient, TOLERANCE.max(4.0 * recorded.float32_error))
}

/// Checks every file of a folder; how many networks there are.
fn check_all(folder: &str) -> usize {
    let folder = fixture(folder);
    let text = std::fs::read_to_string(folder.join("index.json")).expect("the index");
    let index: Vec<Json> = serde_json::from_str(&text).expect("a JSON list");
    let files = |entry: &Json| entry["files"].as_array().expect("a list of files").clone();
    let all: Vec<(&Json, String)> = index
        .iter()
        .flat_map(|entry| files(entry).into_iter().map(move |file| (entry, file.as_str().expect("a name").to_owned())))
        .collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((entry, file)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let recorded = Recorded::read(&folder.join(format!("{}.npz", entry["name"].as_str().expect("a name"))));
            let class = entry["class"].as_u64().expect("a class") as usize;
            if let Err(error) = check(&recorded, class, &folder.join(file)) {
                failures.lock().expect("no thread panics").push(format!("{file}: {error}"));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no thread panics");
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), all.len(), failures.join("\n"));
    index.len()
}

#[test]
fn gradients_at_the_input_equal_float64_gradients_for_every_family_and_exporter() {
    let families = check_all("families");
    assert!(families >= 40, "only {families} families");
}

#[test]
fn gradients_at_the_input_equal_float64_gradients_for_keras_by_tf2onnx() {
    assert_eq!(check_all("keras"), 3);
}
