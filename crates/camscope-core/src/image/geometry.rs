//! Where a photo is resized to and which part of it the network sees, as torchvision, Pillow and timm compute it.

use crate::model::{Crop, Preprocessing};

/// The rectangle of a photo that the network saw, in the upright photo's own pixels: (0, 0) is the outer corner of the
/// top left pixel.
///
/// Where the network's input was padded it reaches beyond the photo: `x` and `y` may be negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// The width, more than 0.
    pub width: f64,
    /// The height, more than 0.
    pub height: f64,
}

impl Seen {
    /// All of a photo of `width` × `height` pixels.
    pub fn all(width: u32, height: u32) -> Self {
        Self { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) }
    }

    /// The part that lies within a photo of `width` × `height` pixels.
    pub fn within(&self, width: u32, height: u32) -> Self {
        let (left, top) = (self.x.max(0.0), self.y.max(0.0));
        let right = (self.x + self.width).min(f64::from(width));
        let bottom = (self.y + self.height).min(f64::from(height));
        Self { x: left, y: top, width: (right - left).max(0.0), height: (bottom - top).max(0.0) }
    }
}

/// Where the pixels of a network's input lie in the photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    /// The rectangle of the photo that the network sees.
    pub seen: Seen,
    /// The input's height.
    pub height: f64,
    /// The input's width.
    pub width: f64,
    /// Whether there is a photo: else what counts as its pixels are those of the input.
    pub is_of_photo: bool,
}

impl Viewport {
    /// An input of that height and width that is no photo: its pixels are its own.
    pub fn of([height, width]: [usize; 2]) -> Self {
        let seen = Seen::all(width as u32, height as u32);
        Self { is_of_photo: false, ..Self::onto(seen, [height, width]) }
    }

    /// An input of that height and width that shows this of a photo.
    pub fn onto(seen: Seen, [height, width]: [usize; 2]) -> Self {
        Self { seen, height: height as f64, width: width as f64, is_of_photo: true }
    }

    /// A point of the input, x and y, in the photo.
    pub fn to_photo(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.seen.x + x / self.width * self.seen.width, self.seen.y + y / self.height * self.seen.height]
    }

    /// A point of the photo, x and y, in the input; it may lie beyond.
    pub fn to_input(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [(x - self.seen.x) / self.seen.width * self.width, (y - self.seen.y) / self.seen.height * self.height]
    }

    /// A point of the photo, x and y, in the input.
    ///
    /// # Errors
    /// A sentence, where it lies beyond: what of the photo is seen, or that there is no photo.
    pub fn seen_at(&self, point: [f64; 2]) -> Result<[f64; 2], String> {
        let [x, y] = self.to_input(point);
        if (0.0..self.width).contains(&x) && (0.0..self.height).contains(&y) {
            return Ok([x, y]);
        }
        let [left, top] = self.to_photo([0.0, 0.0]);
        let [right, bottom] = self.to_photo([self.width, self.height]);
        let place = format!("from {left:.0},{top:.0} to {right:.0},{bottom:.0}");
        Err(match self.is_of_photo {
            true => format!("the network sees of the photo what lies {place}"),
            false => format!("without a photo points are in pixels of the model's input, which goes {place}"),
        })
    }

    /// A box of the input, left, top, right, bottom, in the photo.
    pub fn corners(&self, [left, top, right, bottom]: [f32; 4]) -> [f64; 4] {
        let [left, top] = self.to_photo([f64::from(left), f64::from(top)]);
        let [right, bottom] = self.to_photo([f64::from(right), f64::from(bottom)]);
        [left, top, right, bottom]
    }
}

/// A box, left, top, right, bottom, cut at the edges of a photo of `width` × `height` pixels. One that lies beyond it becomes a line at the edge.
pub fn within_photo([left, top, right, bottom]: [f64; 4], width: u32, height: u32) -> [f64; 4] {
    let (width, height) = (f64::from(width), f64::from(height));
    [left.clamp(0.0, width), top.clamp(0.0, height), right.clamp(0.0, width), bottom.clamp(0.0, height)]
}

/// How a photo becomes the network's input: the size that all of it is resized to, and which window of that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The whole photo's width after resizing. It can be huge where a photo is a thin strip; only the window is computed.
    pub resized_width: u64,
    /// The whole photo's height after resizing.
    pub resized_height: u64,
    /// The window's left edge in the resized photo; negative where the input is padded.
    pub x: i64,
    /// The window's upper edge in the resized photo; negative where the input is padded.
    pub y: i64,
    /// The window's width: that of the network's input.
    pub width: u32,
    /// The window's height: that of the network's input.
    pub height: u32,
}

