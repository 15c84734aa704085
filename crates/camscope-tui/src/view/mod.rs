//! The screen: drawn from the state, which is only read.

mod drift;
pub(crate) mod form;
mod help;
mod lists;
mod panel;
pub(crate) mod popups;
mod ranked;
mod ribbon;
mod spread;
pub(crate) mod status;
mod text;
pub mod theme;
mod title;

use std::sync::Arc;

use camscope_core::method;
use ratatui::{
    Frame,
    buffer::{Buffer, CellDiffOption},
    layout::{Alignment, Rect},
    style::{Color, Style},
    text::{Line, Span},
    widgets::{Clear, Paragraph, Widget, Wrap},
};

use crate::{
    action::View,
    compare,
    compose::colormap,
    engine::{HeatKey, Step},
    graphics::{Picture, Protocol, fill, halfblocks},
    layout::areas,
    state::{Mode, State},
    terminal::Scene,
    tiles::{self, Content, Tile},
    update::layer_reason,
};
use theme::Theme;

pub(crate) use drift::facts as drift_facts;
pub(crate) use drift::layer_at as drift_layer_at;
pub use help::help_lines;
pub(crate) use ranked::{facts as ranked_facts, tried_at};
pub(crate) use spread::facts as spread_facts;
pub(crate) use status::blank;
pub(crate) use title::title_action;

/// Draws a frame; what comes back are the pictures, and what covers them.
pub fn view(state: &State, frame: &mut Frame) -> Scene {
    let area = frame.area();
    draw(state, area, frame.buffer_mut())
}

/// [`view`] into a buffer.
pub fn draw(state: &State, screen: Rect, buf: &mut Buffer) -> Scene {
    let theme = Theme::of(state);
    let parts = areas((screen.width, screen.height), state.images.len());
    title::title(state, &theme, parts.title, buf);
    let mut scene = Scene::default();
    let shown = tiles::tiles(state);
    for tile in &shown {
        if let Some(picture) = picture(state, tile) {
            fill(&picture, tile.area, buf);
            scene.pictures.push((tile.area, picture));
        } else if let tiles::Chooses::Method(method) = tile.chooses {
            let why = tiles::methods::instead(state, method).unwrap_or_default();
            let middle = Rect { y: tile.area.y + tile.area.height / 2, height: 1, ..tile.area };
            let why = text::fitted(&why, middle.width.into());
            Line::styled(why, theme.faint).centered().render(middle.intersection(buf.area), buf);
        }
        caption(state, tile, &theme, buf);
    }
    ribbon::ribbon(state, &theme, &shown, buf);
    if let Some(strip) = parts.strip {
        strip_names(state, &theme, strip, buf);
    }
    let notice = notice(state, &theme, parts.picture, &shown, buf);
    scene.covered.extend(notice);
    scene.covered.extend(spread::spread(state, &theme, parts.picture, &shown, buf));
    scene.covered.extend(drift::drift(state, &theme, parts.picture, buf));
    scene.covered.extend(ranked::ranked(state, &theme, parts.picture, buf));
    if let Some(area) = parts.classes {
        lists::classes(state, &theme, area, buf);
    }
    if let Some(area) = parts.layers {
        lists::layers(state, &theme, area, buf);
    }
    crosshair(state, &shown, &mut scene, buf);
    // What is said is said once: in place of the picture, above the last line, or in it.
    let is_said = is_noticed(state) && notice.is_some_and(|notice| notice.height < parts.picture.height);
    let said = if is_said { None } else { long_message(state, &theme, screen, buf) };
    let message = state.message.as_ref().filter(|_| !is_said && said.is_none());
    status::status(state, message, &theme, parts.status, buf);
    let lift = said.map_or(0, |said| said.height);
    scene.covered.extend(said);
    match &state.mode {
        Mode::Normal => {}
        Mode::Help(help) => scene.covered.push(help::help(state, &theme, help, screen, buf)),
        Mode::Prompt(prompt) => scene.covered.extend(popups::prompt(prompt, &theme, &parts, lift, buf)),
        Mode::Form(form) => scene.covered.push(form::form(form, &theme, screen, buf)),
    }
    scene
}

