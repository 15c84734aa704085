//! What reaches the explorer, and what it has done for it: the two sides of `update`.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use camscope_core::compare::Entry;
use crossterm::event::{KeyEvent, MouseEvent};

use crate::{
    action::Action,
    compare::Numbers,
    engine::{Fault, Heat, HeatKey, ModelInfo, NotOpened, Opening, Photo, Saturation, Scores, Spread, Step},
    graphics::Picture,
    prompt::Purpose,
    tiles::TileKey,
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Message {
    /// Something that is asked for otherwise than by a key.
    Act(Action),
    /// A key.
    Key(KeyEvent),
    /// The mouse.
    Mouse(MouseEvent),
    /// Text that was pasted.
    Paste(String),
    /// The screen has another size; the cell's pixels where they changed.
    Resize((u16, u16), Option<(u16, u16)>),
    /// The screen was cleared by somebody else.
    Redraw,
    /// The terminal shows pictures in another way than was thought.
    Screen,
    /// What opening the model is at.
    Opening(Step),
    /// A model was opened.
    Model(Result<Arc<ModelInfo>, NotOpened>),
    /// Whether the model takes these targets as it is open.
    Asked(Vec<String>, Result<bool, Fault>),
    /// Why layers have no gradient, layer by layer.
    Layers(Result<Vec<Option<String>>, Fault>),
    /// A photo was read: the photo, and a small copy.
    Photo(PathBuf, Result<(Arc<Photo>, Arc<Photo>), Fault>),
    /// The pixels of a photo, and a small copy, while the model that it is for is being opened.
    Preview(PathBuf, Arc<Photo>, Arc<Photo>),
    /// The model's answer to a photo, and the milliseconds it took.
    Scores(u64, Result<Arc<Scores>, Fault>, f64),
    /// A heatmap, and the milliseconds it took.
    Heat(HeatKey, Result<Heat, Fault>, f64),
    /// How far a heatmap of many passes is: those that are done, of how many.
    Progress(HeatKey, usize, usize),
    /// How the numbers of a layer are spread for a photo.
    Spread(u64, usize, Result<Arc<Spread>, Fault>),
    /// What share of each layer's numbers saturates for a photo.
    Saturation(u64, Result<Saturation, Fault>),
    /// How alike two heatmaps are.
    Compared(HeatKey, HeatKey, Numbers),
    /// How far the activations of two models are apart for a photo.
    Drift(u64, Result<Arc<Vec<Entry>>, Fault>),
    /// How good a heatmap is.
    Road(HeatKey, Result<f64, Fault>),
    /// A picture for the terminal.
    Picture(TileKey, Arc<Picture>),
    /// Plugins came, changed, or were set aside.
    Plugins(Vec<PluginNews>),
    /// A file was changed by another program.
    Changed(PathBuf),
    /// Paths that begin with what was typed.
    Paths(String, Vec<String>),
    /// Another command has done what it was asked for: what to say, or why not.
    Ran(Result<String, NotSaved>),
    /// Images that are new in the folders that were opened.
    Found(Vec<PathBuf>),
    /// When files were last changed.
    FileTimes(Vec<(PathBuf, SystemTime)>),
    /// A file was saved, or not.
    Saved(Result<Vec<String>, NotSaved>),
    /// The process was asked to end.
    Terminate,
}

/// What has become of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginNews {
    /// What to say.
    pub text: String,
    /// Whether it is set aside.
    pub is_error: bool,
    /// Whether it chooses layers, or has gradient rules or methods: then the model is opened again.
    pub concerns_model: bool,
}

/// Looks whether plugins have changed; the first look is what was loaded at the start.
pub type PluginWatch = Arc<Mutex<dyn FnMut() -> Vec<PluginNews> + Send>>;

/// Something to do that is more than a change of state.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Open a model.
    OpenModel(Opening),
    /// Find out when files were last changed.
    FileTimes(Vec<PathBuf>),
    /// Have the model explain these targets.
    Ask(Vec<String>),
    /// Make the layers beyond the default one ready.
    PrepareLayers,
    /// Find paths that begin like this.
    Complete {
        /// The beginning of a path.
        typed: String,
        /// What a leading `~` stands for.
        home: Option<PathBuf>,
    },
    /// Put text on the clipboard of the person's terminal.
    Copy(String),
    /// Save what is shown.
    Save(Save),
    /// Run another command of the program.
    Run {
        /// Its words.
        words: Vec<String>,
        /// What it writes.
        path: PathBuf,
        /// What was asked for.
        purpose: Purpose,
        /// Whether what is there may be overwritten.
        overwrite: bool,
    },
    /// Clear the screen and draw everything.
    Redraw,
    /// Stop until the shell goes on.
    Suspend,
}

/// Why nothing was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSaved {
    /// The file is there already; the line that asked for it asks again.
    IsThere(PathBuf, Purpose),
    /// Another reason.
    Failed(String),
}

/// What is saved, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Save {
    /// The file; its extension says what: `.png`, `.npy` or `.json`.
    pub path: PathBuf,
    /// Whether a file that is there may be overwritten.
    pub overwrite: bool,
    /// What is shown, for `.json`.
    pub description: serde_json::Value,
}
