//! iTerm2's inline files: <https://iterm2.com/documentation-images.html>. A PNG or JPEG goes over the wire as it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

use super::Screen;
use super::escape::through_tmux;
use super::kitty::png;
use super::picture::Piece;

/// JPEG's quality: photos show no loss, heatmaps no blocks.
const QUALITY: u8 = 90;

/// Encodes a picture.
pub(super) fn encode(screen: &Screen, image: &RgbImage, cells: (u16, u16)) -> Vec<Piece> {
    let (png, jpeg) = (png(image), jpeg(image));
    let file = if jpeg.is_empty() || png.len() <= jpeg.len() { png } else { jpeg };
    let (columns, rows, size) = (cells.0, cells.1, file.len());
    // Only iTerm2 needs the size, and only WezTerm and mintty know doNotMoveCursor.
    let options = format!("size={size};width={columns};height={rows};preserveAspectRatio=0;inline=1;doNotMoveCursor=1");
    let sequence = format!("\x1b]1337;File={options}:{}\x07", STANDARD.encode(file));
    let bytes = if screen.tmux {
        // tmux doesn't know what the picture does to the cursor, so the terminal's is put back; one cell to the left, for
        // the painter has written a blank to bring it here.
        through_tmux(format!("\x1b7\x1b[D{sequence}\x1b8").as_bytes())
    } else {
        sequence.into_bytes()
    };
    vec![Piece { at: (0, 0), bytes }]
}

/// `image` as JPEG; empty where it is larger than JPEG's sizes go.
fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    match image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY)) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}
