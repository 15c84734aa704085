//! What makes it easy to see where one is: the help, numbers of a layer and of a box, how far opening is.

use std::sync::atomic::Ordering;

use camscope_tui::{Start, action::View, app::Happening, graphics::Protocol, message::Message, state::Mode};

use crate::double::{Double, Rig, start};

const SIZE: (u16, u16) = (120, 40);

fn rig() -> Rig {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg"]));
    rig.settle();
    rig
}

/// The line of the screen that holds a text.
#[track_caller]
fn line(rig: &Rig, text: &str) -> String {
    let screen = rig.screen();
    screen.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no `{text}` in\n{screen}")).to_owned()
}

#[test]
fn the_help_begins_with_what_matters_in_the_view_and_can_be_searched() {
    let mut rig = rig();
    rig.keys("5 ?").settle();
    assert!(rig.screen().contains("In the view sweep"), "{}", rig.screen());
    assert!(line(&rig, "open or fold a group of layers, or all").contains("tab backtab"));
    rig.keys("esc 7 ?").settle();
    assert!(rig.screen().contains("In the view contrast") && !rig.screen().contains("In the view sweep"));
    // What is typed is searched, also what keys do otherwise, and what has no key.
    rig.keys("q array").settle();
    assert!(rig.screen().contains("Keys: qarray▏") && rig.screen().contains("no key does that"), "{}", rig.screen());
    rig.keys("backspace backspace backspace backspace backspace backspace array").settle();
    assert!(line(&rig, "save the heatmap as .npy").contains(":save-array"));
    assert!(!rig.screen().contains("All keys"));
    rig.key("esc").settle();
    assert!(rig.screen().contains("All keys"));
    rig.key("?").settle();
    assert!(matches!(rig.explorer.state().mode, Mode::Normal));
    assert_eq!(rig.explorer.state().view, View::Contrast);
}

#[test]
fn the_help_scrolls_to_its_end() {
    let mut rig = Rig::with((80, 24), Protocol::HalfBlocks, start(&["cat.jpg"]));
    rig.settle();
    rig.key("?").settle();
    assert!(rig.screen().contains(" more: ↓"));
    rig.keys("pagedown pagedown pagedown pagedown pagedown pagedown pagedown pagedown").settle();
    assert!(!rig.screen().contains(" more: ↓") && rig.screen().contains("ctrl-c"), "{}", rig.screen());
}

#[test]
fn the_histogram_says_how_the_layers_numbers_are_spread() {
    let mut rig = rig();
    rig.key("h").settle();
    assert!(rig.screen().contains("features.11.conv · 14×14×64"), "{}", rig.screen());
    assert!(rig.screen().contains("min -1.500  max 3.000"), "{}", rig.screen());
    assert!(rig.screen().contains("dead channels: 11 of 16 (68.8 %)"), "{}", rig.screen());
    assert!(rig.screen().contains("log. scale"));
    // It follows the layer, and says why there is none.
    rig.keys("g down down down").settle();
    assert!(rig.screen().contains("the runtime ran out of numbers"), "{}", rig.screen());
    rig.key("h").settle();
    assert!(!rig.screen().contains("the runtime ran out of numbers"));
}

#[test]
fn why_a_layer_has_no_histogram_is_read_whole_in_a_small_window() {
    let mut rig = Rig::with((30, 16), Protocol::HalfBlocks, start(&["cat.jpg"]));
    rig.settle().keys("g down down down h").settle();
    let screen = rig.screen();
    assert!(screen.contains("the runtime ran out of") && screen.contains("  numbers"), "{screen}");
}

#[test]
fn the_share_of_the_heat_in_a_box_stands_beside_it() {
    let double = Double::new();
    double.finds_boxes.store(true, Ordering::SeqCst);
    let mut rig = Rig::on(double, SIZE, Protocol::HalfBlocks, start(&["cat.jpg"]));
    rig.settle();
    // The whole photo, then a part of which the network sees half.
    assert!(rig.screen().contains("100 % in the box"), "{}", rig.screen());
    rig.keys("right right").settle();
    let shown = line(&rig, "in the box");
    assert!(shown.contains(" 0 % in the box"), "{shown}");
    rig.key("left").settle();
    let state = rig.explorer.state();
    let share = state.heat_in_box().unwrap();
    assert!(share > 0.0 && share < 1.0, "{share}");
}

#[test]
fn a_photo_that_changes_again_while_it_is_read_is_read_again() {
    let mut rig = rig();
    let changed = || Happening::Message(Message::Changed("cat.jpg".into()));
    for _ in 0..3 {
        rig.explorer.sender().send(changed()).unwrap();
        rig.explorer.take_up(None, None).unwrap();
        // It is read by now, or on the way: both arrive at once then.
        std::thread::sleep(std::time::Duration::from_millis(50));
        rig.explorer.sender().send(changed()).unwrap();
        rig.settle();
        let state = rig.explorer.state();
        assert!(!state.images[0].stale && state.current_scores().is_some());
    }
}

#[test]
fn opening_a_model_says_what_it_is_at_and_shows_the_photo_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("photo.png");
    image::RgbImage::from_pixel(60, 40, image::Rgb([200, 30, 30])).save(&photo).unwrap();
    let double = Double::new();
    double.holds.store(true, Ordering::SeqCst);
    let begin = start(&[photo.to_str().unwrap()]);
    let mut rig = Rig::on(double, SIZE, Protocol::HalfBlocks, begin);
    while !rig.screen().contains("finding the types of its values (2 of 3)") || !rig.screen().contains('▀') {
        rig.explorer.draw().unwrap();
        rig.explorer.take_up(None, None).unwrap();
    }
    assert!(rig.screen().contains("opening models/double.onnx") && rig.screen().contains('░'), "{}", rig.screen());
    assert!(rig.explorer.state().model.is_none());
    rig.double.holds.store(false, Ordering::SeqCst);
    rig.settle();
    let state = rig.explorer.state();
    assert!(state.step.is_none() && !rig.screen().contains("finding the types"), "{}", rig.screen());
    assert!(state.current_key().is_some_and(|key| state.heats.get(&key).is_some()));
}

#[test]
fn a_model_that_cannot_be_opened_is_said_over_the_photo() {
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("photo.png");
    image::RgbImage::from_pixel(60, 40, image::Rgb([200, 30, 30])).save(&photo).unwrap();
    let begin = Start { model: Some("missing.onnx".into()), ..start(&[photo.to_str().unwrap()]) };
    let double = Double::new();
    double.holds.store(true, Ordering::SeqCst);
    let mut rig = Rig::on(double, SIZE, Protocol::HalfBlocks, begin);
    while !rig.screen().contains('▀') {
        rig.explorer.draw().unwrap();
        rig.explorer.take_up(None, None).unwrap();
    }
    rig.double.holds.store(false, Ordering::SeqCst);
    rig.settle();
    assert!(rig.screen().contains("missing.onnx: no such file"), "{}", rig.screen());
    rig.key("x").settle();
    assert!(rig.screen().contains("no model is open: press o to open one"), "{}", rig.screen());
}

#[test]
fn in_a_small_window_why_no_model_is_open_is_said_once_and_what_to_do_stays_in_sight() {
    let name = format!("{}/missing.onnx", "folder".repeat(10));
    let begin = Start { model: Some(name.into()), ..start(&["photo.png"]) };
    let mut rig = Rig::on(Double::new(), (60, 18), Protocol::None, begin);
    rig.settle();
    let screen = rig.screen();
    assert_eq!(screen.matches("such").count(), 1, "{screen}");
    let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("q to quit"), "{screen}");
}
