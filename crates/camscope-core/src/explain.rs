//! The way from a photo to heatmaps, end to end. Read this file first.
//!
//! [`TypedModel::new`] types the model's values and finds its layers. [`Explainer::of`] differentiates the graph and makes sessions of its two
//! halves. [`Explainer::explain`] then runs them for one image and as many targets as wanted: the forward half once; each target is
//! evaluated on the outputs, which gives its seeds; the backward half once a target; the method's program once a layer and target.
//! [`Explainer::explain_all`] does so for several images at once. For the steps one at a time there are [`Explainer::forward`],
//! [`Explainer::evaluate`], [`Explainer::backward`] and [`Explainer::heatmap`]. A method of forward passes alone needs no differentiation:
//! it runs the model on changed images.

mod batch;
mod blank;
mod nonfinite;
mod perturb;
mod programs;
mod results;
mod taps;
mod verify;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Instant,
};

use ndarray::{Array2, ArrayD, ArrayViewD, Axis, IxDyn};
use onnx_grad::{Request, value_info};
use onnx_grad_ort::{
    Error as EngineError,
    passes::{Given, Passes, Plan, Tapped},
};

use self::{
    batch::{filled_up, joined, takes_several},
    programs::Programs,
};
pub use results::{Backward, Blank, Explained, Explanation, Forward, Held, Outcome, Timing};
pub use taps::Tap;

use crate::{
    differentiable_layers,
    error::{Error, Result},
    layer::{Choice, Layer, Layout},
    method::{Cam, Chosen, Method, Sign},
    model::{Labels, Network, Sidecar},
    rules,
    runtime::{Canceller, ElemType, ProviderChoice, Runtime, Session, SessionOptions, Value},
    subject::TypedModel,
    target::{Answer, Evaluated, Score, Scores, TargetRef, probabilities},
};

/// What is to be explained, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How heat is computed.
    pub method: Chosen,
    /// Which side of the evidence is shown.
    pub sign: Sign,
    /// The layers; none: `auto`.
    pub layers: Vec<Choice>,
    /// What the layers' axes mean, where the graph leaves it open or is misread.
    pub layout: Option<Layout>,
    /// What of a class is explained.
    pub score: Score,
    /// Whether gradients are wanted, and other methods' heatmaps. Where only this method's are, some cost less.
    pub gradients: bool,
    /// How many images may run at once, where the model takes any number; 1 at least.
    pub batch: usize,
    /// Whether the first explanation on a provider other than the CPU is compared with the CPU's: see [`Explainer::verify`].
    pub verify: bool,
    /// Where and how the model runs.
    pub session: SessionOptions,
}

impl Default for Options {
    fn default() -> Self {
        let session = SessionOptions::default();
        Self {
            method: Chosen::default(),
            sign: Sign::default(),
            layers: Vec::new(),
            layout: None,
            score: Score::default(),
            gradients: true,
            batch: 1,
            verify: false,
            session,
        }
    }
}

/// How the model runs.
enum Runner {
    /// Forward and back.
    Differentiated(Box<Passes>),
    /// Forward alone.
    Forward(Session),
}

/// A model made ready to explain images of one size. Threads may share it.
pub struct Explainer {
    subject: Arc<TypedModel>,
    taps: Vec<Tap>,
    options: Options,
    /// How many images a run takes at most.
    batch: usize,
    /// How many it has to have, filled up with others; `None` where it takes what there is.
    rows: Option<usize>,
    runner: Runner,
    /// The inputs that don't take the image, for a run of one.
    fed: Vec<(String, Value)>,
    programs: Programs,
    straight_through: Vec<String>,
    /// What [`Explainer::verify`] said, where that was asked for.
    verified: OnceLock<()>,
}

impl Explainer {
    /// Makes a model ready.
    ///
    /// # Errors
    /// The model's values can't be typed, a layer isn't there or has no gradient, an operator can't be differentiated, or the runtime
    /// refuses.
    pub fn new(runtime: &'static Runtime, network: Network, sidecar: Sidecar, options: Options) -> Result<Self> {
        let subject = TypedModel::new(runtime, network, sidecar)?;
        Self::of(runtime, Arc::new(subject), options)
    }

