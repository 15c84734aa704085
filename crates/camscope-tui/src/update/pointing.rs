//! The mouse where it presses buttons: the title, the line at the bottom, the headings of lists, and what is suggested for a line. Every
//! action is in the list that the program's name opens, so that all of them can be reached without the keyboard.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::{act, key, typing};
use crate::{
    action::Action,
    layout::areas,
    message::Command,
    prompt::{Prompt, Value},
    state::{Help, Mode, State},
    tiles::{self, Chooses},
    view::{self, popups::Pressed},
};

/// One event of the mouse while a line is typed.
pub(super) fn prompt(state: &mut State, mut prompt: Prompt, event: MouseEvent) -> Vec<Command> {
    let at = Position::new(event.column, event.row);
    let parts = areas(state.size, state.images.len());
    let by = match event.kind {
        MouseEventKind::ScrollUp => -1,
        MouseEventKind::ScrollDown => 1,
        _ => 0,
    };
    if by != 0 {
        let last = prompt.items.len().saturating_sub(1);
        if (by < 0 && prompt.selected > 0) || (by > 0 && prompt.selected < last) {
            prompt.select(by);
        }
    }
    let pressed = match event.kind {
        MouseEventKind::Down(MouseButton::Left) => view::popups::pressed(&prompt, &parts, view::lift(state), at),
        _ => Pressed::Nothing,
    };
    // A press on a thumbnail takes its method; with the right button it is computed.
    if let Some(method) = matches!(event.kind, MouseEventKind::Down(_)).then(|| method_at(state, &prompt, at)).flatten()
        && let Some(item) = prompt.items.iter().position(|item| item.value == Value::Method(method))
    {
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => {
                prompt.selected = item;
                return typing::take_suggestion(state, prompt);
            }
            MouseEventKind::Down(MouseButton::Right) => {
                prompt.selected = item;
                typing::ask_for_thumbnail(state, &prompt);
            }
            _ => {}
        }
    }
    match pressed {
        Pressed::Nothing => {}
        Pressed::Item(item) => {
            prompt.selected = item;
            prompt.moved = true;
            return typing::take_suggestion(state, prompt);
        }
        Pressed::Accept => return press(state, Mode::Prompt(prompt), KeyCode::Enter),
        Pressed::Leave => return press(state, Mode::Prompt(prompt), KeyCode::Esc),
    }
    state.mode = Mode::Prompt(prompt);
    Vec::new()
}

/// The method whose thumbnail is at a place of the screen.
fn method_at(state: &mut State, prompt: &Prompt, at: Position) -> Option<usize> {
    // Thumbnails are there while the line is.
    state.mode = Mode::Prompt(prompt.clone());
    let on = tiles::tiles(state).into_iter().find(|tile| tile.area.contains(at));
    state.mode = Mode::Normal;
    match on?.chooses {
        Chooses::Method(method) => Some(method),
        _ => None,
    }
}

/// A key pressed by the mouse.
fn press(state: &mut State, mode: Mode, code: KeyCode) -> Vec<Command> {
    state.mode = mode;
    key(state, KeyEvent::new(code, KeyModifiers::NONE))
}

/// One event of the mouse while the help is open: the wheel scrolls, a button closes.
pub(super) fn help(state: &mut State, help: Help, event: MouseEvent) -> Vec<Command> {
    match event.kind {
        MouseEventKind::ScrollUp => press(state, Mode::Help(help), KeyCode::Up),
        MouseEventKind::ScrollDown => press(state, Mode::Help(help), KeyCode::Down),
        MouseEventKind::Down(_) => Vec::new(),
        _ => {
            state.mode = Mode::Help(help);
            Vec::new()
        }
    }
}

/// One event of the mouse while the form is open.
pub(super) fn form(state: &mut State, mut form: crate::state::Form, event: MouseEvent) -> Vec<Command> {
    let (columns, rows) = state.size;
    let screen = Rect::new(0, 0, columns, rows);
    let at = Position::new(event.column, event.row);
    match event.kind {
        MouseEventKind::ScrollUp => form.step(-1),
        MouseEventKind::ScrollDown => form.step(1),
        MouseEventKind::Down(MouseButton::Left) => match view::form::button_at(&form, screen, at) {
            (true, _) => return press(state, Mode::Form(form), KeyCode::Enter),
            (_, true) => return press(state, Mode::Form(form), KeyCode::Esc),
            _ => view::form::row_at(&form, screen, at).into_iter().for_each(|row| form.go_to(row)),
        },
        _ => {}
    }
    state.mode = Mode::Form(form);
    Vec::new()
}

/// What a press outside of pictures and lists does: on a word of the title, a hint of the last line, the heading of a list.
pub(super) fn button(state: &State, at: Position) -> Option<Action> {
    let parts = areas(state.size, state.images.len());
    let on_heading = |area: Option<Rect>| area.is_some_and(|area| area.contains(at) && at.y == area.y);
    if parts.title.contains(at) {
        return view::title_action(state, parts.title.width, at.x);
    }
    if parts.status.contains(at) {
        return view::status::hint_at(state, parts.status, at.x);
    }
    if on_heading(parts.classes) {
        let has_classes = state.current_scores().is_some_and(|scores| scores.classes() > 0);
        return Some(if has_classes { Action::SearchClass } else { Action::Target });
    }
    on_heading(parts.layers).then_some(Action::FilterLayers)
}

/// Does what a button stands for.
pub(super) fn push(state: &mut State, action: Action) -> Vec<Command> {
    state.message = None;
    act(state, action)
}
