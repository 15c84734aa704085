//! A model with its gradients: the crate's public face.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use ndarray::{ArrayD, IxDyn};
use onnx_grad::{
    Dim, EMITTED_OPSET, ElemType, Gradient, Model, Request, Types, ValueType, proto::ValueInfoProto, upgrade::upgrade,
};

use crate::{
    blocked::Unblocker,
    error::{Error, Result},
    passes::{Given, Passes, Plan},
    probe::{Feed, probe_unrolled},
    rules, runtime,
    runtime::{Canceller, Outputs, Runtime, SessionOptions, ToValue, Value},
};

/// How many batch sizes keep their sessions, where sessions are made for one size; and how many other sizes are kept differentiated.
const MOST_SIZES: usize = 4;

/// What is wanted of a model: which outputs are differentiated, with respect to which values, at which sizes, and how it runs.
///
/// ```
/// use onnx_grad_ort::Wanted;
///
/// let wanted = Wanted::outputs(["energy"]).wrt(["positions"]).shape("positions", [1, 12, 3]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    outputs: Vec<String>,
    wrt: Vec<String>,
    shapes: Vec<(String, Vec<usize>)>,
    session: SessionOptions,
}

impl Wanted {
    /// The values that are differentiated: outputs of the model, or any other float values of its graph.
    pub fn outputs<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let mut wanted = Self::default();
        add(&mut wanted.outputs, names);
        wanted
    }

    /// The values whose gradients are wanted: inputs of the model, its weights, or any other float values of its graph.
    #[must_use]
    pub fn wrt<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        add(&mut self.wrt, names);
        self
    }

    /// The shape of an input whose axes the model leaves open. An open first axis is taken for a batch; it is 1 where nothing is said.
    ///
    /// Runs may have other sizes on open axes. Another batch costs little or nothing. Another size of any other open axis (the time of a
    /// text model, say) has the model differentiated again at the first run of that size; the last few sizes are kept.
    #[must_use]
    pub fn shape(mut self, input: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        let input = input.into();
        self.shapes.retain(|(known, _)| *known != input);
        self.shapes.push((input, shape.into()));
        self
    }

    /// Where and how the model runs: execution provider, threads.
    #[must_use]
    pub fn session(mut self, options: SessionOptions) -> Self {
        self.session = options;
        self
    }
}

impl Wanted {
    fn shape_of(&self, input: &str) -> Option<&Vec<usize>> {
        self.shapes.iter().find(|(name, _)| name == input).map(|(_, shape)| shape)
    }
}

/// Adds names, each once.
fn add<S: Into<String>>(to: &mut Vec<String>, names: impl IntoIterator<Item = S>) {
    for name in names {
        let name = name.into();
        if !to.contains(&name) {
            to.push(name);
        }
    }
}

/// A model, differentiated and ready to run: forward to its outputs, and back from their cotangents to gradients. Threads may share it.
///
/// ```
/// # fn main() -> onnx_grad_ort::Result<()> {
/// use ndarray::array;
/// use onnx_grad_ort::{Differentiable, Runtime, Wanted};
///
/// let runtime = Runtime::find_or_fetch()?;
/// let wanted = Wanted::outputs(["logits"]).wrt(["point"]);
/// let model = Differentiable::open(runtime, "examples/models/sides.onnx", &wanted)?;
/// let forward = model.forward(&[("point", &array![[0.5f32, 0.0], [-1.0, 1.0]])])?; // a batch of two
/// let gradients = forward.backward(&[("logits", &array![[1.0f32, 0.0], [0.0, 1.0]])])?; // each row has a seed of its own
/// assert_eq!(gradients.get("point")?.shape(), [2, 2]);
/// # Ok(()) }
/// ```
pub struct Differentiable {
    runtime: &'static Runtime,
    model: Model,
    wanted: Wanted,
    inputs: Vec<Input>,
    /// What the forward pass gives: the model's outputs and the differentiated values.
    outputs: Vec<String>,
    /// Differentiated at the sizes that were stated.
    first: Arc<AtSizes>,
    /// At the other sizes of the last runs, the last in front.
    others: Mutex<Vec<Arc<AtSizes>>>,
    unblocker: Unblocker,
}

