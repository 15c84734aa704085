//! Which layer a user means.

use std::str::FromStr;

use super::{Layer, module_path};
use crate::{
    error::{Error, Result},
    nearest::nearest,
};

/// A layer as `--layer` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// `auto`: the sidecar's, else the last layer before the classifier.
    Auto,
    /// `@input`: the model's own input.
    Input,
    /// A number in the list of layers.
    Index(usize),
    /// A value's name or a module path.
    Name(String),
}

impl FromStr for Choice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "@input" => Self::Input,
            _ => text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Index),
        })
    }
}

/// The layer that `auto` takes where no sidecar names one: the last informative one, else the last of all.
///
/// # Errors
/// The model has no layers.
pub fn automatic(layers: &[Layer]) -> Result<&Layer> {
    let last = layers.iter().rev().find(|layer| layer.informative).or(layers.last());
    last.ok_or(Error::NoLayers)
}

/// The layer of that number.
///
/// # Errors
/// There are fewer.
pub fn by_index(layers: &[Layer], index: usize) -> Result<&Layer> {
    layers.get(index).ok_or(match layers.len() {
        0 => Error::NoLayers,
        count => Error::LayerIndex { index, count },
    })
}

/// The layer of that name: a value's name, a module's path, or a path without the marks of repeated calls.
///
/// # Errors
/// There is none; the error lists the nearest names.
pub fn by_name<'a>(layers: &'a [Layer], name: &str) -> Result<&'a Layer> {
    let by_value = || layers.iter().find(|layer| layer.value == name);
    let by_module = || layers.iter().rev().find(|layer| layer.outputs_of.iter().any(|module| module == name));
    let by_call = || {
        let is_call = |module: &String| module_path::without_repeats(module) == name;
        layers.iter().rev().find(|layer| layer.outputs_of.iter().any(is_call))
    };
    by_value().or_else(by_module).or_else(by_call).ok_or_else(|| {
        let names = layers.iter().flat_map(|layer| layer.outputs_of.iter().map(String::as_str).chain([&*layer.value]));
        Error::UnknownLayer { name: name.to_owned(), nearest: nearest(name, names) }
    })
}

/// The layer of a choice other than [`Choice::Input`], `auto` being the layer of number `default`.
///
/// # Errors
/// There is no such layer.
pub fn choose<'a>(layers: &'a [Layer], default: Option<usize>, choice: &Choice) -> Result<&'a Layer> {
    match choice {
        Choice::Index(index) => by_index(layers, *index),
        Choice::Name(name) => by_name(layers, name),
        Choice::Auto | Choice::Input => by_index(layers, default.ok_or(Error::NoLayers)?),
    }
}
