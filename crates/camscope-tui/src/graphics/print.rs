//! An image printed once, among the lines that a command prints.

use std::io::{self, Write};
use std::sync::Arc;

use image::RgbImage;
use image::imageops::{FilterType, resize};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::picture::{Payload, Picture};
use super::{Protocol, Screen, encode, fill, pixels};

/// Columns and rows that the terminal has, if it tells.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// Rows of text that stay visible beside an image.
const ROWS_OF_TEXT: u16 = 4;

/// Prints `image` at the cursor, which has to be at the start of a line, and leaves the cursor at the start of the line below. The image
/// fills the terminal's width or height, and `largest` columns and rows at most.
///
/// # Errors
/// Those of writing.
pub fn print(screen: &Screen, image: &RgbImage, largest: (u16, u16), out: &mut impl Write) -> io::Result<()> {
    let (columns, rows) = crossterm::terminal::size().unwrap_or(USUAL_SIZE);
    let room = (columns.clamp(1, largest.0), rows.saturating_sub(ROWS_OF_TEXT).clamp(1, largest.1));
    print_in(screen, image, cells_within(room, image.dimensions(), screen.cell), out)
}

/// The most cells within `room` that keep the image's aspect ratio.
fn cells_within(room: (u16, u16), (width, height): (u32, u32), cell: (u16, u16)) -> (u16, u16) {
    let (width, height) = (f64::from(width.max(1)) / f64::from(cell.0), f64::from(height.max(1)) / f64::from(cell.1));
    let scale = (f64::from(room.0) / width).min(f64::from(room.1) / height);
    let side = |length: f64, most: u16| ((length * scale).round() as u16).clamp(1, most);
    (side(width, room.0), side(height, room.1))
}

fn print_in(screen: &Screen, image: &RgbImage, cells: (u16, u16), out: &mut impl Write) -> io::Result<()> {
    let (width, height) = pixels(screen, cells);
    let scaled = resize(image, width.max(1), height.max(1), FilterType::Triangle);
    let picture = Arc::new(encode(screen, &scaled, cells));
    match &picture.payload {
        Payload::Nothing => return Ok(()),
        Payload::Cells(_) => lines(&picture, cells, out)?,
        Payload::Kept(kept) => {
            out.write_all(&kept.transmission)?;
            if screen.protocol == Protocol::KittyPlaceholders {
                lines(&picture, cells, out)?;
            } else {
                make_room(cells.1, out)?;
                write!(out, "\x1b_Ga=p,i={},c={},r={},C=1,q=2\x1b\\", kept.number, cells.0, cells.1)?;
                go_below(cells.1, out)?;
            }
        }
        Payload::Painted(pieces) => {
            make_room(cells.1, out)?;
            out.write_all(b"\x1b7")?;
            for piece in pieces {
                out.write_all(b"\x1b8")?;
                for (count, direction) in [(piece.at.1, 'B'), (piece.at.0, 'C')] {
                    if count > 0 {
                        write!(out, "\x1b[{count}{direction}")?;
                    }
                }
                // Through tmux a piece begins one cell to the left: a blank tells tmux's terminal where the cursor is.
                if screen.tmux {
                    out.write_all(b" ")?;
                }
                out.write_all(&piece.bytes)?;
            }
            out.write_all(b"\x1b8")?;
            go_below(cells.1, out)?;
        }
    }
    out.flush()
}

/// Scrolls, if need be, so that there are so many rows below the cursor; the cursor stays at the same text.
fn make_room(rows: u16, out: &mut impl Write) -> io::Result<()> {
    for _ in 0..rows {
        out.write_all(b"\n")?;
    }
    write!(out, "\x1b[{rows}A\r")
}

fn go_below(rows: u16, out: &mut impl Write) -> io::Result<()> {
    write!(out, "\x1b[{rows}B\r")
}

