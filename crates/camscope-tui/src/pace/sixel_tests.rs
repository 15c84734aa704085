//! The pace of sixel pictures, which are painted part by part.

use std::cell::Cell;

use super::*;

thread_local! {
    /// The time that has passed.
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A clock that each test sets.
fn clock() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now) + PASSED.get()
}

fn wait(time: Duration) {
    PASSED.set(PASSED.get() + time);
}

fn slow() -> Screen {
    Screen { pixel_budget: Some(250_000), cell: (10, 20), ..Screen::new(Protocol::Sixel) }
}

/// A picture of 40 × 20 cells, made for a slow line.
fn large(seed: u32) -> Arc<Picture> {
    let image = RgbImage::from_fn(400, 396, |x, y| {
        Rgb([(x * 7 + y * 3 + seed * 50) as u8, (x * y / 50) as u8, (y * 5).wrapping_add(x * x / 90) as u8])
    });
    Arc::new(encode(&slow(), &image, (40, 20)))
}

fn over() -> Session<Vec<u8>> {
    let mut session = Session::over(Vec::new(), &slow(), (60, 24)).unwrap();
    session.clock = clock;
    session
}

fn place(frame: &mut Frame, picture: &Arc<Picture>, covered: &[Rect]) -> Scene {
    let area = Rect::new(0, 0, 40, 20);
    fill(picture, area, frame.buffer_mut());
    frame.buffer_mut().set_string(42, 1, format!("picture {}", picture.id()), ratatui::style::Style::new());
    for popup in covered {
        frame.buffer_mut().set_string(popup.x, popup.y, "popup", ratatui::style::Style::new());
    }
    Scene { pictures: vec![(area, Arc::clone(picture))], covered: covered.to_vec() }
}

/// Draws a frame, and gives what it wrote.
fn written(session: &mut Session<Vec<u8>>, picture: &Arc<Picture>, covered: &[Rect]) -> Vec<u8> {
    let start = session.out().len();
    session.draw(|frame| place(frame, picture, covered)).unwrap();
    session.out()[start..].to_vec()
}

/// Sixel pictures in what was written.
fn pictures(bytes: &[u8]) -> usize {
    count(bytes, b"\x1bP")
}

#[test]
fn text_comes_first_then_few_pixels_then_parts_as_fast_as_the_terminal_answers() {
    let (mut session, picture) = (over(), large(1));
    let first = written(&mut session, &picture, &[]);
    let text = first.windows(7).position(|part| part == b"picture").unwrap();
    let sixel = first.windows(2).position(|part| part == b"\x1bP").unwrap();
    assert!(text < sixel && picture.bytes() > 3 * WINDOW, "{text} {sixel} {}", picture.bytes());
    assert!(first.len() < 2 * WINDOW && first.ends_with(ASK), "{}", first.len());
    let coarse: usize = picture.preview().unwrap().bytes();
    assert!(coarse < WINDOW, "all of the picture in few pixels comes at once: {coarse}");
    assert!(session.on_the_way().is_some_and(|percent| percent < 60));
    assert_eq!(pictures(&written(&mut session, &picture, &[])), 0, "without an answer nothing more comes");
    let mut parts = pictures(&first);
    for _ in 0..100 {
        session.answered();
        parts += pictures(&written(&mut session, &picture, &[]));
        if session.on_the_way().is_none() {
            break;
        }
    }
    assert_eq!(session.on_the_way(), None);
    let whole: usize =
        [&picture, picture.preview().unwrap()].map(|picture| pictures(&picture.painted_bytes())).iter().sum();
    assert_eq!(parts, whole);
    session.answered();
    assert_eq!(pictures(&written(&mut session, &picture, &[])), 0, "it is there");
}

#[test]
fn a_picture_that_nobody_waits_for_any_more_comes_no_further() {
    let (mut session, one, other) = (over(), large(1), large(2));
    written(&mut session, &one, &[]);
    wait(Duration::from_secs(1));
    session.answered();
    let next = written(&mut session, &other, &[]);
    let first = next.windows(2).position(|part| part == b"\x1bP").unwrap();
    // What comes is the other one in few pixels.
    let coarse = other.preview().unwrap().painted_bytes();
    assert!(coarse.starts_with(&next[first..first + 200]), "{:?}", next[first..first + 80].escape_ascii().to_string());
}

#[test]
fn a_terminal_that_never_answers_gets_all_of_it_after_a_while() {
    let (mut session, picture) = (over(), large(1));
    written(&mut session, &picture, &[]);
    assert_eq!(session.patience(), Some(PATIENCE));
    wait(2 * PATIENCE);
    written(&mut session, &picture, &[]);
    assert_eq!(session.on_the_way(), None);
}

#[test]
fn a_popup_stays_over_parts_that_come_later_and_what_it_covered_comes_back() {
    let (mut session, picture) = (over(), large(1));
    let popup = Rect::new(2, 2, 5, 1);
    let mut last = written(&mut session, &picture, &[popup]);
    while session.on_the_way().is_some() {
        session.answered();
        let next = written(&mut session, &picture, &[popup]);
        last.extend(next);
    }
    let text = String::from_utf8_lossy(&last);
    let under = text.rfind("\x1b[1;1H\x1bP").expect("the part at the corner");
    assert!(text[under..].contains("popup") || text[under..].contains("p\u{1b}"), "the popup is written again");
    let parts = pictures(&written(&mut session, &picture, &[]));
    assert!(parts > 0 && parts < 10, "only what was covered: {parts}");
}

#[test]
fn on_a_quick_line_there_is_no_picture_in_few_pixels() {
    let (mut session, one, other) = (over(), large(1), large(2));
    written(&mut session, &one, &[]);
    while session.on_the_way().is_some() {
        session.answered();
        written(&mut session, &one, &[]);
    }
    let mut next = written(&mut session, &other, &[]);
    while session.on_the_way().is_some() {
        session.answered();
        next.extend(written(&mut session, &other, &[]));
    }
    assert_eq!(pictures(&next), pictures(&other.painted_bytes()));
}
