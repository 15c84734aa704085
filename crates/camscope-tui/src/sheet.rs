//! A view as one picture, without a terminal: what `s` saves, and what the command that `y` copies draws again.

use std::{path::Path, sync::Arc};

use camscope_core::{
    method,
    overlay::{self, Cell, Enlarge, Mark},
    runtime::Canceller,
    target::ClassSpec,
};
use image::RgbImage;
use ratatui::layout::Rect;

use crate::{
    action::View,
    compare::{self, Other, With},
    compose::{Drawing, Scaled, draw},
    engine::{Engine, Fault, Heat, HeatKey, Photo, Result},
    graphics::{Protocol, Screen},
    keymap::Keymap,
    state::{ImageEntry, LayerState, State, Zoom},
    tiles::{self, Chooses, Content, Tile, TileKey},
    wanted::marks,
};

/// The longer side of each picture of a few, and of many.
const SIDES: [u32; 2] = [480, 320];
/// What counts as a few.
const FEW: usize = 4;
/// The most pictures side by side.
const WIDEST: usize = 8;

/// A picture and what it is of.
struct Panel {
    key: TileKey,
    photo: Arc<Photo>,
    marks: Arc<Vec<Mark>>,
    heats: Vec<(HeatKey, Arc<Photo>, Option<Heat>)>,
    lines: Vec<String>,
    /// Whether the sheet is nothing without it.
    is_needed: bool,
}

/// Everything that a view shows, also what there is no room for on a screen.
pub struct Sheet {
    panels: Vec<Panel>,
    /// How many panels belong together, one part after the other; each begins a row.
    parts: Vec<usize>,
}

/// What a view shows: the targets and the layers that it compares.
pub struct Shown {
    /// The targets, the current one first unless there are many.
    pub targets: Vec<usize>,
    /// The layers.
    pub layers: Vec<usize>,
}

impl Shown {
    /// What the explorer's view shows.
    pub fn of(state: &State) -> Option<Self> {
        let target = state.current_target();
        let targets = match state.view {
            View::Classes => tiles::compared_classes(state),
            View::Contrast => target.into_iter().chain(state.rival()).collect(),
            _ => target.into_iter().collect(),
        };
        let layers = match state.view {
            View::Sweep => tiles::sweep_layers(state),
            _ if looks_at_a_layer(state) => vec![state.layer],
            _ => state.model.iter().map(|model| model.default_layer).collect(),
        };
        (state.photo().is_some() && (!targets.is_empty() || state.view == View::Photo))
            .then_some(Self { targets, layers })
    }
}

/// Whether the method's heat depends on the layer.
fn looks_at_a_layer(state: &State) -> bool {
    method::nth(state.method).is_none_or(|method| method.needs().layer)
}

/// A target's name under a picture: with its label also where it was asked for without one.
pub fn name(state: &State, target: usize) -> String {
    let Some(scores) = state.current_scores() else { return state.target_name(target) };
    let asked = scores.asked(target).filter(|asked| asked.label.is_none());
    let same =
        asked.and_then(|asked| scores.asked.iter().position(|other| other.spec == asked.spec && other.label.is_some()));
    state.target_name(same.map_or(target, |at| at + scores.classes()))
}

/// The photo that one is compared with by a target that names it.
fn compared_with(state: &State, target: usize) -> Option<(Content, Vec<String>)> {
    let at = state.compared_with(target)?;
    let entry = state.asking.others.get(at).filter(|entry| entry.photo.is_some())?;
    let name = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Some((Content::Other(at), vec![name, "what it is compared with".into()]))
}

