//! The way from a photo to heatmaps, end to end. Read this file first.
//!
//! [`Subject::new`] asks for the types of the model's values and finds its layers. [`Explainer::of`] differentiates the graph and makes
//! sessions of its two halves. [`Explainer::explain`] then runs them for one photo and as many classes as wanted: the forward half
//! once, the backward half once a class, the method's program once a layer and class. Whoever wants the steps one at a time calls
//! [`Explainer::forward`], [`Explainer::backward`] and [`Explainer::heatmap`].

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use ndarray::{Array2, ArrayD, Axis, Ix3, concatenate};
use onnx_grad::{Request, Types};

use crate::{
    error::{Error, Result},
    everywhere,
    layer::{self, Choice, Layer, Layout},
    method::{self, Method},
    model::{Head, Labels, Network, Sidecar},
    passes::{Given, Passes, Plan, Tapped},
    rules,
    runtime::{Canceller, ElemType, Outputs, ProviderChoice, Runtime, Session, SessionOptions, Value},
    subject::Subject,
    target::{ClassSpec, Score, probabilities, ranking},
};

/// What is to be explained, and how.
#[derive(Clone)]
pub struct Options {
    /// How activations are weighed by gradients.
    pub method: &'static dyn Method,
    /// The layers; none: `auto`.
    pub layers: Vec<Choice>,
    /// What the layers' axes mean, where the graph leaves it open or is misread.
    pub layout: Option<Layout>,
    /// What of a class is explained.
    pub score: Score,
    /// Where and how the model runs.
    pub session: SessionOptions,
}

impl Default for Options {
    fn default() -> Self {
        let session = SessionOptions::default();
        Self { method: method::METHODS[0], layers: Vec::new(), layout: None, score: Score::default(), session }
    }
}

/// Where gradients are taken: a layer, or the model's own input.
#[derive(Clone, Debug)]
pub enum Tap {
    /// A layer.
    Layer(Layer),
    /// `@input`: gradient only, no heatmap.
    Input,
}

impl Tap {
    /// The name to show: a module path, a value's name, or `@input`.
    pub fn name(&self) -> &str {
        match self {
            Self::Layer(layer) => layer.name(),
            Self::Input => "@input",
        }
    }

    /// The value's name in the graph; `None` for the input.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Layer(layer) => Some(&layer.value),
            Self::Input => None,
        }
    }
}

/// A model made ready to explain pictures of one size. Threads may share it.
pub struct Explainer {
    runtime: &'static Runtime,
    subject: Arc<Subject>,
    taps: Vec<Tap>,
    options: Options,
    passes: Passes,
    /// The methods' programs, by method and what they take; made when first wanted.
    programs: Mutex<HashMap<ProgramKey, Arc<Session>>>,
}

/// A method's name (none: only the layout is changed), and layout, element type and blocks of what its program takes.
type ProgramKey = (Option<&'static str>, Layout, i32, [Option<usize>; 2]);

/// Milliseconds that the steps took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// From the decoded photo to the input tensor; the caller's to fill in.
    pub preprocess: f64,
    /// The forward pass, shared by all classes and layers.
    pub forward: f64,
    /// The backward pass of this class, shared by all layers.
    pub backward: f64,
    /// The method's program.
    pub method: f64,
}

/// The forward pass of one picture: what every class and layer of it needs.
#[derive(Clone, Debug)]
pub struct Forward {
    /// One number a class.
    pub logits: Vec<f32>,
    /// One a class.
    pub probabilities: Vec<f32>,
    /// The input, in the model's own type and batch size.
    picture: Value,
    /// Activations, and what the backward pass reads.
    values: Outputs,
    /// Of the logits.
    shape: Vec<usize>,
    elem: ElemType,
}

/// The backward pass of one class of one picture.
#[derive(Clone, Debug)]
pub struct Backward {
    /// The class's number.
    pub class: usize,
    gradients: Outputs,
}

/// One class of one picture, explained at one layer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Position in [`Explainer::taps`].
    pub tap: usize,
    /// The class's number.
    pub class: usize,
    /// Its logit.
    pub logit: f32,
    /// Its probability.
    pub probability: f32,
    /// The heat, `[height, width]` at the layer's resolution, after ReLU, before normalisation. `None` at the input.
    pub heatmap: Option<Array2<f32>>,
    /// The layer's activation, batch of one first.
    pub activation: Value,
    /// The gradient of the score there, of the same shape.
    pub gradient: Value,
    /// What it took.
    pub timing: Timing,
}

/// All that one picture gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// One number a class.
    pub logits: Vec<f32>,
    /// One a class.
    pub probabilities: Vec<f32>,
    /// A class after the other, in each the layers in order.
    pub explanations: Vec<Explanation>,
}

