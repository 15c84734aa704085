//! The form of a model's inputs: name, type, shape and value of each, and below it what is wrong with it.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Modifier,
    text::{Line, Span},
    widgets::{Clear, Widget},
};

use super::{text, theme::Theme};
use crate::state::Form;

/// What can be typed.
const VALUES: &str = "zeros, ones, a number, 1,2,3 in their order, FILE.npy, or a photo";
/// What the keys do.
const KEYS: &str = "enter: on, at the end open · ↑↓ another input · esc leaves";

/// The cells of the form, and of each of its rows.
struct Places {
    area: Rect,
    rows: Vec<Rect>,
}

impl Places {
    fn of(form: &Form, screen: Rect) -> Self {
        let lines = |row: &crate::engine::InputRow| 1 + u16::from(row.error.is_some());
        let inner: u16 = form.rows.iter().map(lines).sum();
        let width = 78.min(screen.width.saturating_sub(2));
        let height = (inner + 6).min(screen.height.saturating_sub(2));
        let area = Rect::new((screen.width - width) / 2, (screen.height - height) / 3, width, height);
        let last = area.bottom().saturating_sub(3);
        let mut y = area.y + 2;
        // The row that has the keyboard is in sight.
        let before: u16 = form.rows.iter().take(form.row).map(lines).sum();
        let mut hidden = (before + 2).saturating_sub(last.saturating_sub(y));
        let mut rows = Vec::new();
        for row in &form.rows {
            let own = lines(row);
            if hidden >= own {
                hidden -= own;
                rows.push(Rect::default());
                continue;
            }
            let height = own.min(last.saturating_sub(y));
            rows.push(Rect { x: area.x + 2, width: width.saturating_sub(4), y, height });
            y += height;
        }
        Self { area, rows }
    }
}

/// The row of the form at a place of the screen; `None` outside of all.
pub(crate) fn row_at(form: &Form, screen: Rect, at: Position) -> Option<usize> {
    Places::of(form, screen).rows.iter().position(|row| row.contains(at))
}

/// Whether a place of the screen is that of "enter", and whether that of "esc".
pub(crate) fn button_at(form: &Form, screen: Rect, at: Position) -> (bool, bool) {
    let area = Places::of(form, screen).area;
    let is_on = at.y + 1 == area.bottom() && area.contains(at);
    (is_on && at.x < area.x + area.width / 2, is_on && at.x >= area.x + area.width / 2)
}

/// Draws the form; gives what it covers.
pub(super) fn form(form: &Form, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Rect {
    let Places { area, rows } = Places::of(form, screen);
    Clear.render(area, buf);
    buf.set_style(area, theme.popup);
    let inner = Rect { x: area.x + 2, width: area.width.saturating_sub(4), ..area };
    let room = usize::from(inner.width);
    let line = |y: u16| Rect { y, height: u16::from(y < area.bottom()), ..inner };
    let model = form.path.file_name().unwrap_or_default().to_string_lossy();
    Line::styled(text::fitted(&format!("Inputs of {model}"), room), theme.key).render(line(area.y), buf);
    let widest = |of: &dyn Fn(&crate::engine::InputRow) -> &str| {
        form.rows.iter().map(|row| text::width(of(row))).max().unwrap_or(0)
    };
    let name = widest(&|row| &row.name).min(room / 3);
    let facts = widest(&|row| &row.elem) + 1 + widest(&|row| &row.shape);
    let facts = facts.min(room / 3);
    for (at, (row, place)) in form.rows.iter().zip(&rows).enumerate().filter(|(_, (_, place))| place.height > 0) {
        let is_chosen = at == form.row;
        let style = if is_chosen { theme.selected } else { theme.popup };
        let mut spans = vec![
            Span::styled(text::padded(&row.name, name) + " ", style),
            Span::styled(text::padded(&format!("{} {}", row.elem, row.shape), facts) + " ", theme.popup),
        ];
        let left = room.saturating_sub(name + facts + 2);
        if row.is_photo {
            spans.push(Span::styled(text::fitted("the photo", left), theme.popup.add_modifier(Modifier::DIM)));
        } else {
            spans.extend(value(form, at, is_chosen, left, theme));
        }
        Line::from(spans).render(Rect { height: 1, ..*place }, buf);
        if let Some(error) = row.error.as_ref().filter(|_| place.height > 1) {
            let line = Line::styled(
                text::fitted(&format!("  ✗ {error}"), room),
                theme.error.bg(theme.popup.bg.unwrap_or_default()),
            );
            line.render(Rect { y: place.y + 1, height: 1, ..*place }, buf);
        }
    }
    if area.height > 4 {
        Line::styled(text::fitted(VALUES, room), theme.popup.add_modifier(Modifier::DIM))
            .render(line(area.bottom() - 2), buf);
    }
    Line::styled(text::fitted(KEYS, room), theme.popup).render(line(area.bottom().saturating_sub(1)), buf);
    area
}

/// What is typed for an input, with the cursor where it has the keyboard.
fn value<'a>(form: &Form, at: usize, is_chosen: bool, room: usize, theme: &Theme) -> Vec<Span<'a>> {
    let (row, typed) = (&form.rows[at], &form.lines[at]);
    if !is_chosen {
        let dim = theme.popup.add_modifier(Modifier::DIM);
        return match (typed.text.is_empty(), row.usual.is_empty()) {
            (false, _) => vec![Span::styled(text::fitted(&typed.text, room), theme.popup)],
            (true, false) => vec![Span::styled(text::fitted(&row.usual, room), dim)],
            (true, true) => vec![Span::styled(text::fitted("…", room), dim)],
        };
    }
    let (under, rest) = typed.at_cursor();
    let under = if under.is_empty() { " " } else { under }.to_owned();
    let before = text::fitted_end(&typed.text[..typed.cursor], room.saturating_sub(text::width(&under)));
    let left = room.saturating_sub(text::width(&before) + text::width(&under));
    let rest = text::fitted(rest, left);
    let hint = if typed.text.is_empty() { text::fitted(&row.usual, left) } else { String::new() };
    vec![
        Span::styled(before, theme.popup.add_modifier(Modifier::BOLD)),
        Span::styled(under, theme.popup.add_modifier(Modifier::REVERSED)),
        Span::styled(rest, theme.popup.add_modifier(Modifier::BOLD)),
        Span::styled(hint, theme.popup.add_modifier(Modifier::DIM)),
    ]
}
