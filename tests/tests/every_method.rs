//! Methods × networks: every method on a trained network, a residual one and a vision transformer, against its reference, or refused.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{
    Result,
    explain::{Explainer, Explanation, Options},
    layer::Choice,
    method::{self, METHODS, Sign},
    model::{Network, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::ClassSpec,
};
use camscope_tests::{fixture, recording::Recording, relative_error, runtime};
use ndarray::{Array2, ArrayD, s};
use serde_json::Value;

const WRONG: f64 = 1e-3;

/// Components whose sign is open, so that either is right.
const OPEN_SIGN: [&str; 3] = ["eigencam", "kpcacam", "eigengradcam"];

/// What `derived_methods.rs`, `host_methods.rs` and `heatmaps.rs` compare, of each of the three networks.
const ELSEWHERE: [(&str, &[&str]); 3] = [
    ("lite0", &DERIVED_AND_PROGRAMS),
    ("resnet18", &DERIVED_AND_PROGRAMS),
    ("vit", &["finercam", "shapleycam", "smoothgrad-cam++", "attention-rollout", "gradient-rollout", "legrad"]),
];
const DERIVED_AND_PROGRAMS: [&str; 15] = [
    "gradcam",
    "hirescam",
    "gradcam++",
    "xgradcam",
    "layercam",
    "gradcam-elementwise",
    "finercam",
    "shapleycam",
    "smoothgrad-cam++",
    "cam",
    "fullgrad",
    "guided-gradcam",
    "deeplift",
    "guided-backprop",
    "deconvnet",
];

/// A network of the table: its files, its layer and its input.
struct Subject {
    files: Vec<PathBuf>,
    layer: &'static str,
    image: ArrayD<f32>,
}

fn subject(name: &str) -> Subject {
    let (family, photo) = name.split_once('.').unwrap_or((name, ""));
    let files = |folder: &str| ["ts", "dynamo"].map(|by| fixture(folder).join(format!("{family}.{by}.onnx"))).to_vec();
    let input = |file: &str| Recording::open(&fixture("").join(file)).floats("input");
    match family {
        "lite0" => {
            let pixels = Recording::open(&fixture("host_methods").join(format!("lite0.{photo}.npz"))).floats("pixels");
            let image = pixels.mapv_into(|level| (level - 127.0) / 128.0);
            Subject { files: vec![fixture("../../models/efficientnet-lite0.onnx")], layer: "_blocks.10", image }
        }
        "resnet18" => {
            Subject { files: files("classifiers"), layer: "layer3", image: input("classifiers/resnet18.npz") }
        }
        _ => Subject { files: files("host_methods"), layer: "blocks.1", image: input("host_methods/vit.rollout.npz") },
    }
}

impl Subject {
    fn explained(&self, file: &Path, method: &str, class: usize) -> Result<Explanation> {
        let network = Network::open(file)?;
        let mut sidecar = resolve_given(&network, &Default::default())?;
        let side = self.image.shape()[2] as u32;
        sidecar.preprocessing.size = (side, side);
        let method = method::parse(method)?;
        let layers = if method.method.needs().layer { vec![Choice::Name(self.layer.to_owned())] } else { vec![] };
        let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
        let options = Options { method, layers, sign: Sign::Both, session, ..Default::default() };
        let explainer = Explainer::of(runtime(), Arc::new(TypedModel::new(runtime(), network, sidecar)?), options)?;
        let outcome = explainer.explain(self.image.clone(), &[ClassSpec::Index(class).target()])?;
        Ok(outcome.explanations[0].clone())
    }
}

fn entries() -> Vec<Value> {
    let text = std::fs::read_to_string(fixture("host_methods/every.json")).expect("the table");
    serde_json::from_str(&text).expect("a JSON list")
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|item| item.as_str().expect("a text")).collect()
}

