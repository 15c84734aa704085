//! The inputs that don't take the image: what they are fed, and how a photo becomes it.

use ndarray::{ArrayD, Axis, concatenate};

use super::network::{Input, Network, axes};
use super::preprocessing::{self, Color, Preprocessing};
use super::sidecar::Sidecar;
use crate::{
    error::{Error, Result},
    runtime::{ElemType, Value},
};

impl Network {
    /// The inputs that don't take the image, with what they are fed in a run of so many images: those whose batch is open get the same for
    /// each.
    ///
    /// # Errors
    /// [`Error::InputMissing`] if one has no value.
    pub fn fed(&self, rows: usize) -> Result<Vec<(String, Value)>> {
        let fed = |input: &Input| {
            let one = input.given()?;
            let value = match rows > 1 && input.is_by_image() {
                true => {
                    let copies = concatenate(Axis(0), &vec![one.view(); rows]);
                    copies.map_err(|error| Error::Value(error.to_string()))?
                }
                false => one.clone(),
            };
            Ok((input.name.clone(), Value::from_f32_as(value, ElemType::from_code(input.elem.code()))?))
        };
        self.others().map(fed).collect()
    }
}

impl Input {
    /// What an input that doesn't take the image is fed.
    pub(crate) fn given(&self) -> Result<&ArrayD<f32>> {
        let missing = || Error::InputMissing { name: self.name.clone(), shape: axes(&self.shape) };
        self.value.as_ref().ok_or_else(missing)
    }

    /// Whether it has a row for each image, of which one is given.
    pub(crate) fn is_by_image(&self) -> bool {
        self.shape.first() == Some(&None) && self.value.as_ref().is_some_and(|value| value.shape().first() == Some(&1))
    }
}

impl Sidecar {
    /// How a photo becomes an input that doesn't take the image: as the image's does, at the input's own size where it has one. What it
    /// takes of colours and numbers is its own.
    ///
    /// # Errors
    /// [`Error::Value`] if it takes no photos.
    pub fn for_input(&self, input: &Input) -> Result<Preprocessing> {
        let refused = |reason: String| {
            let reason = reason.trim_start_matches("its input").to_owned();
            Error::Value(format!("the input `{}` takes no photo:{reason}", input.name))
        };
        let own = preprocessing::Input::new(&input.shape, None).map_err(refused)?;
        let own = preprocessing::Input { elem: input.elem, ..own };
        let picture = &self.preprocessing;
        let side = |own: Option<usize>, side: u32| own.and_then(|own| u32::try_from(own).ok()).unwrap_or(side);
        let size = (side(own.height, picture.size.0), side(own.width, picture.size.1));
        let assumed = own.assumed();
        let mut prepared = Preprocessing { size, layout: own.layout, ..picture.clone() };
        if own.channels.is_some_and(|channels| channels != picture.channels()) {
            let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
            prepared.color = own.color();
            let channels = prepared.channels();
            prepared.mean = vec![mean(&picture.mean); channels];
            prepared.std = vec![mean(&picture.std); channels];
            if picture.color == Color::Bgr && prepared.color == Color::Rgb {
                prepared.color = Color::Bgr;
            }
        }
        if assumed.whole != picture.whole {
            (prepared.range, prepared.mean, prepared.std) = own.assumed_values(prepared.color);
            prepared.whole = assumed.whole;
        }
        Ok(prepared)
    }
}
