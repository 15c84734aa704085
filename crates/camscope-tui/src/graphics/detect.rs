//! Finds out what the terminal can do: from its answers, the environment, and what the user says.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::answer::{self, Answer, is_plausible};
use super::ask::{self, Tmux};
use super::{GraphicsChoice, Protocol, Screen, USUAL_CELL, escape};

/// How long all questions together may take: enough for a line around the world. A terminal that answers ends the wait.
const LIMIT: Duration = Duration::from_millis(500);

/// The most pixels of a picture over SSH: 560 × 450, some 400 kB by kitty's protocol if it is a photo.
const REMOTE_PIXELS: u32 = 250_000;

/// What the user says instead of the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The protocol (`--graphics`).
    pub graphics: Option<GraphicsChoice>,
    /// Width and height of a cell in pixels (`--font-size`).
    pub font_size: Option<(u16, u16)>,
}

/// Finds out what the terminal on standard output can do, in at most 500 ms. The terminal is asked in raw mode, so nothing else
/// may read standard input at the time. `env` gives environment variables.
pub fn detect(overrides: &Overrides, env: &dyn Fn(&str) -> Option<String>) -> Screen {
    let deadline = Instant::now() + LIMIT;
    let term = env("TERM").unwrap_or_default();
    // These would show the question.
    let is_dumb = term.is_empty() || term == "dumb" || term == "linux";
    let can_ask = !is_dumb && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let tmux = env("TMUX").is_some_and(|socket| !socket.is_empty()).then(|| ask::tmux(env("TMUX_PANE"), LIMIT / 2));
    let answer = if can_ask { question(tmux.as_ref(), deadline) } else { Answer::default() };
    choose(&Situation { answer, tmux, window: window(), overrides, env })
}

/// The size of a cell in pixels as the terminal's driver knows it.
pub fn cell_of_window() -> Option<(u16, u16)> {
    window().and_then(|window| cell_of(window.pixels, window.cells))
}

/// Asks the terminal; through tmux what tmux doesn't answer itself.
fn question(tmux: Option<&Tmux>, deadline: Instant) -> Answer {
    let is_through = tmux.is_some_and(|tmux| tmux.passthrough);
    let mut question = Vec::new();
    // tmux takes kitty's part for the title of the pane.
    match tmux {
        None => question.extend_from_slice(ask::KITTY_QUESTION),
        Some(_) if is_through => question.extend(escape::through_tmux(ask::KITTY_QUESTION)),
        Some(_) => {}
    }
    question.extend_from_slice(ask::QUESTION);
    // tmux gives the device attributes at once, before its terminal has answered.
    let may_follow = is_through && tmux.is_some_and(|tmux| has_placeholders(&tmux.terminal) != Some(false));
    let is_complete = |bytes: &[u8]| {
        let answer = answer::parse(bytes);
        answer.is_complete && (answer.kitty || !may_follow)
    };
    let left = deadline.saturating_duration_since(Instant::now());
    answer::parse(&ask::terminal(&question, left, is_complete))
}

/// The window by its driver: cells and pixels, 0 where unknown.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    cells: (u16, u16),
    pixels: (u16, u16),
}

fn window() -> Option<Window> {
    let size = crossterm::terminal::window_size().ok()?;
    Some(Window { cells: (size.columns, size.rows), pixels: (size.width, size.height) })
}

fn cell_of(pixels: (u16, u16), cells: (u16, u16)) -> Option<(u16, u16)> {
    let cell = (pixels.0.checked_div(cells.0)?, pixels.1.checked_div(cells.1)?);
    Some(cell).filter(|&cell| is_plausible(cell))
}

/// All that a choice depends on.
struct Situation<'a> {
    answer: Answer,
    /// Set inside of tmux.
    tmux: Option<Tmux>,
    window: Option<Window>,
    overrides: &'a Overrides,
    env: &'a dyn Fn(&str) -> Option<String>,
}

fn choose(situation: &Situation) -> Screen {
    let Situation { answer, tmux, window, overrides, env } = situation;
    let mut notes = Vec::new();
    let automatic = automatic(situation, &mut notes);
    let is_through = tmux.as_ref().is_some_and(|tmux| tmux.passthrough);
    let protocol = match overrides.graphics.unwrap_or_default() {
        GraphicsChoice::Auto => automatic,
        GraphicsChoice::Kitty if tmux.is_some() => Protocol::KittyPlaceholders,
        GraphicsChoice::Kitty => Protocol::Kitty,
        GraphicsChoice::Sixel => Protocol::Sixel,
        GraphicsChoice::Iterm2 => Protocol::Iterm2,
        GraphicsChoice::HalfBlocks => Protocol::HalfBlocks,
        GraphicsChoice::None => Protocol::None,
    };
    let is_wrapped = tmux.is_some() && matches!(protocol, Protocol::KittyPlaceholders | Protocol::Iterm2);
    if overrides.graphics.is_some_and(|choice| choice != GraphicsChoice::Auto) {
        notes.clear();
        if is_wrapped && !is_through {
            notes.push(TMUX_HIDES.to_owned());
        }
    }
    let measured = (overrides.font_size)
        .or(answer.cell)
        .or_else(|| window.and_then(|window| cell_of(window.pixels, window.cells)))
        .or_else(|| cell_of(answer.window?, (*window)?.cells));
    let is_graphic = !matches!(protocol, Protocol::HalfBlocks | Protocol::None);
    if measured.is_none() && is_graphic {
        notes.push("the terminal doesn't tell its font's size: if pictures don't fit, try --font-size WxH".to_owned());
    }
    Screen {
        protocol,
        cell: measured.unwrap_or(USUAL_CELL),
        cell_known: measured.is_some(),
        truecolor: has_truecolor(answer, *env),
        background: answer.background,
        tmux: is_wrapped,
        in_tmux: tmux.is_some(),
        sixel_limit: answer.sixel_limit,
        pixel_budget: env("SSH_CONNECTION").map(|_| REMOTE_PIXELS),
        notes,
    }
}

