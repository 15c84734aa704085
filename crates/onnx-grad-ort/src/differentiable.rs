//! A model with its gradients: the crate's public face.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ndarray::{ArrayD, IxDyn};
use onnx_grad::{Dim, EMITTED_OPSET, Gradient, Model, Request, Types, ValueType, upgrade::upgrade};

use crate::{
    blocked::Unblocker,
    error::{Error, Result},
    passes::{Given, Passes, Plan},
    probe::{Feed, probe_unrolled},
    rules,
    runtime::{Canceller, ElemType, Outputs, Runtime, SessionOptions, ToValue, Value},
};

/// How many batch sizes keep their sessions, where sessions are made for one size.
const MOST_BATCHES: usize = 4;

/// What is wanted of a model: which outputs are differentiated, with respect to which values, at which sizes, and how it runs.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    outputs: Vec<String>,
    wrt: Vec<String>,
    shapes: Vec<(String, Vec<usize>)>,
    session: SessionOptions,
}

impl Wanted {
    /// The outputs that are differentiated: outputs of the model, or any other float values of its graph.
    pub fn outputs<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { outputs: names.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// The values whose gradients are wanted: inputs of the model, or any other float values of its graph.
    #[must_use]
    pub fn wrt<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.wrt.extend(names.into_iter().map(Into::into));
        self
    }

    /// The shape of an input whose axes the model leaves open. An open first axis is taken for a batch, which may be of another size in
    /// every run; it is 1 where nothing is said.
    #[must_use]
    pub fn shape(mut self, input: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        self.shapes.push((input.into(), shape.into()));
        self
    }

    /// Where and how the model runs: execution provider, threads.
    #[must_use]
    pub fn session(mut self, options: SessionOptions) -> Self {
        self.session = options;
        self
    }
}

/// A model, differentiated and ready to run: forward to its outputs, and back from their cotangents to gradients. Threads may share it.
pub struct Differentiable {
    runtime: &'static Runtime,
    options: SessionOptions,
    gradient: Gradient,
    types: Types,
    inputs: Vec<Feed>,
    /// What the forward pass gives: the model's outputs and the differentiated values.
    outputs: Vec<String>,
    /// Each value asked for, with the name of its gradient.
    taps: Vec<(String, String)>,
    /// By batch size, where sessions are made for one; else at 0.
    passes: Mutex<HashMap<usize, Arc<Passes>>>,
    unblocker: Unblocker,
}

impl Differentiable {
    /// Reads a model's file, differentiates it and makes it ready to run.
    ///
    /// # Errors
    /// The file is no model; those of [`Differentiable::new`].
    pub fn open(runtime: &'static Runtime, path: impl AsRef<Path>, wanted: &Wanted) -> Result<Self> {
        Self::new(runtime, &Model::read(path.as_ref())?, wanted)
    }

    /// Differentiates a model and makes it ready to run.
    ///
    /// # Errors
    /// An input has open axes that no [`Wanted::shape`] gives; a name that the graph doesn't have; an output that doesn't depend on a
    /// value whose gradient is wanted; [`onnx_grad::Error::NotDifferentiable`] with every operator in the way; the runtime refuses.
    pub fn new(runtime: &'static Runtime, model: &Model, wanted: &Wanted) -> Result<Self> {
        let model = upgrade(model, EMITTED_OPSET)?;
        let inputs = feeds(&model, wanted)?;
        let (model, types) = probe_unrolled(runtime, &model, &inputs)?;
        let outputs: Vec<&str> = wanted.outputs.iter().map(String::as_str).collect();
        let mut wrt: Vec<&str> = wanted.wrt.iter().map(String::as_str).collect();
        wrt.sort_unstable();
        wrt.dedup();
        if outputs.is_empty() || wrt.is_empty() {
            return Err(Error::Value("nothing to differentiate: name outputs, and values by `Wanted::wrt`".into()));
        }
        let request = Request { outputs: &outputs, wrt: &wrt, types: &types };
        let gradient = rules::differentiate(&model, &request)?;
        let tap = |(value, gradient): &(String, Option<String>)| {
            let names = outputs.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let none = || Error::Value(format!("{names} do not depend on `{value}`: its gradient is zero"));
            Ok((value.clone(), gradient.clone().ok_or_else(none)?))
        };
        let taps = gradient.gradients.iter().map(tap).collect::<Result<Vec<_>>>()?;
        let mut listed: Vec<String> = model.graph().output.iter().map(|output| output.name.clone()).collect();
        for name in &wanted.outputs {
            if !listed.contains(name) {
                listed.push(name.clone());
            }
        }
        let new = Self {
            runtime,
            options: wanted.session.clone(),
            gradient,
            types,
            inputs,
            outputs: listed,
            taps,
            passes: Mutex::default(),
            unblocker: Unblocker::new(runtime, &wanted.session),
        };
        let batch = new.inputs.iter().find(|input| input.free_batch).and_then(|input| input.shape.first().copied());
        new.passes_for(batch.unwrap_or(1))?;
        Ok(new)
    }

