//! The gradients of recorded networks on an execution provider, against what was recorded: a JSON line for each file. `tests/providers/run.py`
//! calls this once for each provider; `ORT_DYLIB_PATH` names the library.
//!
//! `provider-gradients PROVIDER HALVES FOLDER/FILE…`, the files being those of `tests/fixtures`. HALVES is `-`, or the folder of their float16 forms,
//! which has their float32 forms with weights that are rounded to float16 in `rounded`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use camscope_core::{
    explain::{Explainer, Options},
    layer::Choice,
    model::{Network, resolve},
    runtime::{
        Copied, CopyCount, ElemType, Provider, ProviderChoice, ProviderLibraries, SessionOptions, Value as Tensor,
        use_libraries,
    },
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

/// The same for a float16 network: that rounds every weight by up to 2⁻¹¹ = 5e-4, which many layers add up and kinks enlarge. How much is the
/// network's own; the same weights in float32 arithmetic say it, and four times that is allowed.
const TOLERANCE_HALF: f64 = 5e-3;

/// How often a pass is timed, and for how long at most.
const ROUNDS: usize = 7;
const LONGEST: Duration = Duration::from_secs(3);

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
    fn new(entry: &Value, path: &Path, shape: &[usize], provider: Provider) -> Result<Self> {
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
        let network = Network::open(path).map_err(|error| error.to_string())?;
        let mut sidecar = resolve(path, &network.input().shape).map_err(|error| error.to_string())?;
        let (height, width) = if shape[3] == 3 { (shape[1], shape[2]) } else { (shape[2], shape[3]) };
        sidecar.preprocessing.size = (height as u32, width as u32);
        let explainer = Explainer::new(runtime(), network, sidecar, options).map_err(|error| error.to_string())?;
        let class = ClassSpec::Index(entry["class"].as_u64().ok_or("a class")? as usize).target();
        Ok(Self { explainer, class, layers: layers.len() })
    }

    /// The scores, the gradient at each layer, the input's last, and the copies that explaining made: those of reading the gradients
    /// are not among them.
    fn run(&self, input: &ArrayD<f32>) -> Result<(Vec<f32>, Vec<ArrayD<f32>>, CopyCount)> {
        let before = self.explainer.copies();
        let outcome = self.explainer.explain(input.clone(), std::slice::from_ref(&self.class));
        let outcome = outcome.map_err(|error| error.to_string())?;
        let copies = self.explainer.copies().since(&before);
        let of = |at: usize| {
            let held = outcome.explanations.get(at).and_then(|explanation| explanation.gradient.as_ref());
            self.explainer.read(held.ok_or("no gradient")?).map_err(|error| error.to_string())
        };
        Ok((outcome.logits().to_vec(), (0..self.layers).map(of).collect::<Result<_>>()?, copies))
    }
}

/// Whether more went between host and device than what has to: in go the image, which the backward pass may read, too, and the seed; out
/// come the scores and a heatmap. On the CPU nothing does. What operators on the CPU give and take is not among them.
fn too_many(copies: CopyCount, provider: Provider) -> bool {
    let (most_in, most_out) = if provider == Provider::Cpu { (0, 0) } else { (3, 2) };
    copies.to_device.count > most_in || copies.to_host.count > most_out
}

fn counted(copied: Copied) -> Value {
    json!({ "count": copied.count, "bytes": copied.bytes })
}

/// Where a file's network is, and its float32 form: with `halves`, the one with weights rounded to float16.
fn paths(file: &str, halves: Option<&Path>) -> (PathBuf, PathBuf) {
    match halves {
        None => (fixture(file), fixture(file)),
        Some(folder) => (folder.join(file), folder.join("rounded").join(file)),
    }
}

/// The larger of two errors, NaN being the largest.
fn worse(worst: f64, error: f64) -> f64 {
    if error <= worst { worst } else { error }
}

