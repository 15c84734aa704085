//! Keeps answers of the terminal that come after nobody waits for them from being taken for typing.
//!
//! crossterm hands `ESC _ G i = 3 1 ; O K ESC \` over as Alt+_, then letters, then Alt+\. Such a start followed by what an answer
//! begins with is held back until its end, and dropped; if the end doesn't come at once, somebody did type it.

use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};

/// The most events of one answer.
const MOST: usize = 64;
/// How long an answer may take from its first event to its last.
const MOMENT: Duration = Duration::from_millis(100);

/// Events that may be an answer.
#[derive(Debug, Default)]
pub(super) struct LateAnswers {
    held: Vec<Event>,
    answers: Vec<String>,
    since: Option<Instant>,
}

impl LateAnswers {
    /// The events to handle now that `event` has come.
    pub(super) fn pass(&mut self, event: Event, now: Instant) -> Vec<Event> {
        let mut events = self.expire(now);
        let pressed = key(&event);
        if self.held.is_empty() {
            match pressed {
                Some((KeyModifiers::ALT, '_' | ']' | 'P')) => {
                    self.held.push(event);
                    self.since = Some(now);
                }
                _ => events.push(event),
            }
            return events;
        }
        if matches!(pressed, Some((KeyModifiers::ALT, '\\') | (KeyModifiers::CONTROL, 'g'))) && self.held.len() > 1 {
            let text = self.held.drain(..).filter_map(|event| key(&event)).map(|(_, letter)| letter);
            self.answers.push(format!("\x1b{}\x1b\\", text.collect::<String>()));
            return events;
        }
        self.held.push(event);
        let is_text = matches!(pressed, Some((KeyModifiers::NONE | KeyModifiers::SHIFT, _)));
        if !is_text || self.held.len() > MOST || !self.starts_like_an_answer() {
            events.append(&mut self.held);
        }
        events
    }

    /// The answers that were dropped, as the terminal sent them, except that all end with ST.
    pub(super) fn take_answers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.answers)
    }

    /// The events that were held back and are no answer, for its end should have come.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Event> {
        match self.since {
            Some(since) if now.duration_since(since) > MOMENT => {
                self.since = None;
                std::mem::take(&mut self.held)
            }
            _ => Vec::new(),
        }
    }

    /// APC of kitty begins with G; OSC with a number; DCS with a name or a number.
    fn starts_like_an_answer(&self) -> bool {
        let [first, second, ..] = self.held.as_slice() else { return true };
        match (key(first), key(second)) {
            (Some((_, '_')), Some((_, second))) => second == 'G',
            (Some((_, ']')), Some((_, second))) => second.is_ascii_digit(),
            (Some((_, 'P')), Some((_, second))) => second.is_ascii_digit() || matches!(second, '>' | '!' | '$'),
            _ => false,
        }
    }
}

/// The character of a key press and what was held with it; Alt+P may or may not come with Shift.
fn key(event: &Event) -> Option<(KeyModifiers, char)> {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
            KeyCode::Char(letter) if key.modifiers.contains(KeyModifiers::ALT) => {
                Some((key.modifiers - KeyModifiers::SHIFT, letter))
            }
            KeyCode::Char(letter) => Some((key.modifiers, letter)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    fn event(letter: char, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(letter), modifiers))
    }

    /// Events as crossterm makes them of bytes: ESC gives the next one Alt, capitals have Shift, BEL is Ctrl+G.
    fn events(text: &str) -> Vec<Event> {
        let mut alt = KeyModifiers::NONE;
        let mut events = Vec::new();
        for letter in text.chars() {
            let shift = if letter.is_ascii_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
            match letter {
                '\x1b' => alt = KeyModifiers::ALT,
                '\x07' => events.push(event('g', KeyModifiers::CONTROL)),
                _ => events.push(event(letter, std::mem::replace(&mut alt, KeyModifiers::NONE) | shift)),
            }
        }
        events
    }

    /// What comes through when all come at once.
    fn passed(text: &str) -> Vec<Event> {
        let (mut filter, now) = (LateAnswers::default(), Instant::now());
        let mut out: Vec<Event> = events(text).into_iter().flat_map(|event| filter.pass(event, now)).collect();
        out.extend(filter.expire(now + MOMENT * 2));
        out
    }

    #[test]
    fn late_answers_are_dropped() {
        for answer in [
            "\x1b_Gi=31;OK\x1b\\",
            "\x1b_Gi=7;ENOENT:Put command refers to non-existent image\x1b\\",
            "\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\",
            "\x1b]11;rgb:1e1e/1e1e/2e2e\x07",
            "\x1bP>|kitty(0.42.1)\x1b\\",
            "\x1bP1$r0m\x1b\\",
        ] {
            assert_eq!(passed(answer), [], "{answer:?}");
            assert_eq!(passed(&format!("j{answer}k")), events("jk"), "{answer:?}");
        }
    }

    #[test]
    fn late_answers_can_be_read() {
        let (mut filter, now) = (LateAnswers::default(), Instant::now());
        for event in events("j\x1b]11;rgb:1e1e/1e1e/2e2e\x07\x1b_Gi=31;OK\x1b\\") {
            filter.pass(event, now);
        }
        assert_eq!(filter.take_answers(), ["\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\", "\x1b_Gi=31;OK\x1b\\"]);
        assert_eq!(filter.take_answers(), [""; 0]);
    }

    #[test]
    fn typing_comes_through() {
        for typing in ["qjk:/Ab", "\x1b_x", "\x1b]", "\x1bPa\x1b\\", "\x1b\\", "\x07", "\x1b_\x1b\\", "\x1b_Gi"] {
            assert_eq!(passed(typing), events(typing), "{typing:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_slow_was_typed() {
        let long = format!("\x1b]1{}", "1".repeat(100));
        assert_eq!(passed(&long), events(&long));
        let (mut filter, now) = (LateAnswers::default(), Instant::now());
        assert_eq!(filter.pass(events("\x1b_")[0].clone(), now), []);
        assert_eq!(filter.expire(now + MOMENT / 2), []);
        assert_eq!(filter.pass(events("G")[0].clone(), now + MOMENT * 2), events("\x1b_G"));
    }

    #[test]
    fn other_keys_and_the_mouse_end_an_answer() {
        let (mut filter, now) = (LateAnswers::default(), Instant::now());
        filter.pass(events("\x1b_")[0].clone(), now);
        let resize = Event::Resize(80, 24);
        assert_eq!(filter.pass(resize.clone(), now), [events("\x1b_")[0].clone(), resize]);
    }
}
