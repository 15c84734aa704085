//! The pictures of a view: what each shows, and where.

mod key;
pub(crate) mod methods;

use camscope_core::method;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use crate::{
    action::{Action, View},
    compare,
    engine::HeatKey,
    layout::{Areas, areas, few, fit, grid, list_start, thumbnail},
    state::{LayerState, State},
};

pub(crate) use key::diverging;
pub use key::{TileKey, key, photo_of, position};

/// What a tile shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// The photo as it is.
    Photo,
    /// The heat over the photo.
    Overlay(HeatKey),
    /// The heat alone.
    Heat(HeatKey),
    /// The first heat less the second, over the photo.
    Difference(HeatKey, HeatKey),
    /// The first heat over its photo, on one scale with the second.
    Shared(HeatKey, HeatKey),
    /// The second heat less the first, over the first one's photo: on one scale, or each on its own.
    Change(HeatKey, HeatKey, bool),
    /// Another image, small.
    Thumbnail(usize),
    /// A picture that the photo is compared with, by its place among [`crate::state::Asking::others`].
    Other(usize),
}

impl Content {
    /// Whether it is a photo without heat.
    pub fn is_photo(self) -> bool {
        self.heats().next().is_none()
    }

    /// The heatmaps that it needs.
    pub fn heats(self) -> impl Iterator<Item = HeatKey> {
        let (first, second) = match self {
            Self::Photo | Self::Thumbnail(_) | Self::Other(_) => (None, None),
            Self::Overlay(key) | Self::Heat(key) => (Some(key), None),
            Self::Difference(first, second) | Self::Shared(first, second) | Self::Change(first, second, _) => {
                (Some(first), Some(second))
            }
        };
        first.into_iter().chain(second)
    }
}

/// What pressing the mouse on a tile chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chooses {
    /// Nothing: the point is read.
    Point,
    /// Nothing, and no point of the photo is there.
    Nothing,
    /// A layer.
    Layer(usize),
    /// A class.
    Class(usize),
    /// An image.
    Image(usize),
    /// A method.
    Method(usize),
}

/// A picture of the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Its place: what was shown there stays until this is ready.
    pub slot: usize,
    /// The cells that it fills.
    pub area: Rect,
    /// A line below it.
    pub caption: Option<(Rect, String)>,
    /// What it shows.
    pub content: Content,
    /// What pressing the mouse on it chooses.
    pub chooses: Chooses,
    /// Whether it is the selected one of several.
    pub selected: bool,
}

const FIRST_THUMBNAIL: usize = 10_000;

impl Tile {
    /// Whether it is one of the small pictures at the bottom.
    pub fn is_in_strip(&self) -> bool {
        self.slot >= FIRST_THUMBNAIL
    }
}

/// The tiles of what is shown now.
pub fn tiles(state: &State) -> Vec<Tile> {
    let mut tiles = view_tiles(state, picture_room(state));
    tiles.extend(thumbnails(state, &areas(state.size, state.images.len())));
    tiles
}

/// The cells of the view's pictures and their captions.
fn picture_room(state: &State) -> Rect {
    let room = areas(state.size, state.images.len()).picture;
    // The line of the text that was read.
    match crate::text::is_shown(state) && room.height > 4 {
        true => Rect { y: room.y + 1, height: room.height - 1, ..room },
        false => room,
    }
}

