//! TIFF images that the `image` crate refuses: palettes, grey of 2 and 4 bits, grey with alpha, grey floats. And what a TIFF file holds
//! beyond the image that is looked at.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, Luma, Rgb, RgbImage};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

/// The tag that says what samples mean, and two of its values.
const PHOTOMETRIC: u16 = 262;
const BLACK_IS_ZERO: u16 = 1;
const RGB: u16 = 2;
const PALETTE: u16 = 3;

/// No file has more pages that are counted.
const MOST_PAGES: usize = 10_000;

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// Values a pixel.
    pub(super) bands: u16,
    /// Whether one of them is said to be transparency.
    alpha: bool,
    photometric: u16,
    pages: usize,
}

impl About {
    /// Whether there are more bands than a photo has: then no three of them are its colours.
    pub(super) fn too_many_bands(&self) -> bool {
        self.bands > 4 || self.bands == 2 && !self.alpha
    }

    /// That there are pages that are not looked at.
    pub(super) fn page_note(&self) -> Option<String> {
        (self.pages > 1).then(|| format!("it has {} pages: the first is taken", self.pages))
    }

    /// What of the file is not looked at.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let pages = self.page_note();
        let infrared = self.bands == 4 && self.photometric == RGB && !self.alpha;
        let fourth = infrared.then(|| "it has 4 bands: the first three are taken as red, green and blue".to_owned());
        pages.into_iter().chain(fourth)
    }
}

/// What the file holds, as far as its tags can be read.
pub(super) fn about(bytes: &[u8]) -> About {
    read_about(bytes).unwrap_or_default()
}

fn read_about(bytes: &[u8]) -> Option<About> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let tag = |decoder: &mut Decoder<_>, tag| decoder.find_tag_unsigned::<u16>(tag).ok().flatten();
    let bands = tag(&mut decoder, Tag::SamplesPerPixel).unwrap_or(1);
    let photometric = tag(&mut decoder, Tag::PhotometricInterpretation).unwrap_or(BLACK_IS_ZERO);
    let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).ok().flatten().unwrap_or_default();
    let alpha = extra.iter().any(|kind| matches!(kind, 1 | 2));
    let mut pages = 1;
    while pages < MOST_PAGES && decoder.more_images() && decoder.next_image().is_ok() {
        pages += 1;
    }
    Some(About { bands, alpha, photometric, pages })
}

/// Width and height of the first image in a file, turned upright; `None` where they can't be told.
pub(super) fn upright_dimensions(path: &std::path::Path) -> Option<(u32, u32)> {
    let file = std::io::BufReader::new(std::fs::File::open(path).ok()?);
    let mut decoder = Decoder::new(file).ok()?;
    let (width, height) = decoder.dimensions().ok()?;
    let orientation = decoder.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten();
    // From 5 on rows are columns.
    Some(if orientation.is_some_and(|code| (5..=8).contains(&code)) { (height, width) } else { (width, height) })
}

/// Decodes such an image; `None` if it is of another kind, damaged, or if `affordable(width, height, bytes)` says no.
pub(super) fn decode(bytes: &[u8], affordable: impl Fn(u32, u32, u64) -> bool) -> Option<(DynamicImage, Orientation)> {
    // The `tiff` crate unpacks grey samples and refuses indices into a palette: tell it that they are grey.
    let grey = as_grey(bytes);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(super::MAX_BYTES).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = limits.decoding_buffer_size;
    let mut decoder = Decoder::new(Cursor::new(grey.as_deref().unwrap_or(bytes))).ok()?.with_limits(limits);

    let (width, height) = decoder.dimensions().ok()?;
    if !affordable(width, height, 0) {
        return None;
    }
    let orientation = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok()?.and_then(Orientation::from_exif);
    let (bits, samples) = match decoder.colortype().ok()? {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8)) => (usize::from(bits), 1),
        ColorType::Gray(16 | 32 | 64) if grey.is_none() => {
            // As they are in the file, and three channels of floats.
            if !affordable(width, height, u64::from(width) * u64::from(height) * (8 + 12)) {
                return None;
            }
            let image = floats(decoder.read_image().ok()?, width, height)?;
            return Some((image, orientation.unwrap_or(Orientation::NoTransforms)));
        }
        ColorType::Multiband { bit_depth: bits @ (8 | 16), num_samples } if grey.is_none() => {
            (usize::from(bits), usize::from(num_samples))
        }
        _ => return None,
    };
    let colours: Vec<[u8; 3]> = if grey.is_some() {
        let map = decoder.find_tag_unsigned_vec::<u16>(Tag::ColorMap).ok()??;
        let (n, high) = (1usize << bits, |v: u16| (v >> 8) as u8); // as Pillow does: the upper byte
        (map.len() >= 3 * n).then(|| (0..n).map(|i| [map[i], map[n + i], map[2 * n + i]].map(high)).collect())?
    } else {
        let last = (1usize << bits.min(8)) - 1;
        (0..=last).map(|i| [(i * 255 / last) as u8; 3]).collect()
    };

    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let levels: Vec<u8> = match decoder.read_image().ok()? {
        DecodingResult::U8(bytes) => bytes,
        DecodingResult::U16(words) => {
            let grey = words.into_iter().step_by(samples).collect();
            let image: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_raw(width, height, grey)?;
            return Some((DynamicImage::ImageLuma16(image), orientation));
        }
        _ => return None,
    };
    let bits = bits.min(8);
    // Rows start at whole bytes.
    let row = (width as usize * samples * bits).div_ceil(8);
    if levels.len() < row * height as usize {
        return None;
    }
    let mask = (1u16 << bits) - 1;
    let pixel = |x: u32, y: u32| {
        let at = x as usize * samples * bits;
        let byte = u16::from(levels[y as usize * row + at / 8]);
        image::Rgb(colours[usize::from(byte >> (8 - bits - at % 8) & mask)])
    };
    Some((DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, pixel)), orientation))
}

