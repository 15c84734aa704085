//! With what the explorer starts, and how it gets into the state.

use std::path::{Path, PathBuf};

use camscope_core::{layer::Choice, method, target::ClassSpec, text::printable_path};

use crate::{
    action::View,
    compare::{Other, With},
    config::Config,
    graphics::Overrides,
    message::PluginWatch,
    state::{ImageEntry, State},
    worker::files::images_of,
};

/// With what the explorer starts.
#[derive(Clone, Default)]
pub struct Start {
    /// The model.
    pub model: Option<PathBuf>,
    /// Images, and folders of images.
    pub images: Vec<PathBuf>,
    /// The class to explain first.
    pub class: Option<ClassSpec>,
    /// The layer to look at first.
    pub layer: Option<Choice>,
    /// The method, where another than the configuration's is asked for.
    pub method: Option<String>,
    /// The image to look at first.
    pub image: Option<PathBuf>,
    /// What to compare with.
    pub against: Option<With>,
    /// What the configuration says, patched by how it was left and by the command line.
    pub config: Config,
    /// What the configuration itself says.
    pub usual: Config,
    /// Whether it begins as it was left.
    pub continues: bool,
    /// The folder where it is kept how it was left.
    pub kept: Option<PathBuf>,
    /// The program, for what another of its commands does.
    pub program: Option<PathBuf>,
    /// A line to show at once: what is wrong with the configuration, say.
    pub complaint: Option<String>,
    /// How the terminal is taken, whatever it says of itself.
    pub overrides: Overrides,
    /// Whether the interface is without colours.
    pub no_color: bool,
    /// Looks for plugins that come or change while the explorer runs.
    pub plugins: Option<PluginWatch>,
}

/// Puts into the state what the start says.
pub(crate) fn apply(state: &mut State, start: &Start) {
    let config = &start.config;
    let method = start.method.as_ref().or(config.method.as_ref());
    let known =
        method.and_then(|name| method::all().iter().position(|method| method.name().eq_ignore_ascii_case(name)));
    state.method = known.unwrap_or(0);
    state.asked_method = known.is_some();
    state.colormap.clone_from(&config.colormap);
    state.view = config.view;
    state.alpha = config.alpha;
    state.enlarge = config.enlarge;
    state.paints = config.paints.clone();
    state.no_color = start.no_color;
    state.asked_target.clone_from(&start.class);
    state.asked_layer.clone_from(&start.layer);
    let bytes = (config.memory as usize) << 20;
    state.heats.limit(bytes / 2);
    state.pictures.limit(bytes / 2);
    state.notes.extend(state.screen.notes.iter().cloned());
    for path in &start.images {
        if path.is_dir() {
            add_folder(state, path);
        } else {
            state.images.push(ImageEntry::new(path.clone()));
        }
    }
    let shown = start.image.as_ref().and_then(|path| {
        state
            .images
            .iter()
            .position(|entry| entry.path == *path || entry.path.canonicalize().is_ok_and(|whole| whole == *path))
    });
    state.image = shown.unwrap_or(0);
    if let Some(with) = &start.against {
        against(state, with);
    }
    if start.continues {
        state.say("as it was left; --fresh begins anew");
    }
    if let Some(complaint) = &start.complaint {
        state.complain(complaint.clone());
    }
}

fn against(state: &mut State, with: &With) {
    let other = match with {
        With::Model(_) => Other::Model,
        With::Photo(path) => {
            if state.images.iter().all(|entry| entry.path != *path) {
                state.images.push(ImageEntry::new(path.clone()));
            }
            Other::Photo(path.clone())
        }
        With::Method(name) => {
            let known = method::all().iter().position(|method| method.name().eq_ignore_ascii_case(name));
            let Some(method) = known else { return state.complain(format!("there is no method `{name}`")) };
            Other::Method(method)
        }
    };
    state.comparing.other = Some(other);
    state.view = View::Compare;
}

fn add_folder(state: &mut State, folder: &Path) {
    state.folders.push(folder.to_owned());
    match images_of(folder) {
        Ok(paths) if paths.is_empty() => state.complain(format!("{} has no images", printable_path(folder))),
        Ok(paths) => state.images.extend(paths.into_iter().map(ImageEntry::new)),
        Err(error) => state.complain(format!("cannot read {}: {error}", printable_path(folder))),
    }
}
