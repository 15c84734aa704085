//! Where things are in the photos, as `--boxes` or `--masks` says it.

use std::path::{Path, PathBuf};

use camscope_core::{
    Error, Result,
    evaluate::{
        Asked,
        truth::{Boxes, Thing, read_mask, within_boxes, within_mask},
    },
    image::Photo,
    model::Labels,
    target::{ClassSpec, TargetRef},
    text::printable_path,
};
use ndarray::Array2;

use crate::{cli::EvaluateArgs, input::Input};

/// Where things are.
pub(super) enum Truth {
    /// Nobody says.
    None,
    /// Boxes of a file.
    Boxes(Boxes),
    /// A mask a photo.
    Masks(PathBuf),
}

impl Truth {
    /// Reads what the options name, and checks that it is of these photos.
    ///
    /// # Errors
    /// It can't be read; a box lies outside of its photo; no photo has any.
    pub(super) fn read(args: &EvaluateArgs, inputs: &[Input]) -> Result<Self> {
        if let Some(folder) = &args.masks {
            if !folder.is_dir() {
                return Err(Error::NoSuchFile { what: "folder of masks", path: printable_path(folder) });
            }
            let truth = Self::Masks(folder.clone());
            if !inputs.iter().any(|input| truth.mask_of(input.path()).is_some()) {
                let path = printable_path(folder);
                let reason = "there is no mask of any of the photos in it".into();
                return Err(Error::Truth { path, at: String::new(), reason });
            }
            return Ok(truth);
        }
        let Some(path) = &args.boxes else { return Ok(Self::None) };
        let boxes = Boxes::read(path)?;
        for input in inputs {
            if let Some(size) = Photo::upright_dimensions(input.path()) {
                boxes.check(input.path(), size)?;
            }
        }
        if !inputs.iter().any(|input| !boxes.of(input.path()).is_empty()) {
            let reason = "there is no box of any of the photos in it".into();
            return Err(Error::Truth { path: printable_path(path), at: String::new(), reason });
        }
        Ok(Self::Boxes(boxes))
    }

    /// Checks that the labels of these photos' boxes are the model's.
    ///
    /// # Errors
    /// One is not.
    pub(super) fn check_labels(&self, labels: &Labels, inputs: &[Input]) -> Result<()> {
        let Self::Boxes(boxes) = self else { return Ok(()) };
        for thing in inputs.iter().flat_map(|input| boxes.of(input.path())).filter(|thing| !thing.label.is_empty()) {
            class_of(thing, labels).map_err(|error| {
                let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
                boxes.fault(thing, format!("{error}{help}"))
            })?;
        }
        Ok(())
    }

    /// The classes in a photo's boxes, as targets; `None` where others are asked for or the boxes say nothing of classes.
    pub(super) fn targets(&self, asked: &[TargetRef], labels: &Labels, photo: &Path) -> Option<Vec<TargetRef>> {
        let Self::Boxes(boxes) = self else { return None };
        if !asked.is_empty() {
            return None;
        }
        let mut classes = Vec::new();
        for thing in boxes.of(photo).into_iter().filter(|thing| !thing.label.is_empty()) {
            if let Ok(class) = class_of(thing, labels)
                && !classes.contains(&class)
            {
                classes.push(class);
            }
        }
        (!classes.is_empty()).then(|| classes.into_iter().map(|class| ClassSpec::Index(class).target()).collect())
    }

    fn mask_of(&self, photo: &Path) -> Option<PathBuf> {
        let Self::Masks(folder) = self else { return None };
        let mut name = photo.file_stem()?.to_owned();
        name.push(".png");
        Some(folder.join(name)).filter(|path| path.is_file())
    }

    /// A photo's mask, where it has one.
    ///
    /// # Errors
    /// It can't be read, or has another size than the photo.
    pub(super) fn mask(&self, photo: &Path, size: (u32, u32)) -> Result<Option<Array2<bool>>> {
        self.mask_of(photo).map(|mask| read_mask(&mask, size)).transpose()
    }

    /// Where the target is in the network's input, where that is known.
    pub(super) fn region(
        &self,
        asked: &Asked<'_>,
        labels: &Labels,
        photo: &Path,
        mask: Option<&Array2<bool>>,
    ) -> Option<Array2<bool>> {
        if let Some(mask) = mask {
            return within_mask(&asked.viewport(), asked.size(), mask.view());
        }
        let Self::Boxes(boxes) = self else { return None };
        let answered = asked.answered();
        let is_meant = |thing: &&Thing| match (thing.label.as_str(), answered.class) {
            ("", _) => true,
            (_, Some(class)) => class_of(thing, labels).is_ok_and(|own| own == class.class),
            (label, None) => answered.label.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(label)),
        };
        let corners: Vec<[f64; 4]> = boxes.of(photo).into_iter().filter(is_meant).map(|thing| thing.corners).collect();
        within_boxes(&asked.viewport(), asked.size(), &corners)
    }
}

/// The class that a box's label names: by name, else by number.
fn class_of(thing: &Thing, labels: &Labels) -> Result<usize> {
    let named = labels.find(&thing.label);
    match (named, thing.label.trim_start_matches('#').parse()) {
        (Err(_), Ok(number)) => Ok(number),
        (named, _) => named,
    }
}
