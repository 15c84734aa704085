//! What other commands of the program do for the explorer: a model that explains itself, and a report of the photos seen.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use camscope_core::{
    method::{self, Method},
    overlay::{self, Enlarge},
    rank::whole,
};

use crate::state::State;

/// Options of `camscope explain` that are about running, which `camscope export` has not: those with a value, and those without.
const OF_RUNNING: (&[&str], &[&str]) = (&["--ep", "--device", "--ep-library"], &["--no-verify"]);

/// The words of the `camscope export` that writes the model with this method, layer and, other than for classes, target.
///
/// # Errors
/// Why that cannot be written into a model.
pub fn export(state: &State, to: &Path) -> Result<Vec<String>, String> {
    let model = state.model.as_ref().ok_or("no model is open")?;
    let method = method::nth(state.method).ok_or("no method is chosen")?;
    if !matches!(method, Method::Cam(_)) {
        let name = method.name();
        return Err(format!(
            "{name} takes many passes, which no model holds: choose a method of the family `activation and gradient`"
        ));
    }
    let mut words = vec!["export".into(), word(&model.path), "-o".into(), word(to)];
    words.extend(["--method".into(), method.name().into()]);
    words.extend(layer(state));
    // Of classes an input of the new model says which.
    let asked = state.current_target().and_then(|target| Some(state.current_scores()?.asked(target)?.spec.clone()));
    words.extend(asked.into_iter().flat_map(|spec| ["--target".into(), spec]));
    words.extend(for_export(&model.command));
    Ok(words)
}

/// The words of the `camscope explain --report` for all photos that were looked at.
///
/// # Errors
/// No photo was.
pub fn report(state: &State, to: &Path) -> Result<Vec<String>, String> {
    let seen = state.images.iter().filter(|entry| entry.seen).map(|entry| word(&entry.path)).collect();
    // What was searched for is shown of every photo; else what the model says first.
    let chosen = state.target.filter(|_| state.target_stays);
    explain(state, seen, "--report", to, chosen)
}

/// The words of the `camscope explain --sheet` for all photos, with what is explained now.
///
/// # Errors
/// No photo is open.
pub fn sheet(state: &State, to: &Path) -> Result<Vec<String>, String> {
    let all = state.images.iter().filter(|entry| entry.error.is_none()).map(|entry| word(&entry.path)).collect();
    explain(state, all, "--sheet", to, state.current_target())
}

/// The words of the `camscope rank` that tries the same on the photo that is shown, by as many passes.
///
/// # Errors
/// No photo is open.
pub fn rank(state: &State) -> Result<Vec<String>, String> {
    let model = state.model.as_ref().ok_or("no model is open")?;
    let photo = state.images.get(state.image).ok_or("no photo is open")?;
    let costs: Vec<f64> = model.tries.iter().map(|tried| tried.cost).collect();
    let budget = whole(costs.len(), 1).total(&costs).ceil();
    let mut words = vec!["rank".into(), word(&model.path), word(&photo.path)];
    words.extend(state.current_target().into_iter().flat_map(|target| of_target(state, target)));
    words.extend(["--budget".into(), format!("{budget:.0}")]);
    // It has nothing to verify: what it scores is what it computes.
    words.extend(model.command.iter().filter(|word| *word != "--no-verify").cloned());
    Ok(words)
}

/// A target as an option and its value.
fn of_target(state: &State, target: usize) -> [String; 2] {
    let asked = state.current_scores().and_then(|scores| Some(scores.asked(target)?.spec.clone()));
    asked.map_or_else(|| ["--class".into(), format!("#{target}")], |spec| ["--target".into(), spec])
}

