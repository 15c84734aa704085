//! What was ugly, cut or missing in pictures of the screen.

use std::sync::Arc;

use camscope_tui::{
    action::View,
    graphics::Protocol,
    prompt::Purpose,
    state::Mode,
    tiles::{Chooses, tiles},
};
use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::{
    comparing::two,
    double::{Double, Rig, plainly, start},
};

#[test]
fn the_title_of_a_narrow_screen_names_both_models() {
    let mut rig = two((70, 24));
    let screen = rig.settle().screen();
    let title = screen.lines().next().unwrap();
    assert!(title.contains("double | other") && title.contains("cat (1/2)"), "{title}");
    assert!(title.ends_with("compare · gradcam"), "{title}");
}

#[test]
fn a_name_that_is_cut_gets_the_room_that_others_leave() {
    let mut begin = start(&["a.jpg", "b.jpg"]);
    begin.model = Some("models/double-with-a-name-that-is-too-long-for-this.onnx".into());
    let mut double = Double::new();
    double.info.path = begin.model.clone().unwrap();
    let mut rig = Rig::on(double, (80, 24), Protocol::HalfBlocks, begin);
    let screen = rig.settle().screen();
    let title = screen.lines().next().unwrap();
    assert!(title.contains("double-with-a-name-t…long-for-this  ·  a (1/2)"), "{title}");
}

/// The title where a model and images have these names.
fn title(model: &str, image: &str, size: (u16, u16), keys: &str) -> String {
    let mut begin = start(&[image, "b.jpg"]);
    begin.model = Some(model.into());
    let mut double = Double::new();
    double.info.path = begin.model.clone().unwrap();
    let mut rig = Rig::on(double, size, Protocol::HalfBlocks, begin);
    rig.settle().keys(keys).settle();
    rig.screen().lines().next().unwrap().trim_end().to_owned()
}

#[test]
fn on_a_narrow_line_names_stay_and_what_the_caption_says_goes_first() {
    let of = |model, image, columns| title(model, image, (columns, 15), "");
    assert_eq!(of("resnet18.onnx", "cat_and_coffee.jpg", 50), " ≡  resnet18  ·  cat_and_coffee (1/2)  ·  overlay");
    let title = of("efficientnet-lite0-int8.onnx", "cat_and_coffee.jpg", 50);
    assert_eq!(title, " ≡  effici…int8  ·  cat_an…ffee (1/2)  ·  overlay");
    assert_eq!(of("m.onnx", "cat.jpg", 52), " ≡  m.onnx  ·  cat.jpg (1/2)  ·  overlay · gradcam");
    assert_eq!(of("efficientnet-lite0.onnx", "cat_and_coffee.jpg", 36), " ≡  effici…te0  ·  cat_an…fee (1/2)");
    assert!(of("efficientnet-lite0.onnx", "cat_and_coffee.jpg", 12).starts_with(" ≡  "));
    // What is shown of a name is measured, not its bytes.
    assert_eq!(of("m.onnx", "a\u{1b}[31m.jpg", 52), " ≡  m  ·  a\\u{1b}[31m (1/2)  ·  overlay · gradcam");
    assert_eq!(of("模型.onnx", "猫.jpg", 52), " ≡  模型  ·  猫 (1/2)  ·  overlay · gradcam");
}

#[test]
fn words_of_a_narrow_title_are_pressed_too() {
    let mut rig = Rig::with((50, 15), Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg"]));
    rig.settle();
    let purpose = |rig: &mut Rig, column: u16| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        rig.send(Event::Mouse(MouseEvent { kind, column, row: 0, modifiers: KeyModifiers::NONE })).settle();
        let found = match &rig.explorer.state().mode {
            Mode::Prompt(prompt) => Some(prompt.purpose),
            _ => None,
        };
        rig.key("esc").settle();
        found
    };
    let screen = rig.screen();
    let title = screen.lines().next().unwrap().to_owned();
    let at = |text: &str| title[..title.find(text).unwrap()].chars().count() as u16;
    for (text, wanted) in [
        ("≡", Some(Purpose::Palette)),
        ("double", Some(Purpose::Open)),
        ("cat", Some(Purpose::Images)),
        ("gradcam", Some(Purpose::Methods)),
        ("·", None),
    ] {
        assert_eq!(purpose(&mut rig, at(text)), wanted, "{text} of {title}");
    }
}

