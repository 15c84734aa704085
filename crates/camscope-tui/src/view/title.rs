//! The line at the top: the model, the image, and how it is looked at.

use std::path::Path;

use camscope_core::overlay::Enlarge;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
    widgets::Widget,
};

use super::{text, theme::Theme};
use crate::{
    action::{Action, View},
    state::{Order, State},
};

/// Draws the line.
pub(super) fn title(state: &State, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mut spans = vec![Span::styled(" camscope ", theme.title.add_modifier(Modifier::REVERSED)), Span::raw(" ")];
    spans.push(Span::styled(line(state, area.width), theme.plain));
    Line::from(spans).render(area, buf);
}

/// What stands behind the program's name.
fn line(state: &State, width: u16) -> String {
    let room = usize::from(width).saturating_sub(12);
    text::fitted(&heading(state, room), room)
}

/// Whether the line has room for these words.
pub(super) fn says(state: &State, words: &str) -> bool {
    line(state, state.size.0).contains(words)
}

/// What a press on a word of the title does: on the program's name all actions, on the model's another one, on the image's another image, on
/// the view, the method and the colours the next.
pub(crate) fn title_action(state: &State, width: u16, x: u16) -> Option<Action> {
    const NAME: u16 = 11;
    let Some(at) = x.checked_sub(NAME) else { return Some(Action::Palette) };
    let room = usize::from(width).saturating_sub(12);
    let (model, image) = (state.model.is_some(), !state.images.is_empty());
    let how = [Action::NextView, Action::Methods, Action::NextColormap].map(Some);
    let mut parts = vec![];
    let mut start = 0;
    let line = heading(state, room);
    for part in line.split(BETWEEN) {
        parts.push((start, part.to_owned()));
        start += text::width(part) + text::width(BETWEEN);
    }
    let last = parts.len().saturating_sub(1);
    let (number, (start, part)) =
        parts.into_iter().enumerate().rev().find(|(_, (start, _))| *start <= usize::from(at))?;
    if usize::from(at) >= start + text::width(&part) {
        return None;
    }
    if model && number == last {
        let mut from = start;
        let words = part.split(" · ").map(|word| {
            let place = from..from + text::width(word);
            from += text::width(word) + 3;
            place
        });
        let word = words.collect::<Vec<_>>().iter().position(|place| place.contains(&usize::from(at)))?;
        return how.get(word).copied().flatten();
    }
    match (number, model, image) {
        (0, true, _) => Some(Action::Open),
        (_, _, true) => Some(Action::SearchImage),
        _ => None,
    }
}

/// The view's name; of all images with how they are sorted, and of how many it is known what that needs.
fn view_name(state: &State) -> String {
    let order = state.sorting.order;
    let (name, count, known) = (state.view.name(), state.images.len(), state.answers());
    match (state.view, order) {
        (View::Photos, Order::Given) => name.to_owned(),
        (View::Photos, _) if order.needs_answers() && known < count => {
            format!("{name} {} ({known} of {count} known)", order.name())
        }
        (View::Photos, _) => format!("{name} {}", order.name()),
        _ => name.to_owned(),
    }
}

/// What stands between the parts of the title.
const BETWEEN: &str = "  ·  ";

/// What stands between two models.
const AGAINST: &str = " | ";

/// The model, the image, and how it is looked at. Where there is no room for all of it, the looks go first, then parts of the names: view
/// and method stay.
fn heading(state: &State, room: usize) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut names: Vec<String> = Vec::new();
    if let Some(model) = &state.model {
        names.push(name(&model.path));
        names.extend(model.against.as_ref().map(|against| name(&against.info.path)));
    }
    let models = names.len();
    names.extend(state.images.get(state.image).map(|entry| name(&entry.path)));
    let [look, how] = looks(state);
    for look in [look.as_str(), ""] {
        let line = joined(state, &names, models, &format!("{how}{look}"));
        if text::width(&line) <= room {
            return line;
        }
    }
    let without = vec![String::new(); names.len()];
    let left = room.saturating_sub(text::width(&joined(state, &without, models, &how)));
    joined(state, &cut(&names, models, left), models, &how)
}

/// Colours and how heat is enlarged, which there may be no room for; view, method and zoom.
fn looks(state: &State) -> [String; 2] {
    let zoom = if state.zoom.factor > 1.0 { format!(" · {:.1}×", state.zoom.factor) } else { String::new() };
    let enlarged = if state.enlarge == Enlarge::default() { String::new() } else { format!(" · {}", state.enlarge) };
    let look = format!(" · {} {:.0} %{enlarged}", state.colormap, 100.0 * (1.0 - state.alpha));
    [look, format!("{} · {}{zoom}", view_name(state), state.method_name())]
}

/// The line of these names, of which the first so many are of models.
fn joined(state: &State, names: &[String], models: usize, how: &str) -> String {
    let count = state.images.len();
    let place = if count > 1 { format!(" ({}/{count})", state.image + 1) } else { String::new() };
    let (models, images) = names.split_at(models);
    let how = (!models.is_empty()).then(|| how.to_owned());
    let models = (!models.is_empty()).then(|| models.join(AGAINST));
    let image = images.first().map(|image| format!("{image}{place}"));
    [models, image, how].into_iter().flatten().collect::<Vec<_>>().join(BETWEEN)
}

/// Names cut to so many cells: what short ones don't need the long ones get. Of two models what tells them apart stays.
fn cut(names: &[String], models: usize, room: usize) -> Vec<String> {
    let stem = |name: &String| name.strip_suffix(".onnx").unwrap_or(name).to_owned();
    let mut names = names.to_vec();
    if models > 1 {
        names[..models].iter_mut().for_each(|name| *name = stem(name));
    }
    let widths: Vec<usize> = names.iter().map(|name| text::width(name)).collect();
    let shares = shares(&widths, room);
    let fitted =
        |by: fn(&str, usize) -> String| names.iter().zip(&shares).map(|(name, share)| by(name, *share)).collect();
    let cut: Vec<String> = fitted(text::fitted);
    let is_same = models > 1 && cut[0] == cut[1] && names[0] != names[1];
    if is_same { fitted(text::fitted_end) } else { cut }
}

/// How many cells each of these widths gets of so many: none more than it needs, and none that is cut less than another.
fn shares(widths: &[usize], room: usize) -> Vec<usize> {
    let fits = |most: usize| widths.iter().map(|width| most.min(*width)).sum::<usize>() <= room;
    let most = (1..=room).take_while(|most| fits(*most)).last().unwrap_or(1);
    widths.iter().map(|width| most.min(*width)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_short_names_leave_the_long_ones_get() {
        assert_eq!(shares(&[4, 20, 20], 30), [4, 13, 13]);
        assert_eq!(shares(&[4, 5], 30), [4, 5]);
        assert_eq!(shares(&[9, 9], 1), [1, 1]);
    }

    #[test]
    fn two_models_are_told_apart_where_their_names_are_cut() {
        let names = ["detector-of-boats-fp32.onnx", "detector-of-boats-int8.onnx", "sea.jpg"].map(String::from);
        assert_eq!(cut(&names, 2, 27), ["…oats-fp32", "…oats-int8", "sea.jpg"]);
        assert_eq!(cut(&names, 2, 47)[..2], ["detector-of-boats-f…", "detector-of-boats-i…"]);
    }
}
