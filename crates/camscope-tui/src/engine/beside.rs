//! Two models side by side behind the boundary of one: each photo is read for both, and runs go to the model that their photo is of.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use camscope_core::{
    Error,
    compare::{Activations, Entry, matching},
    runtime::Canceller,
    text::printable_path,
};

use super::{Engine, Fault, Heat, HeatKey, ModelInfo, Opened, Photo, Result, Saturation, Scores, Spread};

/// What is known of the second of two models.
#[derive(Clone, Debug)]
pub struct Against {
    /// The model.
    pub info: ModelInfo,
    /// For each layer of the first model its place among the second's, and by what they were matched, in words; `None`: it has none.
    pub layers: Vec<Option<(usize, &'static str)>>,
}

/// Tells the drift of the activations for a photo as both models take it.
type Drifting = Box<dyn Fn([&Photo; 2], &Canceller) -> Result<Vec<Entry>> + Send + Sync>;

/// Two models. All that is asked for is of the first, unless it is of a photo as the second takes it.
pub struct Beside {
    a: Arc<dyn Engine>,
    b: Arc<dyn Engine>,
    info: ModelInfo,
    drifting: Drifting,
}

impl Beside {
    /// Two open models, whose layers are matched as `camscope diff` does; `is_asked` says whether somebody said what is to be explained.
    ///
    /// # Errors
    /// They answer other questions, and nobody says what of both is meant.
    pub fn of_models(a: Arc<Opened>, b: Arc<Opened>, is_asked: bool) -> Result<Self> {
        refuse_other_task(&a, &b, is_asked)?;
        let layers = counterparts(&a, &b);
        let made: OnceLock<Result<Activations>> = OnceLock::new();
        let (one, other) = (Arc::clone(&a), Arc::clone(&b));
        let drifting = move |[photo_a, photo_b]: [&Photo; 2], canceller: &Canceller| {
            let ((runtime, a, session), (_, b, _)) = (one.parts(), other.parts());
            let make = || Activations::new(runtime, (a, b), &matching(a, b), session).map_err(Fault::from);
            let activations = made.get_or_init(make).as_ref().map_err(Fault::clone)?;
            Ok(activations.errors((a, &photo_a.tensor), (b, &photo_b.tensor), canceller)?)
        };
        Ok(Self::new(a, b, layers, Box::new(drifting)))
    }

    /// Two models of any kind, the layers of which are these of the second's.
    pub fn new(
        a: Arc<dyn Engine>,
        b: Arc<dyn Engine>,
        layers: Vec<Option<(usize, &'static str)>>,
        drifting: Drifting,
    ) -> Self {
        let (mut info, other) = (a.info().clone(), b.info().clone());
        let name = printable_path(Path::new(other.path.file_name().unwrap_or_default()));
        info.notes.extend(other.notes.iter().map(|note| format!("{name}: {note}")));
        info.against = Some(Arc::new(Against { info: other, layers }));
        Self { a, b, info, drifting }
    }

    /// The model that a photo is of.
    fn of(&self, photo: &Photo) -> &dyn Engine {
        if photo.beside.is_some() { &*self.a } else { &*self.b }
    }
}

/// For each layer of the first model that of the second. The one that `auto` takes has the other's where nothing is surer.
fn counterparts(a: &Opened, b: &Opened) -> Vec<Option<(usize, &'static str)>> {
    let mut layers = vec![None; a.info().layers.len()];
    for pair in matching(a.parts().1, b.parts().1) {
        layers[pair.a] = Some((pair.b, pair.by.about()));
    }
    let default = &mut layers[a.info().default_layer];
    *default = default.or(Some((b.info().default_layer, "as the one that auto takes")));
    layers
}

fn refuse_other_task(a: &Opened, b: &Opened, is_asked: bool) -> Result<()> {
    let kind = |of: &Opened| of.parts().1.network().task.as_ref().map(|found| found.task.kind().to_string());
    match (kind(a), kind(b)) {
        (Some(task_a), Some(task_b)) if task_a != task_b && !is_asked => {
            let [a, b] = [a, b].map(|of| printable_path(&of.info().path));
            Err(Error::OtherTask { a, task_a, b, task_b }.into())
        }
        _ => Ok(()),
    }
}

impl Engine for Beside {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn photo(&self, path: &Path) -> Result<Photo> {
        let mut photo = self.a.photo(path)?;
        photo.beside = Some(match self.b.photo(path) {
            Ok(other) => Ok(Arc::new(other)),
            Err(Fault::Cancelled) => return Err(Fault::Cancelled),
            Err(Fault::Failed(reason)) => Err(reason),
        });
        Ok(photo)
    }

    fn scores(&self, photo: &Photo, canceller: &Canceller) -> Result<Scores> {
        self.of(photo).scores(photo, canceller)
    }

    fn heat(&self, key: HeatKey, photo: &Photo, canceller: &Canceller) -> Result<Heat> {
        self.of(photo).heat(key, photo, canceller)
    }

    fn progress(&self) -> (usize, usize) {
        match self.a.progress() {
            (0, 0) => self.b.progress(),
            progress => progress,
        }
    }

    fn spread(&self, layer: usize, photo: &Photo, canceller: &Canceller) -> Result<Arc<Spread>> {
        self.of(photo).spread(layer, photo, canceller)
    }

    fn saturation(&self, photo: &Photo, canceller: &Canceller) -> Result<Saturation> {
        self.of(photo).saturation(photo, canceller)
    }

    fn road(&self, key: HeatKey, photo: &Photo, canceller: &Canceller) -> Result<f64> {
        self.of(photo).road(key, photo, canceller)
    }

    fn drift(&self, photo: &Photo, canceller: &Canceller) -> Result<Arc<Vec<Entry>>> {
        match &photo.beside {
            Some(Ok(other)) => (self.drifting)([photo, other], canceller).map(Arc::new),
            Some(Err(reason)) => Err(Fault::Failed(reason.clone())),
            None => Err(Fault::Failed("the photo was not read for two models".into())),
        }
    }

    fn prepare_layers(&self) -> Result<Vec<Option<String>>> {
        let reasons = self.a.prepare_layers()?;
        // Why the second has no gradient is said where its heat is asked for.
        let _ = self.b.prepare_layers();
        Ok(reasons)
    }
}
