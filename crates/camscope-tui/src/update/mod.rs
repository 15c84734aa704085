//! How the state changes: `update` is the only place where it does. It computes nothing that takes time, and does nothing
//! outside of the state: that is what the commands are for, and `wanted`.

mod arrivals;
mod asking;
mod comparing;
mod mouse;
mod outside;
mod pointing;
mod refusing;
mod typing;

use camscope_core::{
    method,
    overlay::{self, Enlarge},
};
use crossterm::event::{KeyEvent, KeyEventKind, KeyModifiers};

use crate::{
    action::{Action, View},
    keymap::Key,
    message::{Command, Message},
    prompt::{Prompt, Purpose},
    state::{Help, LayerState, Mode, Order, SIMILAR, State, Zoom},
    tree,
};

use outside::{copy_command, open_other, open_save};
pub use refusing::act;

/// What one step of `+` and `-` changes.
const ALPHA_STEP: f32 = 0.1;
const ZOOM_STEP: f32 = 1.5;
const CLOSEST: f32 = 32.0;
/// What one step of moving shifts, as a fraction of what is seen.
const MOVE_STEP: f32 = 0.1;
const CROSSHAIR_STEP: f32 = 0.02;

/// Changes the state by one message and says what else is to be done.
pub fn update(state: &mut State, message: Message) -> Vec<Command> {
    let mut commands = match message {
        Message::Key(key) if key.kind == KeyEventKind::Release => Vec::new(),
        Message::Key(key) => self::key(state, key),
        Message::Act(action) => {
            state.message = None;
            act(state, action)
        }
        Message::Paste(text) => typing::paste(state, &text),
        Message::Mouse(event) => mouse::mouse(state, event),
        Message::Resize(size, cell) => {
            state.size = size;
            if let Some(cell) = cell.filter(|cell| *cell != state.screen.cell) {
                state.screen.cell = cell;
                state.pictures.retain(|_| false);
            }
            state.shown.clear();
            vec![Command::Redraw]
        }
        Message::Redraw => vec![Command::Redraw],
        Message::Screen => {
            state.pictures.retain(|_| false);
            state.shown.clear();
            state.notes = state.screen.notes.iter().cloned().collect();
            vec![Command::Redraw]
        }
        Message::Plugins(news) => arrivals::plugins(state, &news),
        Message::Terminate => act(state, Action::Quit),
        Message::Changed(path) => arrivals::changed(state, &path),
        other => arrivals::arrived(state, other),
    };
    if state.sorting.order.needs_answers() {
        state.sort_images();
    }
    if let Some(entry) = state.images.get_mut(state.image)
        && entry.photo.is_some()
    {
        entry.seen = true;
    }
    // Whoever looks beyond the default layer wants the others made ready.
    if let Some(model) = &state.model
        && !state.layers_wanted
        && (state.view == View::Sweep || state.layer != model.default_layer || has_first_heat(state))
    {
        state.layers_wanted = true;
        commands.push(Command::PrepareLayers);
    }
    commands
}

/// A key.
fn key(state: &mut State, key: KeyEvent) -> Vec<Command> {
    // A note has been read when the next key is pressed; then comes the next one.
    let is_read = state.message.take().is_some();
    let is_noted = !is_read && state.opening.is_none() && state.notes.pop_front().is_some();
    // Whatever has the keyboard, this ends the program.
    let ends = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == crossterm::event::KeyCode::Char('c');
    match std::mem::take(&mut state.mode) {
        _ if ends => act(state, Action::Quit),
        Mode::Normal => match state.keymap.action(Key::from(key)) {
            Some(action) => act(state, action),
            None => {
                refusing::no_action(state, key, is_read || is_noted);
                Vec::new()
            }
        },
        Mode::Help(help) => typing::help(state, help, key),
        Mode::Prompt(prompt) => typing::prompt(state, prompt, key),
        Mode::Form(form) => asking::form(state, form, key),
    }
}

/// Whether the first picture is there: from then on the machine is idle, and the other layers can be made ready.
fn has_first_heat(state: &State) -> bool {
    state.current_key().is_some_and(|key| state.heats.get(&key).is_some() || state.failed.contains_key(&key))
}

