//! No key does nothing without a word: in each view, each action changes what is shown, or says why not.

use std::sync::atomic::Ordering;

use camscope_tui::{
    Start,
    action::{ACTIONS, Action, View},
    graphics::Protocol,
    message::Message,
    state::Mode,
    tiles::{self, TileKey},
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    asking::{embedding, reading},
    comparing::two,
    double::{Double, Rig, start},
};

/// What a person sees: the screen with its colours, and which pictures belong there.
fn seen(rig: &Rig) -> (Buffer, Vec<Option<TileKey>>) {
    let state = rig.explorer.state();
    let area = Rect::new(0, 0, rig.size.0, rig.size.1);
    let mut buffer = Buffer::empty(area);
    camscope_tui::view::draw(state, area, &mut buffer);
    (buffer, tiles::tiles(state).iter().map(|tile| tiles::key(state, tile)).collect())
}

fn act(rig: &mut Rig, action: Action) {
    rig.explorer.tell(Message::Act(action)).unwrap();
}

fn said(rig: &Rig) -> Option<String> {
    rig.explorer.state().message.as_ref().map(|message| message.text.clone())
}

/// A key, of which nothing but the state knows.
fn press(rig: &mut Rig, code: KeyCode) {
    rig.explorer.tell(Message::Key(KeyEvent::new(code, KeyModifiers::NONE))).unwrap();
}

/// Each action in each view, twice one after the other, so that the second one is at the end of the way. What workers bring is left aside.
fn everything(mut rig: Rig) {
    rig.settle();
    // Those that end or stop it, and the one that is to change nothing.
    let others = [Action::Quit, Action::Suspend, Action::Redraw];
    for view in View::ALL {
        for (name, action, _) in ACTIONS.iter().filter(|(_, action, _)| !others.contains(action)) {
            act(&mut rig, Action::View(view));
            for round in 1..=2 {
                // Escape takes away what was said, and no more.
                if said(&rig).is_some() {
                    press(&mut rig, KeyCode::Esc);
                }
                assert_eq!(said(&rig), None);
                let before = seen(&rig);
                act(&mut rig, *action);
                assert!(seen(&rig) != before, "{name} in {view:?}, time {round}: no word\n{}", rig.screen());
                if !matches!(rig.explorer.state().mode, Mode::Normal) {
                    press(&mut rig, KeyCode::Esc);
                }
            }
        }
    }
}

#[test]
fn each_action_in_each_view_is_seen_or_says_why_not() {
    everything(Rig::new((100, 24), Protocol::HalfBlocks));
    everything(Rig::with((80, 24), Protocol::None, start(&["cat.jpg"])));
    everything(Rig::deep((80, 24), Protocol::Kitty));
}

#[test]
fn the_same_of_two_models_and_in_a_small_window() {
    everything(two((100, 24)));
    for size in [(40, 12), (20, 5)] {
        everything(Rig::new(size, Protocol::HalfBlocks));
    }
}

#[test]
fn the_same_of_what_is_no_classifier() {
    everything(embedding((80, 24)));
    everything(reading("A cat", (80, 24)));
    for finds in [true, false] {
        let rig = Rig::on(Double::new(), (80, 24), Protocol::Sixel, start(&["cat.jpg", "broken.jpg"]));
        rig.double.finds_boxes.store(finds, Ordering::SeqCst);
        rig.double.finds_nothing.store(!finds, Ordering::SeqCst);
        everything(rig);
    }
}

#[test]
fn the_same_where_nothing_is_open() {
    everything(Rig::with((80, 24), Protocol::HalfBlocks, start(&[])));
    everything(Rig::with((80, 24), Protocol::HalfBlocks, Start { model: None, ..start(&["cat.jpg"]) }));
}

#[test]
fn what_changes_nothing_says_what_does() {
    let mut rig = Rig::new((120, 40), Protocol::HalfBlocks);
    rig.settle();
    for (key, word) in [
        ("a", "this is the layer that auto takes: ↑ and ↓ go to others"),
        ("0", "the whole photo is shown: z zooms in"),
        ("b", "the model found no boxes"),
        ("home", "the first is shown: → goes on"),
        ("left", "the list begins here: → goes on"),
        ("G", "there is no layer behind this one in the list: ↑ goes back"),
        ("enter", "r looks for the best method and layer first"),
        ("5 5", "the view sweep is shown already: v goes to the next"),
        ("P", "P has no action here: ? lists the keys, q quits"),
    ] {
        rig.keys(key).settle();
        let said = said(&rig).unwrap_or_default();
        assert!(said.contains(word), "{key}: {said}");
        assert!(rig.screen().contains(word), "{key}: {}", rig.screen());
    }
    // What was not seen was not done either: boxes are drawn where there are some.
    assert!(rig.explorer.state().boxes);
    // The same key says the same again, and a key with an effect says nothing of that.
    rig.keys("a a").settle();
    assert!(said(&rig).unwrap().starts_with("this is the layer"));
    rig.keys("right").settle();
    assert_eq!(said(&rig), None);
    // That escape takes a message away is answer enough.
    rig.keys("a esc").settle();
    assert_eq!(said(&rig), None);
    rig.key("esc").settle();
    assert!(said(&rig).unwrap().starts_with("esc has no action here"));
    // At the edge the heat there, or that there is none, is still read.
    rig.keys("x shift-left").settle();
    for _ in 0..60 {
        rig.key("shift-left");
    }
    let end = said(rig.settle()).unwrap();
    assert!(end.starts_with("x 0  y 40  not seen by the network") && end.ends_with(" · the photo ends here"), "{end}");
}

#[test]
fn the_keys_that_did_nothing_are_seen_in_views_of_many_pictures() {
    for view in ["5", "8", "9"] {
        let mut rig = Rig::new((120, 40), Protocol::HalfBlocks);
        rig.settle().keys(view).settle().key("h").settle();
        assert!(rig.screen().contains("dead channels: "), "{view}: {}", rig.screen());
        // Beside the picture of the layer that it is of.
        let chosen = tiles::tiles(rig.explorer.state()).into_iter().find(|tile| tile.selected && !tile.is_in_strip());
        if let Some((_, caption)) = chosen.and_then(|tile| tile.caption) {
            assert!(rig.screen().contains(&caption), "{view}: {caption} is covered in {}", rig.screen());
        }
        rig.keys("up a").settle();
        assert_eq!((said(&rig), rig.explorer.state().layer), (None, 11));
        rig.keys("z 0").settle();
        assert_eq!((said(&rig), rig.explorer.state().zoom.factor), (None, 1.0));
    }
}

#[test]
fn where_a_list_has_one_entry_no_key_is_named_that_would_go_on() {
    let mut rig = embedding((120, 40));
    rig.keys("l enter").settle().key("right").settle();
    assert_eq!(said(&rig).unwrap(), "this is the only one in the list: l asks for another");
    let mut rig = Rig::new((120, 40), Protocol::HalfBlocks);
    rig.settle().keys("f 11.conv enter").settle();
    rig.key("up").settle();
    assert_eq!(said(&rig).unwrap(), "no other layer passes the filter: f changes it");
}
