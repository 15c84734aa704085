//! From an upright photo to the tensor that a network takes.

use ndarray::{Array3, Array4, ArrayD, Zip, s};

use image::RgbImage;

use super::decode::Photo;
use super::deep::Deep;
use super::geometry::{Placement, Seen};
use super::resample::{Axis, resample, resample_floats};
use crate::model::{Color, Crop, Layout, Preprocessing};
use crate::{Error, Result};
use onnx_grad_ort::{cpu_features, multiversion};

/// What a network is fed with.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// 1 × C × H × W or 1 × H × W × C, as the preprocessing's layout says; C is 3, or 1 for grey.
    pub tensor: ArrayD<f32>,
    /// The rectangle of the photo that the network sees.
    pub seen: Seen,
}

/// A photo resized and cropped, before its grey levels are normalised.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// H × W × C grey levels; RGB, or one grey channel.
    pub pixels: Array3<u8>,
    /// The rectangle of the photo that they show.
    pub seen: Seen,
}

/// Resizes and crops `photo` to the network's input size, as Pillow and torchvision do, bit for bit.
///
/// # Errors
/// [`Error::BadPreprocessing`] if `preprocessing` has no valid sizes or the photo no pixels.
pub fn fit(photo: &RgbImage, preprocessing: &Preprocessing) -> Result<Fitted> {
    preprocessing.check()?;
    if photo.width() == 0 || photo.height() == 0 {
        return Err(Error::BadPreprocessing { reason: "a photo without pixels cannot be resized".into() });
    }
    let placement = Placement::new(photo.width(), photo.height(), preprocessing);
    let pixels = match preprocessing.color {
        // The BGR order is a matter of the tensor.
        Color::Rgb | Color::Bgr => window::<3>(photo.as_raw(), photo.dimensions(), &placement, preprocessing),
        Color::Grey => window::<1>(&grey(photo), photo.dimensions(), &placement, preprocessing),
        Color::Bands(wanted) => return Err(Error::Bands { photo: "the photo".into(), found: 3, wanted }),
    };
    Ok(Fitted { pixels, seen: placement.seen(photo.width(), photo.height()) })
}

/// Resizes, crops and normalises `photo`: each value is `(range[0] + v / 255 · (range[1] - range[0]) - mean) / std`.
///
/// # Errors
/// As [`fit`].
pub fn prepare(photo: &RgbImage, preprocessing: &Preprocessing) -> Result<Prepared> {
    let Fitted { pixels, seen } = fit(photo, preprocessing)?;
    let (height, width, channels) = pixels.dim();
    let mut tensor = match preprocessing.layout {
        Layout::Nchw => Array4::zeros((1, channels, height, width)),
        Layout::Nhwc => Array4::zeros((1, height, width, channels)),
    };
    for channel in 0..channels {
        let from = if preprocessing.color == Color::Bgr { channels - 1 - channel } else { channel };
        let values = match preprocessing.layout {
            Layout::Nchw => tensor.slice_mut(s![0, channel, .., ..]),
            Layout::Nhwc => tensor.slice_mut(s![0, .., .., channel]),
        };
        let of_level = normalised(preprocessing, channel);
        let levels = pixels.slice(s![.., .., from]);
        Zip::from(values).and(levels).for_each(|value, &level| *value = of_level[usize::from(level)]);
    }
    Ok(Prepared { tensor: tensor.into_dyn(), seen })
}

impl Photo {
    /// As [`prepare`], with all of the levels that the photo has.
    ///
    /// # Errors
    /// As [`fit`].
    pub fn prepare(&self, preprocessing: &Preprocessing) -> Result<Prepared> {
        if let Some(bands) = &self.bands {
            return bands.prepare(preprocessing);
        }
        if let Color::Bands(wanted) = preprocessing.color {
            return Err(Error::Bands { photo: self.name.clone(), found: 3, wanted });
        }
        self.deep
            .as_ref()
            .map_or_else(|| prepare(&self.pixels, preprocessing), |deep| prepare_deep(deep, preprocessing))
    }
}

/// As [`prepare`], in floats all the way: resized as Pillow resizes its modes `F` and `I;16`.
fn prepare_deep(photo: &Deep, preprocessing: &Preprocessing) -> Result<Prepared> {
    preprocessing.check()?;
    let (width, height) = photo.dimensions();
    let placement = Placement::new(width, height, preprocessing);
    let (mut levels, mut channels) = photo.grey_levels();
    if channels == 1 && preprocessing.color != Color::Grey && matches!(preprocessing.crop, Crop::Border(_) | Crop::Line)
    {
        // What the borders are filled with has colours.
        levels = levels.into_iter().flat_map(|level| [level; 3]).collect();
        channels = 3;
    }
    let fitted = match (channels, preprocessing.color) {
        (1, Color::Rgb | Color::Bgr | Color::Grey) => {
            float_window::<1>(&levels, (width, height), &placement, preprocessing)
        }
        (_, Color::Grey) => {
            let luma = |p: &[f32]| (p[0] * 19595.0 + p[1] * 38470.0 + p[2] * 7471.0) / 65536.0;
            let grey: Vec<f32> = levels.chunks_exact(3).map(luma).collect();
            float_window::<1>(&grey, (width, height), &placement, preprocessing)
        }
        (_, Color::Rgb | Color::Bgr) => float_window::<3>(&levels, (width, height), &placement, preprocessing),
        (found, Color::Bands(wanted)) => return Err(Error::Bands { photo: "the photo".into(), found, wanted }),
    };
    let level = |row: usize, column: usize, channel: usize| fitted[[row, column, channel % fitted.dim().2]];
    let channels = preprocessing.channels();
    let [low, high] = preprocessing.range;
    let value = |row, column, channel: usize| {
        let from = if preprocessing.color == Color::Bgr { channels - 1 - channel } else { channel };
        let level = level(row, column, from) / 255.0;
        let value = (low + level * (high - low) - preprocessing.mean[channel]) / preprocessing.std[channel];
        if preprocessing.whole { value.round() } else { value }
    };
    let (rows, columns) = (preprocessing.size.0 as usize, preprocessing.size.1 as usize);
    let tensor = match preprocessing.layout {
        Layout::Nchw => Array4::from_shape_fn((1, channels, rows, columns), |(_, c, y, x)| value(y, x, c)),
        Layout::Nhwc => Array4::from_shape_fn((1, rows, columns, channels), |(_, y, x, c)| value(y, x, c)),
    };
    Ok(Prepared { tensor: tensor.into_dyn(), seen: placement.seen(width, height) })
}

