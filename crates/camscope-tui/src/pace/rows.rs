//! Half-blocks over a slow line: a picture comes row by row, in few pixels first; what stood in its place stays until then.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::graphics::Picture;
use crate::terminal::Scene;

/// The pictures of half-blocks that are not there yet, and what stands in their places.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The last frame.
    stood: Option<Buffer>,
    /// Its pictures, the largest first.
    coming: Vec<Coming>,
}

/// How much of a picture the terminal has.
#[derive(Clone, Debug, PartialEq)]
struct Coming {
    area: Rect,
    id: u32,
    /// Rows that it has in few pixels, those that it has as they are, and all.
    few: u16,
    whole: u16,
    all: u16,
}

impl Rows {
    /// Takes the rows of pictures out of the frame that would make it larger than about `room` bytes. Pictures of more than `at_once` bytes
    /// come in few pixels first. Says whether any row has come.
    pub(super) fn hold_back(&mut self, buffer: &mut Buffer, scene: &Scene, room: usize, at_once: usize) -> bool {
        let mut pictures: Vec<&(Rect, Arc<Picture>)> =
            scene.pictures.iter().filter(|(_, picture)| picture.row_bytes(0).is_some()).collect();
        pictures.sort_by_key(|(area, _)| std::cmp::Reverse(area.area()));
        let stood_at: Vec<Rect> = self.coming.iter().map(|coming| coming.area).collect();
        let mut coming: Vec<Coming> =
            pictures.iter().map(|(area, picture)| self.coming_of(*area, picture, at_once)).collect();
        let before = coming.clone();
        advance(&mut coming, &pictures, room);
        for (coming, (area, picture)) in coming.iter().zip(&pictures) {
            let stood = self.stood.as_ref().filter(|stood| stood.area == buffer.area && stood_at.contains(area));
            for row in coming.whole..coming.all {
                let place = Rect { y: area.y + row, height: 1, ..*area }.intersection(buffer.area);
                let free = place.positions().filter(|at| !scene.covered.iter().any(|popup| popup.contains(*at)));
                for at in free {
                    let few = picture.preview().filter(|_| row < coming.few);
                    match (few, stood) {
                        (Some(few), _) => few.fill_flat((at.x - area.x, row), &mut buffer[at]),
                        (None, Some(stood)) => buffer[at] = stood[at].clone(),
                        (None, None) => buffer[at].reset(),
                    }
                }
            }
        }
        self.stood = Some(buffer.clone());
        let has_come = coming != before;
        self.coming = coming;
        has_come
    }

    /// How far a picture is, that may be new.
    fn coming_of(&self, area: Rect, picture: &Arc<Picture>, at_once: usize) -> Coming {
        let id = picture.id();
        if let Some(known) = self.coming.iter().find(|coming| (coming.area, coming.id) == (area, id)) {
            return known.clone();
        }
        let all = picture.cells().1.min(area.height);
        let bytes: usize = (0..all).filter_map(|row| picture.row_bytes(row)).sum();
        let has_few = picture.preview().is_some() && bytes > at_once;
        Coming { area, id, few: if has_few { 0 } else { all }, whole: 0, all }
    }

    /// Whether rows are to come.
    pub(super) fn is_waiting(&self) -> bool {
        self.coming.iter().any(|coming| coming.whole < coming.all)
    }

    /// How much of the largest picture has come, in percent; `None` where it is there.
    pub(super) fn percent(&self) -> Option<u8> {
        let main = self.coming.first().filter(|coming| coming.whole < coming.all)?;
        Some((100 * u32::from(main.whole) / u32::from(main.all)) as u8)
    }
}

/// Has rows come until `room` bytes are full: those in few pixels first, then the largest picture's.
fn advance(coming: &mut [Coming], pictures: &[&(Rect, Arc<Picture>)], room: usize) {
    let mut left = room;
    for (coming, (_, picture)) in coming.iter_mut().zip(pictures) {
        let bytes = |row| picture.preview().and_then(|few| few.row_bytes(row)).unwrap_or(0);
        left = up_to(&mut coming.few, coming.all, left, bytes);
    }
    for (coming, (_, picture)) in coming.iter_mut().zip(pictures) {
        left = up_to(&mut coming.whole, coming.all, left, |row| picture.row_bytes(row).unwrap_or(0));
    }
}

fn up_to(row: &mut u16, all: u16, room: usize, bytes: impl Fn(u16) -> usize) -> usize {
    let mut left = room;
    while *row < all && left > 0 {
        left = left.saturating_sub(bytes(*row));
        *row += 1;
    }
    left
}
