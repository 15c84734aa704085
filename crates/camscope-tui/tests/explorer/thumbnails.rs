//! Thumbnails of methods in the list that chooses one.

use std::sync::atomic::Ordering;

use camscope_core::method;
use camscope_tui::{
    engine::HeatKey,
    graphics::Protocol,
    prompt::passes,
    state::{Mode, State},
    tiles::{Chooses, Tile, tiles},
    wanted::{Run, wanted},
};
use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::double::{Rig, start};

const SIZE: (u16, u16) = (140, 40);

fn rig(size: (u16, u16)) -> Rig {
    let mut rig = Rig::with(size, Protocol::HalfBlocks, start(&["cat.jpg"]));
    rig.settle();
    rig
}

fn number(name: &str) -> usize {
    method::all().iter().position(|method| method.name() == name).unwrap()
}

/// The methods of the thumbnails, and what stands below each.
fn shown(state: &State) -> Vec<(usize, String)> {
    let of = |tile: Tile| match tile.chooses {
        Chooses::Method(method) => Some((method, tile.caption.unwrap().1)),
        _ => None,
    };
    tiles(state).into_iter().filter_map(of).collect()
}

/// The methods whose heat was computed for the layer that is shown.
fn computed(rig: &Rig) -> Vec<usize> {
    rig.double
        .heats
        .lock()
        .unwrap()
        .iter()
        .filter(|key| key.layer == 11 && key.target == 0)
        .map(|key| key.method)
        .collect()
}

#[test]
fn cheap_methods_have_thumbnails_the_cheapest_first_and_others_when_they_are_asked_for() {
    let mut rig = rig(SIZE);
    rig.key("m").settle();
    let all = shown(rig.explorer.state());
    assert!(all.len() >= 10, "{all:?}");
    assert_eq!(all[0], (0, "gradcam · ×1.1".to_owned()));
    assert!(all.iter().any(|(_, caption)| caption == "hirescam · ×1.1"), "{all:?}");
    let order = computed(&rig);
    let slow = number("sess");
    assert!(all.iter().any(|(method, _)| *method == slow) && !order.contains(&slow), "{order:?}");
    assert!(rig.screen().contains("×134: ctrl-t"), "{}", rig.screen());
    let costs: Vec<f64> = order[1..].iter().map(|at| passes(method::nth(*at).unwrap(), 64)).collect();
    assert!(costs.len() >= 8 && costs.is_sorted() && costs[0] < *costs.last().unwrap(), "{order:?} {costs:?}");
    rig.keys("sess ctrl-t").settle();
    assert_eq!(shown(rig.explorer.state())[0], (slow, "sess · ×134".to_owned()));
    assert!(computed(&rig).contains(&slow));
    // The view comes back, and what is known stays.
    let count = rig.double.heats.lock().unwrap().len();
    rig.keys("esc").settle();
    assert!(shown(rig.explorer.state()).is_empty() && matches!(rig.explorer.state().mode, Mode::Normal));
    rig.keys("m esc").settle();
    assert_eq!(rig.double.heats.lock().unwrap().len(), count);
}

#[test]
fn thumbnails_come_one_at_a_time_and_give_way_to_any_key() {
    let mut rig = rig(SIZE);
    rig.double.stuck.store(true, Ordering::SeqCst);
    let (begun, cancelled) = (rig.double.begun.load(Ordering::SeqCst), rig.double.cancelled.load(Ordering::SeqCst));
    rig.key("m");
    while rig.double.begun.load(Ordering::SeqCst) == begun {
        rig.explorer.draw().unwrap();
        rig.explorer.take_up(None, Some(std::time::Duration::from_millis(5))).unwrap();
    }
    let wishes = wanted(rig.explorer.state());
    let of_thumbnails = |run: &Run| matches!(run, Run::Heat(HeatKey { method, .. }, _) if *method != 0);
    assert_eq!(wishes.runs.iter().filter(|run| of_thumbnails(run)).count(), 1);
    assert_eq!(wishes.waited, 0, "nobody waits for it");
    rig.keys("esc right");
    while rig.double.cancelled.load(Ordering::SeqCst) == cancelled {
        rig.explorer.draw().unwrap();
        rig.explorer.take_up(None, Some(std::time::Duration::from_millis(5))).unwrap();
    }
    rig.double.stuck.store(false, Ordering::SeqCst);
    rig.settle();
    let (state, key) = (rig.explorer.state(), rig.explorer.state().current_key().unwrap());
    assert!(key.target == 1 && state.heats.get(&key).is_some());
}

#[test]
fn a_thumbnail_is_pressed() {
    let mut rig = rig(SIZE);
    rig.key("m").settle();
    let place = |rig: &Rig, name: &str| {
        let of = |tile: &Tile| tile.chooses == Chooses::Method(number(name));
        let area = tiles(rig.explorer.state()).into_iter().find(|tile| of(tile)).unwrap().area;
        (area.x + area.width / 2, area.y + area.height / 2)
    };
    let press = |rig: &mut Rig, button: MouseButton, (column, row): (u16, u16)| {
        let kind = MouseEventKind::Down(button);
        rig.send(Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })).settle();
    };
    let at = place(&rig, "sess");
    press(&mut rig, MouseButton::Right, at);
    assert!(computed(&rig).contains(&number("sess")) && matches!(rig.explorer.state().mode, Mode::Prompt(_)));
    let at = place(&rig, "layercam");
    press(&mut rig, MouseButton::Left, at);
    assert_eq!(rig.explorer.state().method_name(), "layercam");
    assert!(matches!(rig.explorer.state().mode, Mode::Normal));
}

#[test]
fn thumbnails_lie_beside_the_list_and_where_there_is_no_room_are_none() {
    for size in [(60, 24), (80, 24), (140, 40), (250, 70)] {
        let mut rig = rig(size);
        let screen = rig.key("m").settle().screen();
        let tiles = tiles(rig.explorer.state());
        assert!(!shown(rig.explorer.state()).is_empty(), "{size:?}");
        let list = screen.lines().position(|line| line.contains("activation and gradient")).unwrap();
        for tile in tiles.iter().filter(|tile| !tile.is_in_strip()) {
            let below = tile.caption.as_ref().map_or(tile.area.bottom(), |(line, _)| line.bottom());
            assert!(usize::from(below) <= list, "{size:?}: {tile:?} over {list}");
        }
    }
    let mut small = rig((80, 16));
    small.key("m").settle();
    assert!(shown(small.explorer.state()).is_empty() && small.screen().contains(" hirescam "));
}

#[test]
fn a_method_that_cannot_explain_is_marked_and_no_other_picture_stands_in_its_place() {
    let mut rig = rig(SIZE);
    // That layer has no gradient.
    rig.keys("g down down m").settle();
    let all = shown(rig.explorer.state());
    assert!(all.iter().any(|(_, caption)| caption == "hirescam"), "{all:?}");
    assert!(rig.screen().contains("✗ not here"), "{}", rig.screen());
    rig.keys("esc G m").settle();
    rig.double.stuck.store(true, Ordering::SeqCst);
    let whole = rig.screen().matches('▀').count();
    // Further down the list nothing is computed yet: no picture of another method stands there.
    rig.key("smooth");
    for _ in 0..10 {
        rig.explorer.draw().unwrap();
        rig.explorer.take_up(None, Some(std::time::Duration::from_millis(5))).unwrap();
    }
    assert!(rig.screen().matches('▀').count() < whole, "{}", rig.screen());
    rig.double.stuck.store(false, Ordering::SeqCst);
}