/// Does what is asked for.
fn perform(state: &mut State, action: Action) -> Vec<Command> {
    match action {
        Action::NextClass => step_class(state, 1),
        Action::PreviousClass => step_class(state, -1),
        Action::TopClass => {
            (state.target, state.rank) = (None, 0);
            state.target_stays = false;
            state.kept = None;
        }
        Action::NextLayer => step_layer(state, 1),
        Action::PreviousLayer => step_layer(state, -1),
        Action::NextLayers => step_layer(state, 10),
        Action::PreviousLayers => step_layer(state, -10),
        Action::FirstLayer => step_layer(state, isize::MIN),
        Action::LastLayer => step_layer(state, isize::MAX),
        Action::AutoLayer => {
            if let Some(model) = &state.model {
                state.layer = model.default_layer;
            }
        }
        Action::NextImage => step_image(state, 1),
        Action::PreviousImage => step_image(state, -1),
        Action::NextView => comparing::step_view(state, 1),
        Action::PreviousView => comparing::step_view(state, -1),
        Action::View(view) => comparing::choose_view(state, view),
        Action::CompareWith => open_prompt(state, Purpose::CompareWith, String::new()),
        Action::Mark => comparing::mark(state),
        Action::Scale => comparing::scale(state),
        Action::Drift => comparing::drift(state),
        Action::Rank => comparing::rank(state),
        Action::TakeBest => comparing::take_best(state),
        Action::Methods => open_prompt(state, Purpose::Methods, String::new()),
        Action::NextMethod => step_method(state, 1),
        Action::PreviousMethod => step_method(state, -1),
        Action::Fold => tree::fold(state),
        Action::FoldAll => tree::fold_all(state),
        Action::NextEnlarge => step_enlarge(state),
        Action::NextColormap => step_colormap(state, 1),
        Action::PreviousColormap => step_colormap(state, -1),
        Action::MoreHeat => step_alpha(state, -ALPHA_STEP),
        Action::MorePhoto => step_alpha(state, ALPHA_STEP),
        Action::ZoomIn => zoom(state, ZOOM_STEP, None),
        Action::ZoomOut => zoom(state, 1.0 / ZOOM_STEP, None),
        Action::ZoomReset => state.zoom = Zoom::default(),
        Action::Move(right, down) => shift(state, f32::from(right), f32::from(down)),
        Action::Boxes => state.boxes = !state.boxes,
        Action::Crosshair => {
            state.crosshair = if state.crosshair.is_some() { None } else { Some(state.zoom.centre) };
        }
        Action::Histogram => state.histogram = !state.histogram,
        Action::Pin => pin(state),
        Action::Target => return asking::open_target(state, ""),
        Action::Similar => return asking::open_target(state, SIMILAR),
        Action::Inputs => asking::open_form(state),
        Action::Order => return step_order(state),
        Action::SearchImage => open_prompt(state, Purpose::Images, String::new()),
        Action::Export => open_other(state, Purpose::Export),
        Action::Report => open_other(state, Purpose::Report),
        Action::SearchClass => open_prompt(state, Purpose::SearchClass, String::new()),
        Action::FilterLayers => open_prompt(state, Purpose::FilterLayers, state.filter.clone()),
        Action::Open => {
            open_prompt(state, Purpose::Open, folder_of_image(state));
            return typing::complete(state);
        }
        Action::Palette => open_prompt(state, Purpose::Palette, String::new()),
        Action::Save => open_save(state, "png"),
        Action::SaveArray => open_save(state, "npy"),
        Action::SaveJson => open_save(state, "json"),
        Action::CopyCommand => return copy_command(state),
        Action::Help => state.mode = Mode::Help(Help::default()),
        Action::Redraw => return vec![Command::Redraw],
        Action::Suspend => return vec![Command::Suspend],
        Action::Quit => state.quitting = true,
    }
    Vec::new()
}

fn step_class(state: &mut State, by: isize) {
    let list = state.target_list();
    let Some(current) = state.current_target() else { return };
    let at = list.iter().position(|class| *class == current).unwrap_or(0);
    let next = at.saturating_add_signed(by).min(list.len().saturating_sub(1));
    if let Some(class) = list.get(next) {
        state.target = Some(*class);
        state.target_stays = false;
    }
}

/// Explains a class that was asked for by name: it stays when the image changes.
fn choose_target(state: &mut State, class: usize) {
    state.target = Some(class);
    state.target_stays = true;
}

fn step_layer(state: &mut State, by: isize) {
    let list = state.layer_list();
    // Of a filtered list the layer may not be part: its neighbours are.
    let at = list.partition_point(|layer| *layer < state.layer);
    let next = match list.get(at) {
        Some(layer) if *layer == state.layer => at.saturating_add_signed(by),
        _ if by > 0 => at.saturating_add_signed(by - 1),
        _ => at.saturating_add_signed(by),
    };
    if let Some(layer) = list.get(next.min(list.len().saturating_sub(1))) {
        state.layer = *layer;
    }
}

fn step_image(state: &mut State, by: isize) {
    let count = state.images.len();
    if count > 0 {
        go_to_image(state, (state.image as isize + by).rem_euclid(count as isize) as usize);
    }
}

fn go_to_image(state: &mut State, image: usize) {
    if image == state.image {
        return;
    }
    if !state.target_stays
        && let Some(target) = state.target.take()
    {
        state.kept = state.label(target);
    }
    state.image = image;
    state.zoom = Zoom::default();
    state.pointer = None;
    state.say_what_to_know_of_the_photo();
}

fn step_method(state: &mut State, by: isize) {
    choose_method(state, (state.method as isize + by).rem_euclid(method::all().len() as isize) as usize);
}

fn choose_method(state: &mut State, method: usize) {
    state.method = method;
    state.asked_method = true;
    if let Some(method) = method::nth(method) {
        let from = method.plugin().map_or(String::new(), |plugin| format!(", of the plugin {plugin}"));
        state.say(format!("{}: {}{from}", method.name(), method.about()));
    }
}

