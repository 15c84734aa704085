//! Other targets than what the model says by itself, and what its inputs are fed.

use camscope_core::target;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{choose_target, open_prompt, typing};
use crate::{
    engine::{Fault, InputRow, ModelInfo, NotOpened},
    message::Command,
    prompt::Purpose,
    state::{Form, Mode, SIMILAR, State},
};

/// Asks for the target to explain; `begun` is what is typed already.
pub(super) fn open_target(state: &mut State, begun: &str) -> Vec<Command> {
    match &state.model {
        None => state.complain("no model is open yet"),
        Some(model) if begun == SIMILAR && !model.is_embedding => {
            state.complain("the model gives no embedding: photos cannot be compared by it");
        }
        Some(_) => {
            open_prompt(state, Purpose::Target, begun.to_owned());
            return typing::complete(state);
        }
    }
    Vec::new()
}

/// Explains a target as `--target` takes it.
pub(super) fn ask(state: &mut State, text: &str) -> Vec<Command> {
    let spec = match target::parse(text.trim()) {
        Ok(target) => target.spec(),
        // How each kind is written, the suggestions say.
        Err(error) if !target::has_kind(text.trim()) => {
            again(state, text, format!("{error}: tab completes"));
            return Vec::new();
        }
        Err(error) => {
            again(state, text, Fault::from(error).to_string());
            return Vec::new();
        }
    };
    let Some(model) = &state.model else { return Vec::new() };
    if let Some(class) = spec.strip_prefix("class:").and_then(|class| class.parse::<target::ClassSpec>().ok()) {
        let scores = state.current_scores().cloned();
        let found = scores.map(|scores| class.resolve(&scores.values[..scores.classes()], &model.labels));
        match found {
            Some(Ok(class)) => choose_target(state, class),
            Some(Err(error)) => again(state, text, Fault::from(error).to_string()),
            None => state.complain("the model has not answered yet"),
        }
        return Vec::new();
    }
    let known = state.current_scores().and_then(|scores| Some((place(scores, &spec)?, scores)).map(|(at, _)| at));
    if let Some(at) = known {
        choose_target(state, at);
        return Vec::new();
    }
    let mut targets = model.targets.clone();
    targets.push(spec.clone());
    state.asking.chosen = Some(spec);
    vec![Command::Ask(targets)]
}

/// A target's place among all of a photo's.
fn place(scores: &crate::engine::Scores, spec: &str) -> Option<usize> {
    scores.asked.iter().position(|asked| asked.spec == spec).map(|at| at + scores.classes())
}

/// The model takes targets without being opened anew, or not.
pub(super) fn asked(state: &mut State, targets: Vec<String>, result: Result<bool, Fault>) -> Vec<Command> {
    let Some(model) = state.model.clone() else { return Vec::new() };
    match result {
        Err(fault) => {
            let text = state.asking.chosen.take().unwrap_or_default();
            again(state, &text, fault.to_string());
            Vec::new()
        }
        Ok(false) => {
            state.asking.reopens = true;
            state.opening = Some(model.path.clone());
            let opening = crate::engine::Opening { targets: Some(targets), ..state.opening_of(model.path.clone()) };
            vec![Command::OpenModel(opening)]
        }
        Ok(true) => {
            let heading = if model.heading == "Classes" { "Targets" } else { model.heading };
            state.model = Some(std::sync::Arc::new(ModelInfo { targets, heading, ..ModelInfo::clone(&model) }));
            state.forget_answers();
            Vec::new()
        }
    }
}

/// Asks once more, and says what was wrong.
fn again(state: &mut State, text: &str, reason: String) {
    if matches!(state.mode, Mode::Normal) {
        open_prompt(state, Purpose::Target, text.to_owned());
    }
    state.complain(reason);
}

/// The model has answered: what was asked for is shown.
pub(super) fn choose_asked(state: &mut State) {
    let Some(spec) = state.asking.chosen.clone() else { return };
    let found = state.current_scores().and_then(|scores| place(scores, &spec));
    if let Some(at) = found {
        state.asking.chosen = None;
        choose_target(state, at);
    }
}

/// Why a model was not opened: inputs without values are asked for.
pub(super) fn not_opened(state: &mut State, path: Option<std::path::PathBuf>, why: NotOpened) {
    let was_asked = std::mem::take(&mut state.asking.reopens);
    let name = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display()))
    };
    match why {
        NotOpened::Fault(Fault::Cancelled) => {}
        NotOpened::Fault(Fault::Failed(reason)) => {
            let text = state.asking.chosen.take();
            match text.filter(|_| was_asked) {
                Some(text) => again(state, &text, reason),
                None => {
                    let reason = format!("{}{reason}", name(&path));
                    // What was typed is not lost.
                    if let Some(form) = state.asking.form.take().filter(|_| matches!(state.mode, Mode::Normal)) {
                        state.mode = Mode::Form(form);
                    }
                    state.complain(reason);
                }
            }
        }
        NotOpened::Inputs(rows) => {
            let path = path.unwrap_or_default();
            state.asking.form = None;
            state.asking.chosen = None;
            if state.model.is_none() {
                state.asking.inputs = Some((path.clone(), rows.clone()));
            }
            if matches!(state.mode, Mode::Normal) {
                state.mode = Form::of(path, rows).map_or(Mode::Normal, Mode::Form);
            }
        }
    }
}

/// Opens the form of the model's inputs.
pub(super) fn open_form(state: &mut State) {
    let of_model = |model: &ModelInfo| (model.path.clone(), model.inputs.clone());
    let known = state.asking.inputs.clone().or_else(|| state.model.as_deref().map(of_model));
    let Some((path, rows)) = known else { return state.complain("no model is open yet") };
    match Form::of(path, rows) {
        Some(form) => state.mode = Mode::Form(form),
        None => state.say("the model has one input, and it takes the photo"),
    }
}

/// A key while the form is open.
pub(super) fn form(state: &mut State, mut form: Form, key: KeyEvent) -> Vec<Command> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Esc => return Vec::new(),
        KeyCode::Enter => match form.next_empty() {
            Some(row) => form.row = row,
            None => return submit(state, form),
        },
        KeyCode::Up | KeyCode::BackTab => form.step(-1),
        KeyCode::Down | KeyCode::Tab => form.step(1),
        KeyCode::Char('p') if control => form.step(-1),
        KeyCode::Char('n') if control => form.step(1),
        _ => typing::edit(&mut form.lines[form.row], key),
    }
    state.mode = Mode::Form(form);
    Vec::new()
}

/// Opens the model with what is typed.
pub(super) fn submit(state: &mut State, form: Form) -> Vec<Command> {
    let targets = state.model.as_ref().filter(|model| model.path == form.path).map(|model| model.targets.clone());
    state.opening = Some(form.path.clone());
    state.asking.reopens = true;
    let opening = form.opening(targets);
    state.asking.form = Some(Form { rows: form.rows.iter().map(InputRow::without_error).collect(), ..form });
    vec![Command::OpenModel(opening)]
}
