//! What a method that is computed on the host costs: next to one plain forward pass, and next to as many of them as it makes.

use std::sync::Arc;

use ndarray::ArrayD;
use onnx_grad_ort::measure::{Clock, Plan, Side, Spread, rounds};
use serde::Serialize;

use super::{plain::Plain, reach::ToInput, report::Process};
use crate::{
    error::{Error, Result},
    explain::{Explainer, Options, Tap},
    runtime::{Canceller, Runtime, Value},
    subject::TypedModel,
    target::TargetRef,
};

/// Batches of the plain session that are tried beside the method's own: the fastest, by the image, is what the method is compared with.
const BATCHES: [usize; 3] = [1, 4, 16];

/// Milliseconds, one a round.
#[derive(Clone, Debug, Default)]
pub struct MethodTimes {
    /// How many runs one explanation makes.
    pub runs: usize,
    /// How many of them go back to a gradient.
    pub gradients: usize,
    /// One plain run of one image.
    pub forward: Vec<f64>,
    /// From the prepared image to the heat of all targets.
    pub explain: Vec<f64>,
    /// Plain runs of several images, by their number.
    pub batches: Vec<(usize, Vec<f64>)>,
    /// Forward and back to the input, of one image; empty where the method takes no gradient there.
    pub to_input: Vec<f64>,
}

/// A model made ready to be timed on one image, explained by a method of the host.
pub struct OfMethod {
    plain: Plain,
    explainer: Explainer,
    to_input: Option<ToInput>,
    batches: Vec<(usize, Value)>,
    tensor: ArrayD<f32>,
    targets: Vec<TargetRef>,
}

impl OfMethod {
    /// Makes a model ready: `tensor` as it takes it, a batch of one first.
    ///
    /// # Errors
    /// The method can't explain it so, or the runtime refuses.
    pub fn new(
        runtime: &'static Runtime,
        subject: &Arc<TypedModel>,
        options: &Options,
        tensor: ArrayD<f32>,
        targets: &[TargetRef],
    ) -> Result<Self> {
        let explainer = Explainer::of(runtime, Arc::clone(subject), options.clone())?;
        let network = subject.network();
        let session = runtime.session_from_file(&network.path, &options.session)?;
        let plain = Plain::new(session, &tensor, subject.fed(network.input().batch().unwrap_or(1))?)?;
        let needs = options.method.method.needs();
        let to_input = match needs.slope && !needs.layer {
            true => Some(ToInput::new(runtime, subject, &Options { method: Default::default(), ..options.clone() })?),
            false => None,
        };
        // What else the model is fed stands in the plain session for one image.
        let can_batch = explainer.batch() > 1 && network.others().next().is_none() && network.input().batch().is_none();
        let mut counts = if can_batch { BATCHES.to_vec() } else { vec![1] };
        if can_batch && !counts.contains(&explainer.batch()) {
            counts.push(explainer.batch());
        }
        let batches: Vec<(usize, Value)> =
            counts.into_iter().map(|count| Ok((count, plain.copies(&tensor, count)?))).collect::<Result<_>>()?;
        Ok(Self { plain, explainer, to_input, batches, tensor, targets: targets.to_vec() })
    }

    /// The explainer.
    pub fn explainer(&self) -> &Explainer {
        &self.explainer
    }

    /// Whether the plain session takes as many images at once as the method does.
    pub fn runs_batches(&self) -> bool {
        self.batches.len() > 1
    }

    /// The plain session.
    pub fn plain(&self) -> &Plain {
        &self.plain
    }

