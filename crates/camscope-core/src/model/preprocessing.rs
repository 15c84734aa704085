//! How a photo becomes a network's input: sizes, filter, crop, colours, normalisation, and where we know that from.

use std::fmt;
use std::path::{Path, PathBuf};

use onnx_grad::ElemType;
use serde::Deserialize;

use super::sizing::Sizing;
use crate::text::printable_path;
use crate::{Error, Result};

/// The largest input height or width accepted: beyond it a file is wrong rather than the network that large.
const MAX_SIDE: u32 = 1 << 14;

/// How a photo is resized. Each is the filter of that name in Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The nearest pixel.
    #[serde(alias = "NEAREST")]
    Nearest,
    /// A triangle, widened when shrinking (antialiased).
    #[serde(alias = "BILINEAR", alias = "linear")]
    Bilinear,
    /// Cubic convolution with a = -0.5, widened when shrinking.
    #[serde(alias = "BICUBIC", alias = "cubic")]
    Bicubic,
    /// A windowed sinc over three lobes.
    #[serde(alias = "LANCZOS")]
    Lanczos,
    /// The mean of the pixels covered.
    #[serde(alias = "BOX")]
    Box,
    /// A cosine-windowed filter as wide as bilinear, sharper.
    #[serde(alias = "HAMMING")]
    Hamming,
}

/// Which part of a photo the network sees, and how large that is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crop {
    /// The aspect ratio is kept, the shorter side becomes `floor(size / fraction)`, and the centre is cut out (timm's
    /// `crop_pct`).
    CentreFraction(f64),
    /// The aspect ratio is kept, the shorter side becomes so many pixels, and the centre is cut out.
    ResizeTo(u32),
    /// All of the photo is squeezed into the network's size.
    Squash,
    /// All of the photo is squeezed into this size, and the centre is cut out.
    SquashTo {
        /// Pixels before the cut.
        height: u32,
        /// Pixels before the cut.
        width: u32,
    },
    /// The aspect ratio is kept, the longer side becomes `floor(size / fraction)`, and borders in the mean colour fill the
    /// rest (timm's crop mode `border`).
    Border(f64),
    /// As a border of the whole size, in grey level 114 (Ultralytics' letterbox).
    Letterbox,
    /// As a letterbox, with the photo in the upper left corner (YOLOX, InsightFace).
    Corner,
    /// The photo's height becomes the input's; its width follows, up to the input's, and the rest on the right is of the mean colour
    /// (PaddleOCR's lines of text).
    Line,
}

impl fmt::Display for Crop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CentreFraction(fraction) => write!(f, "central {} %", 100.0 * fraction),
            Self::ResizeTo(side) => write!(f, "shorter side to {side}, centre"),
            Self::Squash => write!(f, "squashed"),
            Self::SquashTo { height, width } => write!(f, "squashed to {height} × {width}, centre"),
            Self::Border(fraction) if *fraction == 1.0 => write!(f, "borders"),
            Self::Border(fraction) => write!(f, "borders, {} %", 100.0 * fraction),
            Self::Letterbox => write!(f, "letterbox"),
            Self::Corner => write!(f, "letterbox, in the upper left corner"),
            Self::Line => write!(f, "of the input's height, padded on the right"),
        }
    }
}

/// The channels of a network's input and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Color {
    /// Red, green, blue.
    #[serde(alias = "rgb")]
    Rgb,
    /// Blue, green, red, as OpenCV reads photos.
    #[serde(alias = "bgr")]
    Bgr,
    /// One channel of luma.
    #[serde(alias = "grey", alias = "GRAY", alias = "gray")]
    Grey,
    /// So many bands, in the file's order, other than one or three.
    #[serde(skip)]
    Bands(usize),
}

/// The order of the input's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    /// Batch, channels, height, width (PyTorch).
    #[serde(alias = "nchw")]
    Nchw,
    /// Batch, height, width, channels (TensorFlow).
    #[serde(alias = "nhwc")]
    Nhwc,
}

impl Layout {
    /// The axes of height and width.
    pub fn spatial_axes(self) -> [usize; 2] {
        match self {
            Self::Nchw => [2, 3],
            Self::Nhwc => [1, 2],
        }
    }
}

