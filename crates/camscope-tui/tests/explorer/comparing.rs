//! Two models, two methods, two photos side by side.

use std::sync::Arc;

use camscope_core::compare::Entry;
use camscope_tui::{
    action::View,
    compare::{self, Other, With},
    engine::{Beside, Engine},
    graphics::Protocol,
    tiles::{Chooses, Content, tiles},
};
use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::double::{Double, Rig, start};

const SIZE: (u16, u16) = (120, 40);

/// Two models, of which the second has each of the first's layers but one.
pub(crate) fn two(size: (u16, u16)) -> Rig {
    let mut begin = start(&["cat.jpg", "cow.jpg"]);
    begin.against = Some(With::Model("other.onnx".into()));
    let double = Double::new();
    Rig::opening(double, size, begin, |first| {
        let second: Arc<dyn Engine> = Arc::new(Double::second());
        let layers = (0..12).map(|at| (at != 4).then_some((at, "by name"))).collect();
        let drift = |_: [&camscope_tui::engine::Photo; 2], _: &camscope_core::runtime::Canceller| {
            let entry = |at: usize| {
                let name = format!("features.{at}.conv");
                Entry { value: name.clone(), module: None, other: name.clone(), name, error: 0.02 * (at + 1) as f64 }
            };
            Ok((0..12).map(entry).collect())
        };
        Arc::new(Beside::new(first, second, layers, Box::new(drift)))
    })
}

fn captions(rig: &Rig) -> Vec<String> {
    tiles(rig.explorer.state()).into_iter().filter_map(|tile| tile.caption.map(|(_, text)| text)).collect()
}

#[test]
fn two_models_are_side_by_side_with_their_answers_and_how_alike_they_are() {
    let mut rig = two(SIZE);
    rig.settle();
    let state = rig.explorer.state();
    assert_eq!((state.view, &state.comparing.other), (View::Compare, &Some(Other::Model)));
    let said = captions(&rig);
    assert!(said[0].starts_with("A: Egyptian cat 6") && said[0].contains("max 12.000"), "{said:?}");
    // Its own label for the class, and its own probability.
    assert!(said[1].starts_with("B: Egyptian cat ") && said[1].contains("max 6.000"), "{said:?}");
    assert!(said[1].contains("matched by name") && said[1].contains("other.onnx"), "{said:?}");
    assert!(said[2].starts_with("B−A: cosine 0.") && said[2].contains(" rank "), "{said:?}");
    assert!(rig.screen().contains("double.onnx | other.onnx"), "{}", rig.screen());
    assert!(rig.screen().contains("A and B"), "{}", rig.screen());
}

#[test]
fn class_layer_and_method_switch_both() {
    let mut rig = two(SIZE);
    rig.settle().keys("right up ]").settle();
    let state = rig.explorer.state();
    let first = state.current_key().unwrap();
    let second = compare::other_of(state, first).unwrap().unwrap();
    // The second has its classes in another order.
    let name = |key| compare::name_of(state, key);
    assert!(name(first).starts_with("espresso ") && name(second).starts_with("espresso "));
    assert_ne!(first.target, second.target);
    assert_eq!((first.layer, second.layer, first.method, second.method), (10, 10, 1, 1));
    assert!(state.heats.get(&first).is_some() && state.heats.get(&second).is_some());
    assert!(state.comparing.numbers.contains_key(&(first, second)));
}

#[test]
fn a_layer_that_the_second_lacks_is_said_and_nothing_else_is_shown_for_it() {
    let mut rig = two(SIZE);
    rig.settle().keys("g down down down down").settle();
    let said = captions(&rig);
    assert_eq!(rig.explorer.state().layer, 4);
    assert!(said[1].starts_with("✗ no layer of the second model matches features.4.conv"), "{said:?}");
    let contents: Vec<Content> = tiles(rig.explorer.state()).into_iter().map(|tile| tile.content).collect();
    assert!(matches!(contents[..2], [Content::Overlay(_), Content::Photo]), "{contents:?}");
}

#[test]
fn the_scale_is_one_or_each_its_own() {
    let mut rig = two(SIZE);
    rig.settle();
    let shown = |rig: &Rig| tiles(rig.explorer.state())[..3].iter().map(|tile| tile.content).collect::<Vec<_>>();
    assert!(matches!(shown(&rig)[..], [Content::Shared(..), Content::Shared(..), Content::Change(_, _, true)]));
    rig.keys("S").settle();
    assert!(matches!(shown(&rig)[..], [Content::Overlay(_), Content::Overlay(_), Content::Change(_, _, false)]));
    rig.keys("d").settle();
    assert!(matches!(tiles(rig.explorer.state())[0].content, Content::Change(..)));
    // Red is where the second has more: the legend's ends say so.
    assert!(rig.screen().contains("-1 ") && rig.screen().contains(" 1"), "{}", rig.screen());
}

