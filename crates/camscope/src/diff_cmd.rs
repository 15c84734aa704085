//! `camscope diff`: the same photos through two models.

mod deliver;
mod drift;
mod kept;
mod pictures;
mod reported;
mod side;
mod table;

use std::{borrow::Borrow, path::Path, process::ExitCode, sync::Arc};

use camscope_core::{
    Error, Result,
    compare::{Activations, Entry, Matched, matching, prepare_alike, same_target},
    explain::{Explainer, Options},
    layer::{self, Choice},
    model::Preprocessing,
    overlay,
    runtime::{Canceller, Runtime},
    subject::TypedModel,
    target::{ClassSpec, TargetRef},
    text::printable_path,
};
use ndarray::ArrayD;

use self::{
    deliver::{Job, Picture},
    side::Side,
};
use crate::{
    cli::{DiffArgs, MethodArgs},
    explain_cmd::{
        many::{self, Explained, Ready, read},
        sized::{KEPT, sizes},
    },
    input::{Input, prepared},
    many_pictures, plugins, report,
    setup::{
        class_clashes, create_folder, note_all, note_estimate, note_provider, open, options, suited, work_between_runs,
    },
    whole::{end_between_files, end_by, finish_what_is_begun, stopped},
};

/// The exit status where `--fail-below` is not met.
const BELOW: u8 = 3;