/// How far heat is from what was recorded, as a share of it.
fn apart(heat: &Array2<f32>, expected: &ArrayD<f32>, is_open: bool) -> f64 {
    let own = relative_error(heat, expected);
    if is_open { own.min(relative_error(&-heat, expected)) } else { own }
}

/// Compares all that was recorded of the networks of a name.
fn compare(family: &str, least: usize) {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for entry in entries() {
        let name = entry["name"].as_str().expect("a name");
        if name.split('.').next() != Some(family) {
            continue;
        }
        let subject = subject(name);
        let mut recorded = Recording::open(&fixture("host_methods").join(format!("{name}.every.npz")));
        let classes = entry["classes"].as_array().expect("classes");
        let at_layer = texts(&entry["layer"]).into_iter().map(|method| (method, 1));
        let step = entry["step"].as_u64().expect("a number") as usize;
        for (method, step) in at_layer.chain(texts(&entry["input"]).into_iter().map(|method| (method, step))) {
            let is_open = OPEN_SIGN.contains(&method);
            for (file, (letter, class)) in
                subject.files.iter().flat_map(|file| ["A", "B"].iter().zip(classes).map(move |each| (file, each)))
            {
                let class = class.as_u64().expect("a class") as usize;
                let found = subject.explained(file, method, class).unwrap_or_else(|error| panic!("{method}: {error}"));
                let heat = found.heatmap.expect("heat");
                let heat = heat.slice(s![..;step, ..;step]).to_owned();
                let error = apart(&heat, &recorded.floats(&format!("{letter}.{method}")), is_open);
                compared += 1;
                // As far as four times what float32 costs the reference, where it was recorded in float64.
                let own = entry["own"][format!("{letter}.{method}")].as_f64().unwrap_or(0.0);
                if error.is_nan() || error > WRONG.max(4.0 * own) {
                    wrong.push(format!("{method} of {name}, {}, {letter}: {error:.2e}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= least, "{compared}");
}

#[test]
fn a_trained_network_gives_what_the_references_give() {
    compare("lite0", 2 * 2 * 22);
}

#[test]
fn a_residual_network_gives_what_the_references_give() {
    compare("resnet18", 2 * 2 * 22);
}

#[test]
fn a_vision_transformer_gives_what_the_references_give() {
    compare("vit", 2 * 2 * 29);
}

/// A layer normalisation makes the same of an activation and of any multiple of it: where nothing else reads a layer, its products with the gradient
/// cancel, and what is left is rounding.
#[test]
fn what_cancels_is_no_heat() {
    let subject = subject("vit");
    for file in &subject.files {
        for class in 0..3 {
            let heat = subject.explained(file, "hirescam", class).expect("an explanation").heatmap.expect("heat");
            assert!(heat.iter().all(|heat| *heat == 0.0), "{heat}");
            let heat = subject.explained(file, "gradcam", class).expect("an explanation").heatmap.expect("heat");
            assert!(heat.iter().any(|heat| *heat != 0.0));
        }
    }
}

/// No method is left out of the table: what is neither recorded nor compared elsewhere is refused.
#[test]
fn what_has_no_reference_is_refused() {
    for (family, elsewhere) in ELSEWHERE {
        let entries = entries();
        let entry = entries.iter().find(|entry| entry["name"].as_str().is_some_and(|name| name.starts_with(family)));
        let entry = entry.expect("a network");
        let mut known: Vec<&str> = texts(&entry["layer"]);
        known.extend(texts(&entry["input"]));
        let known: Vec<&str> = known.iter().map(|method| method.split(':').next().unwrap_or(method)).collect();
        let subject = subject(entry["name"].as_str().expect("a name"));
        for method in METHODS.iter().map(|method| method.name()) {
            // HiResCAM of the transformer is in a test of its own.
            if known.contains(&method) || elsewhere.contains(&method) || (family, method) == ("vit", "hirescam") {
                continue;
            }
            let found = subject.explained(&subject.files[0], method, 0);
            assert!(found.is_err(), "{method} of {family} is explained, and nothing was recorded of it");
        }
    }
}
