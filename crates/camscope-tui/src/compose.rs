//! Draws a tile: photo, heat, colours, at the size it is shown in.

use std::sync::Arc;

use camscope_core::{
    image::Seen,
    overlay::{self, Colormap, Enlarge, Mark, draw_marks},
};
use image::{Pixel, RgbImage, imageops};
use ndarray::Array2;

use crate::{
    compare::{difference as difference_of, share_of},
    engine::{Heat, Photo},
    tiles::{Content, TileKey},
};

/// Everything that a tile is drawn from.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// What it is.
    pub key: TileKey,
    /// The photo.
    pub photo: Arc<Photo>,
    /// The heatmaps of [`Content::heats`], in their order.
    pub heats: Vec<Heat>,
    /// The photo of the second of these, where there is one: another model sees another part of it.
    pub second: Option<Arc<Photo>>,
    /// Boxes over the photo, in its pixels.
    pub marks: Arc<Vec<Mark>>,
    /// Whether all boxes have their labels: there is room, in a picture that is saved.
    pub has_all_labels: bool,
}

/// Photos scaled for drawing: switching class or layer needs the same one again.
#[derive(Default)]
pub struct Scaled(Vec<(ScaledKey, Arc<RgbImage>)>);

type ScaledKey = (u64, [u32; 4], (u32, u32));

const SCALED: usize = 24;

/// Draws a tile of `size` pixels.
pub fn draw(drawing: &Drawing, size: (u32, u32), scaled: &mut Scaled) -> RgbImage {
    let (width, height) = (size.0.max(1), size.1.max(1));
    let window = drawing.key.window.map(f32::from_bits);
    let photo = scaled.photo(&drawing.photo, drawing.key.window, (width, height));
    let seen = seen_in(&drawing.photo, window, (width, height));
    let alpha = f32::from_bits(drawing.key.alpha);
    let (colormap, enlarge) = (|| colormap(drawing.key.colormap), drawing.key.enlarge);
    let mut drawn = match (drawing.key.content, drawing.heats.as_slice()) {
        (Content::Overlay(_), [heat, ..]) => {
            overlay::render_enlarged(&photo, heat.view(), &seen, colormap(), (alpha, enlarge))
        }
        (Content::Heat(_), [heat, ..]) => {
            overlay::render_enlarged(&RgbImage::new(width, height), heat.view(), &seen, colormap(), (0.0, enlarge))
        }
        (Content::Difference(..), [first, second, ..]) => {
            overlay::render_enlarged(&photo, difference(first, second).view(), &seen, colormap(), (alpha, enlarge))
        }
        (Content::Shared(..), [heat, other, ..]) => {
            let share = share_of(heat, heat.most.max(other.most));
            overlay::render_enlarged(&photo, (&heat.values * share).view(), &seen, colormap(), (alpha, enlarge))
        }
        (Content::Change(_, _, together), [first, second, ..]) => {
            let other = drawing.second.as_deref().unwrap_or(&drawing.photo);
            let seen = [&seen, &seen_in(other, window, (width, height))];
            let (found, both) = difference_of([first, second], seen, (width, height), (together, enlarge));
            change(&photo, &found, &both, colormap(), alpha)
        }
        _ => RgbImage::clone(&photo),
    };
    draw_marks(&mut drawn, &in_tile(drawing, window, (width, height)));
    drawn
}

/// A difference over the photo, which is as dark as beside any heat where not both see it.
fn change(photo: &RgbImage, found: &Array2<f32>, both: &Array2<bool>, colormap: &dyn Colormap, alpha: f32) -> RgbImage {
    let (width, height) = photo.dimensions();
    let mut drawn = overlay::render(photo, found.view(), &Seen::all(width, height), colormap, alpha);
    for ((to, of_photo), is_seen) in drawn.pixels_mut().zip(photo.pixels()).zip(both) {
        if !is_seen {
            *to = of_photo.map(|shade| (f32::from(shade) * alpha).round() as u8);
        }
    }
    drawn
}

