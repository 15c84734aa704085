//! Layer resolvers: what knows, for a family of models, which layers are worth looking at. Plugins add theirs.

use std::sync::{PoisonError, RwLock};

use super::{Layer, Layout};
use crate::model::Network;

/// A layer worth looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    /// Its number.
    pub layer: usize,
    /// What its axes mean; `None`: as found.
    pub layout: Option<Layout>,
}

/// Knows a family of models.
pub trait LayerResolver: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
    /// The plugin that it comes from.
    fn plugin(&self) -> &str;
    /// The layers worth looking at, the best first; none where the model is of another family.
    ///
    /// # Errors
    /// Why it cannot be said.
    fn resolve(&self, network: &Network, layers: &[Layer]) -> Result<Vec<Preference>, String>;
}

/// What the resolvers said of a model's layers.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The resolver that knows the model.
    pub by: Option<String>,
    /// The layers that it prefers, the best first.
    pub layers: Vec<usize>,
    /// Why others were not listened to.
    pub notes: Vec<String>,
}

impl Resolved {
    /// The layer that `auto` takes.
    pub fn first(&self) -> Option<usize> {
        self.layers.first().copied()
    }
}

static ADDED: RwLock<Vec<&'static dyn LayerResolver>> = RwLock::new(Vec::new());

/// Adds a resolver at the end; one that was added before under the same name makes room for it in its place.
pub fn add_resolver(resolver: &'static dyn LayerResolver) {
    let mut added = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    match added.iter_mut().find(|known| known.name() == resolver.name()) {
        Some(place) => *place = resolver,
        None => added.push(resolver),
    }
}

/// Every resolver, in the order in which they are asked.
pub fn resolvers() -> Vec<&'static dyn LayerResolver> {
    ADDED.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Asks one resolver after the other until one knows the model; the layouts that it gives are taken over. An answer that doesn't fit
/// the layers is as good as none.
pub fn resolve(network: &Network, layers: &mut [Layer]) -> Resolved {
    let mut resolved = Resolved::default();
    for resolver in resolvers() {
        let answer = resolver.resolve(network, layers).and_then(|preferences| check_preferences(layers, &preferences));
        match answer {
            Ok(taken) if taken.is_empty() => {}
            Ok(taken) => {
                resolved.by = Some(resolver.name().to_owned());
                resolved.layers = taken.iter().map(|layer| layer.index).collect();
                for layer in taken {
                    let at = layer.index;
                    layers[at] = layer;
                }
                break;
            }
            Err(reason) => {
                let (name, plugin) = (resolver.name(), resolver.plugin());
                resolved
                    .notes
                    .push(format!("layer resolver `{name}` of plugin `{plugin}` is not listened to: {reason}"));
            }
        }
    }
    resolved
}

/// The preferred layers, in the layouts that are said.
///
/// # Errors
/// There is no such layer, one is named twice, or a layout does not fit its shape.
pub fn check_preferences(layers: &[Layer], preferences: &[Preference]) -> Result<Vec<Layer>, String> {
    let mut taken: Vec<Layer> = Vec::new();
    for preference in preferences {
        let count = layers.len();
        let layer = layers.get(preference.layer);
        let layer = layer.ok_or_else(|| format!("it names layer {} of {count}", preference.layer))?.clone();
        if taken.iter().any(|known| known.index == layer.index) {
            return Err(format!("it names layer {} twice", layer.index));
        }
        taken.push(match preference.layout {
            None => layer,
            Some(layout) => layer.taken_as(layout).map_err(|error| error.to_string())?,
        });
    }
    Ok(taken)
}