impl Outcome {
    /// The classes' numbers, the likeliest first.
    pub fn ranking(&self) -> Vec<usize> {
        ranking(&self.logits)
    }
}

impl Explainer {
    /// Makes a model ready.
    ///
    /// # Errors
    /// The model's values can't be typed, it gives no class scores, a layer isn't there or has no gradient, an operator can't be
    /// differentiated, or the runtime refuses.
    pub fn new(runtime: &'static Runtime, network: Network, sidecar: Sidecar, options: Options) -> Result<Self> {
        let subject = Subject::new(runtime, network, sidecar)?;
        Self::of(runtime, Arc::new(subject), options)
    }

    /// Makes a model ready whose layers are known.
    ///
    /// # Errors
    /// A layer isn't there or has no gradient, an operator can't be differentiated, or the runtime refuses.
    pub fn of(runtime: &'static Runtime, subject: Arc<Subject>, options: Options) -> Result<Self> {
        let taps = choose_taps(&subject, &options)?;
        Self::at(runtime, subject, taps, options)
    }

    /// Makes a model ready at every layer that has a gradient, whatever [`Options::layers`] says. The second result has an entry for
    /// every layer of the model: why it has no gradient, or `None`.
    ///
    /// # Errors
    /// No layer has a gradient, or the runtime refuses.
    pub fn everywhere(
        runtime: &'static Runtime,
        subject: Arc<Subject>,
        options: Options,
    ) -> Result<(Self, Vec<Option<String>>)> {
        let reasons = everywhere::without_gradient(&subject)?;
        let layers = subject.layers().iter().zip(&reasons);
        let taps = layers.filter(|(_, reason)| reason.is_none()).map(|(layer, _)| Tap::Layer(layer.clone())).collect();
        Ok((Self::at(runtime, subject, taps, options)?, reasons))
    }

    fn at(runtime: &'static Runtime, subject: Arc<Subject>, taps: Vec<Tap>, options: Options) -> Result<Self> {
        let network = subject.network();
        let values: Vec<&str> = taps.iter().map(|tap| tap.value().unwrap_or(&network.input.name)).collect();
        let mut wanted = values.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let request = Request { outputs: &[&network.logits], wrt: &wanted, types: subject.types() };
        let gradient = rules::differentiate(&network.model, &request)?;
        let mut wired = Vec::new();
        for (tap, value) in taps.iter().zip(&values) {
            let found = gradient.gradients.iter().find(|(name, _)| name == value).and_then(|(_, name)| name.clone());
            let name = found.ok_or_else(|| Error::NoGradient { name: tap.name().to_owned() })?;
            wired.push(((*value).to_owned(), name));
        }
        let plan = Plan {
            gradient: &gradient,
            types: subject.types(),
            logits: &network.logits,
            input: &network.input.name,
            batch: network.input.batch().unwrap_or(1),
            taps: &wired,
        };
        let passes = Passes::new(runtime, &plan, &options.session)?;
        refuse_empty_placement(&passes.forward, &options.session)?;
        let programs = Mutex::default();
        Ok(Self { runtime, subject, taps, options, passes, programs })
    }

    /// What is explained: the model, typed, with its layers.
    pub fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    /// The model.
    pub fn network(&self) -> &Network {
        self.subject.network()
    }

    /// How photos become its input.
    pub fn sidecar(&self) -> &Sidecar {
        self.subject.sidecar()
    }

    /// The classes' names.
    pub fn labels(&self) -> &Labels {
        self.subject.labels()
    }

    /// Every layer of the model.
    pub fn layers(&self) -> &[Layer] {
        self.subject.layers()
    }

    /// The layer that `auto` takes.
    pub fn default_layer(&self) -> Option<usize> {
        self.subject.default_layer()
    }

    /// Where gradients are taken.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// What was asked for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether both passes were optimised as one graph, as they are on the CPU where that pays.
    pub fn optimised_as_one(&self) -> bool {
        self.passes.as_one
    }

    /// The session of the forward pass: it says which provider it runs on.
    pub fn forward_session(&self) -> &Session {
        &self.passes.forward
    }

    /// Ends the profiles of [`SessionOptions::profile`], one a session, and gives their files: forward, backward, methods.
    ///
    /// # Errors
    /// None were begun, or one cannot be written.
    pub fn end_profiles(&self) -> Result<Vec<PathBuf>> {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let programs = programs.values().map(Arc::as_ref);
        [&self.passes.forward, &self.passes.backward].into_iter().chain(programs).map(Session::end_profile).collect()
    }