    /// The names of the model's inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }

    /// What the forward pass gives: the model's outputs and the differentiated values.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Both passes as one ONNX model of standard operators, which any runtime runs: see [`Gradient::fuse`].
    pub fn gradient(&self) -> &Gradient {
        &self.gradient
    }

    /// Runs the model on its inputs, each by name.
    ///
    /// # Errors
    /// An input is missing, unknown, or of a wrong type or shape; an operator fails.
    pub fn forward(&self, inputs: &[(&str, &dyn ToValue)]) -> Result<Forward<'_>> {
        self.forward_with(inputs, &Canceller::new())
    }

    /// As [`Differentiable::forward`], unless and until `canceller` is cancelled.
    ///
    /// # Errors
    /// [`Error::Cancelled`], and those of [`Differentiable::forward`].
    pub fn forward_with(&self, inputs: &[(&str, &dyn ToValue)], canceller: &Canceller) -> Result<Forward<'_>> {
        if let Some((unknown, _)) = inputs.iter().find(|(name, _)| !self.inputs().any(|input| input == *name)) {
            let names: Vec<String> = self.inputs().map(|name| format!("`{name}`")).collect();
            return Err(Error::Value(format!("the model has no input `{unknown}`; it has {}", names.join(", "))));
        }
        let mut fed: Vec<(String, Value)> = Vec::with_capacity(self.inputs.len());
        let mut batch = None;
        for input in &self.inputs {
            let given = inputs.iter().find(|(name, _)| *name == input.name);
            let (_, value) =
                given.ok_or_else(|| Error::Value(format!("the model's input `{}` is not given", input.name)))?;
            let value = value.to_value()?.converted(ElemType::from_code(input.elem.code()))?;
            if input.free_batch {
                batch = batch.or(value.shape().first().copied());
            }
            fed.push((input.name.clone(), value));
        }
        let passes = self.passes_for(batch.unwrap_or(1))?;
        let feeds: Vec<(&str, &Value)> = fed.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let values = passes.forward.run_with(&feeds, canceller)?;
        Ok(Forward { model: self, passes, inputs: fed, values })
    }

    /// The sessions for a run of that many rows.
    fn passes_for(&self, batch: usize) -> Result<Arc<Passes>> {
        let mut made = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passes) = made.get(&0).or_else(|| made.get(&batch)) {
            return Ok(Arc::clone(passes));
        }
        let outputs: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        let plan = Plan {
            gradient: &self.gradient,
            types: &self.types,
            outputs: &outputs,
            batch,
            taps: &self.taps,
            means: &[],
        };
        let passes = Arc::new(Passes::new(self.runtime, &plan, &self.options)?);
        let one_size = passes.as_one && self.inputs.iter().any(|input| input.free_batch);
        if made.len() >= MOST_BATCHES {
            made.clear();
        }
        made.insert(if one_size { batch } else { 0 }, Arc::clone(&passes));
        Ok(passes)
    }
}

/// A run forward: the model's outputs, and what the way back needs.
pub struct Forward<'m> {
    model: &'m Differentiable,
    passes: Arc<Passes>,
    inputs: Vec<(String, Value)>,
    values: Outputs,
}

