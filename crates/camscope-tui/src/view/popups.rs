//! The line that is typed, with its suggestions.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Modifier,
    text::{Line, Span},
    widgets::{Clear, Widget},
};

use super::{text, theme::Theme};
use crate::{
    layout::{Areas, list_start},
    prompt::{Prompt, Purpose},
};

/// Suggestions shown at once.
const SUGGESTIONS: u16 = 12;
/// The same of methods: there are few enough to see most of them.
const METHODS_SHOWN: u16 = 24;
/// Rows for methods and their thumbnails.
const BOTH: u16 = 20;

/// Draws the typed line in place of the status, and its suggestions above, `lift` lines higher where something is said there; gives what
/// they cover of the picture.
pub(super) fn prompt(prompt: &Prompt, theme: &Theme, parts: &Areas, lift: u16, buf: &mut Buffer) -> Option<Rect> {
    let line = parts.status;
    Clear.render(line, buf);
    let title = format!(" {}: ", prompt.title());
    let room = usize::from(line.width).saturating_sub(text::width(&title) + 1 + usize::from(pressable(line)));
    // Of a long line the part around the cursor is shown.
    let before =
        text::fitted_end(&prompt.text[..prompt.cursor], room.saturating_sub(text::width(prompt.at_cursor().0).max(1)));
    let after_room = room.saturating_sub(text::width(&before));
    let (at, rest) = prompt.at_cursor();
    let at = if at.is_empty() { " " } else { at };
    let after_at = after_room.saturating_sub(text::width(at));
    Line::from(vec![
        Span::styled(title, theme.title),
        Span::styled(before, theme.plain),
        Span::styled(text::fitted(at, after_room), theme.plain.add_modifier(Modifier::REVERSED)),
        Span::styled(text::fitted(rest, after_at), theme.plain),
    ])
    .render(line, buf);
    buttons(theme, line, buf);
    let (area, start) = list(prompt, parts, lift)?;
    Clear.render(area, buf);
    buf.set_style(area, theme.popup);
    for (at, item) in prompt.items.iter().enumerate().skip(start).take(area.height.into()) {
        let style = if at == prompt.selected { theme.selected } else { theme.popup };
        let text = text::padded(&format!(" {}", item.text), area.width.into());
        Line::styled(text, style).render(Rect { y: area.y + (at - start) as u16, height: 1, ..area }, buf);
    }
    Some(area)
}

/// What a press on a line that is typed, or on its suggestions, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressed {
    /// Nothing.
    Nothing,
    /// This suggestion.
    Item(usize),
    /// What is typed.
    Accept,
    /// To leave the line.
    Leave,
}

/// The buttons at the end of the line, and their cells.
const BUTTONS: [(&str, u16); 2] = [(" enter ", 7), (" esc ", 5)];

/// Cells of the buttons; a narrow line has none.
fn pressable(line: Rect) -> u16 {
    if line.width < 50 { 0 } else { BUTTONS.iter().map(|(_, width)| width + 1).sum() }
}

fn buttons(theme: &Theme, line: Rect, buf: &mut Buffer) {
    let mut x = line.right() - pressable(line);
    for (text, width) in BUTTONS.iter().filter(|_| pressable(line) > 0) {
        Line::styled(*text, theme.key).render(Rect { x, width: *width, ..line }, buf);
        x += width + 1;
    }
}

/// The cells of the suggestions, and the first that is shown.
fn list(prompt: &Prompt, parts: &Areas, lift: u16) -> Option<(Rect, usize)> {
    let line = parts.status;
    if prompt.items.is_empty() {
        return None;
    }
    let bottom = line.y.saturating_sub(lift);
    let of_methods = matches!(prompt.purpose, Purpose::Methods | Purpose::CompareWith);
    // Thumbnails of the methods have the other half, where there is room for both.
    let body = bottom.saturating_sub(parts.title.bottom());
    let methods = if body >= BOTH { METHODS_SHOWN.min(body / 2) } else { METHODS_SHOWN };
    let most = if of_methods { methods } else { SUGGESTIONS };
    let count = u16::try_from(prompt.items.len()).unwrap_or(u16::MAX);
    let height = most.min(count).min(body);
    let widest = prompt.items.iter().map(|item| text::width(&item.text)).max().unwrap_or(0) + 2;
    let is_wide = of_methods || matches!(prompt.purpose, Purpose::Palette | Purpose::Target);
    let wanted = if is_wide { widest } else { widest.max(30) };
    let area = Rect::new(line.x, bottom - height, wanted.min(usize::from(line.width)) as u16, height);
    Some((area, list_start(prompt.selected, prompt.items.len(), height)))
}

/// The first row that the suggestions cover, or the line where there are none.
pub(crate) fn top(prompt: &Prompt, parts: &Areas, lift: u16) -> u16 {
    list(prompt, parts, lift).map_or(parts.status.y, |(area, _)| area.y)
}

/// What is at a place of the screen.
pub(crate) fn pressed(prompt: &Prompt, parts: &Areas, lift: u16, at: Position) -> Pressed {
    let line = parts.status;
    if line.contains(at) && pressable(line) > 0 {
        let from = line.right() - pressable(line);
        return match at.x.checked_sub(from) {
            Some(x) if x < BUTTONS[0].1 => Pressed::Accept,
            Some(x) if x > BUTTONS[0].1 => Pressed::Leave,
            _ => Pressed::Nothing,
        };
    }
    match list(prompt, parts, lift).filter(|(area, _)| area.contains(at)) {
        Some((area, start)) => Pressed::Item(start + usize::from(at.y - area.y)),
        None => Pressed::Nothing,
    }
}
