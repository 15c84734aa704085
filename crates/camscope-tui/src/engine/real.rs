//! The model behind the explorer: camscope-core's explainers, one for the default layer and one for all of them.

mod describe;
mod kept;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use camscope_core::{
    Error,
    evaluate::{self, road},
    explain::{Explainer, Forward, Options},
    image,
    layer::{self, Choice},
    layer_ranges::{Ranges, Stored},
    method::{self, Chosen, Method, Sign},
    model::{Network, Sidecar},
    random,
    runtime::{Canceller, Runtime, SessionOptions},
    subject::TypedModel,
    target::{self, ClassSpec, Evaluated, Known, TargetRef},
};

use crate::tree::Tree;

use super::{
    Asked, Engine, Fault, Heat, HeatKey, HeatMap, LayerInfo, ModelInfo, OpenOptions, Photo, Result, Saturation, Scores,
    Spread, Step, Told, ranked,
};
use describe::{describe, fused, heading, outputs, refuses};
use kept::{BACKWARDS, FORWARDS, Kept, Pass, find, keep};

/// An open model. The default layer's explainer is made at once, since its passes are the cheap ones; the one of all layers when
/// another layer is first wanted.
pub struct Opened {
    runtime: &'static Runtime,
    info: ModelInfo,
    subject: Arc<TypedModel>,
    options: Options,
    /// What is explained beside the classes.
    asked: Mutex<Arc<Vec<TargetRef>>>,
    /// Whether what the model says is listed: where that is no classes.
    lists: bool,
    /// The targets of each photo: those that were asked for, then what the model says.
    listed: Mutex<HashMap<u64, Arc<Vec<TargetRef>>>>,
    first: Arc<Explainer>,
    all: OnceLock<Result<All>>,
    making: Mutex<()>,
    /// What counts saturated numbers.
    ranges: OnceLock<Result<Ranges>>,
    /// What asks the model of changed photos.
    asking: OnceLock<Result<Explainer>>,
    /// What a method of the host is doing, and its passes when it began.
    working: Mutex<Option<(Arc<Explainer>, usize, usize)>>,
    /// Explainers of the methods of the host, by their place among all methods and the layer that they look at.
    by_method: Mutex<HashMap<ByMethod, Arc<Explainer>>>,
    /// The passes run last, newest at the end.
    kept: Mutex<Kept>,
}

/// A method's place among all of them, and the layer that it looks at.
type ByMethod = (usize, Option<usize>);

struct All {
    explainer: Arc<Explainer>,
    reasons: Vec<Option<String>>,
    /// For each layer, its place among the explainer's taps.
    taps: Vec<Option<usize>>,
}

static PHOTOS: AtomicU64 = AtomicU64::new(1);

