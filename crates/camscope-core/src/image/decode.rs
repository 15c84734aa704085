//! Reads a photo, upright: as 8-bit RGB, and with all of its levels where there are more.

use std::io::{Cursor, Read as _};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use super::bands::{self, Bands};
use super::deep::{self, Deep};
use super::{frames, jpeg, sniff, tiff_extra};
use crate::model::{Color, Preprocessing};
use crate::text::printable_path;
use crate::{Error, Result};

/// The most pixels that a photo may have: 400 million.
pub const MAX_PIXELS: u64 = 400_000_000;

/// The most bytes that a photo may take in memory as it is decoded, and that a file may have: 1.5 GiB.
pub const MAX_BYTES: u64 = 3 << 29;

/// A decoded photo.
#[derive(Debug, Clone)]
pub struct Photo {
    /// 8-bit RGB, upright: the orientation that the camera noted (EXIF) is applied.
    pub pixels: RgbImage,
    /// What the network gets, where the file has more than 256 levels.
    pub(super) deep: Option<Deep>,
    /// What the network gets, where it takes other bands than a photo's.
    pub(super) bands: Option<Bands>,
    /// What a person should know of the file, each a sentence: frames that are not looked at, levels that are hardly used.
    pub notes: Vec<String>,
    /// The file's name without its folders, for messages.
    pub name: String,
}

impl Photo {
    /// Reads the image file at `path`. What it is is told by its content, never by the name's extension.
    ///
    /// BMP, GIF, JPEG (greyscale, RGB, CMYK, YCCK; progressive), PNG, PNM, TIFF and WebP are read, of several frames or pages the
    /// first. As with Pillow's `convert("RGB")` alpha is dropped and CMYK is taken as Adobe stores it. Of 16-bit values 65535 is white,
    /// of floats 1; [`Photo::pixels`] has them rounded to 8 bits, the network gets them as they are.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::IsFolder`], [`Error::Io`] if it can't be read; [`Error::NotAnImage`];
    /// [`Error::ImageUnsupported`] for a kind of image that can't be decoded; [`Error::ImageBands`] for more bands than a photo has;
    /// [`Error::ImageLevels`] where it is not known which value is white; [`Error::ImageSize`] beyond [`MAX_PIXELS`] or [`MAX_BYTES`];
    /// [`Error::ImageTruncated`]; [`Error::ImageCorrupt`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, None)
    }

    /// As [`Photo::open`]; of 16-bit values and floats `white` is white, where it is given: 4095 for 12 bits in files of 16. What is
    /// more than that is white as well.
    ///
    /// # Errors
    /// As [`Photo::open`].
    pub fn open_with(path: impl AsRef<Path>, white: Option<f32>) -> Result<Self> {
        let path = path.as_ref();
        Self::decode_with(&read(path)?, path, white)
    }

    /// As [`Photo::open_with`], for a network that is fed so: where it takes other bands than a photo's, all of a TIFF file's are read.
    ///
    /// # Errors
    /// As [`Photo::open`]; [`Error::Bands`] where the file has more or fewer bands than the network takes.
    pub fn open_for(path: impl AsRef<Path>, preprocessing: &Preprocessing) -> Result<Self> {
        let path = path.as_ref();
        Self::decode_for(&read(path)?, path, preprocessing)
    }

    pub(super) fn decode_bands(bytes: &[u8], path: &Path, (wanted, white): (usize, Option<f32>)) -> Result<Self> {
        let refused = |found| Error::Bands { photo: printable_path(path), found, wanted };
        if image::guess_format(bytes).ok() != Some(ImageFormat::Tiff) {
            // What is no image at all is said first.
            Self::decode_with(bytes, path, white)?;
            return Err(refused(3));
        }
        let about = tiff_extra::about(bytes);
        if usize::from(about.bands) != wanted {
            return Err(refused(usize::from(about.bands)));
        }
        let mut notes: Vec<String> = about.page_note().into_iter().collect();
        let affordable = |width, height, bytes| check_size(width, height, bytes).is_ok();
        let bands = Bands::decode(bytes, white, affordable, &mut notes).map_err(|fault| match fault {
            bands::Fault::Levels(reason) => Error::ImageLevels { path: printable_path(path), reason },
            bands::Fault::Size(width, height) => {
                let reason = format!("{width} × {height} pixels of {wanted} bands are more than can be held");
                Error::ImageSize { path: printable_path(path), reason }
            }
            bands::Fault::Decoder(reason) => {
                Error::ImageCorrupt { path: printable_path(path), format: "TIFF".into(), reason }
            }
        })?;
        let shown = if wanted < 3 { "the first is shown" } else { "the first three are shown as red, green and blue" };
        notes.push(format!("it has {wanted} bands: {shown}"));
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { pixels: bands.eight_bits(), deep: None, bands: Some(bands), notes, name })
    }

    /// Width and height as the head of the image file at `path` has them, before any turning upright. `None` where it can't be told.
    pub fn dimensions(path: impl AsRef<Path>) -> Option<(u32, u32)> {
        ImageReader::open(path).ok()?.with_guessed_format().ok()?.into_dimensions().ok()
    }

    /// Width and height of the image file at `path`, turned upright, as its head has them. `None` where they can't be told.
    pub fn upright_dimensions(path: impl AsRef<Path>) -> Option<(u32, u32)> {
        let path = path.as_ref();
        let reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
        let is_tiff = reader.format() == Some(ImageFormat::Tiff);
        let mut decoder = match reader.into_decoder() {
            Err(_) if is_tiff => return tiff_extra::upright_dimensions(path),
            decoder => decoder.ok()?,
        };
        let (width, height) = decoder.dimensions();
        let lies = matches!(
            decoder.orientation().unwrap_or(Orientation::NoTransforms),
            Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
        );
        Some(if lies { (height, width) } else { (width, height) })
    }

    /// As [`Photo::open`], for the content of a file that is in memory; `path` is for the photo's name and for messages.
    ///
    /// # Errors
    /// As [`Photo::open`] has them, save those of reading.
    pub fn decode(bytes: &[u8], path: impl AsRef<Path>) -> Result<Self> {
        Self::decode_with(bytes, path.as_ref(), None)
    }

    /// As [`Photo::open_for`], for the content of a file that is in memory; `path` is for the photo's name and for messages.
    ///
    /// # Errors
    /// As [`Photo::open_for`] has them, save those of reading.
    pub fn decode_for(bytes: &[u8], path: impl AsRef<Path>, preprocessing: &Preprocessing) -> Result<Self> {
        match preprocessing.color {
            Color::Bands(wanted) => Self::decode_bands(bytes, path.as_ref(), (wanted, preprocessing.white)),
            Color::Rgb | Color::Bgr | Color::Grey => Self::decode_with(bytes, path.as_ref(), preprocessing.white),
        }
    }

    /// A photo of 8-bit pixels that are upright already; `name` is for messages.
    pub fn of_pixels(pixels: RgbImage, name: impl Into<String>) -> Self {
        Self { pixels, deep: None, bands: None, notes: Vec::new(), name: name.into() }
    }

    pub(super) fn decode_with(bytes: &[u8], path: &Path, white: Option<f32>) -> Result<Self> {
        let failed = |failure: Failure| failure.into_error(path, bytes);
        let Decoded { image, orientation, mut notes } = decode(bytes).map_err(failed)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let (eight_bits, deep) =
            match deep::levels(image, white, &mut notes).map_err(|levels| failed(Failure::Levels(levels)))? {
                deep::Levels::Eight(image) => (image, None),
                deep::Levels::More(mut deep) => {
                    deep.turn(orientation);
                    (deep.eight_bits(), Some(deep))
                }
            };
        let mut upright = DynamicImage::ImageRgb8(eight_bits);
        if deep.is_none() {
            upright.apply_orientation(orientation);
        }
        Ok(Self { pixels: upright.into_rgb8(), deep, bands: None, notes, name })
    }
}