fn step_colormap(state: &mut State, by: isize) {
    let all: Vec<_> = overlay::all().collect();
    let at = crate::tiles::position(&state.colormap) as isize;
    let map = all[(at + by).rem_euclid(all.len() as isize) as usize];
    state.colormap = map.name().to_owned();
    let mark = map.plugin().map_or_else(String::new, |plugin| format!(", of the plugin {plugin}"));
    state.say(format!("colormap {}{mark}", map.name()));
}

fn step_enlarge(state: &mut State) {
    let at = Enlarge::ALL.iter().position(|enlarge| *enlarge == state.enlarge).unwrap_or(0);
    state.enlarge = Enlarge::ALL[(at + 1) % Enlarge::ALL.len()];
    let about = match state.enlarge {
        Enlarge::Bicubic => "smooth",
        Enlarge::Bilinear => "straight lines between the cells' centres",
        Enlarge::Nearest => "the cells as the model computed them",
    };
    state.say(format!("enlarged {}: {about}", state.enlarge));
}

fn step_order(state: &mut State) -> Vec<Command> {
    let order = state.sorting.order.next();
    state.choose_order(order);
    let of = state.current_target().filter(|_| order.needs_answers()).map(|target| state.target_name(target));
    let of = of.map(|name| format!(" of {name}")).unwrap_or_default();
    state.say(format!("images are sorted {}{of}", order.name()));
    match order {
        Order::Time => vec![Command::FileTimes(state.images.iter().map(|entry| entry.path.clone()).collect())],
        _ => Vec::new(),
    }
}

fn step_alpha(state: &mut State, by: f32) {
    // In tenths, so that ten steps end exactly at the end.
    state.alpha = (((state.alpha + by) * 10.0).round() / 10.0).clamp(0.0, 1.0);
    state.say(format!("photo {:.0} %, heat {:.0} %", 100.0 * state.alpha, 100.0 * (1.0 - state.alpha)));
}

/// Zooms by a factor; the point given stays where it is.
fn zoom(state: &mut State, by: f32, at: Option<(f32, f32)>) {
    let before = state.zoom.window();
    let factor = (state.zoom.factor * by).clamp(1.0, CLOSEST);
    // Steps back end at exactly 1.
    let factor = if factor < 1.01 { 1.0 } else { factor };
    let at = at.or(state.crosshair).unwrap_or(state.zoom.centre);
    let size = 1.0 / factor;
    let centre = |point: f32, start: f32, length: f32| {
        let place = ((point - start) / length).clamp(0.0, 1.0);
        point - place * size + size / 2.0
    };
    state.zoom = Zoom { factor, centre: (centre(at.0, before[0], before[2]), centre(at.1, before[1], before[3])) };
    clamp_centre(&mut state.zoom);
}

fn clamp_centre(zoom: &mut Zoom) {
    let half = 0.5 / zoom.factor;
    zoom.centre = (zoom.centre.0.clamp(half, 1.0 - half), zoom.centre.1.clamp(half, 1.0 - half));
}

fn shift(state: &mut State, right: f32, down: f32) {
    if let Some((x, y)) = &mut state.crosshair {
        let step = CROSSHAIR_STEP / state.zoom.factor.sqrt();
        *x = (*x + right * step).clamp(0.0, 0.9999);
        *y = (*y + down * step).clamp(0.0, 0.9999);
    } else if state.zoom.factor > 1.0 {
        let step = MOVE_STEP / state.zoom.factor;
        state.zoom.centre = (state.zoom.centre.0 + right * step, state.zoom.centre.1 + down * step);
        clamp_centre(&mut state.zoom);
    } else {
        state.say("zoom in first, or turn the crosshair on");
    }
}

fn pin(state: &mut State) {
    let Some(class) = state.current_target() else { return };
    let name = state.target_name(class);
    match state.pinned.iter().position(|pinned| *pinned == class) {
        Some(at) => {
            state.pinned.remove(at);
            state.say(format!("{name} is no longer pinned"));
        }
        None => {
            state.pinned.push(class);
            state.target = Some(class);
            state.say(format!("{name} is pinned"));
        }
    }
}

fn open_prompt(state: &mut State, purpose: Purpose, text: String) {
    let mut prompt = Prompt::new(purpose, text);
    typing::suggest(state, &mut prompt);
    state.mode = Mode::Prompt(prompt);
}

fn folder_of_image(state: &State) -> String {
    let folder = state.images.get(state.image).and_then(|entry| entry.path.parent());
    match folder.map(|folder| folder.to_string_lossy().into_owned()) {
        Some(folder) if !folder.is_empty() => format!("{}/", folder.trim_end_matches('/')),
        _ => String::new(),
    }
}

/// Whether a layer is known to have no gradient, and why.
pub fn layer_reason(state: &State, layer: usize) -> Option<&str> {
    match state.layers.get(layer) {
        Some(LayerState::Without(reason)) => Some(reason),
        _ => None,
    }
}
