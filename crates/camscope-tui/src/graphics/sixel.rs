//! Sixel: six rows of pixels a line of characters, colour after colour.

use icy_sixel::{BackgroundMode, EncodeOptions, SixelImage};
use image::RgbImage;
use image::imageops::{self, FilterType, crop_imm};

use super::Screen;
use super::picture::Piece;

/// How much of a colour's error goes to its neighbours. All of it would take a third more bytes, none of it shows bands.
const DIFFUSION: f32 = 0.5;

/// One colour less than there may be: tmux needs another.
const COLORS: u16 = 255;

/// Columns and rows of cells of a part that comes over a slow line by itself, about: some 8 kB of a photo.
const PART: (u32, u32) = (16, 3);
/// Colours of such a part, and of a picture in few pixels. Each costs 15 bytes before its first pixel.
const PART_COLORS: u16 = 64;
const COARSE_COLORS: u16 = 32;

/// The most rows of pixels, in whole bands of six, that fit into `height`: with a part of a band, some terminals would take the
/// picture for higher than its cells, and scroll at the bottom of the screen.
pub(super) fn whole_bands(height: u32) -> u32 {
    if height < 6 { height } else { height / 6 * 6 }
}

/// Encodes a picture, in pieces where the terminal limits their size.
pub(super) fn encode(screen: &Screen, image: &RgbImage) -> Vec<Piece> {
    let (width, height) = piece_size(screen);
    let colors = if screen.is_paced() { PART_COLORS } else { COLORS };
    parts(screen, image, (width, height), (colors, DIFFUSION))
}

/// A picture in few pixels, for a slow line: enlarged to a size in pixels, in parts as wide as it is.
pub(super) fn coarse(screen: &Screen, few: &RgbImage, (width, height): (u32, u32)) -> Vec<Piece> {
    let large = imageops::resize(few, width, height, FilterType::Nearest);
    let (_, part_height) = piece_size(screen);
    let (part_width, _) = piece_size(&Screen { pixel_budget: None, ..screen.clone() });
    parts(screen, &large, (part_width, part_height), (COARSE_COLORS, 0.0))
}

/// The picture in pieces of at most that many pixels.
fn parts(screen: &Screen, image: &RgbImage, (width, height): (u32, u32), how: (u16, f32)) -> Vec<Piece> {
    let cells = |pixels: u32, cell: u16| pixels.div_ceil(u32::from(cell.max(1))) as u16;
    let mut pieces = Vec::new();
    for y in (0..image.height()).step_by(height as usize) {
        for x in (0..image.width()).step_by(width as usize) {
            let part = crop_imm(image, x, y, width.min(image.width() - x), height.min(image.height() - y)).to_image();
            let at = ((x / u32::from(screen.cell.0)) as u16, (y / u32::from(screen.cell.1)) as u16);
            let bytes = sixel(&part, how);
            let bytes =
                if screen.in_tmux { with_background(&bytes, screen.background.unwrap_or_default()) } else { bytes };
            let size = (cells(part.width(), screen.cell.0), cells(part.height(), screen.cell.1));
            pieces.push(Piece { at, size, bytes });
        }
    }
    pieces
}

/// The size of a piece: whole cells, and whole bands, below the terminal's limit.
fn piece_size(screen: &Screen) -> (u32, u32) {
    let (cell_width, cell_height) = (u32::from(screen.cell.0).max(1), u32::from(screen.cell.1).max(1));
    let (mut width, mut height) = screen.sixel_limit.unwrap_or((u32::MAX, u32::MAX));
    if screen.is_paced() {
        (width, height) = (width.min(PART.0 * cell_width), height.min(PART.1 * cell_height));
    }
    // Cells after which a band ends as well: 3 × 20 pixels, for example.
    let step = (1..=6).map(|rows| rows * cell_height).find(|height| height % 6 == 0).unwrap_or(cell_height * 6);
    ((width / cell_width * cell_width).max(cell_width), (height / step * step).max(step))
}