/// Where a model's preprocessing was read from. Its `Display` is a sentence for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// camscope's own TOML file beside the model.
    Sidecar(PathBuf),
    /// Hugging Face's `preprocessor_config.json`.
    HuggingFace(PathBuf),
    /// timm's `config.json`.
    Timm(PathBuf),
    /// The model file's own metadata, as Ultralytics writes it.
    Ultralytics,
    /// The metadata of a model that camscope exported, which has its source's; that source's file.
    Exported(String),
    /// What PaddleOCR does for lines of text: the model file has its dictionary.
    PaddleOcr,
    /// It takes an array as it is.
    Array,
    /// The model's graph, which shows its family or what it does to its input itself: what is taken, and by what.
    Graph(String),
    /// Nowhere: the values usual for ImageNet, or grey levels where the input holds integers.
    Assumed,
    /// The caller's own values, and for what those leave open another source.
    Given(Box<Source>),
}

impl Source {
    /// The file that it is.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sidecar(path) | Self::HuggingFace(path) | Self::Timm(path) => Some(path),
            Self::Given(other) => other.path(),
            Self::Ultralytics | Self::Exported(_) | Self::PaddleOcr | Self::Array | Self::Graph(_) | Self::Assumed => {
                None
            }
        }
    }

    /// Whether some of it comes from no file that a person could look into: then it is worth saying.
    pub fn is_worth_saying(&self) -> bool {
        self.path().is_none()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sidecar(path) => write!(f, "preprocessing read from {}", printable_path(path)),
            Self::HuggingFace(path) => write!(f, "preprocessing read from Hugging Face's {}", printable_path(path)),
            Self::Timm(path) => write!(f, "preprocessing read from timm's {}", printable_path(path)),
            Self::Ultralytics => write!(f, "preprocessing read from the model's own metadata (Ultralytics)"),
            Self::Exported(source) if source.is_empty() => {
                write!(f, "preprocessing as of the model that it was exported from")
            }
            Self::Exported(source) => write!(f, "preprocessing as of {source}, from which it was exported"),
            Self::PaddleOcr => write!(
                f,
                "preprocessing as PaddleOCR has it for lines of text, since the model's own metadata has its dictionary (`character`)"
            ),
            Self::Array => write!(f, "no preprocessing: the input takes an array as it is"),
            Self::Graph(text) => write!(f, "preprocessing {text}"),
            Self::Assumed => {
                write!(f, "preprocessing assumed, since nothing in or beside the model says how it was trained")
            }
            Self::Given(other) => {
                let other = other.to_string();
                write!(
                    f,
                    "preprocessing as the options say, else {}",
                    other.strip_prefix("preprocessing ").unwrap_or(&other)
                )
            }
        }
    }
}

/// How a photo becomes a network's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessing {
    /// The input's height and width in pixels; where they follow a photo's, those for want of one.
    pub size: (u32, u32),
    /// What height and width follow: [`Preprocessing::for_photo`] has them for a photo.
    pub sizing: Sizing,
    /// The filter for resizing.
    pub filter: Filter,
    /// What part of the photo is taken.
    pub crop: Crop,
    /// The grey level of borders, from 0 to 255; `None`: that of the crop.
    pub fill: Option<u8>,
    /// The channels and their order.
    pub color: Color,
    /// The order of the axes.
    pub layout: Layout,
    /// What the grey levels 0 and 255 become before mean and std: `[0, 1]` or `[0, 255]`, mostly.
    pub range: [f32; 2],
    /// Subtracted, one value a channel in the tensor's order, in units of `range`.
    pub mean: Vec<f32>,
    /// Divided by, one value a channel in the tensor's order, in units of `range`.
    pub std: Vec<f32>,
    /// The value that is white in photos of 16 bits and of floats, where it isn't 65535 or 1.
    pub white: Option<f32>,
    /// Whether the input holds integers: values are rounded.
    pub whole: bool,
    /// Where all this is known from.
    pub source: Source,
}

impl Preprocessing {
    /// ImageNet's usual values at 224 × 224: bilinear, central 87.5 %, RGB, NCHW, mean .485 .456 .406, std .229 .224 .225.
    pub fn imagenet() -> Self {
        let (mean, std) = imagenet_statistics(Color::Rgb);
        Self {
            size: (224, 224),
            sizing: Sizing::Said,
            filter: Filter::Bilinear,
            crop: Crop::CentreFraction(0.875),
            fill: None,
            color: Color::Rgb,
            layout: Layout::Nchw,
            range: [0.0, 1.0],
            mean,
            std,
            white: None,
            whole: false,
            source: Source::Assumed,
        }
    }