/// What a tile shows: its picture, or for as long as that isn't ready the one that was in its place.
fn picture(state: &State, tile: &Tile) -> Option<Arc<Picture>> {
    // A picture made of colours without colours is stripes.
    if state.no_color && state.screen.protocol == Protocol::HalfBlocks {
        return None;
    }
    let key = tiles::key(state, tile)?;
    let ready = state.pictures.get(&key).cloned();
    if matches!(tile.chooses, tiles::Chooses::Method(_)) {
        // Another method's heat under this one's name would be a lie too.
        return ready;
    }
    ready.or_else(|| {
        let (known, picture) = state.shown.get(&tile.slot)?;
        // Another photo's heat under this one's name would be a lie.
        (known.cells == key.cells && known.photo == key.photo).then(|| Arc::clone(picture))
    })
}

fn is_thumbnail(tile: &Tile) -> bool {
    tile.is_in_strip()
}

fn caption(state: &State, tile: &Tile, theme: &Theme, buf: &mut Buffer) {
    let Some((area, caption)) = &tile.caption else { return };
    let style = if tile.selected { theme.selected } else { theme.faint };
    let whole = usize::from(area.width);
    // Over a slow line what stands there may still be another picture.
    let coming = state.on_the_way.filter(|_| !is_thumbnail(tile)).map(|part| format!("coming: {part} % · {caption}"));
    let has_legend = tile.chooses == tiles::Chooses::Point && !tile.content.is_photo();
    let has_legend = has_legend && !state.no_color && coming.is_none();
    // Where pictures are compared by their colours, few colours do.
    let compares = matches!(tile.content, Content::Shared(..) | Content::Change(..)) && whole >= 40;
    let least = if compares { 4 } else { LEAST_LEGEND };
    let beside = whole.saturating_sub(least + LEGEND_ENDS);
    let caption = coming.as_ref().unwrap_or(caption);
    let text = match tile.chooses {
        tiles::Chooses::Layer(_) => text::fitted_end(caption, whole),
        _ if !has_legend => text::fitted_parts(caption, whole),
        _ if compares => text::fitted_parts(caption, beside),
        _ => beside_legend(state, caption, beside).unwrap_or_else(|| text::fitted_parts(caption, whole)),
    };
    let cells = whole.saturating_sub(text::width(&text) + LEGEND_ENDS).min(LEGEND);
    let legend = if has_legend && cells >= least { legend(state, tile, theme, cells) } else { Vec::new() };
    let spans = std::iter::once(Span::styled(text, style)).chain(legend);
    Line::from_iter(spans).alignment(Alignment::Center).render(area.intersection(buf.area), buf);
}

/// As much of a caption as there is room for beside a legend: what the colours mean is said before the method, which the title has, and the
/// last parts. `None` where the title lacks it, or not even its first part has room.
fn beside_legend(state: &State, caption: &str, room: usize) -> Option<String> {
    if text::width(caption) <= room {
        return Some(caption.to_owned());
    }
    let method = state.method_name();
    if !title::says(state, method) {
        return None;
    }
    let without = caption.replacen(&format!(" · {method}"), "", 1);
    let first = without.split(" · ").next().unwrap_or_default();
    (text::width(first) <= room).then(|| text::fitted_parts(&without, room))
}

/// Cells of the legend's colours, and of the numbers at their ends.
const LEGEND: usize = tiles::LEGEND - LEGEND_ENDS;
const LEAST_LEGEND: usize = 6;
const LEGEND_ENDS: usize = 7;

/// The colours from no heat to the most there is: each heatmap is scaled by its own maximum, or two by the larger one of both. Of a
/// difference the colours to both sides of none.
fn legend<'a>(state: &State, tile: &Tile, theme: &Theme, cells: usize) -> Vec<Span<'a>> {
    let chosen = tiles::position(&state.colormap);
    let (map, least) = match tile.content {
        Content::Overlay(_) | Content::Heat(_) | Content::Shared(..) => (chosen, "  0 "),
        // The first has all of it, or the second.
        Content::Change(..) | Content::Difference(..) => (tiles::diverging(chosen), "  -1 "),
        Content::Photo | Content::Thumbnail(_) | Content::Other(_) => return Vec::new(),
    };
    let colors = colormap(map).table();
    let cell = |at: usize| {
        let color = halfblocks::shown(colors[255 * at / (cells - 1)], state.screen.truecolor);
        Span::styled(" ", Style::new().bg(color))
    };
    let ends = |text| Span::styled(text, theme.faint);
    std::iter::once(ends(least)).chain((0..cells).map(cell)).chain([ends(" 1")]).collect()
}