/// An input as the model states it.
struct Input {
    name: String,
    elem: ElemType,
    dims: Vec<Dim>,
}

/// The model differentiated at sizes of its inputs.
struct AtSizes {
    inputs: Vec<Feed>,
    gradient: Gradient,
    types: Types,
    /// Each value asked for, with the name of its gradient.
    taps: Vec<(String, String)>,
    passes: Mutex<Vec<Made>>,
}

/// Sessions, and the batch that they are for; `None`: any.
type Made = (Option<Batch>, Arc<Passes>);

/// The open first axes of a run's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    /// All are of this size.
    Of(usize),
    /// They differ: nodes and edges of a graph, say.
    Several,
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
    /// An input has open axes that no [`Wanted::shape`] gives; a name that the graph doesn't have; a value that is not of floats; a value
    /// on which no output depends; [`onnx_grad::Error::NotDifferentiable`] with every operator in the way; the runtime refuses.
    pub fn new(runtime: &'static Runtime, model: &Model, wanted: &Wanted) -> Result<Self> {
        if wanted.outputs.is_empty() {
            return Err(Error::Value("nothing to differentiate: name outputs by `Wanted::outputs`".into()));
        }
        if wanted.wrt.is_empty() {
            return Err(Error::Value("no gradient is wanted: name values by `Wanted::wrt`".into()));
        }
        let model = upgrade(model, EMITTED_OPSET)?;
        let inputs = inputs(&model, wanted)?;
        if let Some((unknown, _)) = wanted.shapes.iter().find(|(name, _)| !inputs.iter().any(|i| i.name == *name)) {
            return Err(no_input(unknown, &inputs));
        }
        let shapes = inputs.iter().map(|input| input.stated(wanted)).collect::<Result<Vec<_>>>()?;
        let first = Arc::new(AtSizes::new(runtime, &model, wanted, &inputs, &shapes)?);
        let mut outputs: Vec<String> = model.graph().output.iter().map(|output| output.name.clone()).collect();
        add(&mut outputs, wanted.outputs.iter().cloned());
        let unblocker = Unblocker::new(runtime, &wanted.session);
        let (wanted, others) = (wanted.clone(), Mutex::default());
        let new = Self { runtime, model, wanted, inputs, outputs, first, others, unblocker };
        if let Some(batch) = new.first.fits(&shapes) {
            new.first.passes(&new, batch)?;
        }
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

    /// Both passes as ONNX models of standard operators, which any runtime runs (see [`Gradient::fuse`]), at the sizes that were stated.
    pub fn gradient(&self) -> &Gradient {
        &self.first.gradient
    }

    /// Runs the model on its inputs, each by name. An array of other floats than the input's is converted, and so are integers where
    /// none of them changes.
    ///
    /// # Errors
    /// An input is missing, unknown, or of a wrong type or shape; an operator fails; the model can't be differentiated at these sizes.
    pub fn forward(&self, inputs: &[(&str, &dyn ToValue)]) -> Result<Forward<'_>> {
        self.forward_with(inputs, &Canceller::new())
    }

    /// As [`Differentiable::forward`], unless and until `canceller` is cancelled.
    ///
    /// # Errors
    /// [`Error::Cancelled`], and those of [`Differentiable::forward`].
    pub fn forward_with(&self, inputs: &[(&str, &dyn ToValue)], canceller: &Canceller) -> Result<Forward<'_>> {
        if canceller.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some((unknown, _)) = inputs.iter().find(|(name, _)| !self.inputs().any(|input| input == *name)) {
            return Err(no_input(unknown, &self.inputs));
        }
        let mut fed: Vec<(String, Value)> = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let value = once(&input.name, inputs)?;
            let value =
                value.ok_or_else(|| Error::Value(format!("the model's input `{}` is not given", input.name)))?;
            fed.push((input.name.clone(), input.checked(&value.to_value()?)?));
        }
        let shapes: Vec<Vec<usize>> = fed.iter().map(|(_, value)| value.shape()).collect();
        let (at, batch) = self.at(&shapes)?;
        let passes = at.passes(self, batch)?;
        let feeds: Vec<(&str, &Value)> = fed.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let values = passes.forward.run_with(&feeds, canceller)?;
        Ok(Forward { model: self, at, passes, inputs: fed, values })
    }

    /// The model differentiated at sizes that fit inputs of these shapes.
    fn at(&self, shapes: &[Vec<usize>]) -> Result<(Arc<AtSizes>, Batch)> {
        if let Some(batch) = self.first.fits(shapes) {
            return Ok((Arc::clone(&self.first), batch));
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let found = others.iter().enumerate().find_map(|(place, at)| Some((place, at.fits(shapes)?)));
        let (at, batch) = match found {
            Some((place, batch)) => (others.remove(place), batch),
            None => {
                let at = AtSizes::new(self.runtime, &self.model, &self.wanted, &self.inputs, shapes)?;
                let batch = at.fits(shapes).unwrap_or(Batch::Several);
                (Arc::new(at), batch)
            }
        };
        others.insert(0, Arc::clone(&at));
        others.truncate(MOST_SIZES);
        Ok((at, batch))
    }
}

