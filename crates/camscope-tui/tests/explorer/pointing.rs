//! The explorer by the mouse alone.

use camscope_tui::{
    action::{ACTIONS, Action, View},
    graphics::Protocol,
    keymap::Keymap,
    prompt::{Purpose, Value},
    state::Mode,
    tiles::{key, tiles},
};
use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::double::{Rig, start};

const SIZE: (u16, u16) = (120, 40);

fn rig() -> Rig {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg"]));
    rig.settle();
    rig
}

fn mouse(rig: &mut Rig, kind: MouseEventKind, (column, row): (u16, u16)) {
    rig.send(Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })).settle();
}

fn click(rig: &mut Rig, at: (u16, u16)) {
    mouse(rig, MouseEventKind::Down(MouseButton::Left), at);
}

/// Where a text stands on the screen.
fn find(rig: &Rig, text: &str) -> (u16, u16) {
    let screen = rig.screen();
    let found = screen.lines().enumerate().find_map(|(row, line)| Some((line.find(text)?, row, line.to_owned())));
    let (at, row, line) = found.unwrap_or_else(|| panic!("{text} is not on the screen: {screen}"));
    (line[..at].chars().count() as u16, row as u16)
}

/// Opens the list of actions, turns the wheel until one is in sight, and presses it.
fn choose(rig: &mut Rig, action: Action) {
    click(rig, (2, 0));
    loop {
        let Mode::Prompt(prompt) = &rig.explorer.state().mode else { panic!("the list of actions is not open") };
        assert_eq!(prompt.purpose, Purpose::Palette);
        let wanted = prompt.items.iter().position(|item| item.value == Value::Action(action));
        let wanted = wanted.unwrap_or_else(|| panic!("{action} is not in the list"));
        if prompt.selected == wanted {
            break;
        }
        mouse(rig, MouseEventKind::ScrollDown, (5, 30));
    }
    let name = format!(" {}  ", action.name());
    let at = find(rig, &name);
    click(rig, (at.0 + 2, at.1));
}

#[test]
fn every_key_has_an_action_that_the_mouse_reaches() {
    let keymap = Keymap::preset();
    let mut rig = rig();
    click(&mut rig, (2, 0));
    let Mode::Prompt(prompt) = &rig.explorer.state().mode else { panic!("the list of actions is not open") };
    let listed: Vec<&Value> = prompt.items.iter().map(|item| &item.value).collect();
    for (key, action) in keymap.iter().filter(|(_, action)| *action != Action::Palette) {
        assert!(listed.contains(&&Value::Action(action)), "{key}: {action}");
    }
    assert_eq!(listed.len(), ACTIONS.len() - 1);
}

#[test]
fn actions_are_chosen_from_the_list_by_the_wheel_and_a_press() {
    let mut rig = rig();
    choose(&mut rig, Action::View(View::Sweep));
    assert_eq!(rig.explorer.state().view, View::Sweep);
    choose(&mut rig, Action::Histogram);
    assert!(rig.explorer.state().histogram);
    choose(&mut rig, Action::ZoomIn);
    assert!(rig.explorer.state().zoom.factor > 1.0);
    choose(&mut rig, Action::Pin);
    assert_eq!(rig.explorer.state().pinned.len(), 1);
    choose(&mut rig, Action::SearchClass);
    let at = find(&rig, "tabby  (3)");
    click(&mut rig, at);
    assert_eq!(rig.explorer.state().current_target(), Some(3));
}

