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
pub fn draw_marks(image: &mut RgbImage, marks: &[Mark]) {
    let scale = (image.width().max(image.height()) / 480).max(1);
    for chosen in [false, true] {
        for mark in marks.iter().filter(|mark| mark.is_chosen == chosen) {
            let colour = if chosen { CHOSEN } else { OTHER };
            let width = i64::from(if chosen { 2 * scale } else { scale });
            frame(image, mark.corners, width, i64::from(scale), colour);
            label(image, mark, scale, colour);
        }
    }
}

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

/// The label above the box, or within it where there is no room.
fn label(image: &mut RgbImage, mark: &Mark, scale: u32, colour: [u8; 3]) {
    let text = drawable(&mark.label);
    if text.is_empty() {
        return;
    }
    let [width, height] = text_size(&text, scale).map(i64::from);
    let [left, top, ..] = mark.corners.map(|side| side.round().clamp(-1e6, 1e6) as i64);
    let room = i64::from(image.width()) - width;
    let (x, above) = (left.clamp(0, room.max(0)), top - height);
    let y = (if above >= 0 { above } else { top.max(0) }).min(i64::from(image.height()) - height).max(0);
    letters(image, (x, y), &text, (scale, colour));
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

/// The text in letters that can be drawn: characters beyond Latin-1 and controls become question marks.
fn drawable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || u32::from(c) > 255 { '?' } else { c }).collect()
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
        let image = drawn(&[mark([20.0, 20.0, 60.0, 50.0], "", true), mark([20.0, 20.0, 80.0, 50.0], "", false)]);
        assert_eq!(image.get_pixel(40, 20).0, CHOSEN);
        assert_eq!(image.get_pixel(70, 20).0, OTHER);
        assert_eq!(image.get_pixel(70, 19).0, GROUND);
        assert_eq!(image.get_pixel(40, 35).0, [10, 100, 10]);
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
