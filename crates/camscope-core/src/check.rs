//! Can a model be explained, and are its gradients right? The checks of `camscope check`.

use ndarray::{ArrayD, Zip};

use crate::{
    error::{Error, Result},
    explain::{Explainer, Options},
    layer::{Choice, Layer},
    model::{Network, Sidecar, check_scores},
    runtime::{ElemType, Optimisation, Runtime, SessionOptions, Value},
    subject::{default_layer, layers_of, resolve, type_values},
    target::ClassSpec,
};

/// Largest relative difference between gradient and finite difference along a direction. Float32 and the kinks of a network
/// leave a few thousandths; a wrong gradient is off by far more.
const SLOPE_TOLERANCE: f64 = 0.03;

/// Largest relative difference between the outputs of the model and of its forward pass, where fusions differ.
const FORWARD_TOLERANCE: f64 = 1e-5;

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

/// Runs every check on one picture, `tensor` as the model takes it. Later checks are left out where an earlier one they need fails.
pub fn check(
    runtime: &'static Runtime,
    network: &Network,
    sidecar: &Sidecar,
    tensor: &ArrayD<f32>,
    session: &SessionOptions,
) -> Vec<Row> {
    let mut rows = vec![
        noted("model", model_line(network)),
        noted("input", input_line(network)),
        noted("preprocessing", sidecar.preprocessing.source.to_string()),
    ];
    match explainable(runtime, network, sidecar, tensor, session, &mut rows) {
        Ok(()) => {}
        Err(error) => rows.push(Row { what: "gradient", outcome: Outcome::Failed, detail: error.to_string() }),
    }
    rows
}

fn explainable(
    runtime: &'static Runtime,
    network: &Network,
    sidecar: &Sidecar,
    tensor: &ArrayD<f32>,
    session: &SessionOptions,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let mut network = network.clone();
    let types = type_values(runtime, &mut network, sidecar)?;
    let network = &network;
    check_scores(network, &types)?;
    let floats: std::collections::BTreeSet<String> =
        types.iter().filter(|(_, ty)| ty.elem.is_float()).map(|(_, ty)| format!("{:?}", ty.elem)).collect();
    rows.push(noted("float types", floats.into_iter().collect::<Vec<_>>().join(", ")));
    rows.push(passed("scores", format!("`{}`, {:?} at the end", network.logits, network.head)));
    let mut layers = layers_of(network, sidecar, &types);
    let resolved = resolve(network, sidecar, &mut layers);
    let default = resolved.first().map_or_else(|| default_layer(&layers, sidecar), |first| Ok(Some(first)))?;
    let layer = default.and_then(|index| layers.get(index));
    rows.push(noted(
        "layers",
        match layer {
            Some(layer) => format!("{}, auto is `{}` ({})", layers.len(), layer.name(), layer.value),
            None => "none with height and width: only @input can be asked for".into(),
        },
    ));

    let taps: Vec<Choice> = layer.map(|_| Choice::Auto).into_iter().chain([Choice::Input]).collect();
    let options = Options { layers: taps, session: session.clone(), ..Default::default() };
    let explainer = Explainer::new(runtime, network.clone(), sidecar.clone(), options)?;
    rows.push(passed("operators", "every operator between input and scores has a rule".into()));
    let outcome = explainer.explain(tensor.clone(), &[ClassSpec::Top(1)])?;
    let at_input = outcome.explanations.last().ok_or(Error::NoLayers)?;
    let gradient = at_input.gradient.as_ref().ok_or(Error::NoLayers)?;
    let class = at_input.class;

    let plain = Plain::new(runtime, network, session)?;
    rows.push(forward_row(&plain.logits(tensor)?, &outcome.logits));
    let gradient = explainer.read(gradient)?;
    let row = slope_row(&plain, tensor, &gradient, class)?;
    let estimate = explainer.straight_through().len();
    if estimate == 0 {
        rows.push(row);
        return Ok(());
    }
    rows.push(noted("quantised", format!("{estimate} nodes round: gradients are straight-through estimates")));
    // A function of steps has no slope to be compared with; an estimate is far from it where steps are long.
    let outcome = if row.outcome == Outcome::Failed { Outcome::Noted } else { row.outcome };
    rows.push(Row { outcome, ..row });
    rows.extend(saturation_row(runtime, network, &layers, tensor, session)?);
    Ok(())
}

