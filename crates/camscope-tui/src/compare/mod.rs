//! Two of something side by side: two models, two methods, or two photos. What the second one's heatmap is, and what the pictures say.

mod captions;
mod numbers;
mod parse;
pub mod ranked;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use camscope_core::{
    compare::{Entry, same_class, same_place, same_spec},
    method,
    model::Labels,
};

use crate::{
    action::View,
    engine::{Against, Asked, Heat, HeatKey, Photo, Scores},
    state::State,
    tiles::{Chooses, Content},
};

pub use captions::{lines, name_of};
pub(crate) use numbers::share_of;
pub use numbers::{Numbers, difference, fact, numbers};
pub use parse::With;

/// What is compared with what the rest of the state says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Other {
    /// The second model on the same photo.
    Model,
    /// Another method on the same photo; its place in [`camscope_core::method::all`].
    Method(usize),
    /// The same on another photo of those that are open.
    Photo(PathBuf),
}

/// All that is about comparing.
#[derive(Default)]
pub struct Comparing {
    /// Whether the best method and layer are looked for.
    pub ranks: bool,
    /// How good heatmaps are, or why that isn't known.
    pub roads: HashMap<HeatKey, Result<f64, String>>,
    /// What is compared with; `None`: nothing was chosen.
    pub other: Option<Other>,
    /// Whether each heatmap is scaled by its own maximum, where one scale for both makes sense.
    pub own_scale: bool,
    /// How alike two heatmaps are.
    pub numbers: HashMap<(HeatKey, HeatKey), Numbers>,
    /// Why the second model has no answer, by its photo.
    pub silent: HashMap<u64, String>,
    /// Whether the drift of the activations is shown.
    pub drift: bool,
    /// The drift of the activations by the first model's photo, or why it isn't known.
    pub drifts: HashMap<u64, Result<Arc<Vec<Entry>>, String>>,
}

impl Comparing {
    /// Forgets what was computed: the models are others.
    pub fn clear(&mut self) {
        self.numbers.clear();
        self.roads.clear();
        self.silent.clear();
        self.drifts.clear();
    }
}

/// Whether the view shows two of something.
pub fn is_shown(state: &State) -> bool {
    state.view.compares() && state.comparing.other.is_some()
}

/// What is known of the second model.
pub fn against(state: &State) -> Option<&Arc<Against>> {
    state.model.as_ref()?.against.as_ref()
}

/// The photo that is shown as the second model takes it, where that is what is compared with.
pub fn second_photo(state: &State) -> Option<&Arc<Photo>> {
    if state.comparing.other != Some(Other::Model) {
        return None;
    }
    state.photo()?.beside.as_ref()?.as_ref().ok()
}

/// Whether the photo of that number is the one that is shown, or that as the second model takes it.
pub fn is_current(state: &State, photo: u64) -> bool {
    let beside = |shown: &Photo| matches!(&shown.beside, Some(Ok(other)) if other.id == photo);
    state.photo().is_some_and(|shown| shown.id == photo || beside(shown))
}

/// The heatmap that is compared with this one; `None`: what it is follows from what is not known yet.
///
/// # Errors
/// There is none, for this reason.
pub fn other_of(state: &State, key: HeatKey) -> Result<Option<HeatKey>, String> {
    match &state.comparing.other {
        None => Err("nothing is chosen to compare with".into()),
        Some(Other::Method(method)) => Ok(Some(by_method(state, key, *method))),
        Some(Other::Photo(path)) => {
            let image = state.images.iter().position(|entry| entry.path == *path);
            let image = image.ok_or("the photo is no longer open")?;
            let entry = &state.images[image];
            if let Some(reason) = &entry.error {
                return Err(reason.clone());
            }
            let is_read = entry.photo.as_ref().is_some_and(|photo| state.scores.contains_key(&photo.id));
            match state.same_in(image, key) {
                Some(other) => Ok(Some(other)),
                None if is_read && !entry.stale => Err(format!("no {} there", state.target_name(key.target))),
                None => Ok(None),
            }
        }
        Some(Other::Model) => by_model(state, key),
    }
}

