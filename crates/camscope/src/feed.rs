//! `--input NAME=VALUE`: what the inputs that don't take the image are fed.

use std::{path::Path, sync::Arc};

use camscope_core::{
    Error, Result,
    image::{Photo, Seen},
    model::{Input, Network, Sidecar, read_array},
};
use camscope_tui::engine::{Fault, InputRow};
use image::RgbImage;
use ndarray::{ArrayD, IxDyn};
use onnx_grad::ElemType;

use crate::input::sides;

/// An array, and the photo that it was made of with the rectangle that is seen of it.
type Fed = (ArrayD<f32>, Option<Arc<(RgbImage, Seen)>>);

/// An input with what it is fed, as the option gives it.
#[derive(Clone, Debug)]
pub(crate) struct FedInput {
    name: String,
    value: String,
    /// An array in place of the value.
    array: Option<ArrayD<f32>>,
}

impl std::fmt::Display for FedInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl FedInput {
    /// Reads `NAME=VALUE`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
        match name.is_empty() || value.is_empty() {
            true => Err("it must be NAME=VALUE".into()),
            false => Ok(Self { name: name.to_owned(), value: value.to_owned(), array: None }),
        }
    }

    /// An input and what was typed for it.
    pub(crate) fn of(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), array: None }
    }

    /// An input that is fed an array.
    pub(crate) fn of_array(name: String, array: ArrayD<f32>) -> Self {
        Self { name, value: "an array".into(), array: Some(array) }
    }

    /// The value as an array of the input's shape. Open axes that the value says nothing of have size 1; height and width are the image's.
    fn array(&self, input: &Input, sidecar: &Sidecar) -> Result<Fed> {
        let plain = |array| Ok((array, None));
        if let Some(array) = &self.array {
            return plain(array.clone());
        }
        let shape = shape(input, sidecar);
        let fail = |reason: String| Err(Error::Value(format!("cannot feed the input `{}`: {reason}", self.name)));
        let numbers: Option<Vec<f32>> = self.value.split(',').map(|number| number.trim().parse().ok()).collect();
        match (self.value.as_str(), numbers) {
            ("zeros", _) => plain(ArrayD::zeros(IxDyn(&shape))),
            ("ones", _) => plain(ArrayD::ones(IxDyn(&shape))),
            (_, Some(numbers)) if numbers.len() == 1 => plain(ArrayD::from_elem(IxDyn(&shape), numbers[0])),
            (_, Some(numbers)) => {
                let shape = filled(&input.shape, numbers.len());
                match ArrayD::from_shape_vec(IxDyn(&shape), numbers) {
                    Ok(array) => plain(array),
                    Err(_) => {
                        let count = self.value.split(',').count();
                        fail(format!("it has the shape {shape:?}, and {count} numbers are given"))
                    }
                }
            }
            (path, None) if path.ends_with(".npy") => plain(read_array(Path::new(path), true)?),
            (path, None) if Path::new(path).extension().is_some() || Path::new(path).is_file() => {
                let preprocessing = sidecar.for_input(input)?;
                let photo = Photo::open_for(path, &preprocessing)?;
                let prepared = photo.prepare(&preprocessing)?;
                Ok((prepared.tensor, Some(Arc::new((photo.pixels, prepared.seen)))))
            }
            (value, None) => fail(format!(
                "`{value}` is neither a photo, a .npy file, zeros, ones, a number, nor numbers with commas"
            )),
        }
    }
}

/// The input's shape, a batch of one first; an open height and width are the image's, other open axes have size 1.
fn shape(input: &Input, sidecar: &Sidecar) -> Vec<usize> {
    let mut shape: Vec<usize> = input.shape.iter().map(|size| size.unwrap_or(1)).collect();
    if let (4, Ok(preprocessing)) = (shape.len(), sidecar.for_input(input)) {
        let [down, across] = sides(preprocessing.layout);
        (shape[down], shape[across]) = (preprocessing.size.0 as usize, preprocessing.size.1 as usize);
    }
    shape
}