    /// Explains one picture: `tensor` as the model takes it, a batch of one first.
    ///
    /// # Errors
    /// A class that the model doesn't have; the runtime fails.
    pub fn explain(&self, tensor: ArrayD<f32>, classes: &[ClassSpec]) -> Result<Outcome> {
        let canceller = Canceller::new();
        let start = Instant::now();
        let forward = self.forward(&tensor, &canceller)?;
        let forward_took = milliseconds(start);
        let resolved: Vec<usize> =
            classes.iter().map(|class| class.resolve(&forward.logits, self.labels())).collect::<Result<_>>()?;
        let mut explanations = Vec::new();
        for class in resolved {
            let start = Instant::now();
            let backward = self.backward(&forward, class, &canceller)?;
            let backward_took = milliseconds(start);
            for tap in 0..self.taps.len() {
                let start = Instant::now();
                let heatmap = self.heatmap(&forward, &backward, tap, self.options.method)?;
                let timing = Timing {
                    preprocess: 0.0,
                    forward: forward_took,
                    backward: backward_took,
                    method: milliseconds(start),
                };
                explanations.push(Explanation {
                    tap,
                    class,
                    logit: forward.logits[class],
                    probability: forward.probabilities[class],
                    heatmap,
                    activation: self.activation(&forward, tap)?,
                    gradient: self.gradient(&backward, tap)?,
                    timing,
                });
            }
        }
        Ok(Outcome { logits: forward.logits, probabilities: forward.probabilities, explanations })
    }

    /// The forward pass of one picture: `tensor` as the model takes it, a batch of one first.
    ///
    /// # Errors
    /// The tensor has another shape than the model wants, the runtime fails, or [`Error::Cancelled`].
    pub fn forward(&self, tensor: &ArrayD<f32>, canceller: &Canceller) -> Result<Forward> {
        let network = self.network();
        let copies = network.input.batch().unwrap_or(1);
        let elem = ElemType::from_code(network.input.elem.code());
        let picture = Value::from_f32_as(repeat(tensor, copies)?, elem)?;
        let values = self.passes.forward.run_with(&[(&network.input.name, &picture)], canceller)?;
        let scores = values.get(&network.logits).ok_or_else(|| missing(&network.logits))?;
        let (shape, elem) = (scores.shape(), scores.elem_type());
        let all = scores.to_f32()?;
        let logits: Vec<f32> = all.index_axis(Axis(0), 0).iter().copied().collect();
        let probabilities = probabilities(&logits, network.head == Head::Sigmoid);
        Ok(Forward { logits, probabilities, picture, values, shape, elem })
    }

    /// The backward pass of one class, for every tap at once.
    ///
    /// # Errors
    /// The class isn't one of the model's, the runtime fails, or [`Error::Cancelled`].
    pub fn backward(&self, forward: &Forward, class: usize, canceller: &Canceller) -> Result<Backward> {
        let count = forward.logits.len();
        if class >= count {
            return Err(Error::ClassRange { class: class.to_string(), count });
        }
        let row = self.options.score.seed(class, &forward.probabilities, self.network().independent());
        let seed = Value::from_f32_as(first_of(row, &forward.shape)?, forward.elem)?;
        let mut inputs: Vec<(&str, &Value)> = vec![(&self.passes.seed, &seed)];
        for name in &self.passes.saved {
            let given = (*name == self.network().input.name).then_some(&forward.picture);
            inputs.push((name, given.or_else(|| forward.values.get(name)).ok_or_else(|| missing(name))?));
        }
        Ok(Backward { class, gradients: self.passes.backward.run_with(&inputs, canceller)? })
    }

