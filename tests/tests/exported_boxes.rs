//! Boxes that an exported graph chooses: of every format of heads and both exporters the heat is that of `explain`, image by image.

use std::sync::atomic::{AtomicUsize, Ordering};

use camscope_core::{
    explain::{
        Explainer, Options,
        export::{How, export},
    },
    layer::Choice,
    method::{self, Sign},
    model::{Given, Network, Sidecar, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions, Value},
    subject::TypedModel,
    target::{self, Score},
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    runtime,
};
use ndarray::{ArrayD, Axis, IxDyn, Slice, concatenate};
use serde_json::Value as Json;

const FOLDER: &str = "tasks/detection";

fn opened(file: &str, entry: &Json) -> Result<(Network, Sidecar), String> {
    let mut network = Network::open(&fixture(FOLDER).join(file)).map_err(|error| error.to_string())?;
    for (name, rows) in entry["feeds"].as_object().ok_or("feeds")? {
        let numbers: Vec<f32> =
            rows[0].as_array().ok_or("a row")?.iter().filter_map(Json::as_f64).map(|n| n as f32).collect();
        let value = ArrayD::from_shape_vec(IxDyn(&[1, numbers.len()]), numbers).map_err(|error| error.to_string())?;
        if network.others().any(|input| input.name == *name) {
            network.feed(name, value, None).map_err(|error| error.to_string())?;
        }
    }
    let sidecar = resolve_given(&network, &Given { size: Some((64, 64)), ..Given::default() });
    Ok((network, sidecar.map_err(|error| error.to_string())?))
}

fn session() -> SessionOptions {
    SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), threads: Some(1), ..Default::default() }
}

fn options(entry: &Json, score: Score) -> Result<Options, String> {
    let layer = Choice::Name(entry["module"].as_str().ok_or("a module")?.into());
    let method = method::parse("hirescam").map_err(|error| error.to_string())?;
    Ok(Options { method, sign: Sign::Both, layers: vec![layer], score, session: session(), ..Default::default() })
}

/// Two pictures: the recorded one, and itself upside down and darker.
fn pictures(entry: &Json) -> Result<ArrayD<f32>, String> {
    let name = entry["name"].as_str().ok_or("a name")?;
    let picture = Recording::open(&fixture(FOLDER).join(format!("{name}.npz"))).floats("input");
    let picture = if picture.ndim() == 3 { picture.insert_axis(Axis(0)) } else { picture };
    let mut other =
        picture.slice_each_axis(|axis| Slice::new(0, None, if axis.axis.index() == 0 { 1 } else { -1 })).to_owned();
    other.mapv_inplace(|number| (number * 0.7).round().max(number * 0.7));
    concatenate(Axis(0), &[picture.view(), other.view()]).map_err(|error| error.to_string())
}

fn row(all: &ArrayD<f32>, at: usize) -> ArrayD<f32> {
    all.slice_axis(Axis(0), (at..at + 1).into()).to_owned()
}

/// A model, typed for its boxes.
fn typed(file: &str, entry: &Json) -> Result<TypedModel, String> {
    let (network, sidecar) = opened(file, entry)?;
    let targets = [target::parse("box:1").map_err(|error| error.to_string())?];
    TypedModel::for_targets(runtime(), network, sidecar, &targets).map_err(|error| error.to_string())
}