/// The shape with its only open axis as large as makes room for that many numbers.
fn filled(shape: &[Option<usize>], numbers: usize) -> Vec<usize> {
    let known: usize = shape.iter().flatten().product();
    let mut room = (known > 0 && numbers.is_multiple_of(known)).then(|| numbers / known);
    // The last open axis takes them all: the first is the batch.
    let mut sizes: Vec<usize> =
        shape.iter().rev().map(|size| size.unwrap_or_else(|| room.take().unwrap_or(1))).collect();
    sizes.reverse();
    sizes
}

/// Feeds the model's further inputs; those that say how large the photo is have a value of their own, and the result says so.
///
/// # Errors
/// There is no such input, or the value doesn't fit it.
pub(crate) fn feed(network: &mut Network, sidecar: &Sidecar, inputs: &[FedInput]) -> Result<Vec<String>> {
    for fed in inputs {
        let known = network.others().find(|input| input.name == fed.name).cloned();
        // One that isn't there is refused by the network, which knows the others.
        let value = known.map_or_else(|| Ok(Fed::default()), |input| fed.array(&input, sidecar));
        let (value, photo) = value?;
        network.feed(&fed.name, value, photo)?;
    }
    Ok(network.feed_sizes(sidecar.preprocessing.size, |name| inputs.iter().any(|fed| fed.name == name)))
}

/// A type of numbers as NumPy calls it.
fn type_name(elem: ElemType) -> String {
    match elem {
        ElemType::Float => "float32".into(),
        ElemType::Double => "float64".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// As [`feed`], input by input: all of the model's inputs with what they are fed, and what is wrong with it.
pub(crate) fn feed_each(network: &mut Network, sidecar: &Sidecar, inputs: &[FedInput]) -> Vec<InputRow> {
    let mut errors: Vec<(&str, String)> = Vec::new();
    for fed in inputs {
        let known = network.others().find(|input| input.name == fed.name).cloned();
        let value = known.map_or_else(|| Ok(Fed::default()), |input| fed.array(&input, sidecar));
        if let Err(error) = value.and_then(|(value, photo)| network.feed(&fed.name, value, photo)) {
            let reason = Fault::from(error).to_string();
            // Which input it is is seen.
            let own = format!("cannot feed the input `{}`: ", fed.name);
            errors.push((&fed.name, reason.strip_prefix(&own).unwrap_or(&reason).to_owned()));
        }
    }
    network.feed_sizes(sidecar.preprocessing.size, |name| inputs.iter().any(|fed| fed.name == name));
    let size = |size: &Option<usize>| size.map_or("?".to_owned(), |size| size.to_string());
    let row = |input: &Input| {
        let given = inputs.iter().find(|fed| fed.name == input.name);
        InputRow {
            name: input.name.clone(),
            elem: type_name(input.elem),
            shape: format!("[{}]", input.shape.iter().map(size).collect::<Vec<_>>().join(", ")),
            is_photo: input.name == network.input().name,
            value: given.map(|fed| fed.value.clone()).unwrap_or_default(),
            usual: input.by_default.unwrap_or_default().to_owned(),
            error: errors.iter().find(|(name, _)| *name == input.name).map(|(_, error)| error.clone()),
        }
    };
    network.inputs.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_the_last_open_axis() {
        assert_eq!(filled(&[None, Some(4)], 4), [1, 4]);
        assert_eq!(filled(&[None, None], 3), [1, 3]);
        assert_eq!(filled(&[Some(1), None, Some(2)], 6), [1, 3, 2]);
        assert_eq!(filled(&[Some(1), Some(4)], 3), [1, 4]);
    }

    #[test]
    fn a_name_and_a_value_are_wanted() {
        assert!(FedInput::parse("meta=1,2").is_ok());
        for text in ["meta", "=1", "meta="] {
            assert!(FedInput::parse(text).is_err(), "{text}");
        }
    }
}
