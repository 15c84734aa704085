//! Can a model be explained, and are its gradients right? The checks of `camscope check`.

mod slope;

use std::sync::Arc;

use ndarray::{ArrayD, Axis};

use self::slope::{At, Precision};
use crate::{
    error::{Error, Result},
    explain::{Backward, Explainer, Forward, Options},
    image::Seen,
    layer::Choice,
    layer_ranges::{Ranges, Stored},
    model::{Input, Network, Sidecar},
    random,
    runtime::{Canceller, Optimisation, Precision as FloatPrecision, Runtime, SessionOptions},
    subject::TypedModel,
    target::TargetRef,
};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Nothing to pass or fail.
    Noted,
    /// Not as it should be: the model cannot be explained, or not rightly.
    Failed,
}

/// One check.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was looked at.
    pub what: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
}

/// Runs every check on one image, `tensor` as the model takes it, with what it shows of a photo, for one target; `None`: what the model says first. Later checks are left
/// out where an earlier one they need fails. `doing` is told what is begun, since a large model takes minutes.
pub fn check_telling(
    runtime: &'static Runtime,
    network: &Network,
    sidecar: &Sidecar,
    (tensor, seen, target): (&ArrayD<f32>, Option<Seen>, Option<&TargetRef>),
    session: &SessionOptions,
    doing: &mut dyn FnMut(&'static str),
) -> Vec<Row> {
    let mut rows = vec![
        noted("model", model_line(network)),
        noted("input", input_line(network.input(), "")),
        noted("preprocessing", sidecar.preprocessing.describe()),
        noted("labels", sidecar.describe_labels()),
    ];
    let others: Vec<_> = network.others().collect();
    let other = |input: &&Input| {
        let fed = match (input.by_default, &input.value) {
            (Some(what), _) => format!(", fed {what}"),
            (None, Some(_)) => ", fed by --input".to_owned(),
            (None, None) => ", not fed".to_owned(),
        };
        noted("input", input_line(input, &fed))
    };
    rows.splice(2..2, others.iter().map(other));
    rows.extend(sidecar.notes.iter().map(|note| noted("preprocessing", note.clone())));
    match explainable(runtime, network, sidecar, (tensor, seen, target), session, &mut rows, doing) {
        Ok(()) => {}
        Err(error) => {
            let what = if matches!(error, Error::NotFinite { .. }) { "forward" } else { "gradient" };
            let help = error.help().map(|help| format!("\n{help}")).unwrap_or_default();
            rows.push(Row { what, outcome: Outcome::Failed, detail: format!("{error}{help}") });
        }
    }
    rows
}

fn explainable(
    runtime: &'static Runtime,
    network: &Network,
    sidecar: &Sidecar,
    (tensor, seen, target): (&ArrayD<f32>, Option<Seen>, Option<&TargetRef>),
    asked_session: &SessionOptions,
    rows: &mut Vec<Row>,
    doing: &mut dyn FnMut(&'static str),
) -> Result<()> {
    // Finite differences need the digits.
    let session = &SessionOptions { precision: FloatPrecision::Float32, ..asked_session.clone() };
    doing("types of the values");
    let asked: Vec<TargetRef> = target.cloned().into_iter().collect();
    let subject = Arc::new(TypedModel::for_targets(runtime, network.clone(), sidecar.clone(), &asked)?);
    let (network, types) = (subject.network(), subject.types());
    let floats: std::collections::BTreeSet<String> =
        types.iter().filter(|(_, ty)| ty.elem.is_float()).map(|(_, ty)| format!("{:?}", ty.elem)).collect();
    rows.push(noted("float types", floats.into_iter().collect::<Vec<_>>().join(", ")));
    let task = network.task.as_ref().map(|found| found.describe());
    rows.push(noted("task", task.unwrap_or_else(|| "not recognised: [task] in the sidecar says what it is".into())));
    rows.extend(network.guess().map(|guess| noted("task", guess.to_owned())));
    let target = match target.cloned().map_or_else(|| subject.default_target(), Ok) {
        // An embedding: any of its numbers shows whether gradients are right.
        Err(error @ Error::NothingToAsk { .. }) if network.embedding().is_ok() => {
            let target = number_of(network.embedding()?.value(), types)?;
            rows.push(noted("target", format!("{error}; compared is {}", target.spec())));
            target
        }
        target => target?,
    };
    if let Some(classes) = &network.classes {
        rows.push(passed("scores", format!("`{}`, {:?} at the end", classes.logits, classes.head)));
    } else {
        rows.push(passed("scores", format!("`{}`", subject.heads().join("`, `"))));
    }
    rows.extend(subject.label_mismatch().map(|mismatch| noted("labels", mismatch)));
    let (layers, default) = (subject.layers(), subject.default_layer());
    let layer = default.and_then(|index| layers.get(index));
    rows.push(noted(
        "layers",
        match layer {
            Some(layer) => format!("{}, auto is `{}` ({})", layers.len(), layer.name(), layer.value),
            None => match subject.why_no_layers() {
                Some(why) => format!("none with height and width: {why}"),
                None => "none with height and width: only @input can be asked for".into(),
            },
        },
    ));

    let taps: Vec<Choice> = layer
        .map(|_| Choice::Auto)
        .into_iter()
        .chain(network.input().elem.is_float().then_some(Choice::Input))
        .collect();
    let options = Options { layers: taps.clone(), session: session.clone(), seen, ..Default::default() };
    doing("the passes");
    let explainer = Explainer::of(runtime, Arc::clone(&subject), options)?;
    rows.push(passed("operators", "every operator between input and scores has a rule".into()));
    doing("forward and backward");
    let canceller = Canceller::new();
    let forward = explainer.forward(tensor, &canceller)?;
    let evaluated = match explainer.evaluate(&forward, &target) {
        // A detector without a find, say: that is no fault of the model's.
        Err(Error::BadTarget { reason, .. }) if asked.is_empty() => {
            let why = format!("not compared: {reason}; check it with a photo in which the model finds something");
            rows.extend([noted("forward", why.clone()), noted("gradient", why)]);
            return Ok(());
        }
        evaluated => evaluated?,
    };
    let backward = explainer.backward(&forward, &evaluated, &canceller)?;
    // The same class, box or character for every step of the differences.
    let target = evaluated.first().map_or(target, |found| Arc::clone(&found.target));
    if asked_session.precision == FloatPrecision::Float16 {
        doing("float16");
        let options = Options { layers: taps, session: asked_session.clone(), seen, ..Default::default() };
        let half = Explainer::of(runtime, Arc::clone(&subject), options)?;
        rows.push(float16_row((&half, &explainer), (&forward, &backward), tensor, &target)?);
    }

    let random = explainer.random_nodes();
    if !random.is_empty() {
        rows.push(noted("random", random::told(&random)));
        let why = "not compared: every run gives another answer";
        rows.extend([noted("forward", why.into()), noted("gradient", why.into())]);
        return Ok(());
    }
    doing("the model as it is");
    let precision = Precision::of(types.iter().map(|(_, ty)| ty.elem));
    let estimate = explainer.straight_through().len();
    // At full optimisation ONNX Runtime computes a quantised model in integers, and rounds elsewhere.
    let optimisation = if estimate == 0 { Optimisation::All } else { Optimisation::Basic };
    let options = Options { session: SessionOptions { optimisation, ..session.clone() }, seen, ..Default::default() };
    let plain = Explainer::forward_passes(runtime, Arc::clone(&subject), options)?;
    rows.push(forward_row(&subject, (&plain.forward(tensor, &canceller)?, &forward), precision)?);
    if !network.input().elem.is_float() {
        rows.push(noted("gradient", "not compared: the input holds integers, which have no slope".into()));
        return Ok(());
    }
    let gradient = explainer.gradient(&backward, explainer.taps().len() - 1)?.to_f32()?;
    let gradient = gradient.slice_axis(Axis(0), (0..1).into()).to_owned();
    doing("finite differences");
    let row = slope::row(&plain, &explainer, &At { tensor, gradient: &gradient, target: &target }, precision)?;
    if let Some(note) = explainer.stopped_note() {
        rows.push(noted("regions", note));
        // Differences follow where regions lie, the gradient doesn't.
        let outcome = if row.outcome == Outcome::Failed { Outcome::Noted } else { row.outcome };
        rows.push(Row { outcome, ..row });
        return Ok(());
    }
    if estimate == 0 {
        rows.push(row);
    } else {
        rows.push(noted("quantised", format!("{estimate} nodes round: gradients are straight-through estimates")));
        // A function of steps has no slope to be compared with; an estimate is far from it where steps are long.
        let outcome = if row.outcome == Outcome::Failed { Outcome::Noted } else { row.outcome };
        rows.push(Row { outcome, ..row });
    }
    doing("ranges of the layers");
    rows.extend(saturation_rows(runtime, &subject, tensor, session)?);
    Ok(())
}

/// The first number of a value, of one image.
fn number_of(value: &str, types: &onnx_grad::Types) -> Result<TargetRef> {
    let rank = types.get(value).and_then(|ty| ty.shape.as_ref()).map_or(2, Vec::len);
    crate::target::parse(&format!("output:{value}[{}]", vec!["0"; rank].join(",")))
}

/// How many numbers of each layer are at the end of their type's range, where gradients stop and answers are off: all in all, then the
/// layers with any.
fn saturation_rows(
    runtime: &'static Runtime,
    subject: &TypedModel,
    tensor: &ArrayD<f32>,
    session: &SessionOptions,
) -> Result<Vec<Row>> {
    if !subject.stored().iter().flatten().any(Stored::has_ends) {
        return Ok(Vec::new());
    }
    let ranges = Ranges::new(runtime, subject, session)?.of(subject, tensor, &Canceller::new())?;
    let (mut sum, mut count, mut layers, mut rows) = (0, 0, 0, Vec::new());
    for ((layer, stored), range) in subject.layers().iter().zip(subject.stored()).zip(&ranges) {
        let (Some(stored), Some(saturated)) = (stored, range.saturated) else { continue };
        (sum, count, layers) = (sum + saturated, count + range.numbers, layers + 1);
        if saturated > 0 {
            let detail = format!(
                "`{}`: {saturated} of {}, {}, at the end of {}; from {:.3} to {:.3}",
                layer.name(),
                range.numbers,
                range.percent(),
                stored.name,
                range.least,
                range.most
            );
            rows.push(noted("saturation", detail));
        }
    }
    let whole = format!("{sum} of {count} numbers of {layers} layers saturate on this image");
    rows.insert(0, noted("saturation", whole));
    Ok(rows)
}

fn model_line(network: &Network) -> String {
    let opset = network.model.original_opset("").map_or("none".into(), |opset| opset.to_string());
    let proto = network.model.proto();
    let nodes = proto.graph.as_ref().map_or(0, |graph| graph.node.len());
    format!(
        "{nodes} nodes, opset {opset}, IR version {}, by {} {}",
        network.model.original_ir_version(),
        proto.producer_name,
        proto.producer_version
    )
}

fn input_line(input: &Input, how: &str) -> String {
    let axes: Vec<String> =
        input.shape.iter().map(|size| size.map_or("free".into(), |size| size.to_string())).collect();
    format!("`{}`, {:?} [{}]{how}", input.name, input.elem, axes.join(", "))
}

/// What is explained, by the model as it is and by the forward pass.
fn forward_row(subject: &TypedModel, (plain, forward): (&Forward, &Forward), precision: Precision) -> Result<Row> {
    let (mut difference, mut norm, mut is_same) = (0.0f64, 0.0f64, true);
    for head in subject.heads() {
        let (plain, forward) = (plain.value(head, 0)?, forward.value(head, 0)?);
        is_same &= plain == forward;
        difference += plain.iter().zip(&forward).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        norm += plain.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>();
    }
    if is_same {
        return Ok(passed("forward", "outputs unchanged, bit for bit".into()));
    }
    let error = (difference / norm.max(f64::MIN_POSITIVE)).sqrt();
    let outcome = if error <= precision.forward { Outcome::Passed } else { Outcome::Failed };
    Ok(Row { what: "forward", outcome, detail: format!("outputs differ by {error:.1e} (relative)") })
}

/// How far float16 is from float32: what is explained, the heat at the first layer, and the gradient at the input.
fn float16_row(
    (half, explainer): (&Explainer, &Explainer),
    (forward, backward): (&Forward, &Backward),
    tensor: &ArrayD<f32>,
    target: &TargetRef,
) -> Result<Row> {
    let canceller = Canceller::new();
    let own = half.forward(tensor, &canceller)?;
    let own_back = half.backward(&own, &half.evaluate(&own, target)?, &canceller)?;
    let mut scores = 0.0f64;
    for head in explainer.subject().heads() {
        scores = scores.max(apart(own.value(head, 0)?.iter(), forward.value(head, 0)?.iter()));
    }
    let method = explainer.options().method.method;
    let heat = |explainer: &Explainer, forward, backward| explainer.heatmap(forward, backward, 0, method);
    let mut said = Vec::new();
    for (at, tap) in explainer.taps().iter().enumerate() {
        let heats = match at {
            0 => (heat(half, &own, &own_back)?, heat(explainer, forward, backward)?),
            _ => (None, None),
        };
        let (what, error) = match heats {
            (Some(own), Some(right)) => ("heatmap", apart(own.iter(), right.iter())),
            _ => {
                let (own, right) =
                    (half.gradient(&own_back, at)?.to_f32()?, explainer.gradient(backward, at)?.to_f32()?);
                ("gradient", apart(own.iter(), right.iter()))
            }
        };
        said.push(format!("the {what} at `{}` is {error:.1e} from float32's", tap.name()));
    }
    Ok(noted("float16", format!("{}, outputs {scores:.1e} (relative)", said.join(", "))))
}

/// ‖a − b‖ / ‖b‖
fn apart<'a>(a: impl Iterator<Item = &'a f32>, b: impl Iterator<Item = &'a f32>) -> f64 {
    let (mut difference, mut norm) = (0.0f64, 0.0f64);
    for (a, b) in a.zip(b) {
        difference += f64::from(a - b).powi(2);
        norm += f64::from(*b).powi(2);
    }
    (difference / norm.max(f64::MIN_POSITIVE)).sqrt()
}

fn noted(what: &'static str, detail: String) -> Row {
    Row { what, outcome: Outcome::Noted, detail }
}

fn passed(what: &'static str, detail: String) -> Row {
    Row { what, outcome: Outcome::Passed, detail }
}
