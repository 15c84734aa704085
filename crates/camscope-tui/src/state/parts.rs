//! Parts of the state.

use std::{path::PathBuf, sync::Arc};

use super::Form;
use crate::{
    engine::{Photo, Scores},
    prompt::Prompt,
};

/// An image of the list.
#[derive(Clone, Debug)]
pub struct ImageEntry {
    /// The file.
    pub path: PathBuf,
    /// What was read of it, while it is kept.
    pub photo: Option<Arc<Photo>>,
    /// A small copy, which is kept for good.
    pub thumbnail: Option<Arc<Photo>>,
    /// Whether it was looked at.
    pub seen: bool,
    /// Whether the file has changed since.
    pub stale: bool,
    /// Why it cannot be shown.
    pub error: Option<String>,
    /// What the model said of it, without where segments lie: also when its pixels are kept no longer.
    pub said: Option<Arc<Scores>>,
}

impl ImageEntry {
    /// A file that has not been read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, photo: None, thumbnail: None, seen: false, stale: false, error: None, said: None }
    }
}

/// A layer's standing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LayerState {
    /// Not known yet whether it has a gradient.
    #[default]
    Unknown,
    /// It has one.
    Ready,
    /// It has none, for this reason.
    Without(String),
}

/// What part of the photo fills the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zoom {
    /// 1: all of it.
    pub factor: f32,
    /// The middle, as fractions of the photo.
    pub centre: (f32, f32),
}

impl Default for Zoom {
    fn default() -> Self {
        Self { factor: 1.0, centre: (0.5, 0.5) }
    }
}

impl Zoom {
    /// The visible part: left, top, width and height as fractions of the photo.
    pub fn window(self) -> [f32; 4] {
        let size = 1.0 / self.factor.max(1.0);
        let start = |centre: f32| (centre - size / 2.0).clamp(0.0, 1.0 - size);
        [start(self.centre.0), start(self.centre.1), size, size]
    }
}

/// A line for the person at the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it says.
    pub text: String,
    /// Whether something went wrong.
    pub is_error: bool,
}

/// Where the help is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// Lines that it is scrolled by.
    pub scroll: u16,
    /// What is searched in it.
    pub text: String,
}

/// What has the keyboard.
#[derive(Clone, Debug, Default)]
pub enum Mode {
    /// Keys are those of the keymap.
    #[default]
    Normal,
    /// The help.
    Help(Help),
    /// A line is typed.
    Prompt(Prompt),
    /// The model's inputs are filled.
    Form(Form),
}

/// Milliseconds that the last run of each kind took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// The forward pass.
    pub scores: Option<f64>,
    /// A heatmap: its backward pass and method.
    pub heat: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_stays_on_the_photo() {
        let zoom = Zoom { factor: 4.0, centre: (0.0, 1.0) };
        assert_eq!(zoom.window(), [0.0, 0.75, 0.25, 0.25]);
        assert_eq!(Zoom::default().window(), [0.0, 0.0, 1.0, 1.0]);
    }
}