fn view_tiles(state: &State, room: Rect) -> Vec<Tile> {
    let aspect = state.photo().map_or(1.0, |photo| aspect_of(photo));
    if state.view == View::Photos && !methods::is_open(state) && state.model.is_some() && !state.images.is_empty() {
        return photos(state, room);
    }
    if state.photo().is_none() {
        return Vec::new();
    }
    if let Some(methods) = methods::tiles(state, aspect) {
        return methods;
    }
    let current = state.current_key();
    let wide = |contents: &[(Content, String, Chooses)]| {
        let shape = few(room, contents.len(), aspect, state.screen.cell);
        arrange(state, room, aspect, shape, contents)
    };
    let one = |content| vec![(content, what_is_shown(state, content), Chooses::Point)];
    match (state.view, current) {
        (View::Photo | View::Photos, _) => wide(&one(Content::Photo)),
        (_, None) => wide(&[(Content::Photo, why_unasked(state), Chooses::Point)]),
        (View::Overlay, Some(key)) => {
            let mut contents = one(Content::Overlay(key));
            contents.extend(beside(state, key.target));
            let tiles = wide(&contents);
            if tiles.iter().all(|tile| tile.area.width >= LEAST.0 && tile.area.height >= LEAST.1) {
                return tiles;
            }
            wide(&contents[..1])
        }
        (View::Heatmap, Some(key)) => wide(&one(Content::Heat(key))),
        (View::SideBySide, Some(key)) => wide(&[
            (Content::Photo, "photo".into(), Chooses::Point),
            (Content::Overlay(key), state.target_name(key.target), Chooses::Point),
        ]),
        (View::Sweep, Some(key)) => {
            let layers = sweep_layers(state);
            let selected = layers.iter().position(|layer| *layer == state.layer).unwrap_or(0);
            let contents: Vec<_> = layers
                .iter()
                .map(|layer| {
                    let name = state.model.as_ref().map_or_else(String::new, |model| {
                        let layer = &model.layers[*layer];
                        format!("{} {}", layer.name, layer.size)
                    });
                    (Content::Overlay(HeatKey { layer: *layer, ..key }), name, Chooses::Layer(*layer))
                })
                .collect();
            page(state, room, aspect, &contents, &stages(state, &layers), selected)
        }
        (View::Classes, Some(key)) => {
            let contents: Vec<_> = compared_classes(state)
                .into_iter()
                .map(|class| {
                    (
                        Content::Overlay(HeatKey { target: class, ..key }),
                        with_share(state, class),
                        Chooses::Class(class),
                    )
                })
                .collect();
            let selected = contents.iter().position(|(_, _, chooses)| *chooses == Chooses::Class(key.target));
            page(state, room, aspect, &contents, &[contents.len()], selected.unwrap_or(0))
        }
        (View::Contrast, Some(key)) => match state.rival() {
            None => wide(&one(Content::Overlay(key))),
            Some(class) => {
                let rival = HeatKey { target: class, ..key };
                let (name, other) = (state.target_name(key.target), state.target_name(class));
                wide(&[
                    (Content::Overlay(key), with_share(state, key.target), Chooses::Class(key.target)),
                    (Content::Difference(key, rival), format!("{name} − {other}"), Chooses::Point),
                    (Content::Overlay(rival), with_share(state, class), Chooses::Class(class)),
                ])
            }
        },
        (View::Compare | View::Difference, Some(key)) => wide(&compare::contents(state, key)),
    }
}

/// A target's name, and how sure the model is of it.
fn with_share(state: &State, target: usize) -> String {
    let probability = state.current_scores().and_then(|scores| scores.probability(target));
    let percent = probability.map(|probability| format!(" {:.1} %", 100.0 * probability));
    state.target_name(target) + &percent.unwrap_or_default()
}

/// Smaller pictures do not stand beside each other.
const LEAST: (u16, u16) = (20, 5);

/// The picture that the photo is compared with.
fn beside(state: &State, target: usize) -> Option<(Content, String, Chooses)> {
    let at = state.compared_with(target)?;
    let entry = state.asking.others.get(at)?;
    let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
    let caption = match &entry.error {
        Some(error) => format!("✗ {name}: {error}"),
        None => format!("{name} · what it is compared with"),
    };
    Some((Content::Other(at), caption, Chooses::Nothing))
}

