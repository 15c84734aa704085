//! Pictures in a terminal: which protocol it has, how a picture is encoded for it, and what it shows and holds.
//!
//! [`detect()`] asks the terminal once. [`encode`] runs on a worker and makes a [`Picture`] of which the bytes for the wire are
//! ready. When a frame is drawn, [`fill`] puts what stands for the picture into ratatui's buffer, and the [`Painter`] writes
//! what cannot be a character: before ratatui's own output, and after it.

mod answer;
mod ask;
mod choice;
pub mod detect;
mod escape;
pub(crate) mod halfblocks;
mod iterm2;
mod kitty;
mod painter;
mod picture;
mod pixel_painter;
mod placeholders;
mod print;
mod sixel;
#[cfg(test)]
mod tests;

pub use choice::{GraphicsChoice, UnknownGraphics};
pub use detect::{Overrides, detect};
pub use painter::Painter;
pub use picture::{Picture, Placement, encode, fill, pixels};
pub use print::print;

/// The size of a cell in pixels that is assumed where the terminal doesn't tell: 1 to 2, as most fonts are.
pub const USUAL_CELL: (u16, u16) = (10, 20);

/// A way to show pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// kitty's protocol, each picture placed at the cursor: kitty, Ghostty, WezTerm, Konsole.
    Kitty,
    /// kitty's protocol, the picture standing where placeholder characters stand: passes through tmux.
    KittyPlaceholders,
    /// Sixel: xterm, foot, Windows Terminal, tmux from 3.4.
    Sixel,
    /// iTerm2's inline files: iTerm2, mintty, VS Code.
    Iterm2,
    /// Two pixels a character, as colours.
    HalfBlocks,
    /// No pictures.
    None,
}

impl Protocol {
    /// Its name, as in `--graphics` and the status line.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Kitty => "kitty",
            Protocol::KittyPlaceholders => "kitty (tmux)",
            Protocol::Sixel => "sixel",
            Protocol::Iterm2 => "iterm2",
            Protocol::HalfBlocks => "half-blocks",
            Protocol::None => "none",
        }
    }
}

/// What the terminal can do.
#[derive(Clone, Debug, PartialEq)]
pub struct Screen {
    /// How pictures are shown.
    pub protocol: Protocol,
    /// Width and height of a cell in pixels.
    pub cell: (u16, u16),
    /// Whether the terminal or the user said so; otherwise `cell` is [`USUAL_CELL`].
    pub cell_known: bool,
    /// Whether any colour can be shown, not only 256.
    pub truecolor: bool,
    /// The background colour.
    pub background: Option<[u8; 3]>,
    /// Whether pictures must be wrapped to pass through tmux.
    pub tmux: bool,
    /// Whether tmux is there at all: it may show sixel itself.
    pub in_tmux: bool,
    /// Width and height in pixels of the largest sixel picture, where the terminal states one.
    pub sixel_limit: Option<(u32, u32)>,
    /// The most pixels that a picture should have where the terminal scales pictures itself: over SSH, every byte counts.
    pub pixel_budget: Option<u32>,
    /// What the user should know, one line each.
    pub notes: Vec<String>,
}

impl Screen {
    /// A terminal outside of tmux with this protocol, true colour and cells of the usual size.
    pub fn new(protocol: Protocol) -> Self {
        Screen {
            protocol,
            cell: USUAL_CELL,
            cell_known: false,
            truecolor: true,
            background: None,
            tmux: false,
            in_tmux: false,
            sixel_limit: None,
            pixel_budget: None,
            notes: Vec::new(),
        }
    }

    /// Whether the line to the terminal may be slow, and pictures can come in parts. Elsewhere than on Unix the terminal's answers do not
    /// reach the explorer; tmux answers in its terminal's place.
    pub(crate) fn is_paced(&self) -> bool {
        let has_parts = matches!(self.protocol, Protocol::Kitty | Protocol::Sixel | Protocol::HalfBlocks);
        cfg!(unix) && self.pixel_budget.is_some() && !self.in_tmux && has_parts
    }

    /// Whether the background is light; unknown counts as dark.
    pub fn is_light(&self) -> bool {
        // Rec. 709 luma, of gamma-coded values: good enough to tell light from dark.
        self.background
            .is_some_and(|[r, g, b]| 2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b) > 1_275_000)
    }

    /// Learns from an answer that came after [`detect()`] had given up, over a slow line. Says whether pictures are shown in another
    /// way now: then they must be encoded again.
    pub fn learn(&mut self, late: &str, overrides: &Overrides) -> bool {
        let answer = answer::parse(late.as_bytes());
        self.background = self.background.or(answer.background);
        let is_free = overrides.graphics.unwrap_or_default() == GraphicsChoice::Auto && !self.in_tmux;
        let is_better = answer.kitty && self.protocol != Protocol::Kitty;
        if is_free && is_better {
            self.protocol = Protocol::Kitty;
            self.truecolor = true;
            self.notes.clear();
        }
        is_free && is_better
    }

    /// Looks again how large a cell is: the user may have changed the font with the window's size. A size given by the user
    /// (`overrides`) stays. Says whether it changed.
    pub fn measure_again(&mut self, overrides: &Overrides) -> bool {
        let Some(cell) = overrides.font_size.or_else(detect::cell_of_window) else { return false };
        self.cell_known = true;
        std::mem::replace(&mut self.cell, cell) != cell
    }
}
