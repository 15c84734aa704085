//! kitty's placeholders: characters that the terminal replaces by parts of a picture, so that tmux can move and cover them.
//!
//! A cell is U+10EEEE, then one combining character each for the row, the column and the high byte of the picture's number; the
//! low byte is the foreground, one of the 256 colours. The protocol lets a cell inherit these from its left neighbour, which
//! saves 6 of its 10 bytes, but then every cell right of a popup would lose its place: ratatui doesn't write again what did not
//! change. Numbers of 24 bits in true colour would save 2 bytes, but tmux rounds colours where it doesn't know that its terminal
//! has all of them, and the picture would be gone.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

/// The placeholder.
const PLACEHOLDER: char = '\u{10EEEE}';

/// The combining characters that stand for numbers, as ranges, first and last: 0 is U+0305.
///
/// They are those of class 230 (above) in Unicode 6.0 without a decomposition, except those with which normalisation would fuse
/// a letter: <https://sw.kovidgoyal.net/kitty/graphics-protocol/#unicode-placeholders>, `rowcolumn-diacritics.txt`.
#[rustfmt::skip]
const DIACRITICS: [(u32, u32); 86] = [
    (0x0305, 0x0305), (0x030D, 0x030E), (0x0310, 0x0310), (0x0312, 0x0312), (0x033D, 0x033F), (0x0346, 0x0346),
    (0x034A, 0x034C), (0x0350, 0x0352), (0x0357, 0x0357), (0x035B, 0x035B), (0x0363, 0x036F), (0x0483, 0x0487),
    (0x0592, 0x0595), (0x0597, 0x0599), (0x059C, 0x05A1), (0x05A8, 0x05A9), (0x05AB, 0x05AC), (0x05AF, 0x05AF),
    (0x05C4, 0x05C4), (0x0610, 0x0617), (0x0657, 0x065B), (0x065D, 0x065E), (0x06D6, 0x06DC), (0x06DF, 0x06E2),
    (0x06E4, 0x06E4), (0x06E7, 0x06E8), (0x06EB, 0x06EC), (0x0730, 0x0730), (0x0732, 0x0733), (0x0735, 0x0736),
    (0x073A, 0x073A), (0x073D, 0x073D), (0x073F, 0x0741), (0x0743, 0x0743), (0x0745, 0x0745), (0x0747, 0x0747),
    (0x0749, 0x074A), (0x07EB, 0x07F1), (0x07F3, 0x07F3), (0x0816, 0x0819), (0x081B, 0x0823), (0x0825, 0x0827),
    (0x0829, 0x082D), (0x0951, 0x0951), (0x0953, 0x0954), (0x0F82, 0x0F83), (0x0F86, 0x0F87), (0x135D, 0x135F),
    (0x17DD, 0x17DD), (0x193A, 0x193A), (0x1A17, 0x1A17), (0x1A75, 0x1A7C), (0x1B6B, 0x1B6B), (0x1B6D, 0x1B73),
    (0x1CD0, 0x1CD2), (0x1CDA, 0x1CDB), (0x1CE0, 0x1CE0), (0x1DC0, 0x1DC1), (0x1DC3, 0x1DC9), (0x1DCB, 0x1DCC),
    (0x1DD1, 0x1DE6), (0x1DFE, 0x1DFE), (0x20D0, 0x20D1), (0x20D4, 0x20D7), (0x20DB, 0x20DC), (0x20E1, 0x20E1),
    (0x20E7, 0x20E7), (0x20E9, 0x20E9), (0x20F0, 0x20F0), (0x2CEF, 0x2CF1), (0x2DE0, 0x2DFF), (0xA66F, 0xA66F),
    (0xA67C, 0xA67D), (0xA6F0, 0xA6F1), (0xA8E0, 0xA8F1), (0xAAB0, 0xAAB0), (0xAAB2, 0xAAB3), (0xAAB7, 0xAAB8),
    (0xAABE, 0xAABF), (0xAAC1, 0xAAC1), (0xFE20, 0xFE26), (0x10A0F, 0x10A0F), (0x10A38, 0x10A38), (0x1D185, 0x1D189),
    (0x1D1AA, 0x1D1AD), (0x1D242, 0x1D244),
];

