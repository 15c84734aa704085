//! The pictures beside a report's page: small photos, and heat in grey.

use std::io::Cursor;

use camscope_core::{
    explain::Explanation,
    image::Seen,
    method::Sign,
    overlay::{self, Colormap, Kind},
};
use image::{ExtendedColorType, ImageEncoder, RgbImage, codecs::jpeg::JpegEncoder, codecs::png::PngEncoder};
use ndarray::ArrayView2;

/// The folder of the pictures, within the report's.
pub(crate) const FOLDER: &str = "pictures";

/// The longer side of a small photo, and of its heat, in pixels.
const SIDE: u32 = 320;
const HEAT_SIDE: u32 = 160;

/// Of a JPEG, from 1 to 100.
const QUALITY: u8 = 80;

/// A small photo, as JPEG.
///
/// # Errors
/// It cannot be encoded: it has no pixels.
pub(crate) fn small(photo: &RgbImage) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    overlay::shrunk(photo, SIDE).write_with_encoder(encoder).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// The heat over a photo (`None`: over what was seen alone) as a grey PNG with transparency where the network saw nothing; `None` without a
/// heatmap.
pub(crate) fn heat(
    photo: Option<&RgbImage>,
    seen: &Seen,
    explanation: &Explanation,
    sign: Sign,
) -> Option<std::io::Result<Vec<u8>>> {
    let heatmap = explanation.heatmap.as_ref()?.view();
    let heat = if sign == Sign::Both { overlay::normalise_signed(heatmap) } else { overlay::normalise(heatmap) };
    let size = photo.map_or((seen.width.ceil() as u32, seen.height.ceil() as u32), RgbImage::dimensions);
    Some(grey(heat.view(), size, seen))
}

/// Heat from 0 to 1 over a photo of this width and height, made small.
///
/// # Errors
/// It cannot be encoded: it has no pixels.
pub(crate) fn grey(heat: ArrayView2<'_, f32>, (width, height): (u32, u32), seen: &Seen) -> std::io::Result<Vec<u8>> {
    let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let scale = (f64::from(HEAT_SIDE) / width.max(height)).min(1.0);
    let of = |length: f64| ((length * scale).round() as u32).max(1);
    let (small_width, small_height) = (of(width), of(height));
    let (across, down) = (f64::from(small_width) / width, f64::from(small_height) / height);
    let seen = Seen { x: seen.x * across, y: seen.y * down, width: seen.width * across, height: seen.height * down };
    let black = RgbImage::new(small_width, small_height);
    let grey = overlay::render(&black, heat, &seen, &Grey, 0.0);
    let is_seen = |x: u32, y: u32| {
        let (x, y) = (f64::from(x) + 0.5 - seen.x, f64::from(y) + 0.5 - seen.y);
        (0.0..=seen.width).contains(&x) && (0.0..=seen.height).contains(&y)
    };
    let pixels: Vec<u8> =
        grey.enumerate_pixels().flat_map(|(x, y, pixel)| [pixel[0], if is_seen(x, y) { 255 } else { 0 }]).collect();
    let mut bytes = Cursor::new(Vec::new());
    let written = PngEncoder::new(&mut bytes).write_image(&pixels, small_width, small_height, ExtendedColorType::La8);
    written.map(|()| bytes.into_inner()).map_err(std::io::Error::other)
}

/// Heat as brightness.
struct Grey;

impl Colormap for Grey {
    fn name(&self) -> &str {
        "grey"
    }

    fn kind(&self) -> Kind {
        Kind::Sequential
    }

    fn table(&self) -> [[u8; 3]; 256] {
        std::array::from_fn(|level| [level as u8; 3])
    }
}
