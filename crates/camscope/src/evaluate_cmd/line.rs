//! What came of a heatmap, as an object: a line of `--json` and of the results that are kept.

use camscope_core::{
    Error,
    evaluate::{Evaluated, Metric, sanity::Similarity},
    explain::{Explained, Tap},
    method::Chosen,
};
use serde_json::{Map, Value, json};

use crate::{cli::EvaluateArgs, input::Input};

/// The names of a heatmap's layers, with `+` between those that are fused.
pub(super) fn layer(taps: &[Tap]) -> String {
    taps.iter().map(|tap| tap.name()).collect::<Vec<_>>().join("+")
}

fn of(args: &EvaluateArgs, chosen: &Chosen, input: &Input) -> Value {
    json!({
        "image": input.path().to_string_lossy(),
        "model": args.model.to_string_lossy(),
        "method": chosen.method.name(),
        "parameters": chosen.parameters,
    })
}

fn at(object: &mut Value, taps: &[Tap], group: usize, target: &Explained) {
    object["layer"] = json!(layer(taps));
    object["group"] = json!(group + 1);
    object["target"] = json!(target.spec);
    object["label"] = json!(target.label);
}

/// The numbers of a heatmap.
pub(super) fn measured(
    args: &EvaluateArgs,
    chosen: &Chosen,
    (input, taps): (&Input, &[Tap]),
    metrics: &[&'static dyn Metric],
    found: &Evaluated,
) -> Value {
    let numbers = metrics.iter().flat_map(|metric| metric.numbers());
    let values = found.found.iter().flat_map(|found| found.values.iter().copied());
    let metrics: Map<String, Value> =
        numbers.zip(values).map(|(number, value)| (number.name.to_owned(), json!(value))).collect();
    let curve = |curve: &camscope_core::evaluate::Curve| {
        (curve.name.to_owned(), json!({ "shares": curve.shares, "confidences": curve.confidences }))
    };
    let curves: Map<String, Value> = found.found.iter().flat_map(|found| &found.curves).map(curve).collect();
    let mut object = of(args, chosen, input);
    at(&mut object, taps, found.group, &found.target);
    object["confidence"] = json!(found.confidence);
    object["measured"] = json!(found.measured.name());
    object["metrics"] = metrics.into();
    object["curves"] = curves.into();
    object
}

/// How alike a heatmap is to the one before a stage of the sanity check, from 1; `None` of one that was blank before.
pub(super) fn compared(
    args: &EvaluateArgs,
    chosen: &Chosen,
    (input, taps): (&Input, &[Tap]),
    (group, target): (usize, &Explained),
    (stage, found): (usize, Option<&Similarity>),
) -> Value {
    let mut object = of(args, chosen, input);
    at(&mut object, taps, group, target);
    object["sanity"] = json!({
        "stage": stage,
        "rank_correlation": found.and_then(|found| found.rank),
        "ssim": found.and_then(|found| found.structure),
        "same": found.map(|found| found.is_same),
    });
    object
}

/// Why there is nothing (more) of a picture.
pub(super) fn failure(args: &EvaluateArgs, chosen: &Chosen, input: &Input, error: &Error) -> Value {
    let mut object = of(args, chosen, input);
    object["error"] = json!(error.to_string());
    object
}
