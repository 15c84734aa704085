//! kitty's protocol: <https://sw.kovidgoyal.net/kitty/graphics-protocol/>.
//!
//! A picture is sent once, under a number; from then on the terminal holds it, and showing it again costs some fifty bytes. Where
//! something lies over it, it is shown in pieces around that. (The protocol could put it below coloured cells instead, but kitty
//! 0.26, which Debian 12 has, then leaves on the screen what was there before.)

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camscope_core::image::write_png;
use image::RgbImage;
use ratatui::layout::Rect;

use super::escape::{maybe_through_tmux, move_to};
use super::picture::{Payload, Picture, Placement, next_id};
use super::{Protocol, Screen, placeholders};

/// The most base64 characters that one escape sequence may carry.
const CHUNK: usize = 4096;

/// How many pictures the terminal is asked to hold.
const HELD_PICTURES: usize = 64;

/// How many bytes of pixels (4 bytes each, as the terminal stores them) it is asked to hold: kitty and Ghostty grant 320 MB to
/// all programs together.
const HELD_BYTES: usize = 64 << 20;

/// How many pictures that were deleted are known as such: more than are kept for going back.
const GONE: usize = 4096;

/// A picture that the terminal keeps.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its number in the terminal.
    pub(super) number: u32,
    /// What makes the terminal hold it.
    pub(super) transmission: Vec<u8>,
    /// Width and height in pixels.
    size: (u32, u32),
    /// Whether it is shown by placeholders.
    pub(super) is_virtual: bool,
}

/// Encodes a picture for transmission.
pub(super) fn encode(id: u32, screen: &Screen, image: &RgbImage, cells: (u16, u16)) -> Kept {
    let is_virtual = screen.protocol == Protocol::KittyPlaceholders;
    let number = placeholders::number(id);
    let png = STANDARD.encode(png(image));
    // With a=T the picture is placed as it arrives; a virtual placement shows nothing until placeholders name it.
    let action = if is_virtual { format!("a=T,U=1,c={},r={}", cells.0, cells.1) } else { "a=t".to_owned() };
    let mut transmission = Vec::with_capacity(png.len() + png.len() / 100 + 64);
    let mut chunks = png.as_bytes().chunks(CHUNK).peekable();
    let mut control = format!("{action},f=100,i={number},q=2");
    while let Some(chunk) = chunks.next() {
        // The last one says m=0, which is the default where there is only one.
        match (chunks.peek().is_some(), control.is_empty()) {
            (true, true) => control = "m=1".to_owned(),
            (true, false) => control.push_str(",m=1"),
            (false, true) => control = "m=0".to_owned(),
            (false, false) => {}
        }
        let sequence = [b"\x1b_G", control.as_bytes(), b";", chunk, b"\x1b\\"].concat();
        transmission.extend(maybe_through_tmux(screen.tmux, sequence));
        control.clear();
    }
    Kept { number, transmission, size: image.dimensions(), is_virtual }
}

/// A transmission under another number, which its first sequence has.
fn renumbered(transmission: &[u8], old: u32, new: u32) -> Vec<u8> {
    let named = format!(",i={old},").into_bytes();
    let Some(at) = transmission.windows(named.len()).position(|part| part == named) else {
        return transmission.to_vec();
    };
    [&transmission[..at], format!(",i={new},").as_bytes(), &transmission[at + named.len()..]].concat()
}

/// `image` as PNG.
pub(super) fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail, and a picture on the screen has pixels.
    match write_png(image, &mut bytes) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

/// What the terminal holds and shows.
#[derive(Debug, Default)]
pub(super) struct KittyPainter {
    tmux: bool,
    /// Oldest use first.
    held: VecDeque<Held>,
    shown: Vec<Shown>,
    /// Numbers of pictures that may or may not be there still, to be deleted.
    forgotten: Vec<u32>,
    /// Pictures that were deleted, from the latest on.
    gone: VecDeque<u32>,
    last_slot: u32,
    /// The number of a picture of which parts were sent.
    begun: Option<u32>,
}

#[derive(Debug)]
struct Held {
    id: u32,
    number: u32,
    pixels: usize,
}

/// A picture on the screen, or a piece of one.
#[derive(Debug, PartialEq)]
struct Shown {
    /// The whole picture's cells.
    area: Rect,
    /// Those that are shown.
    piece: Rect,
    number: u32,
}

impl Shown {
    fn is(&self, area: Rect, piece: Rect, number: u32) -> bool {
        (self.area, self.piece, self.number) == (area, piece, number)
    }
}

impl KittyPainter {
    pub(super) fn new(screen: &Screen) -> Self {
        KittyPainter { tmux: screen.tmux, ..KittyPainter::default() }
    }