/// The note where tmux could show pictures, but isn't allowed to.
const TMUX_HIDES: &str =
    "`tmux set -g allow-passthrough on` shows pictures in full: tmux hides the terminal's graphics";

/// The best protocol that the terminal has.
fn automatic(situation: &Situation, notes: &mut Vec<String>) -> Protocol {
    let Situation { answer, tmux, env, .. } = situation;
    if tmux.is_none() && is_gnu_screen(*env) {
        return without_graphics(*env, notes);
    }
    if let Some(tmux) = tmux {
        let is_able = has_placeholders(&tmux.terminal);
        // A slow line may have kept the answer.
        if tmux.passthrough && (is_able == Some(true) || answer.kitty && is_able.is_none()) {
            return Protocol::KittyPlaceholders;
        }
        if tmux.passthrough
            && (has_inline_files(&tmux.terminal) || env("LC_TERMINAL").is_some_and(|name| name == "iTerm2"))
        {
            return Protocol::Iterm2;
        }
        // Nothing is hidden where tmux shows all that its terminal has.
        let is_hiding = is_able.unwrap_or(!answer.sixel) || has_inline_files(&tmux.terminal) && !answer.sixel;
        if !tmux.passthrough && is_hiding {
            notes.push(TMUX_HIDES.to_owned());
        }
    } else if answer.kitty {
        return Protocol::Kitty;
    } else {
        let names = [answer.name.clone(), env("TERM_PROGRAM"), env("LC_TERMINAL")];
        if names.into_iter().flatten().any(|name| has_inline_files(&name)) {
            return Protocol::Iterm2;
        }
    }
    if answer.sixel { Protocol::Sixel } else { without_graphics(*env, notes) }
}

/// Whether GNU screen is what shows the program. tmux calls itself `screen` too where it has no entry of its own.
fn is_gnu_screen(env: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
    !is_set("TMUX") && (is_set("STY") || env("TERM").is_some_and(|term| term.starts_with("screen")))
}

/// Half-blocks are made of colours: not with `NO_COLOR`, unless asked for.
fn without_graphics(env: &dyn Fn(&str) -> Option<String>, notes: &mut Vec<String>) -> Protocol {
    if env("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        notes.push("NO_COLOR is set, so there are no pictures; --graphics halfblocks draws them anyway".to_owned());
        return Protocol::None;
    }
    Protocol::HalfBlocks
}

/// Whether a terminal with this name has iTerm2's protocol.
fn has_inline_files(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["iterm", "wezterm", "mintty", "vscode", "tabby", "hyper", "rio", "warp"]
        .iter()
        .any(|known| name.starts_with(known))
}

/// Whether a terminal has kitty's placeholders, as far as its name says.
fn has_placeholders(terminal: &str) -> Option<bool> {
    let terminal = terminal.to_ascii_lowercase();
    if let Some(version) = terminal.strip_prefix("kitty(") {
        // From 0.28 on.
        let mut numbers = version.split(['.', ')']).map_while(|number| number.parse::<u32>().ok());
        return Some((numbers.next()?, numbers.next()?) >= (0, 28));
    }
    if terminal.contains("ghostty") || terminal.contains("xterm-kitty") {
        return Some(true);
    }
    let without = ["wezterm", "konsole", "iterm", "xterm(", "foot", "vte(", "mintty", "alacritty"];
    without.iter().any(|known| terminal.starts_with(known)).then_some(false)
}

/// Whether this is an xterm that takes any colour, by its answer (`XTerm(379)`): it takes `COLORTERM` out of the environment.
fn is_xterm(name: &str) -> bool {
    let version = name.strip_prefix("XTerm(").and_then(|rest| rest.split(')').next()?.parse::<u32>().ok());
    version.is_some_and(|version| version >= 331)
}

/// Whether any colour can be shown.
fn has_truecolor(answer: &Answer, env: &dyn Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, values: &[&str]| env(name).is_some_and(|value| values.contains(&value.as_str()));
    let term = env("TERM").unwrap_or_default();
    if is_gnu_screen(env) {
        // It hands on its terminal's COLORTERM, but takes red, green and blue for attributes such as blinking.
        return false;
    }
    is("COLORTERM", &["truecolor", "24bit"])
        || is("TERM", &["xterm-kitty", "xterm-ghostty", "alacritty", "wezterm", "foot", "foot-extra", "contour"])
        || term.ends_with("-direct")
        || answer.kitty
        || (env("TMUX").is_none()
            && answer.name.as_deref().is_some_and(|name| has_inline_files(name) || is_xterm(name)))
        || env("WT_SESSION").is_some()
}

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;
