//! Where the activations of two models drift apart: the relative error of each layer that they have in common.

use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};
use onnx_grad::value_info;

use super::matching::Matched;
use crate::{
    error::{Error, Result},
    layer::{Layer, Layout},
    model::{self, Network},
    runtime::{Canceller, ElemType, Runtime, Session, SessionOptions, Value},
    subject::TypedModel,
};

/// How many times the largest error before it a layer's error is at least where the models drift apart at once.
pub const JUMP: f64 = 3.0;

/// How many numbers of each model are read in one run.
const MOST: usize = 64 << 20;

/// The error of one layer that two models have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The first model's layer, as people are shown it: a module's path or a value's name; `@input`; or an output.
    pub name: String,
    /// The first model's value; `@input`.
    pub value: String,
    /// The module whose output it is.
    pub module: Option<String>,
    /// The second model's value.
    pub other: String,
    /// ‖b − a‖ / ‖a‖; see [`relative_error`].
    pub error: f64,
}

/// Two models that tell their activations.
pub struct Activations {
    parts: Vec<Part>,
}

/// What is read in one run of each.
struct Part {
    sessions: [Session; 2],
    pairs: Vec<Pair>,
}

/// Two values that are the same.
#[derive(Clone, Debug)]
struct Pair {
    name: String,
    module: Option<String>,
    values: [String; 2],
    /// `None` of an output, which has no layout.
    layouts: Option<[Layout; 2]>,
    /// How many numbers each has for an image.
    numbers: usize,
}

impl Activations {
    /// Makes two models ready to tell the layers that were matched and have one size, and what targets read.
    ///
    /// # Errors
    /// No layer that was matched has as many numbers in both, or the runtime refuses a model.
    pub fn new(
        runtime: &'static Runtime,
        (a, b): (&TypedModel, &TypedModel),
        matched: &[Matched],
        session: &SessionOptions,
    ) -> Result<Self> {
        let layers = matched.iter().filter_map(|pair| of_layers(a.layers().get(pair.a)?, b.layers().get(pair.b)?));
        let mut pairs: Vec<Pair> = layers.collect();
        if pairs.is_empty() {
            return Err(Error::NothingToDrift);
        }
        let (heads_a, heads_b) = (a.heads(), b.heads());
        if heads_a.len() == heads_b.len() {
            pairs.extend(heads_a.iter().zip(&heads_b).map(|(a, b)| Pair {
                name: (*a).to_owned(),
                module: None,
                values: [(*a).to_owned(), (*b).to_owned()],
                layouts: None,
                numbers: 0,
            }));
        }
        let part = |pairs: Vec<Pair>| -> Result<Part> {
            let names = |which: usize| pairs.iter().map(|pair| pair.values[which].as_str()).collect::<Vec<_>>();
            let sessions = [telling(runtime, a, &names(0), session)?, telling(runtime, b, &names(1), session)?];
            Ok(Part { sessions, pairs })
        };
        Ok(Self { parts: in_parts(pairs, MOST).into_iter().map(part).collect::<Result<_>>()? })
    }

    /// The errors for one picture, in the first model's order: its input, where that has one shape in both, the layers, the outputs. Each
    /// tensor is as the model takes it, a batch of one first.
    ///
    /// # Errors
    /// The runtime fails, or the run was cancelled.
    pub fn errors(
        &self,
        (a, tensor_a): (&TypedModel, &ArrayD<f32>),
        (b, tensor_b): (&TypedModel, &ArrayD<f32>),
        canceller: &Canceller,
    ) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let inputs = [(a, tensor_a), (b, tensor_b)].map(|(subject, tensor)| {
            let is_last = subject.sidecar().preprocessing.layout == model::Layout::Nhwc;
            channels_first(tensor.view(), if is_last { Layout::Nhwc } else { Layout::Nchw })
        });
        if inputs[0].shape() == inputs[1].shape() {
            entries.push(Entry {
                name: "@input".into(),
                value: "@input".into(),
                module: None,
                other: "@input".into(),
                error: relative_error(inputs[0].iter(), inputs[1].iter()),
            });
        }
        for part in &self.parts {
            let [session_a, session_b] = &part.sessions;
            let (values_a, values_b) =
                (run(session_a, a, tensor_a, canceller)?, run(session_b, b, tensor_b, canceller)?);
            for pair in &part.pairs {
                let [a, b] = [values_a(&pair.values[0])?, values_b(&pair.values[1])?];
                let [a, b] = match pair.layouts {
                    Some(layouts) => [channels_first(a.view(), layouts[0]), channels_first(b.view(), layouts[1])],
                    None if a.shape() == b.shape() => [a.view(), b.view()],
                    None => continue,
                };
                if a.len() != b.len() {
                    continue;
                }
                entries.push(Entry {
                    name: pair.name.clone(),
                    value: pair.values[0].clone(),
                    module: pair.module.clone(),
                    other: pair.values[1].clone(),
                    error: relative_error(a.iter(), b.iter()),
                });
            }
        }
        Ok(entries)
    }
}