/// Runs `camscope diff`.
///
/// # Errors
/// A model cannot be explained, they have nothing in common, or an option asks for what there isn't. A photo that cannot be read is
/// reported, the others go on, and the exit status is 1.
pub(crate) fn run(args: &DiffArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let colormap = overlay::by_name(&args.colormap)?;
    if !args.layers_b.is_empty() && args.layers_b.len() != args.how.layers.len() {
        let (layers, others) = (args.how.layers.len(), args.layers_b.len());
        return Err(Error::Value(format!(
            "--layer-b is wanted once for each --layer: there are {others} and {layers}"
        )));
    }
    let (mut network, mut sidecar) = open(&args.a, &args.input)?;
    let mut input_b = args.input.clone();
    input_b.sidecar = args.sidecar_b.clone().or(input_b.sidecar);
    let of_b = |error| of(&args.b, error);
    let (mut network_b, mut sidecar_b) = open(&args.b, &input_b).map_err(of_b)?;
    if prepare_alike(&sidecar, &mut sidecar_b) {
        eprintln!(
            "note: nothing beside {} says how photos are prepared for it or what its classes are called: as for {}",
            printable_path(&args.b),
            printable_path(&args.a)
        );
    }
    let pictures = args.from.given(&args.images, &args.tensor)?;
    if pictures.is_empty() {
        note_all(&["there is no photo for this shard: it is done".into()]);
        return Ok(ExitCode::SUCCESS);
    }
    let are_arrays = !args.tensor.is_empty();
    let inputs = Input::of_pictures(&pictures, are_arrays, &mut network, &mut sidecar)?;
    let inputs_b = Input::of_pictures(&pictures, are_arrays, &mut network_b, &mut sidecar_b).map_err(of_b)?;
    let page_pictures = args.keep.report.as_ref().map(|folder| folder.join(report::pictures::FOLDER));
    for folder in args.output.iter().chain(&args.raw).chain(&args.plot).chain(&page_pictures) {
        create_folder(folder)?;
    }
    end_between_files();
    if args.tensor.is_empty() {
        note_all(&sidecar.remarks());
    }
    if inputs.len() > 1 {
        work_between_runs(&args.run);
    }
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let (inputs, pictures) = in_order((inputs, inputs_b), pictures, (&sidecar.preprocessing, &sidecar_b.preprocessing));
    let largest = inputs.iter().flat_map(|input| &input.preprocessing).max_by_key(|it| it.size.0 * it.size.1);
    let provider = many::provider(runtime, &args.run);
    let batch =
        many::batch(provider, args.batch, largest.map_or(&sidecar.preprocessing, |largest| largest), inputs.len());

    let a = Side::new((network, sidecar), &args.input);
    let b = Side::new((network_b, sidecar_b), &input_b);
    let [size_a, size_b] = inputs.first().map_or_else(
        || [&a, &b].map(|side| Arc::new(side.preprocessing().clone())),
        |first| first.preprocessing.clone(),
    );
    let (subject_a, targets) = a.subject(runtime, &size_a, &args.how)?;
    let (subject_b, targets_b) = b.subject(runtime, &size_b, &of_any_class(&args.how)).map_err(of_b)?;
    refuse_other_task(args, &subject_a, &subject_b)?;
    note_all(&class_clashes(&args.how.classes, subject_a.labels()));
    plugins::note_resolved(subject_a.resolved());
    let options = Options {
        batch,
        said: true,
        verify: !args.no_verify,
        ..suited(options(&args.how, &args.run, a.sidecar())?, &args.how, a.sidecar(), &targets)?
    };
    let matched = matching(&subject_a, &subject_b);
    let (layers_b, by) = counterparts(args, (&subject_a, &subject_b), &matched, &options)?;
    let a = a.ready(runtime, subject_a, targets, options.clone())?;
    let b = b.ready(runtime, subject_b, targets_b, Options { layers: layers_b, ..options }).map_err(of_b)?;
    let explainers = [a.explainer(&size_a)?, b.explainer(&size_b).map_err(of_b)?];
    for explainer in &explainers {
        note_all(&explainer.subject().label_mismatch().into_iter().collect::<Vec<_>>());
        note_provider(runtime, explainer, &args.run);
        note_estimate(explainer);
    }
    if explainers[0].groups().len() != explainers[1].groups().len() {
        return Err(Error::Value("the layers of the two models are fused otherwise: name them by --layer".into()));
    }

    let preprocessing: Vec<_> = inputs.iter().map(|input| Arc::clone(&input.preprocessing[0])).collect();
    let runs = many::runs(&inputs, &preprocessing, batch);
    drop(preprocessing);
    let kept = kept::open(args, &pictures, &runs)?;
    let done = kept.as_ref().map_or(0, |kept| kept.batches_done(0));
    let mut job = Job::new(args, &explainers, colormap, &inputs, by, kept.as_ref());
    job.skip(done.checked_sub(1).map_or(0, |last| runs[last].end));
    finish_what_is_begun(kept.is_some());
    let mut activations = None;
    for run in &runs[done..] {
        if kept.as_ref().is_some_and(|kept| stopped().is_some() || kept.is_broken()) {
            break;
        }
        let mut drift = |explainers: [&Explainer; 2], tensors: [&ArrayD<f32>; 2]| -> Result<Vec<Entry>> {
            let subjects = explainers.map(Explainer::subject);
            let sizes = subjects.map(|subject| subject.sidecar().preprocessing.size);
            let kept = activations.take().filter(|(known, _)| *known == sizes);
            let made = || -> Result<_> {
                let matched = matching(subjects[0], subjects[1]);
                let session = &explainers[0].options().session;
                Ok((sizes, Activations::new(runtime, (subjects[0], subjects[1]), &matched, session)?))
            };
            let (_, own) = activations.insert(kept.map_or_else(made, Ok)?);
            own.errors((subjects[0], tensors[0]), (subjects[1], tensors[1]), &Canceller::new())
        };
        let compared = compare(args, (&a, &b), &inputs[run.clone()], args.drift.then_some(&mut drift));
        job.deliver(&inputs[run.clone()], &pictures[run.clone()], compared)?;
    }
    finish_what_is_begun(false);
    if let Some(kept) = &kept {
        if let Some(signal) = stopped() {
            job.clear();
            kept.say_how_to_go_on(job.delivered());
            end_by(signal);
        }
        if kept.is_broken() {
            return Ok(ExitCode::FAILURE);
        }
    }
    let (failed, below) = job.finish()?;
    Ok(match (failed, below) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(BELOW),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// The error as one of this model, unless it names it.
fn of(model: &Path, source: Error) -> Error {
    let name = printable_path(model);
    if source.to_string().contains(&name) { source } else { Error::Compared { model: name, source: Box::new(source) } }
}

/// A photo or an array, and how each model has it prepared.
pub(super) struct Both {
    pub(super) inputs: [Input; 2],
    pub(super) preprocessing: [Arc<Preprocessing>; 2],
}

impl Both {
    /// Whether both models have it prepared alike, wherever that is known from.
    fn is_alike(&self) -> bool {
        let [a, b] = &self.preprocessing;
        Preprocessing { source: b.source.clone(), ..Preprocessing::clone(a) } == **b
            && matches!(self.inputs, [Input::Photo(_), Input::Photo(_)])
    }
}

impl Borrow<Input> for Both {
    fn borrow(&self) -> &Input {
        &self.inputs[0]
    }
}

/// What both models are given. Where a model follows the photos' sizes and these are many, one size comes after the other.
fn in_order(
    (a, b): (Vec<Input>, Vec<Input>),
    pictures: Vec<many_pictures::Picture>,
    preprocessing: (&Preprocessing, &Preprocessing),
) -> (Vec<Both>, Vec<many_pictures::Picture>) {
    let (of_a, of_b) = (prepared(&a, preprocessing.0), prepared(&b, preprocessing.1));
    let is_many = sizes(&of_a) > KEPT || sizes(&of_b) > KEPT;
    let inputs = a.into_iter().zip(b).map(|(a, b)| [a, b]);
    let both = inputs.zip(of_a.into_iter().zip(of_b)).zip(pictures);
    let one = |((inputs, (a, b)), picture)| (Both { inputs, preprocessing: [a, b] }, picture);
    let mut all: Vec<(Both, many_pictures::Picture)> = both.map(one).collect();
    if is_many {
        all.sort_by_key(|(both, _)| [both.preprocessing[0].size, both.preprocessing[1].size]);
    }
    all.into_iter().unzip()
}

/// Refuses models that answer other questions, where nobody says what of both is meant.
fn refuse_other_task(args: &DiffArgs, a: &TypedModel, b: &TypedModel) -> Result<()> {
    let kind = |subject: &TypedModel| subject.network().task.as_ref().map(|found| found.task.kind().to_string());
    match (kind(a), kind(b)) {
        (Some(task_a), Some(task_b)) if task_a != task_b && args.how.asked().is_empty() => {
            Err(Error::OtherTask { a: printable_path(&args.a), task_a, b: printable_path(&args.b), task_b })
        }
        _ => Ok(()),
    }
}

/// The second model's layers, one for each of the first's; and by what each was found, in words for JSON.
fn counterparts(
    args: &DiffArgs,
    (a, b): (&TypedModel, &TypedModel),
    matched: &[Matched],
    options: &Options,
) -> Result<(Vec<Choice>, Vec<Option<&'static str>>)> {
    let layers = if options.layers.is_empty() { &[Choice::Auto] } else { options.layers.as_slice() };
    let needs_layer = options.method.method.needs().layer;
    let mut found = (Vec::new(), Vec::new());
    for (at, choice) in layers.iter().enumerate() {
        let is_auto = *choice == Choice::Auto;
        let chosen = layer::choose(a.layers(), a.default_layer(), choice);
        let own = chosen.as_ref().ok().and_then(|own| matched.iter().find(|pair| pair.a == own.index));
        let (other, by) = match (args.layers_b.get(at), own) {
            (Some(asked), _) => (asked.clone(), Some("asked")),
            (None, _) if matches!(choice, Choice::Input | Choice::InputOf(_)) => {
                let reason =
                    "there is no heat at the input to compare; saliency and others explain it: `camscope methods`";
                return Err(Error::Value(reason.into()));
            }
            (None, _) if !needs_layer => (choice.clone(), None),
            (None, _) if is_auto && a.default_layers().len() > 1 => (Choice::Auto, Some("auto")),
            (None, Some(pair)) => (Choice::Name(b.layers()[pair.b].value.clone()), Some(pair.by.name())),
            (None, None) if is_auto => (Choice::Auto, Some("auto")),
            (None, None) => match chosen {
                // Said with its layout, it may be any value of the graph: then it is so in both.
                Err(_) if options.layout.is_some() => (choice.clone(), Some("name")),
                chosen => return Err(no_common_layer(args, a, matched, chosen?)),
            },
        };
        found.0.push(other);
        found.1.push(by);
    }
    Ok(found)
}

fn no_common_layer(args: &DiffArgs, a: &TypedModel, matched: &[Matched], layer: &layer::Layer) -> Error {
    let mut near: Vec<usize> = matched.iter().map(|pair| pair.a).collect();
    near.sort_by_key(|at| at.abs_diff(layer.index));
    let nearest = near.iter().take(3).map(|at| a.layers()[*at].name().to_owned()).collect();
    let [path_a, path_b] = [&args.a, &args.b].map(|path| printable_path(path));
    Error::NoCommonLayer { layer: layer.name().to_owned(), a: path_a, b: path_b, nearest }
}

/// What gives the errors of all layers for a picture, as each model takes it.
type Drifting<'a> = &'a mut dyn FnMut([&Explainer; 2], [&ArrayD<f32>; 2]) -> Result<Vec<Entry>>;

/// Explains some pictures with both models: with the first what was asked for, with the second what that came to.
fn compare(
    args: &DiffArgs,
    (a, b): (&side::Ready, &side::Ready),
    inputs: &[Both],
    mut drift: Option<Drifting<'_>>,
) -> Vec<Result<Picture>> {
    let of_one = |which: usize| -> Vec<Result<Ready>> {
        many::each(inputs.iter().collect(), |both: &Both| {
            let one = (std::slice::from_ref(&both.inputs[which]), std::slice::from_ref(&both.preprocessing[which]));
            read(one.0, one.1).remove(0)
        })
    };
    let read_a = of_one(0);
    let alike = inputs.iter().all(Both::is_alike);
    let read_b: Vec<Result<Ready>> = match alike && read_a.iter().all(Result::is_ok) {
        true => read_a.iter().flatten().cloned().map(Ok).collect(),
        false => of_one(1),
    };
    // They are gone once they are explained.
    let tensors: Vec<Option<[ArrayD<f32>; 2]>> = match drift {
        Some(_) => {
            let both = read_a.iter().zip(&read_b);
            both.map(|(a, b)| Some([a.as_ref().ok()?.tensor.clone(), b.as_ref().ok()?.tensor.clone()])).collect()
        }
        None => inputs.iter().map(|_| None).collect(),
    };
    let explained = match a.explainer(&inputs[0].preprocessing[0]) {
        Ok(explainer) => many::explain(&explainer, read_a, a.targets()),
        Err(error) => failed_together(error, inputs.len()),
    };
    let explained_b = explain_as(b, a.labels(), &explained, read_b, inputs);
    let mut picture = |one: Result<Explained>, other: Other, both: &Both, tensors: Option<[ArrayD<f32>; 2]>| {
        let one = one?;
        let other = other.unwrap_or_else(|| Err(Error::Value("it was not explained".into())));
        let (other, notes) = other.map_err(|error| of(&args.b, error))?;
        let errors = match (&mut drift, &tensors) {
            (Some(drift), Some([tensor_a, tensor_b])) => {
                let explainers = [a.explainer(&both.preprocessing[0])?, b.explainer(&both.preprocessing[1])?];
                Some(drift([&explainers[0], &explainers[1]], [tensor_a, tensor_b])?)
            }
            _ => None,
        };
        Ok(Picture { explained: [one, other], notes, errors })
    };
    let pairs = explained.into_iter().zip(explained_b).zip(inputs.iter().zip(tensors));
    pairs.map(|((one, other), (both, tensors))| picture(one, other, both, tensors)).collect()
}

/// The error for each of so many pictures.
fn failed_together<T>(error: Error, count: usize) -> Vec<Result<T>> {
    let text = error.to_string();
    let mut error = Some(error);
    (0..count).map(|_| Err(error.take().unwrap_or_else(|| Error::Value(text.clone())))).collect()
}

/// What the second model is made ready for: any class in place of those asked for. Which of its own they are is found for each picture, by
/// their labels; it need not have all of them.
fn of_any_class(how: &MethodArgs) -> MethodArgs {
    let any = |target: TargetRef| {
        let spec = target.spec();
        let is_of_class = matches!(spec.trim_start_matches("not:").split(':').next(), Some("class" | "contrast"));
        if is_of_class { ClassSpec::Top(1).target() } else { target }
    };
    MethodArgs { classes: Vec::new(), targets: how.asked().into_iter().map(any).collect(), ..how.clone() }
}

/// Of a picture what the second model makes of it, with what to know of its targets; `None` where the first made nothing of it.
type Other = Option<Result<(Explained, Vec<String>)>>;

/// Explains pictures with the second model: what each came to with the first.
fn explain_as(
    b: &side::Ready,
    labels: &camscope_core::model::Labels,
    explained: &[Result<Explained>],
    ready: Vec<Result<Ready>>,
    inputs: &[Both],
) -> Vec<Other> {
    let mut all: Vec<Other> = inputs.iter().map(|_| None).collect();
    let mut todo: Vec<Todo> = Vec::new();
    for (at, (explained, ready)) in explained.iter().zip(ready).enumerate() {
        let Ok(explained) = explained else { continue };
        let todo_of = |ready: Ready| -> Result<Todo> {
            let explainer = b.explainer(&inputs[at].preprocessing[1])?;
            let (targets, notes) = targets_of(&explainer, labels, explained, &ready)?;
            let key = targets.iter().map(|target| target.spec()).collect();
            Ok(Todo { at, explainer, targets, key, ready, notes })
        };
        match ready.and_then(todo_of) {
            Ok(one) => todo.push(one),
            Err(error) => all[at] = Some(Err(error)),
        }
    }
    // Pictures of one class run together.
    todo.sort_by(|one, other| (&one.key, one.ready.tensor.shape()).cmp(&(&other.key, other.ready.tensor.shape())));
    while !todo.is_empty() {
        let is_with = |other: &Todo| other.key == todo[0].key && Arc::ptr_eq(&other.explainer, &todo[0].explainer);
        let count = todo.iter().take_while(|other| is_with(other)).count();
        let (mut places, mut together) = (Vec::new(), Vec::new());
        let (explainer, targets) = (Arc::clone(&todo[0].explainer), todo[0].targets.clone());
        for Todo { at, ready, notes, .. } in todo.drain(..count) {
            places.push((at, notes));
            together.push(Ok(ready));
        }
        let made = many::explain(&explainer, together, &targets);
        for ((at, notes), made) in places.into_iter().zip(made) {
            all[at] = Some(made.map(|made| (made, notes)));
        }
    }
    all
}

/// A picture that is to be explained with the second model.
struct Todo {
    at: usize,
    explainer: Arc<Explainer>,
    targets: Vec<TargetRef>,
    /// The targets in words.
    key: Vec<String>,
    ready: Ready,
    notes: Vec<String>,
}

/// What a picture came to with the first model, as targets of the second.
fn targets_of(
    explainer: &Explainer,
    labels: &camscope_core::model::Labels,
    explained: &Explained,
    ready: &Ready,
) -> Result<(Vec<TargetRef>, Vec<String>)> {
    let explanations = &explained.outcome.explanations;
    let groups = explainer.groups().len().max(1);
    let needs_said = explanations.iter().any(|explanation| explanation.target.place.corners.is_some());
    let said = match needs_said {
        true => {
            let forward = explainer.forward(&ready.tensor, &Canceller::new())?.of_photos(&[ready.seen]);
            explainer.predict(&forward)?.pop()
        }
        false => None,
    };
    let (mut targets, mut notes) = (Vec::new(), Vec::new());
    for explanation in explanations.iter().step_by(groups) {
        let (target, note) = same_target(&explanation.target, (labels, explainer.labels()), said.as_ref())?;
        targets.push(target);
        notes.extend(note);
    }
    Ok((targets, notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_all_is_told_once_in_full() {
        let errors: Vec<Result<()>> = failed_together(Error::NoLayers, 2);
        assert!(matches!(errors[0], Err(Error::NoLayers)) && matches!(errors[1], Err(Error::Value(_))));
    }
}
