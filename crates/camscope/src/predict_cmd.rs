//! `camscope predict`: what a model says of photos, and so what can be asked of it.

use std::{process::ExitCode, sync::Arc};

use camscope_core::{
    Result,
    explain::{Explainer, Forward, Options},
    image::within_photo,
    model::Preprocessing,
    runtime::{Canceller, Runtime},
    subject::TypedModel,
    target::default_target,
    task::{Item, Said},
    text::{printable, printable_path},
};
use serde_json::json;

use crate::{
    cli::PredictArgs,
    explain_cmd::{
        many::{Ready, read},
        sized::{Made, of_size, sized},
    },
    input::{Input, prepared},
    output, plugins,
    setup::{note_all, note_provider, open, session_options},
};

/// How many items the text lists.
const LISTED: usize = 20;

/// Runs `camscope predict`.
///
/// # Errors
/// The model cannot be read or run. A photo that cannot be read is reported, the others go on, and the exit status is 1.
pub(crate) fn run(args: &PredictArgs) -> Result<ExitCode> {
    plugins::load(&args.extra.plugins);
    let (mut network, mut sidecar) = open(&args.model, &args.input)?;
    let inputs = Input::of(&args.images, &args.tensor, &mut network, &mut sidecar)?;
    if args.tensor.is_empty() {
        note_all(&sidecar.remarks());
    }
    let runtime = plugins::runtime(Runtime::get_or_load()?, &args.extra)?;
    let options = Options { score: args.score.into(), session: session_options(&args.run), ..Options::default() };
    let made = Made::default();
    let make = |preprocessing: &Preprocessing| {
        let (network, sidecar) = sized(&network, &sidecar, &args.input, preprocessing)?;
        let subject = TypedModel::new(runtime, network, sidecar)?;
        Explainer::forward_passes(runtime, Arc::new(subject), options.clone()).map(Arc::new)
    };
    let preprocessing = prepared(&inputs, &sidecar.preprocessing);
    if let Some(first) = preprocessing.first() {
        let explainer = of_size(&made, first.size, || make(first))?;
        let subject = explainer.subject();
        note_all(&subject.label_mismatch().into_iter().collect::<Vec<_>>());
        note_all(&subject.network().guess().map(str::to_owned).into_iter().collect::<Vec<_>>());
        note_provider(runtime, &explainer, &args.run);
    }
    let mut failed = false;
    for (input, preprocessing) in inputs.iter().zip(&preprocessing) {
        let one = (std::slice::from_ref(input), std::slice::from_ref(preprocessing));
        let said = read(one.0, one.1).into_iter().try_for_each(|ready| {
            let explainer = of_size(&made, preprocessing.size, || make(preprocessing))?;
            let (forward, said, notes) = predict(&explainer, ready?)?;
            note_all(&notes);
            let text = match args.json {
                true => line(args, input, &explainer, &forward, &said),
                false => lines(input, explainer.subject(), &forward, &said),
            };
            output::print(&text)
        });
        if let Err(error) = said {
            failed = true;
            output::report(&error);
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn predict(explainer: &Explainer, ready: Ready) -> Result<(Forward, Said, Vec<String>)> {
    let forward = explainer.forward(&ready.tensor, &Canceller::new())?.of_photos(&[ready.seen]);
    let mut said = explainer.predict(&forward)?.pop().unwrap_or_default();
    if let Some((width, height)) = ready.photo.as_ref().map(|photo| photo.dimensions()) {
        for corners in said.items.iter_mut().filter_map(|item| item.corners.as_mut()) {
            *corners = within_photo(*corners, width, height);
        }
    }
    Ok((forward, said, ready.notes))
}

/// Every output with its shape.
fn outputs(subject: &TypedModel, forward: &Forward) -> Vec<(String, Vec<usize>)> {
    let shape = |name: &String| (name.clone(), forward.shape(name).unwrap_or_default());
    subject.network().outputs.iter().map(shape).collect()
}

fn lines(input: &Input, subject: &TypedModel, forward: &Forward, said: &Said) -> String {
    let mut text = format!("{}: ", printable_path(input.path()));
    match &subject.network().task {
        Some(recognised) => text += &format!("{}\n", printable(&recognised.describe())),
        None => {
            let why = default_target(subject.network(), subject.types()).err().map(|error| format!(": {error}"));
            text += &format!("no task is recognised{}\n", printable(&why.unwrap_or_default()));
        }
    }
    if let Some(read) = &said.text {
        text += &format!("  text: {}\n", printable(read));
    }
    for (name, value) in &said.facts {
        // Counts have no fraction.
        let digits = if *name == "size" { 0 } else { 4 };
        text += &format!("  {name}: {value:.digits$}\n");
    }
    if said.items.is_empty() && subject.network().task.as_ref().is_some_and(|found| found.task.detector().is_some()) {
        text += "  nothing is found\n";
    }
    let width = said.items.iter().take(LISTED).map(|item| item.target.chars().count()).max().unwrap_or(0);
    for item in said.items.iter().take(LISTED) {
        text += &format!("  {:width$}  {}\n", printable(&item.target), item_text(item));
    }
    if said.items.len() > LISTED {
        text += &format!("  and {} more: --json lists all of them\n", said.items.len() - LISTED);
    }
    for (name, shape) in outputs(subject, forward) {
        text += &format!("  output `{}` {shape:?}\n", printable(&name));
    }
    text
}

fn item_text(item: &Item) -> String {
    let label = match (&item.label, item.class) {
        (Some(label), _) => printable(label).into_owned(),
        (None, Some(class)) => format!("class {class}"),
        (None, None) => String::new(),
    };
    let mut parts: Vec<String> = vec![label];
    parts.extend(item.probability.map(|p| format!("{:.1} %", 100.0 * p)));
    parts.push(format!("score {:.4}", item.score));
    parts.extend(
        item.corners.map(|[left, top, right, bottom]| format!("from {left:.0},{top:.0} to {right:.0},{bottom:.0}")),
    );
    parts.extend(item.share.map(|share| format!("{:.1} % of the image", 100.0 * share)));
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}

fn line(args: &PredictArgs, input: &Input, explainer: &Explainer, forward: &Forward, said: &Said) -> String {
    let subject = explainer.subject();
    let recognised = subject.network().task.as_ref();
    let item = |item: &Item| {
        json!({
            "target": item.target,
            "class": item.class,
            "label": item.label,
            "score": item.score,
            "probability": item.probability,
            "box": item.corners,
            "share": item.share,
        })
    };
    let facts: serde_json::Map<_, _> =
        said.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    output::json_line(&json!({
        "image": input.path().to_string_lossy(),
        "model": args.model.to_string_lossy(),
        "task": recognised.map(|found| found.task.kind().to_string()),
        "format": recognised.and_then(|found| found.task.format()),
        "recognised_by": recognised.map(|found| &found.by),
        "guess": recognised.and_then(|found| found.guess.as_ref()),
        "text": said.text,
        "facts": facts,
        "items": said.items.iter().map(item).collect::<Vec<_>>(),
        "outputs": outputs(subject, forward).iter()
            .map(|(name, shape)| json!({ "name": name, "shape": shape }))
            .collect::<Vec<_>>(),
        "provider": explainer.forward_session().provider().name(),
    }))
}