/// All images with the heat of one class; of one whose heat isn't there yet its small copy.
fn photos(state: &State, room: Rect) -> Vec<Tile> {
    let of_image = |image: usize| {
        let entry = &state.images[image];
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
        let key = state.key_in(image);
        let probability = key.and_then(|key| state.scores.get(&key.photo)?.probability(key.target));
        let percent = probability.map(|probability| format!(" {:.1} %", 100.0 * probability)).unwrap_or_default();
        let mark = if entry.error.is_some() { "✗ " } else { "" };
        let content = match key.filter(|key| state.heats.get(key).is_some()) {
            Some(key) => Content::Overlay(key),
            None => Content::Thumbnail(image),
        };
        (content, format!("{mark}{name}{percent}"), Chooses::Image(image))
    };
    let count = state.images.len();
    // Their pixels are kept while they are shown: of many as many as a person looks at.
    let (columns, rows) = if count <= MANY {
        grid(room, |columns| count.div_ceil(columns.into()), count, 1.0, state.screen.cell)
    } else {
        ((room.width / 15).clamp(1, 6), (room.height / 8).clamp(1, 4))
    };
    let across = usize::from(columns);
    let first = across * list_start(state.image / across, count.div_ceil(across), rows);
    let contents: Vec<_> = (first..count.min(first + across * usize::from(rows))).map(of_image).collect();
    // The cells are square: photos lie and stand.
    arrange(state, room, 1.0, (columns, rows), &contents)
}

/// Images that are shown at once at most.
const MANY: usize = 24;

fn aspect_of(photo: &crate::engine::Photo) -> f64 {
    let (width, height) = photo.pixels.dimensions();
    f64::from(width.max(1)) / f64::from(height.max(1))
}

/// What a single picture shows: of what the heat is, how sure the model is of it, at which layer and by which method.
fn what_is_shown(state: &State, content: Content) -> String {
    let Some(key) = content.heats().next() else { return String::new() };
    let target = [state.target_name(key.target), state.measure(key.target)].join(" ");
    let looks = method::nth(key.method).is_none_or(|method| method.needs().layer);
    let layer = state.model.as_ref().and_then(|model| model.layers.get(key.layer)).filter(|_| looks);
    let layer = layer.map(|layer| format!(" · {}", layer.name)).unwrap_or_default();
    let inside = state.heat_in_box().map(|share| format!(" · {:.0} % in the box", 100.0 * share));
    format!("{target} · {}{layer}{}", state.method_name(), inside.unwrap_or_default())
}

/// Why a photo has no heat, where the model found nothing in it that it is sure of, and what to do.
fn why_unasked(state: &State) -> String {
    match state.finds_nothing() {
        true => format!("nothing is found · {} asks anyway", state.keymap.first(Action::Target)),
        false => String::new(),
    }
}

/// The layers of the sweep: those that have a gradient, as far as that is known, and pass the filter.
pub fn sweep_layers(state: &State) -> Vec<usize> {
    let has = |layer: &usize| !matches!(state.layers.get(*layer), Some(LayerState::Without(_)));
    state.layer_list().into_iter().filter(has).collect()
}