    /// Makes a model ready whose layers are known.
    ///
    /// # Errors
    /// A layer isn't there or has no gradient, an operator can't be differentiated, or the runtime refuses.
    pub fn of(runtime: &'static Runtime, subject: Arc<TypedModel>, options: Options) -> Result<Self> {
        if !options.method.method.needs_gradients() {
            return Self::forward_only(runtime, subject, options);
        }
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
        subject: Arc<TypedModel>,
        options: Options,
    ) -> Result<(Self, Vec<Option<String>>)> {
        let reasons = differentiable_layers::without_gradient(&subject)?;
        let layers = subject.layers().iter().zip(&reasons);
        let taps = layers.filter(|(_, reason)| reason.is_none()).map(|(layer, _)| Tap::Layer(layer.clone())).collect();
        Ok((Self::at(runtime, subject, taps, options)?, reasons))
    }

    fn at(runtime: &'static Runtime, subject: Arc<TypedModel>, taps: Vec<Tap>, options: Options) -> Result<Self> {
        let network = subject.network();
        let values: Vec<&str> = taps.iter().map(|tap| tap.value().unwrap_or(&network.input().name)).collect();
        let mut wanted = values.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let heads = subject.heads();
        let request = Request { outputs: &heads, wrt: &wanted, types: subject.types() };
        let gradient = rules::differentiate(&network.model, &request)?;
        let mut wired = Vec::new();
        for (tap, value) in taps.iter().zip(&values) {
            let found = gradient.gradients.iter().find(|(name, _)| name == value).and_then(|(_, name)| name.clone());
            let name = found.ok_or_else(|| Error::NoGradient { name: tap.name().to_owned() })?;
            wired.push(((*value).to_owned(), name));
        }
        let mut means = Vec::new();
        if !options.gradients && matches!(options.method.method, Method::Cam(method) if method.takes_mean()) {
            for (tap, (_, gradient)) in taps.iter().zip(&wired) {
                if let Tap::Layer(layer) = tap
                    && let Some(axes) = layer.layout.spatial_axes()
                {
                    means.push((gradient.clone(), axes.to_vec()));
                }
            }
        }
        let batch = if takes_several(&subject, &values) { options.batch.max(1) } else { 1 };
        let fixed = network.input().batch();
        let plan = Plan {
            gradient: &gradient,
            types: subject.types(),
            outputs: &heads,
            batch: fixed.unwrap_or(batch),
            taps: &wired,
            means: &means,
        };
        let passes = Passes::new(runtime, &plan, &options.session)?;
        refuse_empty_placement(&passes.forward, &options.session)?;
        let rows = fixed.or(passes.as_one.then_some(batch));
        let programs = Programs::new(runtime, &options.session);
        let fed = subject.fed(1)?;
        let straight_through = gradient.straight_through;
        let runner = Runner::Differentiated(Box::new(passes));
        Ok(Self {
            subject,
            taps,
            options,
            batch,
            rows,
            runner,
            fed,
            programs,
            straight_through,
            verified: OnceLock::new(),
        })
    }

    /// For methods that need no gradient: nothing is differentiated.
    fn forward_only(runtime: &'static Runtime, subject: Arc<TypedModel>, options: Options) -> Result<Self> {
        if let Some(layer) = options.layers.iter().find(|layer| !matches!(layer, Choice::Auto | Choice::Input)) {
            return Err(Error::NoLayerForMethod { method: options.method.method.name(), layer: layer.to_string() });
        }
        let network = subject.network();
        let mut graph = network.model.graph().clone();
        for head in subject.heads() {
            if !graph.output.iter().any(|output| output.name == head) {
                graph.output.push(value_info(head, None));
            }
        }
        let session = runtime.session_of(&network.model.with_graph(graph), &options.session.profiled("forward"))?;
        refuse_empty_placement(&session, &options.session)?;
        let batch = if takes_several(&subject, &[]) { options.batch.max(perturb::BATCH) } else { 1 };
        let rows = network.input().batch();
        let programs = Programs::new(runtime, &options.session);
        let fed = subject.fed(1)?;
        let (taps, runner, straight_through) = (vec![Tap::Input], Runner::Forward(session), Vec::new());
        Ok(Self {
            subject,
            taps,
            options,
            batch,
            rows,
            runner,
            fed,
            programs,
            straight_through,
            verified: OnceLock::new(),
        })
    }

