//! The line that is typed, with its suggestions.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
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

/// Draws the typed line in place of the status, and its suggestions above, `lift` lines higher where something is said there; gives what
/// they cover of the picture.
pub(super) fn prompt(prompt: &Prompt, theme: &Theme, parts: &Areas, lift: u16, buf: &mut Buffer) -> Option<Rect> {
    let line = parts.status;
    Clear.render(line, buf);
    let title = format!(" {}: ", prompt.title());
    let room = usize::from(line.width).saturating_sub(text::width(&title) + 1);
    // Of a long line the part around the cursor is shown.
    let before = text::fitted_end(&prompt.text[..prompt.cursor], room.saturating_sub(1));
    let after_room = room.saturating_sub(text::width(&before));
    let after = &prompt.text[prompt.cursor..];
    let (at, rest) = match after.chars().next() {
        Some(c) => (c.to_string(), &after[c.len_utf8()..]),
        None => (" ".to_owned(), ""),
    };
    Line::from(vec![
        Span::styled(title, theme.title),
        Span::styled(before, theme.plain),
        Span::styled(text::fitted(&at, after_room), theme.plain.add_modifier(Modifier::REVERSED)),
        Span::styled(text::fitted(rest, after_room.saturating_sub(1)), theme.plain),
    ])
    .render(line, buf);
    if prompt.items.is_empty() {
        return None;
    }
    let bottom = line.y.saturating_sub(lift);
    let body_height = bottom.saturating_sub(parts.title.bottom());
    let of_methods = matches!(prompt.purpose, Purpose::Methods | Purpose::CompareWith);
    let most = if of_methods { METHODS_SHOWN } else { SUGGESTIONS };
    let height = most.min(prompt.items.len() as u16).min(body_height);
    let widest = prompt.items.iter().map(|item| text::width(&item.text)).max().unwrap_or(0) + 2;
    let is_wide = of_methods || matches!(prompt.purpose, Purpose::Palette | Purpose::Target);
    let wanted = if is_wide { widest } else { widest.max(30) };
    let area = Rect::new(line.x, bottom - height, wanted.min(usize::from(line.width)) as u16, height);
    Clear.render(area, buf);
    buf.set_style(area, theme.popup);
    let start = list_start(prompt.selected, prompt.items.len(), height);
    for (at, item) in prompt.items.iter().enumerate().skip(start).take(height.into()) {
        let style = if at == prompt.selected { theme.selected } else { theme.popup };
        let text = text::padded(&format!(" {}", item.text), area.width.into());
        Line::styled(text, style).render(Rect { y: area.y + (at - start) as u16, height: 1, ..area }, buf);
    }
    Some(area)
}
