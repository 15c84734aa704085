//! The lists of classes and layers.

use std::{collections::HashMap, sync::Arc};

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Widget, Wrap},
};

use super::{text, theme::Theme};
use crate::{
    action::Action,
    compare,
    engine::LayerInfo,
    layout::list_start,
    state::{LayerState, SIMILAR, State},
    tree::{self, Fold},
};

/// Eighths of a cell, for bars.
const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// Cells of a probability.
const PERCENT: usize = 6;

/// Predictions of which none is more probable than this are flat: on a scale to 1 their bars would be empty.
const FLAT: f32 = 0.25;

/// Classes with their probabilities.
pub(super) fn classes(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let list = state.target_list();
    let selected = list.iter().position(|class| Some(*class) == state.current_target());
    let name = state.model.as_ref().map_or("Classes", |model| model.heading);
    let mut count = selected.map_or_else(|| list.len().to_string(), |at| format!("{}/{}", at + 1, list.len()));
    if compare::is_shown(state) && compare::second_photo(state).is_some() {
        count += " · A and B";
    }
    let rows = heading(area, theme, name, &count, buf);
    let start = list_start(selected.unwrap_or(0), list.len(), rows.height);
    let scores = state.current_scores();
    if let Some(asks) = state.model.as_ref().and_then(|model| how_to_ask(state, model)).filter(|_| list.is_empty()) {
        let area = Rect { width: rows.width.saturating_sub(1), ..rows };
        Paragraph::new(text::printable(&asks)).style(theme.plain).wrap(Wrap { trim: true }).render(area, buf);
        return;
    }
    let width = usize::from(rows.width);
    // Beside a second model's answers there is room for bars in a wide list only, and names need it more.
    let has_second = compare::is_shown(state) && compare::second_photo(state).is_some();
    let widest_bar = match (width >= 36, has_second) {
        (true, false) => 8,
        (false, true) => 0,
        _ => 5,
    };
    let shown = list.iter().skip(start).take(rows.height.into());
    let longest = shown.map(|class| text::width(&text::printable(&state.target_name(*class)))).max().unwrap_or(0);
    let numbers = if has_second { 2 * PERCENT + 1 } else { PERCENT };
    // Bars are of probabilities.
    let has_bars = list.iter().any(|class| scores.is_some_and(|scores| scores.probability(*class).is_some()));
    let widest_bar = if has_bars { widest_bar } else { 0 };
    let bar_width = width.saturating_sub(longest + numbers + 4).max(2).min(widest_bar);
    // Where no class is likely, the bars compare them with the likeliest.
    let probabilities = list.iter().filter_map(|class| scores?.probability(*class));
    let most = probabilities.fold(0.0, f32::max);
    let scale = if most > 0.0 && most < FLAT { most } else { 1.0 };
    for (row, class) in list.iter().enumerate().skip(start).take(rows.height.into()) {
        let y = rows.y + (row - start) as u16;
        let probability = scores.and_then(|scores| scores.probability(*class));
        let value = || scores.and_then(|scores| scores.values.get(*class)).copied().unwrap_or(0.0);
        let is_cosine =
            scores.and_then(|scores| scores.asked(*class)).is_some_and(|asked| asked.spec.starts_with(SIMILAR));
        let percent = match probability {
            Some(probability) => format!("{:5.1}%", 100.0 * probability),
            None if is_cosine => format!("cos {:.3}", value()),
            None => format!("{:6.2}", value()),
        };
        let probability = probability.unwrap_or(0.0);
        let second = has_second.then(|| {
            let probability = compare::second_probability(state, *class);
            probability.map_or_else(|| "      –".to_owned(), |probability| format!(" {:5.1}%", 100.0 * probability))
        });
        let percent = percent + &second.unwrap_or_default();
        let room = width.saturating_sub(bar_width + text::width(&percent) + 4);
        let name = state.target_name(*class);
        // What photos are called is told apart by its end.
        let name = if is_cosine { text::fitted_middle(&name, room) } else { name };
        let name = text::padded(&name, room);
        let is_selected = Some(row) == selected;
        let style = |style| if is_selected { theme.selected } else { style };
        let mark = if state.pinned.contains(class) { "◆ " } else { "  " };
        let line = Line::from(vec![
            Span::styled(mark, style(theme.pinned)),
            Span::styled(name + " ", style(theme.plain)),
            Span::styled(bar(probability / scale, bar_width), style(theme.bar)),
            Span::styled(percent, style(theme.plain)),
        ]);
        line.render(Rect { y, height: 1, ..rows }, buf);
    }
}