    /// Times the parts side by side; see [`rounds`].
    ///
    /// # Errors
    /// The runtime fails.
    pub fn measure(&self, plan: &Plan, progress: &mut dyn FnMut(usize)) -> Result<MethodTimes> {
        let canceller = Canceller::new();
        // The plain forward pass reads a tensor of the runtime's: so does the explanation.
        let input = self.explainer.input(self.tensor.clone())?;
        let explain = || self.explainer.explain_input(&input, &self.targets).map(drop);
        let work = self.explainer.work();
        let before = (work.done(), work.gradients());
        explain()?;
        let (runs, gradients) = (work.done() - before.0, work.gradients() - before.1);
        let mut sides = vec![Side::new(|| self.plain.run()), Side::new(explain)];
        for (_, batch) in &self.batches {
            sides.push(Side::new(|| self.plain.run_on(batch)));
        }
        if let Some(ToInput { explainer, .. }) = &self.to_input {
            let first = self.targets.first().ok_or_else(|| Error::Value("there is no target".into()))?;
            let (canceller, input) = (&canceller, explainer.input(self.tensor.clone())?);
            sides.push(Side::new(move || {
                let forward = explainer.forward_of_input(&input, canceller)?;
                let evaluated = explainer.evaluate(&forward, first)?;
                explainer.backward(&forward, &evaluated, canceller)?.wait()
            }));
        }
        let mut times = rounds(&mut sides, plan, progress)?.into_iter();
        let mut next = || times.next().unwrap_or_default();
        Ok(MethodTimes {
            runs,
            gradients,
            forward: next(),
            explain: next(),
            batches: self.batches.iter().map(|(count, _)| (*count, next())).collect(),
            to_input: next(),
        })
    }
}

/// Milliseconds: the spread over the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct MethodMillis {
    /// One plain run of one image.
    pub forward: Spread,
    /// From the prepared image to the heat.
    pub explain: Spread,
    /// A plain run of [`MethodReport::batch`] images.
    pub batch_forward: Spread,
    /// Forward and back to the input; `None` where the method takes no gradient there.
    pub to_input: Option<Spread>,
}

/// The ratios, each with its spread over the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct MethodRatios {
    /// An explanation through a forward pass.
    pub explain: Spread,
    /// An explanation through as many plain passes as it makes runs, at the best batch; `None` where it makes no more than one, or runs only
    /// a part of the model.
    pub passes: Option<Spread>,
    /// An explanation through as many times forward and back to the input as it takes gradients there; `None` where it takes none.
    pub gradients: Option<Spread>,
    /// Peak memory of an explanation through that of a plain session of the same batch; `None` where the system doesn't tell.
    pub memory: Option<Spread>,
}

/// What was measured of a method of the host.
#[derive(Clone, Debug, Serialize)]
pub struct MethodReport {
    /// camscope's version.
    pub camscope: String,
    /// The model's file, as it was given.
    pub model: String,
    /// The input's extents, a batch of one first.
    pub input_shape: Vec<usize>,
    /// The execution provider.
    pub provider: String,
    /// ONNX Runtime's version.
    pub onnxruntime: String,
    /// Threads within an operator; `None` where ONNX Runtime chooses.
    pub threads: Option<usize>,
    /// What runs are timed by: `wall` or `processor`.
    pub clock: &'static str,
    /// How many threads this machine can run at once.
    pub processors: Option<usize>,
    /// The method, with those parameters that are not their defaults.
    pub method: String,
    /// The layers that are explained; empty where it looks at none.
    pub layers: Vec<String>,
    /// The targets that are explained.
    pub targets: Vec<String>,
    /// How many rounds the times come from.
    pub rounds: usize,
    /// How many starts of each process the memory comes from.
    pub starts: usize,
    /// How many runs an explanation makes beside the first forward pass: of the model, or of what lies behind the layer.
    pub runs: usize,
    /// How many of them go back to a gradient.
    pub gradients: usize,
    /// How many images the plain batch has that is the fastest, by the image.
    pub batch: usize,
    /// How many images the method runs at once.
    pub method_batch: usize,
    /// The medians of `ms` and of `ratios`.
    pub forward_ms: f64,
    /// See `forward_ms`.
    pub explain_ms: f64,
    /// See `forward_ms`.
    pub explain_ratio: f64,
    /// See `forward_ms`.
    pub passes_ratio: Option<f64>,
    /// See `forward_ms`.
    pub gradients_ratio: Option<f64>,
    /// See `forward_ms`.
    pub memory_ratio: Option<f64>,
    /// Milliseconds.
    pub ms: MethodMillis,
    /// The ratios.
    pub ratios: MethodRatios,
    /// The most memory that was resident, in MiB.
    pub peak_mib: MethodPeaks,
}

