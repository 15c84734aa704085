//! What the explorer knows: plain data, changed by `update` alone.

mod asking;
mod form;
mod order;
mod parts;

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use camscope_core::{
    layer::Choice,
    method,
    overlay::{self, Enlarge},
    target::ClassSpec,
    text::printable_path,
};

use crate::{
    action::View,
    cache::Cache,
    compare::Comparing,
    compose::heat_inside,
    engine::{Heat, HeatKey, ModelInfo, Photo, Saturation, Scores, Spread, Step},
    graphics::{Picture, Screen},
    keymap::Keymap,
    remembered::{Remembered, Shares},
    text,
    tiles::TileKey,
    tree,
    view::theme::Paints,
};

pub use asking::Asking;
pub(crate) use asking::SIMILAR;
pub use form::Form;
pub use order::{Order, Sorting};
pub use parts::{Help, ImageEntry, LayerState, Message, Mode, Times, Zoom};

/// Bytes of pictures, photos and heatmaps that are kept for going back, where the configuration doesn't say otherwise.
pub const MEMORY: usize = 512 << 20;

/// A class less probable than this is out of the question.
const LIKELY: f32 = 0.01;
/// The first so many of the ranking are looked through for what was shown before.
const KEPT_AMONG: usize = 100;

/// Everything that is shown, and everything that decides what is to be computed.
pub struct State {
    /// The open model; `None` while the first is opened.
    pub model: Option<Arc<ModelInfo>>,
    /// The model being opened.
    pub opening: Option<PathBuf>,
    /// What opening it is at.
    pub step: Option<Step>,
    /// The images.
    pub images: Vec<ImageEntry>,
    /// The one that is shown.
    pub image: usize,
    /// The model's answers, by photo.
    pub scores: HashMap<u64, Arc<Scores>>,
    /// What share of each layer's numbers saturates, by photo.
    pub saturation: HashMap<u64, Saturation>,
    /// How the numbers of layers are spread, by photo and layer, or why that isn't known.
    pub spreads: HashMap<(u64, usize), Result<Arc<Spread>, String>>,
    /// Whether that is shown of the layer.
    pub histogram: bool,
    /// Heatmaps.
    pub heats: Cache<HeatKey, Heat>,
    /// Why a heatmap could not be had.
    pub failed: HashMap<HeatKey, String>,
    /// Pictures as the terminal takes them.
    pub pictures: Cache<TileKey, Arc<Picture>>,
    /// Counts the times that all pictures had to be drawn anew.
    pub round: u32,
    /// What was shown last in each place of the picture area, for as long as its successor isn't there.
    pub shown: HashMap<usize, (TileKey, Arc<Picture>)>,
    /// The class that was asked for on the command line, until a model and its answer say which it is.
    pub asked_target: Option<ClassSpec>,
    /// The layer that was asked for on the command line, until a model says which it is.
    pub asked_layer: Option<Choice>,
    /// Whether the method was chosen by somebody: then a model's own doesn't replace it.
    pub asked_method: bool,
    /// What is explained: its place in [`Scores::values`], which for a class is the class's number. `None`: the one of [`State::rank`] in
    /// each image.
    pub target: Option<usize>,
    /// What was stepped to on another image, by name: it is shown on the next one too, where the model finds it there.
    pub kept: Option<String>,
    /// Whether the target stays when the image changes: it was searched for, not stepped to.
    pub target_stays: bool,
    /// How likely a class is shown where none was chosen; 0: the likeliest.
    pub rank: usize,
    /// Targets kept for comparing.
    pub pinned: Vec<usize>,
    /// The layer.
    pub layer: usize,
    /// What is known of each layer.
    pub layers: Vec<LayerState>,
    /// Whether the layers beyond the default one have been asked for.
    pub layers_wanted: bool,
    /// The groups of layers that somebody opened or folded.
    pub folds: HashMap<usize, bool>,
    /// Only layers whose line holds this.
    pub filter: String,
    /// Position in [`method::all`].
    pub method: usize,
    /// The name of the colormap.
    pub colormap: String,
    /// The photo's weight in the overlay.
    pub alpha: f32,
    /// How heatmaps are enlarged.
    pub enlarge: Enlarge,
    /// Whether boxes that the model found are drawn.
    pub boxes: bool,
    /// What the picture shows.
    pub view: View,
    /// What part of it.
    pub zoom: Zoom,
    /// The crosshair, as fractions of the photo.
    pub crosshair: Option<(f32, f32)>,
    /// Where the mouse is: fractions of the photo.
    pub pointer: Option<(f32, f32)>,
    /// What a drag takes hold of: fractions of the photo under the mouse, whichever it is.
    pub held: Option<(f32, f32)>,
    /// What has the keyboard.
    pub mode: Mode,
    /// A line to show until the next key.
    pub message: Option<Message>,
    /// Lines of which the first is shown while nothing else is.
    pub notes: VecDeque<String>,
    /// Times.
    pub times: Times,
    /// How far the heatmap is that takes many passes: which, and the passes that are done, of how many.
    pub progress: Option<(HeatKey, usize, usize)>,
    /// Methods of many passes of which a thumbnail was asked for.
    pub asked_thumbnails: Vec<usize>,
    /// How many runs, and pictures of what they give, are waited for.
    pub queue: usize,
    /// How much of the picture has come over a slow line, in percent; another one stands in its place until it is whole.
    pub on_the_way: Option<u8>,
    /// Columns and rows.
    pub size: (u16, u16),
    /// What the terminal can show.
    pub screen: Screen,
    /// The keys.
    pub keymap: Keymap,
    /// Colours that differ from the built-in ones.
    pub paints: Paints,
    /// Whether the interface is without colours.
    pub no_color: bool,
    /// The person's own folder, which `~` stands for in a path.
    pub home: Option<PathBuf>,
    /// What another command is doing.
    pub working: Option<String>,
    /// Folders whose new images are noticed.
    pub folders: Vec<PathBuf>,
    /// A file that is there already: saving to it once more overwrites it.
    pub overwrite: Option<PathBuf>,
    /// The image shown before one was opened by its path; where that cannot be read, it is gone back to.
    pub came_from: Option<(PathBuf, usize)>,
    /// What is about comparing two of something.
    pub comparing: Comparing,
    /// What was asked for beside what the model says.
    pub asking: Asking,
    /// In which order the images stand.
    pub sorting: Sorting,
    /// Whether to leave.
    pub quitting: bool,
    /// What was computed from the rest.
    pub remembered: Remembered,
}