pub(super) fn float_window<const C: usize>(
    source: &[f32],
    photo: (u32, u32),
    placement: &Placement,
    preprocessing: &Preprocessing,
) -> Array3<f32> {
    let (x, y) = axes(photo, placement);
    let fill = padding::<C>(preprocessing).map(f32::from);
    padded(resample_floats::<C>(source, &x, &y, preprocessing.filter), &x, placement, fill)
}

/// The window of the resized photo, padded where it reaches beyond.
fn window<const C: usize>(
    source: &[u8],
    photo: (u32, u32),
    placement: &Placement,
    preprocessing: &Preprocessing,
) -> Array3<u8> {
    let (x, y) = axes(photo, placement);
    padded(resample::<C>(source, &x, &y, preprocessing.filter), &x, placement, padding::<C>(preprocessing))
}

/// The axes of the resize, and of each the part that the window shows.
fn axes((photo_width, photo_height): (u32, u32), placement: &Placement) -> (Axis, Axis) {
    let axis = |from: u32, to: u64, start: i64, len: u32| {
        let end = (start + i64::from(len)).clamp(1, to as i64) as u64;
        Axis { from, to, window: start.clamp(0, end as i64 - 1) as u64..end }
    };
    let x = axis(photo_width, placement.resized_width, placement.x, placement.width);
    let y = axis(photo_height, placement.resized_height, placement.y, placement.height);
    (x, y)
}

/// Pixels of the part that lies within the photo, with what the rest is filled with.
fn padded<T: Copy + Default, const C: usize>(
    pixels: Vec<T>,
    x: &Axis,
    placement: &Placement,
    fill: [T; C],
) -> Array3<T> {
    let (width, height) = (placement.width as usize, placement.height as usize);
    let whole = if pixels.len() == width * height * C {
        pixels
    } else {
        let mut out = fill.repeat(width * height);
        let (left, top) = (placement.x.min(0).unsigned_abs() as usize, placement.y.min(0).unsigned_abs() as usize);
        let row = (x.window.end - x.window.start) as usize * C;
        for (from, to) in pixels.chunks_exact(row).zip(out.chunks_exact_mut(width * C).skip(top)) {
            to[left * C..left * C + row].copy_from_slice(from);
        }
        out
    };
    Array3::from_shape_vec((height, width, C), whole)
        .unwrap_or_else(|_| Array3::from_elem((height, width, C), T::default()))
}

/// What an input is padded with: black, as torchvision does it; for timm's border mode and for lines of text the mean colour.
fn padding<const C: usize>(preprocessing: &Preprocessing) -> [u8; C] {
    let mut fill = [0; C];
    if let Some(level) = preprocessing.fill {
        return [level; C];
    }
    if matches!(preprocessing.crop, Crop::Letterbox | Crop::Corner) {
        return [114; C];
    }
    if matches!(preprocessing.crop, Crop::Border(_) | Crop::Line) {
        let [low, high] = preprocessing.range;
        for (to, mean) in fill.iter_mut().zip(&preprocessing.mean) {
            *to = ((mean - low) / (high - low) * 255.0).round_ties_even().clamp(0.0, 255.0) as u8;
        }
        if preprocessing.color == Color::Bgr {
            fill.reverse();
        }
    }
    fill
}

/// Pillow's `convert("L")`: ITU-R 601-2 luma in 16-bit fixed point.
fn grey(photo: &RgbImage) -> Vec<u8> {
    let mut levels = vec![0; photo.len() / 3];
    lumas(cpu_features::detect(), photo, &mut levels);
    levels
}

multiversion! {
    /// The luma of each pixel.
    fn lumas(pixels: &[u8], levels: &mut [u8]) = lumas_plainly
}

#[inline(always)]
fn lumas_plainly(pixels: &[u8], levels: &mut [u8]) {
    for (level, pixel) in levels.iter_mut().zip(pixels.chunks_exact(3)) {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
        *level = ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8;
    }
}

/// The tensor's value for each grey level of a channel, in single precision and in torchvision's order of operations.
fn normalised(preprocessing: &Preprocessing, channel: usize) -> [f32; 256] {
    let [low, high] = preprocessing.range;
    let (mean, std) = (preprocessing.mean[channel], preprocessing.std[channel]);
    std::array::from_fn(|level| {
        let level = level as f32;
        // Grey levels are exact as they are; dividing by 255 and multiplying again is not.
        let value = if high - low == 255.0 { low + level } else { low + level / 255.0 * (high - low) };
        let value = (value - mean) / std;
        // What is no integer but for the arithmetic.
        if preprocessing.whole { value.round() } else { value }
    })
}

#[cfg(test)]
mod tests;
