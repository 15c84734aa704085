//! `--against`: a second model beside the one that is explored or drawn, or what else there is to compare with.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use camscope_core::{
    Error, Result, compare::prepare_alike, method, model::Sidecar, runtime::Runtime, text::printable_path,
};
use camscope_tui::{
    compare::With,
    engine::{Beside, Engine, Fault, OpenOptions, Opened},
};

use crate::{
    cli::InputArgs,
    setup::{note_all, open_for},
};

/// What is compared with, with the method's own name and the file there.
///
/// # Errors
/// There is no such file or method.
pub(crate) fn checked(with: &With) -> Result<With> {
    let there = |what, path: &PathBuf| match path.exists() {
        true => Ok(with.clone()),
        false => Err(Error::NoSuchFile { what, path: printable_path(path) }),
    };
    match with {
        With::Model(path) => there("model", path),
        With::Photo(path) => there("image", path),
        With::Method(name) => {
            let chosen = method::parse(name)?;
            let own = chosen.method.name();
            if chosen.spec() != own {
                return Err(Error::Value(format!("`{name}`: a view takes a method by its name, without parameters")));
            }
            Ok(With::Method(own.to_owned()))
        }
    }
}

/// The model at `path` beside another, prepared as `camscope diff` prepares it.
///
/// # Errors
/// It cannot be read or explained, or the two answer other questions.
pub(crate) fn beside(
    runtime: &'static Runtime,
    (a, sidecar_a): (Opened, &Sidecar),
    path: &Path,
    (input, photo): (&InputArgs, Option<&Path>),
    how: &OpenOptions,
) -> Result<Arc<dyn Engine>, Fault> {
    let of = |fault: Fault| match fault {
        Fault::Cancelled => Fault::Cancelled,
        Fault::Failed(reason) => Fault::Failed(format!("{}: {reason}", printable_path(path))),
    };
    let read = || -> Result<_> {
        let (network, mut sidecar) = open_for(path, input, photo)?;
        network.refuse_photos()?;
        let is_taken = prepare_alike(sidecar_a, &mut sidecar);
        Ok((network, sidecar, is_taken))
    };
    let (network, sidecar, is_taken) = read().map_err(|error| of(error.into()))?;
    let mut how = how.clone();
    how.notes.extend(is_taken.then(|| {
        "nothing beside it says how photos are prepared or what its classes are called: as for the first model"
            .to_owned()
    }));
    let b = Opened::new(runtime, network, sidecar, &how, &|_| ()).map_err(of)?;
    let both = Beside::of_models(Arc::new(a), Arc::new(b), !how.targets.is_empty())?;
    Ok(Arc::new(both))
}

/// Says what is to be known of the second model, where nobody looks at the explorer.
pub(crate) fn note_second(engine: &dyn Engine) {
    if let Some(against) = &engine.info().against {
        let name = printable_path(&against.info.path);
        note_all(&against.info.notes.iter().map(|note| format!("{name}: {note}")).collect::<Vec<_>>());
    }
}
