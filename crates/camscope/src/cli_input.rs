//! The part of the command line that is about what a model is fed with, as clap sees it.

use std::path::PathBuf;

use camscope_core::model::{Crop, Given};
use clap::Args;

use crate::{cli_export::ResolutionArg, feed::FedInput};

/// What photos become for the model: shared by the commands that take one. It counts before what files say.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Preprocessing and labels (they count before the files beside the model)")]
pub(crate) struct InputArgs {
    /// The input that takes the photo, where the model has several that could
    #[arg(long, value_name = "NAME")]
    pub(crate) picture: Option<String>,
    /// What an input that doesn't take the photo is fed: NAME=FILE.jpg (a second photo, prepared as the first), FILE.npy, zeros, ones, a
    /// number, or 1,2,3; may be given several times
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = FedInput::parse)]
    pub(crate) fed: Vec<FedInput>,
    /// The input's size in pixels, where the model leaves it open: N or HxW
    #[arg(long, value_name = "SIZE", value_parser = SizeArg::pixels)]
    pub(crate) size: Option<SizeArg>,
    /// Which part of a photo is seen: a fraction such as 0.875 (the centre), a number of pixels (the shorter side becomes that, then the
    /// centre), squash, border, letterbox, corner or line
    #[arg(long, value_name = "CROP", value_parser = crop)]
    pub(crate) crop: Option<Crop>,
    /// Colours come blue first, as OpenCV reads photos
    #[arg(long)]
    pub(crate) bgr: bool,
    /// What black and white become before --mean and --std: 0,255
    #[arg(long, value_name = "BLACK,WHITE", value_delimiter = ',', num_args = 1, action = clap::ArgAction::Append, value_parser = number, allow_hyphen_values = true)]
    pub(crate) range: Vec<f32>,
    /// What is subtracted, one number or one a channel in the input's order: 0.485,0.456,0.406
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', value_parser = number, allow_hyphen_values = true)]
    pub(crate) mean: Vec<f32>,
    /// What is then divided by, one number or one a channel: 0.229,0.224,0.225
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', value_parser = number)]
    pub(crate) std: Vec<f32>,
    /// The value that is white in photos of 16 bits and of floats: 4095 for 12 bits [default: 65535, and 1 for floats]
    #[arg(long, value_name = "VALUE", value_parser = number)]
    pub(crate) white: Option<f32>,
    /// The classes' names: a text file with one a line, or JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: Option<PathBuf>,
    /// A sidecar in TOML, in place of MODEL.toml beside the model
    #[arg(long, value_name = "FILE")]
    pub(crate) sidecar: Option<PathBuf>,
}

impl InputArgs {
    /// The same for camscope-core.
    ///
    /// # Errors
    /// A sentence, where a range isn't two numbers.
    pub(crate) fn given(&self) -> Result<Given, String> {
        let some = |values: &Vec<f32>| (!values.is_empty()).then(|| values.clone());
        let range = match self.range[..] {
            [] => None,
            [low, high] => Some([low, high]),
            _ => return Err("--range takes two numbers: what black and what white becomes, such as 0,255".into()),
        };
        Ok(Given {
            sidecar: self.sidecar.clone(),
            labels: self.labels.clone(),
            size: self.pixels(),
            crop: self.crop,
            bgr: self.bgr,
            range,
            mean: some(&self.mean),
            std: some(&self.std),
            white: self.white,
        })
    }

    /// The input's height and width, where they are said.
    fn pixels(&self) -> Option<(u32, u32)> {
        match self.size? {
            SizeArg::Pixels(height, width) => Some((height, width)),
            SizeArg::OfHeat(_) => None,
        }
    }

    /// The same as words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let list = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        let listed = |values: &[f32]| (!values.is_empty()).then(|| list(values));
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let options = [
            ("--picture", self.picture.clone()),
            ("--size", self.pixels().map(|(height, width)| format!("{height}x{width}"))),
            ("--crop", self.crop.map(crop_word)),
            ("--range", listed(&self.range)),
            ("--mean", listed(&self.mean)),
            ("--std", listed(&self.std)),
            ("--white", self.white.map(|white| white.to_string())),
            ("--labels", path(&self.labels)),
            ("--sidecar", path(&self.sidecar)),
        ];
        let given = options.into_iter().filter_map(|(option, value)| Some(words(option, value?)));
        let given = given.chain(self.fed.iter().map(|fed| words("--input", fed.to_string())));
        given.flatten().chain(self.bgr.then(|| "--bgr".to_owned())).collect()
    }
}

/// An option and its value; one that begins with a dash would be taken for another option.
pub(crate) fn words(option: &str, value: String) -> Vec<String> {
    if value.starts_with('-') { vec![format!("{option}={value}")] } else { vec![option.to_owned(), value] }
}

