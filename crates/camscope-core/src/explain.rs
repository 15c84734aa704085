//! The way from a photo to heatmaps, end to end. Read this file first.
//!
//! [`TypedModel::new`] types the model's values and finds its layers. [`Explainer::of`] differentiates the graph and makes sessions of its two
//! halves. [`Explainer::explain`] then runs them for one image and as many targets as wanted: the forward half once; each target is
//! evaluated on the outputs, which gives its seeds; the backward half once a target; the method's program once a layer and target.
//! [`Explainer::explain_all`] does so for several images at once. For the steps one at a time there are [`Explainer::forward`],
//! [`Explainer::evaluate`], [`Explainer::backward`] and [`Explainer::heatmap`]. A method of forward passes alone needs no differentiation:
//! it runs the model on changed images.

mod batch;
mod beside;
mod blank;
mod concepts;
mod elsewhere;
pub mod export;
mod fuse;
mod half;
mod host;
mod nonfinite;
mod programs;
mod results;
mod segments;
mod smooth;
mod tail;
mod taps;
mod verify;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use ndarray::{Array2, ArrayD, ArrayViewD, Axis, IxDyn};
use onnx_grad::{Request, float16::halved, value_info};
use onnx_grad_ort::{
    Error as EngineError,
    passes::{Given, Passes, Plan, Tapped},
};

use self::{
    batch::{filled_up, joined, takes_several},
    programs::Programs,
};
pub use concepts::Concepts;
pub use fuse::{Fuse, Group, fused};
pub use results::{Backward, Blank, Explained, Explanation, Forward, Held, Outcome, Timing};
pub use segments::Segments;
pub use smooth::Smooth;
pub use taps::Tap;

use crate::{
    differentiable_layers,
    error::{Error, Result},
    image::{Photo, Seen, Viewport},
    layer::{Choice, Layer, Layout},
    method::{Cam, Chosen, Method, Needs, Sign},
    model::{Labels, Network, Sidecar, read_array, space},
    rules,
    runtime::{
        Canceller, CopyCount, ElemType, Outputs, Precision, ProviderChoice, Runtime, Session, SessionOptions, Value,
    },
    subject::TypedModel,
    target::{Answer, Evaluated, Score, Scores, TargetRef, probabilities},
    task::Said,
    text::printable_path,
};

/// What is to be explained, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How heat is computed.
    pub method: Chosen,
    /// Which side of the evidence is shown.
    pub sign: Sign,
    /// How heat is smoothed.
    pub smooth: Smooth,
    /// The layers; none: `auto`.
    pub layers: Vec<Choice>,
    /// How the heat of several layers becomes one; `None`: each has its own, save where `auto` means several, which are fused.
    pub fuse: Option<Fuse>,
    /// What the layers' axes mean, where the graph leaves it open or is misread.
    pub layout: Option<Layout>,
    /// What of a class is explained.
    pub score: Score,
    /// Whether gradients are wanted, and other methods' heatmaps. Where only this method's are, some cost less.
    pub gradients: bool,
    /// How many images may run at once, where the model takes any number; 1 at least.
    pub batch: usize,
    /// Whether what the model says of each image is wanted too, to be drawn: [`Outcome::said`].
    pub said: bool,
    /// Where random numbers start, of methods that draw some: the same seed gives the same heat.
    pub seed: u64,
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
            smooth: Smooth::default(),
            layers: Vec::new(),
            fuse: None,
            layout: None,
            score: Score::default(),
            gradients: true,
            batch: 1,
            said: false,
            seed: 0,
            verify: false,
            session,
        }
    }
}

/// How the model runs.
enum Runner {
    /// Forward and back.
    Differentiated(Box<Passes>, Option<half::Scale>),
    /// Forward alone.
    Forward(Session),
}

