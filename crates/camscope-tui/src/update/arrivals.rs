//! What workers bring.

use std::{path::Path, sync::Arc};

use camscope_core::{layer::Choice, target::ClassSpec, text::printable_path};

use super::asking;
use crate::{
    compare::Other,
    engine::{Fault, ModelInfo, NotOpened, Photo, Scores},
    message::{Command, Message, NotSaved, PluginNews},
    prompt::Prompt,
    state::{ImageEntry, LayerState, Mode, State},
    tiles,
};

/// Puts an answer where it belongs.
pub(super) fn arrived(state: &mut State, message: Message) -> Vec<Command> {
    match message {
        Message::Opening(step) => state.step = Some(step),
        Message::Model(result) => return model(state, result),
        Message::Asked(targets, result) => return asking::asked(state, targets, result),
        Message::Preview(path, photo, thumbnail) => preview(state, &path, &photo, &thumbnail),
        Message::Layers(Ok(reasons)) => {
            state.layers =
                reasons.into_iter().map(|reason| reason.map_or(LayerState::Ready, LayerState::Without)).collect();
        }
        Message::Layers(Err(Fault::Failed(reason))) => {
            let default = state.model.as_ref().map(|model| model.default_layer);
            for (at, layer) in state.layers.iter_mut().enumerate() {
                if Some(at) != default {
                    *layer = LayerState::Without(reason.clone());
                }
            }
        }
        Message::Photo(path, result) => {
            if let Err(Fault::Failed(reason)) = &result
                && leave_what_was_opened(state, &path, reason)
            {
                return Vec::new();
            }
            other(state, &path, &result);
            let shown = state.image;
            for (at, entry) in state.images.iter_mut().enumerate().filter(|(_, entry)| entry.path == path) {
                match &result {
                    Ok((photo, thumbnail)) => {
                        entry.photo = Some(Arc::clone(photo));
                        entry.thumbnail = Some(Arc::clone(thumbnail));
                        (entry.stale, entry.error) = (false, None);
                    }
                    Err(Fault::Failed(reason)) => {
                        (entry.stale, entry.error) = (false, Some(reason.clone()));
                        if at == shown {
                            entry.photo = None;
                        }
                    }
                    Err(Fault::Cancelled) => {}
                }
            }
            forget_photos(state);
            if state.images.get(shown).is_some_and(|entry| entry.path == path) {
                state.say_what_to_know_of_the_photo();
            }
        }
        Message::Scores(photo, Ok(scores), took) => {
            // What was known already took no time.
            if !state.scores.contains_key(&photo) {
                state.times.scores = Some(took);
            }
            if let Some(asked) = state.asked_target.take() {
                asked_target(state, &asked, &scores.values[..scores.classes()]);
            }
            let specs: Vec<String> = scores.asked.iter().map(|asked| asked.spec.clone()).collect();
            state.note_others(&specs);
            keep_said(state, photo, &scores);
            state.scores.insert(photo, scores);
            asking::choose_asked(state);
        }
        Message::Scores(photo, Err(Fault::Failed(reason)), _) => {
            let entry =
                state.images.iter_mut().find(|entry| entry.photo.as_ref().is_some_and(|known| known.id == photo));
            match entry {
                Some(entry) => entry.error = Some(reason),
                // A photo as the second model takes it.
                None => drop(state.comparing.silent.insert(photo, reason)),
            }
        }
        Message::Compared(first, second, numbers) => {
            state.comparing.numbers.insert((first, second), numbers);
        }
        Message::Road(_, Err(Fault::Cancelled)) | Message::Drift(_, Err(Fault::Cancelled)) => {}
        Message::Road(key, result) => {
            state.comparing.roads.insert(key, result.map_err(|fault| fault.to_string()));
        }
        Message::Drift(photo, result) => {
            state.comparing.drifts.insert(photo, result.map_err(|fault| fault.to_string()));
        }
        Message::Progress(key, done, planned) => state.progress = Some((key, done, planned)),
        Message::Heat(key, Ok(heat), took) => {
            state.progress = None;
            state.times.heat = Some(took);
            state.failed.remove(&key);
            state.heats.put(key, heat.len() * 4 + 64, heat);
        }
        Message::Heat(_, Err(Fault::Cancelled), _) => state.progress = None,
        Message::Heat(key, Err(Fault::Failed(reason)), _) => {
            state.progress = None;
            state.failed.insert(key, reason);
        }
        Message::Spread(_, _, Err(Fault::Cancelled)) => {}
        Message::Spread(photo, layer, result) => {
            state.spreads.insert((photo, layer), result.map_err(|fault| fault.to_string()));
        }
        Message::Saturation(photo, Ok(shares)) => {
            state.saturation.insert(photo, shares);
        }
        // Nothing depends on it: the list goes without.
        Message::Saturation(photo, Err(Fault::Failed(_))) => {
            state.saturation.insert(photo, Arc::default());
        }
        Message::Picture(key, picture) => {
            for tile in tiles::tiles(state) {
                if tiles::key(state, &tile) == Some(key) {
                    state.shown.insert(tile.slot, (key, Arc::clone(&picture)));
                }
            }
            state.pictures.put(key, picture.bytes() + 256, picture);
        }
        Message::Paths(typed, paths) => {
            if let Mode::Prompt(prompt) = &mut state.mode
                && prompt.path() == Some(&typed)
            {
                prompt.suggest_paths(paths);
            }
        }
        Message::Ran(result) => {
            state.working = None;
            match result {
                Ok(text) => state.say(text),
                Err(why) => not_saved(state, why),
            }
        }
        Message::Found(paths) => {
            found(state, paths);
            state.sort_images();
        }
        Message::FileTimes(times) => {
            state.sorting.times.extend(times);
            let order = state.sorting.order;
            state.choose_order(order);
        }
        Message::Saved(Ok(paths)) => state.say(format!("saved {}", paths.join(", "))),
        Message::Saved(Err(why)) => not_saved(state, why),
        // Cancelled work has been replaced by what is wanted more; the rest is `update`'s own.
        _ => {}
    }
    Vec::new()
}

