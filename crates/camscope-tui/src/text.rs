//! Text that a model read: its characters in their order, and where they stand along the photo.

use ratatui::layout::Rect;

use crate::{action::View, layout::areas, state::State, tiles::Tile};

/// A character that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Character {
    /// Its target, a position in [`crate::engine::Scores::values`].
    pub target: usize,
    /// What it is called: itself, or the number of its class where nobody said what that stands for.
    pub name: String,
    /// The middle of its place in the photo, in pixels from the left.
    pub middle: f64,
}

/// A character as it is seen: of a space there would be nothing.
pub fn visible(character: &str) -> String {
    if character.trim().is_empty() && !character.is_empty() {
        "␣".repeat(character.chars().count())
    } else {
        character.to_owned()
    }
}

/// The characters that the model read on the photo that is shown, in their order.
pub fn characters(state: &State) -> Vec<Character> {
    let Some(scores) = state.current_scores() else { return Vec::new() };
    let character = |(at, asked): (usize, &crate::engine::Asked)| {
        let [left, _, right, _] = asked.corners.filter(|_| asked.spec.starts_with("text:"))?;
        let number = || asked.class.map_or_else(|| "?".to_owned(), |class| format!("#{class}"));
        let name = asked.label.as_deref().map_or_else(number, visible);
        Some(Character { target: at + scores.classes(), name, middle: (left + right) / 2.0 })
    };
    let mut all: Vec<Character> = scores.asked.iter().enumerate().filter_map(character).collect();
    // One that was asked for stands in the list twice.
    all.sort_by_key(|character| place(state, character.target));
    all.dedup_by_key(|character| place(state, character.target));
    all
}

/// The number of a character, from 1.
fn place(state: &State, target: usize) -> usize {
    let spec =
        state.current_scores().and_then(|scores| Some(scores.asked(target)?.spec.strip_prefix("text:")?.parse().ok()));
    spec.flatten().unwrap_or(usize::MAX)
}

/// All that was read, where the model reads text.
pub fn read(state: &State) -> Option<String> {
    state.model.as_ref().filter(|model| model.reads_text())?;
    state.current_scores()?;
    let all = characters(state);
    let between =
        if all.iter().any(|character| character.name.starts_with('#') && character.name.len() > 1) { " " } else { "" };
    let text = all.iter().map(|character| character.name.as_str()).collect::<Vec<_>>().join(between);
    Some(if text.is_empty() { "nothing was read".into() } else { text })
}

/// Whether the text stands over the picture in the view that is shown.
pub fn is_shown(state: &State) -> bool {
    let view = matches!(state.view, View::Overlay | View::Heatmap | View::Photo | View::SideBySide);
    let is_chosen = crate::tiles::methods::is_open(state);
    view && !is_chosen
        && state.model.as_ref().is_some_and(|model| model.reads_text())
        && state.current_scores().is_some()
}

/// The line over the picture and the characters on it, each with its first column.
pub fn shown(state: &State, tiles: &[Tile]) -> Option<(Rect, Vec<(u16, Character)>)> {
    let tile = tiles.iter().find(|tile| !tile.is_in_strip()).filter(|_| is_shown(state))?;
    let room = areas(state.size, state.images.len()).picture;
    let line = Rect { y: tile.area.y.checked_sub(1)?, height: 1, ..room };
    Some((line, line_of(state, line, tile.area)))
}

/// Where each character stands on a line over the picture: over its own place in the photo where all have room there, else one after the
/// other, as many around the chosen one as fit. Each with its first column.
fn line_of(state: &State, room: Rect, picture: Rect) -> Vec<(u16, Character)> {
    let all = characters(state);
    let chosen = state.current_target().and_then(|target| all.iter().position(|character| character.target == target));
    over_the_photo(state, &all, room, picture).unwrap_or_else(|| in_a_row(&all, chosen.unwrap_or(0), room))
}

fn width(character: &Character) -> u16 {
    u16::try_from(unicode_width::UnicodeWidthStr::width(character.name.as_str())).unwrap_or(u16::MAX)
}

fn over_the_photo(state: &State, all: &[Character], room: Rect, picture: Rect) -> Option<Vec<(u16, Character)>> {
    let [left, _, part, _] = state.zoom.window();
    let across = f64::from(state.photo()?.pixels.width().max(1));
    let mut end = room.x;
    let mut placed = Vec::new();
    for character in all {
        let fraction = (character.middle / across - f64::from(left)) / f64::from(part);
        let column = f64::from(picture.x) + fraction * f64::from(picture.width) - f64::from(width(character)) / 2.0;
        // Out of sight, where the photo is zoomed.
        if !(0.0..=1.0).contains(&fraction) && part < 1.0 {
            continue;
        }
        let column = (column.round().max(0.0) as u16).max(room.x);
        if column < end || column.saturating_add(width(character)) > room.right() {
            return None;
        }
        end = column + width(character);
        placed.push((column, character.clone()));
    }
    Some(placed)
}

fn in_a_row(all: &[Character], chosen: usize, room: Rect) -> Vec<(u16, Character)> {
    let gap = u16::from(all.iter().any(|character| width(character) > 2));
    let length = |range: &[Character]| range.iter().map(|character| width(character) + gap).sum::<u16>();
    // The chosen one is in sight, and as many on both sides as fit.
    let (mut from, mut to) = (chosen, (chosen + 1).min(all.len()));
    loop {
        let before = (from, to);
        if to < all.len() && length(&all[from..=to]) <= room.width {
            to += 1;
        }
        if from > 0 && length(&all[from - 1..to]) <= room.width {
            from -= 1;
        }
        if before == (from, to) {
            break;
        }
    }
    let shown = all.get(from..to).unwrap_or_default();
    let mut column = room.x + room.width.saturating_sub(length(shown)) / 2;
    let mut placed = Vec::new();
    for character in shown {
        placed.push((column, character.clone()));
        column += width(character) + gap;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Character> {
        let character = |(target, name): (usize, char)| Character { target, name: name.to_string(), middle: 0.0 };
        text.chars().enumerate().map(character).collect()
    }

    #[test]
    fn a_row_keeps_the_chosen_character_in_sight() {
        let shown = |chosen: usize, width: u16| {
            let placed = in_a_row(&of("abcdefghij"), chosen, Rect::new(2, 0, width, 1));
            let text: String = placed.iter().map(|(_, character)| character.name.as_str()).collect();
            (placed[0].0, text)
        };
        assert_eq!(shown(0, 20), (7, "abcdefghij".to_owned()));
        assert_eq!(shown(0, 4), (2, "abcd".to_owned()));
        assert_eq!(shown(9, 4), (2, "ghij".to_owned()));
        assert!(shown(5, 4).1.contains('f'));
        assert!(in_a_row(&[], 0, Rect::new(0, 0, 9, 1)).is_empty());
    }

    #[test]
    fn a_space_is_seen() {
        assert_eq!((visible(" "), visible("a"), visible("")), ("␣".into(), "a".into(), String::new()));
    }
}
