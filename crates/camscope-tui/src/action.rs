//! Everything that a key, the mouse or the palette can do. One row makes an action known to the keymap, the palette and the help.

use std::{fmt, str::FromStr};

/// What a person can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The next likelier or less likely class.
    NextClass,
    /// The one before.
    PreviousClass,
    /// The likeliest class.
    TopClass,
    /// The next layer towards the scores.
    NextLayer,
    /// The next layer towards the input.
    PreviousLayer,
    /// Ten layers on.
    NextLayers,
    /// Ten layers back.
    PreviousLayers,
    /// The first layer.
    FirstLayer,
    /// The last layer.
    LastLayer,
    /// The layer that `auto` takes.
    AutoLayer,
    /// Opens the group of layers, or folds the one around the layer.
    Fold,
    /// Opens or folds all groups of layers.
    FoldAll,
    /// The next image.
    NextImage,
    /// The one before.
    PreviousImage,
    /// The next view.
    NextView,
    /// The one before.
    PreviousView,
    /// One of the views.
    View(View),
    /// All methods, searchable, with what each costs.
    Methods,
    /// Chooses a method, or the second model, to compare with.
    CompareWith,
    /// Keeps the image to compare others with, or no longer.
    Mark,
    /// One scale for both heatmaps that are compared, or each by its own maximum.
    Scale,
    /// How far the activations of two models are apart, layer by layer, or no longer.
    Drift,
    /// Looks for the best method and layer for the image, or no longer.
    Rank,
    /// Takes the best that was found.
    TakeBest,
    /// The next CAM method.
    NextMethod,
    /// The one before.
    PreviousMethod,
    /// The next colormap.
    NextColormap,
    /// The one before.
    PreviousColormap,
    /// The next way to enlarge heat.
    NextEnlarge,
    /// More of the heat in the overlay.
    MoreHeat,
    /// More of the photo in the overlay.
    MorePhoto,
    /// Closer.
    ZoomIn,
    /// Further away.
    ZoomOut,
    /// The whole photo.
    ZoomReset,
    /// Moves what is seen, or the crosshair where it is on, by (right, down).
    Move(i8, i8),
    /// Show or hide the boxes that the model found.
    Boxes,
    /// The crosshair on or off.
    Crosshair,
    /// How the numbers of the layer are spread, or no longer.
    Histogram,
    /// Keeps the class at the top of the list and in the comparing views, or no longer.
    Pin,
    /// Searches all labels.
    SearchClass,
    /// Asks for a target as `--target` takes it.
    Target,
    /// Asks for the photo that this one is compared with.
    Similar,
    /// What the model's inputs are fed that don't take the photo.
    Inputs,
    /// Narrows the list of layers.
    FilterLayers,
    /// Goes to an image by its name.
    SearchImage,
    /// Sorts the images otherwise.
    Order,
    /// Opens another image or model.
    Open,
    /// Every action, searchable.
    Palette,
    /// Saves the view as a picture.
    Save,
    /// Saves the heatmap as an array.
    SaveArray,
    /// Saves what is shown as JSON.
    SaveJson,
    /// Writes the model anew, with its heat as an output.
    Export,
    /// Writes a report of the photos that were looked at.
    Report,
    /// Copies the command line that explains the same.
    CopyCommand,
    /// Keys and what they do.
    Help,
    /// Draws everything anew.
    Redraw,
    /// Stops the program until the shell's `fg`.
    Suspend,
    /// Leaves.
    Quit,
}

/// What the picture shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// The heat over the photo.
    #[default]
    Overlay,
    /// The heat alone.
    Heatmap,
    /// The photo alone.
    Photo,
    /// Photo and overlay.
    SideBySide,
    /// Every layer's heat for this class.
    Sweep,
    /// This layer's heat for each of the top classes.
    Classes,
    /// Two classes and their difference.
    Contrast,
    /// All images, for this class and layer.
    Photos,
    /// Two models, methods or photos, and the difference of their heat.
    Compare,
    /// That difference alone.
    Difference,
}