/// The photo of that number, if it is this one, or this one as a second model takes it.
fn known_as(photo: &Arc<Photo>, id: u64) -> Option<&Arc<Photo>> {
    match &photo.beside {
        _ if photo.id == id => Some(photo),
        Some(Ok(other)) if other.id == id => Some(other),
        _ => None,
    }
}

impl State {
    /// Nothing open yet.
    pub fn new(screen: Screen, size: (u16, u16), keymap: Keymap) -> Self {
        Self {
            model: None,
            opening: None,
            step: None,
            images: Vec::new(),
            image: 0,
            scores: HashMap::new(),
            saturation: HashMap::new(),
            spreads: HashMap::new(),
            histogram: false,
            heats: Cache::new(MEMORY / 2),
            failed: HashMap::new(),
            pictures: Cache::new(MEMORY / 2),
            round: 0,
            shown: HashMap::new(),
            asked_target: None,
            asked_layer: None,
            asked_method: false,
            target: None,
            kept: None,
            target_stays: false,
            rank: 0,
            pinned: Vec::new(),
            layer: 0,
            layers: Vec::new(),
            layers_wanted: false,
            filter: String::new(),
            method: 0,
            colormap: overlay::all().next().map_or("jet", |map| map.name()).to_owned(),
            alpha: overlay::DEFAULT_ALPHA,
            enlarge: Enlarge::default(),
            folds: HashMap::new(),
            boxes: true,
            view: View::default(),
            zoom: Zoom::default(),
            crosshair: None,
            pointer: None,
            held: None,
            mode: Mode::default(),
            message: None,
            notes: VecDeque::new(),
            times: Times::default(),
            progress: None,
            asked_thumbnails: Vec::new(),
            queue: 0,
            on_the_way: None,
            size,
            screen,
            keymap,
            paints: Paints::default(),
            no_color: false,
            home: std::env::home_dir(),
            working: None,
            folders: Vec::new(),
            overwrite: None,
            came_from: None,
            comparing: Comparing::default(),
            asking: Asking::default(),
            sorting: Sorting::default(),
            quitting: false,
            remembered: Remembered::default(),
        }
    }

