//! Detectors of many formats: boxes against NumPy's decoding, and gradients of a box's score against PyTorch's autograd, both exporters.

use camscope_core::{
    explain::{Explainer, Explanation, Options},
    layer::Choice,
    model::{Given, Network, Sidecar, resolve_given},
    runtime::{Provider, ProviderChoice, SessionOptions},
    subject::TypedModel,
    target::{self, Score},
};
use camscope_tests::{
    fixture,
    recording::{Recording, index},
    relative_error, runtime,
};
use ndarray::{ArrayD, IxDyn};
use serde_json::Value;

const FOLDER: &str = "tasks/detection";

fn opened(file: &str, entry: &Value) -> Result<(Network, Sidecar), String> {
    let mut network = Network::open(&fixture(FOLDER).join(file)).map_err(|error| error.to_string())?;
    for (name, rows) in entry["feeds"].as_object().ok_or("feeds")? {
        let numbers: Vec<f32> =
            rows[0].as_array().ok_or("a row")?.iter().filter_map(Value::as_f64).map(|n| n as f32).collect();
        let value = ArrayD::from_shape_vec(IxDyn(&[1, numbers.len()]), numbers).map_err(|error| error.to_string())?;
        // An exporter may leave out an input that nothing reads.
        if network.others().any(|input| input.name == *name) {
            network.feed(name, value, None).map_err(|error| error.to_string())?;
        }
    }
    let sidecar = resolve_given(&network, &Given { size: Some((64, 64)), ..Given::default() });
    Ok((network, sidecar.map_err(|error| error.to_string())?))
}

fn close(what: &str, found: &ArrayD<f32>, expected: &ArrayD<f32>) -> Result<(), String> {
    if found.shape() != expected.shape() {
        return Err(format!("{what} has shape {:?}, not {:?}", found.shape(), expected.shape()));
    }
    let error = relative_error(found, expected);
    // Written so that NaN fails.
    if error <= 1e-4 { Ok(()) } else { Err(format!("{what} is off by {error:.2e}")) }
}

/// A batch of one, of a picture without a batch.
fn batched(array: ArrayD<f32>) -> ArrayD<f32> {
    if array.ndim() == 3 { array.insert_axis(ndarray::Axis(0)) } else { array }
}

fn check(entry: &Value, file: &str, score: Score, what: &str) -> Result<(), String> {
    let text = |key: &str| entry[key].as_str().ok_or(format!("{key} of {file}"));
    let mut recorded = Recording::open(&fixture(FOLDER).join(format!("{}.npz", text("name")?)));
    let (network, sidecar) = opened(file, entry)?;
    let is_float = network.input().elem.is_float();
    let layers: Vec<Choice> = [text("module")?]
        .into_iter()
        .chain(is_float.then_some("@input"))
        .map(|layer| layer.parse().expect("any text is a choice"))
        .collect();
    let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
    let options = Options { layers, score, session, ..Default::default() };
    let explainer = Explainer::new(runtime(), network, sidecar, options).map_err(|error| error.to_string())?;
    let format = explainer.network().task.as_ref().and_then(|found| found.task.format());
    if format != Some(text("format")?) {
        return Err(format!("recognised as {format:?}, not {}", entry["format"]));
    }
    let target = target::parse("box:1").map_err(|error| error.to_string())?;
    let input = batched(recorded.floats("input"));
    let outcome = explainer.explain(input, &[target]).map_err(|error| error.to_string())?;
    let [at_layer, rest @ ..] = outcome.explanations.as_slice() else { return Err("no explanation".into()) };
    let found = &at_layer.target;
    let expected = entry["scores"][what].as_f64().ok_or("a score")?;
    if (f64::from(found.score) - expected).abs() > 1e-4 * expected.abs().max(1.0) {
        return Err(format!("the score is {}, not {expected}", found.score));
    }
    if found.place.index != entry["class"].as_u64().map(|class| class as usize) {
        return Err(format!("the class is {:?}, not {}", found.place.index, entry["class"]));
    }
    let corners = found.place.corners.ok_or("corners")?;
    let wanted = recorded.floats("corners");
    if corners.iter().zip(&wanted).any(|(found, wanted)| (found - f64::from(*wanted)).abs() > 0.01) {
        return Err(format!("the box is {corners:?}, not {wanted}"));
    }
    let gradient = |of: &Explanation| {
        let held = of.gradient.as_ref().ok_or("no gradient")?;
        explainer.read(held).map_err(|error| error.to_string())
    };
    close("the layer's gradient", &gradient(at_layer)?, &recorded.floats(&format!("{what}_layer")))?;
    match rest {
        [at_input] => {
            close("the input's gradient", &gradient(at_input)?, &batched(recorded.floats(&format!("{what}_input"))))
        }
        _ if is_float => Err("no explanation at the input".into()),
        _ => Ok(()),
    }
}