fn check(file: &str, halves: Option<&Path>, provider: Provider) -> Result<Value> {
    let (folder, name) = file.split_once('/').ok_or("FOLDER/FILE")?;
    let has = |entry: &&Value| entry["files"].as_array().is_some_and(|files| files.iter().any(|file| file == name));
    let entries = index(folder);
    let entry = entries.iter().find(has).ok_or("it is no recorded file")?;
    let mut recorded = Recording::open(&fixture(folder).join(format!("{}.npz", entry["name"].as_str().unwrap_or(""))));
    let input = recorded.floats("input");
    let (path, plain) = paths(file, halves);
    let subject = TypedModel::new(entry, &path, input.shape(), provider)?;
    let (logits, found, copies) = subject.run(&input)?;
    let reference = || TypedModel::new(entry, &plain, input.shape(), Provider::Cpu);
    let names: &[(&str, &str)] = if found.len() == 2 {
        &[("grad_activation", "err_activation"), ("grad_input", "err_input")]
    } else {
        &[("grad_input", "err_input")]
    };
    let wanted: Vec<ArrayD<f32>> = names.iter().map(|(name, _)| recorded.floats(name)).collect();
    let recorded_logits = recorded.floats("logits");
    let (mut allowed, mut scores_allowed) = (Vec::new(), TOLERANCE);
    match halves {
        None => allowed.extend(names.iter().map(|(_, name)| TOLERANCE.max(4.0 * recorded.number(name)))),
        Some(_) => {
            let (logits, rounded, _) = reference()?.run(&input)?;
            let errors = rounded.iter().zip(&wanted).map(|(rounded, wanted)| relative_error(rounded, wanted));
            allowed.extend(errors.map(|error| TOLERANCE_HALF.max(4.0 * error)));
            scores_allowed = TOLERANCE_HALF.max(4.0 * relative_error(&logits, &recorded_logits));
        }
    }
    let errors: Vec<f64> = found.iter().zip(&wanted).map(|(found, wanted)| relative_error(found, wanted)).collect();
    // Written so that NaN fails.
    let within = errors.iter().zip(&allowed).all(|(error, allowed)| error <= allowed);
    // Off, or on the other side of a kink? At another input a wrong gradient is wrong, too; there the processor says what is right.
    let second = if within {
        None
    } else {
        let mut random = Random::new(11);
        let other = input.mapv(|number| number * 0.9 + 0.1 * (random.draw() as f32 - 0.5));
        let (_, wanted, _) = reference()?.run(&other)?;
        let (_, found, _) = subject.run(&other)?;
        Some(found.iter().zip(&wanted).map(|(found, wanted)| relative_error(found, wanted)).fold(0.0, worse))
    };
    let kink = second.is_some_and(|error| error <= if halves.is_some() { TOLERANCE_HALF } else { TOLERANCE });
    let scores = relative_error(&logits, &recorded_logits);
    // Where the scores are off the gradient is one of another network: the provider's own fault.
    let verdict = match (within, scores <= scores_allowed, kink) {
        (true, ..) if too_many(copies, provider) => "copies",
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
        "copies": {
            "to device": counted(copies.to_device), "to host": counted(copies.to_host), "for cpu": counted(copies.for_cpu),
        },
        "ratio": finite(ratio(&subject, &path, &input, provider)?),
        "verdict": verdict,
    }))
}

/// The time of an explanation at the input and the last layer over that of the plain forward pass there: medians, in turns.
fn ratio(subject: &TypedModel, path: &Path, input: &ArrayD<f32>, provider: Provider) -> Result<f64> {
    let network = Network::open(path).map_err(|error| error.to_string())?;
    let options = SessionOptions { provider: ProviderChoice::Named(provider), ..Default::default() };
    let session = runtime().session_of(&network.model, &options).map_err(|error| error.to_string())?;
    let value = Tensor::from_f32_as(input.clone(), ElemType::Float).map_err(|error| error.to_string())?;
    let name = network.input().name.clone();
    let forward = || -> Result<()> {
        let outputs = session.run(&[(&name, &value)]).map_err(|error| error.to_string())?;
        // On a device a run has ended when its values have come.
        outputs.iter().try_for_each(|(_, value)| value.to_f32().map(drop)).map_err(|error| error.to_string())
    };
    let (mut plain, mut whole, begun) = (Vec::new(), Vec::new(), Instant::now());
    forward()?;
    while plain.len() < ROUNDS && (plain.is_empty() || begun.elapsed() < LONGEST) {
        let start = Instant::now();
        forward()?;
        plain.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        subject.run(input)?;
        whole.push(start.elapsed().as_secs_f64());
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    Ok(median(whole) / median(plain))
}

/// Whether the provider runs the model as it is.
fn plain(path: &Path, provider: Provider) -> Result<()> {
    let network = Network::open(path).map_err(|error| error.to_string())?;
    let options = SessionOptions { provider: ProviderChoice::Named(provider), ..Default::default() };
    runtime().session_of(&network.model, &options).map(drop).map_err(|error| error.to_string())
}

/// A line for a file that was not explained. Where the model itself does not load, that is the reason.
fn failed(file: &str, halves: Option<&Path>, provider: Provider, error: &str) -> Value {
    match plain(&paths(file, halves).0, provider) {
        Ok(()) => json!({"file": file, "verdict": "failed", "error": error}),
        Err(error) => json!({"file": file, "verdict": "unsupported", "error": error}),
    }
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, halves, files @ ..] = arguments.as_slice() else {
        eprintln!("provider-gradients PROVIDER HALVES FOLDER/FILE…");
        return 2.into();
    };
    let halves = (halves != "-").then(|| Path::new(halves));
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
        let line = check(file, halves, provider).unwrap_or_else(|error| failed(file, halves, provider, &error));
        println!("{line}");
        if std::io::stdout().flush().is_err() {
            return 1.into();
        }
    }
    0.into()
}
