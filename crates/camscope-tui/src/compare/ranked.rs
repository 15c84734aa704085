//! The best method and layer for the photo and the target that are shown: what is known of them.

use super::looks_at_a_layer;
use crate::{
    engine::{HeatKey, Try},
    state::State,
};

/// A method at a layer that was scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// What was tried.
    pub tried: Try,
    /// Its ROAD.
    pub road: f64,
}

/// The heatmap of what is tried, for the photo and the target that are shown.
fn key_of(state: &State, tried: &Try) -> Option<HeatKey> {
    let (photo, target) = (state.photo()?.id, state.current_target()?);
    Some(HeatKey { photo, target, layer: tried.layer, method: tried.method })
}

/// What was scored by now, the best first, of equally good ones the cheapest; how many were tried, and of how many.
pub fn scored(state: &State) -> (Vec<Scored>, usize, usize) {
    let tries = state.model.as_ref().map_or(&[][..], |model| &model.tries);
    let known: Vec<_> =
        tries.iter().filter_map(|tried| Some((*tried, state.comparing.roads.get(&key_of(state, tried)?)?))).collect();
    let tried = known.len();
    let mut scored: Vec<Scored> =
        known.into_iter().filter_map(|(tried, road)| Some(Scored { tried, road: *road.as_ref().ok()? })).collect();
    scored.sort_by(|one, other| other.road.total_cmp(&one.road).then(one.tried.cost.total_cmp(&other.tried.cost)));
    (scored, tried, tries.len())
}

/// What is to be scored next.
pub fn next(state: &State) -> Option<HeatKey> {
    let keys = state.model.as_ref()?.tries.iter().filter_map(|tried| key_of(state, tried));
    keys.into_iter().find(|key| !state.comparing.roads.contains_key(key)).filter(|_| state.comparing.ranks)
}

/// A layer's name where the method looks at one.
pub fn layer_name(state: &State, tried: &Try) -> String {
    let layer = state.model.as_ref().and_then(|model| model.layers.get(tried.layer));
    match layer.filter(|_| looks_at_a_layer(tried.method)) {
        Some(layer) => layer.name.clone(),
        None => "the input".into(),
    }
}
