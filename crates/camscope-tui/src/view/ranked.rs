//! The best methods and layers for the photo, over a corner of the picture, while they are looked for and after.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{panel::Panel, text, theme::Theme};
use crate::{
    action::Action,
    compare::ranked::{self, Scored},
    engine::Try,
    state::State,
};

/// Columns and rows at most.
const MOST: (u16, u16) = (56, 14);
/// Cells of a method's name.
const METHOD: usize = 18;

/// Draws it where it is asked for; gives what it covers.
pub(super) fn ranked(state: &State, theme: &Theme, room: Rect, buf: &mut Buffer) -> Option<Rect> {
    let area = area(state, room)?;
    let (scored, tried, of) = ranked::scored(state);
    let mut panel = Panel::clear(area, theme, buf);
    let inner = panel.width();
    let target = state.current_target().map(|target| state.target_name(target)).unwrap_or_default();
    panel.line(0, &format!("best for {target}: {tried} of {of} tried"), theme.heading);
    let rows = usize::from(area.height.saturating_sub(2));
    for (row, one) in (1..).zip(scored.iter().take(rows)) {
        let is_shown = state.method == one.tried.method && state.layer == one.tried.layer;
        panel.line(row, &row_of(state, one, inner), if is_shown { theme.selected } else { Style::new() });
    }
    panel.line(area.height - 1, &last_line(state, &scored), theme.faint);
    Some(area)
}

fn row_of(state: &State, one: &Scored, inner: usize) -> String {
    let method = camscope_core::method::nth(one.tried.method).map_or("", |method| method.name());
    let before = format!("{:>7.4}  {} ", one.road, text::padded(method, METHOD.min(inner / 3)));
    let layer = ranked::layer_name(state, &one.tried);
    let room = inner.saturating_sub(text::width(&before));
    before + &text::fitted_end(&layer, room)
}

fn last_line(state: &State, scored: &[Scored]) -> String {
    let key = |action| state.keymap.first(action);
    match scored.first() {
        None => "scoring the first …".into(),
        Some(best) if best.road <= 0.0 => "no map is better than none".into(),
        Some(_) => format!("ROAD, higher is better · {} takes the best", key(Action::TakeBest)),
    }
}

/// The best, in a line each, without drawing.
pub(crate) fn facts(state: &State) -> Vec<String> {
    if !state.comparing.ranks {
        return Vec::new();
    }
    let (scored, tried, of) = ranked::scored(state);
    let said = |(at, one): (usize, &Scored)| {
        let method = camscope_core::method::nth(one.tried.method).map_or("", |method| method.name());
        format!("{}: {method} at {}, ROAD {:.4}", at + 1, ranked::layer_name(state, &one.tried), one.road)
    };
    let head = format!("best methods and layers, {tried} of {of} tried");
    std::iter::once(head).chain(scored.iter().take(5).enumerate().map(said)).collect()
}

fn area(state: &State, room: Rect) -> Option<Rect> {
    if !state.comparing.ranks || state.model.is_none() || state.photo().is_none() {
        return None;
    }
    let width = MOST.0.min(room.width);
    // It grows with what is known, and leaves half of the picture.
    let lines = (ranked::scored(state).0.len() as u16 + 2).max(3);
    let half = if room.height >= 16 { room.height / 2 } else { room.height };
    let height = MOST.1.min(lines).min(half);
    // A heading, a row and what it means.
    (height >= 3).then(|| Rect::new(room.x, room.bottom() - height, width, height))
}

/// What was tried in the row at a cell of the screen.
pub(crate) fn tried_at(state: &State, room: Rect, at: Position) -> Option<Try> {
    let area = area(state, room).filter(|area| area.contains(at))?;
    let row = usize::from(at.y - area.y).checked_sub(1).filter(|row| row + 2 < usize::from(area.height))?;
    ranked::scored(state).0.get(row).map(|one| one.tried)
}