impl View {
    /// All of them, in the order of their digits.
    pub const ALL: [Self; 10] = [
        Self::Overlay,
        Self::Heatmap,
        Self::Photo,
        Self::SideBySide,
        Self::Sweep,
        Self::Classes,
        Self::Contrast,
        Self::Photos,
        Self::Compare,
        Self::Difference,
    ];

    /// Its name in the configuration and on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Heatmap => "heatmap",
            Self::Photo => "photo",
            Self::SideBySide => "side-by-side",
            Self::Sweep => "sweep",
            Self::Classes => "classes",
            Self::Contrast => "contrast",
            Self::Photos => "photos",
            Self::Compare => "compare",
            Self::Difference => "difference",
        }
    }

    /// Whether it is about two models, methods or photos.
    pub fn compares(self) -> bool {
        matches!(self, Self::Compare | Self::Difference)
    }

    /// Whether it shows heat.
    pub fn has_heat(self) -> bool {
        self != Self::Photo
    }

    /// The view so many places on, around the end.
    pub fn step(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self).unwrap_or(0) as isize;
        Self::ALL[(at + by).rem_euclid(Self::ALL.len() as isize) as usize]
    }
}

impl FromStr for View {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name);
        let found = Self::ALL.into_iter().find(|view| view.name() == name);
        found.ok_or_else(|| format!("there is no view `{name}`; the views are {}", names.join(", ")))
    }
}

