//! Bytes on the wire for a picture of 4 × 4 pixels.

use std::sync::Arc;

use image::{Rgb, RgbImage};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::picture::encode_as;
use super::*;

/// A screen as the painter sees it: ratatui's last frame and the painter.
struct Wire {
    painter: Painter,
    last: Buffer,
    log: String,
}

impl Wire {
    fn new(screen: &Screen) -> Self {
        Wire { painter: Painter::new(screen), last: Buffer::empty(Rect::new(0, 0, 6, 4)), log: String::new() }
    }

    /// Draws a frame with these pictures and notes its bytes.
    fn frame(&mut self, title: &str, pictures: &[(Rect, &Arc<Picture>)], covered: &[Rect]) {
        let mut buffer = Buffer::empty(self.last.area);
        for (area, picture) in pictures {
            fill(picture, *area, &mut buffer);
        }
        for area in covered {
            for position in area.positions() {
                buffer[position].reset();
                buffer[position].set_symbol("x");
            }
        }
        let placements: Vec<_> = pictures.iter().map(|&(area, picture)| Placement { area, picture }).collect();
        let mut out = Vec::new();
        self.painter.send(&mut out, &placements).unwrap();
        self.painter.before(&mut out, &placements).unwrap();
        let changes = self.last.diff(&buffer);
        if !changes.is_empty() {
            CrosstermBackend::new(&mut out).draw(changes.into_iter()).unwrap();
        }
        self.painter.after(&mut out, &placements, covered, &buffer).unwrap();
        self.last = buffer;
        self.note(title, &out);
    }

    fn note(&mut self, title: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        // Combining characters would sit on their neighbours.
        let escaped: String = text
            .chars()
            .map(|letter| match letter {
                '\x1b' => "␛".to_owned(),
                '\x07' => "␇".to_owned(),
                ' '..='~' | '▀' => letter.to_string(),
                _ => format!("<{:X}>", u32::from(letter)),
            })
            .collect();
        self.log += &format!("{title} ({} bytes)\n{}\n\n", bytes.len(), escaped.replace('␛', "\n␛").trim_start());
    }
}

/// A picture of 4 × 4 pixels; pictures of different numbers have different colours.
fn picture(screen: &Screen, id: u32) -> Arc<Picture> {
    let pixel = |x: u32, y: u32| Rgb([(x * 80) as u8, (y * 80) as u8, (id * 50) as u8]);
    let (width, height) = if screen.protocol == Protocol::HalfBlocks { (2, 4) } else { (4, 4) };
    Arc::new(encode_as(id, screen, &RgbImage::from_fn(width, height, pixel), (2, 2)))
}

/// The life of two pictures in a terminal.
fn story(screen: &Screen) -> String {
    let (one, two) = (picture(screen, 1), picture(screen, 2));
    let (area, aside) = (Rect::new(1, 1, 2, 2), Rect::new(3, 2, 2, 2));
    let mut wire = Wire::new(screen);
    wire.frame("first picture", &[(area, &one)], &[]);
    wire.frame("the same again", &[(area, &one)], &[]);
    wire.frame("another picture", &[(area, &two)], &[]);
    wire.frame("back to the first", &[(area, &one)], &[]);
    wire.frame("moved", &[(aside, &one)], &[]);
    wire.frame("a popup opens", &[(aside, &one)], &[Rect::new(4, 0, 2, 3)]);
    wire.frame("the popup closes", &[(aside, &one)], &[]);
    wire.frame("no picture", &[], &[]);
    let mut out = Vec::new();
    wire.painter.leave(&mut out).unwrap();
    wire.note("the end", &out);
    wire.log
}

#[test]
fn kitty() {
    insta::assert_snapshot!(story(&Screen::new(Protocol::Kitty)));
}

#[test]
fn kitty_in_tmux() {
    insta::assert_snapshot!(story(&Screen { tmux: true, ..Screen::new(Protocol::KittyPlaceholders) }));
}

#[test]
fn sixel() {
    insta::assert_snapshot!(story(&Screen { cell: (2, 2), ..Screen::new(Protocol::Sixel) }));
}

#[test]
fn sixel_in_tmux() {
    let screen = Screen { in_tmux: true, cell: (2, 2), ..Screen::new(Protocol::Sixel) };
    insta::assert_snapshot!(story(&screen));
}

#[test]
fn iterm2() {
    insta::assert_snapshot!(story(&Screen::new(Protocol::Iterm2)));
}

#[test]
fn iterm2_in_tmux() {
    insta::assert_snapshot!(story(&Screen { tmux: true, ..Screen::new(Protocol::Iterm2) }));
}

#[test]
fn half_blocks() {
    insta::assert_snapshot!(story(&Screen::new(Protocol::HalfBlocks)));
}

#[test]
fn half_blocks_in_256_colours() {
    insta::assert_snapshot!(story(&Screen { truecolor: false, ..Screen::new(Protocol::HalfBlocks) }));
}

#[test]
fn no_pictures() {
    insta::assert_snapshot!(story(&Screen::new(Protocol::None)));
}

/// The numbers under which pictures are sent, placed and deleted.
fn numbers<'a>(log: &'a str, start: &str) -> Vec<&'a str> {
    let parts = log.split("\x1b_G").filter(|part| part.starts_with(start));
    parts.filter_map(|part| part.split("i=").nth(1)?.split([',', ';', '\x1b']).next()).collect()
}