/// Keeps what the model said for sorting.
fn keep_said(state: &mut State, photo: u64, scores: &Arc<Scores>) {
    let is_of = |entry: &&mut ImageEntry| entry.photo.as_ref().is_some_and(|known| known.id == photo);
    for entry in state.images.iter_mut().filter(is_of) {
        entry.said = Some(match scores.segments {
            None => Arc::clone(scores),
            Some(_) => Arc::new(Scores { segments: None, ..Scores::clone(scores) }),
        });
    }
}

/// A picture that others are compared with was read.
fn other(state: &mut State, path: &Path, result: &Result<(Arc<Photo>, Arc<Photo>), Fault>) {
    for entry in state.asking.others.iter_mut().filter(|entry| entry.path == path) {
        match result {
            Ok((photo, _)) => (entry.photo, entry.stale) = (Some(Arc::clone(photo)), false),
            Err(Fault::Failed(reason)) => (entry.error, entry.stale) = (Some(reason.clone()), false),
            Err(Fault::Cancelled) => {}
        }
    }
}

/// Says why nothing was written; of a file that is there already it is asked again.
fn not_saved(state: &mut State, why: NotSaved) {
    let (path, purpose) = match why {
        NotSaved::Failed(reason) => return state.complain(reason),
        NotSaved::IsThere(path, purpose) => (path, purpose),
    };
    state.complain(format!("{} is there already: enter overwrites it, esc leaves it", printable_path(&path)));
    // Whoever types something else by now is not disturbed.
    if matches!(state.mode, Mode::Normal) {
        state.mode = Mode::Prompt(Prompt::new(purpose, path.to_string_lossy()));
        state.overwrite = Some(path);
    }
}

