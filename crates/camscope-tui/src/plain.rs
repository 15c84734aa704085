//! The explorer in plain lines, for screen readers and for terminals that can draw nothing: what is shown is said, and what is to be done is
//! typed as words.

use std::io::{self, BufRead, Write};

use camscope_core::text::printable;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::{
    action::{ACTIONS, Action},
    app::{Ending, Explorer},
    engine::Opener,
    graphics::{Protocol, Screen},
    keymap::Key,
    message::Message,
    prompt::Purpose,
    start::Start,
    state::{Form, Mode, SIMILAR, State},
    terminal::Session,
};

mod said;

pub use said::describe;

/// Words that take the rest of the line, and what asks for it.
const WITH_TEXT: [(&str, Action); 12] = [
    ("class", Action::SearchClass),
    ("layers", Action::FilterLayers),
    ("method", Action::Methods),
    ("photo", Action::SearchImage),
    ("target", Action::Target),
    ("like", Action::Similar),
    ("inputs", Action::Inputs),
    ("open", Action::Open),
    ("save", Action::Save),
    ("export", Action::Export),
    ("report", Action::Report),
    ("do", Action::Palette),
];

/// Runs the explorer on lines that are read, until there are none; says everything in lines that are written.
///
/// # Errors
/// Reading or writing fails.
pub fn run(start: Start, opener: Opener, input: impl BufRead, out: &mut impl Write) -> io::Result<Ending> {
    let screen = Screen::new(Protocol::None);
    let size = (100, 40);
    let session = Session::over(io::sink(), &screen, size)?;
    let mut explorer = Explorer::new(session, screen, size, start, opener);
    rest(&mut explorer)?;
    ask_or_tell(&mut explorer, out)?;
    write!(out, "> ")?;
    out.flush()?;
    for line in input.lines() {
        obey(&mut explorer, line?.trim(), out)?;
        if explorer.state().quitting {
            break;
        }
        write!(out, "> ")?;
        out.flush()?;
    }
    explorer.leave();
    writeln!(out)?;
    Ok(Ending::Quit)
}

/// Waits until what is shown is there.
fn rest<W: Write>(explorer: &mut Explorer<W>) -> io::Result<()> {
    const TICK: std::time::Duration = std::time::Duration::from_millis(20);
    loop {
        // Asked first: what ends while it waits for news, and is told of just then, would be left for later.
        let was_ready = explorer.is_ready();
        let news = explorer.take_up(None, Some(TICK))?;
        if was_ready && !news && explorer.is_ready() {
            return Ok(());
        }
    }
}

