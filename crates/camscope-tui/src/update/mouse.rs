//! The mouse: on pictures, lists and thumbnails.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{
    act, choose_target, clamp_centre,
    comparing::{mark_image, take},
    go_to_image, perform, pointing, zoom,
};
use crate::{
    action::Action,
    layout::{areas, list_start},
    message::Command,
    prompt::Purpose,
    state::{Mode, State},
    text,
    tiles::{self, Chooses},
    tree::{self, Fold},
    view::{drift_layer_at, tried_at},
};

const WHEEL_ZOOM: f32 = 1.2;

/// One event of the mouse.
pub(super) fn mouse(state: &mut State, event: MouseEvent) -> Vec<Command> {
    let at = Position::new(event.column, event.row);
    let parts = areas(state.size, state.images.len());
    let over = |area: Option<Rect>| area.filter(|area| area.contains(at));
    match std::mem::take(&mut state.mode) {
        Mode::Normal => {}
        Mode::Help(help) => return pointing::help(state, help, event),
        Mode::Form(form) => return pointing::form(state, form, event),
        // While the list of layers is narrowed it can be used.
        Mode::Prompt(prompt) if prompt.purpose == Purpose::FilterLayers && over(parts.layers).is_some() => {
            state.mode = Mode::Prompt(prompt);
        }
        Mode::Prompt(prompt) => return pointing::prompt(state, prompt, event),
    }
    let shown = tiles::tiles(state);
    state.pointer = shown.iter().find_map(|tile| tiles::point(state, tile, at.x, at.y));
    let place = shown.iter().find_map(|tile| tiles::place_in(state, tile, at.x, at.y));
    let dragged_from = std::mem::replace(&mut state.held, place);
    match event.kind {
        MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
            let down = event.kind == MouseEventKind::ScrollDown;
            if over(parts.classes).is_some() {
                return perform(state, if down { Action::NextClass } else { Action::PreviousClass });
            }
            if over(parts.layers).is_some() {
                return perform(state, if down { Action::NextLayer } else { Action::PreviousLayer });
            }
            if over(parts.strip).is_some() {
                return perform(state, if down { Action::NextImage } else { Action::PreviousImage });
            }
            if let Some(point) = place {
                zoom(state, if down { 1.0 / WHEEL_ZOOM } else { WHEEL_ZOOM }, Some(point));
            }
        }
        MouseEventKind::Down(MouseButton::Left) => {
            if let Some(action) = pointing::button(state, at) {
                return pointing::push(state, action);
            }
            state.message = None;
            if let Some(area) = over(parts.classes) {
                let list = state.target_list();
                let selected = list.iter().position(|class| Some(*class) == state.current_target()).unwrap_or(0);
                if let Some(class) = clicked(area, at, &list, selected) {
                    choose_target(state, class);
                }
            } else if let Some(area) = over(parts.layers) {
                let list = tree::rows(state);
                let is_selected = |row: &tree::Row| row.is_chosen_from() && row.layer == state.layer;
                let nearest = || list.partition_point(|row| row.layer < state.layer);
                let selected = list.iter().position(is_selected).unwrap_or_else(nearest);
                if let Some(row) = clicked(area, at, &list, selected) {
                    let on_mark = at.x < area.x + 1 + 2 + row.depth + 2;
                    match (row.fold, row.node) {
                        (Fold::Open, Some(group)) => tree::fold_group(state, group),
                        (Fold::Closed(_), Some(group)) if on_mark => tree::fold_group(state, group),
                        _ => state.layer = row.layer,
                    }
                }
            } else if let Some(tried) = tried_at(state, parts.picture, at) {
                take(state, tried);
            } else if let Some(layer) = drift_layer_at(state, parts.picture, at) {
                state.layer = layer;
            } else {
                return press(state, at);
            }
        }
        // Beside the usual click, which goes there.
        MouseEventKind::Down(MouseButton::Right) => {
            if let Some(path) =
                image_at(state, at).and_then(|image| state.images.get(image)).map(|entry| entry.path.clone())
            {
                mark_image(state, path);
            } else {
                return pointing::push(state, Action::Palette);
            }
        }
        MouseEventKind::Drag(MouseButton::Left) => {
            if let (Some((x0, y0)), Some((x1, y1)), true) = (dragged_from, place, state.zoom.factor > 1.0) {
                state.zoom.centre = (state.zoom.centre.0 + x0 - x1, state.zoom.centre.1 + y0 - y1);
                clamp_centre(&mut state.zoom);
                // The point that was taken hold of stays under the mouse.
                state.pointer = state.pointer.and(dragged_from);
                state.held = dragged_from;
            }
        }
        _ => {}
    }
    Vec::new()
}

/// The entry of a bordered list under the mouse.
fn clicked<T: Clone>(area: Rect, at: Position, list: &[T], selected: usize) -> Option<T> {
    let row = at.y.checked_sub(area.y + 1)?;
    let height = area.height.saturating_sub(1);
    if row >= height {
        return None;
    }
    list.get(list_start(selected, list.len(), height) + usize::from(row)).cloned()
}

/// The segment, or the smallest box, under the mouse.
fn under(state: &State, tile: &tiles::Tile, at: Position) -> Option<usize> {
    let (x, y) = tiles::point(state, tile, at.x, at.y)?;
    let (width, height) = state.photo()?.pixels.dimensions();
    state.current_scores()?.over([f64::from(x) * f64::from(width), f64::from(y) * f64::from(height)])
}

/// The image whose picture, or whose place at the bottom, is there: also where it has no small copy.
fn image_at(state: &State, at: Position) -> Option<usize> {
    let on = tiles::tiles(state).into_iter().find_map(|tile| match tile.chooses {
        Chooses::Image(image) if tile.area.contains(at) => Some(image),
        _ => None,
    });
    let strip = areas(state.size, state.images.len()).strip;
    let places = || strip.map(|strip| tiles::strip_places(state, strip)).unwrap_or_default();
    on.or_else(|| places().into_iter().find(|(_, place)| place.contains(at)).map(|(image, _)| image))
}

fn press(state: &mut State, at: Position) -> Vec<Command> {
    if let Some(image) = image_at(state, at) {
        go_to_image(state, image);
        return Vec::new();
    }
    let tiles = tiles::tiles(state);
    if let Some((line, placed)) = text::shown(state, &tiles).filter(|(line, _)| line.contains(at)) {
        let on = placed.iter().rev().find(|(column, _)| *column <= at.x);
        if let Some((_, character)) = on.filter(|_| line.y == at.y) {
            choose_target(state, character.target);
        }
        return Vec::new();
    }
    let on = |tile: &&tiles::Tile| {
        tile.area.contains(at) || tile.caption.as_ref().is_some_and(|(caption, _)| caption.contains(at))
    };
    let Some(tile) = tiles.iter().find(on) else { return Vec::new() };
    match tile.chooses {
        Chooses::Layer(layer) => state.layer = layer,
        Chooses::Class(class) => choose_target(state, class),
        Chooses::Image(image) => go_to_image(state, image),
        // Another photo to compare with.
        Chooses::Nothing => return act(state, Action::Similar),
        // While a method is chosen, presses are the line's.
        Chooses::Method(_) => {}
        Chooses::Point => {
            if state.crosshair.is_some() {
                state.crosshair = tiles::point(state, tile, at.x, at.y).or(state.crosshair);
            } else if let Some(target) = under(state, tile, at) {
                choose_target(state, target);
            }
        }
    }
    Vec::new()
}