impl Placement {
    /// The placement of a photo of `width` × `height` pixels, neither of them 0.
    pub fn new(width: u32, height: u32, preprocessing: &Preprocessing) -> Self {
        let (input_height, input_width) = preprocessing.size;
        let (resized_width, resized_height) = match preprocessing.crop {
            Crop::CentreFraction(fraction) => {
                let (w, h) = (scale_size(input_width, fraction), scale_size(input_height, fraction));
                if w == h { shorter_side(width, height, w) } else { keep_ratio(width, height, w, h, f64::min) }
            }
            Crop::ResizeTo(side) => shorter_side(width, height, u64::from(side)),
            Crop::Squash => (u64::from(input_width), u64::from(input_height)),
            Crop::SquashTo { height, width } => (u64::from(width), u64::from(height)),
            Crop::Letterbox => keep_ratio(width, height, u64::from(input_width), u64::from(input_height), f64::max),
            Crop::Corner => within(width, height, input_width, input_height),
            Crop::Line => {
                let wide = (f64::from(input_height) * f64::from(width) / f64::from(height)).ceil();
                ((wide as u64).clamp(1, u64::from(input_width)), u64::from(input_height))
            }
            Crop::Border(fraction) => {
                let (w, h) = (scale_size(input_width, fraction), scale_size(input_height, fraction));
                keep_ratio(width, height, w, h, f64::max)
            }
        };
        let is_cornered = matches!(preprocessing.crop, Crop::Corner | Crop::Line);
        let offset = |size, crop| if is_cornered { 0 } else { centre_offset(size, crop) };
        Self {
            resized_width,
            resized_height,
            x: offset(resized_width, input_width),
            y: offset(resized_height, input_height),
            width: input_width,
            height: input_height,
        }
    }

    /// The window in the pixels of the photo itself, which is `width` × `height`.
    pub fn seen(&self, width: u32, height: u32) -> Seen {
        let (across, down) =
            (f64::from(width) / self.resized_width as f64, f64::from(height) / self.resized_height as f64);
        Seen {
            x: self.x as f64 * across,
            y: self.y as f64 * down,
            width: f64::from(self.width) * across,
            height: f64::from(self.height) * down,
        }
    }
}

/// timm's `math.floor(img_size / crop_pct)`.
fn scale_size(input: u32, fraction: f64) -> u64 {
    (f64::from(input) / fraction).floor() as u64
}

/// torchvision's `Resize(side)`: the shorter side becomes `side`, the longer `int(side * long / short)`.
fn shorter_side(width: u32, height: u32, side: u64) -> (u64, u64) {
    let long = |long: u32, short: u32| (side as f64 * f64::from(long) / f64::from(short)) as u64;
    if width <= height { (side, long(height, width)) } else { (long(width, height), side) }
}

/// timm's `ResizeKeepRatio`: by the smaller ratio the photo covers the target, by the larger it fits within.
fn keep_ratio(width: u32, height: u32, to_width: u64, to_height: u64, choose: fn(f64, f64) -> f64) -> (u64, u64) {
    let ratio = choose(f64::from(height) / to_height as f64, f64::from(width) / to_width as f64);
    // A thin strip could vanish; timm fails there.
    let side = |side: u32| ((f64::from(side) / ratio).round_ties_even() as u64).max(1);
    (side(width), side(height))
}

/// As large as fits within the input, sides rounded down: `preproc` of YOLOX's `yolox/data/data_augment.py`.
fn within(width: u32, height: u32, to_width: u32, to_height: u32) -> (u64, u64) {
    let ratio = (f64::from(to_height) / f64::from(height)).min(f64::from(to_width) / f64::from(width));
    // The side that decides would lose a pixel to rounding.
    let side = |side: u32, most: u32| ((f64::from(side) * ratio + 1e-9) as u64).clamp(1, u64::from(most));
    (side(width, to_width), side(height, to_height))
}

