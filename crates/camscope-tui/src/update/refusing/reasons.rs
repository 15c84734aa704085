//! Why an action changes nothing, and what does.

use crate::{
    action::{Action, View},
    state::State,
    view::status::readout,
};

/// The reason for what is shown now.
pub(in crate::update) fn reason(state: &State, action: Action) -> String {
    let key = |action: Action| state.keymap.first(action);
    if state.model.is_none() {
        return match state.opening {
            Some(_) => "the model is still being opened".to_owned(),
            None => format!("no model is open: {} opens one", key(Action::Open)),
        };
    }
    if state.images.is_empty() {
        return format!("no image is open: {} opens one", key(Action::Open));
    }
    match action {
        Action::NextClass | Action::PreviousClass | Action::TopClass | Action::Pin => of_targets(state, action),
        _ if is_of_layers(action) && state.layer_list() == [state.layer] => match state.filter.is_empty() {
            true => "this is the only layer in the list".to_owned(),
            false => format!("no other layer passes the filter: {} changes it", key(Action::FilterLayers)),
        },
        Action::NextLayer | Action::NextLayers | Action::LastLayer => {
            format!("there is no layer behind this one in the list: {} goes back", key(Action::PreviousLayer))
        }
        Action::PreviousLayer | Action::PreviousLayers | Action::FirstLayer => {
            format!("there is no layer before this one in the list: {} goes on", key(Action::NextLayer))
        }
        Action::AutoLayer => {
            let others = [Action::PreviousLayer, Action::NextLayer].map(key).join(" and ");
            format!("this is the layer that auto takes: {others} go to others")
        }
        Action::Fold | Action::FoldAll if !state.filter.is_empty() => {
            format!("a filtered list has no groups: {} and an empty line show all layers", key(Action::FilterLayers))
        }
        Action::Fold | Action::FoldAll => "there is no group of layers to open or to fold".to_owned(),
        Action::NextImage | Action::PreviousImage => {
            format!("this is the only image: {} opens others", key(Action::Open))
        }
        Action::View(view) => {
            format!("the view {} is shown already: {} goes to the next", view.name(), key(Action::NextView))
        }
        Action::ZoomIn => format!("there is no closer: {} goes further away", key(Action::ZoomOut)),
        Action::ZoomOut | Action::ZoomReset => {
            format!("the whole photo is shown: {} zooms in", key(Action::ZoomIn))
        }
        // What is read there is still to be seen.
        Action::Move(..) => {
            let read = state.crosshair.and(readout(state));
            read.into_iter().chain(["the photo ends here".to_owned()]).collect::<Vec<_>>().join(" · ")
        }
        Action::Boxes => "the model found no boxes here that could be shown or hidden".to_owned(),
        Action::Crosshair => {
            format!("nothing here has a heat to read: {} shows one heatmap", key(Action::View(View::Overlay)))
        }
        Action::TakeBest => format!("{} looks for the best method and layer first", key(Action::Rank)),
        _ => "nothing that is shown changes by that".to_owned(),
    }
}

/// Whether it moves in the list of layers.
fn is_of_layers(action: Action) -> bool {
    use Action::{FirstLayer, LastLayer, NextLayer, NextLayers, PreviousLayer, PreviousLayers};
    matches!(action, NextLayer | PreviousLayer | NextLayers | PreviousLayers | FirstLayer | LastLayer)
}

/// The same of what moves in the list of targets.
fn of_targets(state: &State, action: Action) -> String {
    let key = |action: Action| state.keymap.first(action);
    if state.current_scores().is_none() {
        return "the model has not answered yet".to_owned();
    }
    if state.target_list().is_empty() {
        return format!("the list is empty: {} asks for any target", key(Action::Target));
    }
    let asks =
        if state.model.as_ref().is_some_and(|model| model.is_embedding) { Action::Similar } else { Action::Target };
    match action {
        Action::NextClass | Action::PreviousClass | Action::TopClass if state.target_list().len() == 1 => {
            format!("this is the only one in the list: {} asks for another", key(asks))
        }
        Action::NextClass => format!("the list ends here: {} goes back", key(Action::PreviousClass)),
        Action::PreviousClass => format!("the list begins here: {} goes on", key(Action::NextClass)),
        Action::TopClass => format!("the first is shown: {} goes on", key(Action::NextClass)),
        _ => format!("nothing is explained yet: {} goes to the first", key(Action::NextClass)),
    }
}