/// The heat that the exported model gives of each picture.
fn exported(
    subject: &TypedModel,
    options: &Options,
    spec: &str,
    pictures: &ArrayD<f32>,
) -> Result<Vec<ArrayD<f32>>, String> {
    let network = subject.network();
    let others: Vec<_> = network.others().map(|input| (input.name.clone(), input.value.clone())).collect();
    let input = network.input().name.clone();
    let how = How { target: Some(spec.into()), ..How::default() };
    let model = export(subject, options, &how).map_err(|error| error.to_string())?.model;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("exported.onnx");
    model.write(&path).map_err(|error| error.to_string())?;
    let session = runtime().session_from_file(&path, &session()).map_err(|error| error.to_string())?;
    let elem = |name: &str| {
        session.inputs().iter().find(|input| input.name == name).map(|input| input.elem).ok_or("an element type")
    };
    let given = &model.graph().input[0];
    let ty = onnx_grad::ValueType::from_proto(given.r#type.as_ref().ok_or("a type")?).ok_or("a tensor")?;
    let batch = ty.shape.ok_or("a shape")?[0].fixed().unwrap_or(pictures.len_of(Axis(0)));
    let mut heat = Vec::new();
    for from in (0..pictures.len_of(Axis(0))).step_by(batch) {
        let own = pictures.slice_axis(Axis(0), (from..from + batch).into()).to_owned();
        let mut values =
            vec![(input.clone(), Value::from_f32_as(own, elem(&input)?).map_err(|error| error.to_string())?)];
        for (name, value) in &others {
            let value = value.as_ref().ok_or("a value")?;
            let rows = concatenate(Axis(0), &vec![value.view(); batch]).map_err(|error| error.to_string())?;
            values.push((name.clone(), Value::from_f32_as(rows, elem(name)?).map_err(|error| error.to_string())?));
        }
        let inputs: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let outputs = session.run(&inputs).map_err(|error| error.to_string())?;
        let found = outputs.get("heatmap").ok_or("a heatmap")?.to_f32().map_err(|error| error.to_string())?;
        heat.extend((0..batch).map(|at| found.index_axis(Axis(0), at).to_owned()));
    }
    Ok(heat)
}

/// What `explain` gives of each picture; `None` where it has no such box.
fn explained(explainer: &Explainer, spec: &str, pictures: &ArrayD<f32>) -> Result<Vec<Option<ArrayD<f32>>>, String> {
    let target = target::parse(spec).map_err(|error| error.to_string())?;
    let of = |at: usize| match explainer.explain(row(pictures, at), std::slice::from_ref(&target)) {
        Ok(mut outcome) => Ok(outcome.explanations.remove(0).heatmap.map(|heat| heat.into_dyn())),
        Err(error) if error.to_string().contains("the model gives") => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    (0..pictures.len_of(Axis(0))).map(of).collect()
}

/// Checks the heat of a box in every picture; how many have heat.
fn compare(found: &[ArrayD<f32>], wanted: &[Option<ArrayD<f32>>]) -> Result<usize, String> {
    let largest = |heat: &ArrayD<f32>| heat.iter().fold(0.0f32, |most, heat| most.max(heat.abs()));
    let mut hot = 0;
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let Some(wanted) = wanted else {
            if found.iter().any(|heat| *heat != 0.0) {
                return Err(format!("picture {at}: heat of a box that isn't there"));
            }
            continue;
        };
        let most = largest(wanted);
        let is_near = found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() <= 1e-5 * most);
        if found.shape() != wanted.shape() || !is_near {
            return Err(format!("picture {at}: {found} and not {wanted}"));
        }
        hot += usize::from(most > 0.0);
    }
    Ok(hot)
}

/// What is wrong with a file.
fn faults_of(file: &str, entry: &Json) -> Result<Vec<String>, String> {
    let pictures = pictures(entry)?;
    let class = format!("box:#{}", entry["class"]);
    let subject = typed(file, entry)?;
    let mut faults = Vec::new();
    for (score, specs) in [(Score::Logit, &["box:1", "box:3", &class][..]), (Score::Probability, &["box:2", "box:100"])]
    {
        let options = options(entry, score)?;
        let (network, sidecar) = opened(file, entry)?;
        let explainer =
            Explainer::new(runtime(), network, sidecar, options.clone()).map_err(|error| error.to_string())?;
        let mut hot = 0;
        for spec in specs {
            let compared = explained(&explainer, spec, &pictures)
                .and_then(|wanted| compare(&exported(&subject, &options, spec, &pictures)?, &wanted));
            match compared {
                Ok(count) => hot += count,
                Err(error) => faults.push(format!("{file}, {score:?}, {spec}: {error}")),
            }
        }
        if hot == 0 {
            faults.push(format!("{file}, {score:?}: no heat at all"));
        }
    }
    Ok(faults)
}

#[test]
fn a_class_behind_the_background_goes_by_the_number_that_the_model_gives() {
    let entry = index(FOLDER).into_iter().find(|entry| entry["name"] == "ssd").expect("a recorded network");
    let picture = row(&pictures(&entry).expect("pictures"), 0);
    let (network, sidecar) = opened("ssd.ts.onnx", &entry).expect("a model");
    let options = options(&entry, Score::Logit).expect("options");
    let explainer = Explainer::new(runtime(), network, sidecar, options).expect("an explainer");
    // Four columns, the first of them no class: the numbers are 1, 2 and 3.
    let last = target::parse("box:#3").expect("a target");
    let found = explainer.explain(picture, std::slice::from_ref(&last)).expect("a box").explanations.remove(0);
    assert_eq!((found.target.spec.as_str(), found.target.place.index), ("box:1", Some(3)));
    let known = |spec: &str| {
        let (network, sidecar) = opened("ssd.ts.onnx", &entry).expect("a model");
        TypedModel::for_targets(runtime(), network, sidecar, &[target::parse(spec).expect("a target")]).map(|_| ())
    };
    known("box:#3").expect("there is such a class");
    let refused = known("box:#4").expect_err("there is no such class").to_string();
    assert!(refused.contains("class #4 is out of range"), "{refused}");
}

#[test]
fn boxes_of_every_format_are_chosen_in_the_graph_as_on_the_host() {
    let files: Vec<(String, Json)> = index(FOLDER)
        .into_iter()
        .flat_map(|entry| {
            let files = entry["files"].as_array().expect("a list of files").clone();
            files.into_iter().map(move |file| (file.as_str().expect("a file name").to_owned(), entry.clone()))
        })
        .collect();
    assert!(files.len() >= 60, "only {}", files.len());
    runtime();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut faults = Vec::new();
        while let Some((file, entry)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            faults.extend(faults_of(file, entry).unwrap_or_else(|error| vec![format!("{file}: {error}")]));
        }
        faults
    };
    let faults: Vec<String> = std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    assert!(faults.is_empty(), "of {} files:\n{}", files.len(), faults.join("\n"));
}