    /// What is explained: the model, typed, with its layers.
    pub fn subject(&self) -> &Arc<TypedModel> {
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

    /// The nodes that draw random numbers, each with its operator: with any, every run gives another answer.
    pub fn random_nodes(&self) -> Vec<String> {
        crate::random::nodes(self.network().model.graph(), &self.subject.heads())
    }

    /// Where gradients are taken; for a method that needs none, the input.
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

    /// What to say of [`Explainer::straight_through`], where there is something.
    pub fn straight_through_note(&self) -> Option<String> {
        let nodes = match self.straight_through.len() {
            0 => return None,
            1 => "1 node rounds".to_owned(),
            count => format!("{count} nodes round"),
        };
        Some(format!("{nodes} to integers: gradients are straight-through estimates, as if nothing were rounded"))
    }

    /// Whether both passes were optimised as one graph, as they are on the CPU where that pays.
    pub fn optimised_as_one(&self) -> bool {
        matches!(&self.runner, Runner::Differentiated(passes) if passes.as_one)
    }

    /// The session of the forward pass: it says which provider it runs on.
    pub fn forward_session(&self) -> &Session {
        match &self.runner {
            Runner::Differentiated(passes) => &passes.forward,
            Runner::Forward(session) => session,
        }
    }

    fn passes(&self) -> Result<&Passes> {
        match &self.runner {
            Runner::Differentiated(passes) => Ok(passes),
            Runner::Forward(_) => Err(Error::Value("this method runs no backward pass".into())),
        }
    }

    /// Ends the profiles of [`SessionOptions::profile`], one a session, and gives their files: forward, backward, methods.
    ///
    /// # Errors
    /// None were begun, or one cannot be written.
    pub fn end_profiles(&self) -> Result<Vec<PathBuf>> {
        let mut profiles = vec![self.forward_session().end_profile()?];
        if let Runner::Differentiated(passes) = &self.runner {
            profiles.push(passes.backward.end_profile()?);
        }
        profiles.extend(self.programs.end_profiles()?);
        Ok(profiles)
    }

    /// How many images a run takes at most: [`Options::batch`], or 1 where the model can't have several different ones at once.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Explains one image: `tensor` as the model takes it, a batch of one first.
    ///
    /// # Errors
    /// A target names what the model doesn't have; the runtime fails.
    pub fn explain(&self, tensor: ArrayD<f32>, targets: &[TargetRef]) -> Result<Outcome> {
        let mut outcomes = self.explain_all(&[tensor.view()], targets)?;
        outcomes.pop().ok_or_else(|| Error::Value("no image was explained".into()))
    }

    /// Explains some images in one run, at most [`Explainer::batch`]: each as the model takes it, a batch of one first, and all of one
    /// shape. The result has an entry an image.
    ///
    /// # Errors
    /// Shapes differ; a target names what the model doesn't have; the runtime fails.
    pub fn explain_all(&self, images: &[ArrayViewD<'_, f32>], targets: &[TargetRef]) -> Result<Vec<Outcome>> {
        if let ([image, ..], [target, ..]) = (images, targets) {
            self.verify_once(image.view(), target)?;
        }
        let canceller = Canceller::new();
        let share = |start: Instant| milliseconds(start) / images.len() as f64;
        let start = Instant::now();
        let forward = self.run(joined(images)?, &canceller)?;
        let timing = Timing { forward: share(start), ..Timing::default() };
        let mut outcomes: Vec<Outcome> = (0..images.len())
            .map(|image| Outcome { scores: forward.scores.get(image).cloned(), explanations: Vec::new() })
            .collect();
        for target in targets {
            let evaluated = self.evaluate(&forward, target)?;
            let explained = match self.options.method.method {
                Method::Cam(method) => self.explain_back(&forward, &evaluated, method, timing, &canceller)?,
                Method::Perturbation(method) => {
                    let heat = |(image, evaluated): (&ArrayViewD<'_, f32>, &Evaluated)| {
                        let start = Instant::now();
                        let heat = self.perturbed(method, image.view(), &evaluated.target, &canceller)?;
                        Ok((heat, Timing { method: milliseconds(start), ..timing }))
                    };
                    let heats = images.iter().zip(&evaluated).map(heat).collect::<Result<Vec<_>>>()?;
                    vec![self.explanations(&forward, &evaluated, heats)]
                }
            };
            for explanations in explained {
                for (outcome, explanation) in outcomes.iter_mut().zip(explanations) {
                    outcome.explanations.push(explanation);
                }
            }
        }
        Ok(outcomes)
    }

    /// One backward pass, and the heat at every tap: for each tap an explanation an image.
    fn explain_back(
        &self,
        forward: &Forward,
        evaluated: &[Evaluated],
        method: &'static dyn Cam,
        timing: Timing,
        canceller: &Canceller,
    ) -> Result<Vec<Vec<Explanation>>> {
        let share = |start: Instant| milliseconds(start) / forward.images as f64;
        let start = Instant::now();
        let backward = self.backward(forward, evaluated, canceller)?;
        let timing = Timing { backward: share(start), ..timing };
        let passes = self.passes()?;
        let mut explained = Vec::with_capacity(self.taps.len());
        for (tap, Tapped { activation, gradient, is_mean }) in passes.taps.iter().enumerate() {
            let start = Instant::now();
            let mut heatmaps = self.heatmaps(forward, &backward, tap, Method::Cam(method))?.into_iter();
            let timing = Timing { method: share(start), ..timing };
            let held =
                |value: &Value, given: &Given, image| Held { value: value.clone(), blocked: given.blocked, image };
            let raw = raw_gradient(&backward, gradient)?;
            let mut of_tap = Vec::with_capacity(evaluated.len());
            for (image, evaluated) in evaluated.iter().enumerate() {
                let heatmap = heatmaps.next();
                let slope = held(raw, gradient, image);
                let blank = match &heatmap {
                    Some(heatmap) if blank::is_blank(heatmap) => {
                        Some(self.why_blank((forward, &backward), tap, image, &slope, method)?)
                    }
                    _ => None,
                };
                of_tap.push(Explanation {
                    tap,
                    target: Explained::of(evaluated),
                    heatmap,
                    blank,
                    activation: held(self.raw_activation(forward, tap)?, activation, image),
                    gradient: (!is_mean).then_some(slope),
                    timing,
                });
            }
            explained.push(of_tap);
        }
        Ok(explained)
    }

    /// The forward pass of some images, at most [`Explainer::batch`]: `tensor` as the model takes it, the images along its first axis.
    ///
    /// # Errors
    /// The tensor has another shape than the model wants, the runtime fails, or [`EngineError::Cancelled`].
    pub fn forward(&self, tensor: &ArrayD<f32>, canceller: &Canceller) -> Result<Forward> {
        self.run(tensor.clone(), canceller)
    }

    fn run(&self, tensor: ArrayD<f32>, canceller: &Canceller) -> Result<Forward> {
        let network = self.network();
        let images = tensor.shape().first().copied().unwrap_or(0);
        if images == 0 || images > self.batch {
            return Err(Error::Value(format!("{images} images in a run that takes 1 to {}", self.batch)));
        }
        let own = network.input();
        let elem = ElemType::from_code(own.elem.code());
        let input = Value::from_f32_as(filled_up(tensor, self.rows.unwrap_or(images))?, elem)?;
        let rows = input.shape()[0];
        let fed = self.fed(rows)?;
        let values = self.forward_session().run_with(&feeds(&own.name, &input, &fed), canceller)?;
        let by_image = |name: &str, called: &str| match values.get(name).map(Value::shape) {
            Some(shape) if self.batch > 1 && shape.first() != Some(&rows) => {
                Err(Error::Value(format!("`{called}` has shape {shape:?} for {rows} images")))
            }
            _ => Ok(()),
        };
        for head in self.subject.heads() {
            by_image(head, head)?;
        }
        if let Runner::Differentiated(passes) = &self.runner {
            for (tap, Tapped { activation, .. }) in self.taps.iter().zip(&passes.taps) {
                by_image(&activation.name, tap.name())?;
            }
        }
        let scores: Vec<Scores> = match &network.classes {
            Some(classes) if values.get(&classes.logits).is_some() => {
                let of_image = |row: ArrayViewD<'_, f32>| {
                    let logits: Vec<f32> = row.iter().copied().collect();
                    let probabilities = probabilities(&logits, classes.independent());
                    Scores { logits, probabilities }
                };
                let logits = values.get(&classes.logits).ok_or_else(|| missing(&classes.logits))?.to_f32()?;
                logits.axis_iter(Axis(0)).take(images).map(of_image).collect()
            }
            _ => Vec::new(),
        };
        nonfinite::refuse(self, &input, &scores)?;
        Ok(Forward { scores, images, rows, input, fed, values })
    }

    /// The inputs that don't take the image, for a run of so many.
    fn fed(&self, rows: usize) -> Result<Vec<(String, Value)>> {
        if rows == 1 { Ok(self.fed.clone()) } else { self.subject.fed(rows) }
    }

    /// What a target comes to for each image of a run: its number, its seeds, and the target itself, resolved.
    ///
    /// # Errors
    /// It names what the model doesn't have; the number isn't finite.
    pub fn evaluate(&self, forward: &Forward, target: &TargetRef) -> Result<Vec<Evaluated>> {
        let evaluate = |image: usize| {
            let evaluated = target.evaluate(&Answer {
                scores: forward.scores.get(image),
                classes: self.network().classes.as_ref(),
                labels: self.labels(),
                score: self.options.score,
                output: &|name| forward.value(name, image),
            })?;
            match evaluated.score.is_finite() {
                true => Ok(evaluated),
                false => Err(nonfinite::not_finite(self, &forward.input, &evaluated.target.spec())),
            }
        };
        (0..forward.images).map(evaluate).collect()
    }

    /// The backward pass of one target an image, for every tap at once.
    ///
    /// # Errors
    /// There are more or fewer targets than images, one reads what was not differentiated, the runtime fails, or
    /// [`EngineError::Cancelled`].
    pub fn backward(&self, forward: &Forward, targets: &[Evaluated], canceller: &Canceller) -> Result<Backward> {
        if targets.len() != forward.images {
            return Err(Error::Value(format!("{} targets for {} images", targets.len(), forward.images)));
        }
        let passes = self.passes()?;
        let known = |name: &str| passes.seeds.iter().any(|(output, _)| output == name);
        let read = targets.iter().flat_map(|target| &target.seeds);
        if let Some((name, _)) = read.clone().find(|(name, _)| !known(name)) {
            return Err(Error::Value(format!("`{name}` was not differentiated")));
        }
        let mut seeds = Vec::with_capacity(passes.seeds.len());
        for (output, seed) in &passes.seeds {
            let value = forward.values.get(output).ok_or_else(|| missing(output))?;
            let mut all = ArrayD::<f32>::zeros(IxDyn(&value.shape()));
            let by_image = value.shape().first() == Some(&forward.rows);
            for (image, target) in targets.iter().enumerate() {
                let Some((_, own)) = target.seeds.iter().find(|(name, _)| name == output) else { continue };
                let mut place = all.view_mut();
                if by_image {
                    place.slice_axis_inplace(Axis(0), (image..image + 1).into());
                }
                if place.shape() != own.shape() {
                    let shapes = format!("{:?}, not {:?}", own.shape(), place.shape());
                    return Err(Error::Value(format!("the seed of `{output}` has shape {shapes}")));
                }
                place.assign(own);
            }
            seeds.push((seed.as_str(), Value::from_f32_as(all, value.elem_type())?));
        }
        let mut inputs: Vec<(&str, &Value)> = seeds.iter().map(|(name, seed)| (*name, seed)).collect();
        for name in &passes.saved {
            let given = (*name == self.network().input().name).then_some(&forward.input);
            let fed = || forward.fed(name);
            let value = given.or_else(|| forward.values.get(name)).or_else(fed);
            inputs.push((name, value.ok_or_else(|| missing(name))?));
        }
        Ok(Backward { gradients: passes.backward.run_with(&inputs, canceller)? })
    }

    /// The heat of the first image, or of the only one; see [`Explainer::heatmaps`].
    ///
    /// # Errors
    /// The runtime fails.
    pub fn heatmap(
        &self,
        forward: &Forward,
        backward: &Backward,
        tap: usize,
        method: Method,
    ) -> Result<Option<Array2<f32>>> {
        Ok(self.heatmaps(forward, backward, tap, method)?.into_iter().next())
    }

    /// The heat at one of [`Explainer::taps`], for each image: `[height, width]` at the layer's resolution, of the sign asked for, before
    /// normalisation. None at the input.
    ///
    /// # Errors
    /// The runtime fails; the method needs a gradient that [`Options::gradients`] doesn't want, or is none of activation and gradient.
    pub fn heatmaps(
        &self,
        forward: &Forward,
        backward: &Backward,
        tap: usize,
        method: Method,
    ) -> Result<Vec<Array2<f32>>> {
        self.heatmaps_of(forward, backward, tap, (method, self.options.sign))
    }

    fn heatmaps_of(
        &self,
        forward: &Forward,
        backward: &Backward,
        tap: usize,
        (method, sign): (Method, Sign),
    ) -> Result<Vec<Array2<f32>>> {
        let Method::Cam(method) = method else {
            return Err(Error::Value(format!("{} is no program over activation and gradient", method.name())));
        };
        let Some(Tap::Layer(layer)) = self.taps.get(tap) else { return Ok(Vec::new()) };
        let Tapped { activation, gradient, is_mean } = &self.passes()?.taps[tap];
        if *is_mean && !method.takes_mean() {
            return Err(no_gradient(layer.name()));
        }
        let values = (self.raw_activation(forward, tap)?, raw_gradient(backward, gradient)?);
        let heatmaps = self.programs.heatmaps((method, sign), layer, values, [activation.blocked, gradient.blocked])?;
        Ok(heatmaps.outer_iter().take(forward.images).map(|heatmap| heatmap.to_owned()).collect())
    }

    /// An activation or gradient of an [`Explanation`], in the layer's own layout, a batch of one first.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn read(&self, held: &Held) -> Result<ArrayD<f32>> {
        let all = self.programs.plain(&held.value, held.blocked)?.to_f32()?;
        if all.ndim() == 0 {
            return Ok(all);
        }
        // A value without a batch is every image's.
        let image = held.image.min(all.len_of(Axis(0)).saturating_sub(1));
        Ok(all.slice_axis(Axis(0), (image..image + 1).into()).to_owned())
    }

