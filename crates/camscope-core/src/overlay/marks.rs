//! Boxes and their labels over an image.

use embedded_graphics::{
    Drawable, Pixel,
    geometry::{OriginDimensions, Point, Size},
    mono_font::{MonoTextStyle, iso_8859_1::FONT_6X10},
    pixelcolor::{Rgb888, RgbColor},
    prelude::DrawTarget,
    text::{Baseline, Text},
};
use image::{Rgb, RgbImage};

/// A box to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Left, top, right, bottom in the image's pixels; it may reach beyond.
    pub corners: [f64; 4],
    /// What stands at its upper edge; empty: nothing.
    pub label: String,
    /// Whether it is the one that is explained.
    pub is_chosen: bool,
}

/// A letter's width and height, before it is enlarged.
const LETTER: [u32; 2] = [6, 10];

const CHOSEN: [u8; 3] = [255, 255, 255];
const OTHER: [u8; 3] = [190, 190, 190];
const GROUND: [u8; 3] = [0, 0, 0];

/// Draws boxes, thin, with a dark line around each so that they stand out of any ground; those that are chosen last, brighter and wider. Letters
/// grow with the image. Characters beyond Latin-1 become question marks.
///
/// Labels lie beside one another: those that are chosen take their places first, and one that no room is left for is left out.
pub fn draw_marks(image: &mut RgbImage, marks: &[Mark]) {
    let scale = (image.width().max(image.height()) / 480).max(1);
    let of = |chosen: bool| marks.iter().filter(move |mark| mark.is_chosen == chosen);
    // Where a line's width is a good part of the picture's, one pixel is enough.
    let is_small = image.width().min(image.height()) < SMALL;
    let edge = if is_small { 0 } else { i64::from(scale) };
    for (chosen, colour) in [(false, OTHER), (true, CHOSEN)] {
        let width = i64::from(if chosen && !is_small { 2 * scale } else { scale });
        of(chosen).for_each(|mark| frame(image, mark.corners, width, edge, colour));
    }
    let mut taken = Vec::new();
    for (chosen, colour) in [(true, CHOSEN), (false, OTHER)] {
        of(chosen).for_each(|mark| label(image, mark, (scale, colour), &mut taken));
    }
}

/// The shorter side in pixels of a picture whose boxes are drawn with lines of one pixel.
const SMALL: u32 = 100;

/// The outline, `width` pixels wide, with a dark line of `edge` pixels on both sides.
fn frame(image: &mut RgbImage, corners: [f64; 4], width: i64, edge: i64, colour: [u8; 3]) {
    let [left, top, right, bottom] = corners.map(|side| side.round().clamp(-1e6, 1e6) as i64);
    for (grow, colour) in [(edge, GROUND), (0, colour)] {
        let (out, inner) = (grow, width + grow);
        fill(image, [left - out, top - out, right + out, top + inner], colour);
        fill(image, [left - out, bottom - inner, right + out, bottom + out], colour);
        fill(image, [left - out, top - out, left + inner, bottom + out], colour);
        fill(image, [right - inner, top - out, right + out, bottom + out], colour);
    }
}

/// Fills what of a rectangle lies within the image.
fn fill(image: &mut RgbImage, [left, top, right, bottom]: [i64; 4], colour: [u8; 3]) {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    for y in top.max(0)..bottom.min(height) {
        for x in left.max(0)..right.min(width) {
            image.put_pixel(x as u32, y as u32, Rgb(colour));
        }
    }
}

/// The label above the box, or within it where there is no room, or where else the box is nearest; `taken` are the places of those before.
fn label(image: &mut RgbImage, mark: &Mark, (scale, colour): (u32, [u8; 3]), taken: &mut Vec<[i64; 4]>) {
    let text = drawable(&mark.label);
    if text.is_empty() {
        return;
    }
    let [width, height] = text_size(&text, scale).map(i64::from);
    let room = [i64::from(image.width()) - width, i64::from(image.height()) - height].map(|room| room.max(0));
    let Some([x, y]) = place(mark.corners, [width, height], room, taken) else { return };
    taken.push([x, y, x + width, y + height]);
    letters(image, (x, y), &text, (scale, colour));
}

/// Pixels between labels.
const APART: i64 = 1;