    /// Sends the pictures that the terminal doesn't hold.
    pub(super) fn send(&mut self, out: &mut impl Write, placements: &[Placement]) -> io::Result<()> {
        for number in std::mem::take(&mut self.forgotten) {
            self.command(out, &format!("a=d,d=I,i={number},q=2"))?;
        }
        for (picture, kept) in placements.iter().filter_map(kept) {
            let place = self.held.iter().position(|held| held.id == picture.id());
            if let Some(held) = place.and_then(|place| self.held.remove(place)) {
                self.held.push_back(held); // the newest again
                continue;
            }
            let (number, transmission) = self.transmission(picture, kept);
            out.write_all(&transmission)?;
            self.hold(picture, kept, number);
        }
        Ok(())
    }

    /// What makes the terminal hold a picture, and the number that it has there.
    fn transmission<'a>(&self, picture: &Picture, kept: &'a Kept) -> (u32, Cow<'a, [u8]>) {
        // kitty 0.26 loses a picture that comes again under the number of one that was deleted. Placeholders name the number.
        if self.gone.contains(&picture.id()) && !kept.is_virtual {
            let number = placeholders::number(next_id());
            return (number, renumbered(&kept.transmission, kept.number, number).into());
        }
        (kept.number, kept.transmission.as_slice().into())
    }

    fn hold(&mut self, picture: &Picture, kept: &Kept, number: u32) {
        // Numbers come round after some thousands of pictures: the terminal has replaced the old one.
        self.held.retain(|held| held.number != number);
        self.shown.retain(|shown| shown.number != number);
        let pixels = 4 * kept.size.0 as usize * kept.size.1 as usize;
        self.held.push_back(Held { id: picture.id(), number, pixels });
    }

    /// Whether a picture would have to be sent.
    pub(super) fn lacks(&self, placement: &Placement) -> bool {
        kept(placement).is_some_and(|(picture, _)| self.held.iter().all(|held| held.id != picture.id()))
    }

    /// The sequences that make the terminal hold a picture: all are to be written, or [`KittyPainter::break_off`], before other commands.
    pub(super) fn begin(&mut self, picture: &Picture) -> Vec<Vec<u8>> {
        let Payload::Kept(kept) = &picture.payload else { return Vec::new() };
        let (number, transmission) = self.transmission(picture, kept);
        self.begun = Some(number);
        let mut sequences: Vec<Vec<u8>> = Vec::new();
        for part in transmission.split_inclusive(|byte| *byte == b'\\') {
            sequences.push(part.to_vec());
        }
        sequences
    }

    /// The terminal holds the picture that was begun.
    pub(super) fn finish(&mut self, picture: &Picture) {
        if let (Some(number), Payload::Kept(kept)) = (self.begun.take(), &picture.payload) {
            self.hold(picture, kept, number);
        }
    }

    /// Ends a picture of which parts are missing; the terminal drops it.
    pub(super) fn break_off(&mut self, out: &mut Vec<u8>) {
        if let Some(number) = self.begun.take() {
            out.extend_from_slice(b"\x1b_Gm=0,q=2;\x1b\\");
            out.extend_from_slice(format!("\x1b_Ga=d,d=I,i={number},q=2\x1b\\").as_bytes());
        }
    }

    /// Shows the pictures where they belong, takes others away, and deletes the oldest where there are too many.
    pub(super) fn after(&mut self, out: &mut impl Write, placements: &[Placement], covered: &[Rect]) -> io::Result<()> {
        let visible = |placement: &&Placement| !placement.area.is_empty();
        let number = |picture: &Picture| self.held.iter().find(|held| held.id == picture.id()).map(|held| held.number);
        let direct = placements.iter().filter(visible).filter_map(|placement| {
            let (picture, kept) = kept(placement).filter(|(_, kept)| !kept.is_virtual)?;
            Some((placement.area, number(picture)?, kept.size))
        });
        let wanted: Vec<(Rect, Rect, u32, (u32, u32))> = direct
            .flat_map(|(area, number, size)| {
                around(area, covered).into_iter().map(move |piece| (area, piece, number, size))
            })
            .collect();
        // Where one goes, all are taken away and placed anew, in the same update, so that nothing flickers: kitty 0.26 may take
        // away others than the one that is named, and anew they cost some fifty bytes each.
        let stays = |shown: &Shown| wanted.iter().any(|(area, piece, number, _)| shown.is(*area, *piece, *number));
        if !self.shown.iter().all(stays) {
            self.shown.clear();
            self.command(out, "a=d,d=a,q=2")?;
        }
        for (area, piece, number, size) in wanted {
            if !self.shown.iter().any(|shown| shown.is(area, piece, number)) {
                let shown = self.place(out, area, piece, number, size)?;
                self.shown.push(shown);
            }
        }
        self.evict(out, placements)
    }

    /// Forgets what the terminal shows and holds, for it may have been cleared.
    pub(super) fn forget(&mut self) {
        for held in self.held.drain(..) {
            self.gone.push_front(held.id);
            self.forgotten.push(held.number);
        }
        self.gone.truncate(GONE);
        self.shown.clear();
    }

    /// Deletes all pictures of this process.
    pub(super) fn leave(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.forget();
        self.send(out, &[])
    }

    /// Deletes all pictures on the screen, whosever they are; placeholders are deleted with the characters.
    pub(super) fn delete_all(&self) -> Vec<u8> {
        if self.tmux { Vec::new() } else { b"\x1b_Ga=d,d=A,q=2\x1b\\".to_vec() }
    }

    fn place(
        &mut self,
        out: &mut impl Write,
        area: Rect,
        piece: Rect,
        number: u32,
        size: (u32, u32),
    ) -> io::Result<Shown> {
        self.last_slot = self.last_slot % 0xff_ffff + 1;
        let slot = self.last_slot;
        let part = if piece == area { String::new() } else { part(area, piece, size) };
        let (columns, rows) = (piece.width, piece.height);
        move_to(out, piece.x, piece.y)?;
        self.command(out, &format!("a=p,i={number},p={slot},{part}c={columns},r={rows},C=1,q=2"))?;
        Ok(Shown { area, piece, number })
    }

    /// Deletes the pictures that were not shown for longest.
    fn evict(&mut self, out: &mut impl Write, placements: &[Placement]) -> io::Result<()> {
        let is_used = |held: &Held| placements.iter().any(|placement| placement.picture.id() == held.id);
        let mut bytes: usize = self.held.iter().map(|held| held.pixels).sum();
        while self.held.len() > HELD_PICTURES || bytes > HELD_BYTES {
            // Those in use are the newest.
            if self.held.front().is_none_or(is_used) {
                break;
            }
            let Some(oldest) = self.held.pop_front() else { break };
            bytes -= oldest.pixels;
            self.gone.push_front(oldest.id);
            self.gone.truncate(GONE);
            self.command(out, &format!("a=d,d=I,i={},q=2", oldest.number))?;
        }
        Ok(())
    }

    fn command(&self, out: &mut impl Write, control: &str) -> io::Result<()> {
        out.write_all(&maybe_through_tmux(self.tmux, format!("\x1b_G{control}\x1b\\").into_bytes()))
    }
}

