//! Events from the bytes of a terminal. Unlike crossterm's own reading, which waits for ever for the rest of a sequence that was cut off,
//! this gives up after a moment or a length, so that the keys after it count.

use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

/// How long the rest of an escape sequence may take: terminals write one at once, and a slow line parts it by less.
const MOMENT: Duration = Duration::from_millis(100);
/// How long a lone escape may be the beginning of a sequence.
const ESCAPE: Duration = Duration::from_millis(30);
/// How long pasted text may pause before it counts as ended.
const PAUSE: Duration = Duration::from_millis(500);
/// The most bytes of a sequence.
const MOST: usize = 64;
/// The most bytes of pasted text: far more than a line can use.
const MOST_PASTED: usize = 1 << 20;

/// The answer to a question for the terminal's status.
const READY: &[u8] = b"\x1b[0n";

const PASTE_END: &[u8] = b"\x1b[201~";

/// What has come and is no event yet.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    waiting: Vec<u8>,
    /// Text that is being pasted.
    pasted: Option<Vec<u8>>,
    /// When the last byte came.
    since: Option<Instant>,
    /// How often the terminal has said that it is ready.
    signs: usize,
}

/// What the bytes begin with.
enum Start {
    /// An event, or something that is none, of so many bytes.
    Whole(Option<Event>, usize),
    /// The beginning of a sequence.
    Cut,
}

impl Bytes {
    /// The events of these bytes, behind those that are waiting.
    pub(super) fn take(&mut self, bytes: &[u8], now: Instant) -> Vec<Event> {
        let mut events = self.expire(now);
        if !bytes.is_empty() {
            self.waiting.extend_from_slice(bytes);
            self.since = Some(now);
        }
        self.read(&mut events);
        events
    }

    /// Gives up what should have had its end by now.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let Some(since) = self.since else { return events };
        let limit = match (&self.pasted, self.waiting.as_slice()) {
            (Some(_), _) => PAUSE,
            (None, [0x1b]) => ESCAPE,
            (None, _) => MOMENT,
        };
        if now.duration_since(since) <= limit {
            return events;
        }
        self.since = None;
        if let Some(mut text) = self.pasted.take() {
            text.append(&mut self.waiting);
            events.push(paste(&text));
        } else {
            match std::mem::take(&mut self.waiting).as_slice() {
                [0x1b] => events.push(key(KeyCode::Esc, KeyModifiers::NONE)),
                // Alt with a letter that sequences begin with.
                [0x1b, letter @ (b'[' | b'O')] => events.push(character(char::from(*letter), KeyModifiers::ALT)),
                _ => {}
            }
        }
        events
    }

    /// How long to wait for more before [`Bytes::expire`] has something to say; `None`: nothing is waiting.
    pub(super) fn patience(&self) -> Option<Duration> {
        (self.pasted.is_some() || !self.waiting.is_empty()).then_some(ESCAPE)
    }

    /// How often the terminal has said that it is ready since this was asked last.
    pub(super) fn take_signs(&mut self) -> usize {
        std::mem::take(&mut self.signs)
    }

    fn read(&mut self, events: &mut Vec<Event>) {
        loop {
            if self.pasted.is_some() {
                if !self.read_pasted(events) {
                    return;
                }
                continue;
            }
            let (event, length) = match start(&self.waiting) {
                Start::Whole(event, length) => (event, length),
                Start::Cut if self.waiting.len() > MOST => (None, self.waiting.len()),
                Start::Cut => return,
            };
            if self.waiting.starts_with(b"\x1b[200~") {
                self.pasted = Some(Vec::new());
            }
            self.signs += usize::from(self.waiting.starts_with(READY));
            self.waiting.drain(..length);
            events.extend(event);
            if self.waiting.is_empty() && self.pasted.is_none() {
                self.since = None;
                return;
            }
        }
    }

    /// Takes what belongs to pasted text; whether its end was there. Ctrl-C is no text, so it ends it too.
    fn read_pasted(&mut self, events: &mut Vec<Event>) -> bool {
        let Some(text) = &mut self.pasted else { return false };
        let end = self.waiting.windows(PASTE_END.len()).position(|part| part == PASTE_END);
        let stop = self.waiting.iter().position(|byte| *byte == 3);
        let (length, skipped) = match (end, stop) {
            (Some(end), stop) if stop.is_none_or(|stop| end < stop) => (end, PASTE_END.len()),
            (_, Some(stop)) => (stop, 0),
            _ => {
                // What may be the beginning of the end stays.
                let is_start = |count: &usize| self.waiting.ends_with(&PASTE_END[..*count]);
                let kept = (1..PASTE_END.len()).rev().find(is_start).unwrap_or(0);
                let length = self.waiting.len() - kept;
                text.extend(self.waiting.drain(..length));
                if text.len() <= MOST_PASTED {
                    return false;
                }
                (0, 0)
            }
        };
        text.extend(self.waiting.drain(..length));
        self.waiting.drain(..skipped);
        if let Some(text) = self.pasted.take() {
            events.push(paste(&text));
        }
        true
    }
}