impl AtSizes {
    fn new(
        runtime: &'static Runtime,
        model: &Model,
        wanted: &Wanted,
        inputs: &[Input],
        shapes: &[Vec<usize>],
    ) -> Result<Self> {
        let open: Vec<usize> = inputs
            .iter()
            .zip(shapes)
            .filter_map(|(input, shape)| shape.first().copied().filter(|_| input.open_first()))
            .collect();
        if open.is_empty() || !is_batch(&open) {
            return Self::with_batch(runtime, model, wanted, inputs, shapes, false);
        }
        // What differs between two batches may be more than a rule stands: the rows' pairs, say. Each size for itself is known.
        Self::with_batch(runtime, model, wanted, inputs, shapes, true).or_else(|error| match error {
            Error::Graph(onnx_grad::Error::NotDifferentiable(_)) => {
                Self::with_batch(runtime, model, wanted, inputs, shapes, false)
            }
            error => Err(error),
        })
    }

    fn with_batch(
        runtime: &'static Runtime,
        model: &Model,
        wanted: &Wanted,
        inputs: &[Input],
        shapes: &[Vec<usize>],
        free: bool,
    ) -> Result<Self> {
        let feed = |(input, shape): (&Input, &Vec<usize>)| Feed {
            name: input.name.clone(),
            elem: input.elem,
            shape: shape.clone(),
            free_batch: free && input.open_first(),
        };
        let inputs: Vec<Feed> = inputs.iter().zip(shapes).map(feed).collect();
        let (model, types) = probe_unrolled(runtime, model, &inputs)?;
        for name in wanted.outputs.iter().chain(&wanted.wrt) {
            if let Some(ty) = types.get(name).filter(|ty| !ty.elem.is_float()) {
                let elem = runtime::ElemType::from_code(ty.elem.code());
                return Err(Error::Value(format!("`{name}` is of {elem}: only values of floats have gradients")));
            }
        }
        let outputs: Vec<&str> = wanted.outputs.iter().map(String::as_str).collect();
        let wrt: Vec<&str> = wanted.wrt.iter().map(String::as_str).collect();
        let gradient = rules::differentiate(&model, &Request { outputs: &outputs, wrt: &wrt, types: &types })?;
        let tap = |(value, gradient): &(String, Option<String>)| {
            let which = if outputs.len() == 1 { list(&outputs) } else { format!("none of {}", list(&outputs)) };
            let depends = if outputs.len() == 1 { "does not depend" } else { "depends" };
            let none = || Error::Value(format!("{which} {depends} on `{value}`: its gradient is zero"));
            Ok((value.clone(), gradient.clone().ok_or_else(none)?))
        };
        let taps = gradient.gradients.iter().map(tap).collect::<Result<Vec<_>>>()?;
        Ok(Self { inputs, gradient, types, taps, passes: Mutex::default() })
    }