/// The names of the images over their thumbnails, and a mark in the place of one that cannot be read.
fn strip_names(state: &State, theme: &Theme, strip: Rect, buf: &mut Buffer) {
    for (image, place) in tiles::strip_places(state, strip) {
        let Some(entry) = state.images.get(image) else { continue };
        let name = entry.path.file_stem().unwrap_or_default().to_string_lossy();
        let style = if image == state.image { theme.selected } else { theme.faint };
        let name = text::padded(&name, place.width.into());
        Line::styled(name, style).render(Rect { height: 1, ..place }.intersection(buf.area), buf);
        if entry.error.is_some() && entry.thumbnail.is_none() {
            let middle = Rect { y: place.y + place.height / 2, height: 1, ..place };
            Line::styled("✗", theme.error).alignment(Alignment::Center).render(middle.intersection(buf.area), buf);
        }
    }
}

/// Cells of the bar of what takes long.
const PROGRESS: usize = 30;

/// How much is done, as a bar.
fn bar(done: usize, planned: usize) -> String {
    let filled = (PROGRESS * done).checked_div(planned).unwrap_or(0).min(PROGRESS);
    "█".repeat(filled) + &"░".repeat(PROGRESS - filled)
}

/// In place of the picture, or over it: what is being done, or why there is none. Gives what it covers.
fn notice(state: &State, theme: &Theme, area: Rect, shown: &[Tile], buf: &mut Buffer) -> Option<Rect> {
    let entry = state.images.get(state.image);
    let unreadable = entry.and_then(|entry| Some(format!("{}: {}", entry.path.display(), entry.error.as_ref()?)));
    let without = state.current_key().filter(|_| state.view != View::Photo).and_then(|key| {
        let reason = state.failed.get(&key).map(String::as_str).or_else(|| layer_reason(state, state.layer))?;
        let name = &state.model.as_ref()?.layers.get(state.layer)?.name;
        Some(format!("no heatmap at {name}: {reason}"))
    });
    let is_second = |key: HeatKey| {
        let current = state.current_key().filter(|_| compare::is_shown(state));
        current.is_some_and(|current| compare::other_of(state, current) == Ok(Some(key)))
    };
    let working = state
        .progress
        .filter(|(key, ..)| state.heats.get(key).is_none() && (Some(*key) == state.current_key() || is_second(*key)));
    let has_picture = || shown.iter().any(|tile| !is_thumbnail(tile) && picture(state, tile).is_some());
    let (text, style) = if let Some(reason) = unreadable.or(without) {
        (reason, theme.error)
    } else if let Some((key, done, planned)) = working {
        let method = method::nth(key.method).map_or("", |method| method.name());
        (format!("{method}: {done} of {planned} passes\n{}", bar(done, planned)), theme.plain)
    } else if let (Some(path), Some(step), None) = (&state.opening, state.step, &state.model) {
        let at = Step::ALL.iter().position(|known| *known == step).unwrap_or(0);
        let (count, bar) = (Step::ALL.len(), bar(at, Step::ALL.len()));
        (format!("opening {}\n{bar}\n{} ({} of {count})", path.display(), step.about(), at + 1), theme.plain)
    } else if has_picture() && (state.model.is_some() || state.opening.is_some()) {
        return None;
    } else if let Some(path) = &state.opening {
        (format!("opening {} …", path.display()), theme.faint)
    } else if state.model.is_none() {
        let how = match state.asking.inputs {
            Some(_) => "the model wants values for its inputs: press i to give them, o to open another, q to quit",
            None => "no model is open: press o to open one, q to quit",
        };
        match state.message.as_ref().filter(|message| message.is_error) {
            // The line at the bottom has no room for what to do.
            Some(message) => (format!("{}\n\n{how}", message.text), theme.error),
            None => (how.to_owned(), theme.faint),
        }
    } else if state.images.is_empty() {
        ("no image is open: press o to open one".to_owned(), theme.faint)
    } else if state.screen.protocol == Protocol::None {
        ("pictures are off".to_owned(), theme.faint)
    } else if state.no_color && state.screen.protocol == Protocol::HalfBlocks {
        ("no pictures: NO_COLOR is set, and this terminal shows them by colours alone".to_owned(), theme.faint)
    } else {
        ("working …".to_owned(), theme.faint)
    };
    let text = text.split('\n').map(camscope_core::text::printable).collect::<Vec<_>>().join("\n");
    let room = Rect { x: area.x + area.width / 10, width: area.width - area.width / 5, ..area };
    let paragraph = Paragraph::new(text).style(style).alignment(Alignment::Center).wrap(Wrap { trim: true });
    let lines = text_lines(&paragraph, room);
    let room = Rect { y: area.y + (area.height - lines) / 3, height: lines, ..room };
    Clear.render(room, buf);
    buf.set_style(room, theme.popup);
    paragraph.render(room, buf);
    Some(room)
}