    /// Where the values are from, and what they are, in a line for the user.
    pub fn describe(&self) -> String {
        if self.source == Source::Array {
            return self.source.to_string();
        }
        let list = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(" ");
        let color = match self.color {
            Color::Rgb => "RGB".to_owned(),
            Color::Bgr => "BGR".to_owned(),
            Color::Grey => "grey".to_owned(),
            Color::Bands(bands) => format!("{bands} bands"),
        };
        let [low, high] = self.range;
        let (height, width) = self.size;
        let size = match self.sizing {
            Sizing::Said => format!("{height} × {width} pixels"),
            Sizing::Photo { multiple, shortest, longest } => {
                let to = shortest.map(|side| format!(", the shorter side to {side}")).unwrap_or_default();
                format!("the photo's own size{to}, sides multiples of {multiple} and at most {longest}")
            }
            Sizing::Width => format!("{height} pixels high, and as wide as keeps the photo's proportions"),
            Sizing::Height => format!("{width} pixels wide, and as high as keeps the photo's proportions"),
        };
        let fill = self.fill.map(|level| format!(", borders of grey level {level}")).unwrap_or_default();
        let mut text = format!("{}: {size} ({}{fill}), {color} from {low} to {high}", self.source, self.crop);
        if self.mean.iter().any(|mean| *mean != 0.0) || self.std.iter().any(|std| *std != 1.0) {
            text += &format!(", mean {}, std {}", list(&self.mean), list(&self.std));
        } else {
            text += if self.whole { ", as integers" } else { ", no mean, no std" };
        }
        if let Some(white) = self.white {
            text += &format!(", white {white}");
        }
        text
    }

    /// How many channels the network takes: 1 or 3, or as many as there are bands.
    pub fn channels(&self) -> usize {
        self.color.channels()
    }

    /// Whether the values can be used at all; those read by this crate were checked already.
    ///
    /// # Errors
    /// [`Error::BadPreprocessing`] says which value is out of range.
    pub fn check(&self) -> Result<()> {
        self.problem().map_or(Ok(()), |reason| Err(Error::BadPreprocessing { reason }))
    }

    pub(super) fn problem(&self) -> Option<String> {
        let side = |side: u32| (1..=MAX_SIDE).contains(&side);
        if !side(self.size.0) || !side(self.size.1) {
            return Some(format!("size {} × {} is not within 1 and {MAX_SIDE}", self.size.0, self.size.1));
        }
        match self.crop {
            // 0.05 keeps the sizes before cropping sane: a twentieth of the photo is seen.
            Crop::CentreFraction(f) | Crop::Border(f) if !(0.05..=1.0).contains(&f) => {
                return Some(format!("crop {f} is not a fraction within 0.05 and 1"));
            }
            Crop::ResizeTo(to) if !side(to) => return Some(format!("resize_to {to} is not within 1 and {MAX_SIDE}")),
            Crop::SquashTo { height, width } if !side(height) || !side(width) => {
                return Some(format!("resizing to {height} × {width} is not within 1 and {MAX_SIDE}"));
            }
            _ => {}
        }
        let channels = self.channels();
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels {
                return Some(format!("{name} has {} values for {channels} channels", values.len()));
            }
            if let Some(value) = values.iter().find(|v| !v.is_finite() || (name == "std" && **v == 0.0)) {
                return Some(format!("{name} has the value {value}"));
            }
        }
        let [low, high] = self.range;
        // Written so that NaN fails.
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Some(format!("range [{low}, {high}] does not go from a smaller number to a larger"));
        }
        // In between lie the values of all pixels; the width of the range is a factor of each.
        let is_held = |level: f32, (mean, std): (&f32, &f32)| ((low + level * (high - low) - mean) / std).is_finite();
        let mut channels = self.mean.iter().zip(&self.std);
        if let Some((mean, std)) = channels.find(|of| !is_held(0.0, *of) || !is_held(1.0, *of)) {
            return Some(format!(
                "range [{low}, {high}] with mean {mean} and std {std} gives values beyond those of float32"
            ));
        }
        if let Some(white) = self.white.filter(|white| !(white.is_finite() && *white > 0.0)) {
            return Some(format!("white {white} is not a number above 0"));
        }
        None
    }
}

impl Color {
    /// 1 for grey, as many as there are bands, else 3.
    pub fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Bands(bands) => bands,
            Self::Rgb | Self::Bgr => 3,
        }
    }
}

/// ImageNet's mean and standard deviation in the channels' order; for grey their mean over the channels; 0 and 1
/// for other bands, of which there are none.
pub(super) fn imagenet_statistics(color: Color) -> (Vec<f32>, Vec<f32>) {
    match color {
        Color::Rgb => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
        Color::Bgr => (vec![0.406, 0.456, 0.485], vec![0.225, 0.224, 0.229]),
        Color::Grey => (vec![0.449], vec![0.226]),
        Color::Bands(bands) => (vec![0.0; bands], vec![1.0; bands]),
    }
}