#[test]
fn drift_is_listed_by_layer_and_a_click_goes_there() {
    let mut rig = two(SIZE);
    rig.settle().keys("D").settle();
    let screen = rig.screen();
    assert!(screen.contains("drift of B: relative error by layer"), "{screen}");
    assert!(screen.contains("▶ features.5.conv") && screen.contains("first above 10 %: features.5.conv"), "{screen}");
    let row = screen.lines().position(|line| line.contains("  features.3.conv") && line.contains("0.0800")).unwrap();
    rig.send(Event::Mouse(MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column: 50,
        row: row as u16,
        modifiers: KeyModifiers::NONE,
    }));
    rig.settle();
    assert_eq!(rig.explorer.state().layer, 3);
    rig.keys("D").settle();
    assert!(!rig.screen().contains("drift of B"));
}

#[test]
fn a_method_is_compared_with_another() {
    let mut rig = Rig::new(SIZE, Protocol::HalfBlocks);
    rig.settle().keys("w layercam enter").settle();
    let said = captions(&rig);
    assert!(said[0].starts_with("gradcam · Egyptian cat "), "{said:?}");
    assert!(said[1].starts_with("layercam · Egyptian cat "), "{said:?}");
    assert!(said[2].starts_with("cosine ") && said[2].ends_with(" · layercam−gradcam"), "{said:?}");
    rig.keys("S").settle();
    assert!(rig.screen().contains("units of their own"), "{}", rig.screen());
    // Without any second model there is no drift.
    rig.keys("D").settle();
    assert!(!rig.explorer.state().comparing.drift && rig.screen().contains("--against"), "{}", rig.screen());
}

#[test]
fn a_marked_photo_stands_beside_the_next_one() {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg"]));
    rig.settle().keys("t").settle();
    assert!(rig.screen().contains("cat.jpg is marked: n and p go"), "{}", rig.screen());
    rig.keys("n").settle();
    let said = captions(&rig);
    assert!(said[0].starts_with("cow.jpg: ") && said[1].starts_with("cat.jpg: "), "{said:?}");
    let shown = tiles(rig.explorer.state());
    assert!(matches!(shown[0].content, Content::Shared(..)) && shown[1].chooses == Chooses::Image(0));
    // Of two photos there is no difference.
    assert!(shown[2].is_in_strip(), "{:?}", shown[2]);
    rig.keys("p t").settle();
    let state = rig.explorer.state();
    assert_eq!((state.view, &state.comparing.other), (View::Overlay, &None));
}

#[test]
fn a_right_click_on_a_thumbnail_compares_with_it() {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg"]));
    rig.settle();
    let tile = tiles(rig.explorer.state()).into_iter().find(|tile| tile.chooses == Chooses::Image(1)).unwrap();
    rig.send(Event::Mouse(MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Right),
        column: tile.area.x,
        row: tile.area.y,
        modifiers: KeyModifiers::NONE,
    }));
    rig.settle();
    let state = rig.explorer.state();
    assert_eq!((state.image, &state.comparing.other), (0, &Some(Other::Photo("cow.jpg".into()))));
    assert!(captions(&rig)[1].starts_with("cow.jpg: "));
}

#[test]
fn without_anything_to_compare_with_the_view_says_how_to_choose_it() {
    let mut rig = Rig::new(SIZE, Protocol::HalfBlocks);
    rig.settle().keys("9").settle();
    assert!(rig.screen().contains("w chooses a method, t marks a photo"), "{}", rig.screen());
    rig.keys("1 V").settle();
    assert_eq!(rig.explorer.state().view, View::Photos, "going round leaves views out that have nothing to show");
}

#[test]
fn small_windows_stay_clean() {
    for size in [(40, 12), (50, 15), (60, 20), (80, 24), (140, 40), (250, 70)] {
        for keys in ["", "d", "D", "w layercam enter", "t n"] {
            let mut rig = two(size);
            rig.settle().keys(keys).settle();
            let state = rig.explorer.state();
            let room = camscope_tui::layout::areas(size, state.images.len());
            let shown = tiles(state);
            for (at, tile) in shown.iter().enumerate() {
                let rooms = [Some(room.picture), room.strip];
                assert!(rooms.into_iter().flatten().any(|room| room.intersection(tile.area) == tile.area), "{size:?}");
                assert!(shown[..at].iter().all(|other| !other.area.intersects(tile.area)), "{size:?} {keys}");
            }
            let screen = rig.screen();
            assert!(screen.lines().all(|line| line.chars().count() <= size.0.into()), "{screen}");
        }
    }
}

