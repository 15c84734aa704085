//! The model behind the explorer: camscope-core's explainers, one for the default layer and one for all of them.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use camscope_core::{
    Error,
    explain::{Backward, Explainer, Forward, Options},
    image::{self, prepare},
    layer::{Choice, Layer, Layout},
    method::{self, METHODS},
    model::{Network, Sidecar, Source},
    overlay::normalise,
    runtime::{Canceller, Runtime},
    subject::Subject,
};

use super::{Engine, Fault, Heat, HeatKey, LayerInfo, ModelInfo, OpenOptions, Photo, Result, Scores};

/// An open model. The default layer's explainer is made at once, since its passes are the cheap ones; the one of all layers when
/// another layer is first wanted.
pub struct Opened {
    runtime: &'static Runtime,
    info: ModelInfo,
    subject: Arc<Subject>,
    options: Options,
    first: Arc<Explainer>,
    all: OnceLock<Result<All>>,
    making: Mutex<()>,
    /// The passes run last, newest at the end.
    kept: Mutex<Kept>,
}

struct All {
    explainer: Arc<Explainer>,
    reasons: Vec<Option<String>>,
    /// For each layer, its place among the explainer's taps.
    taps: Vec<Option<usize>>,
}

#[derive(Default)]
struct Kept {
    forwards: Vec<(Pass, Arc<Forward>)>,
    backwards: Vec<(Pass, Arc<Backward>)>,
}

/// What a pass was run for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pass {
    photo: u64,
    /// Only of a backward pass.
    class: usize,
    all: bool,
}

/// Forward passes are large where every layer is kept; going back further than this runs them again.
const FORWARDS: usize = 2;
const BACKWARDS: usize = 3;

static PHOTOS: AtomicU64 = AtomicU64::new(1);

