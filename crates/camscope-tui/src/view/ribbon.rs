//! The text that was read, over the picture: the chosen character bright, all of them where all is chosen.

use ratatui::{buffer::Buffer, style::Modifier, text::Line, widgets::Widget};

use super::theme::Theme;
use crate::{state::State, text, tiles::Tile};

/// Draws the line.
pub(super) fn ribbon(state: &State, theme: &Theme, shown: &[Tile], buf: &mut Buffer) {
    let Some((line, placed)) = text::shown(state, shown) else { return };
    let line = line.intersection(buf.area);
    if placed.is_empty() {
        Line::styled("nothing was read", theme.faint).centered().render(line, buf);
        return;
    }
    let current = state.current_target();
    let is_all =
        current.and_then(|target| state.current_scores()?.asked(target)).is_some_and(|asked| asked.spec == "text");
    for (column, character) in placed {
        let style = match Some(character.target) == current {
            true => theme.selected.add_modifier(Modifier::BOLD),
            false if is_all => theme.title,
            false => theme.faint,
        };
        let name = super::text::fitted(&character.name, line.right().saturating_sub(column).into());
        buf.set_string(column, line.y, name, style);
    }
}
