//! The help: first the keys that matter in the view that is shown, then all; text that is typed searches them.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::{Clear, Widget},
};

use super::{text, theme::Theme};
use crate::{
    action::{ACTIONS, Action, View},
    state::{Help, State},
};

/// Keys that belong together, and what they do in a few words.
type Entry = (&'static [Action], &'static str);

const TARGET: Entry = (&[Action::PreviousClass, Action::NextClass], "another class, box, segment or character");
const SEARCH: Entry = (&[Action::SearchClass], "a class by its label");
const PIN: Entry = (&[Action::Pin], "keep the class here, to compare");
const LAYER: Entry = (&[Action::PreviousLayer, Action::NextLayer], "another layer");
const LAYERS: Entry = (&[Action::PreviousLayers, Action::NextLayers], "ten layers on or back");
const FOLD: Entry = (&[Action::Fold, Action::FoldAll], "open or fold a group of layers, or all");
const FILTER: Entry = (&[Action::FilterLayers], "only some layers");
const AUTO: Entry = (&[Action::AutoLayer], "the layer that auto takes");
const METHODS: Entry = (&[Action::Methods], "another method");
const VIEW: Entry = (&[Action::PreviousView, Action::NextView], "another view");
const IMAGE: Entry = (&[Action::PreviousImage, Action::NextImage], "another photo");
const BY_NAME: Entry = (&[Action::SearchImage], "a photo by its name");
const ORDER: Entry = (&[Action::Order], "sort them by name, time, score or prediction");
const OPEN: Entry = (&[Action::Open], "open a photo or a model");
const POINT: Entry = (&[Action::Crosshair], "the heat at a point");
const HEAT: Entry = (&[Action::MorePhoto, Action::MoreHeat], "less heat, more heat");
const ZOOM: Entry = (&[Action::ZoomOut, Action::ZoomIn], "further away, closer");
const BOXES: Entry = (&[Action::Boxes], "boxes that the model found");
const SAVE: Entry = (&[Action::Save], "save what is shown, with captions");
const COPY: Entry = (&[Action::CopyCommand], "copy the command that draws the same");
const OVERLAY: Entry = (&[Action::View(View::Overlay)], "the chosen one alone, large");
const SWEEP: Entry = (&[Action::View(View::Sweep)], "all layers");
const CLASSES: Entry = (&[Action::View(View::Classes)], "the top classes beside each other");
const CONTRAST: Entry = (&[Action::View(View::Contrast)], "this class against another");

const COMPARE: Entry = (&[Action::View(View::Compare)], "both side by side, and the difference");
const DIFFERENCE: Entry = (&[Action::View(View::Difference)], "the difference alone, large");
const WITH: Entry = (&[Action::CompareWith], "a method to compare with, or the second model");
const MARK: Entry = (&[Action::Mark], "mark a photo, to compare others with it");
const SCALE: Entry = (&[Action::Scale], "one scale for both, or each its own");
const DRIFT: Entry = (&[Action::Drift], "how far two models are apart, by layer");

const RANK: Entry = (&[Action::Rank, Action::TakeBest], "find the best method and layer, take it");

/// What is needed most in a view, the most needed first.
fn needed(view: View) -> [Entry; 10] {
    match view {
        View::Overlay | View::Heatmap => [TARGET, LAYER, METHODS, VIEW, IMAGE, SEARCH, POINT, RANK, SAVE, COPY],
        View::SideBySide => [TARGET, LAYER, METHODS, HEAT, ZOOM, VIEW, IMAGE, POINT, SAVE, COPY],
        View::Photo => [IMAGE, OPEN, OVERLAY, SWEEP, CLASSES, CONTRAST, ZOOM, BOXES, SAVE, COPY],
        View::Sweep => [LAYER, LAYERS, FOLD, FILTER, AUTO, TARGET, METHODS, OVERLAY, SAVE, COPY],
        View::Classes => [TARGET, PIN, SEARCH, LAYER, METHODS, CONTRAST, OVERLAY, IMAGE, SAVE, COPY],
        View::Photos => [IMAGE, BY_NAME, ORDER, TARGET, SEARCH, LAYER, METHODS, OVERLAY, SAVE, COPY],
        View::Compare => [TARGET, LAYER, METHODS, WITH, MARK, DIFFERENCE, SCALE, DRIFT, IMAGE, SAVE],
        View::Difference => [TARGET, LAYER, METHODS, WITH, COMPARE, SCALE, DRIFT, IMAGE, SAVE, COPY],
        View::Contrast => [TARGET, PIN, SEARCH, LAYER, METHODS, HEAT, CLASSES, IMAGE, SAVE, COPY],
    }
}