/// The most memory that was resident, in MiB, of two kinds of processes; `None` where the system doesn't tell.
#[derive(Clone, Debug, Serialize)]
pub struct MethodPeaks {
    /// A plain session and one run of as many images as the method runs at once.
    pub plain: Option<Spread>,
    /// One explanation.
    pub explain: Option<Spread>,
}

impl MethodReport {
    /// Puts measurements together; `plain` and `explain` are the processes. `None` where there are none.
    pub fn new(
        of: &OfMethod,
        (model, onnxruntime, threads, clock): (String, String, Option<usize>, Clock),
        times: &MethodTimes,
        (plain, explain): (&Process, &Process),
    ) -> Option<Self> {
        let spread = |samples: &[f64]| Spread::of(samples.iter().copied());
        let by_image = |(count, samples): &&(usize, Vec<f64>)| {
            spread(samples).map_or(f64::INFINITY, |spread| spread.median / *count as f64)
        };
        let (batch, best) = times.batches.iter().min_by(|a, b| by_image(a).total_cmp(&by_image(b)))?;
        let times_of =
            |samples: &[f64], factor: f64| samples.iter().map(|sample| sample * factor).collect::<Vec<f64>>();
        let needs = of.explainer.options().method.method.needs();
        let share = times.runs as f64 / *batch as f64;
        let passes = (times.runs > 1 && !needs.tail && times.gradients == 0)
            .then(|| Spread::of_ratios(&times.explain, &times_of(best, share)))
            .flatten();
        let gradients = (times.gradients > 0 && !times.to_input.is_empty())
            .then(|| Spread::of_ratios(&times.explain, &times_of(&times.to_input, times.gradients as f64)))
            .flatten();
        let ratios = MethodRatios {
            explain: Spread::of_ratios(&times.explain, &times.forward)?,
            passes,
            gradients,
            memory: Spread::of_ratios(&explain.peak_mib, &plain.peak_mib),
        };
        let ms = MethodMillis {
            forward: spread(&times.forward)?,
            explain: spread(&times.explain)?,
            batch_forward: spread(best)?,
            to_input: spread(&times.to_input),
        };
        let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
        let layers = of.explainer.taps().iter().filter(|tap| needs.layer && matches!(tap, Tap::Layer(_)));
        Some(Self {
            camscope: env!("CARGO_PKG_VERSION").into(),
            model,
            input_shape: of.tensor.shape().to_vec(),
            provider: of.explainer.forward_session().provider().name().into(),
            onnxruntime,
            threads,
            clock: clock.name(),
            processors: std::thread::available_parallelism().ok().map(usize::from),
            method: of.explainer.options().method.spec(),
            layers: layers.map(|tap| tap.name().to_owned()).collect(),
            targets: of.targets.iter().map(|target| target.spec()).collect(),
            rounds: times.forward.len(),
            starts: plain.peak_mib.len(),
            runs: times.runs,
            gradients: times.gradients,
            batch: *batch,
            method_batch: of.explainer.batch(),
            forward_ms: ms.forward.median,
            explain_ms: ms.explain.median,
            explain_ratio: ratios.explain.median,
            passes_ratio: median(ratios.passes),
            gradients_ratio: median(ratios.gradients),
            memory_ratio: median(ratios.memory),
            ms,
            ratios,
            peak_mib: MethodPeaks { plain: spread(&plain.peak_mib), explain: spread(&explain.peak_mib) },
        })
    }
}
