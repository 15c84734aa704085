//! What workers were asked for.

use std::path::PathBuf;

use crate::{engine::HeatKey, state::State, tiles::TileKey, wanted::Run};

/// What the workers were asked for last: the same is not asked for twice.
#[derive(Default, PartialEq)]
pub(super) struct Asked {
    pub(super) photos: Vec<PathBuf>,
    pub(super) runs: Vec<Named>,
    pub(super) drawings: Vec<TileKey>,
    pub(super) round: u32,
    pub(super) opens: u64,
    /// How many photos had been read: one that changed meanwhile is asked for again.
    pub(super) read: usize,
    /// Whether there was a model.
    pub(super) has_engine: bool,
}

/// What tells a run from others: its kind, its photo and its heatmap.
pub(super) type Named = (std::mem::Discriminant<Run>, u64, [Option<HeatKey>; 2]);

pub(super) fn named(run: &Run) -> Named {
    let (photo, keys) = match run {
        Run::Scores(photo) | Run::Saturation(photo) | Run::Drift(photo) => (photo, [None; 2]),
        Run::Heat(key, photo) | Run::Road(key, photo) => (photo, [Some(*key), None]),
        Run::Spread(layer, photo) => {
            (photo, [Some(HeatKey { photo: photo.id, target: 0, layer: *layer, method: 0 }), None])
        }
        Run::Compare(two) => (&two.photos[0], [Some(two.keys.0), Some(two.keys.1)]),
    };
    (std::mem::discriminant(run), photo.id, keys)
}

/// The files whose change matters: the model, and the image that is shown.
pub(super) fn watched(state: &State) -> Vec<(PathBuf, Option<std::time::SystemTime>)> {
    let both = state
        .model
        .iter()
        .flat_map(|model| std::iter::once(&**model).chain(model.against.as_ref().map(|against| &against.info)));
    let models = both.map(|model| (model.path.clone(), model.modified));
    let image = state.images.get(state.image).filter(|entry| !entry.stale);
    let image = image.and_then(|entry| Some((entry.path.clone(), entry.photo.as_ref()?.modified)));
    models.chain(image).collect()
}