#[test]
fn under_small_pictures_the_probability_stays_where_the_name_is_cut() {
    let double = Double::labelled(7, &["football helmet of old", "football helmet of now"]);
    let mut rig = Rig::on(double, (80, 24), Protocol::HalfBlocks, start(&["cat.jpg"]));
    let screen = rig.settle().keys("6").settle().screen();
    assert!(screen.lines().any(|line| line.matches("… ").count() >= 1 && line.contains("… 63.3 %")), "{screen}");
}

#[test]
fn a_narrow_picture_has_a_legend_and_so_has_a_contrast() {
    for (keys, size, ends) in [("1", (80, 24), ["  0 ", " 1"]), ("7", (140, 40), ["  -1 ", " 1"])] {
        let mut rig = Rig::new(size, Protocol::HalfBlocks);
        rig.settle().keys(keys).settle();
        let area = ratatui::layout::Rect::new(0, 0, size.0, size.1);
        let mut buffer = ratatui::buffer::Buffer::empty(area);
        camscope_tui::view::draw(rig.explorer.state(), area, &mut buffer);
        let shown = tiles(rig.explorer.state());
        let line =
            shown.iter().find(|tile| tile.chooses == Chooses::Point).and_then(|tile| tile.caption.as_ref()).unwrap().0;
        let text: String = (line.left()..line.right()).map(|x| buffer[(x, line.y)].symbol().to_owned()).collect();
        assert!(ends.iter().all(|end| text.contains(end)), "{keys}: {text:?}");
        let colors = (line.left()..line.right()).filter(|x| buffer[(*x, line.y)].bg != ratatui::style::Color::Reset);
        assert!(colors.count() >= 6, "{keys}: {text:?}");
    }
}

#[test]
fn help_is_as_wide_as_its_longest_line_where_there_is_room() {
    let mut rig = Rig::new((140, 100), Protocol::HalfBlocks);
    let screen = rig.settle().keys("?").settle().screen();
    assert!(screen.contains("sort the images: as given, by name, time, score, prediction "), "{screen}");
    assert!(screen.contains("an element of an output, a pixel, a contrast, …"), "{screen}");
}

#[test]
fn a_folded_group_says_how_many_layers_it_has() {
    let mut rig = Rig::deep((250, 70), Protocol::HalfBlocks);
    let screen = rig.settle().screen();
    assert!(screen.contains("6 layers") && !screen.contains("6 l…"), "{screen}");
}

#[test]
fn classes_fill_the_last_row_of_their_grid() {
    let mut rig = Rig::on(Double::labelled(40, &[]), (250, 70), Protocol::HalfBlocks, start(&["cat.jpg"]));
    rig.settle().keys("6").settle();
    let shown = tiles(rig.explorer.state());
    assert_eq!(rig.explorer.state().view, View::Classes);
    let row = |y: u16| shown.iter().filter(|tile| tile.area.y == y).count();
    let (first, last) = (shown.first().unwrap().area.y, shown.last().unwrap().area.y);
    assert!(shown.len() >= 9 && first != last && row(first) == row(last), "{} {}", row(first), row(last));
}

#[test]
fn in_a_narrow_list_the_names_of_classes_come_before_their_bars() {
    let double = Double::labelled(7, &["football helmet", "coffee"]);
    let mut rig = Rig::on(double, (80, 24), Protocol::HalfBlocks, start(&["cat.jpg"]));
    let screen = rig.settle().screen();
    assert!(screen.contains("football helmet ▉") || screen.contains("football helmet █"), "{screen}");
}