fn looks_at_a_layer(method: usize) -> bool {
    method::nth(method).is_none_or(|method| method.needs().layer)
}

fn by_method(state: &State, key: HeatKey, method: usize) -> HeatKey {
    // A method that looks at the input alone has its heat under the default layer.
    let default = state.model.as_ref().map_or(key.layer, |model| model.default_layer);
    let layer = if looks_at_a_layer(key.method) { key.layer } else { state.layer };
    HeatKey { method, layer: if looks_at_a_layer(method) { layer } else { default }, ..key }
}

fn by_model(state: &State, key: HeatKey) -> Result<Option<HeatKey>, String> {
    let (Some(model), Some(against)) = (&state.model, against(state)) else {
        return Err("there is no second model: --against opens one".into());
    };
    let photo = match state.photo().and_then(|photo| photo.beside.as_ref()) {
        Some(Ok(photo)) => photo,
        Some(Err(reason)) => return Err(reason.clone()),
        None => return Ok(None),
    };
    if let Some(reason) = state.comparing.silent.get(&photo.id) {
        return Err(reason.clone());
    }
    let (Some(ours), Some(theirs)) = (state.current_scores(), state.scores.get(&photo.id)) else { return Ok(None) };
    let (target, _) = same_target(key.target, (ours, &model.labels), (theirs, &against.info.labels))?;
    let layer = match against.layers.get(key.layer).copied().flatten() {
        _ if !looks_at_a_layer(key.method) => against.info.default_layer,
        Some((layer, _)) => layer,
        None => {
            let name = model.layers.get(key.layer).map_or("it", |layer| &layer.name);
            return Err(format!("no layer of the second model matches {name}"));
        }
    };
    Ok(Some(HeatKey { photo: photo.id, target, layer, method: key.method }))
}

/// The second model's target that is the first's, and what to know of it.
fn same_target(
    target: usize,
    (ours, labels_a): (&Scores, &Labels),
    (theirs, labels_b): (&Scores, &Labels),
) -> Result<(usize, Option<String>), String> {
    let Some(asked) = ours.asked(target) else {
        let (class, note) = same_class(target, labels_a, labels_b);
        let count = theirs.classes();
        return if class < count { Ok((class, note)) } else { Err(format!("the second model has {count} classes")) };
    };
    let place = |at: usize| at + theirs.classes();
    if let Some(corners) = asked.corners {
        let is_alike = |other: &Asked| match (&asked.label, &other.label) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        };
        let boxes = theirs.asked.iter().map(|other| other.corners.filter(|_| is_alike(other)));
        let what = asked.label.as_deref().unwrap_or("box");
        let found = same_place(boxes, corners).map(|at| (place(at), None));
        return found.ok_or_else(|| format!("the second model finds no {what} there"));
    }
    let (spec, note) = same_spec(&asked.spec, (labels_a, labels_b));
    let found = theirs.asked.iter().position(|other| other.spec == spec || other.spec == asked.spec);
    found.map(|at| (place(at), note)).ok_or_else(|| format!("the second model says nothing of {spec}"))
}

/// How sure the second model is of a target of the first's.
pub fn second_probability(state: &State, target: usize) -> Option<f32> {
    let theirs = state.scores.get(&second_photo(state)?.id)?;
    let ours = (&**state.current_scores()?, &state.model.as_ref()?.labels);
    let (same, _) = same_target(target, ours, (theirs, &against(state)?.info.labels)).ok()?;
    theirs.probability(same)
}

/// Whether both heatmaps have one scale: those of one method, unless somebody wants each by its own. Methods have units of their own.
pub fn is_together(state: &State) -> bool {
    !state.comparing.own_scale && !matches!(state.comparing.other, Some(Other::Method(_)))
}