/// Writes a picture that consists of characters, row by row.
fn lines(picture: &Picture, cells: (u16, u16), out: &mut impl Write) -> io::Result<()> {
    let area = Rect::new(0, 0, cells.0, cells.1);
    let mut buffer = Buffer::empty(area);
    fill(picture, area, &mut buffer);
    for y in 0..cells.1 {
        let mut colors = (Color::Reset, Color::Reset);
        for x in 0..cells.0 {
            let cell = &buffer[(x, y)];
            if cell.fg != colors.0 {
                write_color(38, cell.fg, out)?;
            }
            if cell.bg != colors.1 {
                write_color(48, cell.bg, out)?;
            }
            colors = (cell.fg, cell.bg);
            out.write_all(cell.symbol().as_bytes())?;
        }
        out.write_all(b"\x1b[0m\n")?;
    }
    Ok(())
}

/// Sets the foreground (`code` 38) or the background (48).
fn write_color(code: u8, color: Color, out: &mut impl Write) -> io::Result<()> {
    match color {
        Color::Rgb(r, g, b) => write!(out, "\x1b[{code};2;{r};{g};{b}m"),
        Color::Indexed(index) => write!(out, "\x1b[{code};5;{index}m"),
        // The default colour; pictures have no other.
        _ => write!(out, "\x1b[{}m", code + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(screen: &Screen, cells: (u16, u16)) -> String {
        // Of the size that half-blocks of two columns and a row have, so that they need no scaling.
        let image = RgbImage::from_fn(2, 2, |x, y| image::Rgb([(x * 200) as u8, (y * 100) as u8, 7]));
        let mut out = Vec::new();
        print_in(screen, &image, cells, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_image_keeps_its_aspect_ratio_within_the_room() {
        assert_eq!(cells_within((100, 32), (600, 600), (10, 20)), (64, 32));
        assert_eq!(cells_within((40, 32), (600, 600), (10, 20)), (40, 20));
        assert_eq!(cells_within((100, 32), (600, 300), (8, 16)), (100, 25));
        assert_eq!(cells_within((100, 32), (10_000, 1), (10, 20)), (100, 1));
        assert_eq!(cells_within((100, 32), (0, 0), (10, 20)), (64, 32));
    }

    #[test]
    fn half_blocks_are_lines_that_end_without_colours() {
        let text = printed(&Screen::new(Protocol::HalfBlocks), (2, 1));
        let upper = "\x1b[38;2;0;0;7m\x1b[48;2;0;100;7m▀\x1b[38;2;200;0;7m\x1b[48;2;200;100;7m▀\x1b[0m\n";
        assert_eq!(text, upper);
        let screen = Screen { truecolor: false, ..Screen::new(Protocol::HalfBlocks) };
        let text = printed(&screen, (2, 2));
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("\x1b[38;5;") && !text.contains("38;2"), "{text:?}");
    }

    #[test]
    fn room_is_made_for_an_image_and_the_cursor_ends_below_it() {
        for protocol in [Protocol::Kitty, Protocol::Sixel, Protocol::Iterm2] {
            let text = printed(&Screen::new(protocol), (4, 3));
            let (before, after) = text.split_once("\n\n\n\x1b[3A\r").expect("room");
            assert!(after.ends_with("\x1b[3B\r"), "{protocol:?}: {text:?}");
            // kitty is sent the image first, and places it afterwards.
            assert_eq!(before.is_empty(), protocol != Protocol::Kitty, "{protocol:?}: {before:?}");
            assert!(protocol == Protocol::Kitty || after.starts_with("\x1b7\x1b8\x1b"), "{protocol:?}: {after:?}");
            assert!(protocol != Protocol::Kitty || after.contains("c=4,r=3,C=1"), "{after:?}");
        }
    }

    #[test]
    fn in_tmux_placeholders_are_lines() {
        let screen = Screen { tmux: true, in_tmux: true, ..Screen::new(Protocol::KittyPlaceholders) };
        let text = printed(&screen, (2, 2));
        assert!(text.starts_with("\x1bPtmux;"), "{text:?}");
        assert_eq!(text.matches('\u{10EEEE}').count(), 4);
        assert_eq!(text.matches("\x1b[0m\n").count(), 2);
    }

    #[test]
    fn nothing_is_printed_where_there_are_no_images() {
        assert_eq!(printed(&Screen::new(Protocol::None), (2, 2)), "");
    }
}
