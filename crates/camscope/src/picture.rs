//! Images in the terminal.

use camscope_core::{Error, Result};
use camscope_tui::graphics;
use image::RgbImage;

use crate::graphics::screen;

/// Columns and rows that an image fills at most, so that the text beside it stays on the screen.
const LARGEST: (u16, u16) = (100, 32);

/// Shows images on stdout, in the way this terminal can.
pub(crate) struct Screen {
    screen: graphics::Screen,
}

impl Screen {
    /// Asks the terminal what it can show; `None` if stdout is none, or if it shows no images.
    pub(crate) fn detect() -> Option<Self> {
        let screen = screen().filter(|screen| screen.protocol != graphics::Protocol::None)?;
        Some(Self { screen })
    }

    /// Prints an image below what is on the screen.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub(crate) fn show(&self, image: &RgbImage) -> Result<()> {
        let mut out = std::io::stdout().lock();
        graphics::print(&self.screen, image, LARGEST, &mut out).map_err(|source| Error::Io {
            action: "write to",
            path: "the terminal".into(),
            source,
        })
    }
}
