//! A bad line, a signal at a bad moment, a reader that writes to the same terminal: nothing of it breaks the explorer or the terminal.

use std::process::Stdio;

use rustix::process::Signal;

use crate::{
    common::{Scene, cat_and_coffee, mobilenet},
    explorer::{SIZE, small, started},
    explorer_screen::{ESCAPE, Terminal},
    terminal::{PLAIN, piped},
};

/// Keys after the beginning of a mouse report, of an answer and of pasted text whose ends were lost.
#[test]
fn what_is_cut_off_does_not_swallow_the_keys_after_it() {
    let scene = Scene::new();
    for cut in ["\x1b[<0;9", "\x1b[1;", "\x1b[200~abc", "\x1b]11;rgb:"] {
        let mut terminal = started(&scene, &[], PLAIN);
        terminal.press(cut);
        terminal.press("\x03");
        terminal.ends_with(0);
    }
    // The text that was pasted goes into the line, the keys after it are keys.
    let mut terminal = started(&scene, &[], PLAIN);
    terminal.press("/");
    terminal.sees("class");
    terminal.press("\x1b[200~pasted");
    terminal.sees("class: pasted");
    terminal.press(ESCAPE);
    terminal.no_longer_sees("class: pasted");
    terminal.press("q");
    terminal.ends_with(0);
}

#[test]
fn a_signal_while_the_terminal_is_asked_gives_it_back() {
    let scene = Scene::new();
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::INT, 2)] {
        // It never answers, so that it is waited for.
        let mut terminal = Terminal::start(small(&scene, &[]), SIZE, &[]);
        terminal.receives("\x1b[c", 0);
        terminal.signal(signal);
        let status = terminal.status();
        assert!(matches!(status, Some(status) if status == -number || status == 128 + number), "{status:?}");
        terminal.is_given_back();
    }
}

#[test]
fn nothing_of_a_progress_bar_stays_beside_what_a_pipe_writes() {
    let scene = Scene::new();
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu"]).arg(mobilenet()).arg(cat_and_coffee()).arg(cat_and_coffee());
    command.env("TERM", "xterm-256color");
    let mut terminal = piped(&mut command, 80, Some(Stdio::piped()));
    let mut child = command.spawn().expect("the binary starts");
    drop(command);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().expect("a pipe"), &mut text).expect("text");
    child.wait().expect("it ends");
    let mut shown = Vec::new();
    let _ = std::io::Read::read_to_end(&mut terminal, &mut shown); // at the other end's end reading fails
    let shown = String::from_utf8_lossy(&shown);
    assert!(text.contains("gradcam at"), "{text}");
    assert!(!shown.contains("1/2") && !shown.contains('█'), "{shown:?}");
}
