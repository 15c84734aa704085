//! Keys while a line is typed or the help is open.

use camscope_core::target;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    act, choose_method, choose_target,
    comparing::compare_with,
    outside::{run_other, save},
};
use crate::{
    compare::{self, Other},
    message::Command,
    prompt::{Prompt, Purpose, Value},
    state::{Help, ImageEntry, Mode, SIMILAR, State},
};

/// A key while the help is open: text searches it, arrows scroll, all else closes it.
pub(super) fn help(state: &mut State, mut help: Help, key: KeyEvent) -> Vec<Command> {
    let held = key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    let is_searched = !help.text.is_empty();
    let scroll = help.scroll;
    help.scroll = 0;
    match key.code {
        KeyCode::Down => help.scroll = scroll.saturating_add(1),
        KeyCode::Up => help.scroll = scroll.saturating_sub(1),
        KeyCode::PageDown => help.scroll = scroll.saturating_add(10),
        KeyCode::PageUp => help.scroll = scroll.saturating_sub(10),
        KeyCode::Home => {}
        KeyCode::End => help.scroll = u16::MAX,
        KeyCode::Esc if is_searched => help.text.clear(),
        KeyCode::Backspace if is_searched => drop(help.text.pop()),
        KeyCode::Char('u') if is_searched && key.modifiers.contains(KeyModifiers::CONTROL) => help.text.clear(),
        KeyCode::Char(' ') if !is_searched => help.scroll = scroll.saturating_add(10),
        // What opened it closes it.
        KeyCode::Char('?') if !is_searched => return Vec::new(),
        KeyCode::Char(character) if !held => help.text.push(character),
        _ => return Vec::new(),
    }
    help.scroll = help.scroll.min(crate::view::help_lines(state, &help.text));
    state.mode = Mode::Help(help);
    Vec::new()
}

/// A key while a line is typed.
pub(super) fn prompt(state: &mut State, mut prompt: Prompt, key: KeyEvent) -> Vec<Command> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let before = prompt.text.clone();
    match key.code {
        KeyCode::Esc => {
            if prompt.purpose == Purpose::FilterLayers {
                state.filter = prompt.before;
            }
            return Vec::new();
        }
        KeyCode::Enter => return accept(state, prompt),
        KeyCode::Up => prompt.select(-1),
        KeyCode::Down => prompt.select(1),
        KeyCode::Char('t') if control => ask_for_thumbnail(state, &prompt),
        KeyCode::Char('p') if control => prompt.select(-1),
        KeyCode::Char('n') if control => prompt.select(1),
        KeyCode::Tab => match (prompt.purpose, prompt.chosen().map(|item| item.value.clone())) {
            // Suggestions for what was typed before are none.
            (_, Some(Value::Path(path) | Value::Target(path))) if !path.starts_with(&prompt.text) => {}
            (_, Some(Value::Path(path) | Value::Target(path))) => {
                let common = prompt.common_start();
                prompt.set(if common.len() > prompt.text.len() { common } else { path });
            }
            _ => prompt.select(1),
        },
        KeyCode::BackTab => prompt.select(-1),
        KeyCode::Backspace if prompt.text.is_empty() => return Vec::new(),
        _ => edit(&mut prompt, key),
    }
    let typed = prompt.text != before;
    let is_path = prompt.path().is_some();
    if typed {
        suggest(state, &mut prompt);
    }
    state.mode = Mode::Prompt(prompt);
    if typed && is_path { complete(state) } else { Vec::new() }
}

/// Has the chosen method's thumbnail computed, however many passes it takes.
pub(super) fn ask_for_thumbnail(state: &mut State, prompt: &Prompt) {
    if let Some(Value::Method(method)) = prompt.chosen().map(|item| &item.value)
        && !state.asked_thumbnails.contains(method)
    {
        state.asked_thumbnails.push(*method);
    }
}