/// The classes of the view `classes`: the current one and the pinned ones, then the likeliest, up to nine, or as many more as leave no gap
/// in the last row.
pub fn compared_classes(state: &State) -> Vec<usize> {
    let mut classes: Vec<usize> = state.pinned.clone();
    let Some(current) = state.current_target() else { return classes };
    let ranked = state.current_scores().map_or(&[][..], |scores| &scores.ranking);
    let most = in_whole_rows(state, USUAL_CLASSES.max(classes.len() + 1)).min(MOST_CLASSES);
    for class in ranked.iter().copied().take(most) {
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    classes.truncate(most);
    if !classes.contains(&current) {
        classes.pop();
        classes.push(current);
    }
    classes
}

/// Classes beside each other, and the most of them.
const USUAL_CLASSES: usize = 9;
const MOST_CLASSES: usize = 16;

/// So many pictures of the photo's shape, or as many more as the last row of their grid has room for.
fn in_whole_rows(state: &State, count: usize) -> usize {
    let aspect = state.photo().map_or(1.0, |photo| aspect_of(photo));
    let across = |columns: u16| count.div_ceil(columns.into());
    let (columns, _) = grid(picture_room(state), across, count, aspect, state.screen.cell);
    count.next_multiple_of(columns.into())
}

/// How many layers of the list have one resolution, one stage after the other; all of them are one stage where it changes all the time.
pub fn stages(state: &State, layers: &[usize]) -> Vec<usize> {
    let Some(model) = &state.model else { return vec![layers.len()] };
    let same = |one: &usize, other: &usize| model.layers[*one].size == model.layers[*other].size;
    let stages: Vec<usize> = layers.chunk_by(same).map(<[usize]>::len).collect();
    if 2 * stages.len() > layers.len() { vec![layers.len()] } else { stages }
}

/// The rows of a long list around the selected one; each of the parts, which are so many, begins a row.
fn page(
    state: &State,
    room: Rect,
    aspect: f64,
    contents: &[(Content, String, Chooses)],
    parts: &[usize],
    selected: usize,
) -> Vec<Tile> {
    let rows_of = |columns: u16| {
        let mut from = 0;
        let mut rows: Vec<std::ops::Range<usize>> = Vec::new();
        for part in parts {
            let end = from + part;
            let across = usize::from(columns.max(1));
            rows.extend((from..end).step_by(across).map(|start| start..(start + across).min(end)));
            from = end;
        }
        rows
    };
    let (columns, visible) = grid(room, |columns| rows_of(columns).len(), contents.len(), aspect, state.screen.cell);
    let rows = rows_of(columns);
    let chosen = rows.iter().position(|row| row.contains(&selected)).unwrap_or(0);
    let first = list_start(chosen, rows.len(), visible);
    let places = rows.iter().skip(first).take(visible.into()).zip(0..).flat_map(|(row, y)| {
        let place = move |(at, x): (usize, u16)| (&contents[at], (x, y));
        row.clone().zip(0..).map(place)
    });
    let places: Vec<_> = places.collect();
    place(state, room, aspect, (columns, visible), &places)
}

fn arrange(
    state: &State,
    room: Rect,
    aspect: f64,
    (columns, rows): (u16, u16),
    contents: &[(Content, String, Chooses)],
) -> Vec<Tile> {
    let at = |slot: usize| ((slot % usize::from(columns)) as u16, (slot / usize::from(columns)) as u16);
    let places: Vec<_> = contents.iter().enumerate().map(|(slot, content)| (content, at(slot))).collect();
    place(state, room, aspect, (columns, rows), &places)
}

/// Cells of a caption's legend, with the numbers at its ends.
pub(crate) const LEGEND: usize = 17;

/// A tile, and its column and row.
type Place<'a> = (&'a (Content, String, Chooses), (u16, u16));

fn place(state: &State, room: Rect, aspect: f64, (columns, rows): (u16, u16), places: &[Place<'_>]) -> Vec<Tile> {
    let (width, height) = (room.width / columns.max(1), room.height / rows.max(1));
    let tile = |&((content, caption, chooses), (column, row)): &Place<'_>| {
        let cell = Rect::new(room.x + column * width, room.y + row * height, width, height);
        let with_caption = !caption.is_empty() && height > 1;
        let picture = Rect {
            width: if columns > 1 { cell.width.saturating_sub(1).max(1) } else { cell.width },
            height: cell.height - u16::from(with_caption),
            ..cell
        };
        let aspect = photo_of(state, *content).map_or(aspect, |photo| aspect_of(photo));
        let area = fit(picture, aspect, state.screen.cell);
        // A long caption of the last picture in a row may use the room after it, with its legend.
        let is_last = !places.iter().any(|(_, at)| *at == (column + 1, row));
        let legend = if *chooses == Chooses::Point { LEGEND } else { 0 };
        let wanted = (UnicodeWidthStr::width(caption.as_str()) + legend).min(usize::from(u16::MAX)) as u16;
        let most = if is_last { room.right() - cell.x } else { picture.width };
        let caption_width = picture.width.max(wanted.min(most));
        let below = Rect { x: cell.x, y: area.bottom().max(cell.y), width: caption_width, height: 1 };
        let selected = places.len() > 1
            && match chooses {
                Chooses::Layer(layer) => *layer == state.layer,
                Chooses::Class(class) => Some(*class) == state.current_target(),
                Chooses::Image(image) => *image == state.image,
                Chooses::Point | Chooses::Nothing | Chooses::Method(_) => false,
            };
        Tile {
            slot: usize::from(row) * usize::from(columns) + usize::from(column),
            area,
            caption: with_caption.then(|| (below, caption.clone())),
            content: *content,
            chooses: *chooses,
            selected,
        }
    };
    places.iter().map(tile).filter(|tile| tile.area.area() > 0).collect()
}