fn paste(text: &[u8]) -> Event {
    Event::Paste(String::from_utf8_lossy(text).into_owned())
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
    Event::Key(KeyEvent::new(code, modifiers))
}

/// A character that was typed; a capital says that shift was held.
fn character(letter: char, modifiers: KeyModifiers) -> Event {
    let shift = if letter.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
    key(KeyCode::Char(letter), modifiers | shift)
}

fn start(bytes: &[u8]) -> Start {
    match bytes {
        [] | [0x1b] => Start::Cut,
        [0x1b, b'[', ..] => control(bytes),
        [0x1b, b'O'] => Start::Cut,
        [0x1b, b'O', last, ..] => Start::Whole(named(*last).map(|code| key(code, KeyModifiers::NONE)), 3),
        [0x1b, 0x1b, ..] => Start::Whole(Some(key(KeyCode::Esc, KeyModifiers::NONE)), 1),
        [0x1b, rest @ ..] => match typed(rest, KeyModifiers::ALT) {
            Start::Whole(event, length) => Start::Whole(event, length + 1),
            cut => cut,
        },
        _ => typed(bytes, KeyModifiers::NONE),
    }
}

/// A key that is no sequence.
fn typed(bytes: &[u8], held: KeyModifiers) -> Start {
    let Some(&first) = bytes.first() else { return Start::Cut };
    let control = |letter: u8| character(char::from(letter), held | KeyModifiers::CONTROL);
    let event = match first {
        b'\r' => key(KeyCode::Enter, held),
        b'\t' => key(KeyCode::Tab, held),
        0x7f => key(KeyCode::Backspace, held),
        0 => control(b' '),
        1..=0x1a => control(first - 1 + b'a'),
        0x1c..=0x1f => control(first - 0x1c + b'4'),
        0x20..=0x7e => character(char::from(first), held),
        _ => {
            let length = match first {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => return Start::Whole(None, 1),
            };
            let there = &bytes[..bytes.len().min(length)];
            return match std::str::from_utf8(there) {
                Ok(text) => Start::Whole(text.chars().next().map(|letter| character(letter, held)), length),
                Err(error) if error.error_len().is_none() => Start::Cut,
                Err(_) => Start::Whole(None, 1),
            };
        }
    };
    Start::Whole(Some(event), 1)
}

/// `ESC [ parameters last`.
fn control(bytes: &[u8]) -> Start {
    let body = &bytes[2..];
    // The first of Linux's function keys, and the mouse as it was before it had numbers.
    match body {
        [b'['] => return Start::Cut,
        [b'[', letter @ b'A'..=b'E', ..] => {
            return Start::Whole(Some(key(KeyCode::F(1 + letter - b'A'), KeyModifiers::NONE)), 4);
        }
        [b'M', button, column, row, ..] => {
            let number = |byte: &u8| u16::from(byte.saturating_sub(32));
            return Start::Whole(mouse(number(button), number(column), number(row), false), 6);
        }
        [b'M', ..] => return Start::Cut,
        _ => {}
    }
    let Some(end) = body.iter().position(|byte| !(0x20..=0x3f).contains(byte)) else { return Start::Cut };
    let last = body[end];
    // Whatever it was, it was cut off by what comes now.
    if !(0x40..=0x7e).contains(&last) {
        return Start::Whole(None, end + 2);
    }
    Start::Whole(sequence(&body[..end], last), end + 3)
}

