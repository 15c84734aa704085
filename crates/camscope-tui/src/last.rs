//! How the explorer was left with a model: it comes back that way.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use camscope_core::{layer::Choice, method, overlay, target::ClassSpec};
use serde::{Deserialize, Serialize};

use crate::{config::Config, start::Start, state::State};

/// What was other than usual when it was left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Last {
    /// The model.
    model: PathBuf,
    image: Option<PathBuf>,
    layer: Option<String>,
    /// The number of the class that was searched for.
    class: Option<usize>,
    method: Option<String>,
    colormap: Option<String>,
    view: Option<String>,
    alpha: Option<f32>,
    enlarge: Option<String>,
}

impl Last {
    /// How a model was left, if anything was other than usual.
    pub fn read(folder: &Path, model: &Path) -> Option<Self> {
        let model = whole(model);
        let last: Self = toml::from_str(&fs::read_to_string(folder.join(name(&model))).ok()?).ok()?;
        (last.model == model).then_some(last)
    }

    /// How it is now; `usual` is what the configuration says.
    pub fn of(state: &State, usual: &Config) -> Option<Self> {
        let model = state.model.as_ref()?;
        let other = |now: &str, usual: &str| (now != usual).then(|| now.to_owned());
        let usual_method =
            usual.method.as_deref().or_else(|| Some(method::nth(model.method)?.name())).unwrap_or_default();
        let looks = state.layer != model.default_layer;
        Some(Self {
            model: whole(&model.path),
            image: state.images.get(state.image).filter(|_| state.image > 0).map(|entry| whole(&entry.path)),
            layer: model.layers.get(state.layer).filter(|_| looks).map(|layer| layer.name.clone()),
            class: state.target.filter(|target| {
                state.target_stays && state.current_scores().is_some_and(|scores| *target < scores.classes())
            }),
            method: other(state.method_name(), usual_method),
            colormap: other(&state.colormap, &usual.colormap),
            // What is compared with is not kept.
            view: other(state.view.name(), usual.view.name()).filter(|_| !state.view.compares()),
            alpha: (state.alpha != usual.alpha).then_some(state.alpha),
            enlarge: other(state.enlarge.name(), usual.enlarge.name()),
        })
    }

    /// Keeps it; where nothing is other than usual there is nothing to keep.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(name(&self.model));
        if *self == (Self { model: self.model.clone(), ..Self::default() }) {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        fs::create_dir_all(folder)?;
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let part = path.with_extension("part");
        fs::write(&part, text).and_then(|()| fs::rename(&part, &path))
    }

    /// Starts with it. What isn't there any more stays as usual.
    pub fn begin(&self, start: &mut Start) {
        let config = &mut start.config;
        let is_method = |name: &&String| method::all().iter().any(|method| method.name() == **name);
        config.method = self.method.as_ref().filter(is_method).cloned().or(config.method.take());
        if let Some(map) = self.colormap.as_ref().and_then(|name| overlay::by_name(name).ok()) {
            config.colormap = map.name().to_owned();
        }
        config.view = self.view.as_ref().and_then(|name| name.parse().ok()).unwrap_or(config.view);
        config.alpha = self.alpha.filter(|alpha| (0.0..=1.0).contains(alpha)).unwrap_or(config.alpha);
        config.enlarge = self.enlarge.as_ref().and_then(|name| name.parse().ok()).unwrap_or(config.enlarge);
        start.layer = self.layer.clone().map(Choice::Name);
        start.class = self.class.map(ClassSpec::Index);
        start.image.clone_from(&self.image);
        start.continues = true;
    }
}

/// A path that is the same from wherever it is named.
fn whole(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The file for a model: its name, and a number of its path (FNV-1a), since models of several folders have one name.
fn name(model: &Path) -> String {
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let number = model.to_string_lossy().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, hash);
    let stem: String = model.file_stem().unwrap_or_default().to_string_lossy().chars().take(64).collect();
    format!("{}-{number:016x}.toml", stem.replace(|c: char| !c.is_alphanumeric(), "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_begun_with_and_nothing_is_kept_of_the_usual() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("my model.onnx");
        let last = Last {
            model: model.clone(),
            layer: Some("features.3".into()),
            class: Some(7),
            method: Some("layercam".into()),
            colormap: Some("turbo".into()),
            view: Some("sweep".into()),
            alpha: Some(0.7),
            enlarge: Some("nearest".into()),
            image: Some("cow.jpg".into()),
        };
        last.write(folder.path()).unwrap();
        assert_eq!(Last::read(folder.path(), &model), Some(last.clone()));
        let mut start = Start::default();
        last.begin(&mut start);
        assert_eq!((start.config.colormap.as_str(), start.config.alpha), ("turbo", 0.7));
        assert_eq!((start.layer, start.class), (Some(Choice::Name("features.3".into())), Some(ClassSpec::Index(7))));
        assert_eq!(start.config.method.as_deref(), Some("layercam"));
        // What cannot be had is as usual.
        let wrong = Last { method: Some("nocam".into()), colormap: Some("none".into()), alpha: Some(9.0), ..last };
        let mut start = Start::default();
        wrong.begin(&mut start);
        assert_eq!((start.config.method, start.config.alpha), (None, overlay::DEFAULT_ALPHA));
        Last { model: model.clone(), ..Last::default() }.write(folder.path()).unwrap();
        assert_eq!(Last::read(folder.path(), &model), None);
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