    /// A path as it was typed, with the person's own folder in the place of a leading `~`.
    pub fn typed_path(&self, text: &str) -> PathBuf {
        let text = text.trim();
        match (text.strip_prefix('~'), &self.home) {
            (Some(""), Some(home)) => home.clone(),
            (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
            _ => PathBuf::from(text),
        }
    }

    /// The photo that is shown.
    pub fn photo(&self) -> Option<&Arc<Photo>> {
        self.images.get(self.image)?.photo.as_ref()
    }

    /// A photo that is read, by its number.
    pub fn photo_by(&self, id: u64) -> Option<&Arc<Photo>> {
        // It is the one that is shown nearly always.
        let of = |photo| known_as(photo, id);
        self.photo().and_then(of).or_else(|| self.images.iter().filter_map(|entry| entry.photo.as_ref()).find_map(of))
    }

    /// The heatmap of another image for what is explained: the same class, or what the model found there of the same label.
    pub fn key_in(&self, image: usize) -> Option<HeatKey> {
        self.same_in(image, self.current_key()?)
    }

    /// The heatmap of another image for what `key` is of in the one that is shown.
    pub fn same_in(&self, image: usize, key: HeatKey) -> Option<HeatKey> {
        if image == self.image {
            return Some(key);
        }
        let entry = self.images.get(image).filter(|entry| !entry.stale)?;
        let photo = entry.photo.as_ref()?;
        let (scores, here) = (self.scores.get(&photo.id)?, self.current_scores()?);
        let target = match here.asked(key.target) {
            None => Some(key.target).filter(|class| *class < scores.classes()),
            Some(asked) => {
                let is_same = |other: &crate::engine::Asked| match &asked.label {
                    Some(label) => other.label.as_ref() == Some(label),
                    None => other.spec == asked.spec,
                };
                scores.asked.iter().position(is_same).map(|at| at + scores.classes())
            }
        }?;
        Some(HeatKey { photo: photo.id, target, ..key })
    }

    /// What the model says of it.
    pub fn current_scores(&self) -> Option<&Arc<Scores>> {
        self.scores.get(&self.photo()?.id)
    }

    /// What share of a layer's numbers saturates for the photo that is shown, in words.
    pub fn saturated(&self, layer: usize) -> Option<&str> {
        self.saturation.get(&self.photo()?.id)?.get(layer)?.as_deref()
    }

    /// Whether the model found nothing that it is sure of in the photo that is shown, where it finds things, and nothing else was asked.
    pub fn finds_nothing(&self) -> bool {
        let finds = self.model.as_ref().is_some_and(|model| model.asks.is_none() && !model.is_embedding);
        finds
            && self.current_scores().is_some_and(|scores| scores.ranking.is_empty())
            && self.current_target().is_none()
    }

    /// What is explained: the chosen target, else the first of the ranking.
    pub fn current_target(&self) -> Option<usize> {
        self.target.or_else(|| self.kept_target()).or_else(|| self.current_scores()?.ranking.get(self.rank).copied())
    }

    /// What was looked at on the image before, where the model finds it in this one: a box or a segment of that label, or a class that is
    /// not out of the question.
    fn kept_target(&self) -> Option<usize> {
        let (kept, scores) = (self.kept.as_ref()?, self.current_scores()?);
        let is_found = |target: &usize| scores.probability(*target).is_none_or(|probability| probability >= LIKELY);
        let mut ranked = scores.ranking.iter().copied().take(KEPT_AMONG).filter(is_found);
        ranked.find(|target| self.label(*target).as_ref() == Some(kept))
    }

    /// A target's label, the same on all images; of one that was asked for without a label how it was asked for.
    pub fn label(&self, target: usize) -> Option<String> {
        let scores = self.current_scores()?;
        match scores.asked(target) {
            Some(asked) => Some(asked.label.clone().unwrap_or_else(|| asked.spec.clone())),
            None => Some(self.model.as_ref()?.labels.name(target)),
        }
    }

    /// The heatmap that is shown.
    pub fn current_key(&self) -> Option<HeatKey> {
        self.key(self.current_target()?, self.layer)
    }

    /// The heatmap of another target or layer of the photo that is shown.
    pub fn key(&self, target: usize, layer: usize) -> Option<HeatKey> {
        // A method that looks at the input alone gives the same heat whatever the layer.
        let looks = method::nth(self.method).is_none_or(|method| method.needs().layer);
        let layer = if looks { layer } else { self.model.as_ref()?.default_layer };
        Some(HeatKey { photo: self.photo()?.id, target, layer, method: self.method })
    }

    /// How many channels the layer has that is shown; some number where that isn't known.
    pub fn channels(&self) -> usize {
        let layer = self.model.as_ref().and_then(|model| model.layers.get(self.layer));
        layer.and_then(|layer| layer.channels.parse().ok()).unwrap_or(512)
    }

    /// The method's name.
    pub fn method_name(&self) -> &'static str {
        method::nth(self.method).map_or("", |method| method.name())
    }

