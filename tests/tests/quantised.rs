//! Quantised networks: straight-through gradients against PyTorch's, and the float network's.

use camscope_core::{
    explain::{Explainer, Explanation, Held, Options},
    layer::{Choice, Layer},
    model::{Network, resolve},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::ClassSpec,
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use serde_json::Value;

/// The contract for a quantised graph: against PyTorch's fake-quantised autograd of the same scales and zero points.
const TOLERANCE: f64 = 1e-3;

fn explainer(file: &str, size: (u32, u32), layers: &[&str]) -> Result<Explainer, String> {
    let model = fixture(file);
    let network = Network::open(&model).map_err(|error| error.to_string())?;
    let mut sidecar = resolve(&model, &network.input().shape).map_err(|error| error.to_string())?;
    sidecar.preprocessing.size = size;
    let options = Options {
        layers: layers.iter().map(|layer| layer.parse::<Choice>().expect("any text is a choice")).collect(),
        session: SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() },
        ..Default::default()
    };
    Explainer::new(runtime(), network, sidecar, options).map_err(|error| error.to_string())
}

fn check(entry: &Value) -> Result<(), String> {
    let text = |key: &str| entry[key].as_str().expect("text").to_owned();
    let (name, form, file) = (text("name"), text("form"), text("file"));
    let mut recorded = Recording::open(&fixture(&format!("quantised/{name}.{form}.npz")));
    let input = recorded.floats("input");
    let size = (input.shape()[2] as u32, input.shape()[3] as u32);
    // The small networks' layer is where the operator comes together with the skip connection.
    let layer = if name == "operators" { "s" } else { "auto" };
    let explainer = explainer(&format!("quantised/{file}"), size, &[layer, "@input"])?;
    let class = entry["class"].as_u64().ok_or("a class")? as usize;
    let outcome = explainer.explain(input, &[ClassSpec::Index(class).target()]).map_err(|error| error.to_string())?;
    let logits = relative_error(outcome.logits(), &recorded.floats("logits"));
    if logits.is_nan() || logits > 1e-5 {
        return Err(format!("logits are off by {logits:.2e}"));
    }
    let [layer, at_input] = outcome.explanations.as_slice() else { return Err("two explanations".into()) };
    let read = |held: &Held| explainer.read(held).map_err(|error| error.to_string());
    let gradient = |of: &Explanation| read(of.gradient.as_ref().ok_or("no gradient")?);
    let found = [
        ("grad_input", gradient(at_input)?),
        ("activation", read(&layer.activation)?),
        ("grad_activation", gradient(layer)?),
    ];
    for (what, found) in found {
        let expected = recorded.floats(what);
        if found.shape() != expected.shape() {
            return Err(format!("{what} has shape {:?}, not {:?}", found.shape(), expected.shape()));
        }
        let error = relative_error(&found, &expected);
        // Written so that NaN fails.
        if error.is_nan() || error > TOLERANCE {
            return Err(format!("{what} is off by {error:.2e}"));
        }
    }
    Ok(())
}

#[test]
fn straight_through_gradients_equal_pytorch_s_fake_quantised_ones() {
    let mut failures = Vec::new();
    let entries = index("quantised");
    for entry in &entries {
        if let Err(error) = check(entry) {
            failures.push(format!("{}: {error}", entry["file"]));
        }
    }
    assert!(entries.len() >= 40, "only {} files", entries.len());
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), entries.len(), failures.join("\n"));
}

fn subject(file: &str, size: (u32, u32)) -> TypedModel {
    let model = fixture(file);
    let network = Network::open(&model).expect("a network");
    let mut sidecar = resolve(&model, &network.input().shape).expect("a sidecar");
    sidecar.preprocessing.size = size;
    TypedModel::new(runtime(), network, sidecar).expect("a subject")
}

#[test]
fn layers_have_the_names_and_shapes_of_the_float_model_s() {
    let mut failures = Vec::new();
    for entry in index("quantised").into_iter().filter(|entry| entry["float"].is_string()) {
        let text = |key: &str| entry[key].as_str().expect("text").to_owned();
        let mut recorded = Recording::open(&fixture(&format!("quantised/{}.{}.npz", text("name"), text("form"))));
        let size = recorded.floats("input").shape()[2] as u32;
        let float = subject(&text("float"), (size, size));
        let quantised = subject(&format!("quantised/{}", text("file")), (size, size));
        let auto = |subject: &TypedModel| {
            let layer = subject.default_layer().map(|index| &subject.layers()[index]).expect("a layer");
            (layer.name().to_owned(), layer.shape[1..].to_vec())
        };
        if auto(&float) != auto(&quantised) {
            failures.push(format!("{}: auto is {:?}, not {:?}", text("file"), auto(&quantised), auto(&float)));
        }
        let found: Vec<&String> = quantised.layers().iter().flat_map(|layer| &layer.outputs_of).collect();
        // What the quantiser folds an activation into is no layer of its own.
        let folded = |layer: &Layer| {
            float.layers().get(layer.index + 1).is_some_and(|next| matches!(&*next.op, "Relu" | "Clip"))
        };
        // QOperator models name the operator alone, so the activation's own module is not told.
        let told = |layer: &Layer| {
            let own = text("form").starts_with("qoperator") && matches!(&*layer.op, "Relu" | "Clip");
            layer.outputs_of[..layer.outputs_of.len().saturating_sub(usize::from(own))].to_vec()
        };
        let whole: Vec<String> = float.layers().iter().filter(|layer| !folded(layer)).flat_map(told).collect();
        let missing: Vec<&String> = whole.iter().filter(|module| !found.contains(module)).collect();
        if !missing.is_empty() {
            failures.push(format!("{}: no layer for {missing:?}", text("file")));
        }
        let noise = |name: &&str| ["uantize", "unrounded"].iter().any(|noise| name.contains(noise));
        let noisy: Vec<&str> = quantised.layers().iter().map(|layer| layer.name()).filter(noise).collect();
        if !noisy.is_empty() {
            failures.push(format!("{}: noise in {noisy:?}", text("file")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn what_was_float16_keeps_the_float32_gradient_at_the_last_layer() {
    for entry in index("quantised").iter().filter(|entry| entry["form"] == "float16") {
        let name = entry["name"].as_str().expect("a name");
        let explainer = explainer(&format!("quantised/{name}.float16.onnx"), size_of(name), &["auto"]).expect("opens");
        // Doubles hold the float32 weights exactly.
        let mut exact = Recording::open(&fixture(&format!("quantised/{name}.double.npz")));
        let class = ClassSpec::Index(entry["class"].as_u64().expect("a class") as usize);
        let outcome = explainer.explain(exact.floats("input"), &[class.target()]).expect("an outcome");
        let gradient = outcome.explanations[0].gradient.as_ref().expect("a gradient");
        let gradient = explainer.read(gradient).expect("an array");
        let error = relative_error(&gradient, &exact.floats("grad_activation"));
        assert!(error <= 1e-2, "{name}: off by {error:.2e}");
        let note = explainer.network().note.clone().expect("a note");
        assert!(note.contains("float16") && note.contains("float32"), "{note}");
    }
}

fn size_of(name: &str) -> (u32, u32) {
    let input = Recording::open(&fixture(&format!("quantised/{name}.double.npz"))).floats("input");
    (input.shape()[2] as u32, input.shape()[3] as u32)
}