impl Sheet {
    /// The sheet of the state's view with these targets and layers.
    pub fn of(state: &State, shown: &Shown) -> Option<Self> {
        let photo = state.photo()?;
        let first = shown.targets.first().copied();
        let layer = *shown.layers.first()?;
        let key = |target: usize, layer: usize| state.key(target, layer);
        let method = state.method_name();
        let of_target = |target: usize| {
            let probability = state.current_scores().and_then(|scores| scores.probability(target));
            let percent = probability.map(|probability| format!(" {:.1} %", 100.0 * probability));
            name(state, target) + &percent.unwrap_or_default()
        };
        let of_layer = |layer: usize| {
            state.model.as_ref()?.layers.get(layer).map(|layer| format!("{} {}", layer.name, layer.size))
        };
        let by = |layer: usize| {
            of_layer(layer)
                .filter(|_| looks_at_a_layer(state))
                .map_or_else(|| method.to_owned(), |layer| format!("{method} · {layer}"))
        };
        let mut contents: Vec<(Content, Vec<String>)> = Vec::new();
        let overlay = |target| Some((Content::Overlay(key(target, layer)?), vec![of_target(target), by(layer)]));
        let mut parts = None;
        match (state.view, first) {
            (View::Photo, _) | (_, None) => contents.push((Content::Photo, Vec::new())),
            (View::Overlay, Some(target)) => {
                contents.extend(overlay(target));
                contents.extend(compared_with(state, target));
            }
            (View::Photos, Some(target)) => contents.extend(overlay(target)),
            (View::Heatmap, Some(target)) => contents.push((Content::Heat(key(target, layer)?), Vec::new())),
            (View::SideBySide, Some(target)) => {
                contents.push((Content::Photo, vec!["photo".into()]));
                contents.extend(overlay(target));
            }
            (View::Sweep, Some(target)) => {
                for layer in &shown.layers {
                    let lines = vec![of_layer(*layer).unwrap_or_default(), format!("{} · {method}", of_target(target))];
                    contents.push((Content::Overlay(key(target, *layer)?), lines));
                }
                parts = Some(tiles::stages(state, &shown.layers));
            }
            (View::Classes, Some(_)) => contents.extend(shown.targets.iter().filter_map(|target| overlay(*target))),
            (View::Contrast, Some(target)) => {
                contents.extend(overlay(target));
                if let Some(rival) = shown.targets.get(1).copied() {
                    let both = Content::Difference(key(target, layer)?, key(rival, layer)?);
                    contents.push((both, vec![format!("{} − {}", name(state, target), name(state, rival)), by(layer)]));
                    contents.extend(overlay(rival));
                }
            }
            (View::Compare | View::Difference, Some(target)) => {
                let all = compare::contents(state, key(target, layer)?);
                contents.extend(all.into_iter().map(|(content, _, _)| (content, compare::lines(state, content))));
            }
        }
        let many = contents.len();
        let panel = |(content, lines): (Content, Vec<String>)| {
            let tile = Tile {
                slot: 0,
                area: Rect::new(0, 0, 1, 1),
                caption: None,
                content,
                chooses: Chooses::Point,
                selected: false,
            };
            let key = tiles::key(state, &tile)?;
            let heat =
                |key: HeatKey| Some((key, Arc::clone(state.photo_by(key.photo)?), state.heats.get(&key).cloned()));
            let heats = content.heats().map(heat).collect::<Option<Vec<_>>>()?;
            let shown = tiles::photo_of(state, content).unwrap_or(photo);
            let photo = Arc::clone(heats.first().map_or(shown, |(_, photo, _)| photo));
            let marks = Arc::new(key.marks.map(|chosen| marks(state, photo.id, chosen)).unwrap_or_default());
            Some(Panel { key, photo, marks, heats, lines, is_needed: state.view != View::Sweep || many == 1 })
        };
        let panels: Vec<Panel> = contents.into_iter().map(panel).collect::<Option<_>>()?;
        let parts = parts.unwrap_or_else(|| vec![panels.len()]);
        (!panels.is_empty()).then_some(Self { panels, parts })
    }