/// The images that the view `photos` shows.
pub fn images(shown: &[Tile]) -> impl Iterator<Item = usize> {
    shown.iter().filter(|tile| !tile.is_in_strip()).filter_map(|tile| match tile.chooses {
        Chooses::Image(image) => Some(image),
        _ => None,
    })
}

/// The images that the strip has room for, and the place of each: a line for its name, below it the thumbnail.
pub fn strip_places(state: &State, strip: Rect) -> Vec<(usize, Rect)> {
    let (width, height) = thumbnail(strip);
    let step = width + 1;
    let fits = usize::from((strip.width / step).max(1));
    let first = state.image.saturating_sub(fits / 2).min(state.images.len().saturating_sub(fits));
    let images = first..(first + fits).min(state.images.len());
    let place = |(image, at): (usize, u16)| (image, Rect::new(strip.x + at * step, strip.y, width, height + 1));
    images.zip(0..).map(place).collect()
}

fn thumbnails(state: &State, parts: &Areas) -> Vec<Tile> {
    let Some(strip) = parts.strip else { return Vec::new() };
    let tile = |(image, place): (usize, Rect)| {
        let photo = state.images.get(image)?.thumbnail.as_ref()?;
        let (width, height) = photo.pixels.dimensions();
        let aspect = f64::from(width.max(1)) / f64::from(height.max(1));
        let room = Rect { y: place.y + 1, height: place.height - 1, ..place };
        Some(Tile {
            slot: FIRST_THUMBNAIL + image,
            area: fit(room, aspect, state.screen.cell),
            caption: None,
            content: Content::Thumbnail(image),
            chooses: Chooses::Image(image),
            selected: image == state.image,
        })
    };
    strip_places(state, strip).into_iter().filter_map(tile).collect()
}

/// The point of the photo that is explained, as fractions, that a cell of the tile shows.
pub fn point(state: &State, tile: &Tile, column: u16, row: u16) -> Option<(f32, f32)> {
    if shows_another(state, tile) { None } else { place_in(state, tile, column, row) }
}

/// Whether a tile has another photo than the one that is explained.
fn shows_another(state: &State, tile: &Tile) -> bool {
    let is_current = matches!(tile.chooses, Chooses::Image(image) if image == state.image);
    matches!(tile.chooses, Chooses::Image(_) | Chooses::Nothing | Chooses::Method(_)) && !is_current
}

/// The point of whatever photo a tile shows, as fractions, that a cell has: all photos of a view are zoomed alike.
pub fn place_in(state: &State, tile: &Tile, column: u16, row: u16) -> Option<(f32, f32)> {
    let is_another = tile.is_in_strip() || matches!(tile.chooses, Chooses::Method(_));
    if is_another || !tile.area.contains((column, row).into()) {
        return None;
    }
    let [left, top, width, height] = state.zoom.window();
    let x = (f32::from(column - tile.area.x) + 0.5) / f32::from(tile.area.width);
    let y = (f32::from(row - tile.area.y) + 0.5) / f32::from(tile.area.height);
    Some((left + x * width, top + y * height))
}

/// The cell of a tile that shows a point of the photo.
pub fn cell_of(state: &State, tile: &Tile, (x, y): (f32, f32)) -> Option<(u16, u16)> {
    if tile.is_in_strip() || shows_another(state, tile) {
        return None;
    }
    let [left, top, width, height] = state.zoom.window();
    let (x, y) = ((x - left) / width, (y - top) / height);
    if !(0.0..1.0).contains(&x) || !(0.0..1.0).contains(&y) {
        return None;
    }
    let column = tile.area.x + (x * f32::from(tile.area.width)) as u16;
    let row = tile.area.y + (y * f32::from(tile.area.height)) as u16;
    Some((column, row))
}