/// The pair of two layers that have the same numbers in another order at most.
fn of_layers(a: &Layer, b: &Layer) -> Option<Pair> {
    let numbers = |layer: &Layer| -> Option<(usize, Vec<usize>, usize)> {
        let channels = layer.shape.get(layer.layout.channel_axis()).copied().flatten()?;
        let prefix = if let Layout::Tokens { prefix, .. } = layer.layout { prefix } else { 0 };
        Some((channels, layer.layout.space(&layer.shape).into_iter().collect::<Option<_>>()?, prefix))
    };
    numbers(a).filter(|own| numbers(b).as_ref() == Some(own))?;
    Some(Pair {
        name: a.name().to_owned(),
        module: a.output_of().map(str::to_owned),
        values: [a.value.clone(), b.value.clone()],
        layouts: Some([a.layout, b.layout]),
        numbers: a.shape.iter().skip(1).map(|size| size.unwrap_or(1)).product(),
    })
}

/// The pairs in parts of at most `most` numbers, or of one pair.
fn in_parts(pairs: Vec<Pair>, most: usize) -> Vec<Vec<Pair>> {
    let mut parts: Vec<Vec<Pair>> = Vec::new();
    let mut numbers = 0;
    for pair in pairs {
        numbers += pair.numbers;
        match parts.last_mut().filter(|_| numbers <= most) {
            Some(part) => part.push(pair),
            None => {
                numbers = pair.numbers;
                parts.push(vec![pair]);
            }
        }
    }
    parts
}

/// A session of the model that also gives the values of these names.
fn telling(runtime: &Runtime, subject: &TypedModel, names: &[&str], session: &SessionOptions) -> Result<Session> {
    let network = subject.network();
    let mut graph = network.model.graph().clone();
    let is_input = |network: &Network, name: &str| network.inputs.iter().any(|input| input.name == name);
    for name in names.iter().filter(|name| !is_input(network, name)) {
        if graph.output.iter().all(|output| output.name != *name) {
            graph.output.push(value_info(name, None));
        }
    }
    Ok(runtime.session_of(&network.model.with_graph(graph), session)?)
}

/// What a run gives for an image, by name.
fn run(
    session: &Session,
    subject: &TypedModel,
    tensor: &ArrayD<f32>,
    canceller: &Canceller,
) -> Result<impl Fn(&str) -> Result<ArrayD<f32>> + use<>> {
    let input = subject.network().input();
    // As many copies of the image as the model takes at once.
    let rows = input.batch().unwrap_or(1);
    let copies = vec![tensor.view(); rows];
    let all = concatenate(Axis(0), &copies).map_err(|error| Error::Value(error.to_string()))?;
    let image = Value::from_f32_as(all, ElemType::from_code(input.elem.code()))?;
    let fed = subject.fed(rows)?;
    let others = fed.iter().map(|(name, value)| (name.as_str(), value));
    let inputs: Vec<(&str, &Value)> = std::iter::once((input.name.as_str(), &image)).chain(others).collect();
    let values = session.run_with(&inputs, canceller)?;
    Ok(move |name: &str| {
        let value = values.get(name).ok_or_else(|| Error::Value(format!("the run gave no `{name}`")))?.to_f32()?;
        Ok(match value.shape().first() {
            Some(&first) if rows > 1 && first == rows => value.slice_axis(Axis(0), (0..1).into()).to_owned(),
            _ => value,
        })
    })
}