/// A line of the help.
enum Row {
    Heading(String),
    Keys(String, &'static str),
}

/// Every action with its keys: made from the keymap, so that it is always right. Of a search those that hold all of its words.
fn rows(state: &State, searched: &str) -> Vec<Row> {
    let keys = |action: Action| state.keymap.keys(action).map(|key| key.to_string()).collect::<Vec<_>>().join(" ");
    let words: Vec<String> = searched.split_whitespace().map(str::to_lowercase).collect();
    let all = ACTIONS.iter().map(|(name, action, description)| (*name, keys(*action), *description));
    if !words.is_empty() {
        let found = all.filter(|(name, keys, description)| {
            let line = format!("{keys} {name} {description}").to_lowercase();
            words.iter().all(|word| line.contains(word.as_str()))
        });
        // What has no key of its own is in the palette.
        let keys = |name: &str, keys: String| if keys.is_empty() { format!(":{name}") } else { keys };
        return found.map(|(name, own, description)| Row::Keys(keys(name, own), description)).collect();
    }
    let first = |action: &Action| state.keymap.keys(*action).next().map(|key| key.to_string());
    let mut rows = vec![Row::Heading(format!("In the view {}", state.view.name()))];
    rows.extend(needed(state.view).into_iter().filter_map(|(actions, description)| {
        let keys: Vec<String> = actions.iter().filter_map(first).collect();
        (!keys.is_empty()).then(|| Row::Keys(keys.join(" "), description))
    }));
    rows.push(Row::Heading("All keys".into()));
    rows.extend(all.filter(|(_, keys, _)| !keys.is_empty()).map(|(_, keys, description)| Row::Keys(keys, description)));
    rows
}

/// How many lines the help has.
pub fn help_lines(state: &State, searched: &str) -> u16 {
    u16::try_from(rows(state, searched).len()).unwrap_or(u16::MAX)
}

/// Draws the help in the middle of the screen; gives what it covers.
pub(super) fn help(state: &State, theme: &Theme, help: &Help, screen: Rect, buf: &mut Buffer) -> Rect {
    const KEYS: usize = 16;
    let rows = rows(state, &help.text);
    // As high as it is without a search, so that it doesn't jump while one is typed.
    let most = help_lines(state, "");
    let longest = ACTIONS.iter().map(|(_, _, description)| text::width(description)).max().unwrap_or(0);
    // Two cells to either side.
    let width = ((KEYS + longest + 4) as u16).min(screen.width.saturating_sub(2));
    let height = most.saturating_add(2).min(screen.height.saturating_sub(2));
    let area = Rect::new((screen.width - width) / 2, (screen.height - height) / 2, width, height);
    Clear.render(area, buf);
    buf.set_style(area, theme.popup);
    let inner = Rect { x: area.x + 2, width: area.width.saturating_sub(4), ..area };
    let title = match help.text.as_str() {
        "" => "Keys · type to search them · esc closes".to_owned(),
        text => format!("Keys: {text}▏"),
    };
    let title = Line::styled(text::fitted(&title, inner.width.into()), theme.key);
    title.render(Rect { height: 1.min(inner.height), ..inner }, buf);
    let body = Rect { y: inner.y + 1, height: inner.height.saturating_sub(2), ..inner };
    let scroll = usize::from(help.scroll).min(rows.len().saturating_sub(body.height.into()));
    for (at, row) in rows.iter().enumerate().skip(scroll).take(body.height.into()) {
        let line = match row {
            Row::Heading(heading) => Line::styled(text::fitted(heading, body.width.into()), theme.heading),
            Row::Keys(keys, description) => Line::from(vec![
                Span::styled(text::padded(keys, KEYS - 1) + " ", theme.key),
                Span::styled(text::fitted(description, usize::from(body.width).saturating_sub(KEYS)), theme.popup),
            ]),
        };
        line.render(Rect { y: body.y + (at - scroll) as u16, height: 1, ..body }, buf);
    }
    let more = rows.len().saturating_sub(scroll + usize::from(body.height));
    let last = match (rows.is_empty(), more) {
        (true, _) => "no key does that; : searches all actions".to_owned(),
        (_, 0) => String::new(),
        (_, more) => format!("{more} more: ↓"),
    };
    if area.height > 1 {
        let line = Line::styled(text::fitted(&last, inner.width.into()), theme.popup);
        line.render(Rect { y: area.bottom() - 1, height: 1, ..inner }, buf);
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_view_has_ten_different_entries_of_its_own() {
        for view in View::ALL {
            let entries = needed(view);
            for (at, entry) in entries.iter().enumerate() {
                assert!(entries[..at].iter().all(|other| other.0 != entry.0), "{view:?} {entry:?}");
            }
        }
        assert_ne!(needed(View::Sweep), needed(View::Classes));
    }
}