#[test]
fn boxes_and_their_gradients_equal_pytorchs_for_every_format_and_exporter() {
    let (mut failures, mut checked) = (Vec::new(), 0);
    for entry in index(FOLDER) {
        for file in entry["files"].as_array().expect("a list of files") {
            let file = file.as_str().expect("a file name");
            for (score, what) in [(Score::Logit, "given"), (Score::Probability, "probability")] {
                checked += 1;
                if let Err(error) = check(&entry, file, score, what) {
                    failures.push(format!("{file}, {what}: {error}"));
                }
            }
        }
    }
    assert!(checked >= 100, "only {checked}");
    assert!(failures.is_empty(), "{} of {checked} fail:\n{}", failures.len(), failures.join("\n"));
}

/// As it is recognised with that table `[task]` in a sidecar.
fn recognised(file: &str, entry: &Value, table: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let toml = folder.path().join("model.toml");
    std::fs::write(&toml, table).map_err(|error| error.to_string())?;
    let (network, _) = opened(file, entry)?;
    let given = Given { sidecar: Some(toml), size: Some((64, 64)), ..Given::default() };
    let sidecar = resolve_given(&network, &given).map_err(|error| error.to_string())?;
    let subject = TypedModel::new(runtime(), network, sidecar).map_err(|error| error.to_string())?;
    let found = subject.network().task.as_ref();
    Ok(found.map_or_else(|| "nothing".into(), |found| found.describe()))
}

fn entry(name: &str) -> Value {
    index(FOLDER).into_iter().find(|entry| entry["name"] == name).expect("a recorded network")
}

#[test]
fn a_sidecar_says_what_a_head_is() {
    let detr = entry("detr");
    let with = |table: &str| recognised("detr.ts.onnx", &detr, &format!("[task]\n{table}"));
    assert!(with("").unwrap().starts_with("detection (detr), by its outputs' names"));
    let said = with("kind = \"detection\"\nformat = \"rtdetr\"").unwrap();
    assert_eq!(said, "detection (rtdetr), by [task] in the sidecar");
    let wrong = with("kind = \"detection\"\nformat = \"scrfd\"").unwrap_err();
    assert!(wrong.contains("scrfd") && wrong.contains("pred_boxes"), "{wrong}");
    let mistyped = with("format = \"retina-face\"").unwrap_err();
    assert!(mistyped.contains("retinaface"), "{mistyped}");
}

