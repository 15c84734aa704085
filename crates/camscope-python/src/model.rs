//! A model, and the explainers that were made of it: one for each size of its input and each set of values that targets read.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use camscope::shared::{Shown, fit_array, load_plugins};
use camscope_core::{
    Error, Result,
    explain::{Blank, Explainer, Explanation, Options},
    image::Seen,
    method::{self, Chosen},
    model::{Network, Sidecar, Sizing},
    random,
    runtime::{Canceller, Provider, ProviderChoice, ProviderLibraries, Runtime, SessionOptions, use_libraries},
    subject::TypedModel,
    target::TargetRef,
};
use ndarray::ArrayD;

use crate::{
    given::{IN_MEMORY, Image},
    settings::Settings,
};

/// How many explainers are kept; each takes as much memory as the model.
const KEPT: usize = 4;

/// A model, and how it is explained. Threads may share it.
pub(crate) struct Model {
    runtime: &'static Runtime,
    network: Network,
    sidecar: Sidecar,
    settings: Settings,
    /// The method that was asked for.
    method: Option<Chosen>,
    options: Options,
    /// What is explained where an explanation doesn't say.
    target: Option<TargetRef>,
    made: Mutex<Vec<Made>>,
    /// What was said of the model already.
    notes: Mutex<Vec<String>>,
}

/// An explainer, and what it is for.
struct Made {
    /// The input's shape.
    shape: Vec<usize>,
    explainer: Arc<Explainer>,
    /// The target that it was made for, where it is the one that the model says first.
    default: Option<TargetRef>,
    method: Chosen,
    /// The values that targets read, and of those the ones that were differentiated.
    reads: Vec<String>,
    slopes: Vec<String>,
    is_local: bool,
}

/// An image as the model takes it.
struct Prepared {
    tensor: ArrayD<f32>,
    shown: Shown,
    /// Milliseconds that it took to get there.
    took: f64,
}

/// An explanation of one image, and all that there is to know of it.
pub(crate) struct Found {
    pub(crate) explainer: Arc<Explainer>,
    pub(crate) explanation: Explanation,
    pub(crate) shown: Shown,
    pub(crate) logits: Vec<f32>,
    /// What to know of the image, each a sentence.
    pub(crate) notes: Vec<String>,
    /// What to know of the model, and was not said before.
    pub(crate) news: Vec<String>,
}

impl Model {
    /// Reads a model. Where its input's size is known it is made ready at once, for what is explained where an explanation doesn't say.
    ///
    /// # Errors
    /// It cannot be read or explained so; there is no usable ONNX Runtime.
    pub(crate) fn open(
        path: &Path,
        settings: Settings,
        method: Option<Chosen>,
        options: Options,
        target: Option<TargetRef>,
    ) -> Result<Self> {
        let (network, sidecar, notes) = settings.open(path)?;
        load_plugins();
        let runtime = runtime(options.session.provider)?;
        let method = match (method, &sidecar.method) {
            (None, Some(own)) => Some(method::parse(own).map_err(|error| sidecar.at_fault("method", error))?),
            (method, _) => method,
        };
        let model = Self {
            runtime,
            network,
            sidecar,
            settings,
            method,
            options,
            target,
            made: Mutex::default(),
            notes: Mutex::new(notes),
        };
        if model.sidecar.preprocessing.sizing == Sizing::Said
            && let Ok(shape) = model.network.input_shape(&model.sidecar.preprocessing)
        {
            let shape = [&[1], &shape[1..]].concat();
            match model.explainer(&shape, model.target.as_ref(), None) {
                // Whoever explains it will have to say what.
                Err(Error::NoScores { .. } | Error::ModelOutput { .. }) if model.target.is_none() => {}
                result => drop(result?),
            }
        }
        Ok(model)
    }

