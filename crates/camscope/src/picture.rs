//! Pictures in the terminal.

use camscope_core::{Error, Result};
use image::{DynamicImage, RgbImage};

use crate::graphics::{Graphics, without_echo};

/// Columns and rows that a picture fills at most, so that the text beside it stays on the screen.
const LARGEST: (u32, u32) = (100, 32);

/// Shows pictures on stdout, in the way this terminal can.
pub(crate) struct Screen {
    graphics: Graphics,
}

impl Screen {
    /// Asks the terminal what it can show; `None` where stdout is none.
    pub(crate) fn detect() -> Option<Self> {
        match Graphics::detect() {
            Graphics::None => None,
            graphics => Some(Self { graphics }),
        }
    }

    /// Prints a picture below what is on the screen.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub(crate) fn show(&self, picture: &RgbImage) -> Result<()> {
        let (columns, rows) = viuer::terminal_size();
        // A cell is about twice as high as wide; of a photo that is upright, the height decides.
        let room = (u32::from(columns).clamp(1, LARGEST.0), u32::from(rows).saturating_sub(4).clamp(1, LARGEST.1));
        let (width, height) = picture.dimensions();
        let by_height = (u64::from(room.1) * 2 * u64::from(width)).div_ceil(u64::from(height.max(1)));
        let width = u64::from(room.0).min(by_height).max(1) as u32;
        let config = viuer::Config {
            transparent: false,
            absolute_offset: false,
            width: Some(width),
            height: None,
            truecolor: truecolor(),
            use_kitty: self.graphics == Graphics::Kitty,
            use_iterm: self.graphics == Graphics::Iterm,
            use_sixel: self.graphics == Graphics::Sixel,
            ..Default::default()
        };
        // viuer asks the terminal once more by itself.
        let shown = without_echo(|| viuer::print(&DynamicImage::ImageRgb8(picture.clone()), &config));
        shown.map(|_| ()).map_err(|error| Error::Io {
            action: "write to",
            path: "the terminal".into(),
            source: std::io::Error::other(error.to_string()),
        })
    }
}

/// Whether the terminal shows more than 256 colours.
fn truecolor() -> bool {
    std::env::var("COLORTERM").is_ok_and(|value| value.contains("truecolor") || value.contains("24bit"))
}
