//! What lies behind a layer, as a model of its own: methods that change a layer run no more than that.

use std::collections::{HashMap, HashSet};

use ndarray::{ArrayD, Axis, concatenate};
use onnx_grad::{
    graph::{self, Index, reads},
    value_info,
};

use super::Forward;
use crate::{
    error::{Error, Result},
    runtime::{Canceller, ElemType, Outputs, Runtime, Session, SessionOptions, Value},
    subject::TypedModel,
};

/// From a layer to what targets read.
pub(super) struct Tail {
    session: Session,
    /// The layer's value.
    layer: String,
    elem: ElemType,
    /// What else is read, of the same image: outputs of the forward pass, or inputs of the model.
    besides: Vec<String>,
    /// Whether one activation runs at a time: something read besides says how many images there are.
    by_one: bool,
}

impl Tail {
    /// What has to be an output of the forward pass for the tail of `layer`.
    pub(super) fn besides(subject: &TypedModel, layer: &str) -> Vec<String> {
        let network = subject.network();
        let graph = network.model.graph();
        let index = Index::new(graph);
        let after = behind(graph, layer);
        let from_image = behind_all(graph, network.inputs.iter().map(|input| input.name.as_str()));
        // Back from the heads through what depends on the layer; where it is left, something is read besides.
        let (mut found, mut seen, mut open) = (Vec::new(), HashSet::new(), subject.read());
        while let Some(name) = open.pop() {
            if name == layer || !seen.insert(name) {
                continue;
            }
            match index.producer_node(name) {
                Some(node) if after.contains(name) => open.extend(reads(node)),
                _ if from_image.contains(name) => found.push(name.to_owned()),
                // A constant.
                _ => {}
            }
        }
        found
    }

    /// Makes the session.
    ///
    /// # Errors
    /// The runtime refuses it.
    pub(super) fn new(
        runtime: &Runtime,
        subject: &TypedModel,
        layer: &str,
        by_one: bool,
        options: &SessionOptions,
    ) -> Result<Self> {
        let besides = Self::besides(subject, layer);
        let network = subject.network();
        let mut inputs: Vec<&str> = vec![layer];
        inputs.extend(besides.iter().map(String::as_str));
        let mut tail = graph::cut(network.model.graph(), &inputs, &subject.read())?;
        for input in &mut tail.input {
            *input = value_info(&input.name, subject.types().get(&input.name));
        }
        for output in &mut tail.output {
            *output = value_info(&output.name, None);
        }
        let session = runtime.session_of(&network.model.with_graph(tail), options)?;
        let is_whole = |name: &String| subject.types().get(name).is_some_and(|ty| !ty.elem.is_float());
        let by_one = by_one || besides.iter().any(is_whole);
        let elem = subject.types().get(layer).map_or(onnx_grad::ElemType::Float, |ty| ty.elem);
        Ok(Self { session, layer: layer.to_owned(), elem: ElemType::from_code(elem.code()), besides, by_one })
    }

    pub(super) fn is_by_one(&self) -> bool {
        self.by_one
    }

    /// What the model makes of other activations of an image, which lie along the first axis.
    ///
    /// # Errors
    /// The runtime fails, or the work was cancelled.
    pub(super) fn run(
        &self,
        changed: ArrayD<f32>,
        (forward, image): (&Forward, usize),
        fed: &[(String, Value)],
        canceller: &Canceller,
    ) -> Result<Outputs> {
        let rows = changed.len_of(Axis(0));
        let mut values: HashMap<&str, Value> =
            HashMap::from([(self.layer.as_str(), Value::from_f32_as(changed, self.elem)?)]);
        for name in &self.besides {
            let own =
                forward.values.get(name).or_else(|| fed.iter().find(|(fed, _)| fed == name).map(|(_, value)| value));
            let value = own.unwrap_or(&forward.input);
            let all = value.to_f32()?;
            let by_image = all.shape().first() == Some(&forward.rows) && value.elem_type().is_float();
            let value = match by_image {
                true => {
                    let one = all.slice_axis(Axis(0), (image..image + 1).into());
                    let copies = concatenate(Axis(0), &vec![one; rows]);
                    Value::from_f32_as(copies.map_err(|error| Error::Value(error.to_string()))?, value.elem_type())?
                }
                false => value.clone(),
            };
            values.insert(name, value);
        }
        let inputs: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (*name, value)).collect();
        Ok(self.session.run_with(&inputs, canceller)?)
    }
}

/// Everything that depends on a value, itself included.
fn behind<'a>(graph: &'a onnx_grad::proto::GraphProto, from: &'a str) -> HashSet<&'a str> {
    behind_all(graph, std::iter::once(from))
}

/// Everything that depends on one of these values, themselves included.
pub(super) fn behind_all<'a>(
    graph: &'a onnx_grad::proto::GraphProto,
    from: impl Iterator<Item = &'a str>,
) -> HashSet<&'a str> {
    let mut reached: HashSet<&str> = from.collect();
    for node in &graph.node {
        if reads(node).iter().any(|name| reached.contains(name)) {
            reached.extend(node.output.iter().map(String::as_str).filter(|name| !name.is_empty()));
        }
    }
    reached
}
