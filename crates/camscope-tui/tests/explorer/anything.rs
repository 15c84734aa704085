//! Keys, presses, sizes and pasted text in any order: nothing ends the explorer, and it goes on afterwards.

use camscope_tui::{
    graphics::{Protocol, Screen},
    prompt::Purpose,
    state::Mode,
};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use crate::{
    asking::{embedding, reading, with_inputs},
    comparing::two,
    double::{Double, Rig, start},
};

/// Events of each run.
const EVENTS: usize = 600;

/// Numbers in an order that is the same in every run: a linear congruential generator.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Keys without a name of their own. None that ends or stops it.
const LETTERS: &str = "vV123456789dwtrSDmcC+-ezZ0hbxsyERoliTnNpPOfgGa/:?<>[]HLjk 猫é";

fn key(numbers: &mut Numbers) -> KeyEvent {
    let letters: Vec<char> = LETTERS.chars().collect();
    let named = [
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Backspace,
        KeyCode::Delete,
    ];
    let held = [KeyModifiers::NONE, KeyModifiers::NONE, KeyModifiers::SHIFT, KeyModifiers::CONTROL, KeyModifiers::ALT];
    match numbers.below(4) {
        0 => KeyEvent::new(numbers.one_of(&named), numbers.one_of(&held)),
        1 => KeyEvent::new(KeyCode::Char(numbers.one_of(&['u', 'w', 'k', 'a', 'e', 'l', 't'])), KeyModifiers::CONTROL),
        _ => KeyEvent::new(KeyCode::Char(numbers.one_of(&letters)), KeyModifiers::NONE),
    }
}

fn mouse(numbers: &mut Numbers, (columns, rows): (u16, u16)) -> MouseEvent {
    let kinds = [
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Down(MouseButton::Right),
        MouseEventKind::Drag(MouseButton::Left),
        MouseEventKind::Up(MouseButton::Left),
        MouseEventKind::Moved,
        MouseEventKind::ScrollUp,
        MouseEventKind::ScrollDown,
    ];
    let place = |numbers: &mut Numbers, end: u16| numbers.below(usize::from(end) + 2) as u16;
    let (column, row) = (place(numbers, columns), place(numbers, rows));
    MouseEvent { kind: numbers.one_of(&kinds), column, row, modifiers: KeyModifiers::NONE }
}

const PASTED: [&str; 9] =
    ["", "猫と犬.jpg", "\u{1b}[2J\n", "שלום\u{202e}", "👩\u{200d}🔬", "cow.jpg", "similar:", "box:1", "class:top2"];

const SIZES: [(u16, u16); 12] =
    [(120, 40), (80, 24), (40, 12), (50, 15), (0, 0), (1, 1), (2, 9), (7, 30), (20, 5), (56, 9), (200, 3), (60, 18)];

/// Whether enter would write a file, or run another command.
fn would_write(rig: &Rig) -> bool {
    let writes = [Purpose::Save, Purpose::Export, Purpose::Report];
    matches!(&rig.explorer.state().mode, Mode::Prompt(prompt) if writes.contains(&prompt.purpose))
}

/// One event, and what it was.
fn happen(rig: &mut Rig, numbers: &mut Numbers) {
    let size = rig.explorer.state().size;
    let event = match numbers.below(20) {
        0 => {
            let (columns, rows) = numbers.one_of(&SIZES);
            Event::Resize(columns, rows)
        }
        1 => Event::Paste(numbers.one_of(&PASTED).into()),
        2..6 => Event::Mouse(mouse(numbers, size)),
        _ => Event::Key(key(numbers)),
    };
    // A press may be on the button of a line.
    if would_write(rig) && !matches!(event, Event::Resize(..) | Event::Paste(_)) {
        rig.key("esc");
    }
    rig.send(event);
    rig.explorer.take_up(None, Some(std::time::Duration::ZERO)).unwrap();
    rig.frame();
}

fn anything(mut rig: Rig, seed: u64) {
    let mut numbers = Numbers(seed);
    for _ in 0..EVENTS {
        happen(&mut rig, &mut numbers);
        // A press on `q quit`, or on that line of the list of actions.
        if rig.explorer.state().quitting {
            return;
        }
    }
    rig.send(Event::Resize(120, 40)).keys("esc esc esc");
    rig.explorer.take_up(None, Some(std::time::Duration::ZERO)).unwrap();
    rig.size = (120, 40);
    rig.frame();
    // While inputs lack values, photos are only looked at: these are on no disk.
    if rig.explorer.state().asking.inputs.is_none() {
        rig.settle();
    }
    assert!(rig.screen().contains("camscope"), "{}", rig.screen());
}

fn rig(double: Double, protocol: Protocol, is_far: bool) -> Rig {
    let screen = Screen { pixel_budget: is_far.then_some(250_000), ..Screen::new(protocol) };
    Rig::in_terminal(double, (120, 40), screen, start(&["cat.jpg", "cow.jpg", "broken.jpg", "owl.jpg"]))
}

#[test]
fn classes_in_every_terminal() {
    let terminals = [Protocol::HalfBlocks, Protocol::Kitty, Protocol::Sixel, Protocol::Iterm2, Protocol::None];
    for (seed, protocol) in (1..).zip(terminals) {
        for is_far in [false, true] {
            anything(rig(Double::new(), protocol, is_far), seed + 10 * u64::from(is_far));
        }
    }
}

#[test]
fn boxes() {
    let rig = rig(Double::new(), Protocol::HalfBlocks, false);
    rig.double.finds_boxes.store(true, std::sync::atomic::Ordering::SeqCst);
    anything(rig, 21);
}

#[test]
fn an_embedding_a_text_and_inputs() {
    anything(embedding((120, 40)), 31);
    anything(reading("hello world", (120, 40)), 32);
    anything(rig(with_inputs(), Protocol::HalfBlocks, false), 33);
}

#[test]
fn two_models() {
    anything(two((120, 40)), 41);
}