/// Boxes of the photo in the tile's pixels; labels only where there is room for them.
fn in_tile(drawing: &Drawing, [left, top, width, height]: [f32; 4], size: (u32, u32)) -> Vec<Mark> {
    let Drawing { marks, photo, has_all_labels, .. } = drawing;
    let (photo_width, photo_height) = photo.pixels.dimensions();
    let across = f64::from(size.0) / (f64::from(width) * f64::from(photo_width)).max(f64::MIN_POSITIVE);
    let down = f64::from(size.1) / (f64::from(height) * f64::from(photo_height)).max(f64::MIN_POSITIVE);
    let (x, y) = (f64::from(left) * f64::from(photo_width), f64::from(top) * f64::from(photo_height));
    let in_tile = |mark: &Mark| {
        let [left, top, right, bottom] = mark.corners;
        let corners = [(left - x) * across, (top - y) * down, (right - x) * across, (bottom - y) * down];
        let has_room = *has_all_labels || mark.is_chosen && size.0 >= 160;
        Mark { corners, label: if has_room { mark.label.clone() } else { String::new() }, is_chosen: mark.is_chosen }
    };
    let placed: Vec<Mark> = marks.iter().map(in_tile).collect();
    if *has_all_labels { placed } else { with_room(placed, size) }
}

/// The share of a picture's pixels that lines of boxes may cover, and about how wide a line is with its edges.
const LINES: f64 = 1.0 / 6.0;
const LINE: f64 = 3.0;

/// The chosen box, and as many of the others as leave the picture to be seen, in their order: the surest first.
fn with_room(marks: Vec<Mark>, (width, height): (u32, u32)) -> Vec<Mark> {
    let (width, height) = (f64::from(width), f64::from(height));
    let length = |[left, top, right, bottom]: [f64; 4]| {
        let within = |from: f64, to: f64, most: f64| (to.clamp(0.0, most) - from.clamp(0.0, most)).max(0.0);
        2.0 * (within(left, right, width) + within(top, bottom, height))
    };
    let mut left = LINES * width * height / LINE;
    let mut has_room = |mark: &Mark| {
        left -= length(mark.corners);
        left >= 0.0
    };
    marks.into_iter().filter(|mark| has_room(mark) || mark.is_chosen).collect()
}

/// Half of one more than the difference: 0.5 where both are the same.
pub fn difference(first: &Heat, second: &Heat) -> Array2<f32> {
    let (height, width) = first.dim();
    if second.dim() == first.dim() {
        return (&first.values - &second.values + 1.0) / 2.0;
    }
    (&first.values - &overlay::enlarge(second.view(), width as u32, height as u32) + 1.0) / 2.0
}

/// The heat at a point of the photo given as fractions; `None` where the network didn't see.
pub fn heat_at(photo: &Photo, heat: &Heat, enlarge: Enlarge, (x, y): (f32, f32)) -> Option<f32> {
    let (width, height) = photo.pixels.dimensions();
    let seen = &photo.seen;
    let at =
        |fraction: f32, size: u32, start: f64, length: f64| (f64::from(fraction) * f64::from(size) - start) / length;
    let (x, y) = (at(x, width, seen.x, seen.width), at(y, height, seen.y, seen.height));
    overlay::heat_at(heat.view(), enlarge, (x, y))
}

/// What share of a photo's heat lies in a box (left, top, right, bottom in the photo's pixels), from 0 to 1; `None` without heat. Cells that
/// lie there in part count in part.
pub fn heat_inside(photo: &Photo, heat: &Heat, [left, top, right, bottom]: [f64; 4]) -> Option<f32> {
    let (rows, columns) = heat.dim();
    let seen = &photo.seen;
    let share = |at: usize, count: usize, start: f64, length: f64, from: f64, to: f64| {
        let cell = length / count.max(1) as f64;
        let begin = start + at as f64 * cell;
        ((to.min(begin + cell) - from.max(begin)) / cell.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
    };
    let (mut inside, mut all) = (0.0, 0.0);
    for ((row, column), heat) in heat.indexed_iter() {
        let heat = f64::from(*heat).max(0.0);
        let down = share(row, rows, seen.y, seen.height, top, bottom);
        inside += heat * down * share(column, columns, seen.x, seen.width, left, right);
        all += heat;
    }
    (all > 0.0).then_some((inside / all) as f32)
}

/// The colormap at that place of the list.
pub fn colormap(at: usize) -> &'static dyn Colormap {
    // There is always a first one.
    overlay::all().nth(at).or_else(|| overlay::all().next()).unwrap_or_else(|| unreachable!("no colormap is built in"))
}