#[test]
fn words_of_the_title_headings_and_hints_are_pressed() {
    let mut rig = rig();
    let at = find(&rig, "overlay · gradcam");
    click(&mut rig, at);
    assert_eq!(rig.explorer.state().view, View::Heatmap);
    let purpose = |rig: &Rig| match &rig.explorer.state().mode {
        Mode::Prompt(prompt) => Some(prompt.purpose),
        _ => None,
    };
    for (text, wanted) in [
        ("gradcam · jet", Purpose::Methods),
        ("double.onnx", Purpose::Open),
        ("cat.jpg (1/2)", Purpose::Images),
        ("Classes 1/7", Purpose::SearchClass),
        ("Layers 12/12", Purpose::FilterLayers),
        ("m method", Purpose::Methods),
        ("/ search", Purpose::SearchClass),
    ] {
        let at = find(&rig, text);
        click(&mut rig, at);
        assert_eq!(purpose(&rig), Some(wanted), "{text}");
        // The button at the end of the line leaves it.
        let at = find(&rig, " esc");
        click(&mut rig, (at.0 + 2, at.1));
        assert_eq!(purpose(&rig), None, "{text}");
    }
    let at = find(&rig, "←→ class");
    click(&mut rig, (at.0 + 1, at.1));
    assert_eq!(rig.explorer.state().current_target(), Some(1));
    click(&mut rig, at);
    assert_eq!(rig.explorer.state().current_target(), Some(0));
    let at = find(&rig, "? help");
    click(&mut rig, at);
    assert!(matches!(rig.explorer.state().mode, Mode::Help(_)));
    mouse(&mut rig, MouseEventKind::ScrollDown, (60, 20));
    assert!(matches!(&rig.explorer.state().mode, Mode::Help(help) if help.scroll == 1));
    click(&mut rig, (60, 20));
    assert!(matches!(rig.explorer.state().mode, Mode::Normal));
    // The other button opens the list of actions anywhere.
    mouse(&mut rig, MouseEventKind::Down(MouseButton::Right), (40, 20));
    assert_eq!(purpose(&rig), Some(Purpose::Palette));
}

#[test]
fn what_is_typed_is_taken_by_the_button_too() {
    let mut rig = rig();
    rig.keys("/ espresso").settle();
    let at = find(&rig, " enter ");
    click(&mut rig, (at.0 + 2, at.1));
    assert_eq!(rig.explorer.state().current_target(), Some(1));
}

#[test]
fn a_name_at_the_bottom_is_pressed_too_and_so_is_an_image_without_a_small_copy() {
    let mut rig = Rig::with(SIZE, Protocol::HalfBlocks, start(&["cat.jpg", "cow.jpg", "broken.jpg"]));
    rig.settle();
    let names = find(&rig, "cow      broken");
    click(&mut rig, names);
    assert_eq!(rig.explorer.state().image, 1);
    click(&mut rig, (names.0 + 11, names.1 + 2));
    assert_eq!(rig.explorer.state().image, 2);
}

/// Zooms by the wheel over the n-th picture, and gives the parts of the photos that the pictures show.
fn zoomed_over(rig: &mut Rig, nth: usize) -> Vec<[u32; 4]> {
    let area = tiles(rig.explorer.state())[nth].area;
    mouse(rig, MouseEventKind::ScrollUp, (area.x + 1, area.y + 1));
    rig.settle();
    let state = rig.explorer.state();
    assert!(state.zoom.factor > 1.1, "{:?} over picture {nth} of {:?}", state.zoom, state.view);
    let shown = tiles(state);
    shown.iter().filter(|tile| !tile.is_in_strip()).map(|tile| key(state, tile).unwrap().window).collect()
}

#[test]
fn the_wheel_zooms_over_every_picture_of_every_view_and_all_of_them_alike() {
    for (keys, pictures) in [("1", 1), ("2", 1), ("3", 1), ("4", 2), ("5", 4), ("6", 4), ("7", 3), ("8", 2), ("9", 1)] {
        let mut rig = rig();
        rig.keys("right left").keys(keys).settle();
        for nth in 0..pictures {
            let windows = zoomed_over(&mut rig, nth);
            assert!(
                windows.len() >= pictures && windows.iter().all(|window| *window == windows[0]),
                "{keys}: {windows:?}"
            );
            assert_eq!(f32::from_bits(windows[0][0]).min(0.05), f32::from_bits(windows[0][0]), "where the mouse is");
            rig.key("0").settle();
        }
    }
    // Two photos, and two models.
    for mut rig in [rig(), super::comparing::two(SIZE)] {
        if rig.explorer.state().comparing.other.is_none() {
            rig.keys("t n").settle();
        }
        rig.key("9").settle();
        for nth in 0..2 {
            let windows = zoomed_over(&mut rig, nth);
            assert!(windows.len() >= 2 && windows.iter().all(|window| *window == windows[0]), "{windows:?}");
            // The other photo can be taken hold of as well.
            let at = tiles(rig.explorer.state())[nth].area;
            let before = rig.explorer.state().zoom.centre;
            mouse(&mut rig, MouseEventKind::Moved, (at.x + 8, at.y + 4));
            mouse(&mut rig, MouseEventKind::Drag(MouseButton::Left), (at.x + 4, at.y + 4));
            assert!(rig.explorer.state().zoom.centre.0 > before.0);
            rig.key("0").settle();
        }
    }
}