impl Opened {
    /// Makes a model ready, which was read; `told` is told the steps after that.
    ///
    /// # Errors
    /// It cannot be explained at its default layer, or at none.
    pub fn new(
        runtime: &'static Runtime,
        network: Network,
        sidecar: Sidecar,
        how: &OpenOptions,
        told: Told<'_>,
    ) -> Result<Self> {
        told(Step::Typing);
        let path = network.path.clone();
        let asked_method = match &sidecar.method {
            Some(name) => Some(method::parse(name).map_err(|error| sidecar.at_fault("method", error))?),
            None => None,
        };
        let mut notes = how.notes.clone();
        notes.extend(sidecar.remarks());
        let mut asked = how.targets.clone();
        let mut lists = false;
        let mut asks = None;
        let mut subject = TypedModel::for_targets(runtime, network.clone(), sidecar.clone(), &[])?;
        match &subject.network().classes {
            // Whatever else is asked for, the classes can be looked at too.
            Some(_) if !asked.is_empty() => {
                let all: Vec<TargetRef> = asked.iter().cloned().chain([class(0)]).collect();
                subject = TypedModel::for_targets(runtime, network, sidecar, &all)?;
            }
            Some(_) => {}
            None => {
                let mut all = asked.clone();
                match subject.default_target() {
                    // What the model says can be looked at too; without a task, only what is asked for.
                    Ok(first) => {
                        lists = subject.network().task.is_some();
                        if !lists {
                            asked.push(Arc::clone(&first));
                        }
                        all.push(first);
                    }
                    Err(error) if asked.is_empty() => asks = Some(Fault::from(error)),
                    Err(_) => {}
                }
                subject = TypedModel::for_targets(runtime, network, sidecar, &all)?;
            }
        }
        if asked.is_empty() {
            notes.extend(subject.network().default_notes());
        }
        notes.extend(subject.label_mismatch());
        let shown_first = match subject.network().reader() {
            // Its characters are looked at one by one, which lie each at its own place.
            Ok(_) => target::parse("text:1").ok(),
            Err(_) => asked.first().cloned().or_else(|| subject.default_target().ok()),
        };
        let shown_first: Vec<TargetRef> = shown_first.into_iter().collect();
        let method = asked_method.unwrap_or_else(|| method::default_for(&shown_first));
        let subject = Arc::new(subject);
        let resolved = subject.resolved();
        notes.extend(resolved.by.as_ref().map(|by| format!("layers are chosen by the plugin resolver `{by}`")));
        notes.extend(resolved.notes.iter().cloned());
        let default_layer = subject.default_layer().ok_or_else(|| subject.no_layers())?;
        let is_fused = subject.default_layers().len() > 1;
        let options = Options {
            smooth: Default::default(),
            // The default layer's passes serve every method of gradients.
            method: if matches!(method.method, Method::Cam(_)) { method.clone() } else { Chosen::default() },
            sign: Sign::default(),
            layers: vec![if is_fused { Choice::Auto } else { Choice::Index(default_layer) }],
            fuse: None,
            layout: None,
            score: how.score,
            gradients: true,
            batch: 1,
            said: false,
            seed: 0,
            verify: how.verify,
            seen: None,
            session: how.session.clone(),
        };
        told(Step::Differentiating);
        let first = match (Explainer::of(runtime, Arc::clone(&subject), options.clone()), &asks) {
            (Ok(first), _) => Arc::new(first),
            // That nothing is asked for comes before what is wrong with all of it.
            (Err(_), Some(asks)) => return Err(asks.clone()),
            (Err(error), None) => return Err(error.into()),
        };
        notes.extend(subject.network().note.clone());
        let random = first.random_nodes();
        notes.extend((!random.is_empty()).then(|| random::told(&random)));
        notes.extend(first.straight_through_note());
        notes.extend(first.stopped_note());
        notes.extend(first.forward_session().fallback().map(str::to_owned));
        let steps = layer::steps(subject.network().model.graph(), subject.layers());
        let described = subject.layers().iter().zip(subject.stored()).map(describe);
        let mut layers: Vec<LayerInfo> = described.collect();
        for (layer, is_step) in layers.iter_mut().zip(steps) {
            layer.is_step = is_step;
        }
        if is_fused {
            layers.push(fused(&subject));
        }
        let default_layer = if is_fused { layers.len() - 1 } else { default_layer };
        let info = ModelInfo {
            modified: modified(&path),
            path,
            heading: heading(&subject, asked.len()),
            forms: subject.forms(),
            saturates: subject.stored().iter().flatten().any(Stored::has_ends),
            labels: subject.labels().clone(),
            tree: Tree::of(&layers, default_layer),
            layers,
            default_layer,
            method: method::all().iter().position(|known| *known == method.method).unwrap_or(0),
            notes,
            provider: first.forward_session().provider().name().to_owned(),
            command: how.command.clone(),
            tries: ranked::tries(&subject, default_layer)?,
            against: None,
            targets: asked.iter().map(|target| target.spec()).collect(),
            asks: asks.map(|fault| fault.to_string()),
            is_embedding: subject.network().embedding().is_ok(),
            refuses: refuses(subject.network()),
            inputs: how.inputs.clone(),
            outputs: outputs(&subject),
        };
        Ok(Self {
            runtime,
            info,
            subject,
            options,
            asked: Mutex::new(Arc::new(asked)),
            lists,
            listed: Mutex::default(),
            first,
            all: OnceLock::new(),
            ranges: OnceLock::new(),
            asking: OnceLock::new(),
            making: Mutex::default(),
            working: Mutex::default(),
            by_method: Mutex::default(),
            kept: Mutex::default(),
        })
    }