/// The rectangle that the network sees, in the tile's pixels.
fn seen_in(photo: &Photo, [left, top, width, height]: [f32; 4], size: (u32, u32)) -> Seen {
    let (photo_width, photo_height) = photo.pixels.dimensions();
    let axis = |from: f64, length: f64, start: f32, part: f32, photo: u32, size: u32| {
        let visible = f64::from(part) * f64::from(photo);
        let scale = f64::from(size) / visible.max(f64::MIN_POSITIVE);
        ((from - f64::from(start) * f64::from(photo)) * scale, length * scale)
    };
    let seen = &photo.seen;
    let (x, w) = axis(seen.x, seen.width, left, width, photo_width, size.0);
    let (y, h) = axis(seen.y, seen.height, top, height, photo_height, size.1);
    Seen { x, y, width: w, height: h }
}

impl Scaled {
    fn photo(&mut self, photo: &Photo, window: [u32; 4], size: (u32, u32)) -> Arc<RgbImage> {
        let key = (photo.id, window, size);
        if let Some(at) = self.0.iter().position(|(known, _)| *known == key) {
            let entry = self.0.remove(at);
            let found = Arc::clone(&entry.1);
            self.0.push(entry);
            return found;
        }
        let scaled = Arc::new(scale(&photo.pixels, window.map(f32::from_bits), size));
        self.0.push((key, Arc::clone(&scaled)));
        if self.0.len() > SCALED {
            self.0.remove(0);
        }
        scaled
    }
}

