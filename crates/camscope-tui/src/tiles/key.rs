//! What tells the picture of a tile from every other one.

use std::sync::Arc;

use camscope_core::overlay::{self, Enlarge, Kind};

use super::{Content, Tile};
use crate::{compare, engine::Photo, state::State};

/// A picture for the terminal, told from every other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TileKey {
    /// The photo.
    pub photo: u64,
    /// What is shown of it.
    pub content: Content,
    /// Position in the list of colormaps; 0 where none is used.
    pub colormap: usize,
    /// Bits of the photo's weight; 0 where it doesn't matter.
    pub alpha: u32,
    /// Bits of the visible part.
    pub window: [u32; 4],
    /// Columns and rows.
    pub cells: (u16, u16),
    /// Whether boxes are drawn; which of them is the chosen one.
    pub marks: Option<Option<usize>>,
    /// How heat is enlarged; the first way where there is none.
    pub enlarge: Enlarge,
}

/// The photo that a tile shows.
pub fn photo_of(state: &State, content: Content) -> Option<&Arc<Photo>> {
    match content {
        Content::Thumbnail(image) => state.images.get(image)?.thumbnail.as_ref(),
        Content::Other(at) => state.asking.others.get(at)?.photo.as_ref(),
        content => match content.heats().next() {
            Some(key) => state.photo_by(key.photo),
            None => state.photo(),
        },
    }
}

/// The picture that a tile needs, if its photo is there.
pub fn key(state: &State, tile: &Tile) -> Option<TileKey> {
    let cells = (tile.area.width, tile.area.height);
    let whole = [0.0f32, 0.0, 1.0, 1.0].map(f32::to_bits);
    let shown = state.zoom.window().map(f32::to_bits);
    if let Content::Thumbnail(_) | Content::Other(_) = tile.content {
        let photo = photo_of(state, tile.content)?.id;
        return Some(TileKey {
            photo,
            content: Content::Photo,
            colormap: 0,
            alpha: 0,
            window: if matches!(tile.content, Content::Other(_)) { shown } else { whole },
            cells,
            marks: None,
            enlarge: Enlarge::default(),
        });
    }
    let photo = photo_of(state, tile.content)?;
    let is_current = compare::is_current(state, photo.id);
    let uses_alpha = !matches!(tile.content, Content::Photo | Content::Heat(_) | Content::Thumbnail(_));
    let colormap = match tile.content {
        Content::Photo | Content::Thumbnail(_) | Content::Other(_) => 0,
        Content::Overlay(_) | Content::Heat(_) | Content::Shared(..) => position(&state.colormap),
        Content::Difference(..) | Content::Change(..) => diverging(position(&state.colormap)),
    };
    Some(TileKey {
        photo: photo.id,
        content: tile.content,
        colormap,
        alpha: if uses_alpha { state.alpha.to_bits() } else { 0 },
        window: shown,
        cells,
        enlarge: if matches!(tile.content, Content::Photo) { Enlarge::default() } else { state.enlarge },
        marks: (is_current && has_boxes(state, photo.id)).then(|| match tile.content.heats().next() {
            Some(key) => Some(key.target),
            None => state.current_target(),
        }),
    })
}

/// Whether the photo's model found boxes in it, and they are to be shown.
fn has_boxes(state: &State, photo: u64) -> bool {
    let scores = state.scores.get(&photo);
    let found = scores.is_some_and(|scores| scores.asked.iter().any(|asked| asked.corners.is_some()));
    found && state.boxes
}

/// A colormap's place in the list.
pub fn position(name: &str) -> usize {
    overlay::all().position(|map| map.name() == name).unwrap_or(0)
}

/// The colormap itself if it is diverging, else the first that is: a difference has a middle.
pub(crate) fn diverging(chosen: usize) -> usize {
    let is = |at: usize| overlay::all().nth(at).is_some_and(|map| map.kind() == Kind::Diverging);
    if is(chosen) { chosen } else { overlay::all().position(|map| map.kind() == Kind::Diverging).unwrap_or(chosen) }
}