#[test]
fn the_copied_command_compares_with_the_same() {
    let copied = |rig: &Rig| camscope_tui::command_line::explain(rig.explorer.state()).unwrap();
    let mut rig = two(SIZE);
    rig.settle().keys("S up");
    rig.settle();
    let line = copied(&rig);
    assert!(line.contains(" --view compare ") && line.contains(" --against models/other.onnx --own-scale"), "{line}");
    assert!(line.contains(" --layer features.10.conv"), "{line}");
    rig.keys("w layercam enter d").settle();
    let line = copied(&rig);
    assert!(line.contains(" --view difference ") && line.contains(" --against layercam"), "{line}");
    assert!(!line.contains("--own-scale"), "{line}");
    rig.keys("t n").settle();
    assert!(copied(&rig).contains("cow.jpg --view difference --class 6"), "{}", copied(&rig));
    assert!(copied(&rig).contains(" --against cat.jpg --own-scale"), "{}", copied(&rig));
    rig.keys("1").settle();
    assert!(!copied(&rig).contains("--against"), "the plain overlay compares nothing");
}

#[test]
fn the_best_method_and_layer_are_found_behind_and_taken() {
    let mut rig = Rig::new(SIZE, Protocol::HalfBlocks);
    rig.settle().keys("r").settle();
    let screen = rig.screen();
    assert!(screen.contains("best for Egyptian cat: 4 of 4 tried"), "{screen}");
    let rows: Vec<&str> = screen.lines().filter(|line| line.starts_with("   0.")).collect();
    // One of the four has no heat.
    assert_eq!(rows.len(), 3, "{screen}");
    assert!(rows[0].contains("0.4200  gradcam") && rows[0].contains("features.7.conv"), "{rows:?}");
    let copied = camscope_tui::command_line::explain(rig.explorer.state()).unwrap();
    // Four heatmaps of one pass, each scored by 18.
    assert!(copied.starts_with("camscope rank models/double.onnx cat.jpg --class '#0' --budget 76 "), "{copied}");
    rig.keys("right").settle();
    assert!(rig.screen().contains("best for espresso: 4 of 4 tried"), "{}", rig.screen());
    rig.keys("enter").settle();
    let state = rig.explorer.state();
    assert_eq!((state.method, state.layer, state.comparing.ranks), (0, 7, false));
    assert!(rig.screen().contains("the best: gradcam at features.7.conv, ROAD 0.4200"), "{}", rig.screen());
}

#[test]
fn looking_for_the_best_gives_way_to_any_key() {
    use std::sync::atomic::Ordering;
    let mut rig = Rig::new(SIZE, Protocol::HalfBlocks);
    rig.settle().keys("r").settle();
    // Another class: its heatmaps are scored, and each takes for ever.
    rig.double.stuck.store(true, Ordering::SeqCst);
    rig.keys("right");
    let begun = rig.double.begun.load(Ordering::SeqCst);
    while rig.double.begun.load(Ordering::SeqCst) == begun {
        rig.explorer.take_up(None, Some(std::time::Duration::from_millis(5))).unwrap();
    }
    let cancelled = rig.double.cancelled.load(Ordering::SeqCst);
    // A layer whose heat isn't there: its run comes first.
    rig.keys("g");
    for _ in 0..400 {
        rig.explorer.take_up(None, Some(std::time::Duration::from_millis(5))).unwrap();
        if rig.double.cancelled.load(Ordering::SeqCst) > cancelled {
            break;
        }
    }
    assert!(rig.double.cancelled.load(Ordering::SeqCst) > cancelled, "the score was not given up");
    rig.double.stuck.store(false, Ordering::SeqCst);
    rig.settle();
    let state = rig.explorer.state();
    assert!(state.heats.get(&state.current_key().unwrap()).is_some());
    assert!(rig.screen().contains("4 of 4 tried"), "{}", rig.screen());
}

#[test]
fn a_click_takes_what_was_tried() {
    let mut rig = Rig::new(SIZE, Protocol::HalfBlocks);
    rig.settle().keys("r").settle();
    let screen = rig.screen();
    let row = screen.lines().position(|line| line.contains("hirescam") && line.contains("features.11")).unwrap();
    rig.send(Event::Mouse(MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column: 4,
        row: row as u16,
        modifiers: KeyModifiers::NONE,
    }));
    rig.settle();
    let state = rig.explorer.state();
    assert_eq!((state.method, state.layer, state.comparing.ranks), (1, 11, true));
}
