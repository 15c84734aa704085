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
    /// `@input:NAME`: another input of the model.
    InputOf(String),
    /// A number in the list of layers.
    Index(usize),
    /// A value's name or a module path.
    Name(String),
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Input => f.write_str("@input"),
            Self::InputOf(name) => write!(f, "@input:{name}"),
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for Choice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "@input" => Self::Input,
            _ if text.starts_with("@input:") => Self::InputOf(text["@input:".len()..].to_owned()),
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
    let by_module = || last_output_of(layers, name);
    let by_call = || {
        let is_call = |module: &String| module_path::without_repeats(module) == name;
        layers.iter().rev().find(|layer| layer.outputs_of.iter().any(is_call))
    };
    let by_neighbour = || neighbours(layers, name).and_then(|path| last_output_of(layers, &path));
    by_value().or_else(by_module).or_else(by_call).or_else(by_neighbour).ok_or_else(|| {
        let names = layers.iter().flat_map(|layer| layer.outputs_of.iter().map(String::as_str).chain([&*layer.value]));
        Error::UnknownLayer { name: name.to_owned(), nearest: nearest(name, names) }
    })
}

fn last_output_of<'a>(layers: &'a [Layer], path: &str) -> Option<&'a Layer> {
    layers.iter().rev().find(|layer| layer.outputs_of.iter().any(|module| module == path))
}

/// The module that stands in the file for one that has no nodes of its own.
///
/// A convolution with its normalisation folded in keeps the convolution's name in one exporter and the normalisation's in the other,
/// so either name means the other's output. Within a `Sequential`, a gap in the numbers is a module that does nothing at inference
/// (`Dropout`, `Identity`, a folded normalisation): its output is its input, the output of the one before.
fn neighbours(layers: &[Layer], name: &str) -> Option<String> {
    let (parent, last) = name.rsplit_once('.').map_or(("", name), |(parent, last)| (parent, last));
    let join = |last: String| if parent.is_empty() { last } else { format!("{parent}.{last}") };
    let exists = |path: &str| last_output_of(layers, path).is_some();
    let is_conv = |path: &str| last_output_of(layers, path).is_some_and(|layer| layer.op == "Conv");
    if let Ok(number) = last.parse::<usize>() {
        let later = (number + 1..number + 64).any(|number| exists(&join(number.to_string())));
        let before = number.checked_sub(1).map(|number| join(number.to_string())).filter(|path| exists(path));
        let after = Some(join((number + 1).to_string())).filter(|path| is_conv(path));
        return if later { before.or(after) } else { None };
    }
    let renamed = [("bn", "conv"), ("norm", "conv"), ("conv", "bn"), ("conv", "norm")];
    let mut renamed =
        renamed.iter().filter(|(from, _)| last.contains(from)).map(|(from, to)| join(last.replacen(from, to, 1)));
    renamed.find(|path| is_conv(path))
}

/// The layer of a choice other than an input, `auto` being the layer of number `default`.
///
/// # Errors
/// There is no such layer.
pub fn choose<'a>(layers: &'a [Layer], default: Option<usize>, choice: &Choice) -> Result<&'a Layer> {
    match choice {
        Choice::Index(index) => by_index(layers, *index),
        Choice::Name(name) => by_name(layers, name),
        Choice::Auto | Choice::Input | Choice::InputOf(_) => by_index(layers, default.ok_or(Error::NoLayers)?),
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad::ElemType;

    use super::*;
    use crate::layer::Layout;

    fn layers(modules: &[(&str, &str)]) -> Vec<Layer> {
        let layer = |(index, (module, op)): (usize, &(&str, &str))| Layer {
            index,
            value: format!("value_{index}"),
            op: (*op).to_owned(),
            module: Some((*module).to_owned()),
            outputs_of: vec![(*module).to_owned()],
            shape: vec![None, Some(8), Some(4), Some(4)],
            elem: ElemType::Float,
            layout: Layout::Nchw,
            informative: true,
        };
        modules.iter().enumerate().map(layer).collect()
    }

    #[test]
    fn a_folded_normalisation_and_its_convolution_both_find_the_layer() {
        let by_conv = layers(&[("layer1.0.conv1", "Conv"), ("layer1.0.relu", "Relu")]);
        assert_eq!(by_name(&by_conv, "layer1.0.bn1").unwrap().index, 0);
        let by_norm = layers(&[("layer1.0.bn1", "Conv"), ("layer1.0.relu", "Relu")]);
        assert_eq!(by_name(&by_norm, "layer1.0.conv1").unwrap().index, 0);
        let numbered = layers(&[("features.0.1", "Conv"), ("features.0.2", "Clip")]);
        assert_eq!(by_name(&numbered, "features.0.0").unwrap().index, 0);
    }

    #[test]
    fn a_module_without_nodes_means_its_input() {
        let layers = layers(&[("features.0", "Conv"), ("features.1", "Relu"), ("features.3", "Conv")]);
        assert_eq!(by_name(&layers, "features.2").unwrap().index, 1);
        // Beyond the last there is nothing that could do nothing.
        assert!(matches!(by_name(&layers, "features.4"), Err(Error::UnknownLayer { .. })));
        assert!(matches!(by_name(&layers, "conv9"), Err(Error::UnknownLayer { .. })));
    }

    #[test]
    fn a_layout_must_fit_the_shape() {
        let layer = || layers(&[("features", "Conv")]).remove(0);
        assert_eq!(layer().taken_as(Layout::Nhwc).unwrap().layout, Layout::Nhwc);
        assert!(layer().taken_as("tokens:1+2x2".parse().unwrap()).is_err());
    }

    #[test]
    fn layouts_are_written_as_they_are_meant() {
        let tokens = |prefix, height, width| Ok(Layout::Tokens { prefix, height, width });
        assert_eq!("tokens:1+14x7".parse::<Layout>(), tokens(1, 14, 7));
        assert_eq!("TOKENS:7x7".parse::<Layout>(), tokens(0, 7, 7));
        assert_eq!("NCHW".parse::<Layout>(), Ok(Layout::Nchw));
        for wrong in ["tokens", "tokens:0x7", "tokens:7", "grid", "tokens:x"] {
            assert!(wrong.parse::<Layout>().is_err(), "{wrong}");
        }
    }
}