/// The content of a file: whole, since telling truncation needs it, and so that a pipe can be read as well.
fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NoSuchFile { what: "image", path: printable_path(path) },
        std::io::ErrorKind::IsADirectory => Error::IsFolder { what: "image", path: printable_path(path) },
        _ => Error::Io { action: "read", path: printable_path(path), source },
    };
    // Opening a folder succeeds on Unix and is "permission denied" on Windows: ask first.
    if path.metadata().map_err(io)?.is_dir() {
        return Err(Error::IsFolder { what: "image", path: printable_path(path) });
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(io)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::ImageSize {
            path: printable_path(path),
            reason: format!("the file has more than {} MiB", MAX_BYTES >> 20),
        });
    }
    Ok(bytes)
}

/// Why an image can't be decoded, before the file's name is known.
enum Failure {
    Unrecognised,
    Size(String),
    OutOfMemory(u64),
    Decoder(ImageFormat, ImageError),
    CutOff(ImageFormat),
    Bands(u16),
    Levels(String),
}

/// An image as it lies in its file.
struct Decoded {
    image: DynamicImage,
    orientation: Orientation,
    notes: Vec<String>,
}

fn decode(bytes: &[u8]) -> Result<Decoded, Failure> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| Failure::Unrecognised)?;
    let format = reader.format().ok_or(Failure::Unrecognised)?;
    let failed = |error| Failure::Decoder(format, error);
    // The decoders' own working memory comes on top of the image's.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(2 * MAX_BYTES);
    reader.limits(limits);

    let mut notes = Vec::new();
    if format == ImageFormat::Tiff {
        let about = tiff_extra::about(bytes);
        if about.too_many_bands() {
            return Err(Failure::Bands(about.bands));
        }
        notes.extend(about.notes());
    }
    let mut decoder = match reader.into_decoder() {
        Err(ImageError::Unsupported(error)) if format == ImageFormat::Tiff => {
            let affordable = |width, height, bytes| check_size(width, height, bytes).is_ok();
            let (image, orientation) =
                tiff_extra::decode(bytes, affordable).ok_or(failed(ImageError::Unsupported(error)))?;
            return Ok(Decoded { image, orientation, notes });
        }
        decoder => decoder.map_err(failed)?,
    };
    let (width, height) = decoder.dimensions();
    let bytes_needed = check_size(width, height, decoder.total_bytes())?;
    if format == ImageFormat::Jpeg && !jpeg::is_complete(bytes) {
        return Err(Failure::CutOff(format));
    }
    // A camera that writes broken EXIF data says nothing about the orientation.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    // A failing allocation aborts the program: try one of that size first.
    Vec::<u8>::new()
        .try_reserve_exact(usize::try_from(2 * bytes_needed).unwrap_or(usize::MAX))
        .map_err(|_| Failure::OutOfMemory(bytes_needed))?;
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    if frames::several(format, bytes) {
        notes.push("it is an animation: its first frame is taken".into());
    }
    Ok(Decoded { image, orientation, notes })
}

