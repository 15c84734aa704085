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

/// The same, but where it ends in a measure (`16.2 %`, `cosine 0.573`) that stays, and what stands before it is cut.
pub(super) fn fitted_with_measure(text: &str, width: usize) -> String {
    let safe = printable(text);
    match measure(&safe).map(|at| safe.split_at(at)) {
        Some((name, measure)) if safe.width() > width && measure.width() + 3 <= width => {
            fitted(name, width - measure.width()) + measure
        }
        _ => fitted(text, width),
    }
}

/// Where the measure at the end of a text begins: a share, a cosine, a number.
fn measure(text: &str) -> Option<usize> {
    let (name, number) = text.strip_suffix(" %").unwrap_or(text).rsplit_once(' ')?;
    number.parse::<f64>().ok()?;
    Some(name.strip_suffix(" cosine").unwrap_or(name).len())
}

/// A caption of parts, the most needed first: those at its end go before a part is cut.
pub(super) fn fitted_parts(text: &str, width: usize) -> String {
    let safe = printable(text);
    let mut kept: &str = &safe;
    while kept.width() > width {
        let Some((before, _)) = kept.rsplit_once(" · ") else { break };
        kept = before;
    }
    fitted_with_measure(kept, width)
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

/// The text made safe to show, cut in its middle: of a name, the beginning and the end tell most.
pub(super) fn fitted_middle(text: &str, width: usize) -> String {
    let safe = printable(text);
    if safe.width() <= width {
        return safe.into_owned();
    }
    // The end is the shorter part: where three cells have no room for both, there is none.
    let end = width.saturating_sub(1) * 2 / 5;
    let last = fitted_end(text, end + 1);
    let last = last.strip_prefix('…').unwrap_or(&last).to_owned();
    fitted(text, width.saturating_sub(last.width())) + &last
}

/// The text made safe to show, in lines of at most so many cells that end between words; a word without room for it is cut.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in printable(text).split_whitespace() {
        match lines.last_mut().filter(|line| line.width() + 1 + word.width() <= width) {
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(fitted(word, width)),
        }
    }
    lines
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
        assert_eq!(fitted_with_measure("football helmet 16.2 %", 16), "football… 16.2 %");
        assert_eq!(fitted_with_measure("cup 16.2 %", 16), "cup 16.2 %");
        assert_eq!(fitted_with_measure("football helmet 16.2 %", 9), "football…");
        assert_eq!(fitted_with_measure("like astronaut.jpg cosine 0.573", 24), "like astro… cosine 0.573");
        assert_eq!(fitted_with_measure("output:age 0.830", 14), "output:… 0.830");
        assert_eq!(fitted_with_measure("\u{1b}[31mred 16.2 %", 16), "\\u{1b}[3… 16.2 %");
        assert_eq!(fitted_parts("cup 16.2 % · gradcam · conv", 22), "cup 16.2 % · gradcam");
        assert_eq!(fitted_parts("football helmet 16.2 % · gradcam", 16), "football… 16.2 %");
        assert_eq!(fitted_end("features.18.0.conv", 8), "….0.conv");
        assert_eq!(fitted_middle("regnety_002_int8", 10), "regnet…nt8");
        assert_eq!(["猫の写真その一枚", "猫"].map(|name| fitted_middle(name, 9)), ["猫の写…枚", "猫"]);
        assert_eq!((0..4).map(|cells| fitted_middle("regnet", cells)).collect::<Vec<_>>(), ["", "…", "r…", "re…"]);
        assert_eq!(wrapped("no gradient: Round stops it", 12), ["no gradient:", "Round stops", "it"]);
        assert_eq!(wrapped("猫の 写真 features", 5), ["猫の", "写真", "feat…"]);
        assert_eq!(wrapped(" ", 5), Vec::<String>::new());
        assert_eq!(padded("猫猫猫", 5), "猫猫…");
        assert_eq!(padded("猫", 5), "猫   ");
        assert_eq!(width(&padded("e\u{301}", 3)), 3);
        assert_eq!(fitted("\u{1b}[2Jx", 20), "\\u{1b}[2Jx");
        assert_eq!(fitted("abc", 0), "");
        assert_eq!(fitted_end("abc", 0), "");
    }
}