#[test]
fn a_picture_that_was_deleted_comes_again_under_a_new_number() {
    let screen = Screen::new(Protocol::Kitty);
    let mut painter = Painter::new(&screen);
    let pictures: Vec<_> = (1..=70).map(|id| picture(&screen, id)).collect();
    let area = Rect::new(1, 1, 2, 2);
    let mut show = |at: usize| {
        let mut out = Vec::new();
        let placements = [Placement { area, picture: &pictures[at] }];
        painter.send(&mut out, &placements).unwrap();
        painter.after(&mut out, &placements, &[], &Buffer::empty(Rect::new(0, 0, 9, 9))).unwrap();
        String::from_utf8(out).unwrap()
    };
    let first = show(0);
    let number = numbers(&first, "a=t")[0].to_owned();
    let deleted: Vec<String> = (1..70).map(&mut show).collect();
    assert!(deleted.iter().any(|log| numbers(log, "a=d,d=I").contains(&number.as_str())));
    let again = show(0);
    let [new] = numbers(&again, "a=t")[..] else { panic!("{again}") };
    assert_ne!(new, number);
    assert_eq!(numbers(&again, "a=p"), [new]);
    // And it stays there.
    assert!(!show(0).contains("a=t"));
}

#[test]
fn a_large_picture_goes_in_chunks() {
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let image = RgbImage::from_fn(60, 60, |_, _| Rgb([random(), random(), random()]));
    for (protocol, tmux) in [(Protocol::Kitty, false), (Protocol::KittyPlaceholders, true)] {
        let screen = Screen { tmux, ..Screen::new(protocol) };
        let placements = Arc::new(encode_as(7, &screen, &image, (6, 3)));
        let mut out = Vec::new();
        let placement = Placement { area: Rect::new(0, 0, 6, 3), picture: &placements };
        Painter::new(&screen).send(&mut out, &[placement]).unwrap();
        let text = String::from_utf8(out).unwrap().replace("\x1b\x1b", "\x1b");
        let chunks: Vec<&str> = text.split("\x1b_G").skip(1).collect();
        assert!(chunks.len() > 2, "{}", chunks.len());
        let (last, others) = chunks.split_last().unwrap();
        assert!(others.iter().all(|chunk| chunk.contains("m=1;")), "{text}");
        assert!(last.starts_with("m=0;"), "{last}");
        let data = |chunk: &str| chunk.split_once(';').unwrap().1.split('\x1b').next().unwrap().len();
        assert!(others.iter().all(|chunk| data(chunk) == 4096) && data(last) <= 4096);
    }
}

#[test]
fn the_terminal_holds_a_limited_number_of_pictures() {
    let screen = Screen::new(Protocol::Kitty);
    let mut wire = Wire::new(&screen);
    let area = Rect::new(0, 0, 2, 2);
    for id in 1..=70 {
        wire.frame(&format!("frame {id}"), &[(area, &picture(&screen, id))], &[]);
    }
    assert_eq!(wire.log.matches("a=t").count(), 70);
    assert_eq!(wire.log.matches("d=I").count(), 6);
    let start = wire.log.len();
    wire.frame("held", &[(area, &picture(&screen, 7))], &[]);
    wire.frame("gone", &[(area, &picture(&screen, 6))], &[]);
    assert_eq!(wire.log[start..].matches("a=t").count(), 1);
}

#[test]
fn the_same_picture_can_be_shown_twice() {
    let screen = Screen::new(Protocol::Kitty);
    let mut wire = Wire::new(&screen);
    let one = picture(&screen, 1);
    let (left, right) = (Rect::new(0, 0, 2, 2), Rect::new(3, 0, 2, 2));
    wire.frame("both", &[(left, &one), (right, &one)], &[]);
    assert_eq!(wire.log.matches("a=t").count(), 1);
    assert_eq!(wire.log.matches("a=p").count(), 2);
    let start = wire.log.len();
    wire.frame("left", &[(left, &one)], &[]);
    // What stays is placed again, in the same update.
    assert_eq!((wire.log[start..].matches("a=p").count(), wire.log[start..].matches("d=a").count()), (1, 1));
    assert_eq!(wire.log[start..].matches("a=t").count(), 0);
}

#[test]
fn an_image_fits_into_its_cells() {
    let screen = |protocol| Screen { cell: (9, 19), ..Screen::new(protocol) };
    assert_eq!(pixels(&screen(Protocol::Kitty), (10, 5)), (90, 95));
    assert_eq!(pixels(&screen(Protocol::Sixel), (10, 5)), (90, 90));
    assert_eq!(pixels(&screen(Protocol::HalfBlocks), (10, 5)), (10, 10));
    let remote = |protocol| Screen { pixel_budget: Some(1000), ..screen(protocol) };
    assert_eq!(pixels(&remote(Protocol::Kitty), (10, 5)), (30, 32));
    assert_eq!(pixels(&remote(Protocol::Kitty), (2, 1)), (18, 19));
    assert_eq!(pixels(&remote(Protocol::Sixel), (10, 5)), (90, 90));
    for protocol in [Protocol::Kitty, Protocol::Sixel, Protocol::Iterm2, Protocol::HalfBlocks, Protocol::None] {
        assert_eq!(encode(&screen(protocol), &RgbImage::new(0, 0), (0, 0)).bytes(), 0);
    }
}
