//! A picture made ready for the terminal, and what stands for it among the characters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use image::{RgbImage, imageops};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;

use super::{Protocol, Screen, halfblocks, iterm2, kitty, placeholders, sixel};

/// A picture encoded for one terminal and one size in cells. It doesn't change: share it by [`Arc`].
#[derive(Debug)]
pub struct Picture {
    id: u32,
    cells: (u16, u16),
    pub(super) payload: Payload,
    preview: Option<Arc<Picture>>,
}

/// What the protocol needs of a picture.
#[derive(Debug)]
pub(super) enum Payload {
    /// No pictures here.
    Nothing,
    /// Upper and lower colour of each cell, row by row.
    Cells(Vec<halfblocks::Halves>),
    /// kitty's protocol: the terminal keeps the picture under a number.
    Kept(kitty::Kept),
    /// Sixel and iTerm2: pieces that are painted into the cells.
    Painted(Vec<Piece>),
}

/// A part of a picture, painted at a cell relative to the picture's corner.
#[derive(Debug)]
pub(super) struct Piece {
    /// Columns and rows from the picture's corner.
    pub(super) at: (u16, u16),
    /// Its columns and rows.
    pub(super) size: (u16, u16),
    /// The escape sequence.
    pub(super) bytes: Vec<u8>,
}

impl Piece {
    /// Its cells, where the picture has those.
    pub(super) fn area(&self, picture: Rect) -> Rect {
        Rect::new(picture.x + self.at.0, picture.y + self.at.1, self.size.0, self.size.1).intersection(picture)
    }
}

/// Where a picture goes in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Placement<'a> {
    /// The cells.
    pub area: Rect,
    /// The picture, made for that many cells.
    pub picture: &'a Arc<Picture>,
}

impl Picture {
    /// A number that no other picture of this process has.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Columns and rows that it was made for.
    pub fn cells(&self) -> (u16, u16) {
        self.cells
    }

    /// The same in few pixels, for a slow line.
    pub(crate) fn preview(&self) -> Option<&Arc<Picture>> {
        self.preview.as_ref()
    }

    /// The parts that are painted, where it is painted in parts.
    pub(super) fn pieces(&self) -> &[Piece] {
        let Payload::Painted(pieces) = &self.payload else { return &[] };
        pieces
    }

    /// How many bytes a row of half-blocks takes, about; `None` of other pictures.
    pub(crate) fn row_bytes(&self, row: u16) -> Option<usize> {
        let Payload::Cells(cells) = &self.payload else { return None };
        let columns = usize::from(self.cells.0);
        Some(halfblocks::wire_bytes(cells.get(usize::from(row) * columns..)?.get(..columns)?))
    }

    /// Makes a cell a blank in the colour that the picture's cell has there: what a picture in few pixels is made of.
    pub(crate) fn fill_flat(&self, (column, row): (u16, u16), cell: &mut Cell) {
        cell.reset();
        let at = usize::from(row) * usize::from(self.cells.0) + usize::from(column);
        if let Payload::Cells(cells) = &self.payload
            && let Some([_, lower]) = cells.get(at).filter(|_| column < self.cells.0)
        {
            cell.set_bg(*lower);
        }
    }

