//! The gradients of recorded networks on an execution provider, against what was recorded: a JSON line for each file. `tests/providers/run.py`
//! calls this once for each provider; `ORT_DYLIB_PATH` names the library.
//!
//! `provider-gradients PROVIDER FOLDER/FILE…`, the files being those of `tests/fixtures`.

use std::{io::Write, time::Instant};

use camscope_core::{
    explain::{Explainer, Options},
    layer::Choice,
    model::{Network, resolve},
    runtime::{Provider, ProviderChoice, ProviderLibraries, SessionOptions, use_libraries},
    target::{ClassSpec, TargetRef},
};
use camscope_tests::{
    Random, fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use ndarray::ArrayD;
use serde_json::{Value, json};

/// The contract: relative error against float64 autograd, unless float32 autograd itself is worse.
const TOLERANCE: f64 = 1e-4;

type Result<T> = std::result::Result<T, String>;

fn provider(name: &str) -> Result<Provider> {
    match name {
        "cpu" => Ok(Provider::Cpu),
        "openvino" => Ok(Provider::OpenVino),
        "webgpu" => Ok(Provider::WebGpu),
        "cuda" => Ok(Provider::Cuda),
        other => Err(format!("no provider {other}: cpu, openvino, webgpu, cuda")),
    }
}

/// A network of the recordings, on a provider.
struct TypedModel {
    explainer: Explainer,
    class: TargetRef,
    layers: usize,
}

impl TypedModel {
    fn new(entry: &Value, file: &str, shape: &[usize], provider: Provider) -> Result<Self> {
        let (folder, _) = file.split_once('/').ok_or("FOLDER/FILE")?;
        let path = fixture(file);
        let mut layers: Vec<&str> = entry["module"].as_str().into_iter().collect();
        layers.push("@input");
        let options = Options {
            layers: layers
                .iter()
                .map(|layer| layer.parse::<Choice>())
                .collect::<std::result::Result<_, _>>()
                .map_err(|error| error.to_string())?,
            session: SessionOptions { provider: ProviderChoice::Named(provider), ..Default::default() },
            ..Default::default()
        };
        let network = Network::open(&path).map_err(|error| error.to_string())?;
        let mut sidecar = resolve(&path, &network.input().shape).map_err(|error| error.to_string())?;
        let (height, width) = if folder == "keras" { (shape[1], shape[2]) } else { (shape[2], shape[3]) };
        sidecar.preprocessing.size = (height as u32, width as u32);
        let explainer = Explainer::new(runtime(), network, sidecar, options).map_err(|error| error.to_string())?;
        let class = ClassSpec::Index(entry["class"].as_u64().ok_or("a class")? as usize).target();
        Ok(Self { explainer, class, layers: layers.len() })
    }

    /// The scores, and the gradient at each layer, the input's last.
    fn run(&self, input: &ArrayD<f32>) -> Result<(Vec<f32>, Vec<ArrayD<f32>>)> {
        let outcome = self.explainer.explain(input.clone(), std::slice::from_ref(&self.class));
        let outcome = outcome.map_err(|error| error.to_string())?;
        let of = |at: usize| {
            let held = outcome.explanations.get(at).and_then(|explanation| explanation.gradient.as_ref());
            self.explainer.read(held.ok_or("no gradient")?).map_err(|error| error.to_string())
        };
        Ok((outcome.logits().to_vec(), (0..self.layers).map(of).collect::<Result<_>>()?))
    }
}

fn check(file: &str, provider: Provider) -> Result<Value> {
    let (folder, name) = file.split_once('/').ok_or("FOLDER/FILE")?;
    let has = |entry: &&Value| entry["files"].as_array().is_some_and(|files| files.iter().any(|file| file == name));
    let entries = index(folder);
    let entry = entries.iter().find(has).ok_or("it is no recorded file")?;
    let mut recorded = Recording::open(&fixture(folder).join(format!("{}.npz", entry["name"].as_str().unwrap_or(""))));
    let input = recorded.floats("input");
    let start = Instant::now();
    let subject = TypedModel::new(entry, file, input.shape(), provider)?;
    let (logits, found) = subject.run(&input)?;
    let took = start.elapsed().as_secs_f64();
    let mut errors = Vec::new();
    let names: &[(&str, &str)] = if found.len() == 2 {
        &[("grad_activation", "err_activation"), ("grad_input", "err_input")]
    } else {
        &[("grad_input", "err_input")]
    };
    let mut within = true;
    for (found, (name, allowance)) in found.iter().zip(names) {
        let error = relative_error(found, &recorded.floats(name));
        // Written so that NaN fails.
        within &= error <= TOLERANCE.max(4.0 * recorded.number(allowance));
        errors.push(error);
    }
    // Off, or on the other side of a kink? At another input a wrong gradient is wrong, too; there the processor says what is right.
    let second = if within {
        None
    } else {
        let mut random = Random::new(11);
        let other = input.mapv(|number| number * 0.9 + 0.1 * (random.draw() as f32 - 0.5));
        let (_, wanted) = TypedModel::new(entry, file, input.shape(), Provider::Cpu)?.run(&other)?;
        let (_, found) = subject.run(&other)?;
        let errors = found.iter().zip(&wanted).map(|(found, wanted)| relative_error(found, wanted));
        Some(errors.fold(0.0f64, |worst, error| if error <= worst { worst } else { error }))
    };
    let kink = second.is_some_and(|error| error <= TOLERANCE);
    let scores = relative_error(&logits, &recorded.floats("logits"));
    // Where the scores are off the gradient is one of another network: the provider's own fault.
    let verdict = match (within, scores <= TOLERANCE, kink) {
        (true, ..) => "right",
        (_, false, _) => "scores",
        (.., true) => "kink",
        _ => "wrong",
    };
    let finite = |error: f64| if error.is_finite() { json!(error) } else { json!(error.to_string()) };
    Ok(json!({
        "file": file,
        "input": errors.last().copied().map(finite),
        "layer": (errors.len() == 2).then(|| finite(errors[0])),
        "second": second.map(finite),
        "scores": finite(scores),
        "verdict": verdict,
        "seconds": took,
    }))
}

/// Whether the provider runs the model as it is.
fn plain(file: &str, provider: Provider) -> Result<()> {
    let network = Network::open(&fixture(file)).map_err(|error| error.to_string())?;
    let options = SessionOptions { provider: ProviderChoice::Named(provider), ..Default::default() };
    runtime().session_of(&network.model, &options).map(drop).map_err(|error| error.to_string())
}

/// A line for a file that was not explained. Where the model itself does not load, that is the reason.
fn failed(file: &str, provider: Provider, error: &str) -> Value {
    match plain(file, provider) {
        Ok(()) => json!({"file": file, "verdict": "failed", "error": error}),
        Err(error) => json!({"file": file, "verdict": "unsupported", "error": error}),
    }
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, files) = match arguments.split_first() {
        Some(split) => split,
        None => {
            eprintln!("provider-gradients PROVIDER FOLDER/FILE…");
            return 2.into();
        }
    };
    let provider = match provider(name) {
        Ok(provider) => provider,
        Err(error) => {
            eprintln!("{error}");
            return 2.into();
        }
    };
    // Where ONNX Runtime has not the provider itself, that of `camscope runtime install --ep`.
    use_libraries(ProviderLibraries { provider: ProviderChoice::Named(provider), ..Default::default() });
    for file in files {
        let line = check(file, provider).unwrap_or_else(|error| failed(file, provider, &error));
        println!("{line}");
        if std::io::stdout().flush().is_err() {
            return 1.into();
        }
    }
    0.into()
}
