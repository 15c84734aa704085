//! Half-blocks over a slow line, frame by frame.

use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::super::rows::Rows;
use super::*;

const AREA: Rect = Rect { x: 1, y: 2, width: 40, height: 20 };

fn slow() -> Screen {
    Screen { pixel_budget: Some(250_000), ..Screen::new(Protocol::HalfBlocks) }
}

fn photo(seed: u32) -> Arc<Picture> {
    let image = RgbImage::from_fn(40, 40, |x, y| Rgb([(x * 6 + seed) as u8, (y * 6) as u8, (x * y) as u8]));
    Arc::new(encode(&slow(), &image, (40, 20)))
}

/// A frame as the view draws it, and what is left of it.
fn frame(rows: &mut Rows, picture: &Arc<Picture>, covered: &[Rect], room: usize) -> (Buffer, Buffer, bool) {
    let mut buffer = Buffer::empty(Rect::new(0, 0, 60, 24));
    fill(picture, AREA, &mut buffer);
    buffer.set_string(44, 3, "text", ratatui::style::Style::new());
    for popup in covered {
        buffer.set_string(popup.x, popup.y, "popup", ratatui::style::Style::new());
    }
    let whole = buffer.clone();
    let scene = Scene { pictures: vec![(AREA, Arc::clone(picture))], covered: covered.to_vec() };
    let has_come = rows.hold_back(&mut buffer, &scene, room, 0);
    (whole, buffer, has_come)
}

#[test]
fn few_pixels_come_row_by_row_then_the_picture_and_the_old_one_stands_until_then() {
    let (mut rows, old, new) = (Rows::default(), photo(1), photo(90));
    let (whole, shown, _) = frame(&mut rows, &old, &[], usize::MAX);
    assert!(whole == shown && rows.percent().is_none());
    let few = new.preview().unwrap().row_bytes(0).unwrap();
    assert!(few * 3 < new.row_bytes(0).unwrap(), "{few} bytes a row");
    let (wanted, shown, has_come) = frame(&mut rows, &new, &[], 2 * few);
    assert!(has_come && rows.percent() == Some(0));
    assert_eq!(shown[(5, 3)].symbol(), " ", "in few pixels");
    assert_eq!((shown[(1, 2)].bg, shown[(5, 2)].bg), (shown[(1, 3)].bg, shown[(1, 3)].bg), "5 × 2 cells");
    assert_ne!(shown[(5, 3)].bg, shown[(6, 3)].bg);
    assert_eq!(shown[(5, 10)], whole[(5, 10)], "the old one");
    assert_eq!(shown[(44, 3)], wanted[(44, 3)], "text has no need to wait");
    // Without room nothing changes.
    let (_, still, has_come) = frame(&mut rows, &new, &[], 0);
    assert!(!has_come && still == shown);
    let mut percents = Vec::new();
    while rows.is_waiting() {
        let (_, next, has_come) = frame(&mut rows, &new, &[], 3 * new.row_bytes(0).unwrap());
        assert!(has_come, "it goes on");
        percents.extend(rows.percent());
        assert!(percents.len() < 20 && next != shown);
    }
    assert!(percents.is_sorted() && percents.len() > 4, "{percents:?}");
    let (wanted, shown, has_come) = frame(&mut rows, &new, &[], 0);
    assert!(wanted == shown && !has_come);
}

#[test]
fn a_popup_is_never_held_back() {
    let (mut rows, popup) = (Rows::default(), Rect::new(3, 4, 5, 1));
    let (whole, shown, _) = frame(&mut rows, &photo(1), &[popup], 1);
    assert!(popup.positions().all(|at| shown[at] == whole[at]));
    assert_eq!((shown[(20, 15)].symbol(), shown[(20, 15)].bg), (" ", Color::Reset), "nothing has stood there");
}

#[test]
fn a_slow_terminal_gets_as_much_as_it_answers_for() {
    let mut session = Session::over(Vec::new(), &slow(), (60, 24)).unwrap();
    static NOW: OnceLock<Instant> = OnceLock::new();
    session.clock = || *NOW.get_or_init(Instant::now);
    let image = |seed: u32| {
        let image = RgbImage::from_fn(60, 48, |x, y| Rgb([(x * y * seed) as u8, (y * 5) as u8, (x * 4) as u8]));
        Arc::new(encode(&slow(), &image, (60, 24)))
    };
    let draw = |session: &mut Session<Vec<u8>>, picture: &Arc<Picture>| {
        let start = session.out().len();
        loop {
            let shown = |frame: &mut Frame| {
                let area = frame.area();
                fill(picture, area, frame.buffer_mut());
                Scene { pictures: vec![(area, Arc::clone(picture))], covered: Vec::new() }
            };
            session.draw(shown).unwrap();
            if !session.is_due() {
                break;
            }
        }
        session.out()[start..].to_vec()
    };
    let picture = image(1);
    let first = draw(&mut session, &picture);
    assert!(first.ends_with(ASK) && first.len() < 3 * WINDOW / 2, "{}", first.len());
    assert!(session.on_the_way().is_some_and(|percent| percent < 90));
    assert!(count(&draw(&mut session, &picture), ASK) == 0, "without an answer nothing comes");
    let mut frames = 0;
    while session.on_the_way().is_some() {
        session.answered();
        draw(&mut session, &picture);
        frames += 1;
        assert!(frames < 50);
    }
    session.answered();
    assert!(draw(&mut session, &picture).len() < 50, "it is there");
    // The screen was cleared: it comes anew.
    session.resize(60, 24).unwrap();
    assert!(draw(&mut session, &picture).len() > 10_000);
}