    /// The activation at one of [`Explainer::taps`], in the layer's own layout, of all images of the run.
    ///
    /// # Errors
    /// The runtime fails.
    pub fn activation(&self, forward: &Forward, tap: usize) -> Result<Value> {
        self.programs.plain(self.raw_activation(forward, tap)?, self.passes()?.taps[tap].activation.blocked)
    }

    /// The gradient at one of [`Explainer::taps`], of the same shape.
    ///
    /// # Errors
    /// The runtime fails; [`Options::gradients`] wants none.
    pub fn gradient(&self, backward: &Backward, tap: usize) -> Result<Value> {
        let Tapped { gradient: given, is_mean, .. } = &self.passes()?.taps[tap];
        if *is_mean {
            return Err(no_gradient(self.taps[tap].name()));
        }
        self.programs.plain(raw_gradient(backward, given)?, given.blocked)
    }

    /// As the forward pass gives it.
    fn raw_activation<'a>(&'a self, forward: &'a Forward, tap: usize) -> Result<&'a Value> {
        match (&self.taps[tap], &self.runner) {
            (Tap::Layer(_), Runner::Differentiated(passes)) => {
                let name = &passes.taps[tap].activation.name;
                forward.values.get(name).ok_or_else(|| missing(name))
            }
            (tap @ Tap::Other(_), _) => {
                let name = tap.value().unwrap_or_default();
                forward.fed(name).ok_or_else(|| missing(name))
            }
            _ => Ok(&forward.input),
        }
    }
}

/// All inputs, with `image` as the input of that name.
fn feeds<'a>(name: &'a str, image: &'a Value, fed: &'a [(String, Value)]) -> Vec<(&'a str, &'a Value)> {
    std::iter::once((name, image)).chain(fed.iter().map(|(name, value)| (name.as_str(), value))).collect()
}

fn raw_gradient<'a>(backward: &'a Backward, given: &Given) -> Result<&'a Value> {
    backward.gradients.get(&given.name).ok_or_else(|| missing(&given.name))
}

/// A provider that was asked for by name and then takes no operator of the model would be a silent fall-back to the CPU.
fn refuse_empty_placement(session: &Session, options: &SessionOptions) -> Result<()> {
    match (options.provider, session.placement()) {
        (ProviderChoice::Named(provider), Some(placement)) if placement.on_provider == 0 => {
            let reason = "it takes none of this model's operators".into();
            Err(EngineError::Provider { provider, reason }.into())
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