/// A grey image of floats, or of integers of 32 bits and more, as three equal channels of floats.
fn floats(values: DecodingResult, width: u32, height: u32) -> Option<DynamicImage> {
    let grey: Vec<f32> = match values {
        DecodingResult::F16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::F32(values) => values,
        DecodingResult::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::U32(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::I16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::I32(values) => values.into_iter().map(|value| value as f32).collect(),
        _ => return None,
    };
    let image: ImageBuffer<Rgb<f32>, Vec<f32>> =
        ImageBuffer::from_raw(width, height, grey.into_iter().flat_map(|value| [value; 3]).collect())?;
    Some(DynamicImage::ImageRgb32F(image))
}

/// A copy of a classic TIFF file whose first image is said to be grey in place of indexed; `None` if it isn't indexed.
fn as_grey(bytes: &[u8]) -> Option<Vec<u8>> {
    said_to_be_grey(bytes, |photometric| photometric == PALETTE)
}

/// A copy of a classic TIFF file whose first image is said to be grey, whatever colours it has, so that all of its samples are read alike;
/// `None` if it is grey.
pub(super) fn as_samples(bytes: &[u8]) -> Option<Vec<u8>> {
    said_to_be_grey(bytes, |photometric| photometric != BLACK_IS_ZERO)
}

fn said_to_be_grey(bytes: &[u8], is_other: impl Fn(u16) -> bool) -> Option<Vec<u8>> {
    let big = match bytes.get(..4)? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let short = |at: usize| -> Option<u16> {
        let pair = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let four = bytes.get(4..8)?.try_into().ok()?;
    let directory = if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) } as usize;
    let entries = usize::from(short(directory)?);
    // An entry is tag, type, count and value in 2, 2, 4 and 4 bytes.
    let entry = (0..entries).map(|i| directory + 2 + 12 * i).find(|&at| short(at) == Some(PHOTOMETRIC))?;
    if !is_other(short(entry + 8)?) {
        return None;
    }
    let mut copy = bytes.to_vec();
    let value = if big { BLACK_IS_ZERO.to_be_bytes() } else { BLACK_IS_ZERO.to_le_bytes() };
    copy.get_mut(entry + 8..entry + 10)?.copy_from_slice(&value);
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An uncompressed little-endian TIFF of 3 × 2 pixels.
    fn tiff(bits: u16, photometric: u16, samples: u16, data: &[u8], map: &[u16]) -> Vec<u8> {
        let mut out = b"II*\0".to_vec();
        let data_at = 8;
        let map_at = data_at + data.len() as u32;
        let directory = map_at + 2 * map.len() as u32;
        out.extend(directory.to_le_bytes());
        out.extend(data);
        out.extend(map.iter().flat_map(|v| v.to_le_bytes()));
        let bits = u32::from(bits) | if samples > 1 { u32::from(bits) << 16 } else { 0 };
        let mut entries = vec![
            (256u16, 3u16, 1u32, 3u32),
            (257, 3, 1, 2),
            (258, 3, u32::from(samples), bits),
            (259, 3, 1, 1),
            (PHOTOMETRIC, 3, 1, u32::from(photometric)),
            (273, 4, 1, data_at),
            (277, 3, 1, u32::from(samples)),
            (278, 3, 1, 2),
            (279, 4, 1, data.len() as u32),
        ];
        if !map.is_empty() {
            entries.push((320, 3, map.len() as u32, map_at));
        }
        if samples > 1 {
            entries.push((338, 3, 1, 2));
        }
        out.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            out.extend(tag.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.extend(count.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        out.extend([0; 4]);
        out
    }

    fn pixels(file: &[u8]) -> Vec<u8> {
        decode(file, |_, _, _| true).unwrap().0.into_rgb8().into_raw()
    }

    #[test]
    fn a_palette_of_four_bits() {
        // 16 reds, 16 greens, 16 blues.
        let map: Vec<u16> = (0..48u16).map(|i| if i < 16 { i << 8 } else { 0xff00 * u16::from(i >= 32) }).collect();
        let file = tiff(4, PALETTE, 1, &[0x12, 0x30, 0xfe, 0xd0], &map);
        let expected: Vec<u8> = [1, 2, 3, 15, 14, 13].into_iter().flat_map(|r| [r, 0, 255]).collect();
        assert_eq!(pixels(&file), expected);
        assert!(decode(&file, |_, _, _| false).is_none());
        for end in 0..file.len() {
            let _ = decode(&file[..end], |_, _, _| true); // no panic
        }
    }

    #[test]
    fn grey_of_two_bits_and_grey_with_alpha() {
        let file = tiff(2, BLACK_IS_ZERO, 1, &[0b0001_1000, 0b1100_0100], &[]);
        assert_eq!(pixels(&file), [0, 85, 170, 255, 0, 85].map(|v| [v; 3]).concat());
        let file = tiff(8, BLACK_IS_ZERO, 2, &[1, 255, 2, 0, 3, 9, 4, 9, 5, 9, 6, 9], &[]);
        assert_eq!(pixels(&file), [1, 2, 3, 4, 5, 6].map(|v| [v; 3]).concat());
    }
}