/// Where a label of that width and height lies that is not on any other: its left upper corner, from 0 to `room`. None: there is no such place
/// next to the box.
fn place(corners: [f64; 4], [width, height]: [i64; 2], room: [i64; 2], taken: &[[i64; 4]]) -> Option<[i64; 2]> {
    let [left, top, right, bottom] = corners.map(|side| side.round().clamp(-1e6, 1e6) as i64);
    let is_free = |[x, y]: &[i64; 2]| {
        let beside = |[left, top, right, bottom]: &[i64; 4]| {
            let [left, top, right, bottom] = [left - APART, top - APART, right + APART, bottom + APART];
            x + width <= left || *x >= right || y + height <= top || *y >= bottom
        };
        taken.iter().all(beside)
    };
    let within = |[x, y]: [i64; 2]| [x.clamp(0, room[0]), y.clamp(0, room[1])];
    let above = if top >= height { top - height } else { top };
    let usual = [
        [left, above],
        [right - width, above],
        [left, top],
        [right - width, top],
        [left, bottom],
        [left, bottom - height],
        [right - width, bottom],
        [right - width, bottom - height],
        [right, top],
        [left - width, top],
    ];
    let first = within(usual[0]);
    usual.into_iter().map(within).find(is_free).or_else(|| {
        // The nearest place beside another label or at an edge; farther away nobody would know whose it is.
        let beside = |low: i64, high: i64, length: i64| [low - length - APART, high + APART];
        let columns = taken.iter().flat_map(|other| beside(other[0], other[2], width)).chain([first[0], 0, room[0]]);
        let rows: Vec<i64> =
            taken.iter().flat_map(|other| beside(other[1], other[3], height)).chain([first[1], 0, room[1]]).collect();
        let near = |[x, y]: &[i64; 2]| (x - first[0]).abs() <= width && (y - first[1]).abs() <= 2 * height;
        let all = columns.flat_map(|x| rows.iter().map(move |&y| [x, y]));
        let inside = all.filter(|&at| at == within(at)).filter(|at| near(at) && is_free(at));
        inside.min_by_key(|[x, y]| ((x - first[0]).abs() + (y - first[1]).abs(), *y, *x))
    })
}

/// Writes a line on dark ground, with its left upper corner at `at`; what does not fit is cut off.
pub(super) fn write(image: &mut RgbImage, at: (i64, i64), text: &str, scale: u32) {
    letters(image, at, text, (scale, CHOSEN));
}

fn letters(image: &mut RgbImage, (x, y): (i64, i64), text: &str, (scale, colour): (u32, [u8; 3])) {
    let [width, height] = [text.chars().count() as u32 * LETTER[0] * scale, LETTER[1] * scale].map(i64::from);
    fill(image, [x, y, x + width, y + height], GROUND);
    draw_text(image, text, (x, y), scale, colour);
}

/// The text in letters that can be drawn: characters beyond Latin-1 and controls become question marks, and the minus sign a hyphen.
fn drawable(text: &str) -> String {
    let drawn = |c: char| match c {
        '−' => '-',
        c if c.is_control() || u32::from(c) > 255 => '?',
        c => c,
    };
    text.chars().map(drawn).collect()
}

/// Width and height of a line of text in pixels, each letter's dots being squares of `scale` pixels.
pub fn text_size(text: &str, scale: u32) -> [u32; 2] {
    [text.chars().count() as u32 * LETTER[0] * scale, LETTER[1] * scale]
}

/// Draws a line of text, its upper left corner at `at`; what lies beyond the image is cut. Characters beyond Latin-1 become question marks.
pub fn draw_text(image: &mut RgbImage, text: &str, at: (i64, i64), scale: u32, [r, g, b]: [u8; 3]) {
    let style = MonoTextStyle::new(&FONT_6X10, Rgb888::new(r, g, b));
    let mut canvas = Canvas { image, at, scale };
    // The canvas draws whatever lies within it: there is nothing that can fail.
    let _ = Text::with_baseline(&drawable(text), Point::zero(), style, Baseline::Top).draw(&mut canvas);
}

/// A place of an image where each point is a square of `scale` pixels.
struct Canvas<'a> {
    image: &'a mut RgbImage,
    at: (i64, i64),
    scale: u32,
}

impl OriginDimensions for Canvas<'_> {
    fn size(&self) -> Size {
        Size::new(self.image.width(), self.image.height())
    }
}