    /// The heat at one of [`Explainer::taps`], `[height, width]` at the layer's resolution, after ReLU, before normalisation; `None`
    /// at the input.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn heatmap(
        &self,
        forward: &Forward,
        backward: &Backward,
        tap: usize,
        method: &'static dyn Method,
    ) -> Result<Option<Array2<f32>>> {
        let Some(Tap::Layer(layer)) = self.taps.get(tap) else { return Ok(None) };
        let Tapped { activation, gradient } = &self.passes.taps[tap];
        let key = (Some(method.name()), layer.layout, layer.elem.code(), [activation.blocked, gradient.blocked]);
        let program = self.program(key, || method::program(method, layer.layout, layer.elem, key.3))?;
        let inputs =
            [("activation", self.raw_activation(forward, tap)?), ("gradient", raw_gradient(backward, gradient)?)];
        let mut outputs = program.run(&inputs)?;
        let heatmap = outputs.take("heatmap").ok_or_else(|| missing("heatmap"))?.to_f32()?;
        let heatmap = heatmap.into_dimensionality::<Ix3>().map_err(|error| Error::Value(error.to_string()))?;
        Ok(Some(heatmap.index_axis_move(Axis(0), 0)))
    }

    /// The activation at one of [`Explainer::taps`], in the layer's own layout.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn activation(&self, forward: &Forward, tap: usize) -> Result<Value> {
        self.plain(self.raw_activation(forward, tap)?, self.passes.taps[tap].activation.blocked)
    }

    /// The gradient at one of [`Explainer::taps`], of the same shape.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn gradient(&self, backward: &Backward, tap: usize) -> Result<Value> {
        let given = &self.passes.taps[tap].gradient;
        self.plain(raw_gradient(backward, given)?, given.blocked)
    }

    /// As the forward pass gives it.
    fn raw_activation<'a>(&self, forward: &'a Forward, tap: usize) -> Result<&'a Value> {
        let given = &self.passes.taps[tap].activation;
        match self.taps[tap] {
            Tap::Input => Ok(&forward.picture),
            Tap::Layer(_) => forward.values.get(&given.name).ok_or_else(|| missing(&given.name)),
        }
    }

    fn plain(&self, value: &Value, blocked: Option<usize>) -> Result<Value> {
        let Some(channels) = blocked else { return Ok(value.clone()) };
        let elem = onnx_grad::ElemType::from_code(value.elem_type().code());
        let key = (None, Layout::Nchw, elem.code(), [blocked, None]);
        let program = self.program(key, || method::unblocking(elem, channels))?;
        program.run(&[("value", value)])?.take("plain").ok_or_else(|| missing("plain"))
    }

    fn program(&self, key: ProgramKey, model: impl FnOnce() -> Result<onnx_grad::Model>) -> Result<Arc<Session>> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = programs.get(&key) {
            return Ok(Arc::clone(program));
        }
        let program = Arc::new(self.runtime.session(&model()?.to_bytes(), &self.options.session.profiled("method"))?);
        programs.insert(key, Arc::clone(&program));
        Ok(program)
    }
}

fn raw_gradient<'a>(backward: &'a Backward, given: &Given) -> Result<&'a Value> {
    backward.gradients.get(&given.name).ok_or_else(|| missing(&given.name))
}

/// A provider that was asked for by name and then takes no operator of the model would be a silent fall-back to the CPU.
fn refuse_empty_placement(session: &Session, options: &SessionOptions) -> Result<()> {
    match (options.provider, session.placement()) {
        (ProviderChoice::Named(provider), Some(placement)) if placement.on_provider == 0 => {
            Err(Error::Provider { provider, reason: "it takes none of this model's operators".into() })
        }
        _ => Ok(()),
    }
}

fn choose_taps(subject: &Subject, options: &Options) -> Result<Vec<Tap>> {
    let (network, types, layers): (&Network, &Types, &[Layer]) = (subject.network(), subject.types(), subject.layers());
    let default = subject.default_layer();
    let choices = if options.layers.is_empty() { &[Choice::Auto] } else { options.layers.as_slice() };
    let choose = |choice: &Choice| {
        if *choice == Choice::Input {
            return Ok(Tap::Input);
        }
        let found = layer::choose(layers, default, choice).map(|layer| called(layer, choice));
        let Some(layout) = options.layout else { return found.map(Tap::Layer) };
        // Whoever says what the axes mean may name any value of the graph.
        let unlisted = || match choice {
            Choice::Name(name) => layer::unlisted(network.model.graph(), types, name, layout),
            _ => None,
        };
        match found {
            Ok(layer) => layer,
            Err(error) => unlisted().ok_or(error)?,
        }
        .taken_as(layout)
        .map(Tap::Layer)
    };
    choices.iter().map(choose).collect()
}

/// The layer, called by the module's path that it was asked for by, where it is the output of several.
fn called(layer: &Layer, choice: &Choice) -> Layer {
    let mut layer = layer.clone();
    if let Choice::Name(name) = choice
        && layer.outputs_of.contains(name)
    {
        layer.module = Some(name.clone());
    }
    layer
}

/// The picture as often as a model of fixed batch wants it.
fn repeat(tensor: &ArrayD<f32>, copies: usize) -> Result<ArrayD<f32>> {
    let views = vec![tensor.view(); copies];
    concatenate(Axis(0), &views).map_err(|error| Error::Value(error.to_string()))
}

/// A tensor of that shape: the row for the first picture, zeros for the others.
fn first_of(row: Vec<f32>, shape: &[usize]) -> Result<ArrayD<f32>> {
    let mut all = row;
    all.resize(shape.iter().product(), 0.0);
    ArrayD::from_shape_vec(shape, all).map_err(|error| Error::Value(error.to_string()))
}

fn missing(name: &str) -> Error {
    Error::Value(format!("the run gave no `{name}`"))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
