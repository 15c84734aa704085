//! Reads what a terminal answers when it is asked (`ask.rs`).

/// What a terminal said about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// It knows kitty's graphics.
    pub(super) kitty: bool,
    /// It knows sixel.
    pub(super) sixel: bool,
    /// Name and version, as in `kitty(0.42.1)`, `XTerm(390)`.
    pub(super) name: Option<String>,
    /// Width and height of a cell in pixels.
    pub(super) cell: Option<(u16, u16)>,
    /// Width and height of the text area in pixels.
    pub(super) window: Option<(u16, u16)>,
    /// Width and height in pixels of the largest sixel picture.
    pub(super) sixel_limit: Option<(u32, u32)>,
    /// The background colour.
    pub(super) background: Option<[u8; 3]>,
    /// The device attributes are there, which every terminal gives and which were asked for last.
    pub(super) is_complete: bool,
}

/// Reads an answer, or as much of it as has come. What is between escape sequences was typed, and is left out.
pub(super) fn parse(bytes: &[u8]) -> Answer {
    read(bytes).0
}

/// Whether the bytes end within an escape sequence.
pub(super) fn is_cut(bytes: &[u8]) -> bool {
    !read(bytes).1
}

/// The answer as far as it is there, and whether its last sequence has an end.
fn read(bytes: &[u8]) -> (Answer, bool) {
    let mut answer = Answer::default();
    let mut rest = bytes;
    while let Some(start) = rest.iter().position(|&byte| byte == 0x1b) {
        match answer.sequence(&rest[start + 1..]) {
            Some(after) => rest = after,
            None => return (answer, false),
        }
    }
    (answer, true)
}

/// The text of an escape string and what follows it. It ends with ST or BEL.
fn split_string(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = body.iter().position(|&byte| byte == 0x1b || byte == 0x07)?;
    let after = if body[end] == 0x07 { &body[end + 1..] } else { body.get(end + 2..)? };
    Some((&body[..end], after))
}

impl Answer {
    /// What comes behind an escape; the result is what follows the sequence, `None` where that has no end yet.
    fn sequence<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (&kind, body) = bytes.split_first()?;
        match kind {
            b'[' => {
                let end = body.iter().position(|byte| (0x40..=0x7e).contains(byte))?;
                self.control(&body[..end], body[end]);
                Some(&body[end + 1..])
            }
            b'_' | b']' | b'P' => {
                let (string, after) = split_string(body)?;
                self.string(kind, &String::from_utf8_lossy(string));
                Some(after)
            }
            _ => Some(bytes),
        }
    }

    /// `CSI parameters last`.
    fn control(&mut self, parameters: &[u8], last: u8) {
        let text = String::from_utf8_lossy(parameters);
        let (text, is_private) = match text.strip_prefix('?') {
            Some(text) => (text, true),
            None => (&*text, false),
        };
        let numbers: Vec<u32> = text.split(';').map(|number| number.parse().unwrap_or(0)).collect();
        let size = |height: u32, width: u32| Some((u16::try_from(width).ok()?, u16::try_from(height).ok()?));
        match (is_private, last, numbers.as_slice()) {
            (true, b'c', [_, attributes @ ..]) => {
                self.sixel = attributes.contains(&4);
                self.is_complete = true;
            }
            (true, b'S', &[2, 0, width, height]) if width > 0 && height > 0 => self.sixel_limit = Some((width, height)),
            (false, b't', &[6, height, width]) => self.cell = size(height, width).filter(|&cell| is_plausible(cell)),
            (false, b't', &[4, height, width]) => self.window = size(height, width),
            _ => {}
        }
    }

    /// A string of APC (`_`), OSC (`]`) or DCS (`P`).
    fn string(&mut self, kind: u8, text: &str) {
        match kind {
            b'_' => self.kitty |= text == "Gi=31;OK",
            b']' => {
                if let Some(color) = text.strip_prefix("11;") {
                    self.background = parse_color(color);
                }
            }
            _ => {
                if let Some(name) = text.strip_prefix(">|") {
                    self.name = Some(name.to_owned());
                }
            }
        }
    }
}

/// Whether a cell can be of this size; some terminals say 0, or the size of the window.
pub(super) fn is_plausible((width, height): (u16, u16)) -> bool {
    (3..=100).contains(&width) && (5..=200).contains(&height)
}

/// `rgb:RRRR/GGGG/BBBB` with 1 to 4 hexadecimal digits each, or `rgba:` with a fourth; or `#RRGGBB`.
fn parse_color(text: &str) -> Option<[u8; 3]> {
    if let Some(hex) = text.strip_prefix('#') {
        let value = u32::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 6)?;
        return Some([(value >> 16) as u8, (value >> 8) as u8, value as u8]);
    }
    let (_, list) = text.split_once(':').filter(|(kind, _)| matches!(*kind, "rgb" | "rgba"))?;
    let mut parts = list.split('/').map(|digits| {
        let value = u32::from_str_radix(digits, 16).ok()?;
        let most = 16u32.checked_pow(digits.len() as u32).filter(|_| digits.len() <= 4)? - 1;
        Some((value * 255 / most) as u8)
    });
    Some([parts.next()??, parts.next()??, parts.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read() {
        assert_eq!(parse_color("rgb:1e1e/2a2a/ffff"), Some([0x1e, 0x2a, 0xff]));
        assert_eq!(parse_color("rgb:f/8/0"), Some([255, 136, 0]));
        assert_eq!(parse_color("rgba:ff/00/00/80"), Some([255, 0, 0]));
        assert_eq!(parse_color("#102030"), Some([16, 32, 48]));
        for odd in ["", "rgb:", "rgb:1/2", "rgb:12345/0/0", "rgb:g/0/0", "#1234", "hsl:1/2/3"] {
            assert_eq!(parse_color(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_answer_in_parts_is_complete_with_the_device_attributes() {
        let whole = b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b]11;rgb:00/00/00\x07\x1b[?62;4c";
        for end in 0..whole.len() {
            assert!(!parse(&whole[..end]).is_complete, "{end}");
        }
        assert!(parse(whole).is_complete);
    }

    #[test]
    fn the_end_of_a_sequence_is_told_from_its_middle() {
        let whole = b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b]11;rgb:00/00/00\x07qq\x1bx";
        let ends = [0, 12, 22, 40, 41, 42, 44];
        for end in 0..=whole.len() {
            assert_eq!(is_cut(&whole[..end]), !ends.contains(&end), "{end}");
        }
    }

    #[test]
    fn typing_in_between_does_no_harm() {
        let answer = parse(b"q\x1b[A\x1b[6;18;9tjj\x1bx\x1b[?1;2c\x1b");
        assert_eq!(answer, Answer { cell: Some((9, 18)), is_complete: true, ..Answer::default() });
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert_eq!(parse(b"\x1b[6;0;0t").cell, None);
        assert_eq!(parse(b"\x1b[6;99999999999;7t").cell, None);
        assert_eq!(parse(b"\x1b[6;800;600t").cell, None);
    }
}
