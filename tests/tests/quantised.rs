//! Quantised networks: straight-through gradients against PyTorch's, and the float network's.

use camscope_core::{
    explain::{Explainer, Options},
    layer::Choice,
    model::{Network, resolve},
    runtime::{Provider, ProviderChoice, SessionOptions},
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
    let mut sidecar = resolve(&model, &network.input.shape).map_err(|error| error.to_string())?;
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
    let explainer = explainer(&format!("quantised/{file}"), size, &["@input"])?;
    let class = entry["class"].as_u64().ok_or("a class")? as usize;
    let outcome = explainer.explain(input, &[ClassSpec::Index(class)]).map_err(|error| error.to_string())?;
    let logits = relative_error(&outcome.logits, &recorded.floats("logits"));
    if logits.is_nan() || logits > 1e-5 {
        return Err(format!("logits are off by {logits:.2e}"));
    }
    let gradient = outcome.explanations[0].gradient.as_ref().ok_or("no gradient")?;
    let gradient = explainer.read(gradient).map_err(|error| error.to_string())?;
    let error = relative_error(&gradient, &recorded.floats("grad_input"));
    if error.is_nan() || error > TOLERANCE {
        return Err(format!("the gradient is off by {error:.2e}"));
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
    assert!(entries.len() >= 19, "only {} files", entries.len());
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), entries.len(), failures.join("\n"));
}
