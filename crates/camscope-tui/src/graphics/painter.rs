//! Keeps what the terminal shows and holds in step with what a frame wants.

use std::io::{self, Write};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::kitty::KittyPainter;
use super::picture::{Picture, Placement};
use super::pixel_painter::PixelPainter;
use super::{Protocol, Screen};

/// What the terminal shows and holds of pictures.
#[derive(Debug)]
pub struct Painter {
    driver: Driver,
}

#[derive(Debug)]
enum Driver {
    /// The characters are the picture.
    Characters,
    Kitty(KittyPainter),
    Pixels(PixelPainter),
}

impl Painter {
    /// The painter of a screen that shows no picture yet.
    pub fn new(screen: &Screen) -> Self {
        let driver = match screen.protocol {
            Protocol::Kitty | Protocol::KittyPlaceholders => Driver::Kitty(KittyPainter::new(screen)),
            Protocol::Sixel | Protocol::Iterm2 => Driver::Pixels(PixelPainter::new(screen)),
            Protocol::HalfBlocks | Protocol::None => Driver::Characters,
        };
        Painter { driver }
    }

    /// Writes the pictures that the terminal should hold, which changes nothing on its screen.
    pub fn send(&mut self, out: &mut impl Write, placements: &[Placement]) -> io::Result<()> {
        match &mut self.driver {
            Driver::Kitty(kitty) => kitty.send(out, placements),
            Driver::Characters | Driver::Pixels(_) => Ok(()),
        }
    }

    /// Writes what must come before ratatui's output: blanks over pictures that go.
    pub fn before(&mut self, out: &mut impl Write, placements: &[Placement]) -> io::Result<()> {
        match &mut self.driver {
            Driver::Characters | Driver::Kitty(_) => Ok(()),
            Driver::Pixels(pixels) => pixels.before(out, placements),
        }
    }

    /// Writes what must come after ratatui's output: the pictures at their places. `covered` are the rectangles of popups over
    /// them, and `buffer` is the frame's, of which cells inside of `covered` are written again where a picture was painted over
    /// them.
    pub fn after(
        &mut self,
        out: &mut impl Write,
        placements: &[Placement],
        covered: &[Rect],
        buffer: &Buffer,
    ) -> io::Result<()> {
        match &mut self.driver {
            Driver::Characters => Ok(()),
            Driver::Kitty(kitty) => kitty.after(out, placements, covered),
            Driver::Pixels(pixels) => pixels.after(out, placements, covered, buffer),
        }
    }

    /// Parts of pictures that are still to be painted, over a slow line: writes some, up to about so many bytes. `covered` and `buffer` as for
    /// [`Painter::after`].
    pub(crate) fn go_on(
        &mut self,
        out: &mut impl Write,
        most: usize,
        covered: &[Rect],
        buffer: &Buffer,
    ) -> io::Result<()> {
        match &mut self.driver {
            Driver::Pixels(pixels) => pixels.go_on(out, most, covered, buffer),
            Driver::Characters | Driver::Kitty(_) => Ok(()),
        }
    }

    /// Pictures of up to so many bytes come without one in few pixels before them.
    pub(crate) fn set_at_once(&mut self, bytes: usize) {
        if let Driver::Pixels(pixels) = &mut self.driver {
            pixels.at_once = bytes;
        }
    }

    /// How much of the largest picture has been painted part by part, in percent; `None` where it is there.
    pub(crate) fn painted(&self) -> Option<u8> {
        match &self.driver {
            Driver::Pixels(pixels) => pixels.percent(),
            Driver::Characters | Driver::Kitty(_) => None,
        }
    }

    /// Whether the terminal keeps pictures and would have to be sent this one.
    pub(crate) fn lacks(&self, placement: &Placement) -> bool {
        matches!(&self.driver, Driver::Kitty(kitty) if kitty.lacks(placement))
    }

    /// The sequences that send a picture, to be written in turn; then [`Painter::finish`] or, before the last, [`Painter::break_off`].
    pub(crate) fn begin(&mut self, picture: &Picture) -> Vec<Vec<u8>> {
        match &mut self.driver {
            Driver::Kitty(kitty) => kitty.begin(picture),
            Driver::Characters | Driver::Pixels(_) => Vec::new(),
        }
    }

    /// All of the picture that was begun has been written.
    pub(crate) fn finish(&mut self, picture: &Picture) {
        if let Driver::Kitty(kitty) = &mut self.driver {
            kitty.finish(picture);
        }
    }

    /// Ends the picture that was begun, of which the rest will not come.
    pub(crate) fn break_off(&mut self, out: &mut Vec<u8>) {
        if let Driver::Kitty(kitty) = &mut self.driver {
            kitty.break_off(out);
        }
    }

    /// Forgets what was shown: the screen was cleared, after a new size or when the program goes on after a stop.
    pub fn forget(&mut self) {
        match &mut self.driver {
            Driver::Characters => {}
            Driver::Kitty(kitty) => kitty.forget(),
            Driver::Pixels(pixels) => pixels.forget(),
        }
    }

    /// What makes the terminal delete all pictures on its screen, for when there is no time to name them.
    pub(crate) fn delete_all(&self) -> Vec<u8> {
        match &self.driver {
            Driver::Kitty(kitty) => kitty.delete_all(),
            Driver::Characters | Driver::Pixels(_) => Vec::new(),
        }
    }

    /// Has the terminal delete what it holds, before the screen is given back.
    pub fn leave(&mut self, out: &mut impl Write) -> io::Result<()> {
        match &mut self.driver {
            Driver::Kitty(kitty) => kitty.leave(out),
            Driver::Characters | Driver::Pixels(_) => {
                self.forget();
                Ok(())
            }
        }
    }
}