    /// Draws it; heat that isn't there yet is computed. One picture has the photo's own size and no caption.
    ///
    /// # Errors
    /// Those of [`Engine::heat`]. Of a sweep a layer without heat is left out.
    pub fn draw(&self, engine: &dyn Engine) -> Result<RgbImage> {
        let canceller = Canceller::new();
        let mut scaled = Scaled::default();
        let own_size = |panel: &Panel| {
            let [_, _, width, height] = panel.key.window.map(f32::from_bits);
            let (w, h) = panel.photo.pixels.dimensions();
            (((w as f32 * width).round() as u32).max(1), ((h as f32 * height).round() as u32).max(1))
        };
        let side = SIDES[usize::from(self.panels.len() > FEW)];
        let is_one = self.panels.len() == 1;
        let mut fault = None;
        let mut cell = |panel: &Panel| -> Result<Option<Cell>> {
            let heat = |(key, photo, known): &(HeatKey, Arc<Photo>, Option<Heat>)| match known {
                Some(heat) => Ok(Arc::clone(heat)),
                None => engine.heat(*key, photo, &canceller),
            };
            let heats = match panel.heats.iter().map(heat).collect::<Result<Vec<_>>>() {
                Ok(heats) => heats,
                Err(error) if panel.is_needed => return Err(error),
                Err(error) => {
                    fault = Some(error);
                    return Ok(None);
                }
            };
            let (width, height) = own_size(panel);
            let size = if is_one {
                (width, height)
            } else {
                let scale = f64::from(side) / f64::from(width.max(height));
                let of = |length: u32| ((f64::from(length) * scale) as u32).max(1);
                (of(width), of(height))
            };
            let photos: Vec<&Photo> = panel.heats.iter().map(|(_, photo, _)| &**photo).collect();
            let mut lines = panel.lines.clone();
            lines.extend(compare::fact(panel.key.content, &photos, &heats));
            let drawing = Drawing {
                key: panel.key,
                photo: Arc::clone(&panel.photo),
                heats,
                second: panel.heats.get(1).map(|(_, photo, _)| Arc::clone(photo)),
                marks: Arc::clone(&panel.marks),
                has_all_labels: is_one,
            };
            Ok(Some(Cell { picture: draw(&drawing, size, &mut scaled), lines }))
        };
        let cells: Vec<Option<Cell>> = self.panels.iter().map(&mut cell).collect::<Result<_>>()?;
        if let ([Some(one)], true) = (cells.as_slice(), is_one) {
            return Ok(one.picture.clone());
        }
        let widest = widest(cells.len());
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        let mut rest = cells.as_slice();
        for part in &self.parts {
            let (here, after) = rest.split_at((*part).min(rest.len()));
            rest = after;
            let here: Vec<Cell> = here.iter().flatten().cloned().collect();
            rows.extend(here.chunks(widest).map(<[Cell]>::to_vec));
        }
        match rows.is_empty() {
            true => Err(fault.unwrap_or_else(|| Fault::Failed("there is no picture to save yet".into()))),
            false => Ok(overlay::sheet(&rows)),
        }
    }
}

/// How many of so many pictures stand side by side: a sheet somewhat wider than high.
fn widest(count: usize) -> usize {
    if count <= FEW { count.max(1) } else { ((count as f64 * 1.5).sqrt().ceil() as usize).clamp(1, WIDEST) }
}

/// A view that is asked for by words, as the copied command does.
pub struct Wish {
    /// The view.
    pub view: View,
    /// What is explained, as `--target` takes it; nothing: what the model says first.
    pub targets: Vec<String>,
    /// The layers by name; nothing: the default one.
    pub layers: Vec<String>,
    /// Position in [`camscope_core::method::all`]; `None`: the model's own.
    pub method: Option<usize>,
    /// The name of the colormap.
    pub colormap: String,
    /// The photo's weight.
    pub alpha: f32,
    /// How heat is enlarged.
    pub enlarge: Enlarge,
    /// Whether boxes are drawn.
    pub boxes: bool,
    /// The part of the photo: how much larger it is seen, and its middle.
    pub zoom: Zoom,
    /// What it is compared with; a model is the engine's second.
    pub against: Option<With>,
    /// Whether each heatmap that is compared has its own scale.
    pub own_scale: bool,
}

