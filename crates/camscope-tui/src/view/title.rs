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
    let program = program(area.width);
    let mut spans = vec![Span::styled(program, theme.title.add_modifier(Modifier::REVERSED)), Span::raw(" ")];
    spans.push(Span::styled(line(state, area.width), theme.plain));
    Line::from(spans).render(area, buf);
}

/// The program's name, which opens the list of all actions; on a narrow line a sign that stands for one.
fn program(width: u16) -> &'static str {
    if width < NARROW { " ≡ " } else { " camscope " }
}

/// A line of fewer cells needs those of the program's name.
const NARROW: u16 = 60;

/// Cells of a line behind the program's name.
fn room(width: u16) -> usize {
    usize::from(width).saturating_sub(text::width(program(width)) + 2)
}

/// What stands behind the program's name.
fn line(state: &State, width: u16) -> String {
    text::fitted(&joined(&heading(state, room(width))), room(width))
}

/// Whether the line has room for these words.
pub(super) fn says(state: &State, words: &str) -> bool {
    line(state, state.size.0).contains(words)
}

/// What a press on a word of the title does: on the program's name all actions, on the model's another one, on the image's another image, on
/// the view, the method, the zoom and the colours what changes them.
pub(crate) fn title_action(state: &State, width: u16, x: u16) -> Option<Action> {
    let start = text::width(program(width)) + 1;
    let Some(at) = usize::from(x).checked_sub(start) else { return Some(Action::Palette) };
    let mut from = 0;
    for (words, between) in heading(state, room(width)).iter().map(|part| (part, BETWEEN)) {
        for Word { text, action } in words {
            if (from..from + text::width(text)).contains(&at) {
                return Some(*action);
            }
            from += text::width(text) + text::width(BETWEEN_WORDS);
        }
        from = from + text::width(between) - text::width(BETWEEN_WORDS);
    }
    None
}

/// A word of the title, and what a press on it does.
struct Word {
    text: String,
    action: Action,
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

/// What stands between the parts of the title, and between the words of one.
const BETWEEN: &str = "  ·  ";
const BETWEEN_WORDS: &str = " · ";

/// What stands between two models.
const AGAINST: &str = " | ";

/// The fewest cells that a name is told from others by. Before one has fewer, something else goes.
const TELLING: usize = 10;

/// The model, the image, and how it is looked at. Where there is no room for all of it, the looks go first, then the ends of the names; then,
/// before parts of the names that tell one from another, the method, which the picture's caption has, and the view.
fn heading(state: &State, room: usize) -> Vec<Vec<Word>> {
    let names = Names::of(state);
    let stems = Names { all: names.all.iter().map(|name| stem(name).to_owned()).collect(), ..names };
    let [all, without_looks, view] = [usize::MAX, words(state).len() - looks(state).len(), 1];
    let whole = |names: &Names, count: usize| {
        let parts = names.with(&names.all, state, count);
        (text::width(&joined(&parts)) <= room).then_some(parts)
    };
    let cut = |count: usize, least: usize| {
        let without = vec![String::new(); stems.all.len()];
        let left = room.saturating_sub(text::width(&joined(&stems.with(&without, state, count))));
        let cut = cut(&stems.all, stems.models, left);
        let is_telling = |(cut, name): (&String, &String)| cut == name || text::width(cut) >= least;
        cut.iter().zip(&stems.all).all(is_telling).then(|| stems.with(&cut, state, count))
    };
    (whole(&names, all).or_else(|| whole(&names, without_looks)).or_else(|| whole(&stems, without_looks)))
        .or_else(|| cut(without_looks, TELLING))
        .or_else(|| cut(view, TELLING))
        .or_else(|| cut(0, 0))
        .unwrap_or_default()
}

/// A file's name without its ending.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map_or(name, |(stem, _)| stem)
}

/// Names of files: of the models, so many, and of the image.
struct Names {
    all: Vec<String>,
    models: usize,
}

impl Names {
    fn of(state: &State) -> Self {
        let name = |path: &Path| text::printable(&path.file_name().unwrap_or_default().to_string_lossy()).into_owned();
        let mut all: Vec<String> = Vec::new();
        if let Some(model) = &state.model {
            all.push(name(&model.path));
            all.extend(model.against.as_ref().map(|against| name(&against.info.path)));
        }
        let models = all.len();
        all.extend(state.images.get(state.image).map(|entry| name(&entry.path)));
        Self { all, models }
    }

    /// The parts of the title with these names in their places, and so many words of how it is looked at.
    fn with(&self, names: &[String], state: &State, count: usize) -> Vec<Vec<Word>> {
        let images = state.images.len();
        let place = if images > 1 { format!(" ({}/{images})", state.image + 1) } else { String::new() };
        let (models, image) = names.split_at(self.models);
        let mut parts = Vec::new();
        if !models.is_empty() {
            parts.push(vec![Word { text: models.join(AGAINST), action: Action::Open }]);
        }
        let image = image.first().map(|image| Word { text: format!("{image}{place}"), action: Action::SearchImage });
        parts.extend(image.map(|image| vec![image]));
        if !models.is_empty() && count > 0 {
            parts.push(words(state).into_iter().take(count).collect());
        }
        parts
    }
}

/// How it is looked at, the most needed first: the view, the method, how far it is zoomed, and the looks.
fn words(state: &State) -> Vec<Word> {
    let word = |text: String, action: Action| Word { text, action };
    let mut words =
        vec![word(view_name(state), Action::NextView), word(state.method_name().to_owned(), Action::Methods)];
    if state.zoom.factor > 1.0 {
        words.push(word(format!("{:.1}×", state.zoom.factor), Action::ZoomReset));
    }
    words.extend(looks(state));
    words
}

/// The colours, and how heat is enlarged where that is not as usual.
fn looks(state: &State) -> Vec<Word> {
    let colors = format!("{} {:.0} %", state.colormap, 100.0 * (1.0 - state.alpha));
    let mut looks = vec![Word { text: colors, action: Action::NextColormap }];
    if state.enlarge != Enlarge::default() {
        looks.push(Word { text: state.enlarge.to_string(), action: Action::NextEnlarge });
    }
    looks
}

/// The line that parts and their words make.
fn joined(parts: &[Vec<Word>]) -> String {
    let part = |words: &Vec<Word>| words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(BETWEEN_WORDS);
    parts.iter().map(part).collect::<Vec<_>>().join(BETWEEN)
}

/// Names cut to so many cells, in their middle: what short ones don't need the long ones get. Of two models what tells them apart stays.
fn cut(names: &[String], models: usize, room: usize) -> Vec<String> {
    let widths: Vec<usize> = names.iter().map(|name| text::width(name)).collect();
    let shares = shares(&widths, room);
    let fitted =
        |by: fn(&str, usize) -> String| names.iter().zip(&shares).map(|(name, share)| by(name, *share)).collect();
    let cut: Vec<String> = fitted(text::fitted_middle);
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
        let names = ["detector-of-boats-fp32", "detector-of-boats-int8", "sea"].map(String::from);
        assert_eq!(cut(&names, 2, 27), ["detecto…fp32", "detecto…int8", "sea"]);
        let names = ["a-detector-1-of-all-boats", "a-detector-2-of-all-boats"].map(String::from);
        assert_eq!(cut(&names, 2, 38), ["…tor-1-of-all-boats", "…tor-2-of-all-boats"]);
    }

    #[test]
    fn a_name_is_without_its_ending_where_there_is_no_room() {
        assert_eq!(["a.b.onnx", "b", ".jpg", "x."].map(stem), ["a.b", "b", ".jpg", "x"]);
    }
}
