//! Which method at which layer: what is tried, and how good it is.

use std::sync::Arc;

use camscope_core::{
    explain::{Explainer, Options},
    layer::Choice,
    method,
    rank::{choices, default_methods, most_channels, whole},
    runtime::Runtime,
    subject::TypedModel,
};

use super::{Result, Try};

/// How many changed pictures are asked about in one run.
const BATCH: usize = 16;

/// How many passes score a map: as many as `camscope rank` takes where its budget allows it.
pub(super) fn passes() -> usize {
    whole(1, 1).passes
}

/// What `camscope rank` tries: cheap methods first, each at the layer that `auto` takes and where the resolution changes.
///
/// # Errors
/// A layer cannot be chosen.
pub(super) fn tries(subject: &TypedModel, default_layer: usize) -> Result<Vec<Try>> {
    let mut methods = default_methods()?;
    let cost = |chosen: &method::Chosen| chosen.method.passes(&chosen.parameters, most_channels(subject));
    methods.sort_by(|one, other| cost(one).total_cmp(&cost(other)));
    let layers: Vec<usize> = choices(subject, &[])?
        .into_iter()
        .filter_map(|choice| match choice {
            Choice::Auto => Some(default_layer),
            Choice::Index(layer) => Some(layer),
            _ => None,
        })
        .collect();
    let all = method::all();
    let mut tries = Vec::new();
    for chosen in methods {
        let Some(method) = all.iter().position(|known| *known == chosen.method) else { continue };
        let looks = chosen.method.needs().layer;
        let at = if looks { layers.as_slice() } else { &[default_layer] };
        tries.extend(at.iter().map(|layer| Try { method, layer: *layer, cost: cost(&chosen) }));
    }
    Ok(tries)
}

/// What asks the model of changed pictures.
///
/// # Errors
/// The runtime refuses it.
pub(super) fn asking(runtime: &'static Runtime, subject: &Arc<TypedModel>, options: &Options) -> Result<Explainer> {
    let options = Options { batch: BATCH, ..options.clone() };
    Ok(Explainer::forward_passes(runtime, Arc::clone(subject), options)?)
}