/// How many numbers have a combining character: a picture has at most so many columns and rows.
const LIMIT: u32 = 297;

/// The combining character of a number.
fn diacritic(number: u32) -> Option<char> {
    let mut left = number;
    for (first, last) in DIACRITICS {
        let count = last - first + 1;
        if left < count {
            return char::from_u32(first + left);
        }
        left -= count;
    }
    None
}

/// Low bytes in use: the colours above the 16 that users change and that terminals brighten when bold.
const LOW_BYTES: u32 = 240;
/// High bytes in use, from 1: those of which the combining character takes two bytes.
const HIGH_BYTES: u32 = 100;

/// The number in the terminal of a picture of this process. Other panes of tmux share the numbers, so where they start depends
/// on the process.
pub(super) fn number(id: u32) -> u32 {
    let start = if cfg!(test) { 0 } else { std::process::id().wrapping_mul(0x9e37_79b1) >> 8 };
    let number = id.wrapping_add(start) % (LOW_BYTES * HIGH_BYTES);
    ((1 + number / LOW_BYTES) << 24) | (16 + number % LOW_BYTES)
}

/// Writes the placeholders of the picture with this number in the terminal, those that fit into `area`.
pub(super) fn fill(number: u32, size: (u16, u16), area: Rect, buf: &mut Buffer) {
    let columns: Vec<char> = (0..LIMIT.min(size.0.into())).filter_map(diacritic).collect();
    let Some(high) = diacritic(number >> 24) else { return };
    let color = Color::Indexed((number & 0xff) as u8);
    for (row, y) in (0..size.1).zip(area.top()..area.bottom()) {
        let Some(row) = diacritic(row.into()) else { return };
        for (column, x) in columns.iter().zip(area.left()..area.right()) {
            let symbol = String::from_iter([PLACEHOLDER, row, *column, high]);
            buf[(x, y)].set_symbol(&symbol).set_fg(color);
        }
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn the_table_has_all_297_diacritics() {
        assert_eq!(DIACRITICS.iter().map(|(first, last)| last - first + 1).sum::<u32>(), LIMIT);
        assert_eq!(diacritic(0), Some('\u{305}'));
        assert_eq!(diacritic(1), Some('\u{30d}'));
        assert_eq!(diacritic(20), Some('\u{366}'));
        assert_eq!(diacritic(296), Some('\u{1d244}'));
        assert_eq!(diacritic(297), None);
    }

    #[test]
    fn a_placeholder_is_one_cell_wide() {
        for number in 0..LIMIT {
            let mark = diacritic(number).unwrap();
            assert_eq!(format!("{PLACEHOLDER}{mark}").width(), 1, "U+{:04X}", u32::from(mark));
        }
    }

    #[test]
    fn numbers_fit_into_a_colour_and_a_diacritic() {
        for id in [0, 1, 239, 240, 23_999, 24_000, u32::MAX] {
            let number = number(id);
            assert!((16..=255).contains(&(number & 0xff_ffff)), "{number:x}");
            assert!((1..=100).contains(&(number >> 24)), "{number:x}");
        }
        assert_ne!(number(1), number(2));
    }

    #[test]
    fn a_picture_larger_than_the_area_is_cut() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 3, 2));
        fill(number(0), (9, 9), Rect::new(1, 1, 2, 1), &mut buf);
        assert_eq!(buf[(1, 1)].symbol(), "\u{10eeee}\u{305}\u{305}\u{30d}");
        assert_eq!(buf[(2, 1)].symbol(), "\u{10eeee}\u{305}\u{30d}\u{30d}");
        assert_eq!(buf[(2, 1)].fg, Color::Indexed(16));
        assert_eq!(buf[(1, 0)].symbol(), " ");
    }
}
