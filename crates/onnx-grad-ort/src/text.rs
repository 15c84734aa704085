//! Text that came from outside, made safe to print in a terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with control characters made visible (`\n`, `\u{1b}`), so that a file's name or a model's label can neither
/// move the cursor nor colour the terminal.
///
/// Characters that turn the direction of writing are shown as well, since they can make one name look like another.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c)); // writing to a String cannot fail
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A path as text for a message: [`printable`], with bytes that are no UTF-8 replaced.
pub fn printable_path(path: &std::path::Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// Whether a character steers the terminal or turns the direction of writing instead of being shown.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed_as_it_is() {
        assert!(matches!(printable("Katze und Kaffee ☕.jpg"), Cow::Borrowed(_)));
    }

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(printable("a\u{1b}[31mb\n\u{202e}c"), "a\\u{1b}[31mb\\n\\u{202e}c");
    }
}
