//! The way from a photo to heatmaps, end to end. Read this file first.
//!
//! [`Subject::new`] asks for the types of the model's values and finds its layers. [`Explainer::of`] differentiates the graph and makes
//! sessions of its two halves. [`Explainer::explain`] then runs them for one photo and as many classes as wanted: the forward half
//! once, the backward half once a class, the method's program once a layer and class; [`Explainer::explain_all`] does so for several
//! photos at once. Whoever wants the steps one at a time calls [`Explainer::forward`], [`Explainer::backward`] and
//! [`Explainer::heatmap`].

mod pictures;
mod programs;
mod results;
mod taps;

use std::{path::PathBuf, sync::Arc, time::Instant};

use ndarray::{Array2, ArrayD, ArrayViewD, Axis};
use onnx_grad::Request;

use self::{
    pictures::{filled_up, joined, takes_several, with_zeros},
    programs::Programs,
};
pub use results::{Backward, Explanation, Forward, Held, Outcome, Scores, Timing};
pub use taps::Tap;

use crate::{
    error::{Error, Result},
    everywhere,
    layer::{Choice, Layer, Layout},
    method::{self, Method},
    model::{Head, Labels, Network, Sidecar},
    passes::{Given, Passes, Plan, Tapped},
    rules,
    runtime::{Canceller, ElemType, ProviderChoice, Runtime, Session, SessionOptions, Value},
    subject::Subject,
    target::{ClassSpec, Score, probabilities},
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
    /// Whether gradients are wanted, and other methods' heatmaps. Where only this method's are, some cost less.
    pub gradients: bool,
    /// How many pictures may run at once, where the model takes any number; 1 at least.
    pub batch: usize,
    /// Where and how the model runs.
    pub session: SessionOptions,
}

impl Default for Options {
    fn default() -> Self {
        let session = SessionOptions::default();
        Self {
            method: method::METHODS[0],
            layers: Vec::new(),
            layout: None,
            score: Score::default(),
            gradients: true,
            batch: 1,
            session,
        }
    }
}

/// A model made ready to explain pictures of one size. Threads may share it.
pub struct Explainer {
    subject: Arc<Subject>,
    taps: Vec<Tap>,
    options: Options,
    /// How many pictures a run takes at most.
    batch: usize,
    /// How many it has to have, filled up with others; `None` where it takes what there is.
    rows: Option<usize>,
    passes: Passes,
    programs: Programs,
    straight_through: Vec<String>,
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
        let taps = taps::choose_taps(&subject, &options)?;
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
        let mut means = Vec::new();
        if !options.gradients && options.method.takes_mean() {
            for (tap, (_, gradient)) in taps.iter().zip(&wired) {
                if let Tap::Layer(layer) = tap {
                    means.push((gradient.clone(), layer.layout));
                }
            }
        }
        let batch = if takes_several(&subject, &values) { options.batch.max(1) } else { 1 };
        let fixed = network.input.batch();
        let plan = Plan {
            gradient: &gradient,
            types: subject.types(),
            logits: &network.logits,
            input: &network.input.name,
            batch: fixed.unwrap_or(batch),
            taps: &wired,
            means: &means,
        };
        let passes = Passes::new(runtime, &plan, &options.session)?;
        refuse_empty_placement(&passes.forward, &options.session)?;
        let rows = fixed.or(passes.as_one.then_some(batch));
        let programs = Programs::new(runtime, &options.session);
        let straight_through = gradient.straight_through;
        Ok(Self { subject, taps, options, batch, rows, passes, programs, straight_through })
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

    /// The nodes that round to integers and were differentiated as if they didn't: of a quantised model, the gradient is the
    /// straight-through estimate. Empty: it is the derivative itself.
    pub fn straight_through(&self) -> &[String] {
        &self.straight_through
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
        let mut profiles = vec![self.passes.forward.end_profile()?, self.passes.backward.end_profile()?];
        profiles.extend(self.programs.end_profiles()?);
        Ok(profiles)
    }

    /// How many pictures a run takes at most: [`Options::batch`], or 1 where the model can't have several different ones at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Explains one picture: `tensor` as the model takes it, a batch of one first.
    ///
    /// # Errors
    /// A class that the model doesn't have; the runtime fails.
    pub fn explain(&self, tensor: ArrayD<f32>, classes: &[ClassSpec]) -> Result<Outcome> {
        let mut outcomes = self.explain_all(&[tensor.view()], classes)?;
        outcomes.pop().ok_or_else(|| Error::Value("no picture was explained".into()))
    }

