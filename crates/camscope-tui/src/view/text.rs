//! Text that fits its cells: wide characters counted as wide, control characters made visible, what is too long cut with an ellipsis.

pub(super) use camscope_core::text::printable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text made safe to show, cut at its end.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let safe = printable(text);
    if safe.width() <= width {
        return safe.into_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in safe.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// The text made safe to show, cut at its beginning: of a path, the end tells more.
pub(super) fn fitted_end(text: &str, width: usize) -> String {
    let safe = printable(text);
    if safe.width() <= width {
        return safe.into_owned();
    }
    let mut kept: Vec<char> = Vec::new();
    let mut used = 0;
    for c in safe.chars().rev() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        kept.push(c);
    }
    let start = if width > 0 { "…" } else { "" };
    start.chars().chain(kept.into_iter().rev()).collect()
}

/// The text filled up to `width` cells, or cut.
pub(super) fn padded(text: &str, width: usize) -> String {
    let mut text = fitted(text, width);
    let used = text.width();
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    text
}

/// The text at the end of `width` cells, or cut.
pub(super) fn right(text: &str, width: usize) -> String {
    let text = fitted(text, width);
    let room = width.saturating_sub(text.width());
    " ".repeat(room) + &text
}

/// Cells that the text fills.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits_its_cells() {
        assert_eq!(fitted("Egyptian cat", 8), "Egyptia…");
        assert_eq!(fitted_end("features.18.0.conv", 8), "….0.conv");
        assert_eq!(padded("猫猫猫", 5), "猫猫…");
        assert_eq!(padded("猫", 5), "猫   ");
        assert_eq!(width(&padded("e\u{301}", 3)), 3);
        assert_eq!(fitted("\u{1b}[2Jx", 20), "\\u{1b}[2Jx");
        assert_eq!(fitted("abc", 0), "");
        assert_eq!(fitted_end("abc", 0), "");
    }
}