/// Where the model's answer alone asks nothing: that, and the keys that ask.
fn how_to_ask(state: &State, model: &crate::engine::ModelInfo) -> Option<String> {
    model.asks.as_ref().filter(|_| state.current_scores().is_some())?;
    let key = |action| state.keymap.keys(action).next().map(|key| key.to_string()).unwrap_or_default();
    let other = format!("{} explains an element of an output", key(Action::Target));
    Some(if model.is_embedding {
        format!(
            "The model gives an embedding. {} chooses the photo that this one is compared with; {other}.",
            key(Action::Similar)
        )
    } else {
        format!("What the model says is not recognised. {other}.")
    })
}

/// Layers as a tree, with their share of the heat, resolution and channels.
pub(super) fn layers(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let Some(model) = &state.model else { return };
    let list = tree::rows(state);
    let selected = list.iter().position(|row| row.is_chosen_from() && row.layer == state.layer);
    let total = model.layers.len();
    let mut count = match state.filter.as_str() {
        "" => format!("{}/{total}", state.layer + 1),
        filter => format!("{}/{} of {total} · {filter}", selected.map_or(0, |at| at + 1), list.len()),
    };
    if !model.forms.is_empty() {
        count += &format!(" · quantised ({})", model.forms.join(", "));
    }
    if model.saturates {
        count += " · saturated";
    }
    let rows = heading(area, theme, "Layers", &count, buf);
    let nearest = selected.unwrap_or_else(|| list.partition_point(|row| row.layer < state.layer));
    let start = list_start(nearest, list.len(), rows.height);
    let shown = list.iter().enumerate().skip(start).take(rows.height.into());
    let columns = Columns::of(state, shown.clone().map(|(_, row)| row), rows.width.into());
    let shares = if columns.bar > 0 { state.heat_shares() } else { Arc::default() };
    for (at, row) in shown {
        let area = Rect { y: rows.y + (at - start) as u16, height: 1, ..rows };
        columns.row(state, theme, row, Some(at) == selected, &shares).render(area, buf);
    }
}

/// Cells of each part of a layer's line.
struct Columns {
    width: usize,
    bar: usize,
    op: usize,
    size: usize,
    channels: usize,
    saturated: usize,
}

