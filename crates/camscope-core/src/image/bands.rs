//! TIFF images of other bands than a photo's, for networks that take as many.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ImageBuffer, Luma, Rgb, RgbImage, imageops};
use ndarray::{Array4, s};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use super::deep;
use super::geometry::Placement;
use super::prepare::{Prepared, float_window};
use super::tiff_extra::as_samples;
use crate::Result;
use crate::model::{Color, Layout, Preprocessing};

/// Planes follow one another, in place of pixels.
const PLANAR: u16 = 2;

/// A band: grey levels from 0 to 255, with all of their fractions.
type Band = ImageBuffer<Luma<f32>, Vec<f32>>;

/// The bands of an image, upright, in the file's order.
#[derive(Debug, Clone)]
pub(super) struct Bands(Vec<Band>);

impl Bands {
    /// Decodes them; `white` is white where it is given, in values of more than 8 bits.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn decode(
        bytes: &[u8],
        white: Option<f32>,
        affordable: impl Fn(u32, u32, u64) -> bool,
        notes: &mut Vec<String>,
    ) -> Result<Self, Fault> {
        // Colours of more samples than they have are refused, and grey of any number is read.
        let plain = as_samples(bytes);
        let damaged = |error: tiff::TiffError| Fault::Decoder(error.to_string());
        let mut limits = Limits::default();
        limits.decoding_buffer_size = usize::try_from(super::MAX_BYTES).unwrap_or(usize::MAX);
        limits.intermediate_buffer_size = limits.decoding_buffer_size;
        let decoder = Decoder::new(Cursor::new(plain.as_deref().unwrap_or(bytes)));
        let mut decoder = decoder.map_err(damaged)?.with_limits(limits);
        let (width, height) = decoder.dimensions().map_err(damaged)?;
        let mut tag = |tag| decoder.find_tag_unsigned::<u16>(tag).ok().flatten();
        let count = usize::from(tag(Tag::SamplesPerPixel).unwrap_or(1));
        let is_planar = tag(Tag::PlanarConfiguration) == Some(PLANAR);
        let orientation = tag(Tag::Orientation).and_then(|code| Orientation::from_exif(u8::try_from(code).ok()?));
        let pixels = u64::from(width) * u64::from(height);
        // As they are in the file, as floats, and band by band.
        if !affordable(width, height, pixels * count as u64 * (8 + 4 + 4)) {
            return Err(Fault::Size(width, height));
        }
        let mut read = DecodingResult::U8(Vec::new());
        decoder.read_image_to_buffer(&mut read).map_err(damaged)?;
        let levels = levels(read, white, notes)?;
        let pixels = pixels as usize;
        if levels.len() != pixels * count {
            return Err(Fault::Decoder(format!(
                "it holds {} values for {count} bands of {pixels} pixels",
                levels.len()
            )));
        }
        let band = |band: usize| {
            let own = match is_planar {
                true => levels[band * pixels..(band + 1) * pixels].to_vec(),
                false => levels.iter().skip(band).step_by(count).copied().collect(),
            };
            Some(upright(Band::from_raw(width, height, own)?, orientation.unwrap_or(Orientation::NoTransforms)))
        };
        let bands: Option<Vec<Band>> = (0..count).map(band).collect();
        Ok(Self(bands.ok_or(Fault::Size(width, height))?))
    }

    /// As a person sees it: the first three bands as red, green and blue; of two the first as grey.
    pub(super) fn eight_bits(&self) -> RgbImage {
        let (width, height) = self.dimensions();
        let level = |band: usize, x: u32, y: u32| self.0[band].get_pixel(x, y).0[0].round() as u8;
        let shown = if self.0.len() < 3 { [0, 0, 0] } else { [0, 1, 2] };
        RgbImage::from_fn(width, height, |x, y| Rgb(shown.map(|band| level(band, x, y))))
    }

    fn dimensions(&self) -> (u32, u32) {
        self.0.first().map_or((0, 0), ImageBuffer::dimensions)
    }

    /// As [`super::prepare`], a band after the other, in floats.
    pub(super) fn prepare(&self, preprocessing: &Preprocessing) -> Result<Prepared> {
        preprocessing.check()?;
        let (width, height) = self.dimensions();
        let placement = Placement::new(width, height, preprocessing);
        let (rows, columns) = (preprocessing.size.0 as usize, preprocessing.size.1 as usize);
        let mut tensor = match preprocessing.layout {
            Layout::Nchw => Array4::zeros((1, self.0.len(), rows, columns)),
            Layout::Nhwc => Array4::zeros((1, rows, columns, self.0.len())),
        };
        let [low, high] = preprocessing.range;
        for (at, band) in self.0.iter().enumerate() {
            let (mean, std) = (preprocessing.mean[at], preprocessing.std[at]);
            let own = Preprocessing { color: Color::Grey, mean: vec![mean], std: vec![std], ..preprocessing.clone() };
            let fitted = float_window::<1>(band.as_raw(), (width, height), &placement, &own);
            let mut values = match preprocessing.layout {
                Layout::Nchw => tensor.slice_mut(s![0, at, .., ..]),
                Layout::Nhwc => tensor.slice_mut(s![0, .., .., at]),
            };
            values.zip_mut_with(&fitted.slice(s![.., .., 0]), |value, level| {
                let found = (low + level / 255.0 * (high - low) - mean) / std;
                *value = if preprocessing.whole { found.round() } else { found };
            });
        }
        Ok(Prepared { tensor: tensor.into_dyn(), seen: placement.seen(width, height) })
    }
}

