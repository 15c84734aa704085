//! How this terminal shows pictures.

use std::io::IsTerminal;

/// The way in which a picture is shown, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Graphics {
    /// kitty's protocol.
    Kitty,
    /// iTerm2's protocol.
    Iterm,
    /// Sixel.
    Sixel,
    /// Two pixels a character, coloured.
    HalfBlocks,
    /// Not at all: stdout is no terminal.
    None,
}

impl Graphics {
    /// Finds out by asking the terminal, which has a moment to answer.
    ///
    /// viuer asks too, but waits for the answer for ever, and some terminals (of editors, of test harnesses) give none:
    /// its own detection may run only where this has found that the terminal answers.
    pub(crate) fn detect() -> Self {
        // The terminal's answer is read from stdin, which must be the terminal as well.
        if !std::io::stdout().is_terminal() {
            return Graphics::None;
        }
        // These would show the question.
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb" || term == "linux");
        let can_ask = std::io::stdin().is_terminal() && !is_dumb;
        let answer = if can_ask { ask::terminal() } else { Vec::new() };
        Self::from_answer(&answer, viuer::is_iterm_supported())
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Graphics::Kitty => "kitty",
            Graphics::Iterm => "iterm2",
            Graphics::Sixel => "sixel",
            Graphics::HalfBlocks => "half-blocks",
            Graphics::None => "none (stdout is no terminal)",
        }
    }

    /// Reads the answer to [`ask::QUERY`]; `is_iterm` is what the environment says, for iTerm2 has no query.
    fn from_answer(answer: &[u8], is_iterm: bool) -> Self {
        let text = String::from_utf8_lossy(answer);
        // Primary device attributes: CSI ? 62 ; 4 ; 22 c, where 4 is sixel.
        let attributes = text.rsplit_once("\x1b[?").and_then(|(_, rest)| rest.split_once('c')).map(|(list, _)| list);
        if text.contains("\x1b_Gi=31;OK") {
            Graphics::Kitty
        } else if is_iterm {
            Graphics::Iterm
        } else if attributes.is_some_and(|list| list.split(';').skip(1).any(|attribute| attribute == "4")) {
            Graphics::Sixel
        } else {
            Graphics::HalfBlocks
        }
    }
}

pub(crate) use ask::without_echo;

#[cfg(unix)]
mod ask {
    use std::io::stdin;
    use std::time::Duration;

    use camscope_tui::graphics::ask_terminal;
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    /// kitty's query with a picture of one pixel, then the primary device attributes, which nearly every terminal answers:
    /// their answer ends the wait.
    pub(super) const QUERY: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c";

    /// How long the terminal has to answer: enough for a connection around the world.
    const LIMIT: Duration = Duration::from_millis(700);

    /// Calls `draw` with the terminal's echo off, so that answers to questions that `draw` asks do not appear on the screen.
    pub(crate) fn without_echo<T>(draw: impl FnOnce() -> T) -> T {
        let stdin = stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(&stdin, OptionalActions::Now, &quiet); // with the echo on it works too, only less neatly
        }
        let drawn = draw();
        if let Some(before) = &before {
            let _ = tcsetattr(&stdin, OptionalActions::Now, before);
        }
        drawn
    }

    /// What the terminal answers; nothing where it does not.
    pub(super) fn terminal() -> Vec<u8> {
        ask_terminal(QUERY, LIMIT, ends)
    }

    /// Whether the device attributes are there in full.
    fn ends(answer: &[u8]) -> bool {
        let start = answer.windows(3).rposition(|bytes| bytes == b"\x1b[?");
        start.is_some_and(|start| answer[start..].contains(&b'c'))
    }
}

#[cfg(not(unix))]
mod ask {
    /// Windows' terminals are asked nothing.
    pub(crate) fn without_echo<T>(draw: impl FnOnce() -> T) -> T {
        draw()
    }

    /// Nothing: Windows' terminals are not asked.
    pub(super) fn terminal() -> Vec<u8> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_terminals_are_read() {
        let kitty = b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c";
        assert_eq!(Graphics::from_answer(kitty, false), Graphics::Kitty);
        assert_eq!(Graphics::from_answer(b"\x1b[?62;4;22c", false), Graphics::Sixel); // foot
        assert_eq!(Graphics::from_answer(b"\x1b[?1;2c", false), Graphics::HalfBlocks); // xterm as a VT100
        assert_eq!(Graphics::from_answer(b"\x1b[?64;24c", false), Graphics::HalfBlocks);
        assert_eq!(Graphics::from_answer(b"", false), Graphics::HalfBlocks);
        assert_eq!(Graphics::from_answer(b"", true), Graphics::Iterm);
        assert_eq!(Graphics::from_answer(b"\x1b_Gi=31;EINVAL\x1b\\\x1b[?6c", false), Graphics::HalfBlocks);
    }
}
