//! Models that take no photo but an array: volumes, videos, signals, images of six bands, against PyTorch.

use std::{path::PathBuf, sync::Arc};

use camscope_core::{
    explain::{Explainer, Explanation, Options},
    layer::Choice,
    method,
    model::{Given, Network, channel_axis, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target,
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use ndarray::ArrayD;
use serde_json::Value;

const TOLERANCE: f64 = 1e-4;

/// Each method, with the name that its heat was recorded by.
const METHODS: [(&str, &str); 5] = [
    ("gradcam", "gradcam"),
    ("hirescam", "hirescam"),
    ("layercam", "layercam"),
    ("gradcam-elementwise", "elementwise"),
    ("input-x-gradient", "attributions"),
];

fn file(name: &str) -> PathBuf {
    fixture("arrays").join(name)
}

/// The class's explanations at `layers` by a method, and how their arrays are read.
fn explained(
    entry: &Value,
    onnx: &str,
    (method, layers): (&str, Vec<Choice>),
) -> Result<(Explainer, Vec<Explanation>), String> {
    let fail = |error: camscope_core::Error| error.to_string();
    let input = Recording::open(&file(&format!("{}.npz", entry["name"].as_str().expect("a name")))).floats("input");
    let mut network = Network::open(&file(onnx)).map_err(fail)?;
    let mut sidecar = resolve_given(&network, &Given::default()).map_err(fail)?;
    if network.takes_photos() {
        sidecar.preprocessing.size = (input.shape()[2] as u32, input.shape()[3] as u32);
    } else {
        network.take_array(input.shape())?;
    }
    let targets = [target::parse(&format!("class:{}", entry["class"])).map_err(fail)?];
    let subject = TypedModel::for_targets(runtime(), network, sidecar, &targets).map_err(fail)?;
    let options = Options {
        layers,
        method: method::parse(method).map_err(fail)?,
        session: SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() },
        ..Default::default()
    };
    let explainer = Explainer::of(runtime(), Arc::new(subject), options).map_err(fail)?;
    let explanations = explainer.explain(input, &targets).map_err(fail)?.explanations;
    Ok((explainer, explanations))
}

fn check(entry: &Value, onnx: &str) -> Result<(), String> {
    let mut recorded = Recording::open(&file(&format!("{}.npz", entry["name"].as_str().expect("a name"))));
    let same = |what: &str, found: &ArrayD<f32>, expected: &ArrayD<f32>| {
        if found.shape() != expected.shape() {
            return Err(format!("{what} is {:?}, not {:?}", found.shape(), expected.shape()));
        }
        let error = relative_error(found, expected);
        // Written so that NaN fails.
        if error <= TOLERANCE { Ok(()) } else { Err(format!("{what} is off by {error:.1e}")) }
    };
    for (method, key) in METHODS {
        let (explainer, explanations) = explained(entry, onnx, (method, Vec::new()))?;
        let heat = explanations[0].heat().ok_or("no heat")?;
        same(method, &heat, &recorded.floats(key))?;
        let tap = &explainer.taps()[explanations[0].tap];
        if let camscope_core::explain::Tap::Layer(layer) = tap
            && layer.layout.name() != entry["layout"].as_str().expect("a layout")
        {
            return Err(format!("{} is taken as {}", layer.name(), layer.layout.name()));
        }
    }
    // `auto` and the input, forward and back.
    let (explainer, explanations) = explained(entry, onnx, ("hirescam", vec![Choice::Auto, Choice::Input]))?;
    let read = |held: Option<&camscope_core::explain::Held>| {
        explainer.read(held.ok_or("no gradient")?).map_err(|error| error.to_string())
    };
    same("the activation", &read(Some(&explanations[0].activation))?, &recorded.floats("activation"))?;
    same("the gradient", &read(explanations[0].gradient.as_ref())?, &recorded.floats("grad_activation"))?;
    same("the input's gradient", &read(explanations[1].gradient.as_ref())?, &recorded.floats("grad_input"))
}

#[test]
fn arrays_of_any_axes_have_pytorch_s_gradients_and_heat_on_their_own_axes() {
    let (mut failures, mut count) = (Vec::new(), 0);
    for entry in index("arrays") {
        for onnx in entry["files"].as_array().expect("files") {
            let onnx = onnx.as_str().expect("a name");
            count += 1;
            failures.extend(check(&entry, onnx).err().map(|error| format!("{onnx}: {error}")));
        }
    }
    assert_eq!(count, 16);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_channels_of_an_array_are_found() {
    for entry in index("arrays").iter().filter(|entry| entry["name"] != "bands") {
        let name = entry["name"].as_str().expect("a name");
        let input = Recording::open(&file(&format!("{name}.npz"))).floats("input");
        assert_eq!(channel_axis(input.shape()), entry["channels"].as_u64().map(|axis| axis as usize), "{name}");
    }
}

#[test]
fn methods_that_cut_planes_refuse_volumes_and_take_signals() {
    for entry in index("arrays") {
        let name = entry["name"].as_str().expect("a name");
        let onnx = entry["files"][0].as_str().expect("a name");
        for method in ["occlusion", "rise:masks=8", "scorecam", "recipro-cam", "integrated-gradients:baseline=blur"] {
            let found = explained(&entry, onnx, (method, Vec::new()));
            match name {
                "signal" | "rows" | "wave" => {
                    let heat = found.expect(method).1[0].heat().expect("heat");
                    assert_eq!(heat.ndim(), 1, "{name} {method}");
                    assert!(heat.iter().any(|heat| *heat > 0.0), "{name} {method}");
                }
                "bands" => assert!(found.is_ok(), "{name} {method}"),
                _ => {
                    let error = found.err().expect("it is refused");
                    assert!(error.contains("three axes of space"), "{name} {method}: {error}");
                }
            }
        }
    }
}

#[test]
fn attributions_have_the_array_s_own_axes() {
    let entry = index("arrays").into_iter().find(|entry| entry["name"] == "rows").expect("rows");
    let (_, found) = explained(&entry, "rows.ts.onnx", ("input-x-gradient", Vec::new())).expect("heat");
    // Length, then channels: the method itself has them the other way round.
    let expected = {
        let mut recorded = Recording::open(&file("rows.npz"));
        recorded.floats("input") * recorded.floats("grad_input")
    };
    let attributions = found[0].attributions.as_ref().expect("attributions");
    assert_eq!(attributions.shape(), [1, 120, 4]);
    assert!(relative_error(attributions, &expected) < TOLERANCE);
}
