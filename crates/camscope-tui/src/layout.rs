//! Where things stand on the screen, for any number of columns and rows.

use ratatui::layout::Rect;

/// The screen's parts; what there is no room for is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Areas {
    /// One line at the top.
    pub title: Rect,
    /// The pictures.
    pub picture: Rect,
    /// Thumbnails of the images.
    pub strip: Option<Rect>,
    /// The list of classes.
    pub classes: Option<Rect>,
    /// The list of layers.
    pub layers: Option<Rect>,
    /// One line at the bottom.
    pub status: Rect,
}

/// Narrower than this, the lists are left out.
const LISTS_FROM: u16 = 56;
/// A thumbnail's columns and rows, and those on a large screen.
const THUMBNAILS: [(u16, u16); 2] = [(8, 3), (16, 6)];
/// Columns and rows of a large screen's pictures.
const LARGE: (u16, u16) = (120, 56);

/// Columns and rows of a thumbnail in a strip, which has a line of names besides.
pub fn thumbnail(strip: Rect) -> (u16, u16) {
    THUMBNAILS[usize::from(strip.height > THUMBNAILS[0].1 + 1)]
}

/// Divides a screen of that size.
pub fn areas((columns, rows): (u16, u16), images: usize) -> Areas {
    let title = Rect::new(0, 0, columns, rows.min(1));
    let status = Rect::new(0, rows.saturating_sub(1), columns, u16::from(rows > 1));
    let body = Rect::new(0, title.height, columns, rows.saturating_sub(title.height + status.height));
    let panel = match columns {
        0..LISTS_FROM => 0,
        LISTS_FROM..100 => 28,
        100..160 => 38,
        _ => 48,
    };
    let mut picture = Rect { width: body.width - panel, ..body };
    let (mut classes, mut layers) = (None, None);
    if panel > 0 && body.height >= 8 {
        let x = body.x + picture.width;
        let upper = (body.height * 2 / 5).max(4);
        classes = Some(Rect::new(x, body.y, panel, upper));
        layers = Some(Rect::new(x, body.y + upper, panel, body.height - upper));
    } else {
        picture = body;
    }
    let mut strip = None;
    let is_large = picture.width >= LARGE.0 && picture.height >= LARGE.1;
    let (width, height) = THUMBNAILS[usize::from(is_large)];
    let needed = height + 1;
    if images > 1 && picture.height >= 24 && picture.width >= 2 * width {
        picture.height -= needed;
        strip = Some(Rect::new(picture.x, picture.bottom(), picture.width, needed));
    }
    Areas { title, picture, strip, classes, layers, status }
}

/// The largest rectangle of `aspect` (width through height, in pixels) within `room`, in the middle of it.
pub fn fit(room: Rect, aspect: f64, cell: (u16, u16)) -> Rect {
    let cell_aspect = f64::from(cell.0.max(1)) / f64::from(cell.1.max(1));
    if room.width == 0 || room.height == 0 || aspect.is_nan() || aspect <= 0.0 {
        return Rect { width: 0, height: 0, ..room };
    }
    let by_height = (f64::from(room.height) * aspect / cell_aspect).round();
    let (width, height) = if by_height <= f64::from(room.width) {
        (by_height as u16, room.height)
    } else {
        let height = (f64::from(room.width) * cell_aspect / aspect).round();
        (room.width, height.min(f64::from(room.height)) as u16)
    };
    let (width, height) = (width.max(1), height.max(1));
    Rect::new(room.x + (room.width - width) / 2, room.y + (room.height - height) / 2, width, height)
}

/// How many columns and rows of tiles show `count` pictures of `aspect` largest, each with a line below it; `rows` says how many rows so many
/// columns make. Where even the smallest tiles of use don't all fit, as many as do.
pub fn grid(room: Rect, rows: impl Fn(u16) -> usize, count: usize, aspect: f64, cell: (u16, u16)) -> (u16, u16) {
    const SMALLEST: (u16, u16) = (15, 8);
    let most = ((room.width / SMALLEST.0).max(1), (room.height / SMALLEST.1).max(1));
    let count = u16::try_from(count.max(1)).unwrap_or(u16::MAX);
    let candidates =
        (1..=most.0.min(count)).map(|columns| (columns, u16::try_from(rows(columns).max(1)).unwrap_or(u16::MAX)));
    let fits = |(_, rows): &(u16, u16)| *rows <= most.1;
    candidates.filter(fits).max_by_key(|grid| shown(room, *grid, aspect, cell)).unwrap_or(most)
}

