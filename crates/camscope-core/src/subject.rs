//! A model whose values are typed and whose layers are found: what everything that explains it starts from.

use onnx_grad::Types;

use crate::{
    error::Result,
    layer::{self, Choice, Layer, Layout, Resolved},
    model::{self, Labels, Network, Sidecar, check_scores},
    probe::{Feed, probe_unrolled},
    runtime::Runtime,
};

/// A model at the input size that its sidecar asks for.
pub struct Subject {
    network: Network,
    sidecar: Sidecar,
    types: Types,
    layers: Vec<Layer>,
    default_layer: Option<usize>,
    resolved: Resolved,
}

impl Subject {
    /// Types the model's values and finds its layers.
    ///
    /// # Errors
    /// The model's values can't be typed, it gives no class scores, or the sidecar names a layer that it doesn't have.
    pub fn new(runtime: &Runtime, mut network: Network, sidecar: Sidecar) -> Result<Self> {
        let types = type_values(runtime, &mut network, &sidecar)?;
        check_scores(&network, &types)?;
        let mut layers = layers_of(&network, &sidecar, &types);
        let resolved = resolve(&network, &sidecar, &mut layers);
        let default_layer =
            resolved.first().map_or_else(|| default_layer(&layers, &sidecar), |first| Ok(Some(first)))?;
        Ok(Self { network, sidecar, types, layers, default_layer, resolved })
    }

    /// The model.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How photos become its input.
    pub fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }

    /// The classes' names.
    pub fn labels(&self) -> &Labels {
        &self.sidecar.labels
    }

    /// What is known of the values.
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// Every layer of the model.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layer that `auto` takes.
    pub fn default_layer(&self) -> Option<usize> {
        self.default_layer
    }

    /// What resolvers said of the layers.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }
}

/// Asks the resolvers for the layers worth looking at, unless the sidecar names one; layouts that they give are taken over.
pub fn resolve(network: &Network, sidecar: &Sidecar, layers: &mut [Layer]) -> Resolved {
    if sidecar.layer.is_some() { Resolved::default() } else { layer::resolve(network, layers) }
}

/// The types of a model's values at the size that its sidecar asks for. Control flow whose course is known at that size is taken
/// apart in the model.
///
/// # Errors
/// ONNX Runtime cannot load the model; a loop is too long.
pub fn type_values(runtime: &Runtime, network: &mut Network, sidecar: &Sidecar) -> Result<Types> {
    let preprocessing = &sidecar.preprocessing;
    let (height, width) = (preprocessing.size.0 as usize, preprocessing.size.1 as usize);
    let batch = network.input.batch().unwrap_or(1);
    let shape = match preprocessing.layout {
        model::Layout::Nchw => vec![batch, preprocessing.channels(), height, width],
        model::Layout::Nhwc => vec![batch, height, width, preprocessing.channels()],
    };
    let input = &network.input;
    let feed = Feed { name: input.name.clone(), elem: input.elem, shape, free_batch: input.batch().is_none() };
    let (model, types) = probe_unrolled(runtime, &network.model, &[feed])?;
    network.model = model;
    Ok(types)
}

/// The layers of a model.
pub fn layers_of(network: &Network, sidecar: &Sidecar, types: &Types) -> Vec<Layer> {
    let layout = match sidecar.preprocessing.layout {
        model::Layout::Nchw => Layout::Nchw,
        model::Layout::Nhwc => Layout::Nhwc,
    };
    let graph = network.model.graph();
    let Some(outline) = onnx_grad::quantised::outline(graph) else {
        return layer::find(graph, types, &network.input.name, &network.logits, layout);
    };
    let mut types = types.clone();
    for info in &outline.value_info {
        if let Some(ty) = info.r#type.as_ref().and_then(onnx_grad::ValueType::from_proto) {
            types.insert(info.name.clone(), ty);
        }
    }
    layer::find(&outline, &types, &network.input.name, &network.logits, layout)
}

/// The layer that `auto` takes: the sidecar's, else the last before the classifier; `None` where the model has no layers.
///
/// # Errors
/// The sidecar names a layer that the model doesn't have.
pub fn default_layer(layers: &[Layer], sidecar: &Sidecar) -> Result<Option<usize>> {
    let automatic = layer::automatic(layers).ok().map(|layer| layer.index);
    let Some(name) = &sidecar.layer else { return Ok(automatic) };
    let choice: Choice = name.parse().unwrap_or(Choice::Auto);
    let chosen = layer::choose(layers, automatic, &choice).map(|layer| Some(layer.index));
    chosen.map_err(|error| sidecar.at_fault("layer", error))
}
