//! What the commands share: opening a model as the options say, what they ask for, and what a person should know of it.

use std::path::Path;

use camscope_core::{
    Error, Result,
    explain::{Explainer, Options},
    image::Photo,
    method,
    model::{Labels, Network, Sidecar, resolve_given, said_picture},
    runtime::{ProviderChoice, Runtime, SessionOptions, SharedThreads, share_threads},
    subject::TypedModel,
    target::{ClassSpec, TargetRef},
    text::printable_path,
};

use crate::{
    cli::{InputArgs, MethodArgs, RunArgs},
    feed::feed,
    input::{array_for, is_array},
    output,
};

/// Reads a model and what lies beside it, unless the options say otherwise.
///
/// # Errors
/// Either cannot be read, or an option has a value that the model can't have.
pub(crate) fn open(model: &Path, input: &InputArgs) -> Result<(Network, Sidecar)> {
    open_for(model, input, None)
}

/// As [`open`]; an input whose size follows the photo's has that of this one, or of this array.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn open_for(model: &Path, input: &InputArgs, photo: Option<&Path>) -> Result<(Network, Sidecar)> {
    let (mut network, sidecar) = open_unfed(model, input, photo)?;
    note_all(&feed(&mut network, &sidecar, &input.fed)?);
    Ok((network, sidecar))
}

/// As [`open_for`], without anything for the inputs that don't take the photo.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn open_unfed(model: &Path, input: &InputArgs, photo: Option<&Path>) -> Result<(Network, Sidecar)> {
    let given = input.given().map_err(|reason| Error::BadPreprocessing { reason })?;
    let picture = match &input.picture {
        Some(picture) => Some(picture.clone()),
        None => said_picture(model, given.sidecar.as_deref())?,
    };
    let mut network = Network::open_with(model, picture.as_deref())?;
    note_all(network.note.as_slice());
    note_all(network.picture_note.as_slice());
    let mut sidecar = resolve_given(&network, &given)?;
    if let Some(array) = photo.filter(|path| is_array(path)) {
        array_for(array, &mut network, &mut sidecar)?;
    } else if let Some((width, height)) = photo.and_then(Photo::upright_dimensions) {
        sidecar.preprocessing = sidecar.preprocessing.for_photo(width, height);
    }
    if let Some(logits) = &sidecar.logits {
        network.choose_output(logits)?;
    }
    Ok((network, sidecar))
}

/// The model, typed, for what is asked for; and what that is: where nothing is said, what the model says first.
///
/// # Errors
/// The model cannot be typed, a target names what it doesn't have, or it has to be said what is explained.
pub(crate) fn subject(
    runtime: &'static Runtime,
    network: Network,
    sidecar: Sidecar,
    how: &MethodArgs,
) -> Result<(TypedModel, Vec<TargetRef>)> {
    let asked = how.asked();
    let subject = TypedModel::for_targets(runtime, network, sidecar, &asked)?;
    if !asked.is_empty() {
        return Ok((subject, asked));
    }
    if let Some(note) = subject.network().choice_note() {
        output::note(&format!("{note}; --target output:NAME[…] explains another"));
    }
    note_all(&subject.network().guess().map(str::to_owned).into_iter().collect::<Vec<_>>());
    let default = subject.default_target()?;
    Ok((subject, vec![default]))
}

/// What the options ask for, where heatmaps are enough; what they leave open the model's sidecar says.
///
/// # Errors
/// There is no such method.
pub(crate) fn options(how: &MethodArgs, run: &RunArgs, sidecar: &Sidecar) -> Result<Options> {
    let method = asked_methods(how, sidecar)?.into_iter().next().unwrap_or_default();
    Ok(Options {
        method,
        sign: how.sign.into(),
        smooth: Default::default(),
        layers: how.layers.clone(),
        fuse: how.fuse.map(Into::into),
        layout: how.layout,
        score: how.score.into(),
        gradients: false,
        batch: 1,
        said: false,
        seed: how.seed,
        verify: false,
        seen: None,
        session: session_options(run),
    })
}

/// The options with the method that suits the targets, where nobody asked for one; a word where one was asked for that doesn't. For what
/// takes one method.
///
/// # Errors
/// There is no such method, or several were asked for.
pub(crate) fn suited(options: Options, how: &MethodArgs, sidecar: &Sidecar, targets: &[TargetRef]) -> Result<Options> {
    match asked_methods(how, sidecar)?.as_slice() {
        [] => Ok(Options { method: method::default_for(targets), ..options }),
        [asked] => {
            note_all(&method::mistrust(asked.method, targets).into_iter().collect::<Vec<_>>());
            Ok(options)
        }
        several => {
            Err(Error::Value(format!("{} methods were asked for, and one is measured at a time", several.len())))
        }
    }
}