/// How many bytes an image takes that has so many `pixel_bytes` before it becomes RGB.
fn check_size(width: u32, height: u32, pixel_bytes: u64) -> Result<u64, Failure> {
    let pixels = u64::from(width) * u64::from(height);
    let bytes_needed = pixel_bytes.max(3 * pixels);
    if pixels == 0 {
        return Err(Failure::Size(format!("{width} × {height} pixels: there is nothing to see")));
    }
    if pixels > MAX_PIXELS || bytes_needed > MAX_BYTES {
        return Err(Failure::Size(format!(
            "{width} × {height} pixels would take {} MiB; at most {} million pixels and {} MiB are read",
            bytes_needed >> 20,
            MAX_PIXELS / 1_000_000,
            MAX_BYTES >> 20
        )));
    }
    Ok(bytes_needed)
}

impl Failure {
    fn into_error(self, path: &Path, bytes: &[u8]) -> Error {
        let path = printable_path(path);
        let name = |format: ImageFormat| match format {
            ImageFormat::WebP => "WebP".to_owned(),
            other => format!("{other:?}").to_uppercase(),
        };
        match self {
            Self::Unrecognised => Error::NotAnImage { path, looks_like: sniff::looks_like(bytes) },
            Self::Size(reason) => Error::ImageSize { path, reason },
            Self::OutOfMemory(needed) => {
                let reason = format!("there aren't {} MiB of memory to be had for it", needed >> 20);
                Error::ImageSize { path, reason }
            }
            Self::CutOff(format) => Error::ImageTruncated { path, format: name(format) },
            Self::Bands(bands) => Error::ImageBands { path, bands },
            Self::Levels(reason) => Error::ImageLevels { path, reason },
            Self::Decoder(_, ImageError::Limits(error)) => {
                Error::ImageSize { path, reason: format!("decoding it exceeds the limits ({error})") }
            }
            Self::Decoder(ImageFormat::Avif, ImageError::Unsupported(_)) => {
                Error::NotAnImage { path, looks_like: Some(sniff::AVIF) }
            }
            Self::Decoder(format, ImageError::Unsupported(error)) => {
                // An icon, say: recognised by its first bytes, and no decoder for it is built in.
                Error::ImageUnsupported { path, format: name(format), reason: error.to_string() }
            }
            Self::Decoder(format, error) => {
                let cut = is_truncation(&error) || (format == ImageFormat::Jpeg && !jpeg::is_complete(bytes));
                if cut {
                    Error::ImageTruncated { path, format: name(format) }
                } else {
                    Error::ImageCorrupt { path, format: name(format), reason: error.to_string() }
                }
            }
        }
    }
}

/// Whether a decoder failed because the data ended. Some say so by an I/O error somewhere down the chain, some in words.
fn is_truncation(error: &ImageError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::UnexpectedEof
        {
            return true;
        }
        let words = error.to_string().to_ascii_lowercase();
        if ["unexpected end", "end of file", "unexpected eof", "truncated", "fill whole buffer"]
            .iter()
            .any(|w| words.contains(w))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
