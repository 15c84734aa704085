//! An action that changes nothing on the screen says why, and what does: whatever it is, and whatever is shown.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect};

use super::perform;
use crate::{
    action::Action,
    keymap::Key,
    message::Command,
    state::{Mode, State},
    tiles::{self, TileKey},
    view,
};

mod reasons;

pub(super) use reasons::reason;

/// Does what a key or the palette asks for. What changes nothing that can be seen is not done, and the reason is said.
pub fn act(state: &mut State, action: Action) -> Vec<Command> {
    let mut before = Chosen::of(state);
    let heat = state.current_key();
    let commands = perform(state, action);
    let is_answered = !commands.is_empty() || state.message.is_some() || state.quitting;
    // Another heatmap is what most keys ask for, and seen in all views but one: drawing twice is for the others.
    let is_seen = state.current_key() != heat && state.view.has_heat();
    if is_answered || is_seen || !matches!(state.mode, Mode::Normal) {
        return commands;
    }
    let after = seen(state);
    before.swap(state);
    if seen(state) == after {
        let reason = reason(state, action);
        state.say(reason);
    } else {
        before.swap(state);
    }
    commands
}

/// Says that a key has no action, unless it is the one that leaves something, and has taken away what was said.
pub(super) fn no_action(state: &mut State, key: KeyEvent, was_said: bool) {
    if !(key.code == KeyCode::Esc && was_said) {
        let key = Key::from(key);
        let (help, quit) = (state.keymap.first(Action::Help), state.keymap.first(Action::Quit));
        state.say(format!("{key} has no action here: {help} lists the keys, {quit} quits"));
    }
}

/// What the screen shows: its text, and which pictures belong there.
fn seen(state: &State) -> (Buffer, Vec<Option<TileKey>>) {
    let (columns, rows) = state.size;
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    view::draw(state, area, &mut buffer);
    (buffer, tiles::tiles(state).iter().map(|tile| tiles::key(state, tile)).collect())
}

/// What actions change of the state without a word.
struct Chosen {
    target: Option<usize>,
    target_stays: bool,
    rank: usize,
    kept: Option<String>,
    layer: usize,
    folds: std::collections::HashMap<usize, bool>,
    image: usize,
    view: crate::action::View,
    zoom: crate::state::Zoom,
    pointer: Option<(f32, f32)>,
    crosshair: Option<(f32, f32)>,
    boxes: bool,
    histogram: bool,
    drift: bool,
    ranks: bool,
}

impl Chosen {
    fn of(state: &State) -> Self {
        Self {
            target: state.target,
            target_stays: state.target_stays,
            rank: state.rank,
            kept: state.kept.clone(),
            layer: state.layer,
            folds: state.folds.clone(),
            image: state.image,
            view: state.view,
            zoom: state.zoom,
            pointer: state.pointer,
            crosshair: state.crosshair,
            boxes: state.boxes,
            histogram: state.histogram,
            drift: state.comparing.drift,
            ranks: state.comparing.ranks,
        }
    }

    /// Puts this in the place of what is chosen, and keeps that.
    fn swap(&mut self, state: &mut State) {
        use std::mem::swap;
        swap(&mut self.target, &mut state.target);
        swap(&mut self.target_stays, &mut state.target_stays);
        swap(&mut self.rank, &mut state.rank);
        swap(&mut self.kept, &mut state.kept);
        swap(&mut self.layer, &mut state.layer);
        swap(&mut self.folds, &mut state.folds);
        swap(&mut self.image, &mut state.image);
        swap(&mut self.view, &mut state.view);
        swap(&mut self.zoom, &mut state.zoom);
        swap(&mut self.pointer, &mut state.pointer);
        swap(&mut self.crosshair, &mut state.crosshair);
        swap(&mut self.boxes, &mut state.boxes);
        swap(&mut self.histogram, &mut state.histogram);
        swap(&mut self.drift, &mut state.comparing.drift);
        swap(&mut self.ranks, &mut state.comparing.ranks);
    }
}