    /// All that is painted of it.
    #[cfg(test)]
    pub(crate) fn painted_bytes(&self) -> Vec<u8> {
        self.pieces().iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    /// How much memory it takes, in bytes: about what goes over the wire when it is shown for the first time.
    pub fn bytes(&self) -> usize {
        match &self.payload {
            Payload::Nothing => 0,
            Payload::Cells(cells) => size_of_val(cells.as_slice()),
            Payload::Kept(kept) => kept.transmission.len(),
            Payload::Painted(pieces) => pieces.iter().map(|piece| piece.bytes.len()).sum(),
        }
    }
}

/// Width and height in pixels that an image for so many cells should have: what they cover on this screen, a little less where the
/// protocol wants that, or within the budget of [`Screen::pixel_budget`].
pub fn pixels(screen: &Screen, cells: (u16, u16)) -> (u32, u32) {
    let (columns, rows) = (u32::from(cells.0), u32::from(cells.1));
    let (width, height) = (columns * u32::from(screen.cell.0), rows * u32::from(screen.cell.1));
    match screen.protocol {
        Protocol::HalfBlocks | Protocol::None => (columns, rows * 2),
        Protocol::Sixel => (width, sixel::whole_bands(height)),
        // The terminal scales these to their cells.
        Protocol::Kitty | Protocol::KittyPlaceholders | Protocol::Iterm2 => {
            within(screen.pixel_budget, (width, height))
        }
    }
}

/// A size of the same shape that has at most `budget` pixels.
fn within(budget: Option<u32>, (width, height): (u32, u32)) -> (u32, u32) {
    let most = budget.map_or(f64::INFINITY, f64::from);
    let factor = (most / (f64::from(width) * f64::from(height)).max(1.0)).sqrt().min(1.0);
    ((f64::from(width) * factor) as u32, (f64::from(height) * factor) as u32)
}

/// Encodes `image`, which should have [`pixels`], for so many cells of this screen. It takes milliseconds to tenths of a second:
/// run it on a worker.
pub fn encode(screen: &Screen, image: &RgbImage, cells: (u16, u16)) -> Picture {
    encode_as(next_id(), screen, image, cells)
}

/// A number that no picture of this process has had.
pub(super) fn next_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The pixels of a preview: 55 × 55, some 9 kB of a photo over the wire.
const PREVIEW_PIXELS: u32 = 3000;

/// The same of sixel, which no terminal enlarges: each of them costs several bytes a line.
const SIXEL_PIXELS: u32 = 576;

/// The fewest half-blocks of a picture that comes in few pixels first: 20 × 10 cells.
const FEWEST_HALVES: u32 = 400;

/// [`encode`], with the picture's number.
pub(super) fn encode_as(id: u32, screen: &Screen, image: &RgbImage, cells: (u16, u16)) -> Picture {
    let is_empty = image.width() == 0 || image.height() == 0 || cells.0 == 0 || cells.1 == 0;
    let payload = match screen.protocol {
        _ if is_empty => Payload::Nothing,
        Protocol::None => Payload::Nothing,
        Protocol::HalfBlocks => Payload::Cells(halfblocks::encode(image, cells, screen.truecolor)),
        Protocol::Kitty | Protocol::KittyPlaceholders => Payload::Kept(kitty::encode(id, screen, image, cells)),
        Protocol::Sixel => Payload::Painted(sixel::encode(screen, image)),
        Protocol::Iterm2 => Payload::Painted(iterm2::encode(screen, image, cells)),
    };
    let least = if screen.protocol == Protocol::HalfBlocks { FEWEST_HALVES } else { 4 * PREVIEW_PIXELS };
    let has_preview = screen.is_paced() && image.width() * image.height() > least;
    let preview = has_preview.then(|| Arc::new(few_pixels(screen, image, cells)));
    Picture { id, cells, payload, preview }
}

/// The picture in few pixels, for a slow line.
fn few_pixels(screen: &Screen, image: &RgbImage, cells: (u16, u16)) -> Picture {
    let of = |most: u32| {
        let (width, height) = within(Some(most), image.dimensions());
        imageops::thumbnail(image, width.max(1), height.max(1))
    };
    match screen.protocol {
        Protocol::Sixel => {
            let payload = Payload::Painted(sixel::coarse(screen, &of(SIXEL_PIXELS), image.dimensions()));
            Picture { id: next_id(), cells, payload, preview: None }
        }
        Protocol::HalfBlocks => {
            let payload = Payload::Cells(halfblocks::few(image, cells, screen.truecolor));
            Picture { id: next_id(), cells, payload, preview: None }
        }
        _ => encode_as(next_id(), screen, &of(PREVIEW_PIXELS), cells),
    }
}

/// Puts into ratatui's buffer what stands for the picture: half-blocks, kitty's placeholders, or blanks where the [`Painter`]
/// paints. What doesn't fit into `area` is cut off.
///
/// [`Painter`]: super::Painter
pub fn fill(picture: &Picture, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    for position in area.positions() {
        buf[position].reset();
    }
    match &picture.payload {
        Payload::Cells(cells) => halfblocks::fill(cells, picture.cells, area, buf),
        Payload::Kept(kept) if kept.is_virtual => placeholders::fill(kept.number, picture.cells, area, buf),
        _ => {}
    }
}
