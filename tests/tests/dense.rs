//! Targets of segmentation, other maps, text and embeddings: scores and gradients against PyTorch's autograd of the same scalar.

use std::{path::PathBuf, sync::Arc};

use camscope_core::{
    explain::{Explainer, Explanation, Options},
    layer::Choice,
    model::{Given, Network, Sidecar, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::{self, Score, TargetRef},
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use serde_json::Value;

const TOLERANCE: f64 = 1e-4;

fn file(name: &str) -> PathBuf {
    fixture("tasks/dense").join(name)
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().expect("text")
}

fn open(name: &str, onnx: &str) -> (Network, Sidecar) {
    let network = Network::open(&file(onnx)).expect("a network");
    let given = Given { sidecar: Some(file(&format!("{name}.toml"))), ..Given::default() };
    let sidecar = resolve_given(&network, &given).expect("a sidecar");
    (network, sidecar)
}

/// Recognised as the script made it, without a word from the sidecar where that says nothing.
fn check_kind(entry: &Value, onnx: &str) -> Result<(), String> {
    let (network, sidecar) = open(text(entry, "name"), onnx);
    let subject = TypedModel::new(runtime(), network, sidecar).map_err(|error| error.to_string())?;
    let found = subject.network().task.as_ref().map(|found| found.task.kind().to_string());
    match found.as_deref() == entry["kind"].as_str() {
        true => Ok(()),
        false => Err(format!("recognised as {found:?}")),
    }
}

/// Explains all targets of one score at the recorded layer and at the input.
fn explain(entry: &Value, onnx: &str, score: Score) -> Result<(), String> {
    let name = text(entry, "name");
    let mut recorded = Recording::open(&file(&format!("{name}.npz")));
    let wanted = if score == Score::Logit { "logit" } else { "probability" };
    let of_score: Vec<(usize, &Value)> = entry["targets"]
        .as_array()
        .expect("targets")
        .iter()
        .enumerate()
        .filter(|(_, target)| target["score"] == wanted)
        .collect();
    let spec = |target: &Value| match text(target, "spec").strip_prefix("similar:") {
        Some(other) => format!("similar:{}", file(other).display()),
        None => text(target, "spec").to_owned(),
    };
    let targets: Vec<TargetRef> =
        of_score.iter().map(|(_, target)| target::parse(&spec(target)).expect("a target")).collect();
    if targets.is_empty() {
        return Ok(());
    }
    let fail = |error: camscope_core::Error| error.to_string();
    let (network, sidecar) = open(name, onnx);
    let subject = TypedModel::for_targets(runtime(), network, sidecar, &targets).map_err(fail)?;
    let shape: Vec<usize> = recorded.floats("layer_0").shape().to_vec();
    let is_tap = |layer: &&camscope_core::layer::Layer| {
        layer.op == "Relu" && layer.shape.iter().zip(&shape).all(|(own, size)| own.is_none_or(|own| own == *size))
    };
    let tap = subject.layers().iter().rfind(is_tap).ok_or("no such layer")?.index;
    let options = Options {
        layers: vec![Choice::Index(tap), Choice::Input],
        score,
        session: SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() },
        ..Default::default()
    };
    let explainer = Explainer::of(runtime(), Arc::new(subject), options).map_err(fail)?;
    let outcome = explainer.explain(recorded.floats("input"), &targets).map_err(fail)?;
    for ((at, target), found) in of_score.iter().zip(outcome.explanations.chunks(2)) {
        let spec = text(target, "spec");
        let value = target["value"].as_f64().expect("a number");
        let off = (f64::from(found[0].target.score) - value).abs();
        if off > 1e-4 * value.abs().max(1.0) {
            return Err(format!("{spec}: {}, not {value}", found[0].target.score));
        }
        let gradient = |of: &Explanation| {
            let held = of.gradient.as_ref().ok_or("no gradient")?;
            explainer.read(held).map_err(fail)
        };
        for (what, explanation) in ["layer", "input"].iter().zip(found) {
            let expected = recorded.floats(&format!("{what}_{at}"));
            let error = relative_error(&gradient(explanation)?, &expected);
            // Written so that NaN fails.
            if error.is_nan() || error > TOLERANCE {
                return Err(format!("{spec}: the gradient at the {what} is off by {error:.1e}"));
            }
        }
    }
    Ok(())
}

#[test]
fn targets_have_pytorch_s_scores_and_gradients() {
    let (mut failures, mut count) = (Vec::new(), 0);
    for entry in index("tasks/dense") {
        for onnx in entry["files"].as_array().expect("files") {
            let onnx = onnx.as_str().expect("a name");
            count += 1;
            let checks = [
                check_kind(&entry, onnx),
                explain(&entry, onnx, Score::Logit),
                explain(&entry, onnx, Score::Probability),
            ];
            failures.extend(checks.into_iter().filter_map(Result::err).map(|error| format!("{onnx}: {error}")));
        }
    }
    assert_eq!(count, 38);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
