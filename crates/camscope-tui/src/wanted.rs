//! What is to be computed for the state as it is: photos to read, runs of the model, pictures to draw. The most wanted comes
//! first, and what is only likely to be wanted soon last. Workers always have the newest wishes only.

use std::{path::PathBuf, sync::Arc};

use camscope_core::{
    method::{self, Method},
    overlay::Mark,
};

use crate::{
    action::View,
    compare::{self, Two},
    compose::Drawing,
    engine::{Asked, HeatKey, Photo},
    layout::areas,
    prompt::passes,
    state::{ImageEntry, LayerState, State},
    tiles::{self, Chooses, Content, Tile},
};

/// Photos beyond the shown one that are read ahead, to either side.
const AHEAD: usize = 1;

/// A run of the model.
#[derive(Clone, Debug)]
pub enum Run {
    /// The forward pass of a photo.
    Scores(Arc<Photo>),
    /// A heatmap.
    Heat(HeatKey, Arc<Photo>),
    /// How the numbers of a layer are spread for a photo.
    Spread(usize, Arc<Photo>),
    /// How many numbers of each layer saturate for a photo.
    Saturation(Arc<Photo>),
    /// How alike two heatmaps are.
    Compare(Box<Two>),
    /// How far the activations of two models are apart for a photo.
    Drift(Arc<Photo>),
    /// How good a heatmap is.
    Road(HeatKey, Arc<Photo>),
}

impl Run {
    /// Whether it gives the same.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scores(a), Self::Scores(b))
            | (Self::Saturation(a), Self::Saturation(b))
            | (Self::Drift(a), Self::Drift(b)) => a.id == b.id,
            (Self::Compare(a), Self::Compare(b)) => a.keys == b.keys,
            (Self::Heat(a, _), Self::Heat(b, _)) | (Self::Road(a, _), Self::Road(b, _)) => a == b,
            (Self::Spread(a, one), Self::Spread(b, other)) => (a, one.id) == (b, other.id),
            _ => false,
        }
    }
}

/// Everything that is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Files to read.
    pub photos: Vec<PathBuf>,
    /// Runs of the model.
    pub runs: Vec<Run>,
    /// How many of the runs are waited for; the others are done ahead.
    pub waited: usize,
    /// Pictures to draw.
    pub drawings: Vec<Drawing>,
    /// How many of the pictures are of what is shown; the others are drawn ahead.
    pub undrawn: usize,
}

/// What the state wants.
pub fn wanted(state: &State) -> Wanted {
    let shown = tiles::tiles(state);
    let (runs, waited) = runs(state, &shown);
    let (drawings, undrawn) = drawings(state, &shown);
    Wanted { photos: photos(state, &shown), runs, waited, drawings, undrawn }
}