    /// The runtime, the model with its types, and how its sessions are made.
    pub(super) fn parts(&self) -> (&'static Runtime, &Arc<TypedModel>, &SessionOptions) {
        (self.runtime, &self.subject, &self.options.session)
    }

    fn all(&self) -> Result<&All> {
        if let Some(all) = self.all.get() {
            return all.as_ref().map_err(Fault::clone);
        }
        // One at a time: the second finds what the first has made.
        let _making = lock(&self.making);
        self.all.get_or_init(|| self.make_all()).as_ref().map_err(Fault::clone)
    }

    fn make_all(&self) -> Result<All> {
        let (explainer, reasons) =
            Explainer::everywhere(self.runtime, Arc::clone(&self.subject), self.options.clone())?;
        let mut next = 0..;
        let taps = reasons.iter().map(|reason| if reason.is_none() { next.next() } else { None }).collect();
        Ok(All { explainer: Arc::new(explainer), reasons, taps })
    }

    /// A photo's target by its place; `classes` is how many of them there are.
    fn target(&self, at: usize, classes: usize, photo: u64) -> TargetRef {
        let listed = lock(&self.listed).get(&photo).cloned();
        let asked = listed.unwrap_or_else(|| Arc::clone(&lock(&self.asked)));
        at.checked_sub(classes).and_then(|at| asked.get(at)).map_or_else(|| class(at), Arc::clone)
    }

    /// The heat by a method of the host.
    fn by_host(&self, key: HeatKey, method: Method, photo: &Photo, canceller: &Canceller) -> Result<Heat> {
        let explainer = {
            let layer = method.needs().layer.then_some(key.layer);
            let mut made = lock(&self.by_method);
            match made.get(&(key.method, layer)) {
                Some(explainer) => Arc::clone(explainer),
                None => {
                    let choice = match layer {
                        None => Choice::Input,
                        Some(layer) if layer >= self.subject.layers().len() => Choice::Auto,
                        Some(layer) => Choice::Index(layer),
                    };
                    let options = Options { method: method.into(), layers: vec![choice], ..self.options.clone() };
                    let explainer = Arc::new(Explainer::of(self.runtime, Arc::clone(&self.subject), options)?);
                    made.insert((key.method, layer), Arc::clone(&explainer));
                    explainer
                }
            }
        };
        let forward = self.forward(photo, false, &self.first, canceller)?;
        let target = self.target(key.target, forward.logits().len(), key.photo);
        let work = explainer.work();
        *lock(&self.working) = Some((Arc::clone(&explainer), work.done(), work.planned()));
        let heatmap = explainer.host_heat(&photo.tensor, &target, canceller);
        *lock(&self.working) = None;
        let heatmap = heatmap?;
        Ok(Arc::new(HeatMap::of(heatmap.view())))
    }

    fn forward(&self, photo: &Photo, all: bool, explainer: &Explainer, canceller: &Canceller) -> Result<Arc<Forward>> {
        let pass = Pass { photo: photo.id, target: 0, all };
        if let Some(found) = find(&mut lock(&self.kept).forwards, pass) {
            return Ok(found);
        }
        let forward = Arc::new(explainer.forward(&photo.tensor, canceller)?.of_photos(&[photo.seen]));
        keep(&mut lock(&self.kept).forwards, FORWARDS, pass, &forward);
        Ok(forward)
    }
}

impl Engine for Opened {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn photo(&self, path: &Path) -> Result<Photo> {
        let modified = modified(path);
        let preprocessing = &self.subject.sidecar().preprocessing;
        let photo = image::Photo::open_for(path, preprocessing)?;
        let prepared = photo.prepare(preprocessing)?;
        Ok(Photo {
            id: PHOTOS.fetch_add(1, Ordering::Relaxed),
            pixels: photo.pixels,
            seen: prepared.seen,
            tensor: prepared.tensor,
            notes: photo.notes,
            modified,
            beside: None,
        })
    }

