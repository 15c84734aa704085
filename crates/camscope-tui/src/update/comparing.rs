//! Comparing: what with, and how.

use camscope_core::{method, text::printable_path};

use crate::{
    action::{Action, View},
    compare::{Other, against, ranked},
    engine::Try,
    state::State,
};

/// The view so many places on; those that compare only where there is something to compare.
pub(super) fn step_view(state: &mut State, by: isize) {
    let mut view = state.view.step(by);
    while view.compares() && state.comparing.other.is_none() {
        view = view.step(by);
    }
    state.view = view;
}

/// A view that was asked for.
pub(super) fn choose_view(state: &mut State, view: View) {
    state.view = view;
    if view.compares() && state.comparing.other.is_none() {
        let (with, mark) = (state.keymap.first(Action::CompareWith), state.keymap.first(Action::Mark));
        state.say(format!(
            "nothing to compare with: {with} chooses a method, {mark} marks a photo, --against MODEL opens a second model"
        ));
    }
}

/// Compares with that from now on.
pub(super) fn compare_with(state: &mut State, other: Other) {
    let with = match &other {
        Other::Model => "the second model".to_owned(),
        Other::Method(method) => method::nth(*method).map_or("", |method| method.name()).to_owned(),
        Other::Photo(path) => printable_path(path),
    };
    state.comparing.other = Some(other);
    if !state.view.compares() {
        state.view = View::Compare;
    }
    state.say(format!("compared with {with}"));
}

/// Marks the image that is shown; a marked one no longer.
pub(super) fn mark(state: &mut State) {
    let Some(path) = state.images.get(state.image).map(|entry| entry.path.clone()) else {
        return state.complain("no image is open");
    };
    mark_image(state, path);
}

/// Marks an image to compare others with; a marked one no longer.
pub(super) fn mark_image(state: &mut State, path: std::path::PathBuf) {
    let name = printable_path(&path);
    if state.comparing.other == Some(Other::Photo(path.clone())) {
        // Back to what the explorer was started for.
        state.comparing.other = against(state).map(|_| Other::Model);
        if state.comparing.other.is_none() && state.view.compares() {
            state.view = View::Overlay;
        }
        return state.say(format!("{name} is no longer marked"));
    }
    compare_with(state, Other::Photo(path.clone()));
    if state.images.get(state.image).is_some_and(|entry| entry.path == path) {
        let (next, back) = (state.keymap.first(Action::NextImage), state.keymap.first(Action::PreviousImage));
        state.say(format!("{name} is marked: {next} and {back} go to the image to compare with it"));
    }
}

/// One scale for both, or each its own.
pub(super) fn scale(state: &mut State) {
    if let Some(Other::Method(_)) = state.comparing.other {
        return state.say("methods have units of their own: each has its own scale");
    }
    state.comparing.own_scale = !state.comparing.own_scale;
    state.say(match state.comparing.own_scale {
        true => "each heatmap is scaled by its own maximum",
        false => "one scale: 1 is the larger maximum of both",
    });
}

/// Shows how far the activations are apart, or no longer.
pub(super) fn drift(state: &mut State) {
    if against(state).is_none() {
        return state.complain("drift is that of a second model: start with --against MODEL");
    }
    state.comparing.drift = !state.comparing.drift;
}

/// Looks for the best method and layer, or no longer.
pub(super) fn rank(state: &mut State) {
    if state.model.is_none() || state.photo().is_none() {
        return state.complain("there is no photo to find the best method and layer for");
    }
    state.comparing.ranks = !state.comparing.ranks;
}

/// Takes the best method and layer that was found.
pub(super) fn take_best(state: &mut State) {
    if !state.comparing.ranks {
        return;
    }
    let (scored, tried, of) = ranked::scored(state);
    match scored.first() {
        Some(best) => {
            take(state, best.tried);
            let (method, layer) = (state.method_name(), ranked::layer_name(state, &best.tried));
            let so_far = if tried < of { format!(" so far ({tried} of {of} tried)") } else { String::new() };
            state.comparing.ranks = false;
            state.say(format!("the best{so_far}: {method} at {layer}, ROAD {:.4}", best.road));
        }
        None => state.say("nothing was scored yet"),
    }
}

/// Shows a method at a layer.
pub(super) fn take(state: &mut State, tried: Try) {
    (state.method, state.layer) = (tried.method, tried.layer);
    state.asked_method = true;
}