/// The methods that explain the targets: those asked for, else the one that suits; a word on those that don't.
///
/// # Errors
/// There is no such method.
pub(crate) fn methods(how: &MethodArgs, sidecar: &Sidecar, targets: &[TargetRef]) -> Result<Vec<method::Chosen>> {
    let asked = asked_methods(how, sidecar)?;
    if asked.is_empty() {
        return Ok(vec![method::default_for(targets)]);
    }
    if !asks_for_all(how) {
        note_all(&asked.iter().filter_map(|asked| method::mistrust(asked.method, targets)).collect::<Vec<_>>());
    }
    Ok(asked)
}

/// As `--method` takes all of them.
const ALL: &str = "all";

/// Whether whatever method there is is asked for.
pub(crate) fn asks_for_all(how: &MethodArgs) -> bool {
    how.method.iter().any(|name| name == ALL)
}

/// The methods that are asked for: by the option, else by the sidecar; none where neither says. One that is named beside `all` stands in
/// the place of the same with its defaults.
///
/// # Errors
/// There is no such method.
fn asked_methods(how: &MethodArgs, sidecar: &Sidecar) -> Result<Vec<method::Chosen>> {
    if how.method.is_empty() {
        let own = sidecar.method.iter().map(|name| method::parse(name));
        return own.map(|own| own.map_err(|error| sidecar.at_fault("method", error))).collect();
    }
    let mut named: Vec<method::Chosen> = Vec::new();
    for name in how.method.iter().filter(|name| *name != ALL) {
        let chosen = method::parse(name)?;
        if !named.contains(&chosen) {
            named.push(chosen);
        }
    }
    if !asks_for_all(how) {
        return Ok(named);
    }
    let of = |method: &method::Method| -> Vec<method::Chosen> {
        let own: Vec<_> = named.iter().filter(|named| named.method == *method).cloned().collect();
        if own.is_empty() { vec![(*method).into()] } else { own }
    };
    Ok(method::all().iter().flat_map(of).collect())
}

/// How sessions are made.
pub(crate) fn session_options(run: &RunArgs) -> SessionOptions {
    SessionOptions {
        provider: run.ep,
        threads: run.threads.map(usize::from),
        precision: run.precision.into(),
        ..Default::default()
    }
}

/// Prepares for photos that are read and overlays that are written between the model's runs: its threads shall not be in their way. To be
/// called before the runtime is loaded.
pub(crate) fn work_between_runs(run: &RunArgs) {
    share_threads(SharedThreads { count: run.threads.map(usize::from), sleep: true });
}

/// Says what is to be known, each in a line.
pub(crate) fn note_all(notes: &[String]) {
    for note in notes {
        output::note(note);
    }
}

/// Of classes that were asked for by a number that is a label too, which is meant.
pub(crate) fn class_clashes(classes: &[ClassSpec], labels: &Labels) -> Vec<String> {
    classes.iter().filter_map(|class| class.clash(labels)).collect()
}

/// Says why a better provider than the one in use was not taken.
pub(crate) fn note_provider(runtime: &Runtime, explainer: &Explainer, run: &RunArgs) {
    if run.ep != ProviderChoice::Auto {
        return;
    }
    for (provider, reason) in runtime.auto_provider().rejected {
        output::note(&format!("{provider} is not used: {reason}"));
    }
    if let Some(reason) = explainer.forward_session().fallback() {
        output::note(reason);
    }
}

/// Says that a gradient is an estimate, where the model rounds on its way, and where it ends.
pub(crate) fn note_estimate(explainer: &Explainer) {
    note_all(&explainer.straight_through_note().into_iter().chain(explainer.stopped_note()).collect::<Vec<_>>());
}

/// Makes a folder, and those above it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|source| failed("create the folder", folder, source))
}

/// The error of a model that was to be written: that of a file, where it is one.
pub(crate) fn not_written(path: &Path, source: onnx_grad::Error) -> Error {
    match source {
        onnx_grad::Error::Io { action, path, source } => Error::Io { action, path, source },
        source => Error::Model { path: printable_path(path), source },
    }
}

/// The error of a file.
pub(crate) fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: printable_path(path), source }
}
