//! What is shown, as the command line that explains the same, and as JSON.

use std::path::{Path, PathBuf};

use camscope_core::{
    method,
    overlay::{self, Enlarge},
    target::ClassSpec,
};
use serde_json::{Value, json};

use crate::{
    action::View,
    compare::{self, Other},
    other_commands,
    sheet::Shown,
    state::{State, Zoom},
    tiles,
};

/// The `camscope explain` that gives what is shown.
pub fn explain(state: &State) -> Option<String> {
    let model = state.model.as_ref()?;
    let image = state.images.get(state.image)?;
    let other = match (state.comparing.ranks, state.view) {
        (true, _) => Some(other_commands::rank(state)),
        (false, View::Photos) => Some(other_commands::sheet(state, Path::new("photos.png"))),
        _ => None,
    };
    if let Some(words) = other {
        let words = words.ok()?;
        return Some(
            ["camscope".to_owned()]
                .into_iter()
                .chain(words.iter().map(|word| quoted(word)))
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    let shown = Shown::of(state)?;
    let mut words = vec!["camscope".to_owned(), "explain".into(), quoted_path(&model.path), quoted_path(&image.path)];
    // The plain overlay of a class is what the command gives anyway; other targets have layers and methods of their own there.
    let has_asked = state.current_scores().is_some_and(|scores| !scores.asked.is_empty());
    if state.view != View::Overlay || state.zoom.factor > 1.0 || has_asked {
        words.push(format!("--view {}", state.view.name()));
    }
    words.extend(targets(state, &shown));
    if shown.layers != [model.default_layer] {
        words.extend(shown.layers.iter().map(|layer| format!("--layer {}", quoted(&model.layers[*layer].name))));
    }
    if let Some(method) = method::nth(state.method).filter(|_| state.method != model.method || has_asked) {
        words.push(format!("--method {}", method.name()));
    }
    if Some(state.colormap.as_str()) != overlay::all().next().map(|map| map.name()) {
        words.push(format!("--colormap {}", quoted(&state.colormap)));
    }
    if state.alpha != overlay::DEFAULT_ALPHA {
        words.push(format!("--alpha {}", state.alpha));
    }
    if state.enlarge != Enlarge::default() {
        words.push(format!("--enlarge {}", state.enlarge));
    }
    if state.zoom.factor > 1.0 {
        let Zoom { factor, centre: (x, y) } = state.zoom;
        words.push(format!("--zoom {factor},{x},{y}"));
    }
    if !state.boxes {
        words.push("--no-boxes".into());
    }
    words.extend(against(state));
    words.extend(model.command.iter().map(|word| quoted(word)));
    Some(words.join(" "))
}

/// What is compared with, as options.
fn against(state: &State) -> Vec<String> {
    let with = match &state.comparing.other {
        Some(other) if state.view.compares() => match other {
            Other::Model => compare::against(state).map(|against| quoted_path(&against.info.path)),
            Other::Method(method) => method::nth(*method).map(|method| quoted(method.name())),
            Other::Photo(path) => Some(quoted_path(&path_of_photo(path))),
        },
        _ => None,
    };
    let own = state.comparing.own_scale && !matches!(state.comparing.other, Some(Other::Method(_)));
    let words = |with: String| [format!("--against {with}")].into_iter().chain(own.then(|| "--own-scale".to_owned()));
    with.into_iter().flat_map(words).collect()
}

/// The path of a photo, which is not taken for a method's name.
fn path_of_photo(path: &Path) -> PathBuf {
    let is_plain = path.components().count() == 1 && path.extension().is_none();
    if is_plain { Path::new(".").join(path) } else { path.to_owned() }
}

/// The targets as options: classes by number, unless that is the label of another one. Where there are other targets too, all of them the
/// same way, since two options have no order among each other.
fn targets(state: &State, shown: &Shown) -> Vec<String> {
    let Some(model) = &state.model else { return Vec::new() };
    let asked = |target: &usize| state.current_scores().and_then(|scores| Some(scores.asked(*target)?.spec.clone()));
    let is_label =
        |class: usize| class.to_string().parse().is_ok_and(|spec: ClassSpec| spec.clash(&model.labels).is_some());
    let class = |class: usize| if is_label(class) { format!("#{class}") } else { class.to_string() };
    let has_others = shown.targets.iter().any(|target| asked(target).is_some());
    let word = |target: &usize| match asked(target) {
        Some(spec) => format!("--target {}", quoted(&spec)),
        None if has_others => format!("--target {}", quoted(&format!("class:{}", class(*target)))),
        None => format!("--class {}", quoted(&class(*target))),
    };
    shown.targets.iter().map(word).collect()
}

/// What is shown, for a JSON file.
pub fn description(state: &State) -> Value {
    let target = state.current_target();
    let scores = state.current_scores();
    let asked = target.and_then(|target| Some(scores?.asked(target)?.spec.as_str()));
    let class = target.filter(|_| asked.is_none());
    let layer = state.model.as_ref().and_then(|model| model.layers.get(state.layer));
    let heat = state.current_key().and_then(|key| state.heats.get(&key));
    json!({
        "image": state.images.get(state.image).map(|entry| entry.path.to_string_lossy()),
        "model": state.model.as_ref().map(|model| model.path.to_string_lossy()),
        "method": state.method_name(),
        "layer": layer.map(|layer| &layer.name),
        "class": class,
        "label": class.map(|class| state.target_name(class)),
        "logit": class.and_then(|class| scores?.values.get(class)),
        "probability": class.and_then(|class| scores?.probabilities.get(class)),
        "target": target.map(|target| asked.map_or_else(|| format!("class:{target}"), str::to_owned)),
        "heatmap_shape": heat.map(|heat| heat.shape().to_vec()),
        "view": state.view.name(),
        "colormap": state.colormap,
        // Through its shortest text: 0.4 as f64 is 0.4000000059604645.
        "alpha": state.alpha.to_string().parse::<f64>().unwrap_or_default(),
        "enlarge": state.enlarge.name(),
        "tiles": tiles::tiles(state).iter().filter_map(|tile| Some(&tile.caption.as_ref()?.1)).collect::<Vec<_>>(),
        "command": explain(state),
    })
}

/// A path as a shell takes it, and as a command line takes no option.
pub fn quoted_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    // What begins with a dash would be an option.
    if text.starts_with('-') { quoted(&format!("./{text}")) } else { quoted(&text) }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@+,=%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("features.18"), "features.18");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted_path(Path::new("-x.jpg")), "./-x.jpg");
    }
}
