//! What is shown, in words.

use crate::{
    compare,
    compose::heat_inside,
    engine::{Heat, HeatKey, Photo},
    state::{Order, State},
    text,
    tiles::{self, Content},
    update::layer_reason,
    view,
};

/// Names of the ninths of a photo.
const NINTHS: [[&str; 3]; 3] =
    [["upper left", "top", "upper right"], ["left", "middle", "right"], ["lower left", "bottom", "lower right"]];
/// Parts with less of the heat are not said.
const LEAST: f32 = 0.05;
/// Classes that are said behind the one that is shown.
const NEXT: usize = 3;

/// What is shown, a line each.
pub fn describe(state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(entry) = state.images.get(state.image) {
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
        let size = entry.photo.as_ref().map(|photo| photo.pixels.dimensions());
        let size = size.map(|(width, height)| format!(", {width} × {height} pixels")).unwrap_or_default();
        let order = state.sorting.order;
        let sorted = if order == Order::Given { String::new() } else { format!(" {}", order.name()) };
        lines.push(format!("photo {name}, {} of {}{sorted}{size}", state.image + 1, state.images.len()));
        lines.extend(entry.error.clone());
    } else {
        lines.push("no photo is open: `open PATH` opens one".into());
    }
    let Some(model) = &state.model else {
        lines.push("no model is open: `open PATH` opens one".into());
        lines.extend(state.message.iter().map(|message| message.text.clone()));
        return lines;
    };
    lines.extend(text::read(state).map(|read| format!("text: {read}")));
    lines.extend(model.asks.clone().filter(|_| state.current_target().is_none()));
    lines.extend(state.finds_nothing().then(|| "nothing is found: `target SPEC` asks anyway".to_owned()));
    if let Some(target) = state.current_target() {
        let list = state.target_list();
        let at = list.iter().position(|known| *known == target);
        let place = at.map(|at| format!(", {} of {} {}", at + 1, list.len(), model.heading)).unwrap_or_default();
        lines.push(format!("{}{place}", with_probability(state, target)));
        let next = list.iter().skip(at.map_or(0, |at| at + 1)).take(NEXT);
        let next: Vec<String> = next.map(|target| with_probability(state, *target)).collect();
        lines.extend((!next.is_empty()).then(|| format!("next: {}", next.join("; "))));
    }
    if let Some(layer) = model.layers.get(state.layer) {
        let count = model.layers.len();
        let place = format!("layer {}, {}, {} of {count}", layer.name, layer.shape, state.layer + 1);
        lines.push(format!("{place}; method {}; view {}", state.method_name(), state.view.name()));
    }
    lines.extend(heat(state));
    lines.extend(compared(state));
    lines.extend(view::drift_facts(state));
    lines.extend(view::ranked_facts(state));
    if state.histogram
        && let Some(spread) = state.photo().and_then(|photo| state.spreads.get(&(photo.id, state.layer)))
    {
        match spread {
            Ok(spread) => lines.push(format!("numbers of the layer: {}", view::spread_facts(spread).join("; "))),
            Err(reason) => lines.push(reason.clone()),
        }
    }
    lines.extend(state.message.iter().map(|message| message.text.clone()));
    lines.extend(state.notes.iter().map(|note| format!("note: {note}")));
    lines
}

fn with_probability(state: &State, target: usize) -> String {
    let measure = state.measure(target);
    state.target_name(target) + if measure.is_empty() { "" } else { " " } + &measure
}