/// A part of the photo at `size` pixels.
fn scale(photo: &RgbImage, [left, top, width, height]: [f32; 4], size: (u32, u32)) -> RgbImage {
    let (photo_width, photo_height) = photo.dimensions();
    let span = |start: f32, part: f32, whole: u32| {
        let from = ((f64::from(start) * f64::from(whole)).round() as u32).min(whole.saturating_sub(1));
        let length = ((f64::from(part) * f64::from(whole)).round() as u32).clamp(1, (whole - from).max(1));
        (from, length)
    };
    if photo_width == 0 || photo_height == 0 {
        return RgbImage::new(size.0, size.1);
    }
    let ((x, w), (y, h)) = (span(left, width, photo_width), span(top, height, photo_height));
    let part = imageops::crop_imm(photo, x, y, w, h);
    if (x, y, w, h) == (0, 0, size.0, size.1) && (w, h) == photo.dimensions() {
        return photo.clone();
    }
    // Averaging is exact enough for shrinking, and far faster than a filter.
    if w >= size.0 && h >= size.1 {
        imageops::thumbnail(&*part, size.0, size.1)
    } else {
        imageops::resize(&*part, size.0, size.1, imageops::FilterType::Triangle)
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use ndarray::{ArrayD, IxDyn, array};

    use super::*;
    use crate::engine::{HeatKey, HeatMap};

    fn photo() -> Arc<Photo> {
        let pixels = RgbImage::from_fn(40, 20, |x, _| if x < 20 { Rgb([200, 0, 0]) } else { Rgb([0, 0, 200]) });
        let seen = Seen { x: 10.0, y: 0.0, width: 20.0, height: 20.0 };
        Arc::new(Photo {
            id: 1,
            pixels,
            seen,
            tensor: ArrayD::zeros(IxDyn(&[1])),
            notes: Vec::new(),
            modified: None,
            beside: None,
        })
    }

    fn heat(values: Array2<f32>) -> Heat {
        Arc::new(HeatMap { values, most: 1.0 })
    }

    fn drawing(content: Content, alpha: f32, window: [f32; 4]) -> Drawing {
        let key = TileKey {
            photo: 1,
            content,
            colormap: 0,
            alpha: alpha.to_bits(),
            window: window.map(f32::to_bits),
            cells: (1, 1),
            marks: None,
            enlarge: Enlarge::Bilinear,
        };
        let heats = vec![heat(array![[0.0, 1.0]]), heat(array![[1.0, 0.0]])];
        Drawing { key, photo: photo(), heats, second: None, marks: Arc::default(), has_all_labels: false }
    }

    #[test]
    fn boxes_leave_the_picture_to_be_seen() {
        let mark = |at: usize| Mark {
            corners: [2.0 * at as f64, 0.0, 2.0 * at as f64 + 30.0, 40.0],
            label: String::new(),
            is_chosen: at == 20,
        };
        let marks: Vec<Mark> = (0..25).map(mark).collect();
        let few = with_room(marks.clone(), (80, 80));
        assert_eq!(few.iter().map(|mark| mark.corners[0]).collect::<Vec<_>>(), [0.0, 2.0, 40.0]);
        assert_eq!(with_room(marks, (480, 480)).len(), 25);
    }

    #[test]
    fn heat_in_a_box_counts_cells_by_their_part() {
        let photo = photo();
        let (width, height) = (photo.seen.width, photo.seen.height);
        let at = |x: f64, y: f64| (photo.seen.x + x * width, photo.seen.y + y * height);
        let heat = heat(array![[0.0, 1.0], [0.5, 0.5]]);
        let inside = |(left, top): (f64, f64), (right, bottom): (f64, f64)| {
            heat_inside(&photo, &heat, [left, top, right, bottom])
        };
        assert_eq!(inside(at(0.5, 0.0), at(1.0, 0.5)), Some(0.5));
        assert_eq!(inside(at(0.75, 0.0), at(1.0, 1.0)), Some(0.375));
        assert_eq!(inside(at(0.0, 0.0), at(1.0, 1.0)), Some(1.0));
        assert_eq!(inside(at(2.0, 2.0), at(3.0, 3.0)), Some(0.0));
        let none = Arc::new(HeatMap::of(array![[0.0, 0.0]].view()));
        assert_eq!(heat_inside(&photo, &none, [0.0, 0.0, 9.0, 9.0]), None);
    }

    const KEY: HeatKey = HeatKey { photo: 1, target: 0, layer: 0, method: 0 };
    const WHOLE: [f32; 4] = [0.0, 0.0, 1.0, 1.0];

    #[test]
    fn the_heat_lies_where_the_network_looked_also_when_zoomed() {
        let mut scaled = Scaled::default();
        let whole = draw(&drawing(Content::Heat(KEY), 0.0, WHOLE), (40, 20), &mut scaled);
        assert_eq!(whole.get_pixel(5, 5).0, [0, 0, 0]);
        assert_eq!(whole.get_pixel(11, 5).0, [0, 0, 128]);
        assert_eq!(whole.get_pixel(28, 5).0, [128, 0, 0]);
        let right = draw(&drawing(Content::Heat(KEY), 0.0, [0.5, 0.0, 0.5, 1.0]), (40, 40), &mut scaled);
        assert_eq!(right.get_pixel(18, 5).0, [128, 0, 0]);
        assert_eq!(right.get_pixel(22, 5).0, [0, 0, 0]);
    }

    #[test]
    fn a_zoomed_photo_shows_its_part() {
        let drawn = draw(&drawing(Content::Photo, 0.0, [0.5, 0.0, 0.5, 1.0]), (8, 8), &mut Scaled::default());
        assert!(drawn.pixels().all(|pixel| pixel.0 == [0, 0, 200]));
    }

    #[test]
    fn a_difference_is_grey_in_the_middle() {
        let drawing = drawing(Content::Difference(KEY, KEY), 0.0, WHOLE);
        assert_eq!(difference(&drawing.heats[0], &drawing.heats[1]), array![[0.0, 1.0]]);
        assert_eq!(difference(&drawing.heats[0], &drawing.heats[0]), array![[0.5, 0.5]]);
        let coarse = heat(array![[1.0]]);
        assert_eq!(difference(&drawing.heats[0], &coarse), array![[0.0, 0.5]]);
    }

    #[test]
    fn the_heat_is_read_at_a_point() {
        let drawing = drawing(Content::Photo, 0.0, WHOLE);
        let read = |x, y| heat_at(&drawing.photo, &drawing.heats[0], Enlarge::Bilinear, (x, y));
        assert_eq!(read(0.1, 0.5), None);
        assert_eq!(read(0.26, 0.5), Some(0.0));
        assert_eq!(read(0.5, 0.5), Some(0.5));
        assert_eq!(read(0.74, 0.5), Some(1.0));
    }
}
