//! What the screen shows, as snapshots of its characters.

use camscope_tui::{
    graphics::{Protocol, Screen},
    keymap::Keymap,
    state::State,
    view,
};
use insta::assert_snapshot;
use ratatui::style::Color;

use crate::double::{Double, Rig, start};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Every view at every size.
fn check(name: &str, keys: &str) {
    for size in SIZES {
        let mut rig = Rig::new(size, Protocol::HalfBlocks);
        rig.settle().keys(keys).settle();
        let screen = rig.screen();
        // Times differ from run to run.
        let screen = regex_free_times(&screen);
        assert_snapshot!(format!("{name}_{}x{}", size.0, size.1), screen);
    }
}

#[test]
fn layers_of_a_quantised_model_have_their_type_and_what_saturates() {
    for size in SIZES {
        let mut rig = Rig::quantised(size, Protocol::HalfBlocks);
        rig.settle();
        let screen = regex_free_times(&rig.screen());
        // The share is the photo's own.
        let shares =
            |screen: &str| screen.lines().filter(|line| line.contains(" 11.")).map(str::to_owned).collect::<Vec<_>>();
        let before = shares(&screen);
        rig.keys("n").settle();
        let after = shares(&rig.screen());
        assert!(before.len() == 1 && after.len() == 1 && before != after, "{before:?} {after:?}");
        assert_snapshot!(format!("quantised_{}x{}", size.0, size.1), screen);
    }
}

/// Milliseconds as `_`: they are the machine's.
fn regex_free_times(screen: &str) -> String {
    let mut out = String::new();
    for line in screen.lines() {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut words = words;
        for at in 1..words.len() {
            if words[at] == "ms" && words[at - 1].parse::<f64>().is_ok() {
                words[at - 1] = "_".repeat(words[at - 1].len().min(1));
            }
        }
        out += words.join(" ").trim_end();
        out.push('\n');
    }
    // How wide the number is moves what stands before it.
    out.replace("   forward", " forward").replace("  forward", " forward")
}

#[test]
fn overlay() {
    check("overlay", "");
}

#[test]
fn heatmap() {
    check("heatmap", "2");
}

#[test]
fn photo() {
    check("photo", "3");
}

#[test]
fn side_by_side() {
    check("side_by_side", "4");
}

#[test]
fn sweep() {
    check("sweep", "5 up up");
}

#[test]
fn classes() {
    check("classes", "6");
}

#[test]
fn contrast() {
    check("contrast", "7 right");
}

#[test]
fn photos() {
    check("photos", "8");
}

#[test]
fn help() {
    check("help", "?");
}

#[test]
fn palette() {
    check("palette", ": layer");
}

#[test]
fn search() {
    check("search", "/ cat");
}

#[test]
fn a_layer_without_gradient() {
    check("without_gradient", "g down");
}

#[test]
fn any_size_can_be_drawn() {
    for columns in [0, 1, 5, 20, 57, 80, 300] {
        for rows in [0, 1, 2, 3, 8, 24, 100] {
            for keys in ["", "5", "6", "7", "8", "?", ":", "/", "x", "h"] {
                let mut rig = Rig::with((columns.max(1), rows.max(1)), Protocol::HalfBlocks, start(&["cat.jpg"]));
                rig.size = (columns, rows);
                for _ in 0..40 {
                    rig.explorer.take_up(None, Some(std::time::Duration::from_millis(1))).unwrap();
                }
                rig.keys(keys);
                rig.explorer.take_up(None, Some(std::time::Duration::from_millis(1))).unwrap();
                rig.screen();
            }
        }
    }
}

#[test]
fn pictures_stay_in_their_room_and_apart() {
    use camscope_tui::{layout::areas, tiles::tiles};
    for size in [(40, 12), (50, 15), (60, 20), (70, 20), (80, 24), (90, 28), (140, 40), (250, 70)] {
        for keys in ["", "2", "3", "4", "5", "6", "7 right", "8"] {
            let mut rig = Rig::new(size, Protocol::HalfBlocks);
            rig.settle().keys(keys).settle();
            let state = rig.explorer.state();
            let room = areas(size, state.images.len());
            let mut taken: Vec<ratatui::layout::Rect> = Vec::new();
            let shown = tiles(state);
            assert!(!shown.is_empty(), "{size:?} {keys}");
            for tile in shown {
                for part in std::iter::once(tile.area).chain(tile.caption.map(|(line, _)| line)) {
                    let rooms = [Some(room.picture), room.strip];
                    let is_inside = rooms.into_iter().flatten().any(|room| room.intersection(part) == part);
                    assert!(is_inside, "{size:?} {keys}: {part:?} of {room:?}");
                    assert!(taken.iter().all(|other| !other.intersects(part)), "{size:?} {keys}: {part:?} {taken:?}");
                    taken.push(part);
                }
            }
        }
    }
}

