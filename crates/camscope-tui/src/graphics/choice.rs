//! `--graphics`: the protocol that the user asks for.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// The protocol that the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GraphicsChoice {
    /// The best that the terminal has.
    #[default]
    Auto,
    /// kitty's protocol; in tmux with placeholders.
    Kitty,
    /// Sixel.
    Sixel,
    /// iTerm2's inline files.
    Iterm2,
    /// Two pixels a character.
    HalfBlocks,
    /// No pictures.
    None,
}

impl GraphicsChoice {
    /// All choices, in the order of the help.
    pub const ALL: [GraphicsChoice; 6] = [
        GraphicsChoice::Auto,
        GraphicsChoice::Kitty,
        GraphicsChoice::Sixel,
        GraphicsChoice::Iterm2,
        GraphicsChoice::HalfBlocks,
        GraphicsChoice::None,
    ];

    /// Its name on the command line and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            GraphicsChoice::Auto => "auto",
            GraphicsChoice::Kitty => "kitty",
            GraphicsChoice::Sixel => "sixel",
            GraphicsChoice::Iterm2 => "iterm2",
            GraphicsChoice::HalfBlocks => "halfblocks",
            GraphicsChoice::None => "none",
        }
    }
}

impl Display for GraphicsChoice {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// No protocol has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no graphics protocol is called {0:?}; there are auto, kitty, sixel, iterm2, halfblocks and none")]
pub struct UnknownGraphics(pub String);

impl FromStr for GraphicsChoice {
    type Err = UnknownGraphics;

    fn from_str(name: &str) -> Result<Self, UnknownGraphics> {
        let found = GraphicsChoice::ALL.into_iter().find(|choice| choice.name() == name);
        found.ok_or_else(|| UnknownGraphics(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for choice in GraphicsChoice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        insta::assert_snapshot!(
            "ascii".parse::<GraphicsChoice>().unwrap_err(),
            @r#"no graphics protocol is called "ascii"; there are auto, kitty, sixel, iterm2, halfblocks and none"#
        );
    }
}
