//! The configuration file: a patch over the built-in defaults.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use camscope_core::{
    method,
    overlay::{self, Enlarge},
    text::printable,
};
use ratatui::style::Color;
use serde::Deserialize;
use toml::Spanned;

use crate::{
    action::View,
    graphics::GraphicsChoice,
    keymap::Keymap,
    view::theme::{Paint, Paints, Part},
};

/// What the explorer starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The CAM method; `None`: the model's own, else the first.
    pub method: Option<String>,
    /// The colormap.
    pub colormap: String,
    /// The view.
    pub view: View,
    /// The photo's weight in the overlay, 0 to 1.
    pub alpha: f32,
    /// How heatmaps are enlarged.
    pub enlarge: Enlarge,
    /// How pictures are shown.
    pub graphics: GraphicsChoice,
    /// Width and height of a cell in pixels, where the terminal doesn't tell.
    pub font_size: Option<(u16, u16)>,
    /// Mebibytes that are kept for going back.
    pub memory: u32,
    /// Further folders of plugins.
    pub plugin_folders: Vec<PathBuf>,
    /// The keys.
    pub keymap: Keymap,
    /// Colours that differ from the built-in ones.
    pub paints: Paints,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            method: None,
            colormap: overlay::all().next().map_or("jet", |map| map.name()).to_owned(),
            view: View::default(),
            alpha: overlay::DEFAULT_ALPHA,
            enlarge: Enlarge::default(),
            graphics: GraphicsChoice::default(),
            font_size: None,
            memory: 512,
            plugin_folders: Vec::new(),
            keymap: Keymap::preset(),
            paints: Paints::default(),
        }
    }
}

/// The file, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    method: Option<Spanned<String>>,
    colormap: Option<Spanned<String>>,
    view: Option<Spanned<String>>,
    alpha: Option<Spanned<f32>>,
    enlarge: Option<Spanned<String>>,
    graphics: Option<Spanned<String>>,
    font_size: Option<Spanned<String>>,
    memory: Option<Spanned<u32>>,
    #[serde(default)]
    plugin_folders: Vec<PathBuf>,
    /// Where ONNX Runtime is: read by what looks for it.
    #[serde(default, rename = "runtime")]
    _runtime: Option<toml::Table>,
    #[serde(default)]
    keys: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    colors: BTreeMap<String, Spanned<Ink>>,
}

/// Colours of one part of the interface.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ink {
    fg: Option<Spanned<String>>,
    bg: Option<Spanned<String>>,
}

/// A place in a file and what is wrong there.
struct Wrong {
    at: usize,
    reason: String,
}

impl Config {
    /// Reads the file; one that isn't there changes nothing.
    ///
    /// # Errors
    /// The file, line and column of the first error, and what it is.
    pub fn read(path: &Path) -> Result<Self, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|(place, reason)| {
                format!("{}:{place}: {}", printable(&path.to_string_lossy()), printable(&reason))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("cannot read {}: {error}", printable(&path.to_string_lossy()))),
        }
    }

    /// The folders of plugins that the file names, whatever else is in it: what it says of colormaps can only be checked when the
    /// plugins are there.
    pub fn plugin_folders_of(path: &Path) -> Vec<PathBuf> {
        let table: Option<toml::Table> = std::fs::read_to_string(path).ok().and_then(|text| text.parse().ok());
        let folders = table.as_ref().and_then(|table| table.get("plugin-folders")?.as_array());
        folders.into_iter().flatten().filter_map(|folder| folder.as_str().map(PathBuf::from)).collect()
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// `line:column` of the first error, and what it is.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let place = |at: usize| {
            let before = &text[..at.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("{line}:{column}")
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (place(at), error.message().to_owned())
        })?;
        Self::default().patched(file).map_err(|wrong| (place(wrong.at), wrong.reason))
    }

    fn patched(mut self, file: File) -> Result<Self, Wrong> {
        if let Some(name) = file.method {
            let known = checked(&name, |name| method::by_name(name).map_err(|error| error.to_string()))?;
            self.method = Some(known.name().to_owned());
        }
        if let Some(name) = file.colormap {
            let known = checked(&name, |name| overlay::by_name(name).map_err(|error| error.to_string()))?;
            self.colormap = known.name().to_owned();
        }
        if let Some(name) = file.view {
            self.view = checked(&name, str::parse)?;
        }
        if let Some(alpha) = file.alpha {
            let at = alpha.span().start;
            self.alpha = *alpha.get_ref();
            if !(0.0..=1.0).contains(&self.alpha) {
                return Err(Wrong { at, reason: "alpha must be a number from 0 to 1".into() });
            }
        }
        if let Some(name) = file.enlarge {
            self.enlarge = checked(&name, |name| name.parse().map_err(|reason| format!("`{name}`: {reason}")))?;
        }
        if let Some(name) = file.graphics {
            self.graphics = checked(&name, |name| name.parse::<GraphicsChoice>().map_err(|error| error.to_string()))?;
        }
        if let Some(size) = file.font_size {
            self.font_size = Some(checked(&size, font_size)?);
        }
        if let Some(memory) = file.memory {
            self.memory = (*memory.get_ref()).max(16);
        }
        self.plugin_folders = file.plugin_folders;
        for (key, action) in file.keys {
            checked(&action, |action| self.keymap.patch(&key, action))?;
        }
        for (part, ink) in file.colors {
            let at = ink.span().start;
            let part: Part = part.parse().map_err(|reason| Wrong { at, reason })?;
            let ink = ink.into_inner();
            let paint = Paint { fg: color(ink.fg)?, bg: color(ink.bg)? };
            self.paints.0.insert(part, paint);
        }
        Ok(self)
    }

    /// All of it, as a file that gives the same.
    pub fn to_toml(&self) -> String {
        let mut table = toml::Table::new();
        if let Some(method) = &self.method {
            table.insert("method".into(), method.as_str().into());
        }
        table.insert("colormap".into(), self.colormap.as_str().into());
        table.insert("view".into(), self.view.name().into());
        // Through its shortest text: 0.4 as f64 is 0.4000000059604645.
        let alpha: f64 = self.alpha.to_string().parse().unwrap_or_default();
        table.insert("alpha".into(), alpha.into());
        table.insert("enlarge".into(), self.enlarge.name().into());
        table.insert("graphics".into(), self.graphics.to_string().into());
        if let Some((width, height)) = self.font_size {
            table.insert("font-size".into(), format!("{width}x{height}").into());
        }
        table.insert("memory".into(), i64::from(self.memory).into());
        let folders = self.plugin_folders.iter().map(|folder| folder.to_string_lossy().into_owned());
        table.insert("plugin-folders".into(), folders.collect::<Vec<_>>().into());
        table.insert("keys".into(), self.keymap.to_toml().into());
        let ink = |paint: &Paint| {
            let pairs = [("fg", paint.fg), ("bg", paint.bg)];
            let written =
                pairs.into_iter().filter_map(|(name, color)| Some((name.to_owned(), color?.to_string().into())));
            toml::Value::Table(written.collect())
        };
        let colors: toml::Table =
            self.paints.0.iter().map(|(part, paint)| (part.name().to_owned(), ink(paint))).collect();
        if !colors.is_empty() {
            table.insert("colors".into(), colors.into());
        }
        toml::to_string(&table).unwrap_or_default()
    }
}