/// A key that changes a line.
pub(super) fn edit(prompt: &mut Prompt, key: KeyEvent) {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let by_word = control || alt;
    match key.code {
        KeyCode::Left if by_word => prompt.step_word(false),
        KeyCode::Right if by_word => prompt.step_word(true),
        KeyCode::Left => prompt.step(false),
        KeyCode::Right => prompt.step(true),
        KeyCode::Home => prompt.cursor = 0,
        KeyCode::End => prompt.cursor = prompt.text.len(),
        KeyCode::Char('a') if control => prompt.cursor = 0,
        KeyCode::Char('e') if control => prompt.cursor = prompt.text.len(),
        KeyCode::Char('b') if control => prompt.step(false),
        KeyCode::Char('f') if control => prompt.step(true),
        KeyCode::Char('b') if alt => prompt.step_word(false),
        KeyCode::Char('f') if alt => prompt.step_word(true),
        KeyCode::Backspace if by_word => prompt.delete_word(),
        KeyCode::Char('w') if control => prompt.delete_word(),
        KeyCode::Backspace => prompt.backspace(),
        KeyCode::Char('h') if control => prompt.backspace(),
        KeyCode::Delete => prompt.delete(),
        KeyCode::Char('d') if control => prompt.delete(),
        KeyCode::Char('u') if control => prompt.delete_to_start(),
        KeyCode::Char('k') if control => prompt.delete_to_end(),
        KeyCode::Char(character) if !by_word => prompt.insert(character),
        _ => {}
    }
}

/// Pasted text goes into the line that is typed; elsewhere it is nothing, certainly not keys.
pub(super) fn paste(state: &mut State, text: &str) -> Vec<Command> {
    let mut prompt = match std::mem::take(&mut state.mode) {
        Mode::Prompt(prompt) => prompt,
        Mode::Form(mut form) => {
            form.lines[form.row].paste(text);
            state.mode = Mode::Form(form);
            return Vec::new();
        }
        mode => {
            state.mode = mode;
            return Vec::new();
        }
    };
    prompt.paste(text);
    suggest(state, &mut prompt);
    let is_path = prompt.path().is_some();
    state.mode = Mode::Prompt(prompt);
    if is_path { complete(state) } else { Vec::new() }
}

/// Asks for paths that begin like the line.
pub(super) fn complete(state: &State) -> Vec<Command> {
    let complete = |typed: String| Command::Complete { typed, home: state.home.clone() };
    match &state.mode {
        Mode::Prompt(prompt) => prompt.path().into_iter().map(|typed| complete(typed.to_owned())).collect(),
        _ => Vec::new(),
    }
}

/// Finds suggestions for the line, as far as the state knows them; the filter works at once.
pub(super) fn suggest(state: &mut State, prompt: &mut Prompt) {
    match prompt.purpose {
        Purpose::SearchClass => {
            let count = state.current_scores().map_or(0, |scores| scores.classes());
            let labels = state.model.as_ref().map_or(&[][..], |model| model.labels.names());
            prompt.suggest_classes(labels, count.max(labels.len()));
        }
        Purpose::Palette => prompt.suggest_actions(),
        Purpose::Methods => prompt.suggest_methods(state.channels(), state.method),
        Purpose::CompareWith => {
            let chosen = match state.comparing.other {
                Some(Other::Method(method)) => Some(method),
                _ => None,
            };
            let second = compare::against(state).map(|against| against.info.path.clone());
            let name = second.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
            prompt.suggest_others(state.channels(), chosen, name.as_deref());
        }
        Purpose::FilterLayers => state.filter.clone_from(&prompt.text),
        Purpose::Images => {
            prompt.suggest_images(state.images.iter().map(|entry| entry.path.as_path()), state.image);
        }
        Purpose::Target => suggest_targets(state, prompt),
        Purpose::Open | Purpose::Save | Purpose::Export | Purpose::Report | Purpose::Input => {}
    }
}

/// Targets that the state knows: what the model says, elements of its outputs, photos that are open. Of a kind that it has nothing of it is
/// said at once.
fn suggest_targets(state: &mut State, prompt: &mut Prompt) {
    let said = state.current_scores().map_or(&[][..], |scores| &scores.asked);
    let outputs = state.model.as_ref().map_or(&[][..], |model| &model.outputs);
    let photos: Vec<String> = state
        .images
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != state.image)
        .map(|(_, entry)| entry.path.to_string_lossy().into_owned())
        .collect();
    prompt.takes_paths = state.model.as_ref().is_some_and(|model| model.is_embedding);
    let refused = state.model.as_ref().map_or(&[][..], |model| &model.refuses);
    prompt.suggest_targets(said, outputs, &photos, refused);
    if let Some(reason) = state.model.as_ref().and_then(|model| model.refusal(&prompt.text)) {
        state.complain(format!("{reason}; an empty line lists what can be asked"));
    }
}