/// Whether [`notice`] says the message: why no model is open.
fn is_noticed(state: &State) -> bool {
    let is_error = state.message.as_ref().is_some_and(|message| message.is_error);
    let image = state.images.get(state.image);
    let is_readable = image.is_none_or(|image| image.error.is_none());
    state.model.is_none() && state.opening.is_none() && is_error && is_readable && matches!(state.mode, Mode::Normal)
}

/// All of a message that the last line has no room for, or in whose place something is typed.
fn long_text(state: &State, width: u16, height: u16) -> Option<String> {
    let message = state.message.as_ref()?;
    let text = camscope_core::text::printable(&message.text);
    let is_typed = matches!(state.mode, Mode::Prompt(_));
    let fits = !is_typed && text::width(&text) + 2 <= usize::from(width);
    (!fits && height >= 4).then(|| text.into_owned())
}

/// Whether the last line has a message, and so nothing else.
pub(crate) fn is_in_line(state: &State) -> bool {
    let (width, height) = state.size;
    state.message.is_some() && !is_noticed(state) && long_text(state, width, height).is_none()
}

/// Lines that a message takes above the last line.
pub(crate) fn lift(state: &State) -> u16 {
    let (width, height) = state.size;
    let is_typed = matches!(state.mode, Mode::Prompt(_));
    long_text(state, width, height)
        .filter(|_| is_typed)
        .map_or(0, |text| message_lines(&text, Rect::new(0, 0, width, height)))
}

fn message_lines(text: &str, screen: Rect) -> u16 {
    let paragraph = Paragraph::new(text).wrap(Wrap { trim: true });
    text_lines(
        &paragraph,
        Rect { x: screen.x + 1, y: 0, width: screen.width.saturating_sub(2), height: screen.height / 2 },
    )
}

/// Draws that above the last line. Gives what it covers.
fn long_message(state: &State, theme: &Theme, screen: Rect, buf: &mut Buffer) -> Option<Rect> {
    let text = long_text(state, screen.width, screen.height)?;
    let is_error = state.message.as_ref().is_some_and(|message| message.is_error);
    let style = if is_error { theme.error } else { theme.plain };
    let lines = message_lines(&text, screen);
    let area = Rect { y: screen.bottom() - 1 - lines, height: lines, x: screen.x, width: screen.width };
    Clear.render(area, buf);
    buf.set_style(area, theme.popup);
    let paragraph = Paragraph::new(text).style(style).wrap(Wrap { trim: true });
    paragraph.render(Rect { x: screen.x + 1, width: screen.width.saturating_sub(2), ..area }, buf);
    Some(area)
}

/// Lines that a paragraph needs, as far as there is room.
fn text_lines(paragraph: &Paragraph<'_>, room: Rect) -> u16 {
    if room.width == 0 {
        return 0;
    }
    let mut scratch = Buffer::empty(Rect { x: 0, y: 0, ..room });
    paragraph.clone().render(scratch.area, &mut scratch);
    let is_used = |y: &u16| (0..room.width).any(|x| scratch[(x, *y)].symbol() != " ");
    (0..room.height).rev().find(is_used).map_or(0, |last| last + 1)
}

/// A mark at the crosshair, a character over the picture.
fn crosshair(state: &State, shown: &[Tile], scene: &mut Scene, buf: &mut Buffer) {
    let Some(point) = state.crosshair else { return };
    for tile in shown.iter().filter(|tile| !is_thumbnail(tile)) {
        if let Some(at) = tiles::cell_of(state, tile, point)
            && let Some(cell) = buf.cell_mut(at)
        {
            cell.reset();
            cell.set_symbol("╋").set_style(Style::new().fg(Color::White).bg(Color::Black));
            cell.set_diff_option(CellDiffOption::None);
            scene.covered.push(Rect::new(at.0, at.1, 1, 1));
        }
    }
}
