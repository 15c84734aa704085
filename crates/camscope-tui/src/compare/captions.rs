//! What the pictures of a view that compares say.

use camscope_core::method;

use super::{Other, against, looks_at_a_layer, same_target};
use crate::{
    engine::{HeatKey, ModelInfo},
    state::State,
    tiles::Content,
};

/// What a picture shows, the most needed first.
pub fn lines(state: &State, content: Content) -> Vec<String> {
    match content {
        Content::Change(first, second, _) => vec![change(state, first, second)],
        content => content.heats().next().map_or_else(Vec::new, |key| of_one(state, key)),
    }
}

/// What is less what.
fn change(state: &State, first: HeatKey, second: HeatKey) -> String {
    let method = |key: HeatKey| method::nth(key.method).map_or("", |method| method.name());
    match state.comparing.other {
        Some(Other::Method(_)) => format!("{}−{}", method(second), method(first)),
        _ => "B−A".into(),
    }
}

/// Whether a heatmap is the second model's.
fn is_second(state: &State, key: HeatKey) -> bool {
    matches!(state.photo().and_then(|photo| photo.beside.as_ref()), Some(Ok(other)) if other.id == key.photo)
}

/// The model that a heatmap is of.
fn model_of(state: &State, key: HeatKey) -> Option<&ModelInfo> {
    if is_second(state, key) { against(state).map(|against| &against.info) } else { state.model.as_deref() }
}

/// What a heatmap is of, as its own model calls it, and how sure that one is.
pub fn name_of(state: &State, key: HeatKey) -> String {
    let scores = state.scores.get(&key.photo);
    let asked = scores.and_then(|scores| scores.asked(key.target));
    let name = match asked {
        Some(asked) => asked.label.clone().unwrap_or_else(|| asked.spec.clone()),
        None => {
            model_of(state, key).map_or_else(|| format!("class {}", key.target), |model| model.labels.name(key.target))
        }
    };
    let probability = scores.and_then(|scores| scores.probability(key.target));
    name + &probability.map(|probability| format!(" {:.1} %", 100.0 * probability)).unwrap_or_default()
}

fn of_one(state: &State, key: HeatKey) -> Vec<String> {
    let name = name_of(state, key);
    let method = method::nth(key.method).map_or("", |method| method.name()).to_owned();
    let layer = model_of(state, key).and_then(|model| model.layers.get(key.layer));
    let layer = layer.filter(|_| looks_at_a_layer(key.method)).map(|layer| layer.name.clone());
    let file = |path: &std::path::Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (first, rest): (String, Vec<Option<String>>) = match &state.comparing.other {
        None => (name, vec![Some(method), layer]),
        Some(Other::Method(_)) => (method, vec![Some(name), layer]),
        Some(Other::Photo(_)) => {
            let shown = |entry: &&crate::state::ImageEntry| entry.photo.as_ref().is_some_and(|own| own.id == key.photo);
            let photo = state.images.iter().find(shown).map(|entry| file(&entry.path));
            (format!("{}: {name}", photo.unwrap_or_default()), vec![Some(method), layer])
        }
        Some(Other::Model) => {
            let letter = if is_second(state, key) { "B" } else { "A" };
            let model = model_of(state, key).map(|model| file(&model.path));
            if is_second(state, key) {
                (format!("{letter}: {name}"), vec![note(state), Some(method), layer, matched_by(state), model])
            } else {
                (format!("{letter}: {name}"), vec![Some(method), layer, model])
            }
        }
    };
    std::iter::once(first).chain(rest.into_iter().flatten()).collect()
}

/// What to know of the second model's target.
fn note(state: &State) -> Option<String> {
    let (model, against) = (state.model.as_ref()?, against(state)?);
    let theirs = state.scores.get(&super::second_photo(state)?.id)?;
    let ours = (&**state.current_scores()?, &model.labels);
    same_target(state.current_target()?, ours, (theirs, &against.info.labels)).ok()?.1
}

/// By what the second model's layer was found.
fn matched_by(state: &State) -> Option<String> {
    let (_, by) = against(state)?.layers.get(state.layer).copied().flatten()?;
    looks_at_a_layer(state.method).then(|| format!("matched {by}"))
}