/// The array with its channels behind the batch.
fn channels_first(array: ArrayViewD<'_, f32>, layout: Layout) -> ArrayViewD<'_, f32> {
    let from = layout.channel_axis();
    if array.ndim() != layout.rank() || from == 1 {
        return array;
    }
    let axes: Vec<usize> = [0, from].into_iter().chain((1..array.ndim()).filter(|axis| *axis != from)).collect();
    array.permuted_axes(axes)
}

/// ‖b − a‖ / ‖a‖, summed in float64: 0 where they are the same, about 1 where nothing of `a` is left in `b`.
///
/// Where `a` is zero everywhere it is 0 if `b` is too, else 1: all that `b` has is other. Infinite where either has numbers that are not
/// finite and they are not the same.
pub fn relative_error<'a>(a: impl Iterator<Item = &'a f32>, b: impl Iterator<Item = &'a f32>) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (a, b) in a.zip(b) {
        if a.to_bits() == b.to_bits() && !a.is_finite() {
            continue;
        }
        let (a, b) = (f64::from(*a), f64::from(*b));
        difference += (b - a) * (b - a);
        norm += a * a;
    }
    match difference {
        0.0 => 0.0,
        difference if !difference.is_finite() || !norm.is_finite() => f64::INFINITY,
        _ if norm == 0.0 => 1.0,
        difference => (difference / norm).sqrt(),
    }
}

/// The mean error of each layer over pictures.
#[derive(Clone, Debug, Default)]
pub struct MeanErrors {
    /// The sums.
    sums: Vec<Entry>,
    pictures: usize,
}

impl MeanErrors {
    /// Adds a picture. A layer that some pictures lack is left out.
    pub fn add(&mut self, picture: &[Entry]) {
        self.pictures += 1;
        if self.pictures == 1 {
            self.sums = picture.to_vec();
            return;
        }
        let own = |sum: &Entry| picture.iter().find(|own| own.value == sum.value && own.other == sum.other);
        self.sums.retain_mut(|sum| own(sum).map(|own| sum.error += own.error).is_some());
    }

    /// How many pictures there were.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    /// The means, in the order of the graph.
    pub fn means(&self) -> Vec<Entry> {
        let mean = |sum: &Entry| Entry { error: sum.error / self.pictures as f64, ..sum.clone() };
        self.sums.iter().map(mean).collect()
    }
}

/// Where two models drift apart first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FirstDrift {
    /// Its place in the list.
    pub at: usize,
    /// The largest error before it.
    pub before: f64,
    /// Whether its error is [`JUMP`] times that or more; else errors grew by and by.
    pub at_once: bool,
}

/// Activations have drifted apart where their relative error is above this.
pub const DRIFTED: f64 = 0.1;

/// A relative error as people read it.
pub fn error_text(error: f64) -> String {
    match error {
        0.0 => "0".into(),
        error if !error.is_finite() => "infinite".into(),
        error if error < 1e-3 => format!("{error:.1e}"),
        error => format!("{error:.4}"),
    }
}