    /// A target's name: a class's label, or how it was asked for.
    pub fn target_name(&self, target: usize) -> String {
        if let Some(asked) = self.current_scores().and_then(|scores| scores.asked(target)) {
            return match (&asked.label, asked.class) {
                (Some(label), _) if asked.spec.starts_with(SIMILAR) => label.clone(),
                (Some(label), _) if asked.is_text() => format!("{} ({})", text::visible(label), asked.spec),
                (Some(label), _) => format!("{label} ({})", asked.spec),
                (None, Some(class)) => format!("#{class} ({})", asked.spec),
                (None, None) => asked.spec.clone(),
            };
        }
        self.model.as_ref().map_or_else(|| format!("class {target}"), |model| model.labels.name(target))
    }

    /// The targets in the order of the list: pinned ones, then by rank.
    pub fn target_list(&self) -> Vec<usize> {
        let mut list = self.pinned.clone();
        if let Some(scores) = self.current_scores() {
            list.extend(scores.ranking.iter().filter(|class| !self.pinned.contains(class)));
        }
        list
    }

    /// The layers that can be chosen: those of the tree as it is folded, or those that the filter lets through.
    pub fn layer_list(&self) -> Vec<usize> {
        tree::rows(self).iter().filter(|row| row.is_chosen_from()).map(|row| row.layer).collect()
    }

    /// A layer's share of the heat, of the layers whose heat is known that with the most being 1; `None` where it isn't known.
    pub fn heat_shares(&self) -> Shares {
        self.remembered.shares(self, || self.compute_shares())
    }

    fn compute_shares(&self) -> HashMap<usize, f32> {
        let (Some(model), Some(target)) = (&self.model, self.current_target()) else { return HashMap::new() };
        // A method that doesn't look at a layer has the same heat everywhere.
        if method::nth(self.method).is_some_and(|method| !method.needs().layer) {
            return HashMap::new();
        }
        let total = |layer: usize| Some((layer, self.heats.get(&self.key(target, layer)?)?.total()));
        // Several layers as one have a scale of their own.
        let single = |layer: &usize| model.layers[*layer].layout != "fused";
        let totals: HashMap<usize, f32> = (0..model.layers.len()).filter(single).filter_map(total).collect();
        let most = totals.values().copied().fold(0.0, f32::max);
        totals.into_iter().map(|(layer, total)| (layer, if most > 0.0 { total / most } else { 0.0 })).collect()
    }

    /// What share of the heat that is shown lies in the box that it is of, from 0 to 1; `None` where it is no box, or there is no heat.
    pub fn heat_in_box(&self) -> Option<f32> {
        let key = self.current_key()?;
        let corners = self.current_scores()?.asked(key.target)?.corners?;
        let (photo, heat) = (self.photo()?, self.heats.get(&key)?);
        self.remembered.inside(key, || heat_inside(photo, heat, corners))
    }

    /// The target that `contrast` sets against the current one: the first other pinned one, else the likeliest other.
    pub fn rival(&self) -> Option<usize> {
        let current = self.current_target()?;
        let pinned = self.pinned.iter().find(|class| **class != current).copied();
        pinned.or_else(|| self.current_scores()?.ranking.iter().find(|class| **class != current).copied())
    }

    /// Says something until the next key.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), is_error: false });
    }

    /// Says the first of the notes on the photo that is shown.
    pub fn say_what_to_know_of_the_photo(&mut self) {
        let Some(entry) = self.images.get(self.image) else { return };
        if let Some(note) = entry.photo.as_ref().and_then(|photo| photo.notes.first()) {
            self.say(format!("{}: {note}", printable_path(&entry.path)));
        }
    }

    /// Says that something went wrong.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), is_error: true });
    }
}