/// torchvision's `CenterCrop`: `int(round((size - crop) / 2.0))` with Python's rounding of halves to even; if the crop is
/// larger, `(crop - size) // 2` pixels of padding come first.
fn centre_offset(size: u64, crop: u32) -> i64 {
    let crop = u64::from(crop);
    if crop > size { -(((crop - size) / 2) as i64) } else { ((size - crop) as f64 / 2.0).round_ties_even() as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(size: (u32, u32), crop: Crop) -> Preprocessing {
        Preprocessing { size, crop, ..Preprocessing::imagenet() }
    }

    #[test]
    fn the_usual_crop_of_a_landscape() {
        let p = Placement::new(640, 480, &with((224, 224), Crop::CentreFraction(0.875)));
        assert_eq!((p.resized_width, p.resized_height), (341, 256));
        assert_eq!((p.x, p.y), (58, 16)); // (341 - 224) / 2 = 58.5: to even
        let seen = p.seen(640, 480);
        assert!((seen.width - 224.0 * 640.0 / 341.0).abs() < 1e-9 && (seen.y - 30.0).abs() < 1e-9, "{seen:?}");
    }

    #[test]
    fn fractions_round_as_in_python() {
        // math.floor(224 / 0.95) == 235, math.floor(288 / 0.9) == 320
        assert_eq!(scale_size(224, 0.95), 235);
        assert_eq!(scale_size(288, 0.9), 320);
    }

    #[test]
    fn a_crop_larger_than_the_photo_is_padded_and_reaches_beyond() {
        let p = Placement::new(100, 50, &with((80, 80), Crop::ResizeTo(39)));
        assert_eq!((p.resized_width, p.resized_height, p.x, p.y), (78, 39, -1, -20));
        let seen = p.seen(100, 50);
        assert!(seen.x < 0.0 && seen.y < 0.0);
        assert_eq!(seen.within(100, 50), Seen::all(100, 50));
    }

    #[test]
    fn boxes_are_cut_at_the_photo() {
        assert_eq!(within_photo([-3.0, 5.0, 120.0, 60.5], 100, 50), [0.0, 5.0, 100.0, 50.0]);
        assert_eq!(within_photo([101.0, -9.0, 120.0, -2.0], 100, 50), [100.0, 0.0, 100.0, 0.0]);
    }

    #[test]
    fn a_border_keeps_all_of_the_photo() {
        let p = Placement::new(200, 100, &with((64, 64), Crop::Border(1.0)));
        assert_eq!((p.resized_width, p.resized_height, p.x, p.y), (64, 32, 0, -16));
    }

    #[test]
    fn a_letterbox_is_that_of_ultralytics() {
        // LetterBox((640, 640)) of a 481 × 321 image: new_unpad (640, 427), 106 rows above.
        let p = Placement::new(481, 321, &with((640, 640), Crop::Letterbox));
        assert_eq!((p.resized_width, p.resized_height, p.x, p.y), (640, 427, 0, -106));
    }

    #[test]
    fn a_corner_is_that_of_yolox() {
        // `preproc(img, (416, 416))` of YOLOX for a 481 × 321 image: int(321 · 416 / 481) = 277 rows, int(481 · 416 / 481) = 416 columns.
        let p = Placement::new(481, 321, &with((416, 416), Crop::Corner));
        assert_eq!((p.resized_width, p.resized_height, p.x, p.y), (416, 277, 0, 0));
        let seen = p.seen(481, 321);
        assert!(seen.x == 0.0 && seen.y == 0.0 && seen.width == 481.0 && seen.height > 481.0, "{seen:?}");
    }

    #[test]
    fn a_line_is_that_of_paddleocr() {
        // `resize_norm_img` of PaddleOCR: ceil(48 · 100 / 40) = 120 of 192 columns; a longer line is squeezed.
        let p = Placement::new(100, 40, &with((48, 192), Crop::Line));
        assert_eq!((p.resized_width, p.resized_height, p.x, p.y), (120, 48, 0, 0));
        assert_eq!(Placement::new(1000, 40, &with((48, 192), Crop::Line)).resized_width, 192);
        assert_eq!(Placement::new(1, 400, &with((48, 192), Crop::Line)).resized_width, 1);
    }

    #[test]
    fn a_non_square_input_is_covered() {
        let p = Placement::new(200, 100, &with((64, 96), Crop::CentreFraction(1.0)));
        assert_eq!((p.resized_width, p.resized_height, p.x, p.y), (128, 64, 16, 0));
    }

    #[test]
    fn thin_strips_do_not_overflow() {
        for (w, h) in [(1, 4000), (4_000_000, 1), (1, 1), (u32::MAX, 1)] {
            for crop in [Crop::CentreFraction(0.875), Crop::ResizeTo(256), Crop::Squash, Crop::Border(0.9)] {
                let p = Placement::new(w, h, &with((224, 224), crop));
                assert!(p.resized_width > 0 && p.resized_height > 0, "{p:?}");
            }
        }
    }
}
