//! In a terminal: the picture is there, in the way that the terminal can show it.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::common::{Scene, cat_and_coffee, mobilenet};

/// How long a run may take at most: far more than it does.
const LIMIT: Duration = Duration::from_secs(60);

/// Questions come within so many bytes, before the first picture: looking through all of those takes minutes.
pub(crate) const QUESTIONS: usize = 1 << 14;

/// How a terminal answers: what it is asked (the beginning, the end), and what it says then.
pub(crate) type Answers = &'static [(&'static str, &'static str, &'static str)];

/// kitty at the other end of an SSH connection: it cannot read this machine's files.
pub(crate) const KITTY: Answers = &[
    ("\x1b_Gi=31,s=1,v=1,a=q,t=d", "\x1b\\", "\x1b_Gi=31;OK\x1b\\"),
    ("\x1b_Gi=31,s=1,v=1,a=q,t=t", "\x1b\\", "\x1b_Gi=31;EBADF:no such file\x1b\\"),
    ("\x1b[c", "", "\x1b[?62;c"),
    ("\x1b[5n", "", "\x1b[0n"),
];

/// foot.
pub(crate) const SIXEL: Answers = &[("\x1b[c", "", "\x1b[?62;4;22c")];

/// xterm as a VT100 with few options.
pub(crate) const PLAIN: Answers = &[("\x1b[c", "", "\x1b[?1;2c")];

/// The answer to the first question in what was printed, and where the question ends.
pub(crate) fn first_answer(printed: &[u8], answers: Answers) -> Option<(usize, &'static str)> {
    let find = |text: &[u8], part: &str| text.windows(part.len().max(1)).position(|bytes| bytes == part.as_bytes());
    let found = answers.iter().filter_map(|(start, end, answer)| {
        let after = find(printed, start)? + start.len();
        let end = if end.is_empty() { after } else { after + find(&printed[after..], end)? + end.len() };
        Some((end, *answer))
    });
    found.min()
}

/// The command on a new pseudo-terminal of 24 lines without a size in pixels; what it writes there is read from the file.
pub(crate) fn begun(mut command: Command, columns: u16) -> (Child, File) {
    let terminal = piped(&mut command, columns, None);
    (command.spawn().expect("the binary starts"), terminal)
}

/// A new pseudo-terminal for the command, whose output goes there unless it goes elsewhere.
pub(crate) fn piped(command: &mut Command, columns: u16, output: Option<Stdio>) -> File {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&master).expect("it is granted");
    unlockpt(&master).expect("it is unlocked");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let slave = OpenOptions::new().read(true).write(true).open(name.to_str().expect("UTF-8")).expect("it opens");
    tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
    let end = |slave: &File| OwnedFd::from(slave.try_clone().expect("another handle"));
    let output = output.unwrap_or_else(|| end(&slave).into());
    command.stdin(end(&slave)).stdout(output).stderr(end(&slave));
    File::from(master)
}

/// Runs `explain` in a terminal; gives what it shows. It has to end by itself within the limit.
fn shown(answers: Answers, term: &str, options: &[&str]) -> String {
    let scene = Scene::new();
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu"]).arg(mobilenet()).arg(cat_and_coffee()).args(options);
    command.env("TERM", term).env("COLORTERM", "truecolor");
    let (mut child, mut reading) = begun(command, 80);

    let (sender, receiver) = mpsc::channel();
    let mut typing = reading.try_clone().expect("another handle");
    thread::spawn(move || {
        let (mut text, mut buffer, mut answered) = (Vec::new(), [0; 1 << 16], 0);
        // At the child's end reading fails (Linux) or gives nothing.
        while let Ok(count @ 1..) = reading.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
            while let Some((end, answer)) = first_answer(&text[answered..text.len().min(QUESTIONS)], answers) {
                typing.write_all(answer.as_bytes()).expect("the answer is typed");
                answered += end;
            }
        }
        let _ = sender.send(text);
    });
    let shown = receiver.recv_timeout(LIMIT);
    if shown.is_err() {
        child.kill().expect("it is ended");
    }
    let status = child.wait().expect("it ends");
    let text = String::from_utf8_lossy(&shown.expect("it ends by itself")).into_owned();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(text.contains("gradcam at features"), "the text is missing: {text}");
    // The answers are typed, as far as the terminal's driver knows: read too late they would be echoed, the escape as `^[`.
    let is_echoed = |answer: &str| text.contains(&answer.replace('\u{1b}', "^["));
    assert!(!answers.iter().any(|(.., answer)| is_echoed(answer)), "an answer appears on the screen: {text}");
    text
}

#[test]
fn a_terminal_that_does_not_answer_gets_half_blocks() {
    let text = shown(&[], "xterm-256color", &[]);
    assert!(text.contains('▄') || text.contains('▀'), "{text}");
    assert!(text.contains("\u{1b}[38;2;") || text.contains("\u{1b}[48;2;"), "no colours");
}

#[test]
fn a_dumb_terminal_is_not_asked() {
    let text = shown(&[], "dumb", &[]);
    assert!(!text.contains("\u{1b}_G") && !text.contains("\u{1b}[c"), "{text:?}");
}

#[test]
fn kitty_gets_its_own_protocol() {
    let text = shown(KITTY, "xterm-kitty", &[]);
    let pictures = text.matches("\u{1b}_G").count();
    assert!(pictures > 1 && !text.contains('▄'), "{pictures} graphics commands");
}

#[test]
fn a_terminal_with_sixel_gets_sixels() {
    let text = shown(SIXEL, "foot", &[]);
    assert!(text.contains("\u{1b}P") && !text.contains('▄'), "{text}");
}

#[test]
fn a_picture_for_each_class() {
    let rows = |text: &str| text.lines().filter(|line| line.contains('▄') || line.contains('▀')).count();
    let one = shown(PLAIN, "xterm-256color", &[]);
    let two = shown(PLAIN, "xterm-256color", &["--class", "1", "--class", "2"]);
    assert!(rows(&one) > 4 && rows(&two) == 2 * rows(&one), "{} and {}", rows(&one), rows(&two));
}
