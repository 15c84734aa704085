//! A model's layers, as the explorer lists them.

use camscope_core::{
    layer::Layer, layer_ranges::Stored, model::Network, subject::TypedModel, target::KINDS, task::Kind,
};

use crate::engine::{LayerInfo, OutputInfo};

pub(super) fn describe((layer, stored): (&Layer, &Option<Stored>)) -> LayerInfo {
    let [height, width] = layer.layout.spatial(&layer.shape);
    let channels = layer.shape.get(layer.layout.channel_axis());
    let size = |size: Option<usize>| size.map_or("?".into(), |size| size.to_string());
    let (extent, channels) = (format!("{}×{}", size(height), size(width)), size(channels.copied().flatten()));
    LayerInfo {
        name: layer.name().to_owned(),
        op: layer.op.clone(),
        shape: format!("{extent}×{channels}"),
        size: extent,
        channels,
        layout: layer.layout.name(),
        stored: stored.as_ref().map(|stored| stored.name),
        path: path(layer),
        is_step: false,
    }
}

/// The modules around a layer and its own name; without modules, the parts of the value's name.
fn path(layer: &Layer) -> Vec<String> {
    let parts = |text: &str, at: char| text.split(at).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    match (layer.outputs_of.last(), &layer.module) {
        (Some(module), _) => parts(module, '.'),
        (None, Some(module)) => {
            let mut path: Vec<String> = parts(module, '.');
            path.push(layer.op.clone());
            path
        }
        (None, None) => parts(&layer.value, '/'),
    }
}

/// What the list of targets is headed with.
pub(super) fn heading(subject: &TypedModel, asked: usize) -> &'static str {
    match subject.network().task.as_ref().map(|found| found.task.kind()) {
        Some(Kind::Classification) if asked == 0 => "Classes",
        Some(Kind::Detection) => "Boxes",
        Some(Kind::Segmentation) => "Segments",
        Some(Kind::Text) => "Text",
        _ => "Targets",
    }
}

/// The kinds of target that the model has nothing of, each with the reason.
pub(super) fn refuses(network: &Network) -> Vec<(&'static str, String)> {
    KINDS.iter().filter_map(|kind| Some((kind.name, (kind.fits)(network).err()?.to_string()))).collect()
}

/// All the layers that `auto` means, as one.
pub(super) fn fused(subject: &TypedModel) -> LayerInfo {
    let sizes = subject.default_layers().iter().map(|&at| {
        let layer = &subject.layers()[at];
        let [height, width] =
            layer.layout.spatial(&layer.shape).map(|size| size.map_or("?".into(), |size| size.to_string()));
        format!("{height}×{width}")
    });
    let shape = sizes.collect::<Vec<_>>().join(" + ");
    LayerInfo {
        name: "auto".into(),
        op: "mean".into(),
        size: shape.clone(),
        channels: String::new(),
        shape,
        layout: "fused".into(),
        stored: None,
        path: vec!["auto".into()],
        is_step: false,
    }
}

/// The model's outputs with their shapes, as far as those are known.
pub(super) fn outputs(subject: &TypedModel) -> Vec<OutputInfo> {
    let of = |name: &String| {
        let dims = subject.types().get(name).and_then(|ty| ty.shape.as_ref());
        OutputInfo { name: name.clone(), shape: dims.map(|dims| dims.iter().map(|dim| dim.fixed()).collect()) }
    };
    subject.network().outputs.iter().map(of).collect()
}
