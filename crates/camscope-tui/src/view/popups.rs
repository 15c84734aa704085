//! What is drawn over the rest: the help, and the line that is typed with its suggestions.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
    widgets::{Clear, Widget},
};

use super::{text, theme::Theme};
use crate::{
    action::{ACTIONS, Action},
    layout::{Areas, list_start},
    prompt::{Prompt, Purpose},
    state::State,
};

/// Suggestions shown at once.
const SUGGESTIONS: u16 = 12;
/// The same of methods: there are few enough to see most of them.
const METHODS_SHOWN: u16 = 24;

/// Every action with its keys: made from the keymap, so that it is always right.
fn help_rows(state: &State) -> Vec<(String, &'static str)> {
    let row = |(_, action, description): &(&str, Action, &'static str)| {
        let keys: Vec<String> = state.keymap.keys(*action).map(|key| key.to_string()).collect();
        (keys.join(" "), *description)
    };
    ACTIONS.iter().map(row).filter(|(keys, _)| !keys.is_empty()).collect()
}

/// How many lines the help has.
pub fn help_lines(state: &State) -> u16 {
    u16::try_from(help_rows(state).len()).unwrap_or(u16::MAX)
}

/// Draws the help in the middle of the screen; gives what it covers.
pub(super) fn help(state: &State, theme: &Theme, scroll: u16, screen: Rect, buf: &mut Buffer) -> Rect {
    const KEYS: usize = 16;
    let rows = help_rows(state);
    let width = 62.min(screen.width.saturating_sub(2));
    let height = (rows.len() as u16 + 2).min(screen.height.saturating_sub(2));
    let area = Rect::new((screen.width - width) / 2, (screen.height - height) / 2, width, height);
    Clear.render(area, buf);
    buf.set_style(area, theme.popup);
    let inner = Rect { x: area.x + 2, width: area.width.saturating_sub(4), ..area };
    let title = Line::styled("Keys; any other key closes this", theme.key);
    title.render(Rect { height: 1.min(inner.height), ..inner }, buf);
    let body = Rect { y: inner.y + 1, height: inner.height.saturating_sub(2), ..inner };
    let scroll = usize::from(scroll).min(rows.len().saturating_sub(body.height.into()));
    for (at, (keys, description)) in rows.iter().enumerate().skip(scroll).take(body.height.into()) {
        let line = Line::from(vec![
            Span::styled(text::padded(keys, KEYS), theme.key),
            Span::styled(text::fitted(description, usize::from(body.width).saturating_sub(KEYS)), theme.popup),
        ]);
        line.render(Rect { y: body.y + (at - scroll) as u16, height: 1, ..body }, buf);
    }
    let more = rows.len().saturating_sub(scroll + usize::from(body.height));
    if more > 0 && area.height > 1 {
        let line = Line::styled(format!("{more} more: ↓"), theme.popup);
        line.render(Rect { y: area.bottom() - 1, height: 1, ..inner }, buf);
    }
    area
}

/// Draws the typed line in place of the status, and its suggestions above; gives what they cover of the picture.
pub(super) fn prompt(prompt: &Prompt, theme: &Theme, parts: &Areas, buf: &mut Buffer) -> Option<Rect> {
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
    let body_height = line.y.saturating_sub(parts.title.bottom());
    let most = if prompt.purpose == Purpose::Methods { METHODS_SHOWN } else { SUGGESTIONS };
    let height = most.min(prompt.items.len() as u16).min(body_height);
    let widest = prompt.items.iter().map(|item| text::width(&item.text)).max().unwrap_or(0) + 2;
    let wanted = if matches!(prompt.purpose, Purpose::Palette | Purpose::Methods) { widest } else { widest.max(30) };
    let area = Rect::new(line.x, line.y - height, wanted.min(usize::from(line.width)) as u16, height);
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