#[test]
fn labels_tell_whether_the_last_column_is_no_object() {
    let detr = entry("detr");
    let with = |labels: &str| recognised("detr.ts.onnx", &detr, &format!("[output]\nlabels = {labels}")).unwrap();
    let four = with(r#"["a", "b", "c", "d"]"#);
    assert!(four.contains("(detr)") && four.contains("the last is no object"), "{four}");
    assert!(with(r#"["a", "b", "c", "d", "e"]"#).contains("(rtdetr)"));
}

/// The decoded box 1 of a recorded network, with that table `[task]` in a sidecar.
fn first_box(name: &str, file: &std::path::Path, table: &str) -> Result<[f64; 4], String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let toml = folder.path().join("model.toml");
    std::fs::write(&toml, table).map_err(|error| error.to_string())?;
    if let Some(parent) = file.parent() {
        let priors = parent.join("priors.npy");
        if priors.is_file() {
            std::fs::copy(&priors, folder.path().join("priors.npy")).map_err(|error| error.to_string())?;
        }
    }
    let network = Network::open(file).map_err(|error| error.to_string())?;
    let given = Given { sidecar: Some(toml), size: Some((64, 64)), ..Given::default() };
    let sidecar = resolve_given(&network, &given).map_err(|error| error.to_string())?;
    let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
    let layers = vec!["@input".parse().expect("any text is a choice")];
    let options = Options { layers, session, ..Default::default() };
    let explainer = Explainer::new(runtime(), network, sidecar, options).map_err(|error| error.to_string())?;
    let mut recorded = Recording::open(&fixture(FOLDER).join(format!("{name}.npz")));
    let target = target::parse("box:1").map_err(|error| error.to_string())?;
    let outcome = explainer.explain(recorded.floats("input"), &[target]).map_err(|error| error.to_string())?;
    outcome.explanations[0].target.place.corners.ok_or_else(|| "no corners".into())
}

#[test]
fn priors_that_the_file_does_not_name_are_asked_for_and_read_from_the_sidecars_file() {
    let mut recorded = Recording::open(&fixture(FOLDER).join("ssd_priors.npz"));
    let wanted = recorded.floats("corners");
    // The same network without its output of priors.
    let path = fixture(FOLDER).join("ssd_priors.ts.onnx");
    let network = Network::open(&path).expect("the network");
    let mut graph = network.model.graph().clone();
    graph.output.retain(|output| output.name != "priors");
    let constant = graph.initializer.iter().find(|tensor| tensor.dims == [1, 160, 4]).expect("the priors");
    let (own, numbers) = (constant.name.clone(), constant.to_floats().expect("floats"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("m.onnx");
    network.model.with_graph(graph).write(&file).expect("written");
    let error = first_box("ssd_priors", &file, "").unwrap_err();
    for part in ["160 priors", "[task]", "priors = \"FILE.npy\"", "`locations`"] {
        assert!(error.contains(part), "{error}");
    }
    let priors: Vec<f32> = numbers.iter().map(|number| *number as f32).collect();
    let priors = ndarray::Array2::from_shape_vec((160, 4), priors).expect("priors");
    ndarray_npy::write_npy(folder.path().join("priors.npy"), &priors).expect("written");
    for priors in ["priors.npy", &own] {
        let corners = first_box("ssd_priors", &file, &format!("[task]\npriors = \"{priors}\"")).unwrap();
        for (found, wanted) in corners.iter().zip(&wanted) {
            assert!((found - f64::from(*wanted)).abs() < 0.01, "{corners:?}, not {wanted}");
        }
    }
    assert!(first_box("ssd_priors", &file, "[task]\npriors = \"absent.npy\"").unwrap_err().contains("priors"));
}

#[test]
fn boxes_of_a_table_without_images_are_not_taken_for_a_detectors() {
    // n rows, each with four numbers and two scores: the first axis is the batch.
    let path = fixture("cases").join("boxes_first.onnx");
    let network = Network::open(&path).expect("the network");
    let sidecar = resolve_given(&network, &Given::default()).expect("a sidecar");
    let subject = TypedModel::new(runtime(), network, sidecar).expect("typed");
    let found = subject.network().task.as_ref().expect("a task").describe();
    assert!(found.starts_with("classification") && found.contains("`scores`"), "{found}");
    let note = subject.network().choice_note().expect("a note");
    assert!(note.contains("`boxes`"), "{note}");
}

#[test]
fn scores_may_be_a_value_inside_of_the_model() {
    let path = fixture(FOLDER).join("ssd.ts.onnx");
    let network = Network::open(&path).expect("the network");
    let softmax = network.model.graph().node.iter().find(|node| node.op_type == "Softmax").expect("a softmax");
    let logits = softmax.input[0].clone();
    let folder = tempfile::tempdir().expect("a folder");
    let toml = folder.path().join("model.toml");
    std::fs::write(&toml, format!("[task]\nscores = \"{logits}\"")).expect("written");
    let given = Given { sidecar: Some(toml), size: Some((64, 64)), ..Given::default() };
    let sidecar = resolve_given(&network, &given).expect("a sidecar");
    let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
    let layers = vec!["@input".parse().expect("any text is a choice")];
    let options = Options { layers, score: Score::Probability, session, ..Default::default() };
    let explainer = Explainer::new(runtime(), network, sidecar, options).expect("an explainer");
    let mut recorded = Recording::open(&fixture(FOLDER).join("ssd.npz"));
    let target = target::parse("box:1").expect("a target");
    let outcome = explainer.explain(recorded.floats("input"), &[target]).expect("an outcome");
    // The same box, its probability by softmax here and there.
    let found = &outcome.explanations[0];
    let expected = entry("ssd")["scores"]["probability"].as_f64().expect("a score");
    assert!((f64::from(found.target.score) - expected).abs() < 1e-5, "{} {expected}", found.target.score);
    let gradient = explainer.read(found.gradient.as_ref().expect("a gradient")).expect("read");
    close("the input's gradient", &gradient, &recorded.floats("probability_input")).unwrap();
}

/// Of the small cases.
const DETECTORS: [&str; 6] =
    ["corners_of_cells", "masks_behind_classes", "of_unit_size", "pose_turned", "queries", "unsuppressed"];

#[test]
fn boxes_by_corners_and_as_shares_of_the_picture_are_read_as_they_are() {
    for (name, corners) in [("corners_of_cells", [3.0, 5.0, 20.0, 9.0]), ("of_unit_size", [4.0, 8.0, 12.0, 24.0])] {
        let network = Network::open(&fixture("cases").join(name).with_extension("onnx")).expect("the network");
        let sidecar = resolve_given(&network, &Given::default()).expect("a sidecar");
        let subject = TypedModel::new(runtime(), network, sidecar).expect("typed");
        let mut table = ndarray::ArrayD::from_elem(vec![1, 10, 21], 0.5);
        for (row, side) in
            [[3.0, 5.0, 20.0, 9.0], [0.25, 0.5, 0.25, 0.5]][usize::from(name == "of_unit_size")].iter().enumerate()
        {
            table.index_axis_mut(ndarray::Axis(1), row).fill(*side);
        }
        let found = subject.network().detector().expect("a detector").boxes(&|_| Ok(table.clone())).expect("boxes");
        assert_eq!((found.len(), found[7].corners), (21, corners), "{name}");
    }
}

#[test]
fn what_is_no_detector_is_not_taken_for_one() {
    let mut checked = 0;
    for file in std::fs::read_dir(fixture("cases")).expect("the folder") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let Ok(network) = Network::open(&path) else { continue };
        let Ok(sidecar) = resolve_given(&network, &Given::default()) else { continue };
        let Ok(subject) = TypedModel::new(runtime(), network, sidecar) else { continue };
        let found = subject.network().task.as_ref();
        let is_one = path.file_stem().is_some_and(|stem| DETECTORS.iter().any(|one| stem == *one));
        assert_eq!(found.is_some_and(|found| found.task.detector().is_some()), is_one, "{}: {found:?}", path.display());
        checked += 1;
    }
    assert!(checked >= 8, "only {checked}");
}

#[test]
fn several_images_at_once_have_each_their_own_boxes() {
    for name in ["detr", "ssd", "picodet", "centernet"] {
        let entry = entry(name);
        let (network, sidecar) = opened(&format!("{name}.ts.onnx"), &entry).expect("the network");
        let layers = vec!["@input".parse().expect("any text is a choice")];
        let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
        let options = Options { layers, session, batch: 2, ..Default::default() };
        let explainer = Explainer::new(runtime(), network, sidecar, options).expect("an explainer");
        assert_eq!(explainer.batch(), 2, "{name}");
        let own = Recording::open(&fixture(FOLDER).join(format!("{name}.npz"))).floats("input");
        let mut other = own.clone();
        other.invert_axis(ndarray::Axis(3));
        let other = other.as_standard_layout().to_owned();
        let target = [target::parse("box:1").expect("a target")];
        let together = explainer.explain_all(&[own.view(), other.view()], &target).expect("outcomes");
        let corners = |of: &Explanation| of.target.place.corners.expect("corners");
        for (image, together) in [own, other].into_iter().zip(&together) {
            let alone = explainer.explain(image, &target).expect("an outcome");
            let (alone, together) = (&alone.explanations[0], &together.explanations[0]);
            let apart = corners(alone).iter().zip(corners(together)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-3, "{name}: {:?} {:?}", corners(alone), corners(together));
            let read = |of: &Explanation| explainer.read(of.gradient.as_ref().expect("a gradient")).expect("read");
            close(name, &read(together), &read(alone)).unwrap();
        }
        assert_ne!(corners(&together[0].explanations[0]), corners(&together[1].explanations[0]), "{name}");
    }
}

#[test]
fn a_two_stage_detector_tells_that_its_regions_are_taken_as_given_and_auto_takes_layers_with_a_gradient() {
    for (name, is_told) in [("faster_rcnn", true), ("retinanet", false)] {
        let entry = entry(name);
        let (network, sidecar) = opened(&format!("{name}.ts.onnx"), &entry).expect("the network");
        let session = SessionOptions { provider: ProviderChoice::Named(Provider::Cpu), ..Default::default() };
        let explainer = Explainer::new(runtime(), network, sidecar, Options { session, ..Default::default() });
        let explainer = explainer.expect("an explainer");
        let note = explainer.stopped_note();
        assert_eq!(note.as_ref().is_some_and(|note| note.contains("2 nodes pool (RoiAlign)")), is_told, "{note:?}");
        let mut recorded = Recording::open(&fixture(FOLDER).join(format!("{name}.npz")));
        let target = target::parse("box:1").expect("a target");
        let outcome = explainer.explain(recorded.floats("input"), &[target]).expect("an outcome");
        for tap in outcome.explanations.iter().flat_map(|found| &found.fused) {
            let gradient = explainer.read(tap.gradient.as_ref().expect("a gradient")).expect("read");
            assert!(gradient.shape()[0] == 1 && gradient.iter().all(|slope| slope.is_finite()), "{name}");
        }
        let gradient = outcome.explanations[0].gradient.as_ref().expect("a gradient");
        assert!(explainer.read(gradient).expect("read").iter().any(|slope| *slope != 0.0), "{name}");
    }
}
