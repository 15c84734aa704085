//! The session, over a writer that keeps what is written.

use image::{Rgb, RgbImage};
use ratatui::widgets::{Clear, Paragraph};

use super::*;
use crate::graphics::{encode, fill};

fn visible(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\x1b", "␛").replace("\\\\", "\\")
}

fn picture(screen: &Screen) -> Arc<Picture> {
    Arc::new(encode(screen, &RgbImage::from_pixel(4, 4, Rgb([200, 100, 0])), (2, 1)))
}

fn show(frame: &mut Frame, picture: &Arc<Picture>, text: &str) -> Scene {
    let area = Rect::new(1, 1, 2, 1);
    frame.render_widget(Paragraph::new(text), frame.area());
    fill(picture, area, frame.buffer_mut());
    Scene { pictures: vec![(area, Arc::clone(picture))], covered: Vec::new() }
}

#[test]
fn the_terminal_is_taken_over_and_given_back() {
    let screen = Screen::new(Protocol::HalfBlocks);
    let mut session = Session::over(Vec::new(), &screen, (10, 3)).unwrap();
    session.restore();
    insta::assert_snapshot!("taken_and_given_back", visible(session.out()));
    let once = session.out().len();
    session.restore();
    assert_eq!(session.out().len(), once);
    assert_eq!(session.written(), once as u64);
}

#[test]
fn a_frame_is_one_update_of_what_changed() {
    let screen = Screen::new(Protocol::HalfBlocks);
    let picture = picture(&screen);
    let mut session = Session::over(Vec::new(), &screen, (10, 3)).unwrap();
    let start = session.out().len();
    let bytes = session.draw(|frame| show(frame, &picture, "one")).unwrap();
    let first = session.out()[start..].to_vec();
    assert_eq!(first.len(), bytes);
    insta::assert_snapshot!("first_frame", visible(&first));
    let start = session.out().len();
    session.draw(|frame| show(frame, &picture, "two")).unwrap();
    insta::assert_snapshot!("second_frame", visible(&session.out()[start..]));
}

#[test]
fn a_resized_screen_is_drawn_from_scratch() {
    let screen = Screen::new(Protocol::Kitty);
    let picture = picture(&screen);
    let mut session = Session::over(Vec::new(), &screen, (10, 3)).unwrap();
    let first = session.draw(|frame| show(frame, &picture, "one")).unwrap();
    let again = session.draw(|frame| show(frame, &picture, "one")).unwrap();
    assert!(again < 50 && again < first / 4, "{again} of {first} bytes");
    session.resize(8, 4).unwrap();
    let start = session.out().len();
    session.draw(|frame| show(frame, &picture, "one")).unwrap();
    let text = visible(&session.out()[start..]);
    assert!(
        text.contains("␛[2J") && text.contains("a=d,d=I") && text.contains("f=100") && text.contains("one"),
        "{text}"
    );
}

#[test]
fn a_popup_over_a_sixel_picture_is_painted_last_and_the_picture_when_it_closes() {
    let screen = Screen::new(Protocol::Sixel);
    let (one, two) = (picture(&screen), picture(&screen));
    let mut session = Session::over(Vec::new(), &screen, (10, 3)).unwrap();
    let popup = Rect::new(2, 0, 3, 3);
    let mut step = |picture: &Arc<Picture>, is_open: bool| {
        let start = session.out().len();
        let draw = |frame: &mut Frame| {
            let mut scene = show(frame, picture, "");
            if is_open {
                frame.render_widget(Clear, popup);
                frame.render_widget(Paragraph::new("abc\ndef\nghi"), popup);
                scene.covered.push(popup);
            }
            scene
        };
        session.draw(draw).unwrap();
        let text = visible(&session.out()[start..]);
        (text.contains("\x1bP") || text.contains("␛P"), text)
    };
    assert!(step(&one, false).0);
    assert!(!step(&one, true).0, "what opens over a picture doesn't need it again");
    let (is_painted, text) = step(&two, true);
    assert!(is_painted);
    assert!(text.rfind("␛[2;3H").unwrap() > text.find("␛P").unwrap(), "the popup's cell comes back: {text}");
    assert!(!step(&two, true).0);
    assert!(step(&two, false).0, "the popup has wiped out a part");
    assert!(!step(&two, false).0);
}

#[test]
fn text_for_the_clipboard_goes_straight_out() {
    let mut session = Session::over(Vec::new(), &Screen::new(Protocol::None), (4, 1)).unwrap();
    session.write(b"\x1b]52;c;YQ==\x07").unwrap();
    assert!(session.out().ends_with(b"\x1b]52;c;YQ==\x07"));
}
