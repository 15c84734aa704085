use super::*;

fn events(text: &str) -> Vec<Event> {
    let (mut bytes, now) = (Bytes::default(), Instant::now());
    let mut events = bytes.take(text.as_bytes(), now);
    events.extend(bytes.expire(now + PAUSE * 2));
    events
}

fn plain(code: KeyCode) -> Event {
    key(code, KeyModifiers::NONE)
}

fn letter(letter: char) -> Event {
    character(letter, KeyModifiers::NONE)
}

#[test]
fn keys_are_read() {
    let ctrl = KeyModifiers::CONTROL;
    for (text, event) in [
        ("q", letter('q')),
        ("G", key(KeyCode::Char('G'), KeyModifiers::SHIFT)),
        ("é", letter('é')),
        ("猫", letter('猫')),
        ("\r", plain(KeyCode::Enter)),
        ("\t", plain(KeyCode::Tab)),
        ("\x7f", plain(KeyCode::Backspace)),
        ("\x03", key(KeyCode::Char('c'), ctrl)),
        ("\x1a", key(KeyCode::Char('z'), ctrl)),
        ("\x1b", plain(KeyCode::Esc)),
        ("\x1b[A", plain(KeyCode::Up)),
        ("\x1bOD", plain(KeyCode::Left)),
        ("\x1b[1;2C", key(KeyCode::Right, KeyModifiers::SHIFT)),
        ("\x1b[1;5D", key(KeyCode::Left, ctrl)),
        ("\x1b[5~", plain(KeyCode::PageUp)),
        ("\x1b[3;3~", key(KeyCode::Delete, KeyModifiers::ALT)),
        ("\x1bOP", plain(KeyCode::F(1))),
        ("\x1b[15~", plain(KeyCode::F(5))),
        ("\x1b[24~", plain(KeyCode::F(12))),
        ("\x1b[[A", plain(KeyCode::F(1))),
        ("\x1b[Z", key(KeyCode::BackTab, KeyModifiers::SHIFT)),
        ("\x1bx", key(KeyCode::Char('x'), KeyModifiers::ALT)),
        ("\x1b_", key(KeyCode::Char('_'), KeyModifiers::ALT)),
        ("\x1b[", key(KeyCode::Char('['), KeyModifiers::ALT)),
        ("\x1b[97;5u", key(KeyCode::Char('a'), ctrl)),
    ] {
        assert_eq!(events(text), [event], "{text:?}");
    }
    assert_eq!(events("\x1b[200~two\nlines\x1b[201~q"), [paste(b"two\nlines"), letter('q')]);
    let (mut bytes, now) = (Bytes::default(), Instant::now());
    assert_eq!(bytes.take(b"\x1b[0nq\x1b[0n\x1b[0", now), [letter('q')]);
    assert_eq!((bytes.take_signs(), bytes.take_signs()), (2, 0));
    assert_eq!((bytes.take(b"n", now), bytes.take_signs()), (vec![], 1));
    // Answers that come late are no keys.
    assert_eq!(events("\x1b[?62;4c\x1b[6;20;10tq"), [letter('q')]);
}

#[test]
fn the_mouse_is_read() {
    let at = |kind, column, row| Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
    let left = MouseButton::Left;
    for (text, event) in [
        ("\x1b[<0;90;4M", at(MouseEventKind::Down(left), 89, 3)),
        ("\x1b[<0;90;4m", at(MouseEventKind::Up(left), 89, 3)),
        ("\x1b[<32;300;1M", at(MouseEventKind::Drag(left), 299, 0)),
        ("\x1b[<35;2;1M", at(MouseEventKind::Moved, 1, 0)),
        ("\x1b[<64;2;1M", at(MouseEventKind::ScrollUp, 1, 0)),
        ("\x1b[<65;2;1M", at(MouseEventKind::ScrollDown, 1, 0)),
        ("\x1b[M !!", at(MouseEventKind::Down(left), 0, 0)),
        ("\x1b[32;5;6M", at(MouseEventKind::Down(left), 4, 5)),
    ] {
        assert_eq!(events(text), [event], "{text:?}");
    }
    assert_eq!(events("\x1b[<0;0;0M"), []);
    // A wheel that is let go has not turned again.
    assert_eq!(events("\x1b[<64;2;1m\x1b[<65;2;1m"), []);
}

#[test]
fn parts_that_come_one_after_the_other_are_whole() {
    for text in ["\x1b[A", "\x1b[1;5D", "\x1b[<0;90;4M", "\x1bOP", "\x1b[200~pasted\x1b[201~", "猫", "\x1bx"] {
        let (mut bytes, mut now) = (Bytes::default(), Instant::now());
        let mut found = Vec::new();
        for byte in text.bytes() {
            now += ESCAPE / 2;
            found.extend(bytes.take(&[byte], now));
        }
        assert_eq!(found, events(text), "{text:?}");
        assert_eq!(bytes.patience(), None, "{text:?}");
    }
}

#[test]
fn a_sequence_that_is_cut_off_is_given_up_after_a_moment() {
    for cut in ["\x1b[", "\x1b[<0;9", "\x1b[1;", "\x1b[M ", "\x1b[[", "\x1bO", "\x1b[200", "\u{732b}"] {
        let cut = &cut.as_bytes()[..cut.len() - usize::from(!cut.is_ascii())];
        let (mut bytes, now) = (Bytes::default(), Instant::now());
        assert_eq!(bytes.take(cut, now), [], "{cut:?}");
        assert!(bytes.patience().is_some());
        let mut later = bytes.take(b"q\x03", now + MOMENT * 2);
        let typed = later.split_off(later.len() - 2);
        assert_eq!(typed, [letter('q'), key(KeyCode::Char('c'), KeyModifiers::CONTROL)], "{cut:?}");
    }
}

#[test]
fn a_sequence_that_is_cut_off_ends_where_another_begins_or_at_its_length() {
    assert_eq!(events("\x1b[<0;9\x03"), [key(KeyCode::Char('c'), KeyModifiers::CONTROL)]);
    assert_eq!(events("\x1b[1;\x1b[A"), [plain(KeyCode::Up)]);
    let (mut bytes, now) = (Bytes::default(), Instant::now());
    assert_eq!(bytes.take(format!("\x1b[{}", "1;".repeat(MOST)).as_bytes(), now), []);
    assert_eq!(bytes.take(b"q", now), [letter('q')]);
}

#[test]
fn pasted_text_without_an_end_is_given_up() {
    let (mut bytes, now) = (Bytes::default(), Instant::now());
    assert_eq!(bytes.take(b"\x1b[200~abc", now), []);
    assert_eq!(bytes.take(b"d", now + PAUSE), []);
    assert_eq!(bytes.take(b"q", now + PAUSE * 3), [paste(b"abcd"), letter('q')]);
    // Ctrl-C at once.
    let stop = key(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(bytes.take(b"\x1b[200~abc\x03", now), [paste(b"abc"), stop]);
    // More than anybody pastes into a line.
    assert_eq!(bytes.take(b"\x1b[200~", now), []);
    let mut found = bytes.take(&vec![b'x'; MOST_PASTED + 1], now);
    assert_eq!(found.len(), 1);
    found = bytes.take(b"q", now);
    assert_eq!(found, [letter('q')]);
}
