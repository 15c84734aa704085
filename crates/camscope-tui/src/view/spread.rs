//! The histogram of a layer's numbers, over a corner of the picture.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{panel::Panel, text, theme::Theme};
use crate::{
    engine::{BARS, Spread},
    state::State,
    tiles::Tile,
};

/// Lines of the bars.
const HIGH: u16 = 6;
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws it where it is asked for, in the corner that covers least of the chosen one of several pictures; gives what it covers.
pub(super) fn spread(state: &State, theme: &Theme, room: Rect, shown: &[Tile], buf: &mut Buffer) -> Option<Rect> {
    if !state.histogram {
        return None;
    }
    let layer = state.model.as_ref()?.layers.get(state.layer)?;
    let known = state.photo().and_then(|photo| state.spreads.get(&(photo.id, state.layer)));
    let width = (BARS as u16 + 4).min(room.width);
    let inner = usize::from(width.saturating_sub(4));
    let mut lines: Vec<(String, Style)> =
        vec![(text::fitted_end(&format!("{} · {}", layer.name, layer.shape), inner), theme.heading)];
    match known {
        None => lines.push(("counting …".into(), theme.faint)),
        Some(Err(reason)) => lines.extend(text::wrapped(reason, inner).into_iter().map(|line| (line, theme.error))),
        Some(Ok(spread)) => {
            if inner >= BARS {
                lines.extend(bars(spread).into_iter().map(|line| (line, theme.bar)));
                lines.push((ends(spread, BARS), theme.faint));
            }
            lines.extend(facts(spread).into_iter().map(|line| (line, theme.popup)));
        }
    }
    let height = (lines.len() as u16).min(room.height);
    let chosen = shown.iter().find(|tile| tile.selected && !tile.is_in_strip());
    let chosen = chosen.map(|tile| tile.caption.as_ref().map_or(tile.area, |(below, _)| tile.area.union(*below)));
    let area = corner(room, (width, height), chosen);
    let mut panel = Panel::clear(area, theme, buf);
    for (row, (line, style)) in (0..).zip(lines) {
        panel.line(row, &line, style);
    }
    Some(area)
}

/// The corner of the room, of so many columns and rows, that covers least of that picture; the lower left one before others.
fn corner(room: Rect, (width, height): (u16, u16), chosen: Option<Rect>) -> Rect {
    let (right, top, bottom) = (room.right() - width, room.y, room.bottom() - height);
    let corners = [(room.x, bottom), (right, bottom), (room.x, top), (right, top)];
    let corners = corners.map(|(x, y)| Rect { x, y, width, height });
    let covered = |corner: &Rect| chosen.map_or(0, |chosen| corner.intersection(chosen).area());
    corners.into_iter().min_by_key(covered).unwrap_or(room)
}

/// Lines of bars, the topmost first. Their heights are logarithmic: behind a ReLU nearly all numbers are 0.
fn bars(spread: &Spread) -> Vec<String> {
    let height = |count: u64| (1.0 + count as f64).ln();
    let most = spread.counts.iter().copied().map(height).fold(0.0, f64::max);
    let eighths = |count: u64| {
        let filled = if most > 0.0 { (height(count) / most * f64::from(HIGH) * 8.0).round() as usize } else { 0 };
        // What is there at all is seen.
        filled.max(usize::from(count > 0))
    };
    let line = |row: u16| {
        let below = usize::from(HIGH - 1 - row) * 8;
        let cell = |count: &u64| EIGHTHS[eighths(*count).saturating_sub(below).min(8)];
        spread.counts.iter().map(cell).collect()
    };
    (0..HIGH).map(line).collect()
}

/// The least and the most under the ends of the bars.
fn ends(spread: &Spread, width: usize) -> String {
    let (least, most) = (number(spread.least), number(spread.most));
    let between = "log. scale";
    let room = width.saturating_sub(text::width(&least) + text::width(&most) + text::width(between));
    let left = room / 2;
    format!("{least}{}{between}{}{most}", " ".repeat(left), " ".repeat(room - left))
}

/// What the numbers are, a line each.
pub(crate) fn facts(spread: &Spread) -> Vec<String> {
    let Spread { least, most, mean, zeros, channels, dead, not_finite, .. } = spread;
    let share = if *channels > 0 { 100.0 * *dead as f64 / *channels as f64 } else { 0.0 };
    let mut facts = vec![
        format!("min {}  max {}  mean {}", number(*least), number(*most), number(*mean as f32)),
        format!("{:.1} % of the numbers are 0", 100.0 * zeros),
        format!("dead channels: {dead} of {channels} ({share:.1} %)"),
    ];
    if *not_finite > 0 {
        facts.push(format!("not finite: {not_finite} numbers"));
    }
    facts
}

fn number(value: f32) -> String {
    match value.abs() {
        size if size != 0.0 && !(1e-3..1e5).contains(&size) => format!("{value:.2e}"),
        size if size < 100.0 => format!("{value:.3}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_picture_is_covered_least() {
        let room = Rect::new(0, 1, 80, 30);
        let at = |x, y| Some(Rect::new(x, y, 16, 8));
        assert_eq!(corner(room, (44, 12), None), Rect::new(0, 19, 44, 12));
        assert_eq!(corner(room, (44, 12), at(60, 20)), Rect::new(0, 19, 44, 12));
        assert_eq!(corner(room, (44, 12), at(0, 20)), Rect::new(36, 19, 44, 12));
        // In the middle below, the upper corners are free.
        assert_eq!(corner(room, (44, 12), at(34, 20)), Rect::new(0, 1, 44, 12));
        // Where all cover some of it, the one that covers least.
        assert_eq!(corner(Rect::new(0, 1, 52, 22), (44, 12), at(0, 12)), Rect::new(8, 1, 44, 12));
    }

    #[test]
    fn bars_show_all_that_is_there_and_the_ends_say_from_where_to_where() {
        let mut counts = vec![0; BARS];
        (counts[0], counts[1], counts[BARS - 1]) = (100_000, 1, 317);
        let spread = Spread { counts, least: -0.5, most: 12345.0, channels: 8, dead: 2, ..Default::default() };
        let bars = bars(&spread);
        assert_eq!(bars.len(), usize::from(HIGH));
        assert!(bars[0].starts_with('█') && bars[5].chars().nth(1) == Some('▃') && bars[5].ends_with('█'), "{bars:?}");
        assert!(bars.iter().all(|line| line.chars().nth(20) == Some(' ')));
        let ends = ends(&spread, BARS);
        assert!(ends.starts_with("-0.500 ") && ends.ends_with(" 12345") && text::width(&ends) == BARS, "{ends}");
        assert!(facts(&spread).iter().any(|fact| fact == "dead channels: 2 of 8 (25.0 %)"), "{:?}", facts(&spread));
        assert_eq!([number(0.0), number(1e-7), number(-3.5e9)], ["0.000", "1.00e-7", "-3.50e9"]);
    }
}