#[test]
fn the_smallest_screens_say_what_they_show() {
    for size in [(40, 12), (50, 15), (80, 24)] {
        let mut rig = Rig::new(size, Protocol::HalfBlocks);
        let screen = rig.settle().keys("right").settle().screen();
        assert!(screen.contains("espresso") && screen.contains("gradcam"), "{screen}");
        assert!(screen.contains("? help  q quit"), "{screen}");
    }
}

#[test]
fn a_message_too_long_for_a_line_can_be_read_whole() {
    let mut rig = Rig::new((50, 20), Protocol::HalfBlocks);
    rig.settle();
    let name = format!("{}/{}.gif", "folder".repeat(9), "x".repeat(20));
    rig.keys(&format!("s ctrl-u {name} enter"));
    while rig.explorer.state().message.is_none() {
        rig.explorer.take_up(None, None).unwrap();
    }
    let screen: String = rig.screen().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    assert!(screen.contains("the name must end in .png, .npy or .json"), "{}", rig.screen());
}

#[test]
fn text_from_files_cannot_steer_the_terminal() {
    let mut rig = Rig::with((120, 40), Protocol::HalfBlocks, start(&["evil\u{1b}]0;title\u{7}.jpg"]));
    rig.settle();
    let screen = rig.screen();
    assert!(!screen.contains('\u{1b}') && !screen.contains('\u{7}'), "{screen}");
    assert!(screen.contains("\\u{1b}[31mred"), "{screen}");
    let out = String::from_utf8_lossy(rig.explorer.session().out()).into_owned();
    assert!(!out.contains("\u{1b}]0;title"));
}

#[test]
fn an_image_that_cannot_be_read_has_a_mark_in_the_strip_and_all_have_names() {
    let mut rig = Rig::new((120, 40), Protocol::HalfBlocks);
    let screen = rig.settle().keys("p n").settle().screen();
    let strip: Vec<&str> = screen.lines().skip(35).collect();
    assert_eq!(strip[0].split_whitespace().collect::<Vec<_>>(), ["cat", "cow", "broken"], "{screen}");
    assert!(strip[1..4].iter().any(|line| line.contains('✗')), "{screen}");
}

#[test]
fn half_blocks_without_colours_are_no_stripes() {
    let mut begin = start(&["cat.jpg", "cow.jpg"]);
    begin.no_color = true;
    let mut rig = Rig::with((120, 40), Protocol::HalfBlocks, begin);
    let screen = rig.settle().screen();
    assert!(!screen.contains('▀') && screen.contains("NO_COLOR is set"), "{screen}");
}

#[test]
fn without_colours_there_are_none() {
    let mut begin = start(&["cat.jpg"]);
    begin.no_color = true;
    let mut rig = Rig::with((120, 40), Protocol::None, begin);
    rig.settle().keys("up ?").settle();
    let area = ratatui::layout::Rect::new(0, 0, 120, 40);
    let mut buffer = ratatui::buffer::Buffer::empty(area);
    view::draw(rig.explorer.state(), area, &mut buffer);
    let plain = ratatui::style::Color::Reset;
    assert!(buffer.content.iter().all(|cell| cell.fg == plain && cell.bg == plain));
    assert_snapshot!("without_colours", rig.screen().lines().take(12).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_terminal_of_256_colours_is_sent_no_others() {
    let screen = Screen { truecolor: false, ..Screen::new(Protocol::HalfBlocks) };
    let mut rig = Rig::in_terminal(Double::new(), (120, 40), screen, start(&["cat.jpg"]));
    rig.settle();
    for keys in ["1", "2", "6", "7"] {
        rig.keys(keys).settle();
        let area = ratatui::layout::Rect::new(0, 0, 120, 40);
        let mut buffer = ratatui::buffer::Buffer::empty(area);
        view::draw(rig.explorer.state(), area, &mut buffer);
        let colors: Vec<Color> = buffer.content.iter().flat_map(|cell| [cell.fg, cell.bg]).collect();
        assert!(colors.iter().any(|color| matches!(color, Color::Indexed(_))), "view {keys}");
        assert!(!colors.iter().any(|color| matches!(color, Color::Rgb(..))), "view {keys}");
    }
}

#[test]
fn a_light_background_gets_dark_colours() {
    let accent = |background| {
        let mut screen = Screen::new(Protocol::HalfBlocks);
        screen.background = background;
        let area = ratatui::layout::Rect::new(0, 0, 80, 24);
        let mut buffer = ratatui::buffer::Buffer::empty(area);
        view::draw(&State::new(screen, (80, 24), Keymap::preset()), area, &mut buffer);
        buffer[(1, 0)].fg
    };
    assert_eq!(accent(Some([250, 250, 245])), Color::Blue);
    assert_eq!(accent(Some([20, 20, 20])), Color::Cyan);
    assert_eq!(accent(None), Color::Cyan);
}