    /// Explains some pictures in one run, at most [`Explainer::batch`]: each as the model takes it, a batch of one first, and all of one
    /// shape. The result has an entry a picture.
    ///
    /// # Errors
    /// Shapes differ; a class that the model doesn't have; the runtime fails.
    pub fn explain_all(&self, pictures: &[ArrayViewD<'_, f32>], classes: &[ClassSpec]) -> Result<Vec<Outcome>> {
        let canceller = Canceller::new();
        let share = |start: Instant| milliseconds(start) / pictures.len() as f64;
        let start = Instant::now();
        let forward = self.run(joined(pictures)?, &canceller)?;
        let forward_took = share(start);
        let outcome = |Scores { logits, probabilities }: &Scores| Outcome {
            logits: logits.clone(),
            probabilities: probabilities.clone(),
            explanations: Vec::new(),
        };
        let mut outcomes: Vec<Outcome> = forward.scores.iter().map(outcome).collect();
        for class in classes {
            let resolve = |scores: &Scores| class.resolve(&scores.logits, self.labels());
            let chosen: Vec<usize> = forward.scores.iter().map(resolve).collect::<Result<_>>()?;
            let start = Instant::now();
            let backward = self.backward(&forward, &chosen, &canceller)?;
            let backward_took = share(start);
            for tap in 0..self.taps.len() {
                let start = Instant::now();
                let mut heatmaps = self.heatmaps(&forward, &backward, tap, self.options.method)?.into_iter();
                let timing =
                    Timing { preprocess: 0.0, forward: forward_took, backward: backward_took, method: share(start) };
                let Tapped { activation, gradient, is_mean } = &self.passes.taps[tap];
                let held = |value: &Value, given: &Given, picture| Held {
                    value: value.clone(),
                    blocked: given.blocked,
                    picture,
                };
                let whole = if *is_mean { None } else { Some(raw_gradient(&backward, gradient)?) };
                for (picture, (outcome, &class)) in outcomes.iter_mut().zip(&chosen).enumerate() {
                    outcome.explanations.push(Explanation {
                        tap,
                        class,
                        logit: outcome.logits[class],
                        probability: outcome.probabilities[class],
                        heatmap: heatmaps.next(),
                        activation: held(self.raw_activation(&forward, tap)?, activation, picture),
                        gradient: whole.map(|whole| held(whole, gradient, picture)),
                        timing,
                    });
                }
            }
        }
        Ok(outcomes)
    }

    /// The forward pass of some pictures, at most [`Explainer::batch`]: `tensor` as the model takes it, the pictures along its first axis.
    ///
    /// # Errors
    /// The tensor has another shape than the model wants, the runtime fails, or [`Error::Cancelled`].
    pub fn forward(&self, tensor: &ArrayD<f32>, canceller: &Canceller) -> Result<Forward> {
        self.run(tensor.clone(), canceller)
    }

    fn run(&self, tensor: ArrayD<f32>, canceller: &Canceller) -> Result<Forward> {
        let network = self.network();
        let pictures = tensor.shape().first().copied().unwrap_or(0);
        if pictures == 0 || pictures > self.batch {
            return Err(Error::Value(format!("{pictures} pictures in a run that takes 1 to {}", self.batch)));
        }
        let elem = ElemType::from_code(network.input.elem.code());
        let input = Value::from_f32_as(filled_up(tensor, self.rows.unwrap_or(pictures))?, elem)?;
        let values = self.passes.forward.run_with(&[(&network.input.name, &input)], canceller)?;
        let scores = values.get(&network.logits).ok_or_else(|| missing(&network.logits))?;
        let (shape, elem) = (scores.shape(), scores.elem_type());
        let rows = input.shape()[0];
        if self.batch > 1 && shape.first() != Some(&rows) {
            return Err(Error::Value(format!("`{}` has shape {shape:?} for {rows} pictures", network.logits)));
        }
        let of_picture = |row: ArrayViewD<'_, f32>| {
            let logits: Vec<f32> = row.iter().copied().collect();
            let probabilities = probabilities(&logits, network.head == Head::Sigmoid);
            Scores { logits, probabilities }
        };
        for (tap, Tapped { activation, .. }) in self.taps.iter().zip(&self.passes.taps).filter(|_| self.batch > 1) {
            let layer = values.get(&activation.name).map(Value::shape);
            if layer.as_ref().is_some_and(|shape| shape.first() != Some(&rows)) {
                return Err(Error::Value(format!("`{}` has shape {layer:?} for {rows} pictures", tap.name())));
            }
        }
        let scores = scores.to_f32()?.axis_iter(Axis(0)).take(pictures).map(of_picture).collect();
        Ok(Forward { scores, input, values, shape, elem })
    }

