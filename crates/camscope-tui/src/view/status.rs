//! The line at the bottom: messages, what is under the crosshair, hints; and times, provider and protocol.

use ratatui::{
    buffer::Buffer,
    layout::{Alignment, Rect},
    text::{Line, Span},
    widgets::Widget,
};

use super::{text, theme::Theme};
use crate::{
    action::{Action, View},
    compare,
    compose::heat_at,
    state::{Message, State},
};

/// Draws the line; `message` is what is said in it, and not elsewhere.
pub(super) fn status(state: &State, message: Option<&Message>, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let width = usize::from(area.width);
    // What is needed most comes first, and is given room before the facts.
    let hints = hints(state);
    let needed: usize = hints.iter().take(NEEDED).map(|hint| text::width(hint) + 2).sum();
    let right = facts(state, (width / 2).min(width.saturating_sub(needed + 2)));
    let room = width.saturating_sub(text::width(&right) + 2);
    let is_narrow = width < NARROW;
    let is_news = message.is_some() || is_narrow && !state.notes.is_empty();
    let (left, style) = match (message, &state.opening) {
        (Some(message), _) => (message.text.clone(), if message.is_error { theme.error } else { theme.plain }),
        (None, Some(path)) => (format!("opening {} …", path.display()), theme.faint),
        (None, None) if state.working.is_some() => {
            (format!("{} …", state.working.clone().unwrap_or_default()), theme.plain)
        }
        (None, None) => match blank(state).or_else(|| readout(state)).or_else(|| state.notes.front().cloned()) {
            Some(line) => (line, theme.plain),
            None => (fitting(&hints, "  ", room), theme.faint),
        },
    };
    // What is said needs the room more than the facts do; hints can wait.
    let (left, right) = if is_news && text::width(&left) > room {
        (text::fitted(&left, width.saturating_sub(2)), String::new())
    } else {
        (text::fitted(&left, room), right)
    };
    Line::from(vec![Span::raw(" "), Span::styled(left, style)]).render(area, buf);
    Line::styled(right, theme.faint).alignment(Alignment::Right).render(area, buf);
}

/// On lines of fewer cells notes come before the facts.
const NARROW: usize = 100;

/// How many hints stay on the narrowest line.
const NEEDED: usize = 4;

/// What is waited for, times, provider and protocol, as many as there is room for: the first and the last ones stay.
fn facts(state: &State, room: usize) -> String {
    let waited = (state.queue > 0).then(|| format!("{} to do", state.queue));
    let times = [("forward", state.times.scores), ("heat", state.times.heat)];
    let times = times.iter().filter_map(|(what, time)| time.map(|time| format!("{what} {time:.0} ms")));
    let provider = state.model.as_ref().map(|model| model.provider.clone());
    let words: Vec<String> = times.chain(provider).chain([state.screen.protocol.name().to_owned()]).collect();
    let joined =
        |from: usize| waited.iter().chain(&words[from..]).map(String::as_str).collect::<Vec<_>>().join(" · ") + " ";
    let fits = |from: &usize| text::width(&joined(*from)) <= room;
    (0..words.len()).find(fits).map_or_else(String::new, joined)
}

/// As many words from the first on as there is room for.
fn fitting(words: &[String], between: &str, room: usize) -> String {
    let mut line = String::new();
    for word in words {
        let with = if line.is_empty() { word.clone() } else { format!("{line}{between}{word}") };
        if text::width(&with) > room {
            break;
        }
        line = with;
    }
    line
}

/// Why nothing is coloured, where a heatmap is zero everywhere.
pub(crate) fn blank(state: &State) -> Option<String> {
    let key = state.current_key().filter(|_| state.view != View::Photo)?;
    let is_blank = state.heats.get(&key)?.iter().all(|&heat| heat == 0.0);
    is_blank.then(|| {
        let name = state.target_name(key.target);
        format!("no heat: nothing at this layer speaks for {name}; `camscope explain --sign negative` shows what speaks against it")
    })
}

/// Heat and coordinates at the crosshair, else at the mouse.
pub(crate) fn readout(state: &State) -> Option<String> {
    let point = state.crosshair.or(state.pointer)?;
    let photo = state.photo()?;
    let (width, height) = photo.pixels.dimensions();
    let at = |fraction: f32, size: u32| ((fraction * size as f32) as u32).min(size.saturating_sub(1));
    let (x, y) = (at(point.0, width), at(point.1, height));
    let heat = state.current_key().and_then(|key| state.heats.get(&key));
    let heat = heat.map(|heat| heat_at(photo, heat, state.enlarge, point));
    if let (Some(Some(heat)), Some(other)) = (heat, other_heat(state, point)) {
        return Some(format!("x {x}  y {y}  heat {heat:.2} | {other:.2}"));
    }
    Some(match heat {
        Some(Some(heat)) => format!("x {x}  y {y}  heat {heat:.2}"),
        Some(None) => format!("x {x}  y {y}  not seen by the network"),
        None => format!("x {x}  y {y}"),
    })
}

/// The heat of what is compared with at a point of the photo; each is the share of its own maximum.
fn other_heat(state: &State, point: (f32, f32)) -> Option<f32> {
    let key = state.current_key().filter(|_| compare::is_shown(state))?;
    let other = compare::other_of(state, key).ok()??;
    // A point of one photo is none of another.
    let photo = state.photo_by(other.photo).filter(|photo| compare::is_current(state, photo.id))?;
    heat_at(photo, state.heats.get(&other)?, state.enlarge, point)
}

/// What the keys do, the most needed first.
fn hints(state: &State) -> Vec<String> {
    let key = |action: &Action| first_key(state, *action);
    HINTS.iter().map(|(actions, what)| format!("{} {what}", actions.iter().map(key).collect::<String>())).collect()
}

/// Actions, and what they are about in a word.
const HINTS: [(&[Action], &str); 7] = [
    (&[Action::PreviousClass, Action::NextClass], "class"),
    (&[Action::PreviousLayer, Action::NextLayer], "layer"),
    (&[Action::Help], "help"),
    (&[Action::Quit], "quit"),
    (&[Action::NextView], "view"),
    (&[Action::Methods], "method"),
    (&[Action::SearchClass], "search"),
];

fn first_key(state: &State, action: Action) -> String {
    state.keymap.keys(action).next().map(|key| key.to_string()).unwrap_or_default()
}

/// The action of the hint at a column of the line, where hints are shown: of two, the first stands for its key, the second for the rest.
pub(crate) fn hint_at(state: &State, area: Rect, column: u16) -> Option<Action> {
    let is_other = super::is_in_line(state) || state.opening.is_some() || state.working.is_some();
    if is_other || blank(state).is_some() || readout(state).is_some() || !state.notes.is_empty() {
        return None;
    }
    let room = usize::from(area.width);
    let mut from = usize::from(area.x) + 1;
    let at = usize::from(column);
    for (text, (actions, _)) in hints(state).iter().zip(HINTS) {
        let end = from + text::width(text);
        if (from..end).contains(&at) && end <= room {
            let first = text::width(&first_key(state, *actions.first()?));
            return if at < from + first { actions.first() } else { actions.last() }.copied();
        }
        from = end + 2;
    }
    None
}