/// Puts new images of the folders where their names belong; the one that is shown stays.
fn found(state: &mut State, paths: Vec<std::path::PathBuf>) {
    let count = paths.len();
    for path in paths {
        if state.images.iter().any(|entry| entry.path == path) {
            continue;
        }
        let folder = path.parent();
        let beside = |entry: &ImageEntry| entry.path.parent() == folder;
        let after = state.images.iter().rposition(|entry| beside(entry) && entry.path < path).map(|at| at + 1);
        let before = || state.images.iter().position(beside);
        let at = after.or_else(before).unwrap_or(state.images.len());
        // With none so far, the first is shown.
        if at <= state.image && !state.images.is_empty() {
            state.image += 1;
        }
        state.images.insert(at, ImageEntry::new(path));
    }
    if state.message.is_none() {
        state.say(if count == 1 { "a new image".to_owned() } else { format!("{count} new images") });
    }
}

/// Goes back from a file that was opened by its path and is no image that can be read; says why. Whether it was one.
fn leave_what_was_opened(state: &mut State, path: &Path, reason: &str) -> bool {
    let Some((_, before)) = state.came_from.take_if(|(opened, _)| opened == path) else { return false };
    let Some(at) = state.images.iter().position(|entry| entry.path == path && entry.photo.is_none()) else {
        return false;
    };
    // With nothing to go back to, the reason takes the picture's place.
    if state.images.len() < 2 {
        return false;
    }
    state.images.remove(at);
    if state.image >= at {
        state.image = before.min(state.images.len() - 1);
    }
    state.complain(reason.to_owned());
    true
}

/// A photo's pixels while the model is being opened; afterwards photos are read for the model.
fn preview(state: &mut State, path: &Path, photo: &Arc<Photo>, thumbnail: &Arc<Photo>) {
    if state.model.is_some() {
        return;
    }
    for entry in state.images.iter_mut().filter(|entry| entry.path == path) {
        entry.photo = Some(Arc::clone(photo));
        entry.thumbnail = Some(Arc::clone(thumbnail));
    }
}

fn model(state: &mut State, result: Result<Arc<ModelInfo>, NotOpened>) -> Vec<Command> {
    let was_opening = state.opening.take();
    state.step = None;
    let info = match result {
        Ok(info) => info,
        Err(why) => {
            asking::not_opened(state, was_opening, why);
            return Vec::new();
        }
    };
    let was_asked = std::mem::take(&mut state.asking.reopens);
    (state.asking.inputs, state.asking.form) = (None, None);
    // The same file again: the person stays where they were, as far as that is still there.
    let same = state.model.as_ref().filter(|old| old.path == info.path);
    let layer_name = same.and_then(|old| old.layers.get(state.layer)).map(|layer| layer.name.clone());
    let is_reload = layer_name.is_some();
    let kept = layer_name.and_then(|name| info.layers.iter().position(|layer| layer.name == name));
    state.layer = kept.unwrap_or(info.default_layer);
    if !is_reload {
        (state.target, state.target_stays, state.rank) = (None, false, 0);
        state.kept = None;
        state.pinned.clear();
        state.filter.clear();
        state.folds.clear();
        if !state.asked_method {
            state.method = info.method;
        }
    } else if was_asked {
        (state.target, state.target_stays, state.kept, state.rank) = (None, false, None, 0);
        state.pinned.clear();
    } else {
        state.say("the model has changed: opened again");
    }
    state.layers = vec![LayerState::Unknown; info.layers.len()];
    if let Some(layer) = state.layers.get_mut(info.default_layer) {
        *layer = LayerState::Ready;
    }
    state.layers_wanted = false;
    state.notes = state.screen.notes.iter().chain(&info.notes).cloned().collect();
    state.scores.clear();
    state.saturation.clear();
    state.spreads.clear();
    state.heats.retain(|_| false);
    state.failed.clear();
    state.comparing.clear();
    // Another model may want another size: photos are prepared anew. What is shown stays until then.
    for entry in state.images.iter_mut().chain(&mut state.asking.others) {
        entry.stale = true;
        (entry.error, entry.said) = (None, None);
    }
    if let Some(asked) = state.asked_layer.take() {
        asked_layer(state, &info, &asked);
    }
    let has_second = info.against.is_some();
    if !has_second && state.comparing.other == Some(Other::Model) {
        (state.comparing.other, state.comparing.drift) = (None, false);
    }
    state.model = Some(info);
    Vec::new()
}