/// A model's input as its file declares it: each axis, `None` where it is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) layout: Layout,
    pub(super) channels: Option<usize>,
    pub(super) height: Option<usize>,
    pub(super) width: Option<usize>,
    /// What its elements are.
    pub(super) elem: ElemType,
    /// What the sides have to be multiples of, in a model whose outputs grow with its input.
    pub(super) dense: Option<u32>,
}

/// The least and the largest value of an integer type; `None` for floats.
pub(super) fn bounds(elem: ElemType) -> Option<[f64; 2]> {
    Some(match elem {
        ElemType::Uint8 => [0.0, f64::from(u8::MAX)],
        ElemType::Int8 => [f64::from(i8::MIN), f64::from(i8::MAX)],
        ElemType::Uint16 => [0.0, f64::from(u16::MAX)],
        ElemType::Int16 => [f64::from(i16::MIN), f64::from(i16::MAX)],
        ElemType::Uint32 => [0.0, f64::from(u32::MAX)],
        ElemType::Int32 => [f64::from(i32::MIN), f64::from(i32::MAX)],
        ElemType::Uint64 => [0.0, u64::MAX as f64],
        ElemType::Int64 => [i64::MIN as f64, i64::MAX as f64],
        ElemType::Bool => [0.0, 1.0],
        _ => return None,
    })
}

/// An element type as users know it: `uint8`.
pub(super) fn type_name(elem: ElemType) -> String {
    format!("{elem:?}").to_lowercase()
}

impl Input {
    /// Reads a shape; `layout` decides where it is known. Else the axis that has 3 or 1 entries holds the channels, or the last where it is
    /// shorter than height and width, which are alike.
    ///
    /// # Errors
    /// A sentence, if the shape isn't that of a batch of photos.
    pub(super) fn new(shape: &[Option<usize>], layout: Option<Layout>) -> Result<Self, String> {
        let &[_, second, third, last] = shape else { return Err(no_photo(shape)) };
        let channels = |axis: Option<usize>| matches!(axis, Some(1 | 3));
        let bands_last = match (second, third, last) {
            (Some(height), Some(width), Some(last)) => height == width && last < height,
            (None, None, Some(_)) => true,
            _ => false,
        };
        let is_last = !channels(second) && (channels(last) || bands_last);
        let said = layout;
        let layout = layout.unwrap_or(if is_last { Layout::Nhwc } else { Layout::Nchw });
        let (channels, height, width) = match layout {
            Layout::Nchw => (second, third, last),
            Layout::Nhwc => (last, second, third),
        };
        let other = if layout == Layout::Nchw { last } else { second };
        if let (Some(_), Some(count), Some(1 | 3)) = (said, channels.filter(|count| !matches!(count, 1 | 3)), other) {
            let shape = shape_text(shape);
            return Err(format!("its input is {shape}, and a photo has 3 channels, or 1 in grey, not {count}"));
        }
        if channels == Some(0) {
            return Err(format!("its input is {}, and has no channels", shape_text(shape)));
        }
        Ok(Self { layout, channels, height, width, elem: ElemType::Float, dense: None })
    }

    /// The colours to assume.
    pub(super) fn color(&self) -> Color {
        match self.channels {
            Some(1) => Color::Grey,
            None | Some(3) => Color::Rgb,
            Some(bands) => Color::Bands(bands),
        }
    }

    /// The range, mean and std to assume: ImageNet's; for integers, grey levels as they are.
    pub(super) fn assumed_values(&self, color: Color) -> ([f32; 2], Vec<f32>, Vec<f32>) {
        let plain = |range| (range, vec![0.0; color.channels()], vec![1.0; color.channels()]);
        match bounds(self.elem) {
            None => {
                let (mean, std) = imagenet_statistics(color);
                ([0.0, 1.0], mean, std)
            }
            // Quantised: the zero point is in the middle.
            Some([_, high]) if high < 255.0 => plain([-128.0, 127.0]),
            Some(_) => plain([0.0, 255.0]),
        }
    }

    /// Why values that photos become cannot go into the input: it holds integers, and they are none, or too large.
    pub(super) fn unfit(&self, preprocessing: &Preprocessing) -> Option<String> {
        let [least, most] = bounds(self.elem)?;
        let [low, high] = preprocessing.range.map(f64::from);
        for (mean, std) in preprocessing.mean.iter().zip(&preprocessing.std) {
            for level in 0..=255 {
                let value = low + f64::from(level) / 255.0 * (high - low);
                let value = (value - f64::from(*mean)) / f64::from(*std);
                let is_whole = (value - value.round()).abs() < 1e-3;
                if !is_whole || value.round() < least || value.round() > most {
                    return Some(format!(
                        "the model's input takes {}, and range, mean and std make {value:.3} of grey level {level}",
                        type_name(self.elem)
                    ));
                }
            }
        }
        None
    }