/// Why bands can't be read.
pub(super) enum Fault {
    /// Too large.
    Size(u32, u32),
    /// The decoder says so.
    Decoder(String),
    /// Which value is white is not known.
    Levels(String),
}

/// The values as grey levels from 0 to 255.
fn levels(read: DecodingResult, white: Option<f32>, notes: &mut Vec<String>) -> Result<Vec<f32>, Fault> {
    let (values, usual): (Vec<f32>, Option<f32>) = match read {
        DecodingResult::U8(values) => {
            return Ok(values.into_iter().map(f32::from).collect());
        }
        DecodingResult::U16(values) => {
            if white.is_none() {
                notes.extend(deep::few_levels(values.iter().copied().max().unwrap_or(0)));
            }
            (values.into_iter().map(f32::from).collect(), Some(deep::WHITE))
        }
        DecodingResult::F16(values) => (values.into_iter().map(f32::from).collect(), None),
        DecodingResult::F32(values) => (values, None),
        DecodingResult::F64(values) => (values.into_iter().map(|value| value as f32).collect(), None),
        DecodingResult::I8(values) => (values.into_iter().map(f32::from).collect(), None),
        DecodingResult::I16(values) => (values.into_iter().map(f32::from).collect(), None),
        DecodingResult::I32(values) => (values.into_iter().map(|value| value as f32).collect(), None),
        DecodingResult::U32(values) => (values.into_iter().map(|value| value as f32).collect(), None),
        DecodingResult::U64(values) => (values.into_iter().map(|value| value as f32).collect(), None),
        DecodingResult::I64(values) => (values.into_iter().map(|value| value as f32).collect(), None),
    };
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Fault::Levels(format!("it holds the value {value}")));
    }
    let white = match white.or(usual) {
        Some(white) => white,
        None => deep::white_of_floats(&values).map_err(Fault::Levels)?,
    };
    Ok(values.into_iter().map(|value| (value / white).clamp(0.0, 1.0) * 255.0).collect())
}

fn upright(band: Band, orientation: Orientation) -> Band {
    match orientation {
        Orientation::NoTransforms => band,
        Orientation::Rotate90 => imageops::rotate90(&band),
        Orientation::Rotate180 => imageops::rotate180(&band),
        Orientation::Rotate270 => imageops::rotate270(&band),
        Orientation::FlipHorizontal => imageops::flip_horizontal(&band),
        Orientation::FlipVertical => imageops::flip_vertical(&band),
        Orientation::Rotate90FlipH => imageops::flip_horizontal(&imageops::rotate90(&band)),
        Orientation::Rotate270FlipH => imageops::flip_horizontal(&imageops::rotate270(&band)),
    }
}

#[cfg(test)]
mod tests;
