//! What leaves the explorer: saved files, the copied command, an exported model, a report.

use camscope_core::text::printable_path;

use super::open_prompt;
use crate::{
    action::View,
    command_line,
    message::{Command, Save},
    other_commands,
    prompt::Purpose,
    state::State,
};

pub(super) fn open_save(state: &mut State, extension: &str) {
    state.overwrite = None;
    match (state.images.get(state.image), state.current_target()) {
        (Some(entry), Some(class)) => {
            let stem = entry.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let layer = state.model.as_ref().map_or("", |model| &model.layers[state.layer].name);
            let what = match state.view {
                _ if state.comparing.ranks => ".rank".into(),
                View::Overlay => String::new(),
                view => format!(".{}", view.name()),
            };
            let plain = |text: &str| text.replace(|c: char| !c.is_alphanumeric() && !"-_".contains(c), "_");
            let name = format!("{}.{}.{class}{what}.{extension}", plain(&stem), plain(layer));
            open_prompt(state, Purpose::Save, name);
        }
        _ => state.complain("there is nothing to save yet"),
    }
}

pub(super) fn copy_command(state: &mut State) -> Vec<Command> {
    match command_line::explain(state) {
        Some(line) => {
            state.say(format!("copied: {line}"));
            vec![Command::Copy(line)]
        }
        None => {
            state.complain("there is nothing to explain yet");
            Vec::new()
        }
    }
}

/// The command that saves what is shown to a file.
pub(super) fn save(state: &mut State, path: &str) -> Vec<Command> {
    let path = path.trim();
    if path.is_empty() {
        state.complain("a file needs a name");
        return Vec::new();
    }
    let path = state.typed_path(path);
    let is_picture = path.extension().is_some_and(|ending| ending == "png" || ending == "jpg");
    if (state.view == View::Photos || state.comparing.ranks) && is_picture {
        return run_other(state, Purpose::Save, &path.to_string_lossy());
    }
    let overwrite = state.overwrite.take().is_some_and(|known| known == path);
    vec![Command::Save(Save { path, overwrite, description: command_line::description(state) })]
}

/// Asks where to export to, or where to put a report.
pub(super) fn open_other(state: &mut State, purpose: Purpose) {
    state.overwrite = None;
    let Some(model) = &state.model else { return state.complain("no model is open yet") };
    let stem = model.path.file_stem().unwrap_or_default().to_string_lossy();
    let name = if purpose == Purpose::Export { format!("{stem}.cam.onnx") } else { format!("{stem}-report") };
    open_prompt(state, purpose, name);
}

/// The command that runs another command of the program.
pub(super) fn run_other(state: &mut State, purpose: Purpose, path: &str) -> Vec<Command> {
    if let Some(working) = &state.working {
        let text = format!("{working} is not done yet");
        state.complain(text);
        return Vec::new();
    }
    if path.trim().is_empty() {
        state.complain("it needs a name");
        return Vec::new();
    }
    let path = state.typed_path(path);
    let overwrite = state.overwrite.take().is_some_and(|known| known == path);
    let (words, what) = match purpose {
        Purpose::Export => (other_commands::export(state, &path), "exporting"),
        Purpose::Save if state.comparing.ranks => {
            let sheet = ["--sheet".to_owned(), path.to_string_lossy().into_owned()];
            (other_commands::rank(state).map(|words| [words, sheet.to_vec()].concat()), "the sheet of the ranking")
        }
        Purpose::Save => (other_commands::sheet(state, &path), "the sheet"),
        _ => (other_commands::report(state, &path), "the report"),
    };
    match words {
        Ok(words) => {
            state.working = Some(format!("{what} to {}", printable_path(&path)));
            vec![Command::Run { words, path, purpose, overwrite }]
        }
        Err(reason) => {
            state.complain(reason);
            Vec::new()
        }
    }
}
