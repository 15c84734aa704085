//! Photos of more than 256 levels: they keep what they have until the network's own scaling.

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, Luma, RgbImage};

/// The largest 16-bit value.
pub(super) const WHITE: f32 = 65535.0;

/// The pixels of a photo of more than 256 levels, upright.
#[derive(Debug, Clone)]
pub(super) struct Deep {
    /// One channel or three of 16 bits, or three floats.
    image: DynamicImage,
    /// Which value is white.
    white: f32,
}

/// A decoded image by how many levels it has.
pub(super) enum Levels {
    /// 256, as most photos.
    Eight(RgbImage),
    More(Deep),
}

/// Sorts an image by how many levels it has; `white` is what counts as white where it has more than 256.
///
/// # Errors
/// A sentence, where floats don't say what is white, or are no numbers.
pub(super) fn levels(image: DynamicImage, white: Option<f32>, notes: &mut Vec<String>) -> Result<Levels, String> {
    let image = match image {
        DynamicImage::ImageLuma16(_) | DynamicImage::ImageRgb16(_) | DynamicImage::ImageRgb32F(_) => image,
        DynamicImage::ImageLumaA16(_) => DynamicImage::ImageLuma16(image.into_luma16()),
        DynamicImage::ImageRgba16(_) => DynamicImage::ImageRgb16(image.into_rgb16()),
        DynamicImage::ImageRgba32F(_) => DynamicImage::ImageRgb32F(image.into_rgb32f()),
        // Conversion before turning: it halves or quarters what is to be turned.
        _ => return Ok(Levels::Eight(image.into_rgb8())),
    };
    if let DynamicImage::ImageRgb32F(floats) = &image
        && let Some(value) = floats.as_raw().iter().find(|value| !value.is_finite())
    {
        return Err(format!("it holds the value {value}"));
    }
    let white = match white {
        Some(white) => white,
        None => usual_white(&image, notes)?,
    };
    Ok(Levels::More(Deep { image, white }))
}

/// What is white where nobody says: the largest 16-bit value, and 1 among floats. Where the file hardly reaches that, or goes beyond
/// it, that is said.
fn usual_white(image: &DynamicImage, notes: &mut Vec<String>) -> Result<f32, String> {
    let words = match image {
        DynamicImage::ImageLuma16(grey) => grey.as_raw(),
        DynamicImage::ImageRgb16(colours) => colours.as_raw(),
        DynamicImage::ImageRgb32F(floats) => return white_of_floats(floats.as_raw()),
        _ => return Ok(WHITE),
    };
    notes.extend(few_levels(words.iter().copied().max().unwrap_or(0)));
    Ok(WHITE)
}

/// What is white among floats: 1.
///
/// # Errors
/// A sentence, where they go beyond it, or below 0.
pub(super) fn white_of_floats(values: &[f32]) -> Result<f32, String> {
    let extreme = |keep: fn(f32, f32) -> f32| values.iter().copied().fold(0.0, keep);
    let (least, most) = (extreme(f32::min), extreme(f32::max));
    match least < 0.0 || most > 1.0 {
        true => Err(format!("its values are floats from {least} to {most}, and which of them is white is not known")),
        false => Ok(1.0),
    }
}

/// What to say of 16-bit values of which `most` is the largest, where they could have fewer bits.
pub(super) fn few_levels(most: u16) -> Option<String> {
    // Sensors have 10, 12 or 14 bits.
    let bits = [8, 10, 12, 14].into_iter().find(|bits| most < 1 << bits).filter(|_| most > 0)?;
    Some(format!(
        "its 16-bit values go up to {most} only, and 65535 is white: if they have {bits} bits, give --white {}",
        (1 << bits) - 1
    ))
}

impl Deep {
    /// Turns it upright.
    pub(super) fn turn(&mut self, orientation: Orientation) {
        self.image.apply_orientation(orientation);
    }

    /// As a person sees it: 8 bits, rounded.
    pub(super) fn eight_bits(&self) -> RgbImage {
        let level = |value: f32| self.level(value).round() as u8;
        let (width, height) = (self.image.width(), self.image.height());
        match &self.image {
            DynamicImage::ImageLuma16(grey) => colours(grey, |&Luma([value])| [level(f32::from(value)); 3]),
            DynamicImage::ImageRgb16(rgb) => colours(rgb, |pixel| pixel.0.map(|value| level(f32::from(value)))),
            DynamicImage::ImageRgb32F(rgb) => colours(rgb, |pixel| pixel.0.map(level)),
            _ => RgbImage::new(width, height),
        }
    }

    /// A value as a grey level, from 0 to 255, with all of its fraction.
    fn level(&self, value: f32) -> f32 {
        (value / self.white).clamp(0.0, 1.0) * 255.0
    }

    /// Width and height in pixels.
    pub(super) fn dimensions(&self) -> (u32, u32) {
        (self.image.width(), self.image.height())
    }

    /// The grey levels, from 0 to 255, and how many channels they are of: 1 or 3.
    pub(super) fn grey_levels(&self) -> (Vec<f32>, usize) {
        let words = |words: &[u16]| words.iter().map(|&value| self.level(f32::from(value))).collect();
        match &self.image {
            DynamicImage::ImageLuma16(grey) => (words(grey.as_raw()), 1),
            DynamicImage::ImageRgb16(rgb) => (words(rgb.as_raw()), 3),
            DynamicImage::ImageRgb32F(rgb) => (rgb.as_raw().iter().map(|&value| self.level(value)).collect(), 3),
            other => (vec![0.0; other.width() as usize * other.height() as usize], 1),
        }
    }
}

fn colours<P: image::Pixel>(image: &ImageBuffer<P, Vec<P::Subpixel>>, colour: impl Fn(&P) -> [u8; 3]) -> RgbImage {
    let pixels = image.pixels().flat_map(colour).collect();
    RgbImage::from_raw(image.width(), image.height(), pixels).unwrap_or_default()
}

#[cfg(test)]
mod tests;