    /// The batch of inputs of these shapes, if they fit.
    fn fits(&self, shapes: &[Vec<usize>]) -> Option<Batch> {
        let mut batches = Vec::new();
        for (input, shape) in self.inputs.iter().zip(shapes) {
            let from = usize::from(input.free_batch);
            if input.shape.len() != shape.len() || input.shape[from..] != shape[from..] {
                return None;
            }
            batches.extend(&shape[..from]);
        }
        is_batch(&batches).then(|| match batches.first() {
            Some(&first) if batches.iter().any(|&size| size != first) => Batch::Several,
            first => Batch::Of(first.copied().unwrap_or(1)),
        })
    }

    /// The sessions for a run of that batch.
    fn passes(&self, model: &Differentiable, batch: Batch) -> Result<Arc<Passes>> {
        let mut made = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, passes)) = made.iter().find(|(known, _)| known.is_none_or(|known| known == batch)) {
            return Ok(Arc::clone(passes));
        }
        let outputs: Vec<&str> = model.outputs.iter().map(String::as_str).collect();
        let plan = Plan {
            gradient: &self.gradient,
            types: &self.types,
            outputs: &outputs,
            batch: if let Batch::Of(size) = batch { size } else { 1 },
            taps: &self.taps,
            means: &[],
        };
        let (runtime, options) = (model.runtime, &model.wanted.session);
        let passes = Arc::new(match batch {
            Batch::Of(_) => Passes::new(runtime, &plan, options)?,
            Batch::Several => Passes::apart(runtime, &plan, options)?,
        });
        // Sessions of one batch size, and those that replace them where there are several, serve these alone.
        let one_size = self.inputs.iter().any(|input| input.free_batch) && (passes.as_one || batch == Batch::Several);
        made.truncate(MOST_SIZES - 1);
        made.insert(0, (one_size.then_some(batch), Arc::clone(&passes)));
        Ok(passes)
    }
}

/// Whether open first axes of these sizes may change together: of those of one size and others, the one may be broadcast to the other.
fn is_batch(sizes: &[usize]) -> bool {
    sizes.iter().all(|size| *size == sizes[0]) || !sizes.contains(&1)
}

impl Input {
    fn new(proto: &ValueInfoProto, wanted: &Wanted) -> Result<Self> {
        let name = proto.name.clone();
        let fail = |reason: &str| Error::Value(format!("the input `{name}` {reason}"));
        let ty = proto.r#type.as_ref().and_then(ValueType::from_proto);
        let ty = ty.ok_or_else(|| fail("is not a tensor of a stated type"))?;
        let asked = wanted.shape_of(&name).map(|shape| vec![Dim::Free; shape.len()]);
        let dims = ty.shape.or(asked).ok_or_else(|| fail("states no shape; give it by `Wanted::shape`"))?;
        Ok(Self { name, elem: ty.elem, dims })
    }

    /// The sizes at which the model is differentiated first.
    fn stated(&self, wanted: &Wanted) -> Result<Vec<usize>> {
        if let Some(shape) = wanted.shape_of(&self.name) {
            self.check(shape)?;
            return Ok(shape.clone());
        }
        let size = |(axis, dim): (usize, &Dim)| dim.fixed().or((axis == 0).then_some(1));
        let sizes: Option<Vec<usize>> = self.dims.iter().enumerate().map(size).collect();
        sizes.ok_or_else(|| {
            Error::Value(format!("the input `{}` has open axes, {self}; give them by `Wanted::shape`", self.name))
        })
    }

    fn open_first(&self) -> bool {
        self.dims.first() == Some(&Dim::Free)
    }