impl Forward<'_> {
    /// An output of the model, or a value that gradients are taken at.
    ///
    /// # Errors
    /// There is none of that name; the runtime fails.
    pub fn get(&self, name: &str) -> Result<Value> {
        let tap = self.model.taps.iter().position(|(value, _)| value == name);
        match tap.map(|at| &self.passes.taps[at].activation) {
            Some(Given { name, blocked }) => self.model.unblocker.plain(self.raw(name)?, *blocked),
            None => self.raw(name).cloned(),
        }
    }

    /// The gradients of Σ ⟨seed, output⟩ at every value asked for: the vector-Jacobian product. A seed has its output's shape; an output
    /// without one has the seed zero.
    ///
    /// # Errors
    /// A seed of a value that wasn't differentiated, or of another shape than its output; an operator fails.
    pub fn backward(&self, seeds: &[(&str, &dyn ToValue)]) -> Result<Gradients> {
        self.backward_with(seeds, &Canceller::new())
    }

    /// As [`Forward::backward`], unless and until `canceller` is cancelled.
    ///
    /// # Errors
    /// [`Error::Cancelled`], and those of [`Forward::backward`].
    pub fn backward_with(&self, seeds: &[(&str, &dyn ToValue)], canceller: &Canceller) -> Result<Gradients> {
        let known = &self.passes.seeds;
        if let Some((unknown, _)) = seeds.iter().find(|(name, _)| !known.iter().any(|(output, _)| output == name)) {
            let names: Vec<String> = known.iter().map(|(output, _)| format!("`{output}`")).collect();
            return Err(Error::Value(format!(
                "`{unknown}` was not differentiated; {} can be seeded",
                names.join(", ")
            )));
        }
        let mut made = Vec::with_capacity(known.len());
        for (output, seed) in known {
            let given = seeds.iter().find(|(name, _)| name == output);
            made.push((seed.as_str(), self.seed(output, given.map(|(_, seed)| *seed))?));
        }
        let mut feeds: Vec<(&str, &Value)> = made.iter().map(|(name, value)| (*name, value)).collect();
        for name in &self.passes.saved {
            feeds.push((name, self.raw(name)?));
        }
        let values = self.passes.backward.run_with(&feeds, canceller)?;
        let mut gradients = Vec::with_capacity(self.model.taps.len());
        for ((value, _), tap) in self.model.taps.iter().zip(&self.passes.taps) {
            let Given { name, blocked } = &tap.gradient;
            let raw = values.get(name).ok_or_else(|| missing(name))?;
            gradients.push((value.clone(), self.model.unblocker.plain(raw, *blocked)?));
        }
        Ok(Gradients(gradients))
    }

    /// The seed of an output, in the output's own type and shape.
    fn seed(&self, output: &str, given: Option<&dyn ToValue>) -> Result<Value> {
        let like = self.raw(output)?;
        let (elem, shape) = (like.elem_type(), like.shape());
        let Some(given) = given else {
            return Value::from_f32(ArrayD::zeros(IxDyn(&shape)))?.converted(elem);
        };
        let seed = given.to_value()?;
        if seed.shape() != shape {
            let found = seed.shape();
            return Err(Error::Value(format!(
                "the seed of `{output}` has shape {found:?}, and the output has {shape:?}"
            )));
        }
        seed.converted(elem)
    }

    /// A value as the run gave it, or an input.
    fn raw(&self, name: &str) -> Result<&Value> {
        let input = self.inputs.iter().find(|(input, _)| input == name).map(|(_, value)| value);
        self.values.get(name).or(input).ok_or_else(|| missing(name))
    }
}

/// Gradients by the names of the values they are taken at.
#[derive(Clone, Debug)]
pub struct Gradients(Vec<(String, Value)>);

impl Gradients {
    /// The gradient at a value: of the value's own shape and type.
    ///
    /// # Errors
    /// It was not asked for.
    pub fn get(&self, name: &str) -> Result<&Value> {
        let found = self.0.iter().find(|(value, _)| value == name).map(|(_, gradient)| gradient);
        found.ok_or_else(|| Error::Value(format!("no gradient was asked for at `{name}`")))
    }

    /// Each value with its gradient.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, gradient)| (name.as_str(), gradient))
    }
}

fn missing(name: &str) -> Error {
    Error::Value(format!("the run gave no `{name}`"))
}

/// The model's inputs at the sizes that the file or `wanted` gives; an open first axis is the batch.
fn feeds(model: &Model, wanted: &Wanted) -> Result<Vec<Feed>> {
    let graph = model.graph();
    let given = graph.input.iter().filter(|input| !graph.initializer.iter().any(|tensor| tensor.name == input.name));
    let feed = |input: &onnx_grad::proto::ValueInfoProto| {
        let name = &input.name;
        let fail = |reason: String| Error::Value(format!("the input `{name}` {reason}"));
        let ty = input.r#type.as_ref().and_then(ValueType::from_proto);
        let ty = ty.ok_or_else(|| fail("is not a tensor of a stated type".into()))?;
        let asked = wanted.shapes.iter().find(|(input, _)| input == name).map(|(_, shape)| shape);
        let dims = match (ty.shape, asked) {
            (Some(dims), _) => dims,
            (None, Some(shape)) => vec![Dim::Free; shape.len()],
            (None, None) => return Err(fail("states no shape; give it by `Wanted::shape`".into())),
        };
        let fits = |shape: &Vec<usize>| {
            let same = |(dim, size): (&Dim, &usize)| dim.fixed().is_none_or(|fixed| fixed == *size);
            shape.len() == dims.len() && dims.iter().zip(shape).all(same)
        };
        let stated = || {
            let axis = |dim: &Dim| dim.fixed().map_or_else(|| "?".into(), |size| size.to_string());
            dims.iter().map(axis).collect::<Vec<_>>().join(", ")
        };
        let shape = match asked {
            Some(shape) if fits(shape) => shape.clone(),
            Some(shape) => return Err(fail(format!("has the shape [{}], and {shape:?} was given", stated()))),
            None => {
                let size = |(axis, dim): (usize, &Dim)| dim.fixed().or((axis == 0).then_some(1));
                let sizes: Option<Vec<usize>> = dims.iter().enumerate().map(size).collect();
                sizes.ok_or_else(|| fail(format!("has open axes, [{}]; give them by `Wanted::shape`", stated())))?
            }
        };
        let free_batch = dims.first().is_some_and(|dim| dim.fixed().is_none());
        Ok(Feed { name: name.clone(), elem: ty.elem, shape, free_batch })
    };
    given.map(feed).collect()
}
