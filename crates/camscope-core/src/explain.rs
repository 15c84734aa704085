//! The way from a photo to heatmaps, end to end. Read this file first.
//!
//! [`Explainer::new`] does once what depends on the model: it asks for the values' types, finds the layers, differentiates the
//! graph and makes sessions of its two halves. [`Explainer::explain`] then runs them for one photo and as many classes as wanted:
//! the forward half once, the backward half once a class, the method's program once a layer and class.

use std::{collections::HashMap, time::Instant};

use ndarray::{Array2, ArrayD, Axis, Ix3, concatenate};
use onnx_grad::{Request, Types, differentiate};

use crate::{
    error::{Error, Result},
    layer::{self, Choice, Layer, Layout},
    method::{self, Method},
    model::{self, Head, Labels, Network, Sidecar, check_scores},
    probe::{Feed, probe_unrolled},
    runtime::{ElemType, ProviderChoice, Runtime, Session, SessionOptions, Value},
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

/// A model made ready to explain pictures of one size.
pub struct Explainer {
    network: Network,
    sidecar: Sidecar,
    layers: Vec<Layer>,
    default_layer: Option<usize>,
    taps: Vec<Tap>,
    options: Options,
    forward: Session,
    backward: Session,
    /// The method's programs, by what they take.
    programs: HashMap<(Layout, i32), Session>,
    /// Names that the passes use.
    wiring: Wiring,
}

/// How the values of the two passes are called.
struct Wiring {
    seed: String,
    saved: Vec<String>,
    /// For each tap, the value and its gradient.
    taps: Vec<(String, String)>,
}

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
    pub fn new(runtime: &Runtime, mut network: Network, sidecar: Sidecar, options: Options) -> Result<Self> {
        let types = type_values(runtime, &mut network, &sidecar)?;
        check_scores(&network, &types)?;
        let layers = layers_of(&network, &sidecar, &types);
        let default_layer = default_layer(&layers, &sidecar)?;
        let taps = choose_taps(&network, &types, &layers, default_layer, &options)?;

        let values: Vec<&str> = taps.iter().map(|tap| tap.value().unwrap_or(&network.input.name)).collect();
        let mut wanted = values.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let request = Request { outputs: &[&network.logits], wrt: &wanted, types: &types };
        let gradient = differentiate(&network.model, &request)?;
        let mut wired = Vec::new();
        for (tap, value) in taps.iter().zip(&values) {
            let found = gradient.gradients.iter().find(|(name, _)| name == value).and_then(|(_, name)| name.clone());
            let name = found.ok_or_else(|| Error::NoGradient { name: tap.name().to_owned() })?;
            wired.push(((*value).to_owned(), name));
        }
        let seed = gradient.seeds.first().map(|(_, seed)| seed.clone()).unwrap_or_default();
        let wiring = Wiring { seed, saved: gradient.saved.clone(), taps: wired };
        let forward = runtime.session(&gradient.forward.to_bytes(), &options.session)?;
        refuse_empty_placement(&forward, &options.session)?;
        let backward = runtime.session(&gradient.backward.to_bytes(), &options.session)?;
        let programs = programs(runtime, &taps, &options)?;
        Ok(Self { network, sidecar, layers, default_layer, taps, options, forward, backward, programs, wiring })
    }

    /// The model.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How photos become its input.
    pub fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }

    /// The classes' names.
    pub fn labels(&self) -> &Labels {
        &self.sidecar.labels
    }

    /// Every layer of the model.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layer that `auto` takes.
    pub fn default_layer(&self) -> Option<usize> {
        self.default_layer
    }

    /// Where gradients are taken.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// What was asked for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The session of the forward pass: it says which provider it runs on.
    pub fn forward_session(&self) -> &Session {
        &self.forward
    }

    /// Explains one picture: `tensor` as the model takes it, a batch of one first.
    ///
    /// # Errors
    /// A class that the model doesn't have; the runtime fails.
    pub fn explain(&self, tensor: ArrayD<f32>, classes: &[ClassSpec]) -> Result<Outcome> {
        let copies = self.network.input.batch().unwrap_or(1);
        let elem = ElemType::from_code(self.network.input.elem.code());
        let picture = Value::from_f32_as(repeat(&tensor, copies)?, elem)?;

        let start = Instant::now();
        let values = self.forward.run(&[(&self.network.input.name, &picture)])?;
        let forward = milliseconds(start);

        let scores = values.get(&self.network.logits).ok_or_else(|| missing(&self.network.logits))?;
        let (shape, score_elem) = (scores.shape(), scores.elem_type());
        let all = scores.to_f32()?;
        let logits: Vec<f32> = all.index_axis(Axis(0), 0).iter().copied().collect();
        let probabilities = probabilities(&logits, self.network.head == Head::Sigmoid);
        let resolved: Vec<usize> =
            classes.iter().map(|class| class.resolve(&logits, self.labels())).collect::<Result<_>>()?;

        let mut saved: Vec<(&str, Value)> = Vec::new();
        for name in &self.wiring.saved {
            let value =
                if *name == self.network.input.name { Some(picture.clone()) } else { values.get(name).cloned() };
            saved.push((name, value.ok_or_else(|| missing(name))?));
        }
        let mut explanations = Vec::new();
        for class in resolved {
            let row = self.options.score.seed(class, &probabilities, self.network.independent());
            let seed = Value::from_f32_as(first_of(row, &shape)?, score_elem)?;
            let start = Instant::now();
            let mut inputs: Vec<(&str, &Value)> = vec![(&self.wiring.seed, &seed)];
            inputs.extend(saved.iter().map(|(name, value)| (*name, value)));
            let gradients = self.backward.run(&inputs)?;
            let backward = milliseconds(start);
            for (at, (tap, (value, name))) in self.taps.iter().zip(&self.wiring.taps).enumerate() {
                let activation = match tap {
                    Tap::Input => picture.clone(),
                    Tap::Layer(_) => values.get(value).cloned().ok_or_else(|| missing(value))?,
                };
                let gradient = gradients.get(name).cloned().ok_or_else(|| missing(name))?;
                let start = Instant::now();
                let heatmap = self.heatmap(tap, &activation, &gradient)?;
                explanations.push(Explanation {
                    tap: at,
                    class,
                    logit: logits[class],
                    probability: probabilities[class],
                    heatmap,
                    activation,
                    gradient,
                    timing: Timing { preprocess: 0.0, forward, backward, method: milliseconds(start) },
                });
            }
        }
        Ok(Outcome { logits, probabilities, explanations })
    }

    fn heatmap(&self, tap: &Tap, activation: &Value, gradient: &Value) -> Result<Option<Array2<f32>>> {
        let Tap::Layer(layer) = tap else { return Ok(None) };
        let program = self.programs.get(&(layer.layout, layer.elem.code())).ok_or_else(|| missing("the method"))?;
        let mut outputs = program.run(&[("activation", activation), ("gradient", gradient)])?;
        let heatmap = outputs.take("heatmap").ok_or_else(|| missing("heatmap"))?.to_f32()?;
        let heatmap = heatmap.into_dimensionality::<Ix3>().map_err(|error| Error::Value(error.to_string()))?;
        Ok(Some(heatmap.index_axis_move(Axis(0), 0)))
    }
}

