//! What numbers the layers of a model hold for an image, and how many of them lie at the end of what their type can hold.
//!
//! The model itself counts: each layer gets a few nodes that reduce it to five numbers, so that no layer has to be kept.

use ndarray::{ArrayD, Axis, concatenate};
use onnx_grad::{
    Builder, Val, attr,
    graph::used_names,
    quantised::{Rounded, rounded},
    value_info,
};

use crate::{
    error::{Error, Result},
    layer::Layer,
    model::Network,
    runtime::{Canceller, ElemType, Runtime, Session, SessionOptions, Value},
    subject::TypedModel,
};

/// The largest number that a float16 holds.
const MOST_OF_HALF: f64 = 65504.0;

/// The type that a layer's numbers have in the file, where that is not float32.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its name: `uint8`, `int8`, `float16`, …
    pub name: &'static str,
    /// Whether numbers are rounded to integers, or to a float8.
    pub quantised: bool,
    /// At the first number and below it they saturate, and at the second and above it. `None`: it is not known where.
    ends: Option<[Option<f64>; 2]>,
}

impl Stored {
    /// Whether it is known where numbers saturate.
    pub fn has_ends(&self) -> bool {
        self.ends.is_some()
    }

    fn rounded(value: &Rounded) -> Option<Self> {
        Some(Self { name: value.type_name()?, quantised: true, ends: value.ends() })
    }

    fn float(name: &'static str) -> Self {
        // The next float32: 65504 itself is held.
        let end = MOST_OF_HALF * (1.0 + f64::from(f32::EPSILON));
        Self { name, quantised: false, ends: (name == "float16").then_some([Some(-end), Some(end)]) }
    }
}

/// The types of a model's layers, one entry a layer.
pub(crate) fn stored(network: &Network, layers: &[Layer]) -> Vec<Option<Stored>> {
    let known = rounded(network.model.graph());
    let of = |layer: &Layer| {
        let value = known.iter().find(|value| value.float == layer.value);
        value.and_then(Stored::rounded).or_else(|| network.stored_as.map(Stored::float))
    };
    layers.iter().map(of).collect()
}

/// A layer's numbers for one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerRange {
    /// The smallest.
    pub least: f32,
    /// The largest.
    pub most: f32,
    /// How many there are.
    pub numbers: usize,
    /// How many saturate; `None` where it is not known where they do, or the type ends nowhere near.
    pub saturated: Option<usize>,
}

impl LayerRange {
    /// Which share saturates.
    pub fn share(&self) -> Option<f64> {
        self.saturated.map(|saturated| saturated as f64 / self.numbers.max(1) as f64)
    }

    /// That share in percent, in words: `0.31 %`, or `< 0.01 %`; empty where it is not known.
    pub fn percent(&self) -> String {
        match self.share().map(|share| 100.0 * share) {
            None => String::new(),
            Some(0.0) => "0 %".into(),
            Some(percent) if percent < 0.01 => "< 0.01 %".into(),
            Some(percent) => format!("{percent:.2} %"),
        }
    }
}

/// A model that tells the ranges of its layers.
pub struct Ranges {
    session: Session,
    /// The names of what is given for each layer.
    given: Vec<Given>,
}

struct Given {
    least: String,
    most: String,
    numbers: String,
    /// At the lower and at the upper end; `None`: it is not known where these are.
    saturated: Option<Vec<String>>,
}

impl Ranges {
    /// Makes the model ready.
    ///
    /// # Errors
    /// The runtime refuses it.
    pub fn new(runtime: &'static Runtime, subject: &TypedModel, session: &SessionOptions) -> Result<Self> {
        let model = &subject.network().model;
        let mut graph = model.graph().clone();
        let mut g = Builder::avoiding(used_names(&graph));
        g.set_scope("ranges");
        let mut given = Vec::new();
        for (layer, stored) in subject.layers().iter().zip(subject.stored()) {
            let x = Val::new(&layer.value);
            let [least, most] = ["ReduceMin", "ReduceMax"].map(|op| {
                let end = g.op(op, &[&x], vec![attr::int("keepdims", 0)]);
                g.cast(&end, onnx_grad::ElemType::Float)
            });
            let numbers = g.op("Size", &[&x], vec![]);
            let mut count = |beyond: &str, end: f64| {
                let end = g.scalar(layer.elem, end);
                let reached = g.binary(beyond, &x, &end);
                let ones = g.cast(&reached, onnx_grad::ElemType::Int64);
                g.op("ReduceSum", &[&ones], vec![attr::int("keepdims", 0)])
            };
            let name = |value: Val| value.name().to_owned();
            let saturated = stored.as_ref().and_then(|stored| stored.ends).map(|ends| {
                let counts = ["LessOrEqual", "GreaterOrEqual"].into_iter().zip(ends);
                counts.filter_map(|(beyond, end)| Some(name(count(beyond, end?)))).collect()
            });
            given.push(Given { least: name(least), most: name(most), numbers: name(numbers), saturated });
        }
        let (nodes, constants) = g.into_parts();
        graph.node.extend(nodes);
        graph.initializer.extend(constants);
        for of in &given {
            let names = [&of.least, &of.most, &of.numbers].into_iter().chain(of.saturated.iter().flatten());
            for name in names {
                if graph.output.iter().all(|output| output.name != *name) {
                    graph.output.push(value_info(name, None));
                }
            }
        }
        Ok(Self { session: runtime.session_of(&model.with_graph(graph), session)?, given })
    }

    /// The range of each layer for an image, `tensor` as the model takes it, a batch of one first.
    ///
    /// # Errors
    /// The runtime fails, or the run was cancelled.
    pub fn of(&self, subject: &TypedModel, tensor: &ArrayD<f32>, canceller: &Canceller) -> Result<Vec<LayerRange>> {
        let input = subject.network().input();
        // As many copies of the image as the model takes at once.
        let rows = input.batch().unwrap_or(1);
        let copies = vec![tensor.view(); rows];
        let all = concatenate(Axis(0), &copies).map_err(|error| Error::Value(error.to_string()))?;
        let image = Value::from_f32_as(all, ElemType::from_code(input.elem.code()))?;
        let fed = subject.fed(rows)?;
        let others = fed.iter().map(|(name, value)| (name.as_str(), value));
        let inputs: Vec<(&str, &Value)> = std::iter::once((input.name.as_str(), &image)).chain(others).collect();
        let values = self.session.run_with(&inputs, canceller)?;
        let number = |name: &str| -> Result<f64> {
            let value = values.get(name).ok_or_else(|| Error::Value(format!("`{name}` was not given")))?;
            Ok(value.to_f64()?.first().copied().unwrap_or(f64::NAN))
        };
        let one = |of: &Given| -> Result<LayerRange> {
            let count = |name: &str| -> Result<usize> { Ok(number(name)? as usize / rows) };
            let saturated = |names: &Vec<String>| names.iter().map(|name| count(name)).sum::<Result<usize>>();
            Ok(LayerRange {
                least: number(&of.least)? as f32,
                most: number(&of.most)? as f32,
                numbers: count(&of.numbers)?,
                saturated: of.saturated.as_ref().map(saturated).transpose()?,
            })
        };
        self.given.iter().map(one).collect()
    }
}