/// Takes a suggestion that was pressed: a folder is looked into, all else is taken at once.
pub(super) fn take_suggestion(state: &mut State, mut prompt: Prompt) -> Vec<Command> {
    match prompt.chosen().map(|item| item.value.clone()) {
        Some(Value::Path(path) | Value::Target(path)) if path.ends_with('/') => {
            prompt.set(path);
            suggest(state, &mut prompt);
            state.mode = Mode::Prompt(prompt);
            complete(state)
        }
        Some(Value::Path(path)) => {
            prompt.set(path);
            accept(state, prompt)
        }
        _ => accept(state, prompt),
    }
}

fn accept(state: &mut State, prompt: Prompt) -> Vec<Command> {
    let chosen = prompt.chosen().map(|item| item.value.clone());
    match (prompt.purpose, chosen) {
        (Purpose::SearchClass, Some(Value::Class(class))) => {
            let count = state.current_scores().map_or(usize::MAX, |scores| scores.classes());
            if class < count {
                choose_target(state, class);
            } else {
                state.complain(format!("the model has only {count} classes"));
            }
        }
        (Purpose::SearchClass, _) => state.complain(format!("no label matches `{}`", prompt.text)),
        (Purpose::Palette, Some(Value::Action(action))) => return act(state, action),
        (Purpose::Methods, Some(Value::Method(method))) => choose_method(state, method),
        (Purpose::CompareWith, Some(Value::Method(method))) => compare_with(state, Other::Method(method)),
        (Purpose::CompareWith, Some(Value::Second)) => compare_with(state, Other::Model),
        (Purpose::Methods | Purpose::CompareWith, _) => state.complain(format!("no method matches `{}`", prompt.text)),
        (Purpose::Palette, _) => state.complain(format!("no action matches `{}`", prompt.text)),
        (Purpose::FilterLayers, _) => {
            if state.layer_list().is_empty() {
                state.complain(format!("no layer matches `{}`", state.filter));
                state.filter.clear();
            }
        }
        (Purpose::Target, _) => return take_target(state, prompt),
        (Purpose::Input, _) => {}
        (Purpose::Open, _) => return open(state, &prompt.text),
        (Purpose::Images, Some(Value::Image(image))) => super::go_to_image(state, image),
        (Purpose::Images, _) => state.complain(format!("no image's name matches `{}`", prompt.text)),
        (Purpose::Save, _) => return save(state, &prompt.text),
        (Purpose::Export | Purpose::Report, _) => return run_other(state, prompt.purpose, &prompt.text),
    }
    Vec::new()
}

/// Explains what is typed, or the suggestion that was gone to; one that is only a beginning is typed on from.
fn take_target(state: &mut State, mut prompt: Prompt) -> Vec<Command> {
    let suggested = match prompt.chosen().map(|item| item.value.clone()) {
        Some(Value::Target(spec)) if prompt.moved || prompt.is_begun() => Some(spec),
        _ => None,
    };
    let spec = suggested.unwrap_or_else(|| prompt.text.clone());
    if spec.ends_with(':') {
        prompt.set(spec);
        suggest(state, &mut prompt);
        state.mode = Mode::Prompt(prompt);
        return complete(state);
    }
    // Of an embedding a bare path is a photo to compare with.
    let is_path = prompt.takes_paths && !spec.trim().is_empty() && !target::has_kind(spec.trim());
    let spec = if is_path { format!("{SIMILAR}{}", spec.trim()) } else { spec };
    let spec = match spec.strip_prefix(SIMILAR) {
        Some(path) => format!("{SIMILAR}{}", state.typed_path(path).to_string_lossy()),
        None => spec,
    };
    super::asking::ask(state, &spec)
}

/// Opens a model, or adds images and goes to the first of them. What a path is, is found out elsewhere: the state knows no files.
fn open(state: &mut State, text: &str) -> Vec<Command> {
    let path = state.typed_path(text);
    if path.as_os_str().is_empty() {
        return Vec::new();
    }
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
        state.opening = Some(path.clone());
        return vec![Command::OpenModel(state.opening_of(path))];
    }
    let at = match state.images.iter().position(|entry| entry.path == path) {
        Some(at) => at,
        None => {
            state.came_from = Some((path.clone(), state.image));
            state.images.push(ImageEntry::new(path));
            state.images.len() - 1
        }
    };
    super::go_to_image(state, at);
    Vec::new()
}