    /// ImageNet's usual values for this input.
    pub(super) fn assumed(&self) -> Preprocessing {
        let side = |side: Option<usize>| side.map_or(224, |side| u32::try_from(side).unwrap_or(u32::MAX));
        let (range, mean, std) = self.assumed_values(self.color());
        let whole = bounds(self.elem).is_some();
        let sizing = match (self.height, self.width, self.dense) {
            (Some(_), Some(_), _) | (None, None, None) => Sizing::Said,
            (Some(_), None, _) => Sizing::Width,
            (None, Some(_), _) => Sizing::Height,
            (None, None, Some(multiple)) => Sizing::photo(multiple),
        };
        let size = sizing.without_photo((side(self.height), side(self.width)));
        let crop = if sizing == Sizing::Said { Preprocessing::imagenet().crop } else { Crop::Squash };
        Preprocessing {
            size,
            sizing,
            crop,
            color: self.color(),
            layout: self.layout,
            range,
            mean,
            std,
            whole,
            ..Preprocessing::imagenet()
        }
    }
}

/// Why an input of that shape takes no photos.
pub(super) fn no_photo(shape: &[Option<usize>]) -> String {
    format!("its input is {}, and a photo needs four axes: batch, channels, height and width", shape_text(shape))
}

/// A shape as text, free axes as `?`: `? × 3 × 224 × 224`.
pub(super) fn shape_text(shape: &[Option<usize>]) -> String {
    let axes: Vec<String> = shape.iter().map(|axis| axis.map_or_else(|| "?".to_owned(), |n| n.to_string())).collect();
    if axes.is_empty() { "a scalar".to_owned() } else { axes.join(" × ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_axis_tells_the_layout() {
        let nchw = Input::new(&[None, Some(3), Some(224), Some(192)], None).unwrap().assumed();
        assert_eq!((nchw.layout, nchw.size, nchw.color), (Layout::Nchw, (224, 192), Color::Rgb));
        let nhwc = Input::new(&[Some(1), Some(299), Some(299), Some(3)], None).unwrap().assumed();
        assert_eq!((nhwc.layout, nhwc.size), (Layout::Nhwc, (299, 299)));
        let grey = Input::new(&[Some(1), Some(1), Some(28), Some(28)], None).unwrap().assumed();
        assert_eq!((grey.color, grey.mean.len(), grey.size), (Color::Grey, 1, (28, 28)));
        let free = Input::new(&[None, None, None, None], None).unwrap().assumed();
        assert_eq!((free.layout, free.size), (Layout::Nchw, (224, 224)));
    }

    #[test]
    fn an_input_that_takes_no_photos_is_refused() {
        for shape in [&[Some(1), Some(768)][..], &[], &[None, Some(0), Some(64), Some(64)]] {
            assert!(Input::new(shape, None).is_err());
        }
    }

    #[test]
    fn bands_are_channels_that_are_neither_one_nor_three() {
        let found = |shape: [usize; 4]| {
            let shape = shape.map(|size| (size > 0).then_some(size));
            let input = Input::new(&shape, None).unwrap().assumed();
            (input.color, input.layout)
        };
        assert_eq!(found([1, 6, 64, 64]), (Color::Bands(6), Layout::Nchw));
        assert_eq!(found([1, 64, 64, 6]), (Color::Bands(6), Layout::Nhwc));
        assert_eq!(found([0, 0, 0, 13]), (Color::Bands(13), Layout::Nhwc));
        assert_eq!(found([0, 4, 0, 0]), (Color::Bands(4), Layout::Nchw));
        assert_eq!(found([1, 256, 14, 14]), (Color::Bands(256), Layout::Nchw));
    }

    #[test]
    fn unusable_values_are_named() {
        let check = |change: fn(&mut Preprocessing)| {
            let mut p = Preprocessing::imagenet();
            change(&mut p);
            p.problem().unwrap_or_default()
        };
        assert_eq!(Preprocessing::imagenet().problem(), None);
        assert!(check(|p| p.size.0 = 0).starts_with("size"));
        assert!(check(|p| p.std[1] = 0.0).starts_with("std"));
        assert!(check(|p| p.mean = vec![0.5]).starts_with("mean"));
        assert!(check(|p| p.range = [1.0, 1.0]).starts_with("range"));
        assert!(check(|p| p.crop = Crop::CentreFraction(f64::NAN)).starts_with("crop"));
    }
}
