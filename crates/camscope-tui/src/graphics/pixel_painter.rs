//! Sixel and iTerm2: pictures are painted into the cells, and whatever is written to a cell takes its part of the picture away.
//!
//! So a picture is painted when it, its place or what covers it changed, and blanks are written where one is gone. A popup wipes
//! out the cells that it covers; they come back when it closes, by painting anew.

use std::io::{self, Write};

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::escape::{blank, move_to};
use super::picture::{Payload, Piece, Placement};
use super::{Protocol, Screen};

/// What is painted on the screen.
#[derive(Debug)]
pub(super) struct PixelPainter {
    /// Whether pictures go through tmux to the terminal, whose cursor tmux moves only when it writes.
    needs_cursor: bool,
    /// Whether a picture is gone as a whole when something is written over a part of it, as in tmux.
    is_fragile: bool,
    painted: Vec<Painted>,
    /// Popups in the last frame.
    covered: Vec<Rect>,
}

#[derive(Debug)]
struct Painted {
    area: Rect,
    id: u32,
}

impl PixelPainter {
    pub(super) fn new(screen: &Screen) -> Self {
        let needs_cursor = screen.tmux && screen.protocol == Protocol::Iterm2;
        let is_fragile = screen.in_tmux && screen.protocol == Protocol::Sixel;
        PixelPainter { needs_cursor, is_fragile, painted: Vec::new(), covered: Vec::new() }
    }

    /// Writes blanks over pictures that go. Their cells are blanks in ratatui's memory, except where a popup was: there the
    /// popup has replaced the picture already.
    pub(super) fn before(&mut self, out: &mut impl Write, placements: &[Placement]) -> io::Result<()> {
        for gone in self.painted.extract_if(.., |painted| !placements.iter().any(|new| painted.is_under(new))) {
            blank(out, gone.area, &self.covered)?;
        }
        Ok(())
    }

    /// Paints pictures that are new or were covered, then the popups' cells again where they lie over them.
    pub(super) fn after(
        &mut self,
        out: &mut impl Write,
        placements: &[Placement],
        covered: &[Rect],
        buffer: &Buffer,
    ) -> io::Result<()> {
        let covered: Vec<Rect> = covered.iter().map(|rect| rect.intersection(buffer.area)).collect();
        let before = std::mem::take(&mut self.painted);
        for placement in placements {
            let Payload::Painted(pieces) = &placement.picture.payload else { continue };
            let (columns, rows) = placement.picture.cells();
            let area = Rect::new(placement.area.x, placement.area.y, columns, rows);
            // A picture made for another size, as may happen for a moment after the screen changed, would spill over.
            if area.intersection(placement.area) != area {
                continue;
            }
            if self.is_fragile && covered.iter().any(|popup| popup.intersects(area)) {
                continue;
            }
            let is_there = before.iter().any(|painted| painted.area == area && painted.id == placement.picture.id());
            let uncovered =
                self.covered.iter().any(|old| old.intersects(area) && !covered.iter().any(|new| contains(*new, *old)));
            if !is_there || uncovered {
                for piece in pieces {
                    self.paint(out, area, piece)?;
                }
                let popups: Vec<Rect> = covered.iter().map(|rect| rect.intersection(area)).collect();
                restore(out, &popups, buffer)?;
            }
            self.painted.push(Painted { area, id: placement.picture.id() });
        }
        self.covered = covered;
        Ok(())
    }

    pub(super) fn forget(&mut self) {
        self.painted.clear();
        self.covered.clear();
    }

    fn paint(&self, out: &mut impl Write, area: Rect, piece: &Piece) -> io::Result<()> {
        move_to(out, area.x + piece.at.0, area.y + piece.at.1)?;
        if self.needs_cursor {
            // The blank brings the terminal's cursor to the next cell; the sequence takes it back.
            out.write_all(b" ")?;
        }
        out.write_all(&piece.bytes)
    }
}

impl Painted {
    /// Whether a new placement leaves nothing of this one.
    fn is_under(&self, new: &Placement) -> bool {
        let (columns, rows) = new.picture.cells();
        self.area == Rect::new(new.area.x, new.area.y, columns, rows) && contains(new.area, self.area)
    }
}

fn contains(outer: Rect, inner: Rect) -> bool {
    outer.intersection(inner) == inner
}

/// Writes cells of the frame again.
fn restore(out: &mut impl Write, areas: &[Rect], buffer: &Buffer) -> io::Result<()> {
    let cells = areas.iter().flat_map(|area| area.positions()).map(|at| (at.x, at.y, &buffer[at]));
    if areas.iter().any(|area| !area.is_empty()) {
        CrosstermBackend::new(out).draw(cells)?;
    }
    Ok(())
}
