//! Where gradients are taken.

use onnx_grad::Types;

use super::{Group, Options};
use crate::{
    error::{Error, Result},
    layer::{self, Choice, Layer},
    model::Network,
    subject::TypedModel,
};

/// Where gradients are taken: a layer, or the model's own input.
#[derive(Clone, Debug)]
pub enum Tap {
    /// A layer.
    Layer(Layer),
    /// `@input`: gradient only, no heatmap.
    Input,
}

impl Tap {
    /// The name to show: a module path, a value's name, or `@input`.
    pub fn name(&self) -> &str {
        match self {
            Self::Layer(layer) => layer.name(),
            Self::Input => "@input",
        }
    }

    /// The value's name in the graph; `None` for the input.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::Layer(layer) => Some(&layer.value),
            Self::Input => None,
        }
    }
}

/// The taps that the options name, and which of them have one heat.
///
/// # Errors
/// A layer isn't there, or its axes can't mean what the options say.
pub(super) fn choose_taps(subject: &TypedModel, options: &Options) -> Result<(Vec<Tap>, Vec<Group>)> {
    let (network, types, layers): (&Network, &Types, &[Layer]) = (subject.network(), subject.types(), subject.layers());
    let default = subject.default_layer();
    let choices = if options.layers.is_empty() { &[Choice::Auto] } else { options.layers.as_slice() };
    let choose = |choice: &Choice| {
        if *choice == Choice::Input {
            let input = network.input();
            return match input.elem.is_float() {
                true => Ok(Tap::Input),
                false => Err(Error::IntegerInput { name: input.name.clone() }),
            };
        }
        let found = layer::choose(layers, default, choice).map(|layer| called(layer, choice));
        let found = found.map_err(|error| if matches!(error, Error::NoLayers) { subject.no_layers() } else { error });
        let Some(layout) = options.layout else { return found.map(Tap::Layer) };
        // Whoever says what the axes mean may name any value of the graph.
        let unlisted = || match choice {
            Choice::Name(name) => layer::unlisted(network.model.graph(), types, name, layout),
            _ => None,
        };
        match found {
            Ok(layer) => layer,
            Err(error) => unlisted().ok_or(error)?,
        }
        .taken_as(layout)
        .map(Tap::Layer)
    };
    let mut taps: Vec<Tap> = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for choice in choices {
        let several = subject.default_layers();
        let first = taps.len();
        match choice {
            Choice::Auto if several.len() > 1 && options.layout.is_none() => {
                taps.extend(several.iter().map(|&at| Tap::Layer(layers[at].clone())));
            }
            choice => taps.push(choose(choice)?),
        }
        groups.push(Group { taps: first..taps.len(), fuse: options.fuse.unwrap_or_default() });
    }
    if let Some(fuse) = options.fuse {
        // All layers are one; the input has no heat.
        let is_layer = |group: &Group| group.taps.clone().all(|tap| matches!(taps[tap], Tap::Layer(_)));
        if groups.iter().all(is_layer) {
            groups = vec![Group { taps: 0..taps.len(), fuse }];
        }
    }
    Ok((taps, groups))
}

/// The layer, called by the module's path that it was asked for by, where it is the output of several.
fn called(layer: &Layer, choice: &Choice) -> Layer {
    let mut layer = layer.clone();
    if let Choice::Name(name) = choice
        && layer.outputs_of.contains(name)
    {
        layer.module = Some(name.clone());
    }
    layer
}