fn sixel(image: &RgbImage, (colors, diffusion): (u16, f32)) -> Vec<u8> {
    let rgba = image.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2], 255]).collect();
    let encoded = SixelImage::try_from_rgba(rgba, image.width() as usize, image.height() as usize)
        .map(|sixel| sixel.with_background_mode(BackgroundMode::Transparent))
        .and_then(|sixel| {
            sixel.encode_with(&EncodeOptions { diffusion, max_colors: colors, ..EncodeOptions::default() })
        });
    // The encoder refuses images without pixels only.
    encoded.map(|bytes| compact(bytes.as_bytes())).unwrap_or_default()
}

/// Leaves out what shows nothing: returns to the left before a new line, blanks at the end of a colour's row, and the last new
/// line, after which a terminal would scroll at the bottom of the screen.
fn compact(sixel: &[u8]) -> Vec<u8> {
    let Some(data) = sixel.strip_suffix(b"\x1b\\") else { return sixel.to_vec() };
    let mut out = Vec::with_capacity(sixel.len());
    for &byte in data {
        if matches!(byte, b'$' | b'-') {
            trim_blanks(&mut out);
        }
        if byte == b'-' && out.last() == Some(&b'$') {
            out.pop();
        }
        out.push(byte);
    }
    while let Some(b'-' | b'$') = out.last() {
        out.pop();
    }
    out.extend_from_slice(b"\x1b\\");
    out
}

/// Takes blank sixels (`?`, `!12?`) off the end.
fn trim_blanks(out: &mut Vec<u8>) {
    while out.last() == Some(&b'?') {
        out.pop();
        let digits = out.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 && out.len() > digits && out[out.len() - digits - 1] == b'!' {
            out.truncate(out.len() - digits - 1);
        }
    }
}

/// Gives colour 0 to the background, the others the next numbers: tmux fills the cells' last rows with colour 0, where the picture
/// has none.
fn with_background(sixel: &[u8], background: [u8; 3]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sixel.len() + sixel.len() / 64 + 16);
    let mut rest = sixel;
    let mut is_first = true;
    while let Some(place) = rest.iter().position(|&byte| byte == b'#') {
        out.extend_from_slice(&rest[..place]);
        if std::mem::take(&mut is_first) {
            let [r, g, b] = background.map(|value| u32::from(value) * 100 / 255);
            out.extend_from_slice(format!("#0;2;{r};{g};{b}").as_bytes());
        }
        let digits = rest[place + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, after) = rest[place + 1..].split_at(digits);
        let number = number.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
        out.extend_from_slice(format!("#{}", number + 1).as_bytes());
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphics::Protocol;

    #[test]
    fn a_height_is_whole_bands() {
        assert_eq!([4, 6, 20, 24, 800].map(whole_bands), [4, 6, 18, 24, 798]);
    }

    #[test]
    fn what_shows_nothing_is_left_out() {
        assert_eq!(compact(b"\x1bPq#0~~$#1?~!12?$-#0!3?$-\x1b\\"), b"\x1bPq#0~~$#1?~-#0\x1b\\");
        assert_eq!(compact(b"\x1bPq#0!12~??$-\x1b\\"), b"\x1bPq#0!12~\x1b\\");
    }

    #[test]
    fn in_tmux_colour_0_is_the_background() {
        let sixel = with_background(b"\x1bP9;1;0q\"1;1;2;6#0;2;9;9;9#1;2;1;2;3#0~?$#1?~\x1b\\", [0, 0, 255]);
        assert_eq!(sixel, b"\x1bP9;1;0q\"1;1;2;6#0;2;0;0;100#1;2;9;9;9#2;2;1;2;3#1~?$#2?~\x1b\\");
    }

    #[test]
    fn a_picture_above_the_limit_goes_in_pieces() {
        let screen = Screen { sixel_limit: Some((1000, 1000)), ..Screen::new(Protocol::Sixel) };
        let pieces = encode(&screen, &RgbImage::new(1010, 1020));
        let places: Vec<_> = pieces.iter().map(|piece| piece.at).collect();
        assert_eq!(places, [(0, 0), (100, 0), (0, 48), (100, 48)]);
        assert!(pieces[3].bytes.starts_with(b"\x1bP9;1;0q\"1;1;10;60"), "{}", pieces[3].bytes.escape_ascii());
    }
}
