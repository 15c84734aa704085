//! The pace at made-up times, over sessions that keep what is written.

use std::sync::OnceLock;

use image::{Rgb, RgbImage};
use ratatui::Frame;

use super::*;
use crate::graphics::{Protocol, encode, fill};
use crate::terminal::{Scene, Session};

fn far() -> Screen {
    Screen { pixel_budget: Some(250_000), ..Screen::new(Protocol::Kitty) }
}

/// A session at a standstill: the line is quick.
fn session() -> Session<Vec<u8>> {
    static NOW: OnceLock<Instant> = OnceLock::new();
    let mut session = Session::over(Vec::new(), &far(), (40, 12)).unwrap();
    session.clock = || *NOW.get_or_init(Instant::now);
    session
}

/// A picture that no encoder makes small: some 4 bytes a pixel over the wire.
fn noise(seed: u32) -> Arc<Picture> {
    noise_of(150, seed)
}

fn noise_of(size: u32, seed: u32) -> Arc<Picture> {
    let mut state = seed;
    let image = RgbImage::from_fn(size, size, |_, _| {
        Rgb([0; 3].map(|_: u8| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    });
    Arc::new(encode(&far(), &image, (20, 10)))
}

fn show(frame: &mut Frame, picture: &Arc<Picture>) -> Scene {
    let area = Rect::new(0, 0, 20, 10);
    fill(picture, area, frame.buffer_mut());
    Scene { pictures: vec![(area, Arc::clone(picture))], covered: Vec::new() }
}

/// The commands of kitty's protocol in what was written: what each begins with, up to its data.
fn commands(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let heads = text.split("\x1b_G").skip(1).map(|rest| rest.split([';', '\x1b']).next().unwrap().to_owned());
    heads.collect()
}

fn count(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|window| *window == part).count()
}

/// Draws what can be drawn without an answer.
fn draw(session: &mut Session<Vec<u8>>, picture: &Arc<Picture>) {
    session.draw(|frame| show(frame, picture)).unwrap();
    while session.is_due() {
        session.draw(|frame| show(frame, picture)).unwrap();
    }
}

/// Draws until the picture is there, in a terminal that answers at once.
fn settle(session: &mut Session<Vec<u8>>, picture: &Arc<Picture>) {
    for _ in 0..100 {
        draw(session, picture);
        let is_there = session.on_the_way().is_none();
        for _ in 0..100 {
            session.answered();
        }
        if is_there {
            return;
        }
    }
    panic!("it never comes to an end");
}

#[test]
fn a_picture_comes_in_parts_behind_the_frame_and_is_shown_when_it_is_whole() {
    let picture = noise(1);
    let mut session = session();
    let start = session.out().len();
    draw(&mut session, &picture);
    let first = session.out()[start..].to_vec();
    let update = first.windows(8).position(|part| part == b"\x1b[?2026l").unwrap();
    assert!(commands(&first[..update]).is_empty(), "nothing of the picture lies before the text");
    assert!(first.len() < WINDOW * 3 / 2 && picture.bytes() > 2 * WINDOW, "{} of {}", first.len(), picture.bytes());
    assert!(session.on_the_way().is_some_and(|part| part > 10 && part < 90));
    let preview = commands(&first);
    assert_eq!(
        preview.iter().filter(|command| command.starts_with("a=p")).count(),
        1,
        "few pixels come first: {preview:?}"
    );
    settle(&mut session, &picture);
    let all = commands(&session.out()[start..]);
    assert_eq!(all.iter().filter(|command| command.starts_with("a=t")).count(), 2);
    assert!(all.last().unwrap().starts_with("a=p"), "{all:?}");
    // Every byte of the picture is there, and its parts have their order.
    let wire: Vec<u8> = session.out()[start..]
        .split(|byte| *byte == 0x1b)
        .filter(|part| part.starts_with(b"_G"))
        .flatten()
        .copied()
        .collect();
    let own: Vec<u8> = payload(&picture)
        .split(|byte| *byte == 0x1b)
        .filter(|part| part.starts_with(b"_G"))
        .flatten()
        .copied()
        .collect();
    assert!(wire.windows(own.len()).any(|part| part == own));
    let before = session.out().len();
    session.draw(|frame| show(frame, &picture)).unwrap();
    assert!(session.out().len() - before < 50, "it is held");
}

fn payload(picture: &Picture) -> Vec<u8> {
    Painter::new(&far()).begin(picture).concat()
}

#[test]
fn another_picture_stands_until_the_next_is_whole_and_one_that_is_not_wanted_is_broken_off() {
    // Too large for what the line has shown that it carries.
    let pictures = [noise(1), noise_of(700, 2), noise_of(700, 3)];
    let mut session = session();
    settle(&mut session, &pictures[0]);
    let start = session.out().len();
    session.draw(|frame| show(frame, &pictures[1])).unwrap();
    let sent = commands(&session.out()[start..]);
    assert!(
        sent[0].starts_with("a=t") && sent[1..].iter().all(|command| command == "m=1"),
        "the old one stays: {sent:?}"
    );
    assert_eq!(count(&session.out()[start..], b"\x1b_Gm=0,q=2;\x1b\\"), 0);
    let start = session.out().len();
    session.answered();
    session.draw(|frame| show(frame, &pictures[2])).unwrap();
    let sent = commands(&session.out()[start..]);
    assert_eq!(sent[0], "m=0,q=2");
    assert!(sent[1].starts_with("a=d,d=I,i=") && sent[2].starts_with("a=t"), "{sent:?}");
    settle(&mut session, &pictures[2]);
    // Back to the one that was cut off: it comes whole.
    settle(&mut session, &pictures[1]);
    let start = session.out().len();
    session.draw(|frame| show(frame, &pictures[2])).unwrap();
    assert!(session.out().len() - start < 200, "the third is held");
}

#[test]
fn nothing_comes_between_the_parts_of_a_picture() {
    let (picture, other) = (noise_of(700, 1), noise(2));
    let mut session = session();
    settle(&mut session, &other);
    draw(&mut session, &picture);
    let start = session.out().len();
    for _ in 0..100 {
        session.answered();
    }
    // A popup over the picture that stands there: it is placed around it.
    session.draw(|frame| Scene { covered: vec![Rect::new(2, 2, 5, 3)], ..show(frame, &picture) }).unwrap();
    let sent = commands(&session.out()[start..]);
    assert_eq!(sent[0], "m=0,q=2", "{sent:?}");
    let again = sent.iter().position(|command| command.starts_with("a=t")).unwrap();
    assert!(sent[1..again].iter().any(|command| command.starts_with("a=p")), "{sent:?}");
}

#[test]
fn a_picture_on_its_way_is_ended_when_the_terminal_is_given_back_or_cleared() {
    for end in [Session::restore, |session: &mut Session<Vec<u8>>| session.resize(30, 12).unwrap()] {
        let mut session = session();
        draw(&mut session, &noise_of(700, 1));
        let start = session.out().len();
        end(&mut session);
        session.write(b"").unwrap();
        assert_eq!(commands(&session.out()[start..])[0], "m=0,q=2");
        assert_eq!(session.on_the_way(), None);
    }
}

/// The bytes that go out at `now`.
fn parts(pace: &mut Pace, painter: &mut Painter, now: Instant) -> Vec<u8> {
    let mut out = Vec::new();
    while pace.go_on(painter, &mut out, now) {}
    out
}

#[test]
fn as_much_is_on_the_way_as_the_line_carries_in_a_moment() {
    let (mut painter, mut pace, mut now) = (Painter::new(&far()), Pace::of(&far()).unwrap(), Instant::now());
    let area = Rect::new(0, 0, 20, 10);
    // 300 kbit/s.
    let wire = |bytes: usize| Duration::from_secs_f64(bytes as f64 / 37_500.0);
    for seed in 0..4 {
        pace.choose(&painter, &mut vec![(area, noise(seed))]);
        for _ in 0..200 {
            let out = parts(&mut pace, &mut painter, now);
            if seed > 0 {
                assert!(wire(out.len()) < Duration::from_millis(300), "{} bytes", out.len());
            }
            let waiting: usize = pace.unanswered.iter().map(|question| question.bytes).sum();
            now += wire(waiting);
            while !pace.unanswered.is_empty() {
                pace.answered(now);
            }
            if pace.missing.is_empty() {
                break;
            }
        }
        assert!(pace.missing.is_empty());
    }
    // A quick line: a picture as a whole.
    for seed in 10..14 {
        pace.choose(&painter, &mut vec![(area, noise(seed))]);
        while !pace.missing.is_empty() {
            parts(&mut pace, &mut painter, now);
            now += Duration::from_millis(20);
            while !pace.unanswered.is_empty() {
                pace.answered(now);
            }
        }
    }
    pace.choose(&painter, &mut vec![(area, noise(20))]);
    let out = parts(&mut pace, &mut painter, now);
    assert!(pace.missing.is_empty() && out.len() >= noise(20).bytes());
}

#[test]
fn a_terminal_that_does_not_answer_gets_all_of_it() {
    let (mut painter, mut pace, now) = (Painter::new(&far()), Pace::of(&far()).unwrap(), Instant::now());
    pace.choose(&painter, &mut vec![(Rect::new(0, 0, 20, 10), noise(1))]);
    assert!(!parts(&mut pace, &mut painter, now).is_empty());
    assert!(parts(&mut pace, &mut painter, now + PATIENCE / 2).is_empty());
    assert_eq!(pace.patience(), Some(PATIENCE));
    let rest = parts(&mut pace, &mut painter, now + PATIENCE * 2);
    assert_eq!((count(&rest, ASK), pace.patience(), pace.percent()), (0, None, None));
}

#[test]
fn over_a_slow_line_few_pixels_come_first() {
    let (first, second) = (noise(1), noise(2));
    let preview = Arc::clone(first.preview().unwrap());
    assert!(preview.bytes() * 5 < first.bytes() && preview.cells() == first.cells() && preview.preview().is_none());
    let (mut painter, mut pace, mut now) = (Painter::new(&far()), Pace::of(&far()).unwrap(), Instant::now());
    let area = Rect::new(0, 0, 20, 10);
    let frame = |pace: &mut Pace, painter: &mut Painter, picture: &Arc<Picture>| {
        let mut shown = vec![(area, Arc::clone(picture))];
        pace.choose(painter, &mut shown);
        shown.into_iter().map(|(_, picture)| picture.id()).collect::<Vec<_>>()
    };
    assert!(frame(&mut pace, &mut painter, &first).is_empty());
    assert_eq!(pace.missing.iter().map(|picture| picture.id()).collect::<Vec<_>>(), [preview.id(), first.id()]);
    let mut seen = Vec::new();
    while !pace.missing.is_empty() {
        parts(&mut pace, &mut painter, now);
        now += Duration::from_millis(300);
        (0..10).for_each(|_| pace.answered(now));
        seen.extend(frame(&mut pace, &mut painter, &first));
    }
    seen.dedup();
    assert_eq!(seen, [preview.id(), first.id()]);
    // The next one's preview takes the place of the old picture; on a quick line there is none.
    let mut seen = Vec::new();
    while seen.last() != Some(&second.preview().unwrap().id()) {
        seen.extend(frame(&mut pace, &mut painter, &second));
        parts(&mut pace, &mut painter, now);
        now += Duration::from_millis(300);
        (0..10).for_each(|_| pace.answered(now));
    }
    seen.dedup();
    assert_eq!(seen, [first.id(), second.preview().unwrap().id()]);
    pace.speed = Some(1e7);
    let third = noise(3);
    assert_eq!(frame(&mut pace, &mut painter, &third), [second.preview().unwrap().id()]);
    assert_eq!(pace.missing.iter().map(|picture| picture.id()).collect::<Vec<_>>(), [third.id()]);
}

#[test]
fn only_far_terminals_that_take_pictures_in_parts_have_a_pace() {
    for protocol in [Protocol::Kitty, Protocol::Sixel, Protocol::HalfBlocks] {
        assert!(Pace::of(&Screen { protocol, ..far() }).is_some());
    }
    for screen in [
        Screen::new(Protocol::Kitty),
        Screen { in_tmux: true, ..far() },
        Screen { protocol: Protocol::Iterm2, ..far() },
    ] {
        assert!(Pace::of(&screen).is_none());
    }
}

#[path = "pace/rows_tests.rs"]
mod half_blocks;
#[path = "pace/sixel_tests.rs"]
mod sixel;