fn photos(state: &State, shown: &[Tile]) -> Vec<PathBuf> {
    // While a model is being opened, photos are read to be looked at.
    let is_coming = state.opening.is_some() || state.asking.inputs.is_some();
    if state.model.is_none() && !is_coming || state.images.is_empty() {
        return Vec::new();
    }
    let count = state.images.len() as isize;
    let at = |offset: isize| (state.image as isize + offset).rem_euclid(count) as usize;
    let mut order = vec![at(0)];
    for step in 1..=AHEAD as isize {
        order.extend([at(step), at(-step)]);
    }
    let needs_photo = |image: &usize| {
        let entry = &state.images[*image];
        (entry.photo.is_none() && entry.error.is_none()) || entry.stale
    };
    order.extend(tiles::images(shown));
    let mut wanted: Vec<usize> = order.into_iter().filter(needs_photo).collect();
    if let Some(strip) = areas(state.size, state.images.len()).strip {
        let fits = usize::from(strip.width / crate::layout::thumbnail(strip).0) + 1;
        let first = state.image.saturating_sub(fits);
        let near = first..(state.image + fits + 1).min(state.images.len());
        let bare = |image: &usize| state.images[*image].thumbnail.is_none() && state.images[*image].error.is_none();
        wanted.extend(near.filter(bare));
    }
    // To sort by what the model says all are read, a few at a time.
    if state.sorting.order.needs_answers() {
        const AT_ONCE: usize = 4;
        let is_unknown = |image: &usize| state.images[*image].said.is_none() && state.images[*image].error.is_none();
        let is_read = |image: &usize| state.images[*image].photo.is_some() && !state.images[*image].stale;
        let unknown: Vec<usize> = (0..state.images.len()).filter(is_unknown).collect();
        let room = AT_ONCE.saturating_sub(unknown.iter().filter(|image| is_read(image)).count());
        wanted.extend(unknown.iter().filter(|image| !is_read(image)).take(room));
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    for image in wanted {
        let path = &state.images[image].path;
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    // Behind the photo itself what it is compared with.
    let others = shown.iter().filter_map(|tile| match tile.content {
        Content::Other(at) => state.asking.others.get(at),
        _ => None,
    });
    let unread = |entry: &&ImageEntry| (entry.photo.is_none() && entry.error.is_none()) || entry.stale;
    for other in others.filter(unread) {
        if !paths.contains(&other.path) {
            paths.insert(paths.len().min(1), other.path.clone());
        }
    }
    paths
}

fn runs(state: &State, shown: &[Tile]) -> (Vec<Run>, usize) {
    let Some(photo) = state.photo() else { return (Vec::new(), 0) };
    // It is about to be read again: until then it is another file's, or for another model.
    if state.model.is_none() || state.images.get(state.image).is_some_and(|entry| entry.stale) {
        return (Vec::new(), 0);
    }
    if !state.scores.contains_key(&photo.id) {
        return if failed(state) { (Vec::new(), 0) } else { (vec![Run::Scores(Arc::clone(photo))], 1) };
    }
    let mut keys: Vec<HeatKey> = Vec::new();
    let mut want = |key: HeatKey| {
        let is_there = state.heats.get(&key).is_some() || state.failed.contains_key(&key);
        // A second model has layers of its own.
        let is_own = compare::second_photo(state).is_none_or(|photo| photo.id != key.photo);
        let has_none = is_own && matches!(state.layers.get(key.layer), Some(LayerState::Without(_)));
        if !is_there && !has_none && !keys.contains(&key) {
            keys.push(key);
        }
    };
    state.current_key().into_iter().for_each(&mut want);
    // Thumbnails of methods come behind, one at a time.
    let is_thumbnail = |tile: &&Tile| matches!(tile.chooses, Chooses::Method(_));
    shown.iter().filter(|tile| !is_thumbnail(tile)).flat_map(|tile| tile.content.heats()).for_each(&mut want);
    state.crosshair.and(state.current_key()).into_iter().for_each(&mut want);
    tiles::images(shown).filter_map(|image| state.key_in(image)).for_each(&mut want);
    let unknown = tiles::images(shown).filter_map(|image| {
        state.images.get(image).filter(|entry| !entry.stale && entry.error.is_none())?.photo.as_ref()
    });
    let second = compare::second_photo(state)
        .filter(|photo| compare::is_shown(state) && !state.comparing.silent.contains_key(&photo.id));
    let unknown = unknown.chain(second).filter(|photo| !state.scores.contains_key(&photo.id));
    let unknown: Vec<_> = unknown.cloned().collect();
    let mut waited = keys.len();
    let mut want = |key: HeatKey| {
        let is_there = state.heats.get(&key).is_some() || state.failed.contains_key(&key);
        let is_own = compare::second_photo(state).is_none_or(|photo| photo.id != key.photo);
        let is_ready = !is_own || matches!(state.layers.get(key.layer), Some(LayerState::Ready));
        if !is_there && is_ready && !keys.contains(&key) {
            keys.push(key);
        }
    };
    // Of a method of many passes only what is shown: what it does ahead would be in the way of the next key.
    if is_quick(state) {
        for key in neighbours(state) {
            want(key);
            if compare::is_shown(state)
                && let Ok(Some(other)) = compare::other_of(state, key)
            {
                want(other);
            }
        }
    }
    listed(state).into_iter().for_each(&mut want);
    let run = |key: HeatKey| Some(Run::Heat(key, Arc::clone(state.photo_by(key.photo)?)));
    let mut runs: Vec<Run> = keys.into_iter().filter_map(run).collect();
    waited = waited.min(runs.len());
    // One answer after the other: its heat comes before the next one's, while its forward pass is kept.
    for photo in unknown {
        runs.insert(waited, Run::Scores(photo));
        waited += 1;
    }
    if let Some(two) = compare::unknown(state) {
        runs.insert(waited, Run::Compare(Box::new(two)));
        waited += 1;
    }
    if state.comparing.drift && compare::against(state).is_some() && !state.comparing.drifts.contains_key(&photo.id) {
        runs.insert(waited, Run::Drift(Arc::clone(photo)));
        waited += 1;
    }
    if state.histogram && !state.spreads.contains_key(&(photo.id, state.layer)) {
        runs.insert(waited, Run::Spread(state.layer, Arc::clone(photo)));
        waited += 1;
    }
    let saturates = state.model.as_ref().is_some_and(|model| model.saturates);
    if saturates && !state.saturation.contains_key(&photo.id) {
        runs.insert(waited, Run::Saturation(Arc::clone(photo)));
    }
    // One at a time, behind what is waited for: whatever key is pressed meanwhile comes first.
    if let Some(key) = compare::ranked::next(state) {
        runs.insert(waited, Run::Road(key, Arc::clone(photo)));
    }
    if let Some(key) = tiles::methods::next(state, shown) {
        runs.insert(waited, Run::Heat(key, Arc::clone(photo)));
    }
    if state.sorting.order.needs_answers() {
        let unknown = state.images.iter().filter(|entry| entry.said.is_none() && !entry.stale && entry.error.is_none());
        for other in
            unknown.filter_map(|entry| entry.photo.as_ref()).filter(|other| !state.scores.contains_key(&other.id))
        {
            let run = Run::Scores(Arc::clone(other));
            if !runs.iter().any(|known| known.is(&run)) {
                runs.push(run);
            }
        }
    }
    // The next photo's answer is what `n` shows first.
    let count = state.images.len();
    for step in [1, count.saturating_sub(1)] {
        let next = state.images.get((state.image + step) % count.max(1)).and_then(|entry| entry.photo.as_ref());
        if let Some(next) = next.filter(|next| next.id != photo.id && !state.scores.contains_key(&next.id)) {
            runs.push(Run::Scores(Arc::clone(next)));
        }
    }
    (runs, waited)
}

/// Up to so many forward passes a heatmap is computed before anybody asks for it.
const QUICK: f64 = tiles::methods::UNASKED;

fn is_quick(state: &State) -> bool {
    method::nth(state.method).is_some_and(|method| passes(method, state.channels()) <= QUICK)
}

fn failed(state: &State) -> bool {
    state.images.get(state.image).is_some_and(|entry| entry.error.is_some())
}

/// The heatmaps that one key press leads to: the next class and layer, to both sides, and the method after this one.
fn neighbours(state: &State) -> Vec<HeatKey> {
    let Some(current) = state.current_key() else { return Vec::new() };
    let mut keys = Vec::new();
    let classes = state.target_list();
    let at = classes.iter().position(|class| *class == current.target);
    let beside = |at: Option<usize>, by: isize| at.and_then(|at| at.checked_add_signed(by));
    let class = |by| beside(at, by).and_then(|at| classes.get(at));
    keys.extend([1, -1, 2].into_iter().filter_map(class).map(|class| HeatKey { target: *class, ..current }));
    let layers = state.layer_list();
    let at = layers.iter().position(|layer| *layer == current.layer);
    let layer = |by| beside(at, by).and_then(|at| layers.get(at));
    keys.extend([-1, 1, -2, 2].into_iter().filter_map(layer).map(|layer| HeatKey { layer: *layer, ..current }));
    keys
}

/// Layers of the list that are looked at for their share of the heat: far more than fit on a screen.
const LISTED: usize = 256;

/// The heat of all layers of the list, whose shares stand there: one backward pass has them all, and a method of it costs next to nothing.
fn listed(state: &State) -> Vec<HeatKey> {
    let is_cheap = method::nth(state.method).is_some_and(|method| matches!(method, Method::Cam(_)));
    let Some(current) = state.current_key().filter(|_| is_cheap) else { return Vec::new() };
    state.layer_list().into_iter().take(LISTED).map(|layer| HeatKey { layer, ..current }).collect()
}

fn drawings(state: &State, shown: &[Tile]) -> (Vec<Drawing>, usize) {
    let mut drawings: Vec<Drawing> = Vec::new();
    let want = |drawings: &mut Vec<Drawing>, tile: &Tile| {
        if let Some(drawing) = drawing(state, tile)
            && state.pictures.get(&drawing.key).is_none()
            && drawings.iter().all(|known| known.key != drawing.key)
        {
            drawings.push(drawing);
        }
    };
    shown.iter().for_each(|tile| want(&mut drawings, tile));
    let undrawn = drawings.len();
    // What one key press leads to is drawn ahead, where the view shows one heatmap.
    if let [tile] = shown.iter().filter(|tile| !tile.is_in_strip()).collect::<Vec<_>>()[..]
        && matches!(state.view, View::Overlay | View::Heatmap)
        && !tiles::methods::is_open(state)
        && !shown.iter().any(|tile| drawing_missing(state, tile))
    {
        for key in neighbours(state) {
            let content = match tile.content {
                Content::Overlay(_) => Content::Overlay(key),
                Content::Heat(_) => Content::Heat(key),
                _ => continue,
            };
            want(&mut drawings, &Tile { content, ..tile.clone() });
        }
    }
    (drawings, undrawn)
}

fn drawing_missing(state: &State, tile: &Tile) -> bool {
    tiles::key(state, tile).is_some_and(|key| state.pictures.get(&key).is_none())
}

/// What a tile is drawn from, if all of it is there.
fn drawing(state: &State, tile: &Tile) -> Option<Drawing> {
    let key = tiles::key(state, tile)?;
    let photo = tiles::photo_of(state, tile.content)?;
    let heats = tile.content.heats().map(|key| state.heats.get(&key).cloned()).collect::<Option<Vec<_>>>()?;
    let marks = key.marks.map(|chosen| marks(state, photo.id, chosen)).unwrap_or_default();
    let second = tile.content.heats().nth(1).and_then(|key| state.photo_by(key.photo)).cloned();
    Some(Drawing { key, photo: Arc::clone(photo), heats, second, marks: Arc::new(marks), has_all_labels: false })
}

/// The boxes that a photo's model found in it.
pub(crate) fn marks(state: &State, photo: u64, chosen: Option<usize>) -> Vec<Mark> {
    let Some(scores) = state.scores.get(&photo) else { return Vec::new() };
    let mark = |(at, asked): (usize, &Asked)| {
        let percent = asked.probability.map(|probability| format!("{:.0} %", 100.0 * probability));
        Some(Mark {
            corners: asked.corners?,
            label: asked.label.clone().into_iter().chain(percent).collect::<Vec<_>>().join(" "),
            is_chosen: chosen == Some(at + scores.classes()),
        })
    };
    scores.asked.iter().enumerate().filter_map(mark).collect()
}