impl DrawTarget for Canvas<'_> {
    type Color = Rgb888;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        let scale = i64::from(self.scale);
        for Pixel(point, colour) in pixels {
            let (x, y) = (self.at.0 + i64::from(point.x) * scale, self.at.1 + i64::from(point.y) * scale);
            fill(self.image, [x, y, x + scale, y + scale], [colour.r(), colour.g(), colour.b()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(marks: &[Mark]) -> RgbImage {
        let mut image = RgbImage::from_pixel(100, 60, Rgb([10, 100, 10]));
        draw_marks(&mut image, marks);
        image
    }

    fn mark(corners: [f64; 4], label: &str, is_chosen: bool) -> Mark {
        Mark { corners, label: label.to_owned(), is_chosen }
    }

    #[test]
    fn the_chosen_box_lies_over_the_others_and_both_stand_out() {
        let mut image = RgbImage::from_pixel(100, 100, Rgb([10, 100, 10]));
        let marks = [mark([20.0, 20.0, 60.0, 50.0], "", true), mark([20.0, 20.0, 80.0, 50.0], "", false)];
        draw_marks(&mut image, &marks);
        assert_eq!(image.get_pixel(40, 20).0, CHOSEN);
        assert_eq!(image.get_pixel(70, 20).0, OTHER);
        assert_eq!(image.get_pixel(70, 19).0, GROUND);
        assert_eq!(image.get_pixel(40, 35).0, [10, 100, 10]);
    }

    #[test]
    fn in_a_small_picture_lines_are_one_pixel_wide() {
        let mut image = RgbImage::new(60, 40);
        draw_marks(&mut image, &[mark([10.0, 10.0, 30.0, 30.0], "", true)]);
        let row: Vec<u32> = (0..60).filter(|x| image.get_pixel(*x, 20).0 != [0; 3]).collect();
        assert_eq!(row, [10, 29]);
    }

    #[test]
    fn labels_stay_within_the_image() {
        for corners in [[90.0, 2.0, 99.0, 50.0], [-20.0, -20.0, 200.0, 200.0], [5.0, 58.0, 9.0, 59.0]] {
            let image = drawn(&[mark(corners, "cat 50 %", true)]);
            let bright = image.pixels().filter(|pixel| pixel.0 == CHOSEN).count();
            assert!(bright > 60, "{corners:?}: {bright}");
        }
    }

    #[test]
    fn labels_lie_beside_one_another_and_the_chosen_one_has_its_place() {
        let corners =
            [[10.0, 22.0, 60.0, 50.0], [12.0, 24.0, 62.0, 52.0], [10.0, 22.0, 61.0, 50.0], [8.0, 20.0, 40.0, 55.0]];
        let mut taken: Vec<[i64; 4]> = Vec::new();
        for corners in corners.iter().cycle().take(20) {
            let Some([x, y]) = place(*corners, [42, 10], [58, 50], &taken) else { continue };
            assert!((0..=58).contains(&x) && (0..=50).contains(&y));
            let own = [x, y, x + 42, y + 10];
            let is_beside =
                |other: &[i64; 4]| own[2] < other[0] || own[0] > other[2] || own[3] < other[1] || own[1] > other[3];
            assert!(taken.iter().all(is_beside), "{own:?} {taken:?}");
            taken.push(own);
        }
        assert!((4..10).contains(&taken.len()), "{taken:?}");
        assert_eq!(taken[0], [10, 12, 52, 22]);
        // All around there are others.
        let full: Vec<[i64; 4]> = (0..6).map(|row| [0, row * 10, 100, row * 10 + 10]).collect();
        assert_eq!(place(corners[0], [42, 10], [58, 50], &full), None);
        // Whatever comes first, the chosen one has the usual place.
        let marks = |first: bool| [mark(corners[0], "one", !first), mark(corners[0], "two", first)];
        let chosen = |marks: &[Mark]| drawn(marks).pixels().filter(|pixel| pixel.0 == CHOSEN).count();
        assert!(chosen(&marks(true)) > 60 && chosen(&marks(false)) > 60);
        let (both, alone) = (drawn(&marks(true)), drawn(&[mark(corners[0], "two", true)]));
        assert!((10..28).all(|x| (12..22).all(|y| both.get_pixel(x, y) == alone.get_pixel(x, y))));
    }

    #[test]
    fn boxes_beyond_the_image_and_strange_labels_draw_nothing_strange() {
        let far = drawn(&[mark([1e9, 1e9, 2e9, 2e9], "", true), mark([f64::NAN; 4], "", false)]);
        assert_eq!(far.get_pixel(99, 59).0, [10, 100, 10]);
        let (strange, plain) = (
            drawn(&[mark([20.0, 20.0, 90.0, 50.0], "猫\u{1b}", true)]),
            drawn(&[mark([20.0, 20.0, 90.0, 50.0], "??", true)]),
        );
        assert_eq!(strange, plain);
    }
}
