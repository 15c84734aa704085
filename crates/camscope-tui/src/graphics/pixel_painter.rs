//! Sixel and iTerm2: pictures are painted into the cells, and whatever is written to a cell takes its part of the picture away.
//!
//! So a picture is painted when it, its place or what covers it changed, and blanks are written where one is gone. A popup wipes
//! out the cells that it covers; they come back when it closes, by painting anew.
//!
//! Over a slow line a picture comes part by part, in few pixels first; what stood in its place stays until they are there.

use std::collections::VecDeque;
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
    /// Parts that are still to be painted, where the line may be slow.
    waiting: Option<VecDeque<Part>>,
    /// The picture with the most cells in the last frame, and how many bytes of its parts have been written since it came.
    main: (Rect, usize),
    /// The most bytes of a picture that comes without one in few pixels before it.
    pub(super) at_once: usize,
}

/// A part of a picture that comes by itself.
#[derive(Debug)]
struct Part {
    /// The picture's cells.
    picture: Rect,
    /// Its own.
    area: Rect,
    /// Whether it has few pixels, and stands only until the others come.
    is_coarse: bool,
    bytes: Vec<u8>,
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
        let waiting = screen.is_paced().then(VecDeque::new);
        PixelPainter {
            needs_cursor,
            is_fragile,
            painted: Vec::new(),
            covered: Vec::new(),
            waiting,
            main: Default::default(),
            at_once: 0,
        }
    }

    /// Writes blanks over pictures that go. Their cells are blanks in ratatui's memory, except where a popup was: there the
    /// popup has replaced the picture already.
    pub(super) fn before(&mut self, out: &mut impl Write, placements: &[Placement]) -> io::Result<()> {
        let is_gone = |painted: &mut Painted| !placements.iter().any(|new| painted.is_under(new));
        let gone: Vec<Painted> = self.painted.extract_if(.., is_gone).collect();
        for gone in gone {
            blank(out, gone.area, &self.covered)?;
            self.wait_no_more(gone.area);
        }
        Ok(())
    }

    /// Paints pictures that are new or were covered, then the popups' cells again where they lie over them. Over a slow line it only notes
    /// their parts for [`PixelPainter::go_on`].
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
            if self.waiting.is_some() {
                if !is_there {
                    self.wait_no_more(area);
                    let few = placement.picture.preview().filter(|_| placement.picture.bytes() > self.at_once);
                    let first = few.map_or(&[][..], |preview| preview.pieces());
                    self.wait_for(first.iter().map(|piece| Part::of(piece, area, true)));
                    self.wait_for(pieces.iter().map(|piece| Part::of(piece, area, false)));
                } else if uncovered {
                    let old = self.covered.clone();
                    let was_covered = |piece: &&Piece| old.iter().any(|old| old.intersects(piece.area(area)));
                    self.wait_for(pieces.iter().filter(was_covered).map(|piece| Part::of(piece, area, false)));
                }
            } else if !is_there || uncovered {
                for piece in pieces {
                    self.paint(out, area, piece)?;
                }
                let popups: Vec<Rect> = covered.iter().map(|rect| rect.intersection(area)).collect();
                restore(out, &popups, buffer)?;
            }
            self.painted.push(Painted { area, id: placement.picture.id() });
        }
        self.covered = covered;
        let main = self.painted.iter().map(|painted| painted.area).max_by_key(|area| area.area()).unwrap_or_default();
        if let Some(waiting) = &mut self.waiting {
            // What is nearest to nothing comes first: all in few pixels, then the largest.
            waiting.make_contiguous().sort_by_key(|part| (!part.is_coarse, std::cmp::Reverse(part.picture.area())));
        }
        if self.main.0 != main {
            self.main = (main, 0);
        }
        Ok(())
    }

    /// Notes parts that are to come, once each.
    fn wait_for(&mut self, parts: impl Iterator<Item = Part>) {
        let Some(waiting) = &mut self.waiting else { return };
        for part in parts {
            if waiting.iter().all(|known| (known.area, known.is_coarse) != (part.area, part.is_coarse)) {
                waiting.push_back(part);
            }
        }
    }

    /// Drops what is still to come of the picture in this place.
    fn wait_no_more(&mut self, area: Rect) {
        if let Some(waiting) = &mut self.waiting {
            waiting.retain(|part| part.picture != area);
        }
        if self.main.0 == area {
            self.main.1 = 0;
        }
    }

    /// Paints parts that wait, in their order, until about so many bytes are written; popups' cells again where they lie over them.
    pub(super) fn go_on(
        &mut self,
        out: &mut impl Write,
        most: usize,
        covered: &[Rect],
        buffer: &Buffer,
    ) -> io::Result<()> {
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        let mut left = most;
        while left > 0
            && let Some(part) = waiting.pop_front()
        {
            // What is under a popup comes when that closes.
            if covered.iter().any(|popup| contains(*popup, part.area)) {
                continue;
            }
            move_to(out, part.area.x, part.area.y)?;
            out.write_all(&part.bytes)?;
            let popups: Vec<Rect> = covered.iter().map(|rect| rect.intersection(part.area)).collect();
            restore(out, &popups, buffer)?;
            left = left.saturating_sub(part.bytes.len());
            if part.picture == self.main.0 {
                self.main.1 += part.bytes.len();
            }
        }
        Ok(())
    }

    /// How much of the largest picture has been painted, in percent; `None` where it is there.
    pub(super) fn percent(&self) -> Option<u8> {
        let of_main = self.waiting.iter().flatten().filter(|part| part.picture == self.main.0);
        let left: usize = of_main.map(|part| part.bytes.len()).sum();
        (left > 0).then(|| (100 * self.main.1 / (self.main.1 + left)) as u8)
    }

    pub(super) fn forget(&mut self) {
        if let Some(waiting) = &mut self.waiting {
            waiting.clear();
        }
        self.main = Default::default();
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

impl Part {
    fn of(piece: &Piece, picture: Rect, is_coarse: bool) -> Self {
        Self { picture, area: piece.area(picture), is_coarse, bytes: piece.bytes.clone() }
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
