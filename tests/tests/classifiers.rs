//! Gradients, activations and heatmaps against values recorded from PyTorch: 15 families of torchvision, both exporters.

use std::path::Path;

use camscope_core::{
    explain::{Explainer, Explanation, Held, Options},
    layer::Choice,
    method,
    model::{Network, resolve},
    runtime::{Provider, ProviderChoice, SessionOptions},
    target::ClassSpec,
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use ndarray::ArrayD;
use serde_json::Value;

/// The contract: relative error against float64 autograd, unless float32 autograd itself is worse.
const TOLERANCE: f64 = 1e-4;

fn options(layers: &[&str], method: &str) -> Options {
    Options {
        layers: layers.iter().map(|layer| layer.parse::<Choice>().expect("any text is a choice")).collect(),
        method: method::by_name(method).expect("a method").into(),
        session: SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() },
        ..Default::default()
    }
}

fn explainer(model: &Path, size: (u32, u32), options: Options) -> Result<Explainer, String> {
    let network = Network::open(model).map_err(|error| error.to_string())?;
    let mut sidecar = resolve(model, &network.input().shape).map_err(|error| error.to_string())?;
    sidecar.preprocessing.size = size;
    Explainer::new(runtime(), network, sidecar, options).map_err(|error| error.to_string())
}

fn check(entry: &Value, file: &str) -> Result<(), String> {
    let folder = fixture("classifiers");
    let name = entry["name"].as_str().ok_or("a name")?;
    let module = entry["module"].as_str().ok_or("a module")?;
    let mut recorded = Recording::open(&folder.join(format!("{name}.npz")));
    let input = recorded.floats("input");
    let size = (input.shape()[2] as u32, input.shape()[3] as u32);
    let explainer = explainer(&folder.join(file), size, options(&[module, "@input"], "gradcam"))?;
    let class = entry["class"].as_u64().ok_or("a class")? as usize;
    let outcome = explainer.explain(input, &[ClassSpec::Index(class).target()]).map_err(|error| error.to_string())?;
    let [layer, at_input] = outcome.explanations.as_slice() else { return Err("two explanations".into()) };
    let array = |held: &Held| explainer.read(held).map_err(|error| error.to_string());
    let gradient = |of: &Explanation| array(of.gradient.as_ref().ok_or("no gradient")?);
    let heatmap = layer.heatmap.clone().ok_or("a heatmap")?.into_dyn();
    let found = [
        (
            "logits",
            ArrayD::from_shape_vec(vec![1, outcome.logits().len()], outcome.logits().to_vec())
                .map_err(|e| e.to_string())?,
            1e-4,
        ),
        ("activation", array(&layer.activation)?, 1e-4),
        ("grad_activation", gradient(layer)?, TOLERANCE.max(4.0 * recorded.number("err_activation"))),
        ("grad_input", gradient(at_input)?, TOLERANCE.max(4.0 * recorded.number("err_input"))),
        ("heatmap", heatmap, 1e-3),
    ];
    for (what, found, tolerance) in found {
        let expected = recorded.floats(what);
        if found.len() != expected.len() {
            return Err(format!("{what} has shape {:?}, not {:?}", found.shape(), expected.shape()));
        }
        let error = relative_error(&found, &expected);
        // Written so that NaN fails.
        if error.is_nan() || error > tolerance {
            return Err(format!("{what} is off by {error:.2e}"));
        }
    }
    Ok(())
}

#[test]
fn gradients_equal_float64_autograd_for_every_family_and_exporter() {
    let mut failures = Vec::new();
    let mut checked = 0;
    for entry in index("classifiers") {
        for file in entry["files"].as_array().expect("a list of files") {
            let file = file.as_str().expect("a file name");
            checked += 1;
            if let Err(error) = check(&entry, file) {
                failures.push(format!("{file}: {error}"));
            }
        }
    }
    assert!(checked >= 30, "only {checked} files");
    assert!(failures.is_empty(), "{} of {checked} fail:\n{}", failures.len(), failures.join("\n"));
}

/// pytorch-grad-cam's name of each method in the recordings, and ours.
const METHODS: [(&str, &str); 6] = [
    ("gradcam", "gradcam"),
    ("hirescam", "hirescam"),
    ("gradcam_plusplus", "gradcam++"),
    ("xgradcam", "xgradcam"),
    ("layercam", "layercam"),
    ("gradcam_elementwise", "gradcam-elementwise"),
];

#[test]
fn every_method_gives_what_pytorch_grad_cam_gives() {
    for entry in index("methods") {
        let text = |key: &str| entry[key].as_str().expect("text").to_owned();
        let (name, module) = (text("name"), text("module"));
        let mut recorded = Recording::open(&fixture("methods").join(text("file")));
        let input = Recording::open(&fixture("classifiers").join(format!("{name}.npz"))).floats("input");
        let class = ClassSpec::Index(entry["class"].as_u64().expect("a class") as usize).target();
        for (theirs, ours) in METHODS {
            let size = (input.shape()[2] as u32, input.shape()[3] as u32);
            let model = fixture("classifiers").join(format!("{name}.ts.onnx"));
            let explainer = explainer(&model, size, options(&[&module], ours)).expect("an explainer");
            let outcome = explainer.explain(input.clone(), std::slice::from_ref(&class)).expect("an outcome");
            let heatmap = outcome.explanations[0].heatmap.clone().expect("a heatmap");
            let error = relative_error(&heatmap, &recorded.floats(theirs));
            assert!(error <= 1e-3, "{ours} at {module} of {name} is off by {error:.2e}");
        }
    }
}

/// The tutorial's procedure, done right: what forward and backward hooks on `features[18]` give.
#[test]
fn mobilenet_v2_at_features_18_gives_what_pytorch_hooks_give() {
    let entries = index("classifiers");
    let entry = entries.iter().find(|entry| entry["name"] == "mobilenet_v2").expect("MobileNet v2");
    assert_eq!(entry["module"], "features.18");
    for file in ["mobilenet_v2.ts.onnx", "mobilenet_v2.dynamo.onnx"] {
        check(entry, file).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}