fn sequence(parameters: &[u8], last: u8) -> Option<Event> {
    let text = std::str::from_utf8(parameters).ok()?;
    let (is_mouse, text) = text.strip_prefix('<').map_or((false, text), |text| (true, text));
    let numbers: Vec<u16> = text.split(';').map(|number| number.parse().unwrap_or(0)).collect();
    let at = |place: usize| numbers.get(place).copied().unwrap_or(0);
    if is_mouse {
        return matches!(last, b'M' | b'm').then(|| mouse(at(0), at(1), at(2), last == b'm'))?;
    }
    let held = held(at(1));
    match (last, numbers.as_slice()) {
        (b'M', [button, column, row]) => mouse(button.saturating_sub(32), *column, *row, false),
        (b'I', _) => Some(Event::FocusGained),
        (b'O', _) => Some(Event::FocusLost),
        (b'Z', _) => Some(key(KeyCode::BackTab, held | KeyModifiers::SHIFT)),
        (b'~', [first, ..]) => {
            let code = match first {
                1 | 7 => KeyCode::Home,
                2 => KeyCode::Insert,
                3 => KeyCode::Delete,
                4 | 8 => KeyCode::End,
                5 => KeyCode::PageUp,
                6 => KeyCode::PageDown,
                11..=15 => KeyCode::F((first - 10) as u8),
                17..=21 => KeyCode::F((first - 11) as u8),
                23..=26 => KeyCode::F((first - 12) as u8),
                28 | 29 => KeyCode::F((first - 13) as u8),
                31..=34 => KeyCode::F((first - 14) as u8),
                _ => return None,
            };
            Some(key(code, held))
        }
        (b'u', [code, ..]) => {
            let code = match code {
                9 => KeyCode::Tab,
                13 => KeyCode::Enter,
                27 => KeyCode::Esc,
                127 => KeyCode::Backspace,
                code => KeyCode::Char(char::from_u32(u32::from(*code)).filter(|letter| !letter.is_control())?),
            };
            Some(key(code, held))
        }
        _ => Some(key(named(last)?, held)),
    }
}

/// A key by the letter that ends its sequence.
fn named(letter: u8) -> Option<KeyCode> {
    Some(match letter {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'P'..=b'S' => KeyCode::F(1 + letter - b'P'),
        _ => return None,
    })
}

/// What was held, as xterm counts it: one more than a sum of bits.
fn held(number: u16) -> KeyModifiers {
    let bits = number.saturating_sub(1);
    let all = [(1, KeyModifiers::SHIFT), (2, KeyModifiers::ALT), (4, KeyModifiers::CONTROL)];
    all.into_iter().filter(|(bit, _)| bits & bit != 0).fold(KeyModifiers::NONE, |held, (_, one)| held | one)
}

/// The mouse; columns and rows begin at 1.
fn mouse(button: u16, column: u16, row: u16, is_released: bool) -> Option<Event> {
    let bits = [(4, KeyModifiers::SHIFT), (8, KeyModifiers::ALT), (16, KeyModifiers::CONTROL)];
    let modifiers =
        bits.into_iter().filter(|(bit, _)| button & bit != 0).fold(KeyModifiers::NONE, |held, (_, one)| held | one);
    let (number, is_moving) = (button & 3 | (button & 0xc0) >> 4, button & 32 != 0);
    let pressed = match number {
        0 => Some(MouseButton::Left),
        1 => Some(MouseButton::Middle),
        2 => Some(MouseButton::Right),
        _ => None,
    };
    let kind = match (number, pressed) {
        (_, Some(button)) if is_moving => MouseEventKind::Drag(button),
        (_, Some(button)) if is_released => MouseEventKind::Up(button),
        (_, Some(button)) => MouseEventKind::Down(button),
        (3, _) if !is_moving => MouseEventKind::Up(MouseButton::Left),
        (_, _) if is_moving => MouseEventKind::Moved,
        // A wheel has turned when it is pressed; some terminals tell of its release, too.
        (4..=7, _) if is_released => return None,
        (4, _) => MouseEventKind::ScrollUp,
        (5, _) => MouseEventKind::ScrollDown,
        (6, _) => MouseEventKind::ScrollLeft,
        (7, _) => MouseEventKind::ScrollRight,
        _ => return None,
    };
    let (column, row) = (column.checked_sub(1)?, row.checked_sub(1)?);
    Some(Event::Mouse(MouseEvent { kind, column, row, modifiers }))
}

#[cfg(test)]
#[path = "bytes_tests.rs"]
mod tests;