/// The rectangles that are left of `area` where `covered` is taken out of it.
fn around(area: Rect, covered: &[Rect]) -> Vec<Rect> {
    let mut pieces = vec![area];
    for cover in covered {
        pieces = pieces.into_iter().flat_map(|piece| without(piece, *cover)).collect();
    }
    pieces
}

/// What is left of a rectangle: above, below, to the left and to the right of what is taken out.
fn without(piece: Rect, cover: Rect) -> Vec<Rect> {
    let hole = piece.intersection(cover);
    if hole.is_empty() {
        return vec![piece];
    }
    let above = Rect { height: hole.y - piece.y, ..piece };
    let below = Rect { y: hole.bottom(), height: piece.bottom() - hole.bottom(), ..piece };
    let left = Rect { y: hole.y, height: hole.height, width: hole.x - piece.x, ..piece };
    let right = Rect { x: hole.right(), width: piece.right() - hole.right(), ..left };
    [above, below, left, right].into_iter().filter(|part| !part.is_empty()).collect()
}

/// The pixels of a piece, as the protocol names them.
fn part(area: Rect, piece: Rect, (width, height): (u32, u32)) -> String {
    let at =
        |cell: u16, cells: u16, pixels: u32| (u64::from(cell) * u64::from(pixels) / u64::from(cells.max(1))) as u32;
    let (x, y) = (at(piece.x - area.x, area.width, width), at(piece.y - area.y, area.height, height));
    let (right, bottom) =
        (at(piece.right() - area.x, area.width, width), at(piece.bottom() - area.y, area.height, height));
    format!("x={x},y={y},w={},h={},", (right - x).max(1), (bottom - y).max(1))
}

/// The picture of a placement, if it is one of kitty's protocol.
fn kept<'a>(placement: &Placement<'a>) -> Option<(&'a Arc<Picture>, &'a Kept)> {
    match &placement.picture.payload {
        Payload::Kept(kept) => Some((placement.picture, kept)),
        _ => None,
    }
}
