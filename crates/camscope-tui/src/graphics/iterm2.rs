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

/// Up to so many pixels, PNG may be the smaller file.
const SMALL: u32 = 128 * 128;

/// Encodes a picture.
pub(super) fn encode(screen: &Screen, image: &RgbImage, cells: (u16, u16)) -> Vec<Piece> {
    let mut file = jpeg(image);
    if file.is_empty() || image.width() * image.height() <= SMALL {
        file = std::cmp::min_by_key(file, png(image), |file| if file.is_empty() { usize::MAX } else { file.len() });
    }
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
    vec![Piece { at: (0, 0), size: cells, bytes }]
}

/// `image` as JPEG; empty where it is larger than JPEG's sizes go.
fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    match image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY)) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphics::Protocol;

    #[test]
    fn a_photo_is_a_jpeg_and_a_small_picture_the_smaller_file() {
        let photo =
            |side| RgbImage::from_fn(side, side, |x, y| image::Rgb([(x * y) as u8, (x ^ y) as u8, (x * 7 + y) as u8]));
        let file = |image: &RgbImage| {
            let piece = encode(&Screen::new(Protocol::Iterm2), image, (4, 2)).remove(0);
            let text = String::from_utf8(piece.bytes).unwrap();
            STANDARD.decode(text.rsplit_once(':').unwrap().1.trim_end_matches('\x07')).unwrap()
        };
        assert!(file(&photo(200)).starts_with(b"\xff\xd8"));
        assert!(file(&RgbImage::new(8, 8)).starts_with(b"\x89PNG"));
    }
}