    /// What was said of the model so far, each a sentence.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The model's file.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// The explainer that was used last.
    pub(crate) fn last(&self) -> Option<Arc<Explainer>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.last().map(|made| Arc::clone(&made.explainer))
    }

    /// The classes' names.
    pub(crate) fn labels(&self) -> &[String] {
        self.sidecar.labels.names()
    }

    /// Explains one image.
    ///
    /// # Errors
    /// It cannot be read, the target names what the model doesn't have, the runtime fails, or it was cancelled.
    pub(crate) fn explain(&self, image: Image, target: Option<&TargetRef>, canceller: &Canceller) -> Result<Found> {
        let mut notes = Vec::new();
        let Prepared { tensor, shown, took } = self.prepare(image, &mut notes)?;
        let asked = target.or(self.target.as_ref());
        let (explainer, target, news) = self.explainer(tensor.shape(), asked, Some((&tensor, shown.seen)))?;
        let targets = std::slice::from_ref(&target);
        let outcome = explainer.explain_until(&[tensor.view()], &[shown.seen], targets, canceller)?.pop();
        let mut outcome = outcome.unwrap_or_default();
        let explanation = outcome.explanations.drain(..).next();
        let mut explanation = explanation.ok_or_else(|| Error::Value("no image was explained".into()))?;
        explanation.timing.preprocess = took;
        if explanation.heatmap.iter().flatten().any(|heat| !heat.is_finite()) {
            let name = explainer.taps()[explanation.tap].name().to_owned();
            return Err(Error::HeatNotFinite { name });
        }
        if explanation.blank == Some(Blank::NoGradient)
            && let Ok(Some(found)) = explainer.last_with_gradient(self.runtime, tensor.view(), &[shown.seen], &target)
            && let Some(layer) = explainer.layers().get(found)
        {
            notes.push(format!("`{}` has a gradient at `{}`", target.spec(), layer.name()));
        }
        let logits = outcome.logits().to_vec();
        let shown = Shown { array: shown.photo.is_none().then_some(tensor), said: outcome.said, ..shown };
        Ok(Found { explainer, explanation, shown, logits, notes, news })
    }

    /// The image as the model takes it.
    fn prepare(&self, image: Image, notes: &mut Vec<String>) -> Result<Prepared> {
        let start = std::time::Instant::now();
        if !matches!(image, Image::Array(_)) {
            self.network.refuse_photos()?;
        }
        let preprocessing = &self.sidecar.preprocessing;
        let (tensor, shown) = match image.photo(preprocessing)? {
            Ok(photo) => {
                let (width, height) = photo.pixels.dimensions();
                let sized = (preprocessing.sizing != Sizing::Said).then(|| preprocessing.for_photo(width, height));
                let prepared = photo.prepare(sized.as_ref().unwrap_or(preprocessing))?;
                notes.extend(photo.notes);
                let shown = Shown { photo: Some(photo.pixels), array: None, seen: prepared.seen, said: None };
                (prepared.tensor, shown)
            }
            Err(array) => {
                let (mut network, mut sidecar) = (self.network.clone(), self.sidecar.clone());
                let tensor = fit_array(array, IN_MEMORY, &mut network, &mut sidecar)?;
                let (height, width) = sidecar.preprocessing.size;
                let seen = Seen::all(width, height);
                (tensor, Shown { photo: None, array: None, seen, said: None })
            }
        };
        Ok(Prepared { tensor, shown, took: start.elapsed().as_secs_f64() * 1e3 })
    }

    /// The explainer for an input of that shape and a target, made where there is none; the target, where none is asked for what the model says
    /// first; and what to know of the model that was not said before.
    fn explainer(
        &self,
        shape: &[usize],
        asked: Option<&TargetRef>,
        image: Option<(&ArrayD<f32>, Seen)>,
    ) -> Result<(Arc<Explainer>, TargetRef, Vec<String>)> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for (at, known) in made.iter().enumerate().filter(|(_, known)| known.shape == shape) {
            if self.serves(known, asked)? {
                found = Some(at);
            }
        }
        let (made_now, notes) = match found {
            Some(at) => (made.remove(at), Vec::new()),
            None => {
                if made.len() == KEPT {
                    made.remove(0);
                }
                self.make(shape, asked, image)?
            }
        };
        let explainer = Arc::clone(&made_now.explainer);
        let target = asked.or(made_now.default.as_ref()).cloned();
        made.push(made_now);
        drop(made);
        let target = target.ok_or_else(|| Error::Value("nothing to explain".into()))?;
        let mut said = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let news: Vec<String> = notes.into_iter().filter(|note| !said.contains(note)).collect();
        said.extend(news.iter().cloned());
        Ok((explainer, target, news))
    }

    /// Whether an explainer differentiates what a target reads, and looks where it should for one.
    fn serves(&self, made: &Made, asked: Option<&TargetRef>) -> Result<bool> {
        let Some(target) = asked else { return Ok(made.default.is_some()) };
        let network = made.explainer.network();
        let (reads, slopes) = (sorted(target.reads(network)?), sorted(target.slopes(network)?));
        Ok(made.reads == reads
            && made.slopes == slopes
            && made.is_local == target.is_local()
            && made.method == self.method_for(target))
    }

    fn method_for(&self, target: &TargetRef) -> Chosen {
        self.method.clone().unwrap_or_else(|| method::default_for(std::slice::from_ref(target)))
    }

    fn make(
        &self,
        shape: &[usize],
        asked: Option<&TargetRef>,
        image: Option<(&ArrayD<f32>, Seen)>,
    ) -> Result<(Made, Vec<String>)> {
        let (mut network, mut sidecar) = (self.network.clone(), self.sidecar.clone());
        let array = ArrayD::zeros(shape);
        fit_array(array, IN_MEMORY, &mut network, &mut sidecar)?;
        if sidecar.preprocessing.size != self.sidecar.preprocessing.size {
            self.settings.feed(&mut network, &sidecar)?;
        }
        let wanted: Vec<TargetRef> = asked.into_iter().cloned().collect();
        let subject = TypedModel::for_targets(self.runtime, network, sidecar, &wanted)?;
        let mut notes = Vec::new();
        let target = match asked {
            Some(target) => TargetRef::clone(target),
            None => {
                notes.extend(subject.network().default_notes());
                subject.default_target()?
            }
        };
        let chosen = self.method_for(&target);
        if self.method.is_some() {
            notes.extend(method::mistrust(chosen.method, std::slice::from_ref(&target)));
        }
        let resolved = subject.resolved();
        notes.extend(resolved.by.as_ref().map(|by| format!("the layers are chosen by the plugin resolver `{by}`")));
        notes.extend(resolved.notes.iter().cloned());
        notes.extend(subject.label_mismatch());
        let network = subject.network();
        let (reads, slopes) = (sorted(target.reads(network)?), sorted(target.slopes(network)?));
        let options = Options { method: chosen.clone(), ..self.options.clone() };
        let mut explainer = Explainer::of(self.runtime, Arc::new(subject), options)?;
        // What is read off one token may be blind to all others.
        if let (Some((tensor, seen)), false) = (image, matches!(target.kind(), "class" | "contrast" | "box")) {
            let (sighted, note) = explainer.sighted(self.runtime, tensor.view(), &[seen], &target)?;
            explainer = sighted;
            notes.extend(note);
        }
        if explainer.groups().len() > 1 {
            return Err(Error::Value(
                "several layers have several heatmaps: fuse=\"mean\" or fuse=\"max\" makes one of them".into(),
            ));
        }
        if self.options.session.provider == ProviderChoice::Auto {
            let rejected = self.runtime.auto_provider().rejected;
            notes.extend(rejected.into_iter().map(|(provider, reason)| format!("{provider} is not used: {reason}")));
            notes.extend(explainer.forward_session().fallback().map(str::to_owned));
        }
        notes.extend(explainer.straight_through_note());
        notes.extend(explainer.stopped_note());
        let random = explainer.random_nodes();
        notes.extend((!random.is_empty()).then(|| random::told(&random)));
        let is_local = target.is_local();
        let default = asked.is_none().then_some(target);
        let (shape, explainer) = (shape.to_vec(), Arc::new(explainer));
        Ok((Made { shape, explainer, default, method: chosen, reads, slopes, is_local }, notes))
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

/// The runtime of this process, with the libraries of the provider that is asked for.
///
/// # Errors
/// There is none that can be used.
pub(crate) fn runtime(provider: ProviderChoice) -> Result<&'static Runtime> {
    match (Runtime::get(), provider) {
        (None, provider) => {
            use_libraries(ProviderLibraries { libraries: Vec::new(), provider, device: None });
            Ok(Runtime::get_or_load()?)
        }
        (Some(runtime), ProviderChoice::Named(named)) => {
            // Why one cannot be used is said when it is.
            runtime.register_installed(|provider: Provider| provider.may_offer(named));
            Ok(runtime)
        }
        (Some(runtime), ProviderChoice::Auto) => Ok(runtime),
    }
}

/// How sessions are made.
pub(crate) fn session(provider: ProviderChoice, threads: Option<usize>, half: bool) -> SessionOptions {
    let precision =
        if half { camscope_core::runtime::Precision::Float16 } else { camscope_core::runtime::Precision::Float32 };
    SessionOptions { provider, threads, precision, ..SessionOptions::default() }
}