    fn scores(&self, photo: &Photo, canceller: &Canceller) -> Result<Scores> {
        let forward = self.forward(photo, false, &self.first, canceller)?;
        let mut values = forward.logits().to_vec();
        let classes = values.len();
        let own = Arc::clone(&lock(&self.asked));
        let mut targets = own.to_vec();
        let mut asked = Vec::with_capacity(targets.len());
        // All of what was read can be explained too, not only its characters.
        if self.lists && self.info.reads_text() {
            targets.extend(self.subject.default_target().ok());
        }
        let given = targets.len();
        for (at, target) in targets.iter().enumerate() {
            match self.first.evaluate(&forward, target) {
                Ok(found) => {
                    for found in found {
                        values.push(found.score);
                        asked.push(evaluated(found));
                    }
                }
                // Of a line on which nothing is read.
                Err(_) if at >= own.len() => {}
                Err(error) => return Err(error.into()),
            }
        }
        targets.truncate(if asked.len() < given { own.len() } else { given });
        if self.lists {
            for item in self.first.predict(&forward)?.pop().unwrap_or_default().items {
                targets.push(target::parse(&item.target)?);
                values.push(item.score);
                asked.push(Asked {
                    spec: item.target,
                    label: item.label,
                    probability: item.probability,
                    corners: item.corners,
                    class: item.class,
                });
            }
        }
        let mut ranking: Vec<usize> = (classes..values.len()).collect();
        ranking.extend(target::ranking(&values[..classes]));
        lock(&self.listed).insert(photo.id, Arc::new(targets));
        Ok(Scores {
            values,
            probabilities: forward.scores.first().map(|scores| scores.probabilities.clone()).unwrap_or_default(),
            asked,
            segments: self.first.segments(&forward, 0)?.map(Arc::new),
            ranking,
        })
    }

    fn heat(&self, key: HeatKey, photo: &Photo, canceller: &Canceller) -> Result<Heat> {
        let method = method::nth(key.method).unwrap_or_else(|| Chosen::default().method);
        if matches!(method, Method::Host(_)) {
            return self.by_host(key, method, photo, canceller);
        }
        let is_default = key.layer == self.info.default_layer;
        let pass = Pass { photo: key.photo, target: key.target, all: true };
        // The default layer's own passes are the shorter ones, unless those of all layers have run already.
        let kept = find(&mut lock(&self.kept).backwards, pass);
        let is_fused = key.layer == self.subject.layers().len();
        let (explainer, tap, all) = if is_default && (kept.is_none() || is_fused) {
            (&self.first, 0, false)
        } else {
            let all = self.all()?;
            let reason = all.reasons.get(key.layer).cloned().flatten();
            match all.taps.get(key.layer).copied().flatten() {
                Some(tap) => (&all.explainer, tap, true),
                None => return Err(Fault::Failed(reason.unwrap_or_else(|| "there is no such layer".into()))),
            }
        };
        let forward = self.forward(photo, all, explainer, canceller)?;
        let pass = Pass { all, ..pass };
        let kept = find(&mut lock(&self.kept).backwards, pass);
        let backward = match kept {
            Some(backward) => backward,
            None => {
                let target = self.target(key.target, forward.logits().len(), key.photo);
                explainer.verify_once((photo.tensor.view(), &[photo.seen]), &target)?;
                let evaluated = explainer.evaluate(&forward, &target)?;
                let backward = Arc::new(explainer.backward(&forward, &evaluated, canceller)?);
                keep(&mut lock(&self.kept).backwards, BACKWARDS, pass, &backward);
                backward
            }
        };
        let heatmap = match explainer.groups().get(tap).filter(|_| is_fused) {
            Some(group) => explainer.group_heatmaps(&forward, &backward, group, method)?.into_iter().next(),
            None => explainer.heatmap(&forward, &backward, tap, method)?,
        };
        let heatmap = heatmap.ok_or(Error::NoLayers)?;
        Ok(Arc::new(HeatMap::of(heatmap.view())))
    }

    fn progress(&self) -> (usize, usize) {
        lock(&self.working).as_ref().map_or((0, 0), |(explainer, done, planned)| {
            let work = explainer.work();
            (work.done().saturating_sub(*done), work.planned().saturating_sub(*planned))
        })
    }