/// The first of the errors, in the order of the graph, that is above `above` and at least [`JUMP`] times each before it; where none jumps
/// so, the first above `above`. `None`: all are at most that.
pub fn first_drift(errors: &[f64], above: f64) -> Option<FirstDrift> {
    let mut before = 0.0f64;
    let mut first = None;
    for (at, &error) in errors.iter().enumerate() {
        if error > above && before.is_finite() {
            if error >= JUMP * before {
                return Some(FirstDrift { at, before, at_once: true });
            }
            first = first.or(Some(FirstDrift { at, before, at_once: false }));
        }
        before = before.max(error);
    }
    first
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;

    fn error(a: &[f32], b: &[f32]) -> f64 {
        relative_error(a.iter(), b.iter())
    }

    #[test]
    fn errors_of_any_size_are_read() {
        for (error, text) in [(0.0, "0"), (2e-7, "2.0e-7"), (0.25, "0.2500"), (f64::INFINITY, "infinite")] {
            assert_eq!(error_text(error), text);
        }
    }

    #[test]
    fn the_error_is_relative_to_the_first_model() {
        assert!((error(&[3.0, 4.0], &[3.0, 4.5]) - 0.1).abs() < 1e-9);
        assert_eq!(error(&[1.0, 2.0], &[0.0, 0.0]), 1.0);
        assert_eq!(error(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
        assert_eq!(error(&[0.0, 0.0], &[0.0, 5.0]), 1.0);
        assert!((error(&[3e38, 0.0], &[3e38, 3e38]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn numbers_that_are_not_finite_are_a_drift_unless_both_have_them() {
        assert_eq!(error(&[1.0, 2.0], &[1.0, f32::NAN]), f64::INFINITY);
        assert_eq!(error(&[1.0, f32::INFINITY], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(error(&[1.0, f32::NEG_INFINITY], &[1.0, f32::NEG_INFINITY]), 0.0);
    }

    #[test]
    fn a_jump_is_found_behind_errors_that_grow() {
        let found = first_drift(&[0.0, 0.02, 0.04, 0.05, 0.6, 0.7], 0.1);
        assert_eq!(found, Some(FirstDrift { at: 4, before: 0.05, at_once: true }));
        // It counts although the errors before it are above the threshold already.
        let found = first_drift(&[0.05, 0.12, 0.11, 0.9], 0.1);
        assert_eq!(found, Some(FirstDrift { at: 3, before: 0.12, at_once: true }));
        // The first of all layers has nothing before it.
        assert_eq!(first_drift(&[0.5, 0.5], 0.1), Some(FirstDrift { at: 0, before: 0.0, at_once: true }));
    }

    #[test]
    fn errors_that_grow_by_and_by_have_a_first_above_the_threshold() {
        let found = first_drift(&[0.04, 0.06, 0.09, 0.12, 0.2], 0.1);
        assert_eq!(found, Some(FirstDrift { at: 3, before: 0.09, at_once: false }));
        assert_eq!(first_drift(&[0.0, 0.01, 0.1], 0.1), None);
        assert_eq!(first_drift(&[], 0.1), None);
    }

    #[test]
    fn what_is_not_finite_comes_first_where_it_begins() {
        let found = first_drift(&[0.01, f64::INFINITY, f64::INFINITY], 0.1);
        assert_eq!(found, Some(FirstDrift { at: 1, before: 0.01, at_once: true }));
    }

    #[test]
    fn layouts_are_brought_to_one() {
        let array = ArrayD::from_shape_fn(vec![1, 2, 3, 4], |at| (100 * at[1] + 10 * at[2] + at[3]) as f32);
        let last = array.view().permuted_axes(vec![0, 2, 3, 1]).to_owned();
        assert_eq!(channels_first(last.view(), Layout::Nhwc), array.view());
        assert_eq!(channels_first(array.view(), Layout::Nchw), array.view());
        let tokens = ArrayD::from_shape_fn(vec![1, 12, 2], |at| (100 * at[2] + 10 * (at[1] / 4) + at[1] % 4) as f32);
        let layout = Layout::Tokens { prefix: 0, height: 3, width: 4 };
        assert!(channels_first(tokens.view(), layout).iter().eq(array.iter()));
    }

    #[test]
    fn the_mean_is_over_pictures_layer_by_layer() {
        let entry = |value: &str, error| Entry {
            name: value.into(),
            value: value.into(),
            module: None,
            other: value.into(),
            error,
        };
        let mut mean = MeanErrors::default();
        assert_eq!(mean.means(), []);
        mean.add(&[entry("x", 0.1), entry("y", 0.2)]);
        mean.add(&[entry("x", 0.3)]);
        let means = mean.means();
        assert_eq!((means.len(), mean.pictures()), (1, 2));
        assert!((means[0].error - 0.2).abs() < 1e-12);
    }

    #[test]
    fn many_numbers_are_read_in_several_runs() {
        let pair =
            |numbers| Pair { name: String::new(), module: None, values: Default::default(), layouts: None, numbers };
        let parts = in_parts([5, 4, 2, 20, 1, 0].map(pair).to_vec(), 10);
        let numbers: Vec<Vec<usize>> =
            parts.iter().map(|part| part.iter().map(|pair| pair.numbers).collect()).collect();
        assert_eq!(numbers, [vec![5, 4], vec![2], vec![20], vec![1, 0]]);
    }
}