/// Draws a view of a photo.
///
/// # Errors
/// The photo cannot be read, there is no such target or layer, or the runtime fails.
pub fn picture(engine: &dyn Engine, path: &Path, wish: &Wish) -> Result<RgbImage> {
    let info = Arc::new(engine.info().clone());
    let photo = Arc::new(engine.photo(path)?);
    let scores = Arc::new(engine.scores(&photo, &Canceller::new())?);
    let mut state = State::new(Screen::new(Protocol::None), (80, 24), Keymap::preset());
    state.images = vec![ImageEntry { photo: Some(Arc::clone(&photo)), ..ImageEntry::new(path.to_owned()) }];
    state.scores.insert(photo.id, Arc::clone(&scores));
    let specs: Vec<String> = scores.asked.iter().map(|asked| asked.spec.clone()).collect();
    state.note_others(&specs);
    state.layers = vec![LayerState::Unknown; info.layers.len()];
    (state.view, state.alpha, state.enlarge) = (wish.view, wish.alpha, wish.enlarge);
    (state.boxes, state.zoom) = (wish.boxes, wish.zoom);
    state.colormap.clone_from(&wish.colormap);
    state.comparing.own_scale = wish.own_scale;
    (state.layer, state.method) = (info.default_layer, wish.method.unwrap_or(info.method));
    state.model = Some(Arc::clone(&info));
    let named = |name: &String| {
        let found = info.layers.iter().position(|layer| layer.name == *name);
        found.ok_or_else(|| {
            let near = camscope_core::nearest::nearest(name, info.layers.iter().map(|layer| &*layer.name));
            let near = if near.is_empty() { String::new() } else { format!("; the nearest: {}", near.join(", ")) };
            Fault::Failed(format!("there is no layer `{name}`{near}"))
        })
    };
    let layers: Vec<usize> = wish.layers.iter().map(named).collect::<Result<_>>()?;
    state.layer = layers.first().copied().unwrap_or(info.default_layer);
    let target = |spec: &String| -> Result<usize> {
        if let Some(at) = scores.asked.iter().position(|asked| asked.spec == *spec) {
            return Ok(at + scores.classes());
        }
        let class = spec.strip_prefix("class:").and_then(|class| class.parse::<ClassSpec>().ok());
        let class = class.ok_or_else(|| Fault::Failed(format!("the model says nothing of `{spec}` in this photo")))?;
        Ok(class.resolve(&scores.values[..scores.classes()], &info.labels)?)
    };
    let targets: Vec<usize> = wish.targets.iter().map(target).collect::<Result<_>>()?;
    state.target = targets.first().copied();
    if wish.view == View::Sweep && wish.layers.is_empty() {
        state.layers = engine
            .prepare_layers()?
            .into_iter()
            .map(|reason| reason.map_or(LayerState::Ready, LayerState::Without))
            .collect();
    }
    if let Some(with) = &wish.against {
        against(&mut state, engine, with)?;
    }
    if let Some(at) = state.current_target().and_then(|target| state.compared_with(target)) {
        let other = engine.photo(&state.asking.others[at].path)?;
        state.asking.others[at].photo = Some(Arc::new(other));
    }
    let mut shown = Shown::of(&state).ok_or_else(|| Fault::Failed("the model says nothing of this photo".into()))?;
    if targets.len() > 1 && matches!(wish.view, View::Classes | View::Contrast) {
        shown.targets = targets;
    }
    if !layers.is_empty() {
        shown.layers = layers;
    }
    let sheet = Sheet::of(&state, &shown).ok_or_else(|| Fault::Failed("there is nothing to draw".into()))?;
    sheet.draw(engine)
}

/// Puts into the state what is compared with, and what is known of it.
fn against(state: &mut State, engine: &dyn Engine, with: &With) -> Result<()> {
    let canceller = Canceller::new();
    let other = match with {
        With::Method(name) => {
            let method = method::all().iter().position(|method| method.name() == name);
            Other::Method(method.ok_or_else(|| Fault::Failed(format!("there is no method `{name}`")))?)
        }
        With::Photo(path) => {
            let photo = Arc::new(engine.photo(path)?);
            state.scores.insert(photo.id, Arc::new(engine.scores(&photo, &canceller)?));
            state.images.push(ImageEntry { photo: Some(photo), ..ImageEntry::new(path.clone()) });
            Other::Photo(path.clone())
        }
        With::Model(_) => {
            if let Some(Ok(photo)) = state.photo().and_then(|photo| photo.beside.clone()) {
                state.scores.insert(photo.id, Arc::new(engine.scores(&photo, &canceller)?));
            }
            Other::Model
        }
    };
    state.comparing.other = Some(other);
    let Some(first) = state.current_key() else { return Ok(()) };
    let second = compare::other_of(state, first).map_err(Fault::Failed)?;
    let second = second.ok_or_else(|| Fault::Failed("there is nothing to compare with".into()))?;
    // What has no heat is not drawn without a word.
    for key in [first, second] {
        if let Some(photo) = state.photo_by(key.photo).cloned() {
            let heat = engine.heat(key, &photo, &canceller)?;
            state.heats.put(key, heat.len() * 4, heat);
        }
    }
    Ok(())
}