/// How many numbers of each quantised layer are at the end of their range, where gradients stop. A zero point at an end is a ReLU's own.
fn saturation_row(
    runtime: &'static Runtime,
    network: &Network,
    layers: &[Layer],
    tensor: &ArrayD<f32>,
    session: &SessionOptions,
) -> Result<Option<Row>> {
    let mut graph = network.model.graph().clone();
    let rounded: Vec<_> = onnx_grad::quantised::rounded(&graph)
        .into_iter()
        .filter_map(|value| Some((layers.iter().find(|layer| layer.value == value.float)?, value)))
        .collect();
    let outputs = rounded.iter().map(|(_, value)| onnx_grad::value_info(&value.integers, None));
    graph.output.extend(outputs.collect::<Vec<_>>());
    let session = runtime.session_of(&network.model.with_graph(graph), session)?;
    let input = &network.input;
    let copies = vec![tensor.view(); input.batch().unwrap_or(1)];
    let all = ndarray::concatenate(ndarray::Axis(0), &copies).map_err(|error| Error::Value(error.to_string()))?;
    let picture = Value::from_f32_as(all, ElemType::from_code(input.elem.code()))?;
    let values = session.run(&[(&input.name, &picture)])?;
    let (mut lines, mut sum, mut count) = (Vec::new(), 0, 0);
    for (layer, value) in &rounded {
        let Some(integers) = values.get(&value.integers) else { continue };
        let (least, most) = match integers.elem_type().code() {
            2 => (0.0, 255.0),
            3 => (-128.0, 127.0),
            4 => (0.0, 65535.0),
            5 => (-32768.0, 32767.0),
            _ => continue,
        };
        let Ok(numbers) = integers.to_f32() else { continue };
        let own = |end: f32| value.zero.is_some_and(|zero| zero as f32 == end);
        let saturates = |number: &&f32| **number >= most && !own(most) || **number <= least && !own(least);
        let found = numbers.iter().filter(saturates).count();
        sum += found;
        count += numbers.len();
        if found > 0 {
            lines.push((
                found as f64 / numbers.len() as f64,
                format!("`{}` {found} of {}", layer.name(), numbers.len()),
            ));
        }
    }
    if count == 0 {
        return Ok(None);
    }
    lines.sort_by(|a, b| b.0.total_cmp(&a.0));
    let most: Vec<String> = lines.into_iter().take(5).map(|(_, line)| line).collect();
    let where_most = if most.is_empty() { String::new() } else { format!("; most at {}", most.join(", ")) };
    let detail =
        format!("{sum} of {count} numbers of {} quantised layers saturate on this photo{where_most}", rounded.len());
    Ok(Some(noted("saturation", detail)))
}

fn model_line(network: &Network) -> String {
    let opset = network.model.original_opset("").map_or("none".into(), |opset| opset.to_string());
    let proto = network.model.proto();
    let nodes = proto.graph.as_ref().map_or(0, |graph| graph.node.len());
    format!(
        "{nodes} nodes, opset {opset}, IR version {}, by {} {}",
        proto.ir_version, proto.producer_name, proto.producer_version
    )
}

fn input_line(network: &Network) -> String {
    let input = &network.input;
    let axes: Vec<String> =
        input.shape.iter().map(|size| size.map_or("free".into(), |size| size.to_string())).collect();
    format!("`{}`, {:?} [{}]", input.name, input.elem, axes.join(", "))
}

/// The model as it is, run for its logits alone.
struct Plain<'a> {
    network: &'a Network,
    session: crate::runtime::Session,
}

impl<'a> Plain<'a> {
    fn new(runtime: &Runtime, network: &'a Network, options: &SessionOptions) -> Result<Self> {
        let mut graph = network.model.graph().clone();
        if !graph.output.iter().any(|output| output.name == network.logits) {
            graph.output.push(onnx_grad::value_info(&network.logits, None));
        }
        let options = SessionOptions { optimisation: Optimisation::All, ..options.clone() };
        let session = runtime.session_of(&network.model.with_graph(graph), &options)?;
        Ok(Self { network, session })
    }

    fn logits(&self, tensor: &ArrayD<f32>) -> Result<Vec<f32>> {
        let input = &self.network.input;
        let copies = vec![tensor.view(); input.batch().unwrap_or(1)];
        let all = ndarray::concatenate(ndarray::Axis(0), &copies).map_err(|error| Error::Value(error.to_string()))?;
        let picture = Value::from_f32_as(all, ElemType::from_code(input.elem.code()))?;
        let mut outputs = self.session.run(&[(&input.name, &picture)])?;
        let logits = outputs.take(&self.network.logits).ok_or_else(|| Error::Value("the run gave no logits".into()))?;
        Ok(logits.to_f32()?.index_axis(ndarray::Axis(0), 0).iter().copied().collect())
    }
}

