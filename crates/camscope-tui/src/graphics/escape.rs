//! Escape sequences that several protocols share.

use std::io::{self, Write};

use ratatui::layout::Rect;

/// The start of tmux's envelope for what it should hand on to its own terminal.
const TMUX_START: &[u8] = b"\x1bPtmux;";
/// The end of an escape string: ST.
pub(super) const ST: &[u8] = b"\x1b\\";

/// `sequence` in tmux's envelope: within it every ESC is doubled.
pub(super) fn through_tmux(sequence: &[u8]) -> Vec<u8> {
    let mut wrapped = Vec::with_capacity(sequence.len() + 16);
    wrapped.extend_from_slice(TMUX_START);
    for &byte in sequence {
        if byte == 0x1b {
            wrapped.push(byte);
        }
        wrapped.push(byte);
    }
    wrapped.extend_from_slice(ST);
    wrapped
}

/// `sequence`, in an envelope where `tmux`.
pub(super) fn maybe_through_tmux(tmux: bool, sequence: Vec<u8>) -> Vec<u8> {
    if tmux { through_tmux(&sequence) } else { sequence }
}

/// Moves the cursor to a cell; columns and rows count from 0.
pub(super) fn move_to(out: &mut impl Write, x: u16, y: u16) -> io::Result<()> {
    write!(out, "\x1b[{};{}H", u32::from(y) + 1, u32::from(x) + 1)
}

/// Writes blanks with the default colours over the cells of `area` that lie outside of `spared`: text and pictures there are
/// gone.
pub(super) fn blank(out: &mut impl Write, area: Rect, spared: &[Rect]) -> io::Result<()> {
    out.write_all(b"\x1b[0m")?;
    for y in area.top()..area.bottom() {
        let mut x = area.left();
        while x < area.right() {
            let is_free = |x: u16| !spared.iter().any(|rect| rect.contains((x, y).into()));
            if !is_free(x) {
                x += 1;
                continue;
            }
            let width = (x..area.right()).take_while(|&x| is_free(x)).count();
            move_to(out, x, y)?;
            write!(out, "{:width$}", "")?;
            x += width as u16;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_doubled_inside_the_envelope() {
        assert_eq!(through_tmux(b"\x1b_Ga\x1b\\"), b"\x1bPtmux;\x1b\x1b_Ga\x1b\x1b\\\x1b\\");
    }

    #[test]
    fn blanks_leave_what_is_spared() {
        let mut out = Vec::new();
        blank(&mut out, Rect::new(2, 1, 6, 2), &[Rect::new(4, 2, 2, 5)]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\x1b[0m\x1b[2;3H      \x1b[3;3H  \x1b[3;7H  ");
    }
}