    fn spread(&self, layer: usize, photo: &Photo, canceller: &Canceller) -> Result<Arc<Spread>> {
        let Some(known) = self.subject.layers().get(layer) else {
            return Err(Fault::Failed("these are several layers as one: choose one of them".into()));
        };
        let is_first =
            layer == self.info.default_layer && matches!(self.first.options().layers[..], [Choice::Index(_)]);
        let (explainer, tap, all) = match self.all.get() {
            // One forward pass for the first picture and for this, as long as nothing else was looked at.
            None if is_first => (&self.first, 0, false),
            _ => {
                let all = self.all()?;
                let reason = all.reasons.get(layer).cloned().flatten();
                match all.taps.get(layer).copied().flatten() {
                    Some(tap) => (&all.explainer, tap, true),
                    None => return Err(Fault::Failed(reason.unwrap_or_else(|| "there is no such layer".into()))),
                }
            }
        };
        let forward = self.forward(photo, all, explainer, canceller)?;
        let numbers = explainer.activation(&forward, tap)?.to_f32().map_err(Error::from)?;
        Ok(Arc::new(Spread::of(numbers.view(), known.layout)))
    }

    fn saturation(&self, photo: &Photo, canceller: &Canceller) -> Result<Saturation> {
        let made = || Ranges::new(self.runtime, &self.subject, &self.options.session).map_err(Fault::from);
        let ranges = self.ranges.get_or_init(made).as_ref().map_err(Fault::clone)?;
        let ranges = ranges.of(&self.subject, &photo.tensor, canceller)?;
        let mut shares: Vec<Option<String>> =
            ranges.iter().map(|range| range.saturated.map(|_| range.percent())).collect();
        // Several layers as one.
        shares.resize(self.info.layers.len(), None);
        Ok(Arc::new(shares))
    }

    fn road(&self, key: HeatKey, photo: &Photo, canceller: &Canceller) -> Result<f64> {
        let heat = self.heat(key, photo, canceller)?;
        let make = || ranked::asking(self.runtime, &self.subject, &self.options);
        let asking = self.asking.get_or_init(make).as_ref().map_err(Fault::clone)?;
        let classes = self.forward(photo, false, &self.first, canceller)?.logits().len();
        let target = self.target(key.target, classes, key.photo);
        let asked = evaluate::Asked::new(asking, &photo.tensor, Some(photo.seen), &target, canceller)?;
        Ok(road::combined(&asked, heat.view(), ranked::passes(), 0)?.combined)
    }

    fn prepare_layers(&self) -> Result<Vec<Option<String>>> {
        let mut reasons = self.all()?.reasons.clone();
        // Several layers as one need no passes of their own.
        reasons.resize(self.info.layers.len(), None);
        Ok(reasons)
    }

    fn ask(&self, targets: &[String]) -> Result<bool> {
        let network = self.subject.network();
        let asked: Vec<TargetRef> =
            targets.iter().map(|spec| target::parse(spec)).collect::<camscope_core::Result<_>>()?;
        let (heads, read) = (self.subject.heads(), network.heads());
        let known = Known { network, labels: self.subject.labels(), types: self.subject.types() };
        for target in &asked {
            let slopes = target.slopes(network)?;
            let reads = target.reads(network)?;
            target.exists(&known)?;
            if !slopes.iter().all(|name| heads.contains(&name.as_str()))
                || !reads.iter().all(|name| read.contains(name))
            {
                return Ok(false);
            }
        }
        *lock(&self.asked) = Arc::new(asked);
        lock(&self.listed).clear();
        // Passes back are kept by the places of targets.
        lock(&self.kept).backwards.clear();
        Ok(true)
    }
}

fn evaluated(found: Evaluated) -> Asked {
    let spec = found.target.spec();
    // What was asked for is called as it was asked for, but for what has a name of its own.
    let label = found.label.filter(|_| matches!(found.target.kind(), "similar" | "text"));
    Asked { spec, label, probability: found.place.probability, corners: found.place.corners, class: None }
}

fn class(number: usize) -> TargetRef {
    ClassSpec::Index(number).target()
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