/// Width and height: `10x20`.
///
/// # Errors
/// It is something else.
pub fn font_size(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|number| (1..=1000).contains(number));
    let pair = text.split_once(['x', '×']).and_then(|(width, height)| Some((number(width)?, number(height)?)));
    pair.ok_or_else(|| {
        format!("`{text}` is no font size: write the width and height of a character in pixels, such as 10x20")
    })
}

fn checked<T>(value: &Spanned<String>, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Wrong> {
    read(value.get_ref()).map_err(|reason| Wrong { at: value.span().start, reason })
}

fn color(value: Option<Spanned<String>>) -> Result<Option<Color>, Wrong> {
    let Some(value) = value else { return Ok(None) };
    let unknown =
        |name: &str| format!("`{name}` is no colour: write a name such as lightblue, a number to 255, or #rrggbb");
    checked(&value, |name| name.parse::<Color>().map_err(|_| unknown(name))).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;

    #[test]
    fn a_file_patches_the_defaults() {
        let text = "colormap = \"viridis\"\nalpha = 0.25\nfont-size = \"9x18\"\n[keys]\nq = \"help\"\nctrl-q = \"quit\"\n\
                    [colors]\nselected = { fg = \"black\", bg = \"#ffcc00\" }\n";
        let config = Config::parse(text).unwrap();
        assert_eq!((config.colormap.as_str(), config.alpha, config.font_size), ("viridis", 0.25, Some((9, 18))));
        assert_eq!(config.view, View::Overlay);
        assert_eq!(config.keymap.action("q".parse().unwrap()), Some(Action::Help));
        assert_eq!(config.keymap.action("v".parse().unwrap()), Some(Action::NextView));
        let again = Config::parse(&config.to_toml()).unwrap();
        assert_eq!(again.to_toml(), config.to_toml());
    }

    #[test]
    fn errors_name_line_and_column() {
        let wrong = |text: &str| {
            let (place, reason) = Config::parse(text).unwrap_err();
            format!("{place}: {reason}")
        };
        insta::assert_snapshot!(
            [
                "alpha = 0.4\ncolormap = \"virids\"",
                "alpha = 2.0",
                "colour = 1",
                "[keys]\nq = \"qiut\"",
                "[keys]\n\nlefft = \"quit\"",
                "view = 3",
                "[colors]\nselected = { fg = \"blurple\" }",
                "[colors]\nselcted = { fg = \"blue\" }",
                "font-size = \"big\"",
                "graphics = \"crayon\"",
                "alpha = = 3",
            ]
            .map(wrong)
            .join("\n")
        );
    }

    #[test]
    fn folders_of_plugins_are_read_whatever_else_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "plugin-folders = [\"/opt/plugins\"]\ncolormap = \"from_a_plugin\"").unwrap();
        assert_eq!(Config::plugin_folders_of(&path), [PathBuf::from("/opt/plugins")]);
        assert!(Config::read(&path).is_err());
        assert!(Config::plugin_folders_of(folder.path()).is_empty());
    }

    #[test]
    fn a_missing_file_is_the_defaults_and_a_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Config::read(&folder.path().join("config.toml")).is_ok());
        assert!(Config::read(folder.path()).is_err());
    }
}