    fn check(&self, shape: &[usize]) -> Result<()> {
        let same = |(dim, size): (&Dim, &usize)| dim.fixed().is_none_or(|fixed| fixed == *size);
        if shape.len() == self.dims.len() && self.dims.iter().zip(shape).all(same) {
            return Ok(());
        }
        Err(Error::Value(format!("the input `{}` has the shape {self}, and {shape:?} was given", self.name)))
    }

    /// The value in the input's type, if it fits.
    fn checked(&self, value: &Value) -> Result<Value> {
        self.check(&value.shape())?;
        let (given, wanted) = (value.elem_type(), runtime::ElemType::from_code(self.elem.code()));
        let unfit = || Error::Value(format!("the input `{}` is of {wanted}, and {given} was given", self.name));
        if given == wanted {
            return Ok(value.clone());
        }
        let numbers = |elem| !matches!(elem, runtime::ElemType::String | runtime::ElemType::Other);
        if !numbers(given) || !numbers(wanted) || given.is_float() && !wanted.is_float() {
            return Err(unfit());
        }
        let converted = value.converted(wanted)?;
        let whole = given.is_float() || converted.to_f64()? == value.to_f64()?;
        whole.then_some(converted).ok_or_else(unfit)
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axis = |dim: &Dim| dim.fixed().map_or_else(|| "?".into(), |size| size.to_string());
        write!(f, "[{}]", self.dims.iter().map(axis).collect::<Vec<_>>().join(", "))
    }
}

/// The model's inputs; initialisers that could be overridden are not among them.
fn inputs(model: &Model, wanted: &Wanted) -> Result<Vec<Input>> {
    let graph = model.graph();
    let given = graph.input.iter().filter(|input| !graph.initializer.iter().any(|tensor| tensor.name == input.name));
    given.map(|input| Input::new(input, wanted)).collect()
}

fn no_input(unknown: &str, inputs: &[Input]) -> Error {
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    Error::Value(format!("the model has no input `{unknown}`; it has {}", list(&names)))
}

/// What is given by that name.
fn once<'a>(name: &str, given: &[(&str, &'a dyn ToValue)]) -> Result<Option<&'a dyn ToValue>> {
    let mut found = given.iter().filter(|(given, _)| *given == name).map(|(_, value)| *value);
    let first = found.next();
    if found.next().is_some() {
        return Err(Error::Value(format!("`{name}` is given twice")));
    }
    Ok(first)
}

/// Names in backticks.
fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A run forward: the model's outputs, and what the way back needs.
pub struct Forward<'m> {
    model: &'m Differentiable,
    at: Arc<AtSizes>,
    passes: Arc<Passes>,
    inputs: Vec<(String, Value)>,
    values: Outputs,
}

