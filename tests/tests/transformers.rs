//! Networks of Hugging Face's Transformers that ask with text, detect or segment: what they are recognised as, and slopes along random directions
//! of the input, against central differences of PyTorch's numbers. `record_transformers.py` says why not against autograd.

use camscope_core::{
    explain::{Explainer, Options},
    layer::Choice,
    model::{Given, Network, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    target,
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    runtime,
};
use serde_json::Value;

const FOLDER: &str = "tasks/transformers";

fn check(entry: &Value) -> Result<(), String> {
    let text = |key: &str| entry[key].as_str();
    let name = text("name").ok_or("a name")?;
    let fail = |error: camscope_core::Error| error.to_string();
    let mut recorded = Recording::open(&fixture(FOLDER).join(format!("{name}.npz")));
    let mut network = Network::open(&fixture(FOLDER).join(format!("{name}.onnx"))).map_err(fail)?;
    for feed in entry["feeds"].as_array().ok_or("feeds")?.iter().filter_map(Value::as_str) {
        let value = recorded.floats(feed);
        network.feed(feed.trim_start_matches("feed."), value, None).map_err(fail)?;
    }
    let sidecar = resolve_given(&network, &Given::default()).map_err(fail)?;
    let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
    let options = Options { layers: vec![Choice::Input], session, ..Default::default() };
    let explainer = Explainer::new(runtime(), network, sidecar, options).map_err(fail)?;
    let task = explainer.network().task.as_ref().ok_or("no task")?;
    let found = (task.task.kind().to_string(), task.task.format());
    if Some(&*found.0) != text("kind") || (text("format").is_some() && found.1 != text("format")) {
        return Err(format!("recognised as {found:?}"));
    }
    let target = target::parse(text("target").ok_or("a target")?).map_err(fail)?;
    let outcome = explainer.explain(recorded.floats("input"), &[target]).map_err(fail)?;
    let found = &outcome.explanations[0];
    let score = entry["score"].as_f64().ok_or("a score")?;
    if (f64::from(found.target.score) - score).abs() > 1e-4 * score.abs().max(1.0) {
        return Err(format!("the score is {}, not {score}", found.target.score));
    }
    let gradient = explainer.read(found.gradient.as_ref().ok_or("no gradient")?).map_err(fail)?;
    let norm = gradient.iter().map(|slope| f64::from(*slope).powi(2)).sum::<f64>().sqrt();
    for (direction, slope) in recorded.floats("directions").outer_iter().zip(recorded.floats("slopes")) {
        let along: f64 = gradient.iter().zip(direction.iter()).map(|(a, b)| f64::from(a * b)).sum();
        // Written so that NaN fails.
        if (along - f64::from(slope)).abs() <= 1e-4 * norm && norm > 0.0 {
            continue;
        }
        return Err(format!("the slope along a direction is {along}, not {slope}; the gradient's length is {norm}"));
    }
    Ok(())
}

#[test]
fn networks_of_transformers_are_recognised_and_have_the_gradient_of_what_they_compute() {
    let entries = index(FOLDER);
    assert_eq!(entries.len(), 3);
    let failures: Vec<String> = entries
        .iter()
        .filter_map(|entry| check(entry).err().map(|error| format!("{}: {error}", entry["name"])))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
