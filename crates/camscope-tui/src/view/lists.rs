//! The lists of classes and layers.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::Widget,
};

use super::{text, theme::Theme};
use crate::{
    layout::list_start,
    state::{LayerState, State},
};

/// Eighths of a cell, for bars.
const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// Classes with their probabilities.
pub(super) fn classes(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let list = state.target_list();
    let selected = list.iter().position(|class| Some(*class) == state.current_target());
    let name = state.model.as_ref().map_or("Classes", |model| model.heading);
    let rows = heading(area, theme, name, &list.len().to_string(), buf);
    let start = list_start(selected.unwrap_or(0), list.len(), rows.height);
    let scores = state.current_scores();
    let width = usize::from(rows.width);
    let bar_width = if width >= 36 { 8 } else { 5 };
    for (row, class) in list.iter().enumerate().skip(start).take(rows.height.into()) {
        let y = rows.y + (row - start) as u16;
        let probability = scores.and_then(|scores| scores.probability(*class));
        let value = || scores.and_then(|scores| scores.values.get(*class)).copied().unwrap_or(0.0);
        let percent = probability
            .map_or_else(|| format!("{:6.2}", value()), |probability| format!("{:5.1}%", 100.0 * probability));
        let probability = probability.unwrap_or(0.0);
        let room = width.saturating_sub(bar_width + percent.len() + 4);
        let name = text::padded(&state.target_name(*class), room);
        let is_selected = Some(row) == selected;
        let style = |style| if is_selected { theme.selected } else { style };
        let mark = if state.pinned.contains(class) { "◆ " } else { "  " };
        let line = Line::from(vec![
            Span::styled(mark, style(theme.pinned)),
            Span::styled(name + " ", style(theme.plain)),
            Span::styled(bar(probability, bar_width), style(theme.bar)),
            Span::styled(percent, style(theme.plain)),
        ]);
        line.render(Rect { y, height: 1, ..rows }, buf);
    }
}

/// Layers with operator and shape.
pub(super) fn layers(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let Some(model) = &state.model else { return };
    let list = state.layer_list();
    let selected = list.iter().position(|layer| *layer == state.layer);
    let mut count = match state.filter.as_str() {
        "" => list.len().to_string(),
        filter => format!("{} of {} · {filter}", list.len(), model.layers.len()),
    };
    if !model.forms.is_empty() {
        count += &format!(" · quantised ({})", model.forms.join(", "));
    }
    if model.saturates {
        count += " · saturated";
    }
    let rows = heading(area, theme, "Layers", &count, buf);
    let nearest = selected.unwrap_or_else(|| list.partition_point(|layer| *layer < state.layer));
    let start = list_start(nearest, list.len(), rows.height);
    let width = usize::from(rows.width);
    for (row, at) in list.iter().enumerate().skip(start).take(rows.height.into()) {
        let y = rows.y + (row - start) as u16;
        let layer = &model.layers[*at];
        let without = matches!(state.layers.get(*at), Some(LayerState::Without(_)));
        let mark = match () {
            () if *at == model.default_layer => "● ",
            () if without => "✗ ",
            () => "  ",
        };
        let is_selected = Some(row) == selected;
        let style = |style| if is_selected { theme.selected } else { style };
        let stored = layer.stored.map(|stored| format!("{stored} ")).unwrap_or_default();
        let mut details =
            if width >= 46 { format!("{} {stored}{}", layer.op, layer.shape) } else { layer.shape.clone() };
        if let Some(share) = state.saturated(*at) {
            details += &format!(" {share:>6}");
        }
        let details = text::fitted(&details, width * 2 / 3);
        let room = width.saturating_sub(text::width(&details) + 4);
        let name = text::fitted_end(&layer.name, room);
        let line = Line::from(vec![
            Span::styled(mark, style(theme.bar)),
            Span::styled(text::padded(&name, room), style(if without { theme.faint } else { theme.plain })),
            Span::styled(format!(" {details} "), style(theme.faint)),
        ]);
        line.render(Rect { y, height: 1, ..rows }, buf);
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
fn bar(fraction: f32, width: usize) -> String {
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
