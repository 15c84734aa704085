//! Lines in a box over a corner of the picture.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::Line,
    widgets::{Clear, Widget},
};

use super::{text, theme::Theme};

/// The box, with two cells free to either side of its lines.
pub(super) struct Panel<'a> {
    area: Rect,
    theme: &'a Theme,
    buf: &'a mut Buffer,
}

impl<'a> Panel<'a> {
    /// An empty one.
    pub(super) fn clear(area: Rect, theme: &'a Theme, buf: &'a mut Buffer) -> Self {
        Clear.render(area, buf);
        buf.set_style(area, theme.popup);
        Self { area, theme, buf }
    }

    /// Cells of a line.
    pub(super) fn width(&self) -> usize {
        self.area.width.saturating_sub(4).into()
    }

    /// A line, cut where it is too long; none where there is no such row.
    pub(super) fn line(&mut self, row: u16, text: &str, style: Style) {
        let Rect { x, y, width, height } = self.area;
        if row < height {
            let place = Rect { x: x + 2.min(width), y: y + row, width: width.saturating_sub(2), height: 1 };
            let text = text::fitted(text, self.width());
            Line::styled(text, self.theme.popup.patch(style)).render(place, self.buf);
        }
    }
}