impl Opened {
    /// Makes a model ready.
    ///
    /// # Errors
    /// It cannot be explained at its default layer, or at none.
    pub fn new(runtime: &'static Runtime, network: Network, sidecar: Sidecar, how: &OpenOptions) -> Result<Self> {
        let path = network.path.clone();
        let method = match &sidecar.method {
            Some(name) => method::by_name(name).map_err(|error| sidecar.at_fault("method", error))?,
            None => METHODS[0],
        };
        let mut notes = Vec::new();
        if sidecar.preprocessing.source == Source::Assumed {
            notes.push(sidecar.preprocessing.source.to_string());
        }
        let subject = Arc::new(Subject::new(runtime, network, sidecar)?);
        let resolved = subject.resolved();
        notes.extend(resolved.by.as_ref().map(|by| format!("layers are chosen by the plugin resolver `{by}`")));
        notes.extend(resolved.notes.iter().cloned());
        let default_layer = subject.default_layer().ok_or_else(|| subject.no_layers())?;
        let options = Options {
            method,
            layers: vec![Choice::Index(default_layer)],
            layout: None,
            score: how.score,
            gradients: true,
            batch: 1,
            session: how.session.clone(),
        };
        let first = Arc::new(Explainer::of(runtime, Arc::clone(&subject), options.clone())?);
        notes.extend(first.forward_session().fallback().map(str::to_owned));
        let info = ModelInfo {
            modified: modified(&path),
            path,
            labels: subject.labels().clone(),
            layers: subject.layers().iter().map(describe).collect(),
            default_layer,
            method: METHODS.iter().position(|known| known.name() == method.name()).unwrap_or(0),
            notes,
            provider: first.forward_session().provider().name().to_owned(),
        };
        Ok(Self {
            runtime,
            info,
            subject,
            options,
            first,
            all: OnceLock::new(),
            making: Mutex::default(),
            kept: Mutex::default(),
        })
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

    fn forward(&self, photo: &Photo, all: bool, explainer: &Explainer, canceller: &Canceller) -> Result<Arc<Forward>> {
        let pass = Pass { photo: photo.id, class: 0, all };
        if let Some(found) = find(&mut lock(&self.kept).forwards, pass) {
            return Ok(found);
        }
        let forward = Arc::new(explainer.forward(&photo.tensor, canceller)?);
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
        let photo = image::Photo::open(path)?;
        let prepared = prepare(&photo.pixels, &self.subject.sidecar().preprocessing)?;
        Ok(Photo {
            id: PHOTOS.fetch_add(1, Ordering::Relaxed),
            pixels: photo.pixels,
            seen: prepared.seen,
            tensor: prepared.tensor,
            modified,
        })
    }

    fn scores(&self, photo: &Photo, canceller: &Canceller) -> Result<Scores> {
        let forward = self.forward(photo, false, &self.first, canceller)?;
        Ok(Scores {
            logits: forward.logits().to_vec(),
            probabilities: forward.scores[0].probabilities.clone(),
            ranking: camscope_core::target::ranking(forward.logits()),
        })
    }

    fn heat(&self, key: HeatKey, photo: &Photo, canceller: &Canceller) -> Result<Heat> {
        let is_default = key.layer == self.info.default_layer;
        let pass = Pass { photo: key.photo, class: key.class, all: true };
        // The default layer's own passes are the shorter ones, unless those of all layers have run already.
        let kept = find(&mut lock(&self.kept).backwards, pass);
        let (explainer, tap, all) = if is_default && kept.is_none() {
            (&self.first, 0, false)
        } else {
            let all = self.all()?;
            let reason = all.reasons.get(key.layer).cloned().flatten();
            match all.taps.get(key.layer).copied().flatten() {
                Some(tap) => (&all.explainer, tap, true),
                None => return Err(Fault::Said(reason.unwrap_or_else(|| "there is no such layer".into()))),
            }
        };
        let forward = self.forward(photo, all, explainer, canceller)?;
        let pass = Pass { all, ..pass };
        let kept = find(&mut lock(&self.kept).backwards, pass);
        let backward = match kept {
            Some(backward) => backward,
            None => {
                let backward = Arc::new(explainer.backward(&forward, &[key.class], canceller)?);
                keep(&mut lock(&self.kept).backwards, BACKWARDS, pass, &backward);
                backward
            }
        };
        let method = METHODS.get(key.method).copied().unwrap_or(METHODS[0]);
        let heatmap = explainer.heatmap(&forward, &backward, tap, method)?.ok_or(Error::NoLayers)?;
        Ok(Arc::new(normalise(heatmap.view())))
    }

    fn prepare_layers(&self) -> Result<Vec<Option<String>>> {
        Ok(self.all()?.reasons.clone())
    }
}

fn describe(layer: &Layer) -> LayerInfo {
    let [height, width] = layer.layout.spatial(&layer.shape);
    let channels = match layer.layout {
        Layout::Nchw => layer.shape.get(1),
        Layout::Nhwc => layer.shape.get(3),
        Layout::Tokens { .. } => layer.shape.get(2),
    };
    let size = |size: Option<usize>| size.map_or("?".into(), |size| size.to_string());
    LayerInfo {
        name: layer.name().to_owned(),
        op: layer.op.clone(),
        shape: format!("{}×{}×{}", size(height), size(width), size(channels.copied().flatten())),
        layout: layer.layout.name(),
    }
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn find<T>(kept: &mut Vec<(Pass, Arc<T>)>, pass: Pass) -> Option<Arc<T>> {
    let at = kept.iter().position(|(known, _)| *known == pass)?;
    let entry = kept.remove(at);
    let found = Arc::clone(&entry.1);
    kept.push(entry);
    Some(found)
}

fn keep<T>(kept: &mut Vec<(Pass, Arc<T>)>, most: usize, pass: Pass, value: &Arc<T>) {
    kept.push((pass, Arc::clone(value)));
    if kept.len() > most {
        kept.remove(0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
