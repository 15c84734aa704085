//! Making a model ready: what is looked at, the differentiated halves and their sessions.

use std::sync::{Arc, Mutex, OnceLock};

use onnx_grad::{Request, float16::halved, value_info};
use onnx_grad_ort::passes::{Passes, Plan};

use super::{
    Explainer, Group, Options, Runner, Tap, attention_taps, batch::takes_several, beside, half, host, opened,
    programs::Programs, refuse_empty_placement, refuse_layers, tail, taps,
};
use crate::{
    differentiable_layers,
    error::{Error, Result},
    layer::Choice,
    method::{Method, Needs},
    model::{Network, Sidecar},
    rules,
    runtime::{Precision, Runtime, SessionOptions},
    subject::TypedModel,
};

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
        let subject = match needs.attention || needs.blocks {
            true => beside::with_attention(runtime, subject)?,
            false => subject,
        };
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
                (false, true) => host::batch_of_gradients(runtime, &options),
                (false, false) => options.batch,
            };
            let options = Options { layers: vec![Choice::Input], batch, ..options };
            let opened = if needs.pairs { opened::opened(runtime, &subject)? } else { None };
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
    pub(super) fn of_blocks(runtime: &'static Runtime, subject: Arc<TypedModel>, options: Options) -> Result<Self> {
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

    pub(super) fn at(
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
            zeros: Mutex::default(),
            verified: OnceLock::new(),
            work: Arc::default(),
        })
    }

    /// Makes a model ready to run forward alone: for [`Explainer::predict`].
    ///
    /// # Errors
    /// The runtime refuses it.
    pub fn forward_passes(runtime: &'static Runtime, subject: Arc<TypedModel>, options: Options) -> Result<Self> {
        let options = Options { layers: Vec::new(), ..options };
        // Without a layer the input stands for one: nothing is differentiated.
        let needs = Needs { layer: !subject.layers().is_empty(), ..options.method.method.needs() };
        Self::forward_of_needs(runtime, subject, needs, options)
    }

    /// For methods that need no gradient: nothing is differentiated.
    pub(super) fn forward_only(runtime: &'static Runtime, subject: Arc<TypedModel>, options: Options) -> Result<Self> {
        let needs = options.method.method.needs();
        Self::forward_of_needs(runtime, subject, needs, options)
    }

    pub(super) fn forward_of_needs(
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
        let least = if is_perturbing { host::batch(runtime, &options.session) } else { 1 };
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
            zeros: Mutex::default(),
            verified: OnceLock::new(),
            work: Arc::default(),
        })
    }
}
