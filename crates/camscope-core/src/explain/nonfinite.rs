//! Scores that are no numbers: which value of the model was the first.

use ndarray::ArrayD;
use onnx_grad::{graph::Index, proto::NodeProto, value_info};

use super::Explainer;
use crate::{
    error::{Error, Result},
    runtime::{ElemType, Optimisation, Provider, ProviderChoice, Runtime, SessionOptions, Value},
    target::Scores,
};

/// Refuses scores of which one is NaN or +∞, or all are −∞: no answer comes of those. A single −∞ is a class that the model rules out.
///
/// The first value that isn't finite is looked for by another run, which gives all of them: that costs nothing where all is well.
///
/// # Errors
/// [`Error::NotFinite`] with what was found.
pub(super) fn refuse(explainer: &Explainer, input: &Value, scores: &[Scores]) -> Result<()> {
    let is_bad = |Scores { logits, .. }: &Scores| {
        let answers = logits.iter().any(|logit| logit.is_finite());
        !logits.is_empty() && (!answers || logits.iter().any(|logit| logit.is_nan() || *logit == f32::INFINITY))
    };
    if !scores.iter().any(is_bad) {
        return Ok(());
    }
    let name = explainer.network().classes.as_ref().map_or("", |classes| &classes.logits);
    Err(not_finite(explainer, input, name))
}

/// The error of a number that isn't finite, called `name`, with the first value that makes it so.
pub(super) fn not_finite(explainer: &Explainer, input: &Value, name: &str) -> Error {
    let (cause, in_input) = match input.to_f32().ok().and_then(|input| worst(&input)) {
        Some(found) => {
            let input = &explainer.network().input().name;
            (format!("the input `{input}` itself holds {found}"), true)
        }
        None => (
            first(explainer, input).unwrap_or_else(|error| format!("where they come from is not known: {error}")),
            false,
        ),
    };
    Error::NotFinite { name: name.to_owned(), cause, in_input }
}

/// A value that isn't finite, and where the first of its kind lies.
struct Bad {
    value: f32,
    place: Vec<usize>,
    count: usize,
    of: usize,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:?} ({} of its {} values are not finite)", self.value, self.place, self.count, self.of)
    }
}

/// NaN or +∞ if there is one, else −∞: masks hold that by intent.
fn worst(array: &ArrayD<f32>) -> Option<Bad> {
    let bad = || array.indexed_iter().filter(|(_, value)| !value.is_finite());
    let (place, value) = bad().find(|(_, value)| **value != f32::NEG_INFINITY).or_else(|| bad().next())?;
    let place = ndarray::Dimension::slice(&place).to_vec();
    Some(Bad { value: *value, place, count: bad().count(), of: array.len() })
}

/// Runs the model for all of its floats, one operator after the other, and says which is the first that isn't finite.
fn first(explainer: &Explainer, input: &Value) -> Result<String> {
    let network = explainer.network();
    let runtime = Runtime::get().ok_or_else(|| Error::Value("ONNX Runtime is not loaded".into()))?;
    let types = explainer.subject().types();
    let mut graph = network.model.graph().clone();
    let made = graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    let floats: Vec<String> =
        made.filter(|name| types.get(name).is_some_and(|ty| ty.elem.is_float())).cloned().collect();
    graph.output = floats.iter().map(|name| value_info(name, None)).collect();
    let options = SessionOptions {
        provider: ProviderChoice::Named(Provider::Cpu),
        optimisation: Optimisation::Off,
        threads: explainer.options().session.threads,
        ..Default::default()
    };
    let session = runtime.session_of(&network.model.with_graph(graph), &options)?;
    let fed = explainer.fed(input.shape().first().copied().unwrap_or(1))?;
    let values = session.run(&super::feeds(&network.input().name, input, &fed))?;
    let index = Index::new(network.model.graph());
    let mut masked = None;
    for (name, node) in floats.iter().filter_map(|name| Some((name, index.producer_node(name)?))) {
        let Some(bad) = values.get(name).and_then(|value| worst(&value.to_f32().ok()?)) else { continue };
        if bad.value != f32::NEG_INFINITY {
            let of_node = |name: &String| {
                worst(&values.get(name)?.to_f32().ok()?).map(|bad| (name.clone(), bad.value.to_string()))
            };
            let weight = |name: &String| Some(index.constant(name)?.to_floats().ok()?.into_iter().any(f64::is_nan));
            let from =
                node.input.iter().find_map(of_node).map(|(from, value)| format!("; its input `{from}` holds {value}"));
            let from = from.or_else(|| {
                let weight = node.input.iter().find(|name| weight(name) == Some(true))?;
                Some(format!("; its weight `{weight}` holds NaN"))
            });
            return Ok(words(name, node, &bad) + &from.unwrap_or_default() + &half(values.get(name)));
        }
        masked.get_or_insert_with(|| words(name, node, &bad));
    }
    let provider = explainer.forward_session().provider();
    Ok(masked.unwrap_or_else(|| {
        format!("on the CPU, one operator after the other, all values are finite: it is the arithmetic on {provider}")
    }))
}

fn words(name: &str, node: &NodeProto, bad: &Bad) -> String {
    let at = if node.name.is_empty() { String::new() } else { format!(", node `{}`", node.name) };
    format!("the first value that isn't finite is `{name}` ({}{at}): {bad}", node.op_type)
}

/// What to know of 16-bit floats.
fn half(value: Option<&Value>) -> String {
    let is_half = value.is_some_and(|value| value.elem_type() == ElemType::Float16);
    if is_half { "; it is a float16, which ends at 65504".into() } else { String::new() }
}
