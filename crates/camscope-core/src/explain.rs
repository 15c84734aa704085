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
mod canonical;
mod concepts;
mod elsewhere;
pub mod export;
mod fuse;
mod half;
mod host;
mod nonfinite;
mod open;
mod opened;
mod options;
mod pooled;
mod programs;
mod results;
mod run;
mod segments;
mod smooth;
mod tail;
mod taps;
mod verify;
mod work;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use ndarray::{Array2, ArrayD, ArrayViewD};
use onnx_grad_ort::{
    Error as EngineError,
    passes::{Given, Passes, Tapped},
};

use self::{batch::joined, programs::Programs};
pub use concepts::Concepts;
pub use fuse::{Fuse, Group, fused};
pub use options::Options;
pub use results::{Backward, Blank, Explained, Explanation, Forward, Held, Input, Outcome, Timing};
pub use segments::Segments;
pub use smooth::Smooth;
pub use taps::Tap;
pub use work::Work;

use crate::{
    error::{Error, Result},
    image::Seen,
    layer::{Choice, Layer},
    method::{Cam, Method},
    model::{Labels, Network, Sidecar},
    runtime::{Canceller, CopyCount, ElemType, ProviderChoice, Session, SessionOptions, Value},
    subject::TypedModel,
    target::{Evaluated, TargetRef},
};

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
    /// Seeds of zeros, by shape and type.
    zeros: Mutex<Vec<(Vec<usize>, ElemType, Value)>>,
    /// What [`Explainer::verify`] said, where that was asked for.
    verified: OnceLock<()>,
    work: Arc<Work>,
}

impl Explainer {
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

    /// Has random numbers start elsewhere, of methods that draw some: [`Options::seed`].
    pub fn reseed(&mut self, seed: u64) {
        self.options.seed = seed;
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

    /// The nodes that don't hand all of the gradient on: those that pool the regions of a two-stage detector, whose place is taken as given.
    pub fn stopped(&self) -> &[String] {
        &self.stopped
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

    /// The values of which a target that reads one place alone is explained by what lies around that place alone: of a detector, the maps
    /// of its scales.
    pub fn windowed(&self) -> Vec<&str> {
        match &self.runner {
            Runner::Differentiated(passes, _) => passes.windowed(),
            Runner::Forward(_) => Vec::new(),
        }
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
            profiles.extend(passes.end_profiles()?);
        }
        profiles.extend(self.programs.end_profiles()?);
        Ok(profiles)
    }

    /// How far its method is, where that is computed on the host.
    pub fn work(&self) -> &Arc<Work> {
        &self.work
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
        self.explain_input(&self.input(tensor)?, targets)
    }

    /// As [`Explainer::explain`], of the one image that [`Explainer::input`] gave: it is not copied.
    ///
    /// # Errors
    /// Those of [`Explainer::explain`].
    pub fn explain_input(&self, input: &Input, targets: &[TargetRef]) -> Result<Outcome> {
        let none = || Error::Value("no image was explained".into());
        let image = input.image(0).ok_or_else(none)?;
        let mut outcomes = match self.options.smooth.augment {
            true => self.explain_all(&[image], targets)?,
            false => {
                if let Some(target) = targets.first() {
                    self.verify_once((image.view(), &[]), target)?;
                }
                self.explain_run(input, &[image], &[], targets, &Canceller::new())?
            }
        };
        outcomes.pop().ok_or_else(none)
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
        self.explain_until(images, seen, targets, &Canceller::new())
    }

    /// As [`Explainer::explain_seen`], until that is cancelled.
    ///
    /// # Errors
    /// Those of [`Explainer::explain_all`], or [`Cancelled`](onnx_grad_ort::Error::Cancelled).
    pub fn explain_until(
        &self,
        images: &[ArrayViewD<'_, f32>],
        seen: &[Seen],
        targets: &[TargetRef],
        canceller: &Canceller,
    ) -> Result<Vec<Outcome>> {
        if let ([image, ..], [target, ..]) = (images, targets) {
            self.verify_once((image.view(), seen), target)?;
        }
        if self.options.smooth.augment {
            return self.explain_augmented(images, seen, targets, canceller);
        }
        self.explain_once(images, seen, targets, canceller)
    }

    /// Without smoothing by changed images.
    fn explain_once(
        &self,
        images: &[ArrayViewD<'_, f32>],
        seen: &[Seen],
        targets: &[TargetRef],
        canceller: &Canceller,
    ) -> Result<Vec<Outcome>> {
        self.explain_run(&self.input(joined(images)?)?, images, seen, targets, canceller)
    }

    /// The images as they go into one run, and one by one.
    fn explain_run(
        &self,
        input: &Input,
        images: &[ArrayViewD<'_, f32>],
        seen: &[Seen],
        targets: &[TargetRef],
        canceller: &Canceller,
    ) -> Result<Vec<Outcome>> {
        let share = |start: Instant| milliseconds(start) / images.len() as f64;
        let start = Instant::now();
        let forward = self.forward_of_input(input, canceller)?.of_photos(seen);
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
                Method::Cam(method) => self.explain_back(&forward, &evaluated, method, timing, canceller)?,
                Method::Host(method) => {
                    let by_tap = self.explain_host(&forward, (images, &evaluated), method, timing, canceller)?;
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
