//! What is said of a model's input and its labels, in place of files beside the model: the keywords that are options of the command's too.

use std::path::{Path, PathBuf};

use camscope_core::{
    Error,
    model::{Crop, Given, Network, Sidecar, resolve_given, said_picture},
};
use ndarray::ArrayD;
use pyo3::{exceptions::PyValueError, prelude::*, types::PyDict};

use crate::given::floats;

/// Arrays by the names of their inputs.
type Fed = Vec<(String, ArrayD<f32>)>;

/// What is said of a model's input and its labels.
pub(crate) struct Settings {
    given: Given,
    picture: Option<String>,
    /// What inputs that don't take the image are fed.
    fed: Fed,
}

/// The keywords, as Python gives them.
#[derive(FromPyObject)]
pub(crate) enum Size {
    Side(u32),
    Sides(u32, u32),
}

/// One number, or one a channel.
#[derive(FromPyObject)]
pub(crate) enum Numbers {
    One(f32),
    Several(Vec<f32>),
}

/// Which part of a photo is seen: a word, a number of pixels, or a fraction.
#[derive(FromPyObject)]
pub(crate) enum Seen {
    Word(String),
    Pixels(u32),
    Fraction(f64),
}

/// The keywords of a model's input.
pub(crate) struct Keywords<'py> {
    pub(crate) size: Option<Size>,
    pub(crate) crop: Option<Seen>,
    pub(crate) bgr: bool,
    pub(crate) range: Option<[f32; 2]>,
    pub(crate) mean: Option<Numbers>,
    pub(crate) std: Option<Numbers>,
    pub(crate) white: Option<f32>,
    pub(crate) labels: Option<PathBuf>,
    pub(crate) sidecar: Option<PathBuf>,
    pub(crate) picture: Option<String>,
    pub(crate) inputs: Option<Bound<'py, PyDict>>,
}

impl Settings {
    /// Reads the keywords.
    ///
    /// # Errors
    /// One has a value that it can't have.
    pub(crate) fn of(keywords: Keywords<'_>) -> PyResult<Self> {
        let given = Given {
            sidecar: keywords.sidecar,
            labels: keywords.labels,
            size: keywords.size.map(|size| match size {
                Size::Side(side) => (side, side),
                Size::Sides(height, width) => (height, width),
            }),
            crop: keywords.crop.map(crop).transpose()?,
            bgr: keywords.bgr,
            range: keywords.range,
            mean: keywords.mean.map(numbers),
            std: keywords.std.map(numbers),
            white: keywords.white,
        };
        if given.size.is_some_and(|(height, width)| height == 0 || width == 0) {
            return Err(PyValueError::new_err("size must be positive"));
        }
        let fed = keywords.inputs.iter().flatten().map(|(name, value)| Ok((name.extract()?, floats(&value)?)));
        Ok(Self { given, picture: keywords.picture, fed: fed.collect::<PyResult<_>>()? })
    }

    /// Reads a model and what lies beside it, unless the settings say otherwise. The last result is what is to be known of it.
    ///
    /// # Errors
    /// Either cannot be read, or a setting is none that the model can have.
    pub(crate) fn open(&self, model: &Path) -> camscope_core::Result<(Network, Sidecar, Vec<String>)> {
        let picture = match &self.picture {
            Some(picture) => Some(picture.clone()),
            None => said_picture(model, self.given.sidecar.as_deref())?,
        };
        let mut network = Network::open_with(model, picture.as_deref())?;
        let mut notes: Vec<String> = network.note.iter().chain(&network.picture_note).cloned().collect();
        let sidecar = resolve_given(&network, &self.given)?;
        notes.extend(self.feed(&mut network, &sidecar)?);
        if let Some(logits) = &sidecar.logits {
            network.choose_output(logits)?;
        }
        if network.takes_photos() {
            notes.extend(sidecar.remarks());
        }
        Ok((network, sidecar, notes))
    }

    /// Feeds the inputs that don't take the image. What those get that follow its size is said.
    ///
    /// # Errors
    /// There is no such input, or the value doesn't fit it.
    pub(crate) fn feed(&self, network: &mut Network, sidecar: &Sidecar) -> Result<Vec<String>, Error> {
        for (name, value) in &self.fed {
            network.feed(name, value.clone(), None)?;
        }
        let is_given = |name: &str| self.fed.iter().any(|(fed, _)| fed == name);
        Ok(network.feed_sizes(sidecar.preprocessing.size, is_given))
    }
}

impl Settings {
    /// What is said of photos, the input that takes them, and what the others are fed.
    pub(crate) fn into_parts(self) -> (Given, Option<String>, Fed) {
        (self.given, self.picture, self.fed)
    }
}

fn numbers(numbers: Numbers) -> Vec<f32> {
    match numbers {
        Numbers::One(number) => vec![number],
        Numbers::Several(numbers) => numbers,
    }
}

fn crop(seen: Seen) -> PyResult<Crop> {
    match seen {
        Seen::Pixels(side) if side > 1 => Ok(Crop::ResizeTo(side)),
        Seen::Pixels(1) => Ok(Crop::CentreFraction(1.0)),
        Seen::Fraction(fraction) if (0.05..=1.0).contains(&fraction) => Ok(Crop::CentreFraction(fraction)),
        Seen::Word(word) => match word.as_str() {
            "squash" => Ok(Crop::Squash),
            "border" => Ok(Crop::Border(1.0)),
            "letterbox" => Ok(Crop::Letterbox),
            "corner" => Ok(Crop::Corner),
            "line" => Ok(Crop::Line),
            _ => Err(wrong_crop()),
        },
        Seen::Pixels(_) | Seen::Fraction(_) => Err(wrong_crop()),
    }
}

fn wrong_crop() -> PyErr {
    PyValueError::new_err(
        "crop must be a fraction from 0.05 to 1, a number of pixels, 'squash', 'border', 'letterbox', 'corner' or 'line'",
    )
}