    /// The backward pass of one class a picture, for every tap at once.
    ///
    /// # Errors
    /// A class isn't one of the model's, there are more or fewer than pictures, the runtime fails, or [`Error::Cancelled`].
    pub fn backward(&self, forward: &Forward, classes: &[usize], canceller: &Canceller) -> Result<Backward> {
        if classes.len() != forward.scores.len() {
            return Err(Error::Value(format!("{} classes for {} pictures", classes.len(), forward.scores.len())));
        }
        let mut seeds = Vec::with_capacity(forward.shape.iter().product());
        for (scores, &class) in forward.scores.iter().zip(classes) {
            let count = scores.logits.len();
            if class >= count {
                return Err(Error::ClassRange { class: class.to_string(), count });
            }
            seeds.extend(self.options.score.seed(class, &scores.probabilities, self.network().independent()));
        }
        let seed = Value::from_f32_as(with_zeros(seeds, &forward.shape)?, forward.elem)?;
        let mut inputs: Vec<(&str, &Value)> = vec![(&self.passes.seed, &seed)];
        for name in &self.passes.saved {
            let given = (*name == self.network().input.name).then_some(&forward.input);
            inputs.push((name, given.or_else(|| forward.values.get(name)).ok_or_else(|| missing(name))?));
        }
        Ok(Backward { classes: classes.to_vec(), gradients: self.passes.backward.run_with(&inputs, canceller)? })
    }

    /// The heat of the first picture, or of the only one; see [`Explainer::heatmaps`].
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
        Ok(self.heatmaps(forward, backward, tap, method)?.into_iter().next())
    }

    /// The heat at one of [`Explainer::taps`], for each picture: `[height, width]` at the layer's resolution, after ReLU, before
    /// normalisation. None at the input.
    ///
    /// # Errors
    /// The runtime fails; the method needs a gradient that [`Options::gradients`] doesn't want.
    pub fn heatmaps(
        &self,
        forward: &Forward,
        backward: &Backward,
        tap: usize,
        method: &'static dyn Method,
    ) -> Result<Vec<Array2<f32>>> {
        let Some(Tap::Layer(layer)) = self.taps.get(tap) else { return Ok(Vec::new()) };
        let Tapped { activation, gradient, is_mean } = &self.passes.taps[tap];
        if *is_mean && !method.takes_mean() {
            return Err(no_gradient(layer.name()));
        }
        let values = (self.raw_activation(forward, tap)?, raw_gradient(backward, gradient)?);
        let heatmaps = self.programs.heatmaps(method, layer, values, [activation.blocked, gradient.blocked])?;
        Ok(heatmaps.outer_iter().take(forward.scores.len()).map(|heatmap| heatmap.to_owned()).collect())
    }

    /// An activation or gradient of an [`Explanation`], in the layer's own layout, a batch of one first.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn read(&self, held: &Held) -> Result<ArrayD<f32>> {
        let all = self.programs.plain(&held.value, held.blocked)?.to_f32()?;
        // A value without a batch is every picture's.
        let picture = held.picture.min(all.len_of(Axis(0)).saturating_sub(1));
        Ok(all.slice_axis(Axis(0), (picture..picture + 1).into()).to_owned())
    }

    /// The activation at one of [`Explainer::taps`], in the layer's own layout, of all pictures of the run.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn activation(&self, forward: &Forward, tap: usize) -> Result<Value> {
        self.programs.plain(self.raw_activation(forward, tap)?, self.passes.taps[tap].activation.blocked)
    }

    /// The gradient at one of [`Explainer::taps`], of the same shape.
    ///
    /// # Errors
    /// The runtime fails; [`Options::gradients`] wants none.
    pub fn gradient(&self, backward: &Backward, tap: usize) -> Result<Value> {
        let Tapped { gradient: given, is_mean, .. } = &self.passes.taps[tap];
        if *is_mean {
            return Err(no_gradient(self.taps[tap].name()));
        }
        self.programs.plain(raw_gradient(backward, given)?, given.blocked)
    }

    /// As the forward pass gives it.
    fn raw_activation<'a>(&self, forward: &'a Forward, tap: usize) -> Result<&'a Value> {
        let given = &self.passes.taps[tap].activation;
        match self.taps[tap] {
            Tap::Input => Ok(&forward.input),
            Tap::Layer(_) => forward.values.get(&given.name).ok_or_else(|| missing(&given.name)),
        }
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

fn no_gradient(layer: &str) -> Error {
    Error::Value(format!("only the mean of the gradient at `{layer}` is there, as no gradients were asked for"))
}

fn missing(name: &str) -> Error {
    Error::Value(format!("the run gave no `{name}`"))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