/// What `--size` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeArg {
    /// The input's height and width.
    Pixels(u32, u32),
    /// Of `camscope export`: how large the heat is.
    OfHeat(ResolutionArg),
}

impl SizeArg {
    fn pixels(text: &str) -> Result<Self, String> {
        size(text).map(|(height, width)| Self::Pixels(height, width))
    }

    /// As `camscope export` takes it.
    ///
    /// # Errors
    /// A sentence, where it is neither.
    pub(crate) fn of_export(text: &str) -> Result<Self, String> {
        match text {
            "input" => Ok(Self::OfHeat(ResolutionArg::Input)),
            "layer" => Ok(Self::OfHeat(ResolutionArg::Layer)),
            _ => Self::pixels(text).map_err(|reason| format!("{reason}; or input or layer, of the heat")),
        }
    }
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.trim().parse::<u32>().ok().filter(|&side| side > 0);
    let (height, width) = text.split_once(['x', 'X', '×']).unwrap_or((text, text));
    side(height).zip(side(width)).ok_or_else(|| "it must be N or HxW, such as 256 or 192x256".into())
}

fn number(text: &str) -> Result<f32, String> {
    text.trim().parse::<f32>().ok().filter(|value| value.is_finite()).ok_or_else(|| "it is not a number".into())
}

fn crop(text: &str) -> Result<Crop, String> {
    match text {
        "squash" => return Ok(Crop::Squash),
        "border" => return Ok(Crop::Border(1.0)),
        "letterbox" => return Ok(Crop::Letterbox),
        "corner" => return Ok(Crop::Corner),
        "line" => return Ok(Crop::Line),
        _ => {}
    }
    let pixels = text.parse().ok().filter(|&side| side > 1).map(Crop::ResizeTo);
    let fraction = || text.parse().ok().filter(|fraction| (0.05..=1.0).contains(fraction)).map(Crop::CentreFraction);
    pixels.or_else(fraction).ok_or_else(|| {
        "it must be a fraction from 0.05 to 1, a number of pixels, squash, border, letterbox, corner or line".to_owned()
    })
}

/// As [`crop`] reads it.
fn crop_word(crop: Crop) -> String {
    match crop {
        Crop::CentreFraction(fraction) => fraction.to_string(),
        Crop::ResizeTo(side) => side.to_string(),
        Crop::Border(_) => "border".into(),
        Crop::Letterbox => "letterbox".into(),
        Crop::Corner => "corner".into(),
        Crop::Line => "line".into(),
        Crop::Squash | Crop::SquashTo { .. } => "squash".into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        input: InputArgs,
    }

    #[test]
    fn sizes_are_one_number_or_two() {
        assert_eq!(size("224"), Ok((224, 224)));
        assert_eq!(size("192x256"), Ok((192, 256)));
        for wrong in ["", "0", "x", "1x", "-3", "3x0", "1x2x3", "big"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn crops_are_words_fractions_or_pixels() {
        for text in ["0.875", "256", "squash", "border", "letterbox", "corner", "line", "1"] {
            assert_eq!(crop_word(crop(text).unwrap()), text);
        }
        assert_eq!((crop("1"), crop("2")), (Ok(Crop::CentreFraction(1.0)), Ok(Crop::ResizeTo(2))));
        for wrong in ["", "0", "0.01", "1.5", "-1", "center", "NaN"] {
            assert!(crop(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_given_is_given_again_by_its_words() {
        let line = [
            "camscope",
            "--picture",
            "image",
            "--size",
            "192x256",
            "--crop",
            "letterbox",
            "--input",
            "meta=1,2",
            "--bgr",
            "--range=-1,1",
            "--mean=-0.1,0.2,0.3",
            "--std",
            "0.5",
            "--white",
            "4095",
            "--labels",
            "my labels.txt",
            "--sidecar",
            "-odd.toml",
        ];
        // clap takes a path that begins with a dash only after an equals sign.
        let line = line.join("\n").replace("--sidecar\n", "--sidecar=");
        let input = Line::try_parse_from(line.split('\n')).unwrap().input;
        let given = input.given().unwrap();
        assert_eq!((given.size, given.range, given.bgr), (Some((192, 256)), Some([-1.0, 1.0]), true));
        assert_eq!(input.picture.as_deref(), Some("image"));
        assert_eq!((given.mean.clone(), given.std.clone()), (Some(vec![-0.1, 0.2, 0.3]), Some(vec![0.5])));
        let again = std::iter::once("camscope".to_owned()).chain(input.words());
        assert_eq!(Line::try_parse_from(again).unwrap().input.given().unwrap(), given);
        assert!(Line::try_parse_from(["camscope"]).unwrap().input.words().is_empty());
        let one = Line::try_parse_from(["camscope", "--range", "3"]).unwrap().input;
        assert!(one.given().is_err());
    }
}