fn asked_layer(state: &mut State, info: &ModelInfo, asked: &Choice) {
    let found = match asked {
        Choice::Auto => Some(info.default_layer),
        Choice::Index(index) => Some(*index).filter(|index| *index < info.layers.len()),
        Choice::Name(name) => info.layers.iter().position(|layer| layer.name == *name),
        Choice::Input | Choice::InputOf(_) => None,
    };
    match found {
        Some(layer) => state.layer = layer,
        None => {
            let near =
                camscope_core::nearest::nearest(&asked.to_string(), info.layers.iter().map(|layer| &*layer.name));
            let hint = if near.is_empty() { String::new() } else { format!("; the nearest: {}", near.join(", ")) };
            let shown = info.layers.get(state.layer).map_or("another", |layer| &layer.name);
            state.complain(format!("there is no layer `{asked}`{hint}; {shown} is shown"));
        }
    }
}

fn asked_target(state: &mut State, asked: &ClassSpec, logits: &[f32]) {
    let Some(model) = &state.model else { return };
    let clash = asked.clash(&model.labels);
    match (asked, asked.resolve(logits, &model.labels)) {
        (ClassSpec::Top(rank), Ok(_)) => state.rank = rank - 1,
        (_, Ok(class)) => super::choose_target(state, class),
        (_, Err(error)) => state.complain(Fault::from(error).to_string()),
    }
    if let Some(clash) = clash {
        state.say(clash);
    }
}

/// Plugins came, changed, or were set aside.
pub(super) fn plugins(state: &mut State, news: &[PluginNews]) -> Vec<Command> {
    // A changed colormap has its old name: pictures are drawn anew.
    state.pictures.retain(|_| false);
    state.shown.clear();
    state.round += 1;
    for one in news {
        if one.is_error {
            state.complain(one.text.clone());
        } else {
            state.say(one.text.clone());
        }
    }
    let path = state.model.as_ref().map(|model| model.path.clone());
    match path.filter(|_| state.opening.is_none() && news.iter().any(|one| one.concerns_model)) {
        Some(path) => {
            state.opening = Some(path.clone());
            vec![Command::OpenModel(state.opening_of(path))]
        }
        None => Vec::new(),
    }
}

/// A file was changed by another program.
pub(super) fn changed(state: &mut State, path: &Path) -> Vec<Command> {
    for entry in state.images.iter_mut().filter(|entry| entry.path == path) {
        (entry.stale, entry.said) = (true, None);
    }
    let is_of = |model: &&Arc<ModelInfo>| {
        model.path == path || model.against.as_ref().is_some_and(|against| against.info.path == path)
    };
    // Of two models both are opened again.
    let own = state.model.as_ref().filter(is_of).map(|model| model.path.clone());
    if let (Some(path), None) = (own, &state.opening) {
        state.opening = Some(path.clone());
        return vec![Command::OpenModel(state.opening_of(path))];
    }
    Vec::new()
}

/// Decoded photos are large: only those near the shown one are kept.
fn forget_photos(state: &mut State) {
    const NEAR: usize = 2;
    const LARGE: usize = 256 << 20;
    let size = |entry: &ImageEntry| {
        let beside = |photo: &Photo| matches!(photo.beside, Some(Ok(_)));
        entry.photo.as_ref().map_or(0, |photo| photo.pixels.len() * (1 + usize::from(beside(photo))))
    };
    let mut total: usize = state.images.iter().map(size).sum();
    let page: Vec<usize> = tiles::images(&tiles::tiles(state)).collect();
    let count = state.images.len();
    for at in 0..count {
        let distance = at.abs_diff(state.image).min(count - at.abs_diff(state.image));
        let is_awaited = state.sorting.order.needs_answers() && state.images[at].said.is_none();
        if total > LARGE && distance > NEAR && !page.contains(&at) && !is_awaited {
            total -= size(&state.images[at]);
            state.images[at].photo = None;
        }
    }
}