/// The types of a model's values at the size that its sidecar asks for. Control flow whose course is known at that size is taken
/// apart in the model.
///
/// # Errors
/// ONNX Runtime cannot load the model; a loop is too long.
pub fn type_values(runtime: &Runtime, network: &mut Network, sidecar: &Sidecar) -> Result<Types> {
    let preprocessing = &sidecar.preprocessing;
    let (height, width) = (preprocessing.size.0 as usize, preprocessing.size.1 as usize);
    let batch = network.input.batch().unwrap_or(1);
    let shape = match preprocessing.layout {
        model::Layout::Nchw => vec![batch, preprocessing.channels(), height, width],
        model::Layout::Nhwc => vec![batch, height, width, preprocessing.channels()],
    };
    let input = &network.input;
    let feed = Feed { name: input.name.clone(), elem: input.elem, shape, free_batch: input.batch().is_none() };
    let (model, types) = probe_unrolled(runtime, &network.model, &[feed])?;
    network.model = model;
    Ok(types)
}

/// The layers of a model.
pub fn layers_of(network: &Network, sidecar: &Sidecar, types: &Types) -> Vec<Layer> {
    let layout = match sidecar.preprocessing.layout {
        model::Layout::Nchw => Layout::Nchw,
        model::Layout::Nhwc => Layout::Nhwc,
    };
    layer::find(network.model.graph(), types, &network.input.name, &network.logits, layout)
}

/// The layer that `auto` takes: the sidecar's, else the last before the classifier; `None` where the model has no layers.
///
/// # Errors
/// The sidecar names a layer that the model doesn't have.
pub fn default_layer(layers: &[Layer], sidecar: &Sidecar) -> Result<Option<usize>> {
    let automatic = layer::automatic(layers).ok().map(|layer| layer.index);
    let Some(name) = &sidecar.layer else { return Ok(automatic) };
    let choice: Choice = name.parse().unwrap_or(Choice::Auto);
    let chosen = layer::choose(layers, automatic, &choice).map(|layer| Some(layer.index));
    chosen.map_err(|error| sidecar.at_fault("layer", error))
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

fn choose_taps(
    network: &Network,
    types: &Types,
    layers: &[Layer],
    default: Option<usize>,
    options: &Options,
) -> Result<Vec<Tap>> {
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

fn programs(runtime: &Runtime, taps: &[Tap], options: &Options) -> Result<HashMap<(Layout, i32), Session>> {
    let mut programs = HashMap::new();
    for tap in taps {
        let Tap::Layer(layer) = tap else { continue };
        let key = (layer.layout, layer.elem.code());
        if let std::collections::hash_map::Entry::Vacant(slot) = programs.entry(key) {
            let model = method::program(options.method, layer.layout, layer.elem)?;
            slot.insert(runtime.session(&model.to_bytes(), &options.session)?);
        }
    }
    Ok(programs)
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