/// A model made ready to explain images of one size. Threads may share it.
pub struct Explainer {
    subject: Arc<TypedModel>,
    taps: Vec<Tap>,
    /// Which taps have one heat.
    groups: Vec<Group>,
    /// What lies behind each tap, where the method runs that alone.
    tails: Vec<Option<tail::Tail>>,
    options: Options,
    /// How many images a run takes at most.
    batch: usize,
    /// How many it has to have, filled up with others; `None` where it takes what there is.
    rows: Option<usize>,
    runner: Runner,
    /// The inputs that don't take the image, for a run of one.
    fed: Vec<(String, Value)>,
    programs: Programs,
    /// What else the method looks at.
    besides: beside::Besides,
    straight_through: Vec<String>,
    stopped: Vec<String>,
    /// What the model gave for pictures that others are compared with, by file and value.
    others: Mutex<HashMap<(PathBuf, String), ArrayD<f32>>>,
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
        let needs = options.method.method.needs();
        if options.smooth.eigen && !options.method.method.weighs_channels() {
            return Err(Error::CannotSmooth { method: options.method.method.name() });
        }
        if !needs.layer {
            refuse_layers(&options)?;
        }
        if needs.blocks {
            return Self::of_blocks(runtime, subject, options);
        }
        if !options.method.method.needs_gradients() {
            let mut own = Self::forward_only(runtime, subject, options)?;
            own.besides = beside::Besides::new(runtime, &own.subject, &own.taps, &own.options)?;
            return Ok(own);
        }
        if needs.biases {
            let (mut taps, biases) = beside::biased(&subject);
            taps.insert(0, Tap::Input);
            let groups = vec![Group::of_one(0)];
            let mut own = Self::at(runtime, subject, (taps, groups), Options { gradients: true, ..options })?;
            own.besides.biases = biases;
            return Ok(own);
        }
        if needs.attention {
            let taps = attention_taps(&subject, &options)?;
            let groups = vec![Group::of_one(0)];
            return Self::at(runtime, subject, (taps, groups), Options { gradients: true, ..options });
        }
        if needs.slope && !needs.layer {
            // One gradient an image needs no more at once.
            let is_long = options.method.method.passes(&options.method.parameters, 1) > 5.0;
            let batch = match (needs.pairs, is_long) {
                (true, _) => 2,
                (false, true) => options.batch.max(host::BATCH),
                (false, false) => options.batch,
            };
            let options = Options { layers: vec![Choice::Input], batch, ..options };
            let opened = if needs.pairs { beside::opened(runtime, &subject)? } else { None };
            let subject = opened.map_or(subject, Arc::new);
            let (taps, groups) = taps::choose_taps(&subject, &options)?;
            let method = options.method.method.name();
            let own = Self::at(runtime, subject, (taps, groups), options)?;
            if needs.pairs && (own.batch != 2 || own.rows.is_some_and(|rows| rows != 2)) {
                return Err(Error::OneAtATime { method });
            }
            return Ok(own);
        }
        let options = match options.method.method {
            Method::Host(_) => Options { gradients: true, ..options },
            Method::Cam(_) => options,
        };
        let (taps, groups) = taps::choose_taps(&subject, &options)?;
        let mut own = Self::at(runtime, subject, (taps, groups), options)?;
        own.besides = beside::Besides::new(runtime, &own.subject, &own.taps, &own.options)?;
        Ok(own)
    }

    /// For methods that look at what each block of a transformer says.
    fn of_blocks(runtime: &'static Runtime, subject: Arc<TypedModel>, options: Options) -> Result<Self> {
        let count = options.method.blocks()?;
        let (blocks, grid) = beside::blocks(runtime, &subject, &options, count)?;
        let mut own = Self::forward_only(runtime, subject, options)?;
        (own.besides.blocks, own.besides.grid) = (blocks, Some(grid));
        Ok(own)
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
        let taps: Vec<Tap> =
            layers.filter(|(_, reason)| reason.is_none()).map(|(layer, _)| Tap::Layer(layer.clone())).collect();
        let groups = (0..taps.len()).map(Group::of_one).collect();
        Ok((Self::at(runtime, subject, (taps, groups), options)?, reasons))
    }

    fn at(
        runtime: &'static Runtime,
        subject: Arc<TypedModel>,
        (taps, groups): (Vec<Tap>, Vec<Group>),
        options: Options,
    ) -> Result<Self> {
        let network = subject.network();
        let values: Vec<&str> = taps.iter().map(|tap| tap.value().unwrap_or(&network.input().name)).collect();
        let mut wanted = values.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let heads = subject.heads();
        let request = Request { outputs: &heads, wrt: &wanted, types: subject.types() };
        let swap = match options.method.method {
            Method::Host(method) => method.swap().map(|swap| (method.name(), swap)),
            Method::Cam(_) => None,
        };
        let gradient = match swap {
            Some((_, swap)) => rules::differentiate_by(&network.model, &request, swap)?,
            None => rules::differentiate(&network.model, &request)?,
        };
        if let Some((method, swap)) = swap.filter(|(_, swap)| swap.is_of_relus() && gradient.swapped == 0) {
            return Err(Error::NothingToSwap { method, what: swap.name });
        }
        runtime.refuse_slow_precision(&options.session)?;
        let read = subject.read();
        let (gradient, scale) = match options.session.precision {
            Precision::Float32 => (gradient, None),
            Precision::Float16 => {
                let kept: Vec<&str> = values.iter().chain(&read).copied().collect();
                let halved = halved(&gradient, subject.types(), &kept)?;
                let scale = half::Scale::of(&halved);
                (halved.gradient, Some(scale))
            }
        };
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
            outputs: &read,
            batch: fixed.unwrap_or(batch),
            taps: &wired,
            means: &means,
        };
        // They are in float16 already, where that is asked for.
        let session = SessionOptions { precision: Precision::Float32, ..options.session.clone() };
        let passes = Passes::new(runtime, &plan, &session)?;
        refuse_empty_placement(&passes.forward, &options.session)?;
        let rows = fixed.or(passes.as_one.then_some(batch));
        let programs = Programs::new(runtime, &options.session);
        let fed = subject.fed(1)?;
        let (straight_through, stopped) = (gradient.straight_through, gradient.stopped);
        let runner = Runner::Differentiated(Box::new(passes), scale);
        Ok(Self {
            subject,
            taps,
            groups,
            tails: Vec::new(),
            options,
            batch,
            rows,
            runner,
            fed,
            programs,
            besides: beside::Besides::default(),
            straight_through,
            stopped,
            others: Mutex::default(),
            verified: OnceLock::new(),
        })
    }

    /// Makes a model ready to run forward alone: for [`Explainer::predict`].
    ///
    /// # Errors
    /// The runtime refuses it.
    pub fn forward_passes(runtime: &'static Runtime, subject: Arc<TypedModel>, options: Options) -> Result<Self> {
        Self::forward_only(runtime, subject, Options { layers: Vec::new(), ..options })
    }

    /// For methods that need no gradient: nothing is differentiated.
    fn forward_only(runtime: &'static Runtime, subject: Arc<TypedModel>, options: Options) -> Result<Self> {
        let needs = options.method.method.needs();
        Self::forward_of_needs(runtime, subject, needs, options)
    }

    fn forward_of_needs(
        runtime: &'static Runtime,
        subject: Arc<TypedModel>,
        needs: Needs,
        options: Options,
    ) -> Result<Self> {
        let (taps, groups) = match (needs.attention, needs.layer) {
            (true, _) => (attention_taps(&subject, &options)?, vec![Group::of_one(0)]),
            (false, true) => taps::choose_taps(&subject, &options)?,
            (false, false) => (vec![Tap::Input], vec![Group::of_one(0)]),
        };
        runtime.refuse_slow_precision(&options.session)?;
        let network = subject.network();
        let mut graph = network.model.graph().clone();
        let mut wanted: Vec<String> = subject.read().into_iter().map(str::to_owned).collect();
        for value in taps.iter().filter_map(Tap::value) {
            wanted.push(value.to_owned());
            if needs.tail {
                wanted.extend(tail::Tail::besides(&subject, value));
            }
        }
        wanted.retain(|name| network.inputs.iter().all(|input| input.name != *name));
        for head in &wanted {
            if !graph.output.iter().any(|output| output.name == *head) {
                graph.output.push(value_info(head, None));
            }
        }
        let session = runtime.session_of(&network.model.with_graph(graph), &options.session.profiled("forward"))?;
        refuse_empty_placement(&session, &options.session)?;
        let is_perturbing = !options.method.method.needs_gradients();
        let least = if is_perturbing { host::BATCH } else { 1 };
        let several = takes_several(&subject, &[]);
        let batch = if several { options.batch.max(least) } else { 1 };
        let mut tails = Vec::new();
        for value in taps.iter().filter(|_| needs.tail).filter_map(Tap::value) {
            tails.push(Some(tail::Tail::new(runtime, &subject, value, !several, &options.session)?));
        }
        let rows = network.input().batch();
        let programs = Programs::new(runtime, &options.session);
        let fed = subject.fed(1)?;
        let (runner, straight_through, stopped) = (Runner::Forward(session), Vec::new(), Vec::new());
        Ok(Self {
            subject,
            taps,
            groups,
            tails,
            options,
            batch,
            rows,
            runner,
            fed,
            programs,
            besides: beside::Besides::default(),
            straight_through,
            stopped,
            others: Mutex::default(),
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

    /// Which taps have one heat: of several, their heat is fused.
    pub fn groups(&self) -> &[Group] {
        &self.groups
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

    /// What to say of nodes that don't hand all of the gradient on, where there are some: the regions that a two-stage detector proposes.
    pub fn stopped_note(&self) -> Option<String> {
        let nodes = match self.stopped.len() {
            0 => return None,
            1 => "1 node pools (RoiAlign)".to_owned(),
            count => format!("{count} nodes pool (RoiAlign)"),
        };
        Some(format!(
            "the gradient goes to what the regions that {nodes} hold, and not to where they lie, as in PyTorch: what proposes them is taken \
             as given"
        ))
    }

    /// Whether both passes were optimised as one graph, as they are on the CPU where that pays.
    pub fn optimised_as_one(&self) -> bool {
        matches!(&self.runner, Runner::Differentiated(passes, _) if passes.as_one)
    }

    /// The session of the forward pass: it says which provider it runs on.
    pub fn forward_session(&self) -> &Session {
        match &self.runner {
            Runner::Differentiated(passes, _) => &passes.forward,
            Runner::Forward(session) => session,
        }
    }

    /// The copies between host and device so far. On the CPU there are none. Elsewhere the images and each target's seed go in, and what
    /// targets read, heatmaps, and the arrays that somebody reads come out; all else stays on the device.
    pub fn copies(&self) -> CopyCount {
        self.options.session.copies.count()
    }

    fn passes(&self) -> Result<&Passes> {
        match &self.runner {
            Runner::Differentiated(passes, _) => Ok(passes),
            Runner::Forward(_) => Err(Error::Value("this method runs no backward pass".into())),
        }
    }

    /// Ends the profiles of [`SessionOptions::profile`], one a session, and gives their files: forward, backward, methods.
    ///
    /// # Errors
    /// None were begun, or one cannot be written.
    pub fn end_profiles(&self) -> Result<Vec<PathBuf>> {
        let mut profiles = vec![self.forward_session().end_profile()?];
        if let Runner::Differentiated(passes, _) = &self.runner {
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
        self.explain_seen(images, &[], targets)
    }

    /// As [`Explainer::explain_all`], with what of its photo each image shows: targets at places of the photo need it.
    ///
    /// # Errors
    /// Those of [`Explainer::explain_all`].
    pub fn explain_seen(
        &self,
        images: &[ArrayViewD<'_, f32>],
        seen: &[Seen],
        targets: &[TargetRef],
    ) -> Result<Vec<Outcome>> {
        if let ([image, ..], [target, ..]) = (images, targets) {
            self.verify_once(image.view(), target)?;
        }
        if self.options.smooth.augment {
            return self.explain_augmented(images, seen, targets);
        }
        self.explain_once(images, seen, targets)
    }

    /// Without smoothing by changed images.
    fn explain_once(
        &self,
        images: &[ArrayViewD<'_, f32>],
        seen: &[Seen],
        targets: &[TargetRef],
    ) -> Result<Vec<Outcome>> {
        let canceller = Canceller::new();
        let share = |start: Instant| milliseconds(start) / images.len() as f64;
        let start = Instant::now();
        let forward = self.run(joined(images)?, &canceller)?.of_photos(seen);
        let timing = Timing { forward: share(start), ..Timing::default() };
        let mut outcomes: Vec<Outcome> = (0..images.len())
            .map(|image| Outcome { scores: forward.scores.get(image).cloned(), ..Outcome::default() })
            .collect();
        // Targets may read other values than the task does.
        let task = self.network().task.as_ref();
        let can_say =
            task.is_some_and(|found| found.task.reads().iter().all(|name| forward.values.get(name).is_some()));
        if self.options.said && can_say {
            for (outcome, said) in outcomes.iter_mut().zip(self.predict(&forward)?) {
                outcome.said = Some(said);
            }
        }
        for target in targets {
            let evaluated = self.evaluate(&forward, target)?;
            let explained = match self.options.method.method {
                Method::Cam(method) => self.explain_back(&forward, &evaluated, method, timing, &canceller)?,
                Method::Host(method) => {
                    let by_tap = self.explain_host(&forward, (images, &evaluated), method, timing, &canceller)?;
                    self.in_groups(by_tap)
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
                let space = heatmap.as_ref().map(|heat| self.space_of(&self.taps[tap], heat)).unwrap_or_default();
                of_tap.push(Explanation {
                    tap,
                    target: Explained::of(evaluated),
                    heatmap,
                    space,
                    blank,
                    activation: held(self.raw_activation(forward, tap)?, activation, image),
                    gradient: (!is_mean).then_some(slope),
                    timing,
                    fused: Vec::new(),
                    attributions: None,
                    note: None,
                });
            }
            explained.push(of_tap);
        }
        Ok(self.in_groups(explained))
    }

    /// One explanation a group and image, of one a tap and image.
    fn in_groups(&self, by_tap: Vec<Vec<Explanation>>) -> Vec<Vec<Explanation>> {
        let mut by_tap = by_tap.into_iter();
        let mut fused = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let mut parts: Vec<_> = by_tap.by_ref().take(group.taps.len()).map(Vec::into_iter).collect();
            let images = parts.first().map_or(0, ExactSizeIterator::len);
            let of_image =
                |_| fuse::fuse(parts.iter_mut().filter_map(Iterator::next).collect(), group, self.options.sign);
            fused.push((0..images).filter_map(of_image).collect());
        }
        fused
    }

    /// The heat of one of [`Explainer::groups`] for each image: that of [`Explainer::heatmaps`], fused where it has several taps.
    ///
    /// # Errors
    /// Those of [`Explainer::heatmaps`].
    pub fn group_heatmaps(
        &self,
        forward: &Forward,
        backward: &Backward,
        group: &Group,
        method: Method,
    ) -> Result<Vec<Array2<f32>>> {
        let by_tap: Vec<Vec<Array2<f32>>> =
            group.taps.clone().map(|tap| self.heatmaps(forward, backward, tap, method)).collect::<Result<_>>()?;
        if let [one] = &by_tap[..] {
            return Ok(one.clone());
        }
        let of_image = |image: usize| {
            let of_image = group.taps.clone().zip(&by_tap).filter_map(|(tap, all)| Some((tap, all.get(image)?)));
            let heatmaps: Vec<_> = of_image.map(|(tap, heat)| (heat, self.space_of(&self.taps[tap], heat))).collect();
            fuse::fused_in_space(&heatmaps, group.fuse, self.options.sign).map(|(heat, _)| heat)
        };
        Ok((0..forward.images).filter_map(of_image).collect())
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
        if let Runner::Differentiated(passes, _) = &self.runner {
            for (tap, Tapped { activation, .. }) in self.taps.iter().zip(&passes.taps) {
                by_image(&activation.name, tap.name())?;
            }
        }
        let forward = self.with_scores(values, (images, rows), (input, fed))?;
        nonfinite::refuse(self, &forward.input, &forward.scores)?;
        Ok(forward)
    }

    /// What a tail gives for some activations, as a forward pass.
    fn forward_of(&self, values: Outputs, images: usize, of: &Forward) -> Result<Forward> {
        self.with_scores(values, (images, images), (of.input.clone(), of.fed.clone()))
    }

    fn with_scores(
        &self,
        values: Outputs,
        (images, rows): (usize, usize),
        (input, fed): (Value, Vec<(String, Value)>),
    ) -> Result<Forward> {
        let scores: Vec<Scores> = match &self.network().classes {
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
        Ok(Forward { scores, images, rows, input, fed, values, seen: Vec::new() })
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
            let evaluated = self.answer(forward, image, |answer| target.evaluate(answer))?;
            match evaluated.score.is_finite() {
                true => Ok(evaluated),
                false => Err(nonfinite::not_finite(self, &forward.input, &evaluated.target.spec())),
            }
        };
        (0..forward.images).map(evaluate).collect()
    }

    /// What the model says of each image of a run: see [`crate::task`].
    ///
    /// # Errors
    /// Nothing is recognised, or the outputs are not as they were recognised.
    pub fn predict(&self, forward: &Forward) -> Result<Vec<Said>> {
        let Some(recognised) = &self.network().task else { return Ok(vec![Said::default(); forward.images]) };
        (0..forward.images).map(|image| self.answer(forward, image, |answer| recognised.task.predict(answer))).collect()
    }

    /// What `ask` makes of the model's answer to an image of a run.
    fn answer<T>(&self, forward: &Forward, image: usize, ask: impl FnOnce(&Answer<'_>) -> Result<T>) -> Result<T> {
        let (height, width) = self.sidecar().preprocessing.size;
        let size = [height as usize, width as usize];
        let seen = forward.seen.get(image).copied();
        ask(&Answer {
            scores: forward.scores.get(image),
            classes: self.network().classes.as_ref(),
            labels: self.labels(),
            task: self.network().task.as_ref().map(|found| &*found.task),
            viewport: seen.map_or_else(|| Viewport::of(size), |seen| Viewport::onto(seen, size)),
            score: self.options.score,
            output: &|name| forward.value(name, image),
            shape: &|name| forward.shape_of_one(name),
            other: &|path, name| self.other(path, name),
        })
    }

    /// A value that the model gives for the picture in a file. It runs once a file.
    fn other(&self, path: &Path, name: &str) -> Result<ArrayD<f32>> {
        let key = (path.to_owned(), name.to_owned());
        let known = || self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&key) {
            return Ok(found.clone());
        }
        let preprocessing = &self.sidecar().preprocessing;
        let is_array = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("npy"));
        let tensor = match is_array {
            true => self.array(path)?,
            false => {
                self.network().refuse_photos()?;
                Photo::open_for(path, preprocessing)?.prepare(preprocessing)?.tensor
            }
        };
        let found = self.run(tensor, &Canceller::new())?.value(name, 0)?;
        known().insert(key, found.clone());
        Ok(found)
    }

    /// The array in a file, as the model takes it; the batch may be left out.
    fn array(&self, path: &Path) -> Result<ArrayD<f32>> {
        let array = read_array(path, self.sidecar().preprocessing.whole)?;
        let wanted = self.network().input_shape(&self.sidecar().preprocessing)?;
        let array = if array.ndim() + 1 == wanted.len() { array.insert_axis(Axis(0)) } else { array };
        match array.shape().get(1..) == wanted.get(1..) && array.shape().first() == Some(&1) {
            true => Ok(array),
            false => Err(Error::TensorShape {
                path: printable_path(path),
                found: array.shape().to_vec(),
                input: self.network().input().name.clone(),
                expected: format!("[1{}]", wanted[1..].iter().map(|size| format!(", {size}")).collect::<String>()),
            }),
        }
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
        let run = |inputs: &[(&str, &Value)]| Ok(passes.backward.run_with(inputs, canceller)?);
        let gradients = match &self.runner {
            Runner::Differentiated(_, Some(scale)) => scale.run(|scale| {
                let with_scale: Vec<(&str, &Value)> = inputs.iter().copied().chain([scale]).collect();
                run(&with_scale)
            })?,
            _ => run(&inputs)?,
        };
        Ok(Backward { gradients })
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
        let blocked = [activation.blocked, gradient.blocked];
        if self.options.smooth.eigen {
            let smoothed = self.programs.smoothed((method, sign), layer, values, blocked)?;
            return Ok(smoothed.into_iter().take(forward.images).collect());
        }
        let heatmaps = self.programs.heatmaps((method, sign), layer, values, blocked)?;
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

    /// The extents of a heatmap's own axes, where it is one of a tap.
    fn space_of(&self, tap: &Tap, heat: &Array2<f32>) -> Vec<usize> {
        let own = match tap {
            Tap::Layer(layer) => layer.space(),
            Tap::Input if !self.network().takes_photos() => {
                let shape = self.network().input_shape(&self.sidecar().preprocessing).unwrap_or_default();
                space(&shape)
            }
            Tap::Input | Tap::Other(_) => Vec::new(),
        };
        let fits = !own.is_empty() && own.iter().product::<usize>() == heat.len();
        if fits { own } else { heat.shape().to_vec() }
    }

    /// As the forward pass gives it.
    fn raw_activation<'a>(&'a self, forward: &'a Forward, tap: usize) -> Result<&'a Value> {
        match (&self.taps[tap], &self.runner) {
            (Tap::Layer(_), Runner::Differentiated(passes, _)) => {
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

/// The attention maps as taps.
fn attention_taps(subject: &TypedModel, options: &Options) -> Result<Vec<Tap>> {
    let found = crate::layer::attention(subject.network().model.graph(), subject.types(), subject.layers());
    let (maps, _) = found.ok_or_else(|| Error::NoAttention { method: options.method.method.name() })?;
    Ok(maps.into_iter().map(Tap::Layer).collect())
}

/// Refuses layers for a method that looks at none.
fn refuse_layers(options: &Options) -> Result<()> {
    match options.layers.iter().find(|layer| !matches!(layer, Choice::Auto | Choice::Input)) {
        Some(layer) => Err(Error::NoLayerForMethod { method: options.method.method.name(), layer: layer.to_string() }),
        None => Ok(()),
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