/// Does what a line says, and says what comes of it.
fn obey<W: Write>(explorer: &mut Explorer<W>, line: &str, out: &mut impl Write) -> io::Result<()> {
    if matches!(explorer.state().mode, Mode::Form(_)) {
        return fill(explorer, line, out);
    }
    // A line that was asked for.
    if matches!(explorer.state().mode, Mode::Prompt(_)) {
        if !line.is_empty() {
            replace(explorer, line)?;
        }
        return accept(explorer, out);
    }
    let (word, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    if line.is_empty() {
        return tell(explorer.state(), out);
    }
    if matches!(word, "help" | "?") {
        return help(out);
    }
    if let Some((_, action)) = WITH_TEXT.iter().find(|(known, _)| *known == word) {
        explorer.tell(Message::Act(*action))?;
        rest(explorer)?;
        if !text.trim().is_empty() && matches!(explorer.state().mode, Mode::Form(_)) {
            return fill(explorer, text.trim(), out);
        }
        if !text.trim().is_empty() && matches!(explorer.state().mode, Mode::Prompt(_)) {
            let begun = if *action == Action::Similar { SIMILAR } else { "" };
            replace(explorer, &format!("{begun}{}", text.trim()))?;
            return accept(explorer, out);
        }
        return ask_or_tell(explorer, out);
    }
    let name = line.split_whitespace().collect::<Vec<_>>().join("-");
    let key = || explorer.state().keymap.action(line.parse::<Key>().ok()?);
    match name.parse::<Action>().ok().or_else(key) {
        Some(action) => {
            explorer.tell(Message::Act(action))?;
            rest(explorer)?;
            ask_or_tell(explorer, out)
        }
        None => {
            let near = camscope_core::nearest::nearest(&name, ACTIONS.iter().map(|(known, ..)| *known));
            let hint = if near.is_empty() { String::new() } else { format!("; the nearest: {}", near.join(", ")) };
            writeln!(out, "there is no command `{}`{}: help lists them", printable(line), printable(&hint))
        }
    }
}

/// A line for the form: `NAME=VALUE` fills an input; where none lacks a value any more, or the line is empty, the model is opened.
fn fill<W: Write>(explorer: &mut Explorer<W>, line: &str, out: &mut impl Write) -> io::Result<()> {
    let press = |explorer: &mut Explorer<W>, code| explorer.tell(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    let Mode::Form(form) = &explorer.state().mode else { return Ok(()) };
    let row = |name: &str| form.rows.iter().position(|row| row.name == name.trim() && !row.is_photo);
    let found = line.split_once('=').and_then(|(name, value)| Some((row(name)?, value.trim().to_owned())));
    match found {
        Some((row, value)) => {
            let at =
                |explorer: &Explorer<W>| if let Mode::Form(form) = &explorer.state().mode { form.row } else { row };
            while at(explorer) != row {
                press(explorer, KeyCode::Down)?;
            }
            replace(explorer, &value)?;
            if let Mode::Form(form) = &explorer.state().mode
                && form.next_empty().is_some()
            {
                return ask_or_tell(explorer, out);
            }
            accept(explorer, out)
        }
        None if line.is_empty() => accept(explorer, out),
        None if line == "esc" => {
            press(explorer, KeyCode::Esc)?;
            ask_or_tell(explorer, out)
        }
        None => {
            writeln!(out, "`{}` names no input of the model that takes a value", printable(line))?;
            ask_or_tell(explorer, out)
        }
    }
}

/// What the form asks for.
fn ask_for_inputs(form: &Form, out: &mut impl Write) -> io::Result<()> {
    for (row, typed) in form.rows.iter().zip(&form.lines) {
        let value = match (row.is_photo, typed.text.is_empty()) {
            (true, _) => "the photo",
            (false, true) if row.usual.is_empty() => "no value yet",
            (false, true) => &row.usual,
            (false, false) => &typed.text,
        };
        writeln!(out, "input {} {} {}: {}", printable(&row.name), row.elem, row.shape, printable(value))?;
        if let Some(error) = &row.error {
            writeln!(out, "  {}", printable(error))?;
        }
    }
    writeln!(out, "NAME=VALUE (zeros, ones, a number, 1,2,3, FILE.npy, a photo), an empty line to open, esc to leave:")
}

/// Types a line in the place of the one that is there.
fn replace<W: Write>(explorer: &mut Explorer<W>, line: &str) -> io::Result<()> {
    for code in [KeyCode::End, KeyCode::Char('u')] {
        let held = if code == KeyCode::End { KeyModifiers::NONE } else { KeyModifiers::CONTROL };
        explorer.tell(Message::Key(KeyEvent::new(code, held)))?;
    }
    explorer.tell(Message::Paste(line.to_owned()))?;
    rest(explorer)
}

fn accept<W: Write>(explorer: &mut Explorer<W>, out: &mut impl Write) -> io::Result<()> {
    explorer.tell(Message::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE)))?;
    rest(explorer)?;
    ask_or_tell(explorer, out)
}

/// Asks for the line that is wanted now, else says what is shown.
fn ask_or_tell<W: Write>(explorer: &mut Explorer<W>, out: &mut impl Write) -> io::Result<()> {
    if matches!(explorer.state().mode, Mode::Help(_)) {
        explorer.tell(Message::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)))?;
        return help(out);
    }
    let state = explorer.state();
    if let Mode::Form(form) = &state.mode {
        if let Some(message) = &state.message {
            writeln!(out, "{}", printable(&message.text))?;
        }
        return ask_for_inputs(form, out);
    }
    let Mode::Prompt(prompt) = &state.mode else { return tell(state, out) };
    if let Some(message) = &state.message {
        writeln!(out, "{}", printable(&message.text))?;
    }
    const SHOWN: usize = 10;
    if !matches!(prompt.purpose, Purpose::Open | Purpose::Save | Purpose::Export | Purpose::Report) {
        for item in prompt.items.iter().take(SHOWN) {
            writeln!(out, "{}", printable(&item.text))?;
        }
    }
    writeln!(out, "{} [{}]:", prompt.title(), printable(&prompt.text))
}

fn tell(state: &State, out: &mut impl Write) -> io::Result<()> {
    describe(state).iter().try_for_each(|line| writeln!(out, "{}", printable(line)))
}

fn help(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "An empty line says again what is shown. With a text behind it, or asking for one:")?;
    let words: Vec<&str> = WITH_TEXT.iter().map(|(word, _)| *word).collect();
    writeln!(out, "{}", words.join(", "))?;
    writeln!(out, "Others, also by their keys:")?;
    for (name, _, description) in ACTIONS {
        writeln!(out, "{}: {description}", name.replace('-', " "))?;
    }
    Ok(())
}