/// The pictures of a view that compares: each with what is shown, a caption, and what pressing the mouse on it chooses.
pub fn contents(state: &State, key: HeatKey) -> Vec<(Content, String, Chooses)> {
    let captioned = |content: Content, chooses: Chooses| {
        let mut lines = lines(state, content);
        // Numbers come before what the title says too.
        match (content, known_fact(state, content)) {
            (Content::Change(..), Some(fact)) if lines.concat().len() < 8 => {
                lines = vec![format!("{}: {fact}", lines.concat())];
            }
            // Names are long, and numbers needed more.
            (Content::Change(..), Some(fact)) => lines.insert(0, fact),
            (_, Some(fact)) => lines.insert(1.min(lines.len()), fact),
            _ => {}
        }
        (content, lines.join(" · "), chooses)
    };
    let image = match &state.comparing.other {
        Some(Other::Photo(path)) => state.images.iter().position(|entry| entry.path == *path),
        _ => None,
    };
    let chooses = image.map_or(Chooses::Point, Chooses::Image);
    if image == Some(state.image) || state.comparing.other.is_none() {
        return vec![captioned(Content::Overlay(key), Chooses::Point)];
    }
    let failed = |second: &HeatKey| state.failed.get(second).map(|reason| format!("no heatmap: {reason}"));
    let found = other_of(state, key).and_then(|second| match second.as_ref().and_then(failed) {
        Some(reason) => Err(reason),
        None => Ok(second),
    });
    let second = match found {
        Ok(Some(second)) => second,
        Ok(None) => {
            let waiting = image.map_or(Content::Photo, Content::Thumbnail);
            return vec![captioned(Content::Overlay(key), Chooses::Point), (waiting, "working …".into(), chooses)];
        }
        Err(reason) => {
            let other = image.map_or(Content::Photo, Content::Thumbnail);
            return vec![captioned(Content::Overlay(key), Chooses::Point), (other, format!("✗ {reason}"), chooses)];
        }
    };
    let together = is_together(state);
    let of = |first, second| if together { Content::Shared(first, second) } else { Content::Overlay(first) };
    let change = Content::Change(key, second, together);
    let both = [captioned(of(key, second), Chooses::Point), captioned(of(second, key), chooses)];
    match (state.view, image) {
        // Places of two photos have nothing to do with each other.
        (_, Some(_)) => both.to_vec(),
        (View::Difference, None) => vec![captioned(change, Chooses::Point)],
        _ => both.into_iter().chain([captioned(change, Chooses::Point)]).collect(),
    }
}

/// What is measured of the heat of a picture, as far as it is known by now.
fn known_fact(state: &State, content: Content) -> Option<String> {
    match content {
        Content::Change(first, second, _) => state.comparing.numbers.get(&(first, second)).map(Numbers::to_string),
        Content::Shared(key, _) => state.heats.get(&key).map(numbers::most),
        _ => None,
    }
}

/// Two heatmaps whose likeness is to be computed.
#[derive(Clone, Debug)]
pub struct Two {
    /// What they are.
    pub keys: (HeatKey, HeatKey),
    /// Their photos.
    pub photos: [Arc<Photo>; 2],
    /// The heat.
    pub heats: [Heat; 2],
}

/// The two heatmaps that are shown, where how alike they are isn't known yet and can be: both are there, and of one photo.
pub fn unknown(state: &State) -> Option<Two> {
    if !is_shown(state) || matches!(state.comparing.other, Some(Other::Photo(_))) {
        return None;
    }
    let first = state.current_key()?;
    let second = other_of(state, first).ok()??;
    if state.comparing.numbers.contains_key(&(first, second)) {
        return None;
    }
    let both = [first, second];
    let [Some(one), Some(other)] = both.map(|key| state.heats.get(&key).cloned()) else { return None };
    let [Some(photo), Some(beside)] = both.map(|key| state.photo_by(key.photo).cloned()) else { return None };
    Some(Two { keys: (first, second), photos: [photo, beside], heats: [one, other] })
}