#[test]
fn the_caption_of_a_lonely_picture_uses_the_room_beside_it() {
    let mut rig = two((80, 24));
    let screen = rig.settle().screen();
    assert!(screen.contains("B−A: cosine 0.") && screen.contains(" rank 0."), "{screen}");
    let shown = tiles(rig.explorer.state());
    let (of_a, of_change) = (&shown[0], &shown[2]);
    assert!(of_change.caption.as_ref().unwrap().0.width > of_change.area.width + 10, "{of_change:?}");
    assert!(of_a.caption.as_ref().unwrap().0.right() <= shown[1].area.x, "{of_a:?}");
    // A caption loses its last parts before one of them is cut.
    assert!(screen.contains("A: Egyptian cat 63.3 %"), "{screen}");
}

#[test]
fn a_photo_in_which_nothing_is_found_says_so_and_what_to_do() {
    for size in [(60, 18), (140, 40)] {
        let mut rig = Rig::new(size, Protocol::HalfBlocks);
        rig.double.finds_nothing.store(true, std::sync::atomic::Ordering::SeqCst);
        let screen = rig.settle().screen();
        assert!(screen.contains("nothing is found · T asks anyway"), "{screen}");
    }
    let double = Arc::new(Double::new());
    double.finds_nothing.store(true, std::sync::atomic::Ordering::SeqCst);
    let said = plainly(&double, &["cat.jpg"], "quit\n");
    assert!(said.contains("nothing is found: `target SPEC` asks anyway"), "{said}");
    // It is not said of a photo with an answer.
    let screen = Rig::new((140, 40), Protocol::HalfBlocks).settle().screen();
    assert!(!screen.contains("nothing is found"), "{screen}");
}

#[test]
fn a_note_comes_before_times_and_the_provider() {
    let mut double = Double::new();
    double.info.notes = vec!["3 nodes round to integers: their gradient is taken as that of the number itself".into()];
    let mut rig = Rig::on(double, (80, 24), Protocol::HalfBlocks, start(&["cat.jpg"]));
    let screen = rig.settle().screen();
    let last = screen.lines().last().unwrap();
    assert!(last.contains("is taken as that of the number") && !last.contains("half-blocks"), "{last}");
}

#[test]
fn a_legend_comes_before_the_share_of_heat_in_a_box() {
    let mut rig = Rig::new((80, 24), Protocol::HalfBlocks);
    rig.double.finds_boxes.store(true, std::sync::atomic::Ordering::SeqCst);
    let screen = rig.settle().screen();
    let line = screen.lines().find(|line| line.contains("Egyptian cat (box:1) 90.0 %  0 ")).map(str::to_owned);
    assert!(line.is_some_and(|line| line.contains(" 1 ") && !line.contains("in the box")), "{screen}");
    let mut wide = Rig::new((140, 40), Protocol::HalfBlocks);
    wide.double.finds_boxes.store(true, std::sync::atomic::Ordering::SeqCst);
    let screen = wide.settle().screen();
    assert!(screen.contains(" % in the box  0 "), "{screen}");
}

#[test]
fn a_long_message_is_said_once_and_whole() {
    let mut rig = Rig::new((80, 24), Protocol::HalfBlocks);
    rig.settle().key("y").settle();
    let said = rig.explorer.state().message.clone().unwrap().text;
    assert!(said.len() > 100, "{said}");
    let screen = rig.screen();
    assert_eq!(screen.matches("copied: ").count(), 1, "{screen}");
    let words: Vec<&str> = screen.split_whitespace().collect();
    assert!(said.split_whitespace().all(|word| words.contains(&word)), "{said}\n{screen}");
    // The last line goes on being the keys', by the mouse too.
    let last = screen.lines().last().unwrap();
    let help = last.split("? help").next().unwrap().chars().count() as u16;
    assert!(last.contains("? help") && last.contains("q quit"), "{last}");
    let kind = MouseEventKind::Down(MouseButton::Left);
    rig.send(Event::Mouse(MouseEvent { kind, column: help, row: 23, modifiers: KeyModifiers::NONE })).settle();
    assert!(rig.screen().contains("Keys · type to search them"), "{}", rig.screen());
    // A short one is said in the last line alone.
    rig.keys("esc c").settle();
    let screen = rig.screen();
    assert_eq!(screen.matches("colormap turbo").count(), 1, "{screen}");
    assert!(screen.lines().last().unwrap().contains("colormap turbo"), "{screen}");
}