/// Where the heat is, in each picture of the view.
fn heat(state: &State) -> Vec<String> {
    let Some(current) = state.current_key() else { return Vec::new() };
    if let Some(reason) = state.failed.get(&current).map(String::as_str).or_else(|| layer_reason(state, state.layer)) {
        return vec![format!("no heatmap: {reason}")];
    }
    let shown: Vec<(String, HeatKey)> = tiles::tiles(state)
        .into_iter()
        .filter_map(|tile| match tile.content {
            Content::Overlay(key) | Content::Heat(key) | Content::Shared(key, _) => {
                Some((tile.caption.map(|(_, text)| text)?, key))
            }
            Content::Photo
            | Content::Difference(..)
            | Content::Change(..)
            | Content::Thumbnail(_)
            | Content::Other(_) => None,
        })
        .collect();
    let of = |key: &HeatKey| Some(whereabouts(state.photo_by(key.photo)?, state.heats.get(key)?));
    if let [(_, key)] = &shown[..] {
        let inside = state.heat_in_box().map(|share| format!("; {:.0} % of it in the box", 100.0 * share));
        let blank = view::blank(state);
        return blank
            .or_else(|| Some(format!("heat: {}{}", of(key)?, inside.unwrap_or_default())))
            .into_iter()
            .collect();
    }
    shown.iter().filter_map(|(caption, key)| Some(format!("{caption}: {}", of(key)?))).collect()
}

/// How alike the two are that are compared; or why there is no second one.
fn compared(state: &State) -> Option<String> {
    let first = state.current_key().filter(|_| compare::is_shown(state))?;
    match compare::other_of(state, first) {
        Ok(second) => state.comparing.numbers.get(&(first, second?)).map(|numbers| format!("alike: {numbers}")),
        Err(reason) => Some(format!("nothing to compare: {reason}")),
    }
}

/// In which parts of the photo the heat lies, most of it first, and where it is greatest.
fn whereabouts(photo: &Photo, heat: &Heat) -> String {
    let (width, height) = photo.pixels.dimensions();
    let (width, height) = (f64::from(width), f64::from(height));
    let mut parts: Vec<(f32, &str)> = Vec::new();
    for (down, names) in (0u8..).zip(NINTHS) {
        for (right, name) in (0u8..).zip(names) {
            let edge = |at: u8, length: f64| f64::from(at) * length / 3.0;
            let corners = [edge(right, width), edge(down, height), edge(right + 1, width), edge(down + 1, height)];
            parts.extend(heat_inside(photo, heat, corners).map(|share| (share, name)));
        }
    }
    parts.sort_by(|one, other| other.0.total_cmp(&one.0));
    let said: Vec<String> = parts
        .iter()
        .filter(|(share, _)| *share >= LEAST)
        .map(|(share, name)| format!("{name} {:.0} %", 100.0 * share))
        .collect();
    let Some(((row, column), _)) = heat.indexed_iter().max_by(|one, other| one.1.total_cmp(other.1)) else {
        return "none".into();
    };
    if said.is_empty() {
        return "none".into();
    }
    let (rows, columns) = heat.dim();
    let middle = |at: usize, count: usize, start: f64, length: f64| start + (at as f64 + 0.5) * length / count as f64;
    let seen = &photo.seen;
    let (x, y) = (middle(column, columns, seen.x, seen.width), middle(row, rows, seen.y, seen.height));
    format!("{}; greatest at x {x:.0} y {y:.0}", said.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use camscope_core::image::Seen;
    use image::RgbImage;
    use ndarray::{ArrayD, array};

    use super::*;
    use crate::engine::HeatMap;

    #[test]
    fn the_heat_is_said_by_ninths() {
        let photo = Photo {
            id: 1,
            pixels: RgbImage::new(300, 90),
            seen: Seen { x: 0.0, y: 0.0, width: 300.0, height: 90.0 },
            tensor: ArrayD::zeros(vec![0]),
            notes: Vec::new(),
            modified: None,
            beside: None,
        };
        let heat = |values| Arc::new(HeatMap { values, most: 1.0 });
        let said = whereabouts(&photo, &heat(array![[0.0, 0.0, 1.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.01]]));
        assert_eq!(said, "upper right 50 %, middle 25 %, right 25 %; greatest at x 250 y 15");
        assert_eq!(whereabouts(&photo, &heat(array![[0.0, 0.0]])), "none");
    }
}
