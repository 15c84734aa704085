//! How far the activations of two models are apart, layer by layer, over a corner of the picture.

use camscope_core::compare::{DRIFTED, Entry, error_text, first_drift};
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{lists, panel::Panel, text, theme::Theme};
use crate::{layout::list_start, state::State};

/// Cells of a number.
const NUMBER: usize = 8;
/// Columns and rows at most.
const MOST: (u16, u16) = (58, 20);

/// Draws it where it is asked for; gives what it covers.
pub(super) fn drift(state: &State, theme: &Theme, room: Rect, buf: &mut Buffer) -> Option<Rect> {
    let area = area(state, room)?;
    let mut panel = Panel::clear(area, theme, buf);
    let inner = panel.width();
    panel.line(0, "drift of B: relative error by layer", theme.heading);
    match known(state)? {
        None => panel.line(1, "comparing the activations of all layers …", theme.faint),
        Some(Err(reason)) => {
            for (row, line) in (1..).zip(text::wrapped(reason, inner)) {
                panel.line(row, &line, theme.error);
            }
        }
        Some(Ok(entries)) => {
            let largest = entries.iter().map(|entry| entry.error).filter(|error| error.is_finite()).fold(0.0, f64::max);
            let (start, rows) = shown(state, entries, area);
            let first = first(entries);
            let chosen = chosen(state, entries);
            let longest = if inner >= 46 { 12 } else { 6 };
            for (row, (at, entry)) in (1..).zip(entries.iter().enumerate().skip(start).take(rows)) {
                // Where they drift apart first.
                let mark = if first == Some(at) { "▶ " } else { "  " };
                let room = inner.saturating_sub(longest + NUMBER + 4);
                let name = text::padded(&text::fitted_end(&entry.name, room), room);
                let share = if entry.error.is_finite() { entry.error / largest.max(f64::MIN_POSITIVE) } else { 1.0 };
                let (error, bar) = (error_text(entry.error), lists::bar(share as f32, longest));
                let line_of = format!("{mark}{name} {error:>NUMBER$} {bar}");
                panel.line(row, &line_of, if Some(at) == chosen { theme.selected } else { Style::new() });
            }
            panel.line(area.height - 1, &told(entries), theme.faint);
        }
    }
    Some(area)
}

/// What it says in a line each, without drawing.
pub(crate) fn facts(state: &State) -> Vec<String> {
    match known(state) {
        Some(Some(Ok(entries))) => {
            let row = |entry: &Entry| format!("{} {}", entry.name, error_text(entry.error));
            let worst = entries.iter().max_by(|one, other| one.error.total_cmp(&other.error));
            let worst = worst.map(|entry| format!("the largest drift: {}", row(entry)));
            let own = chosen(state, entries).map(|at| format!("drift: {}", row(&entries[at])));
            own.into_iter().chain(worst).chain([told(entries)]).collect()
        }
        Some(Some(Err(reason))) => vec![format!("no drift: {reason}")],
        _ => Vec::new(),
    }
}

type Known<'a> = Option<Result<&'a [Entry], &'a str>>;

/// What is known of the drift, where it is asked for.
fn known(state: &State) -> Option<Known<'_>> {
    let photo = state.photo().filter(|_| state.comparing.drift)?;
    let known = state.comparing.drifts.get(&photo.id);
    Some(known.map(|known| known.as_ref().map(|entries| entries.as_slice()).map_err(String::as_str)))
}

fn area(state: &State, room: Rect) -> Option<Rect> {
    let lines = match known(state)? {
        Some(Ok(entries)) => entries.len() as u16 + 2,
        Some(Err(_)) => 4,
        None => 2,
    };
    // Four pictures have room where there are three: there it covers none.
    let half = |length: u16, least: u16| if length >= 2 * least { length / 2 } else { length };
    let width = MOST.0.min(half(room.width, 40));
    let height = lines.min(MOST.1).min(half(room.height, 9));
    (height >= 2).then(|| Rect::new(room.right() - width, room.bottom() - height, width, height))
}

/// The first entry in sight, and how many there is room for.
fn shown(state: &State, entries: &[Entry], area: Rect) -> (usize, usize) {
    let rows = area.height.saturating_sub(2);
    (list_start(chosen(state, entries).unwrap_or(0), entries.len(), rows), rows.into())
}

/// The entry of the layer that is shown, else the last one before it.
fn chosen(state: &State, entries: &[Entry]) -> Option<usize> {
    let layers = state.model.as_ref()?.layers.get(..=state.layer)?;
    layers.iter().rev().find_map(|layer| entries.iter().position(|entry| entry.name == layer.name))
}

/// The layer whose row is at a cell of the screen.
pub(crate) fn layer_at(state: &State, room: Rect, at: Position) -> Option<usize> {
    let area = area(state, room).filter(|area| area.contains(at))?;
    let Some(Some(Ok(entries))) = known(state) else { return None };
    let (start, rows) = shown(state, entries, area);
    let row = usize::from(at.y - area.y).checked_sub(1).filter(|row| *row < rows)?;
    let name = &entries.get(start + row)?.name;
    state.model.as_ref()?.layers.iter().position(|layer| layer.name == *name)
}

fn first(entries: &[Entry]) -> Option<usize> {
    let errors: Vec<f64> = entries.iter().map(|entry| entry.error).collect();
    first_drift(&errors, DRIFTED).map(|found| found.at)
}

fn told(entries: &[Entry]) -> String {
    match first(entries) {
        Some(at) => format!("first above {:.0} %: {}", 100.0 * DRIFTED, entries[at].name),
        None => format!("no layer differs by more than {:.0} %", 100.0 * DRIFTED),
    }
}
