//! What the caller says of a model's input and its labels, in place of files beside the model.

use std::path::PathBuf;

use super::labels::Labels;
use super::preprocessing::{Color, Crop, Input, Source};
use super::sidecar::Sidecar;
use super::sizing::Sizing;
use crate::text::printable_path;
use crate::{Error, Result};

/// What the caller says of a model's input and its labels: it counts before what files say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// The sidecar to be read, in place of the one beside the model.
    pub sidecar: Option<PathBuf>,
    /// The file of labels.
    pub labels: Option<PathBuf>,
    /// The input's height and width, where the model leaves them open.
    pub size: Option<(u32, u32)>,
    /// Which part of a photo is seen.
    pub crop: Option<Crop>,
    /// Whether colours come blue first.
    pub bgr: bool,
    /// What black and white become before mean and std.
    pub range: Option<[f32; 2]>,
    /// One value a channel, or one for all.
    pub mean: Option<Vec<f32>>,
    /// One value a channel, or one for all.
    pub std: Option<Vec<f32>>,
    /// The value that is white in photos of 16 bits and of floats.
    pub white: Option<f32>,
}

impl Given {
    /// Refuses what is about photos for an input that takes none.
    pub(super) fn refuse_for_array(&self) -> Result<()> {
        let about_photos = [
            ("--size", self.size.is_some()),
            ("--crop", self.crop.is_some()),
            ("--bgr", self.bgr),
            ("--range", self.range.is_some()),
            ("--mean", self.mean.is_some()),
            ("--std", self.std.is_some()),
            ("--white", self.white.is_some()),
        ];
        match about_photos.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Error::BadPreprocessing {
                reason: format!("{option} is about photos, and the model takes an array as it is"),
            }),
            None => Ok(()),
        }
    }

    /// Puts it in place of what was found.
    pub(super) fn apply(&self, sidecar: &mut Sidecar, input: &Input, stride: Option<u32>, model: &str) -> Result<()> {
        if let Some(path) = &self.labels {
            sidecar.labels = Labels::load(path)?;
            sidecar.labels_from = Some(printable_path(path));
        }
        let found = sidecar.preprocessing.clone();
        let preprocessing = &mut sidecar.preprocessing;
        let wrong = |reason: String| Err(Error::BadPreprocessing { reason });
        if let Some((height, width)) = self.size {
            let differs = |fixed: Option<usize>, side: u32| fixed.is_some_and(|fixed| fixed != side as usize);
            if differs(input.height, height) || differs(input.width, width) {
                let asked = (height as usize, width as usize);
                return Err(Error::FixedSize { path: model.to_owned(), asked, model: (input.height, input.width) });
            }
            if let Some(stride) = stride.filter(|stride| height % stride != 0 || width % stride != 0) {
                return wrong(format!(
                    "its metadata says that sides are multiples of {stride}, not {height} × {width}"
                ));
            }
            (preprocessing.size, preprocessing.sizing) = ((height, width), Sizing::Said);
        }
        preprocessing.crop = self.crop.unwrap_or(preprocessing.crop);
        preprocessing.white = self.white.or(preprocessing.white);
        if self.bgr && preprocessing.color != Color::Bgr {
            if preprocessing.color == Color::Grey {
                return wrong("its input has one channel: there is no order of colours".into());
            }
            if let Color::Bands(bands) = preprocessing.color {
                return wrong(format!("its input has {bands} bands: there is no order of colours"));
            }
            preprocessing.color = Color::Bgr;
            // They belong to the channels.
            preprocessing.mean.reverse();
            preprocessing.std.reverse();
        }
        if let Some(range) = self.range.filter(|range| *range != preprocessing.range) {
            preprocessing.range = range;
            // Those found are in units of another range.
            preprocessing.mean.fill(0.0);
            preprocessing.std.fill(1.0);
        }
        let channels = preprocessing.channels();
        let each = |values: &Vec<f32>| if let [one] = values[..] { vec![one; channels] } else { values.clone() };
        if let Some(mean) = &self.mean {
            preprocessing.mean = each(mean);
            let [low, high] = preprocessing.range;
            if let Some(value) = mean.iter().find(|value| !(low..=high).contains(*value)) {
                return wrong(format!(
                    "the mean {value} is not within {low} and {high}, which black and white become; give --range 0,255"
                ));
            }
        }
        if let Some(std) = &self.std {
            preprocessing.std = each(std);
        }
        if *preprocessing == found {
            return Ok(());
        }
        preprocessing.source = Source::Given(Box::new(found.source));
        preprocessing.problem().map_or(Ok(()), wrong)
    }
}
