//! Text for the clipboard of the person's own machine, also over SSH.

use base64::{Engine, engine::general_purpose::STANDARD};

/// The escape sequence (OSC 52) that asks the terminal to put text on the clipboard. Terminals that don't know it, or may not, pass
/// over it.
pub fn copy(text: &str) -> Vec<u8> {
    format!("\x1b]52;c;{}\x07", STANDARD.encode(text)).into_bytes()
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_is_encoded() {
        assert_eq!(super::copy("a\x1bé"), b"\x1b]52;c;YRvDqQ==\x07");
    }
}