/// Every action: its name in the keymap and palette, and what it does in a few words.
pub const ACTIONS: &[(&str, Action, &str)] = &[
    ("next-class", Action::NextClass, "next class"),
    ("previous-class", Action::PreviousClass, "previous class"),
    ("top-class", Action::TopClass, "likeliest class"),
    ("pin", Action::Pin, "pin or unpin the class, to compare"),
    ("search-class", Action::SearchClass, "search all labels"),
    ("target", Action::Target, "explain another target: an element of an output, a pixel, a contrast, …"),
    ("similar", Action::Similar, "choose the photo that this one is compared with, of an embedding"),
    ("inputs", Action::Inputs, "what the model's other inputs are fed"),
    ("next-layer", Action::NextLayer, "next layer, towards the scores"),
    ("previous-layer", Action::PreviousLayer, "previous layer, towards the input"),
    ("next-layers", Action::NextLayers, "ten layers on"),
    ("previous-layers", Action::PreviousLayers, "ten layers back"),
    ("first-layer", Action::FirstLayer, "first layer"),
    ("last-layer", Action::LastLayer, "last layer"),
    ("auto-layer", Action::AutoLayer, "the layer that auto takes"),
    ("filter-layers", Action::FilterLayers, "filter the layers"),
    ("fold", Action::Fold, "open or fold a group of layers"),
    ("fold-all", Action::FoldAll, "open or fold all groups of layers"),
    ("next-image", Action::NextImage, "next image"),
    ("previous-image", Action::PreviousImage, "previous image"),
    ("search-image", Action::SearchImage, "go to an image by its name"),
    ("order", Action::Order, "sort the images: as given, by name, time, score, prediction"),
    ("next-view", Action::NextView, "next view"),
    ("previous-view", Action::PreviousView, "previous view"),
    ("overlay", Action::View(View::Overlay), "view: heat over the photo"),
    ("heatmap", Action::View(View::Heatmap), "view: the heat alone"),
    ("photo", Action::View(View::Photo), "view: the photo alone"),
    ("side-by-side", Action::View(View::SideBySide), "view: photo and overlay"),
    ("sweep", Action::View(View::Sweep), "view: every layer, for this class"),
    ("classes", Action::View(View::Classes), "view: the top classes, at this layer"),
    ("contrast", Action::View(View::Contrast), "view: this class against another"),
    ("photos", Action::View(View::Photos), "view: all images, for this class and layer"),
    ("compare", Action::View(View::Compare), "view: two models, methods or photos, and the difference"),
    ("difference", Action::View(View::Difference), "view: the difference of two models or methods"),
    ("compare-with", Action::CompareWith, "choose a method to compare with, or the second model"),
    ("mark", Action::Mark, "mark the image, to compare others with it"),
    ("scale", Action::Scale, "one scale for both that are compared, or each its own"),
    ("drift", Action::Drift, "how far two models' activations are apart, by layer"),
    ("rank", Action::Rank, "find the best method and layer for the image"),
    ("take-best", Action::TakeBest, "take the best method and layer that was found"),
    ("methods", Action::Methods, "choose a method, by family and cost"),
    ("next-method", Action::NextMethod, "next method"),
    ("previous-method", Action::PreviousMethod, "previous method"),
    ("next-colormap", Action::NextColormap, "next colormap"),
    ("previous-colormap", Action::PreviousColormap, "previous colormap"),
    ("next-enlarge", Action::NextEnlarge, "enlarge the heat in another way: bicubic, bilinear, nearest"),
    ("more-heat", Action::MoreHeat, "more heat, less photo"),
    ("more-photo", Action::MorePhoto, "more photo, less heat"),
    ("zoom-in", Action::ZoomIn, "zoom in"),
    ("zoom-out", Action::ZoomOut, "zoom out"),
    ("zoom-reset", Action::ZoomReset, "show the whole photo"),
    ("left", Action::Move(-1, 0), "move left: what is seen, or the crosshair"),
    ("right", Action::Move(1, 0), "move right"),
    ("up", Action::Move(0, -1), "move up"),
    ("down", Action::Move(0, 1), "move down"),
    ("boxes", Action::Boxes, "show or hide the boxes that the model found"),
    ("crosshair", Action::Crosshair, "read the heat at a point"),
    ("histogram", Action::Histogram, "how the layer's numbers are spread: histogram, min, max, dead channels"),
    ("open", Action::Open, "open an image or a model"),
    ("save", Action::Save, "save the view as PNG"),
    ("save-array", Action::SaveArray, "save the heatmap as .npy"),
    ("save-json", Action::SaveJson, "save what is shown as JSON"),
    ("export", Action::Export, "export the model with its heat as an output"),
    ("report", Action::Report, "write a report of the photos looked at"),
    ("copy-command", Action::CopyCommand, "copy the equivalent command line"),
    ("palette", Action::Palette, "every action, searchable"),
    ("help", Action::Help, "keys and what they do"),
    ("redraw", Action::Redraw, "draw everything anew"),
    ("suspend", Action::Suspend, "stop until fg"),
    ("quit", Action::Quit, "quit"),
];

impl Action {
    /// Its name.
    pub fn name(self) -> &'static str {
        ACTIONS.iter().find(|(_, action, _)| *action == self).map_or("", |(name, _, _)| name)
    }

    /// What it does.
    pub fn description(self) -> &'static str {
        ACTIONS.iter().find(|(_, action, _)| *action == self).map_or("", |(_, _, description)| description)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = ACTIONS.iter().find(|(known, _, _)| *known == name).map(|(_, action, _)| *action);
        found.ok_or_else(|| {
            let near = camscope_core::nearest::nearest(name, ACTIONS.iter().map(|(known, _, _)| *known));
            let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) };
            format!("there is no action `{name}`{hint}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_one_name_and_every_name_one_action() {
        for (at, (name, action, description)) in ACTIONS.iter().enumerate() {
            assert_eq!(name.parse::<Action>().as_ref(), Ok(action));
            assert_eq!(action.name(), *name);
            assert!(!description.is_empty());
            assert!(ACTIONS[..at].iter().all(|(other, _, _)| other != name));
        }
        assert!("next-clas".parse::<Action>().unwrap_err().contains("next-class"));
    }

    #[test]
    fn views_go_round() {
        assert_eq!(View::Difference.step(1), View::Overlay);
        assert_eq!(View::Overlay.step(-1), View::Difference);
        for view in View::ALL {
            assert_eq!(view.name().parse(), Ok(view));
        }
    }
}