impl Columns {
    fn of<'a>(state: &State, rows: impl Iterator<Item = &'a tree::Row> + Clone, width: usize) -> Self {
        let widest = |text: &dyn Fn(&LayerInfo) -> usize| {
            let layers = rows.clone().filter_map(|row| state.model.as_ref()?.layers.get(row.layer));
            layers.map(text).max().unwrap_or(0)
        };
        let has_saturation = rows.clone().any(|row| state.saturated(row.layer).is_some());
        let op =
            |row: &tree::Row| state.model.as_ref()?.layers.get(row.layer).map(|layer| text::width(&op(row, layer)));
        Self {
            width,
            bar: if width >= 36 && !has_saturation || width >= 46 { 4 } else { 0 },
            op: if width >= 46 { rows.clone().filter_map(op).max().unwrap_or(0).min(18) } else { 0 },
            size: widest(&|layer| text::width(&layer.size)).min(width / 3),
            // A narrow list has no room for both.
            channels: if has_saturation && width < 36 {
                0
            } else {
                widest(&|layer| text::width(&layer.channels)).min(6)
            },
            saturated: if has_saturation { 6 } else { 0 },
        }
    }

    fn row<'a>(
        &self,
        state: &State,
        theme: &Theme,
        row: &tree::Row,
        is_selected: bool,
        shares: &HashMap<usize, f32>,
    ) -> Line<'a> {
        let Some(model) = &state.model else { return Line::default() };
        let layer = &model.layers[row.layer];
        let without = matches!(state.layers.get(row.layer), Some(LayerState::Without(_)));
        let is_heading = row.fold == Fold::Open;
        let holds_default = match (row.fold, row.node) {
            (Fold::Closed(_), Some(group)) => model.tree.holds(group, model.default_layer),
            (Fold::Layer, _) => row.layer == model.default_layer,
            _ => false,
        };
        let mark = match () {
            () if holds_default => "● ",
            () if without && !is_heading => "✗ ",
            () => "  ",
        };
        let style = |style| if is_selected { theme.selected } else { style };
        let fold = match row.fold {
            Fold::Layer => "",
            Fold::Open => "▾ ",
            Fold::Closed(_) => "▸ ",
        };
        let indent = " ".repeat(usize::from(row.depth).min(self.width / 6));
        let gap = |cells: usize| if cells > 0 { cells + 1 } else { 0 };
        let parts = [self.bar, self.op, self.size, self.channels, self.saturated];
        // Two cells for the mark, and one at the end as the classes have it.
        let room = self.width.saturating_sub(3 + parts.into_iter().map(gap).sum::<usize>());
        // Of a path its end tells more.
        let before = indent + fold;
        let name = text::fitted_end(&row.name, room.saturating_sub(text::width(&before)));
        let name = before + &name;
        let plain = if without || is_heading { theme.faint } else { theme.plain };
        let mut spans =
            vec![Span::styled(mark, style(theme.bar)), Span::styled(text::padded(&name, room), style(plain))];
        // Of an open group its layers say the rest.
        if is_heading {
            return Line::from(spans);
        }
        if self.bar > 0 {
            let share = shares.get(&row.layer).map_or_else(|| " ".repeat(self.bar), |share| bar(*share, self.bar));
            spans.push(Span::styled(format!(" {share}"), style(theme.bar)));
        }
        let mut details = String::new();
        if self.op > 0 {
            details += &format!(" {}", text::padded(&op(row, layer), self.op));
        }
        details += &format!(" {}", text::right(&layer.size, self.size));
        if self.channels > 0 {
            details += &format!(" {}", text::right(&layer.channels, self.channels));
        }
        if self.saturated > 0 {
            details += &format!(" {}", text::right(state.saturated(row.layer).unwrap_or(""), self.saturated));
        }
        spans.push(Span::styled(details + " ", style(theme.faint)));
        Line::from(spans)
    }
}

/// What a line is of: an operator and the type that it is stored in, or so many layers. Of an open group its layers say it.
fn op(row: &tree::Row, layer: &LayerInfo) -> String {
    match row.fold {
        Fold::Open => String::new(),
        Fold::Closed(count) => format!("{count} layers"),
        Fold::Layer => layer.op.clone() + &layer.stored.map(|stored| format!(" {stored}")).unwrap_or_default(),
    }
}

/// A heading with a count; gives the lines below it.
fn heading(area: Rect, theme: &Theme, name: &str, count: &str, buf: &mut Buffer) -> Rect {
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(1), ..area };
    let count = text::fitted(count, usize::from(area.width).saturating_sub(name.len() + 1));
    let line = Line::from(vec![Span::styled(name, theme.heading), Span::raw(" "), Span::styled(count, theme.faint)]);
    line.render(Rect { height: 1.min(area.height), ..area }, buf);
    Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }
}

/// A bar of `width` cells for a fraction.
pub(super) fn bar(fraction: f32, width: usize) -> String {
    let eighths = (fraction.clamp(0.0, 1.0) * width as f32 * 8.0).round() as usize;
    let bar = EIGHTHS[8].repeat(eighths / 8) + EIGHTHS[eighths % 8];
    text::padded(&bar, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_eighths() {
        assert_eq!(bar(0.0, 4), "    ");
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.5, 1), "▌");
        assert_eq!(bar(f32::NAN, 2), "  ");
        assert_eq!(bar(7.0, 2), "██");
    }
}