fn explain(
    state: &State,
    photos: Vec<String>,
    into: &str,
    to: &Path,
    target: Option<usize>,
) -> Result<Vec<String>, String> {
    let model = state.model.as_ref().ok_or("no model is open")?;
    if photos.is_empty() {
        return Err("no photo was looked at yet".into());
    }
    let mut words = vec!["explain".into(), word(&model.path)];
    words.extend(photos);
    words.extend([into.to_owned(), word(to)]);
    words.extend(["--method".into(), state.method_name().into()]);
    words.extend(layer(state));
    words.extend(target.into_iter().flat_map(|target| of_target(state, target)));
    if Some(state.colormap.as_str()) != overlay::all().next().map(|map| map.name()) {
        words.extend(["--colormap".into(), state.colormap.clone()]);
    }
    if state.alpha != overlay::DEFAULT_ALPHA {
        words.extend(["--alpha".into(), state.alpha.to_string()]);
    }
    if state.enlarge != Enlarge::default() {
        words.extend(["--enlarge".into(), state.enlarge.to_string()]);
    }
    words.extend((!state.boxes).then(|| "--no-boxes".to_owned()));
    words.extend(model.command.iter().cloned());
    Ok(words)
}

/// The layer, where it is another than that of `auto`.
fn layer(state: &State) -> Vec<String> {
    let Some(model) = &state.model else { return Vec::new() };
    let looks = method::nth(state.method).is_none_or(|method| method.needs().layer);
    match model.layers.get(state.layer) {
        Some(layer) if looks && state.layer != model.default_layer => vec!["--layer".into(), layer.name.clone()],
        _ => Vec::new(),
    }
}

fn for_export(command: &[String]) -> Vec<String> {
    let (with_value, alone) = OF_RUNNING;
    let mut kept = Vec::new();
    let mut words = command.iter();
    while let Some(word) = words.next() {
        let is_with_value = |option: &&str| word.strip_prefix(option).is_some_and(|rest| rest.starts_with('='));
        if with_value.contains(&word.as_str()) {
            words.next();
        } else if !alone.contains(&word.as_str()) && !with_value.iter().any(is_with_value) {
            kept.push(word.clone());
        }
    }
    kept
}

/// A path that no command line takes for an option.
fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') { format!("./{text}") } else { text.into_owned() }
}

/// Runs the program with these words, of which `running` holds the process meanwhile.
///
/// # Errors
/// What it says is wrong.
pub fn run(program: &Path, words: &[String], running: &Mutex<Option<Child>>) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let stderr = child.stderr.take();
    *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    let said = stderr.map(std::io::read_to_string).transpose().map_err(|error| error.to_string())?.unwrap_or_default();
    let child = running.lock().unwrap_or_else(PoisonError::into_inner).take();
    let status = child.map(|mut child| child.wait()).transpose().map_err(|error| error.to_string())?;
    if status.is_some_and(|status| status.success()) {
        return Ok(());
    }
    // What is wrong, and what to do; notes are not.
    let parts = said.lines().filter_map(|line| line.strip_prefix("error: ").or_else(|| line.strip_prefix("help: ")));
    let parts: Vec<&str> = parts.collect();
    Err(if parts.is_empty() { format!("it ended without success: {}", said.trim()) } else { parts.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_running_are_none_of_exporting() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let command = words("--score probability --ep cpu --device=-1 --no-verify --ep-library x.so --mean 0.5 --bgr");
        assert_eq!(for_export(&command), words("--score probability --mean 0.5 --bgr"));
    }

    #[test]
    fn what_a_program_says_is_wrong_is_given() {
        let (running, shell) = (Mutex::new(None), Path::new("/bin/sh"));
        let run = |line: &str| run(shell, &["-c".to_owned(), line.to_owned()], &running);
        assert_eq!(run("true"), Ok(()));
        let said = run("echo 'note: a'; echo 'error: it is red' >&2; echo 'help: make it blue' >&2; false");
        assert_eq!(said, Err("it is red; make it blue".into()));
        assert!(super::run(Path::new("/no/such/program"), &[], &running).is_err());
        assert!(running.lock().unwrap().is_none());
    }
}
