//! Thumbnails of the methods, while one is chosen: of what is explained, at the layer that is shown.

use camscope_core::method;

use super::{Chooses, Content, Tile, page, picture_room};
use crate::{
    engine::HeatKey,
    layout::areas,
    prompt::{Prompt, Purpose, Value, cost, passes},
    state::{Mode, State},
    view,
};

/// Up to so many forward passes a thumbnail is computed without being asked for.
pub(crate) const UNASKED: f64 = 10.0;
/// Fewer rows than this are no room for thumbnails.
const LEAST_ROWS: u16 = 8;

/// The list of methods that is open.
fn open(state: &State) -> Option<&Prompt> {
    match &state.mode {
        Mode::Prompt(prompt) if matches!(prompt.purpose, Purpose::Methods | Purpose::CompareWith) => Some(prompt),
        _ => None,
    }
}

/// Whether one is.
pub(crate) fn is_open(state: &State) -> bool {
    open(state).is_some() && state.current_key().is_some()
}

/// The heatmap of what is shown, by another method.
fn key_by(state: &State, method: usize) -> Option<HeatKey> {
    let mut key = state.current_key()?;
    let looks = |at: usize| method::nth(at).is_none_or(|method| method.needs().layer);
    key.layer = if looks(method) { state.layer } else { state.model.as_ref()?.default_layer };
    Some(HeatKey { method, ..key })
}

/// What stands in the place of the view while a method is chosen; `None` where none is, or there is no room for thumbnails.
pub(super) fn tiles(state: &State, aspect: f64) -> Option<Vec<Tile>> {
    let prompt = open(state)?;
    let mut room = picture_room(state);
    let top = view::popups::top(prompt, &areas(state.size, state.images.len()), view::lift(state));
    room.height = top.saturating_sub(room.y).min(room.height);
    if room.height < LEAST_ROWS || state.current_key().is_none() {
        return None;
    }
    let of = |value: &Value| match value {
        Value::Method(method) => Some(*method),
        _ => None,
    };
    let methods: Vec<usize> = prompt.items.iter().filter_map(|item| of(&item.value)).collect();
    let content = |method: &usize| {
        Some((Content::Overlay(key_by(state, *method)?), caption(state, *method)?, Chooses::Method(*method)))
    };
    let contents: Vec<_> = methods.iter().map(content).collect::<Option<_>>()?;
    let chosen = prompt.chosen().and_then(|item| of(&item.value));
    let selected = methods.iter().position(|method| Some(*method) == chosen);
    let mut tiles = page(state, room, aspect, &contents, &[contents.len()], selected.unwrap_or(0));
    for tile in &mut tiles {
        tile.selected = matches!(tile.chooses, Chooses::Method(method) if Some(method) == chosen);
    }
    Some(tiles)
}

/// A method's name, and what it costs where its heat is there.
fn caption(state: &State, method: usize) -> Option<String> {
    let known = method::nth(method)?;
    let name = known.name();
    Some(match instead(state, method) {
        None => format!("{name} · ×{}", cost(known, state.channels())),
        Some(_) => name.to_owned(),
    })
}

/// What stands in the place of a thumbnail that isn't there: why.
pub(crate) fn instead(state: &State, method: usize) -> Option<String> {
    let (known, key) = (method::nth(method)?, key_by(state, method)?);
    match state.progress {
        _ if state.heats.get(&key).is_some() => None,
        _ if state.failed.contains_key(&key) => Some("✗ not here".into()),
        Some((at, done, planned)) if at == key => Some(format!("{done} of {planned}")),
        _ if is_wanted(state, method) => Some("…".into()),
        _ => Some(format!("×{}: ctrl-t", cost(known, state.channels()))),
    }
}

/// Whether a method's thumbnail is computed: it costs little, or was asked for.
fn is_wanted(state: &State, method: usize) -> bool {
    let is_cheap = method::nth(method).is_some_and(|method| passes(method, state.channels()) <= UNASKED);
    is_cheap || state.asked_thumbnails.contains(&method)
}

/// The heatmap that the thumbnails need next, the cheapest first; those that were asked for before all.
pub(crate) fn next(state: &State, shown: &[Tile]) -> Option<HeatKey> {
    let method_of = |tile: &Tile| match tile.chooses {
        Chooses::Method(method) => Some(method),
        _ => None,
    };
    let missing = shown.iter().filter_map(method_of).filter(|method| is_wanted(state, *method)).filter(|method| {
        key_by(state, *method).is_some_and(|key| state.heats.get(&key).is_none() && !state.failed.contains_key(&key))
    });
    let price = |method: usize| {
        let costs = method::nth(method).map_or(f64::INFINITY, |method| passes(method, state.channels()));
        if state.asked_thumbnails.contains(&method) { 0.0 } else { costs }
    };
    let first = missing.min_by(|one, other| price(*one).total_cmp(&price(*other)));
    first.and_then(|method| key_by(state, method))
}