impl Forward<'_> {
    /// An output of the model, an input, or a value that gradients are taken at, in the model's own layout.
    ///
    /// # Errors
    /// There is none of that name; the runtime fails.
    pub fn get(&self, name: &str) -> Result<Value> {
        let tap = self.at.taps.iter().position(|(value, _)| value == name);
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
            let names: Vec<&str> = known.iter().map(|(output, _)| output.as_str()).collect();
            return Err(Error::Value(format!("`{unknown}` was not differentiated; {} can be seeded", list(&names))));
        }
        let mut made = Vec::with_capacity(known.len());
        for (output, seed) in known {
            made.push((seed.as_str(), self.seed(output, once(output, seeds)?)?));
        }
        let mut feeds: Vec<(&str, &Value)> = made.iter().map(|(name, value)| (*name, value)).collect();
        for name in &self.passes.saved {
            feeds.push((name, self.raw(name)?));
        }
        let given = |output: &str| seeds.iter().any(|(name, _)| *name == output);
        let idle: Vec<&str> =
            known.iter().filter(|(output, _)| !given(output)).map(|(_, seed)| seed.as_str()).collect();
        let values = self.passes.run_back(&feeds, &idle, canceller)?;
        let mut gradients = Vec::with_capacity(self.at.taps.len());
        for ((value, _), tap) in self.at.taps.iter().zip(&self.passes.taps) {
            let Given { name, blocked } = &tap.gradient;
            let raw = values.get(name).ok_or_else(|| Error::Value(format!("the run gave no `{name}`")))?;
            let gradient = self.model.unblocker.plain(raw, *blocked)?;
            if let (Given { name, blocked: None }, shape) = (&tap.activation, gradient.shape()) {
                let own = self.raw(name).map_or_else(|_| shape.clone(), Value::shape);
                if own != shape {
                    return Err(Error::Value(format!(
                        "the gradient at `{value}` has shape {shape:?}, and the value has {own:?}: the model's sizes depend on what its inputs hold"
                    )));
                }
            }
            gradients.push((value.clone(), gradient));
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
        self.values.get(name).or(input).ok_or_else(|| {
            let outputs: Vec<&str> = self.model.outputs.iter().map(String::as_str).collect();
            let inputs: Vec<&str> = self.model.inputs().collect();
            let (outputs, inputs) = (list(&outputs), list(&inputs));
            Error::Value(format!("the run gave no `{name}`; it gave {outputs}, and has the inputs {inputs}"))
        })
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
        found.ok_or_else(|| {
            let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
            Error::Value(format!("no gradient was asked for at `{name}`; there are those at {}", list(&names)))
        })
    }

    /// Each value with its gradient.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, gradient)| (name.as_str(), gradient))
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad::{Builder, attr, value_info};

    use super::*;
    use crate::runtime::{Provider, ProviderChoice};

    fn convolution() -> Model {
        let mut g = Builder::new();
        let x = g.input("x");
        let kernel = g.floats(ElemType::Float, &[16, 3, 3, 3], &[0.1; 16 * 27]);
        let y = g.op("Conv", &[&x, &kernel], vec![attr::ints("kernel_shape", &[3, 3])]);
        let y = g.unary("Sigmoid", &y);
        let [input, output] = [(x.name(), Dim::Fixed(3)), (y.name(), Dim::Fixed(16))].map(|(name, channels)| {
            let shape = Some(vec![Dim::Free, channels, Dim::Free, Dim::Free]);
            value_info(name, Some(&ValueType { elem: ElemType::Float, shape }))
        });
        g.into_model(vec![input], vec![output]).unwrap()
    }

    #[test]
    fn sizes_are_made_once_and_the_last_few_are_kept() {
        let on_cpu = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
        let wanted = Wanted::outputs(["Sigmoid"]).wrt(["x"]).shape("x", [1, 3, 8, 8]).session(on_cpu);
        let model = Differentiable::new(Runtime::find_or_fetch().unwrap(), &convolution(), &wanted).unwrap();
        let run = |batch: usize, side: usize| {
            let x = ArrayD::<f32>::zeros(IxDyn(&[batch, 3, side, side]));
            Arc::as_ptr(&model.forward(&[("x", &x)]).unwrap().passes)
        };
        let first = run(1, 8);
        let passes = || model.first.passes.lock().unwrap();
        assert!(passes()[0].1.as_one, "convolutions on the CPU are optimised as one");
        let second = run(2, 8);
        assert_ne!(first, second);
        assert_eq!((run(1, 8), run(2, 8)), (first, second));
        for batch in 3..=6 {
            run(batch, 8);
            assert_eq!(run(batch, 8), Arc::as_ptr(&passes()[0].1));
        }
        assert_eq!(passes().len(), MOST_SIZES);
        let others = || model.others.lock().unwrap();
        for side in 9..=13 {
            assert_eq!(run(1, side), run(1, side));
            assert_eq!(others()[0].inputs[0].shape, [1, 3, side, side]);
        }
        assert_eq!(others().len(), MOST_SIZES);
        // The stated size stays.
        run(6, 8);
        assert_eq!(others().len(), MOST_SIZES);
    }
}