fn forward_row(plain: &[f32], forward: &[f32]) -> Row {
    if plain == forward {
        return passed("forward", "outputs unchanged, bit for bit".into());
    }
    let difference: f64 = plain.iter().zip(forward).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let norm: f64 = plain.iter().map(|a| f64::from(*a).powi(2)).sum();
    let error = (difference / norm.max(f64::MIN_POSITIVE)).sqrt();
    let outcome = if error <= FORWARD_TOLERANCE { Outcome::Passed } else { Outcome::Failed };
    Row { what: "forward", outcome, detail: format!("outputs differ by {error:.1e} (relative)") }
}

/// The slope of the class score along a direction, by central differences of several widths against gradient · direction. The
/// direction leans to the gradient, so that the slope stands out of float32's noise, and is partly random, so that no wrong
/// gradient hides in it.
fn slope_row(plain: &Plain<'_>, tensor: &ArrayD<f32>, gradient: &ArrayD<f32>, class: usize) -> Result<Row> {
    let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    if norm == 0.0 || !norm.is_finite() {
        let detail = format!("the gradient at the input has norm {norm}");
        return Ok(Row { what: "gradient", outcome: Outcome::Failed, detail });
    }
    let root = (gradient.len() as f64).sqrt();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let direction = gradient.mapv(|g| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = (state >> 40) as f64 / f64::from(1u32 << 24) - 0.5;
        (f64::from(g) / norm + random / root) as f32
    });
    let analytic: f64 = Zip::from(gradient).and(&direction).fold(0.0, |sum, g, d| sum + f64::from(*g) * f64::from(*d));
    let score = |step: f64| -> Result<f64> {
        let moved = Zip::from(tensor).and(&direction).map_collect(|x, d| (f64::from(*x) + step * f64::from(*d)) as f32);
        plain
            .logits(&moved)?
            .get(class)
            .map(|logit| f64::from(*logit))
            .ok_or(Error::ClassRange { class: class.to_string(), count: 0 })
    };
    let scale = plain.logits(tensor)?.iter().map(|logit| f64::from(logit.abs())).fold(1e-6, f64::max);
    // Too flat for float32: even a step of a tenth of the picture changes the score by less than its rounding. Then there is
    // nothing to compare; but a score that does change would belie such a gradient.
    let reach = 0.1 * tensor.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let rounding = 4.0 * f64::from(f32::EPSILON) * scale;
    if 2.0 * reach * analytic.abs() < rounding {
        let change = (score(reach)? - score(-reach)?).abs();
        let outcome = if change <= 4.0 * rounding { Outcome::Noted } else { Outcome::Failed };
        let detail = format!(
            "the score of class {class} is flat: it rises by {analytic:.1e} along a direction at the input, too little for float32 to \
             show, and changes by {change:.1e} over a tenth of the picture"
        );
        return Ok(Row { what: "gradient", outcome, detail });
    }
    let mut best = (f64::INFINITY, 0.0);
    for share in [0.003, 0.01, 0.03, 0.1] {
        let step = share * scale / analytic.abs().max(f64::MIN_POSITIVE);
        let numeric = (score(step)? - score(-step)?) / (2.0 * step);
        let error = ((numeric - analytic) / analytic).abs();
        if error < best.0 {
            best = (error, numeric);
        }
    }
    let outcome = if best.0 <= SLOPE_TOLERANCE { Outcome::Passed } else { Outcome::Failed };
    let detail = format!(
        "along a direction at the input the score of class {class} rises by {}, by finite differences {}: {:.2} % apart",
        readable(analytic),
        readable(best.1),
        100.0 * best.0
    );
    Ok(Row { what: "gradient", outcome, detail })
}

fn readable(slope: f64) -> String {
    if (1e-3..1e6).contains(&slope.abs()) { format!("{slope:.5}") } else { format!("{slope:.4e}") }
}

fn noted(what: &'static str, detail: String) -> Row {
    Row { what, outcome: Outcome::Noted, detail }
}

fn passed(what: &'static str, detail: String) -> Row {
    Row { what, outcome: Outcome::Passed, detail }
}