/// How many columns and rows of tiles show all of a few pictures largest, each with a line below it, however small that is.
pub fn few(room: Rect, count: usize, aspect: f64, cell: (u16, u16)) -> (u16, u16) {
    let count = u16::try_from(count.max(1)).unwrap_or(u16::MAX);
    (1..=count)
        .map(|columns| (columns, count.div_ceil(columns)))
        .max_by_key(|grid| shown(room, *grid, aspect, cell))
        .unwrap_or((1, 1))
}

/// The cells of a picture in such a grid.
fn shown(room: Rect, (columns, rows): (u16, u16), aspect: f64, cell: (u16, u16)) -> u32 {
    let tile = Rect::new(0, 0, room.width / columns, (room.height / rows).saturating_sub(1));
    let fitted = fit(tile, aspect, cell);
    u32::from(fitted.width) * u32::from(fitted.height)
}

/// The first entry that a list of `height` lines shows, so that the selected one is in its middle, as far as the ends allow.
pub fn list_start(selected: usize, count: usize, height: u16) -> usize {
    let height = usize::from(height);
    selected.saturating_sub(height / 2).min(count.saturating_sub(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_screen_and_never_overlap() {
        for columns in [0, 1, 20, 55, 56, 80, 120, 200, 300] {
            for rows in [0, 1, 2, 7, 10, 24, 40, 60, 100] {
                let areas = areas((columns, rows), 3);
                let parts = [
                    Some(areas.title),
                    Some(areas.picture),
                    areas.strip,
                    areas.classes,
                    areas.layers,
                    Some(areas.status),
                ];
                let parts: Vec<Rect> = parts.into_iter().flatten().collect();
                let cells: u32 = parts.iter().map(|part| u32::from(part.width) * u32::from(part.height)).sum();
                assert_eq!(cells, u32::from(columns) * u32::from(rows), "{columns}×{rows} {areas:?}");
                for (at, part) in parts.iter().enumerate() {
                    assert!(parts[..at].iter().all(|other| !other.intersects(*part)), "{columns}×{rows} {areas:?}");
                }
            }
        }
    }

    #[test]
    fn thumbnails_are_larger_on_a_large_screen() {
        let of = |size| areas(size, 2).strip.map(thumbnail);
        assert_eq!([of((80, 24)), of((140, 40)), of((250, 70))], [None, Some((8, 3)), Some((16, 6))]);
    }

    #[test]
    fn pictures_keep_their_shape() {
        let room = Rect::new(0, 0, 80, 20);
        assert_eq!(fit(room, 1.0, (10, 20)), Rect::new(20, 0, 40, 20));
        assert_eq!(fit(room, 8.0, (10, 20)), Rect::new(0, 7, 80, 5));
        assert_eq!(fit(Rect::new(3, 4, 0, 9), 1.0, (10, 20)).area(), 0);
        assert_eq!(fit(room, f64::NAN, (10, 20)).area(), 0);
        assert_eq!(fit(room, 1e-6, (10, 20)).width, 1);
    }

    #[test]
    fn lists_keep_the_selected_entry_in_sight() {
        assert_eq!([0, 3, 50, 99].map(|selected| list_start(selected, 100, 10)), [0, 0, 45, 90]);
        assert_eq!(list_start(3, 4, 10), 0);
        assert_eq!(list_start(3, 4, 0), 3);
    }

    #[test]
    fn grids_use_the_room() {
        let room = Rect::new(0, 0, 80, 40);
        let usual = |room, count: usize| grid(room, |columns| count.div_ceil(columns.into()), count, 1.0, (10, 20));
        assert_eq!(usual(room, 1), (1, 1));
        assert_eq!(usual(room, 4), (2, 2));
        assert_eq!(usual(Rect::new(0, 0, 20, 40), 3), (1, 3));
        let (columns, rows) = usual(room, 1000);
        assert_eq!((columns, rows), (5, 5));
        assert_eq!(few(Rect::new(0, 0, 40, 10), 3, 1.0, (10, 20)), (3, 1));
        assert_eq!(few(Rect::new(0, 0, 5, 1), 3, 1.0, (10, 20)).0 * few(Rect::new(0, 0, 5, 1), 3, 1.0, (10, 20)).1, 3);
    }
}
