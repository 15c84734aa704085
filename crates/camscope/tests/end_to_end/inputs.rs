//! What models are fed with, and what their classes are called: integers, 16 bits, labels, metadata, options; and files that are
//! something else.

use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use ndarray::{Array, Array4};
use onnx_grad::{
    Dim, ElemType, ValueType, attr,
    proto::{ModelProto, StringStringEntryProto},
    value_info,
};

use crate::{
    common::{Ran, Scene, cat_and_coffee, file, floats, lite, mobilenet, write_floats},
    models::{CLASSES, classifier, node, weights},
};

const NO_OPTIONS: [&str; 0] = [];

/// The classifier behind an input of that type.
fn of_type(elem: ElemType) -> ModelProto {
    let mut model = classifier(3, vec![]);
    let graph = model.graph.as_mut().expect("a graph");
    let shape = [Dim::Free, Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)];
    graph.input = vec![value_info("levels", Some(&ValueType { elem, shape: Some(shape.to_vec()) }))];
    graph.node.insert(0, node("Cast", &["levels"], "image", vec![attr::int("to", 1)]));
    model
}

/// A PNG of 8 × 8 pixels, and its grey levels as an array.
fn small_photo(scene: &Scene) -> (PathBuf, Array4<f32>) {
    let level = |x: u32, y: u32, channel: u32| (x * 29 + y * 7 + channel * 80) as u8;
    let photo = image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([0, 1, 2].map(|channel| level(x, y, channel))));
    let path = scene.path("small.png");
    photo.save(&path).expect("it is written");
    let at = |(_, c, y, x): (usize, usize, usize, usize)| f32::from(level(x as u32, y as u32, c as u32));
    (path, Array4::from_shape_fn((1, 3, 8, 8), at))
}

/// The logits of a run with `--raw raw`.
fn logits(scene: &Scene, ran: Ran, stem: &str) -> Vec<f32> {
    let ran = ran.ok_with_notes();
    assert!(ran.stdout.contains("arrays: "), "{}", ran.all());
    floats(scene.path(&format!("raw/{stem}.logits.npy"))).into_iter().collect()
}

/// Runs `explain` with arrays in place of photos.
fn explain_tensor(scene: &Scene, model: &Path, tensor: &str, options: &[&str]) -> Ran {
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--tensor", tensor]).args(options).arg(model);
    scene.ended(command.output().expect("the binary runs"))
}

#[test]
fn an_input_of_integers_gets_the_photos_grey_levels() {
    let scene = Scene::new();
    let (photo, levels) = small_photo(&scene);
    let plain = scene.model("plain.onnx", &classifier(3, vec![]));
    let expected = |name: &str, levels: &Array4<f32>| {
        write_floats(&scene.path(&format!("{name}.npy")), levels);
        logits(&scene, explain_tensor(&scene, &plain, &format!("{name}.npy"), &["--raw", "raw"]), name)
    };
    let as_they_are = expected("levels", &levels);
    let centred = expected("centred", &levels.mapv(|level| level - 128.0));
    assert!(as_they_are.iter().any(|logit| logit.abs() > 1.0), "{as_they_are:?}");
    for (elem, expected) in [
        (ElemType::Uint8, &as_they_are),
        (ElemType::Int8, &centred),
        (ElemType::Int32, &as_they_are),
        (ElemType::Uint16, &as_they_are),
    ] {
        let model = scene.model("integers.onnx", &of_type(elem));
        let ran = scene.explain(&model, &photo, ["--crop", "squash", "--raw", "raw"]);
        assert!(ran.stderr.contains("as integers"), "{}", ran.stderr);
        assert_eq!(&logits(&scene, ran, "small"), expected, "{elem:?}");
        // An array of integers goes in as it is.
        ndarray_npy::write_npy(scene.path("whole.npy"), &levels.mapv(|level| level as i64)).expect("it is written");
        if elem != ElemType::Int8 {
            let ran = explain_tensor(&scene, &model, "whole.npy", &["--raw", "raw"]);
            assert_eq!(logits(&scene, ran, "whole"), as_they_are, "{elem:?}");
        }
    }
}

#[test]
fn an_input_of_integers_has_no_gradient_and_its_layers_have() {
    let scene = Scene::new();
    let (photo, _) = small_photo(&scene);
    let model = scene.model("integers.onnx", &of_type(ElemType::Uint8));
    let options = ["--crop", "squash", "--layer", "@input", "--raw", "raw"];
    assert_snapshot!("gradient_at_integers", scene.explain(&model, &photo, options).all());
    let check = scene.run(["check".into(), model.clone().into_os_string(), photo.clone().into_os_string()]);
    assert_eq!(check.status, Some(0), "{}", check.stdout);
    assert!(check.stdout.contains("not compared: the input holds integers"), "{}", check.stdout);
}

#[test]
fn nothing_is_cast_to_integers_after_normalising() {
    let scene = Scene::new();
    let (photo, levels) = small_photo(&scene);
    let model = scene.model("integers.onnx", &of_type(ElemType::Uint8));
    assert_snapshot!("mean_for_integers", scene.explain(&model, &photo, ["--mean", "0.45", "--std", "0.22"]).all());
    write_floats(&scene.path("normalised.npy"), &levels.mapv(|level| level / 255.0));
    assert_snapshot!("floats_for_integers", explain_tensor(&scene, &model, "normalised.npy", &[]).all());
    write_floats(&scene.path("large.npy"), &levels.mapv(|level| level * 2.0));
    assert_snapshot!("too_large_for_integers", explain_tensor(&scene, &model, "large.npy", &[]).all());
    scene.write("integers.toml", "[input]\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\nrange = [0, 1]\n");
    assert_snapshot!("sidecar_for_integers", scene.explain(&model, &photo, NO_OPTIONS).all());
}

#[test]
fn a_photo_of_12_bits_in_16_keeps_its_levels() {
    let scene = Scene::new();
    let photo = scene.copy(&file("tests/fixtures/cases/grey12in16.png"), "xray.png");
    let run = |options: &[&str], raw: &str| {
        let all = [options, &["--json", "--raw", raw, "--layer", "@input", "-o", raw]].concat();
        let ran = scene.explain(mobilenet(), &photo, all).ok_with_notes();
        (floats(scene.path(&format!("{raw}/xray.activations.npy"))), ran.stderr)
    };
    let (dark, notes) = run(&["--mean", "0", "--std", "1"], "dark");
    assert!(notes.contains("xray.png: its 16-bit values go up to 4095 only"), "{notes}");
    let (bright, notes) = run(&["--mean", "0", "--std", "1", "--white", "4095"], "bright");
    assert!(!notes.contains("16-bit"), "{notes}");
    let largest = |input: &ndarray::ArrayD<f32>| input.iter().copied().fold(0.0, f32::max);
    assert!(largest(&dark) < 0.0626 && largest(&bright) > 0.9, "{} {}", largest(&dark), largest(&bright));
    // The same picture, sixteen times as bright, level for level.
    for (dark, bright) in dark.iter().zip(&bright) {
        assert!((dark * 65535.0 / 4095.0 - bright).abs() < 1e-5, "{dark} {bright}");
    }
}

/// The classifier with these labels beside it.
fn labelled(scene: &Scene, labels: &str) -> PathBuf {
    scene.write("labelled.toml", format!("[output]\nlabels = {labels}\n"));
    scene.model("labelled.onnx", &classifier(3, vec![]))
}

#[test]
fn labels_that_are_numbers() {
    let scene = Scene::new();
    let explain = |labels: &str, class: &str| {
        scene.explain(labelled(&scene, labels), cat_and_coffee(), ["--json", "--class", class])
    };
    let class = |ran: &Ran| ran.json()[0]["class"].as_u64();
    let angles = "[\"0\", \"90\", \"180\", \"270\"]";
    let ran = explain(angles, "90");
    assert_eq!(class(&ran), Some(1), "{}", ran.all());
    assert_eq!(
        ran.stderr,
        "note: `--class 90` is the class that is called `90`, class 1; `--class '#90'` is class 90\n"
    );
    let stars = "[\"1\", \"2\", \"3\", \"4\"]";
    assert_eq!(class(&explain(stars, "1")), Some(0));
    let ran = explain(stars, "#1").ok();
    assert_eq!(class(&ran), Some(1));
    let ran = explain("[\"a\", \"b\", \"c\", \"d\"]", "3").ok();
    assert_eq!(class(&ran), Some(3));
}

#[test]
fn another_number_of_labels_than_scores_is_said() {
    let scene = Scene::new();
    let model = labelled(&scene, "[\"cat\", \"dog\", \"cow\"]");
    let ran = scene.explain(&model, cat_and_coffee(), NO_OPTIONS).ok_with_notes();
    assert_snapshot!("one_label_too_few", ran.stderr);
    let ran = scene.run(["check".as_ref(), model.as_os_str()]);
    assert!(
        ran.stdout.contains("noted   labels         the model has 4 scores and there are 3 labels"),
        "{}",
        ran.all()
    );
}

/// The classifier with open height and width, and with metadata of its own.
fn with_metadata(metadata: &[(&str, &str)]) -> ModelProto {
    let mut model = classifier(3, vec![]);
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: (*key).into(), value: (*value).into() };
    model.metadata_props = metadata.iter().map(entry).collect();
    let input = &mut model.graph.as_mut().expect("a graph").input;
    *input = vec![crate::models::float("image", &[0, 3, 0, 0])];
    model
}

#[test]
fn what_the_file_itself_says_is_used_and_said() {
    let scene = Scene::new();
    let metadata = [
        ("names", "{0: 'cat', 1: 'dog', 2: 'it\\'s a cow', 3: 'hen'}"),
        ("imgsz", "[64, 96]"),
        ("stride", "32"),
        ("task", "classify"),
    ];
    let model = scene.model("own.onnx", &with_metadata(&metadata));
    let ran = scene.run(["layers".as_ref(), model.as_os_str()]).ok_with_notes();
    assert_snapshot!("layers_of_a_model_with_metadata", ran.all());
    let ran = scene.run(["check".as_ref(), model.as_os_str()]);
    let rows: Vec<&str> =
        ran.stdout.lines().filter(|line| line.contains("preprocessing") || line.contains("labels")).collect();
    assert_snapshot!("check_of_a_model_with_metadata", rows.join("\n"));
    let ran = scene.explain(&model, cat_and_coffee(), ["--class", "it's a cow", "--json"]).ok_with_notes();
    assert_eq!(ran.json()[0]["heatmap_shape"], serde_json::json!([64, 96]));
    assert_eq!(ran.json()[0]["label"], "it's a cow");
    assert_snapshot!("size_off_the_stride", scene.explain(&model, cat_and_coffee(), ["--size", "100"]).all());
    let characters = scene.model("text.onnx", &with_metadata(&[("character", "a\nb"), ("imgsz", "large")]));
    let ran = scene.explain(&characters, cat_and_coffee(), ["--class", "b", "--json"]).ok_with_notes();
    assert_eq!(ran.json()[0]["class"], 2);
    assert!(ran.stderr.contains("note: the model's metadata has a `imgsz` that is not understood"), "{}", ran.stderr);
}

#[test]
fn options_replace_the_files_beside_a_model() {
    let scene = Scene::new();
    let model = scene.model("open.onnx", &with_metadata(&[]));
    scene.write("elsewhere.toml", "[input]\nsize = 48\nmean = [0.5, 0.5, 0.5]\n[explain]\nmethod = \"hirescam\"\n");
    scene.write("names.txt", "cat\ndog\ncow\nhen\n");
    let options = ["--sidecar", "elsewhere.toml", "--labels", "names.txt", "--class", "hen", "--json"];
    let line = &scene.explain(&model, cat_and_coffee(), options).ok().json()[0];
    assert_eq!((&line["heatmap_shape"], &line["method"]), (&serde_json::json!([48, 48]), &"hirescam".into()));
    assert_eq!(line["class"], 3);
    let ran = scene.explain(&model, cat_and_coffee(), ["--size", "40x56", "--bgr", "--crop", "letterbox", "--json"]);
    let ran = ran.ok_with_notes();
    assert_eq!(ran.json()[0]["heatmap_shape"], serde_json::json!([40, 56]));
    assert_snapshot!("options_are_said", ran.stderr);
    let ran = scene.run(["check", "open.onnx", "--size", "32", "--mean", "0", "--std", "1", "--range", "-1,1"]);
    assert!(ran.stdout.contains("32 × 32 pixels (central 87.5 %), RGB from -1 to 1, no mean, no std"), "{}", ran.all());
    // `--bgr` is another order of channels than RGB, not just another word.
    let gradient = |options: &[&str], folder: &str| {
        let all = [options, &["--raw", folder, "--layer", "@input", "--crop", "squash", "--size", "16"]].concat();
        scene.explain(&model, cat_and_coffee(), all).ok_with_notes();
        floats(scene.path(&format!("{folder}/cat_and_coffee.activations.npy")))
    };
    let (rgb, bgr) =
        (gradient(&["--mean", "0", "--std", "1"], "rgb"), gradient(&["--mean", "0", "--std", "1", "--bgr"], "bgr"));
    assert_ne!(rgb, bgr);
    for channel in 0..3 {
        let of = |array: &ndarray::ArrayD<f32>, channel| array.index_axis(ndarray::Axis(1), channel).to_owned();
        assert_eq!(of(&rgb, channel), of(&bgr, 2 - channel));
    }
}

#[test]
fn options_that_cannot_be() {
    let scene = Scene::new();
    let with = |options: &[&str]| scene.explain(lite(), cat_and_coffee(), options).all();
    assert_snapshot!("size_of_a_fixed_model", with(&["--size", "96"]));
    let open = scene.model("open.onnx", &with_metadata(&[]));
    let with = |options: &[&str]| scene.explain(&open, cat_and_coffee(), options).all();
    assert_snapshot!("mean_of_another_range", with(&["--mean", "123.7,116.3,103.5", "--std", "58.4,57.1,57.4"]));
    assert_snapshot!("mean_of_two_channels", with(&["--mean", "0.5,0.5"]));
    assert_snapshot!("range_of_one_number", with(&["--range", "255"]));
    assert_snapshot!("crop_that_is_none", with(&["--crop", "centre"]));
    assert_snapshot!("no_such_sidecar", with(&["--sidecar", "none.toml"]));
    assert_snapshot!("no_such_labels", with(&["--labels", "none.txt"]));
    let grey = scene.model("grey.onnx", &classifier(1, vec![]));
    assert_snapshot!("bgr_of_grey", scene.explain(grey, cat_and_coffee(), ["--bgr"]).all());
}

#[test]
fn files_that_are_something_else_are_named() {
    let scene = Scene::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n\
                   size 13370\n";
    let photo = |name: &str, content: &[u8]| scene.explain(lite(), scene.write(name, content), NO_OPTIONS).all();
    assert_snapshot!("lfs_pointer_as_image", photo("photo.jpg", pointer.as_bytes()));
    let model = scene.write("model.onnx", pointer);
    assert_snapshot!("lfs_pointer_as_model", scene.explain(model, cat_and_coffee(), NO_OPTIONS).all());
    scene.write("labels.txt", pointer);
    assert_snapshot!(
        "lfs_pointer_as_labels",
        scene.explain(lite(), cat_and_coffee(), ["--labels", "labels.txt"]).all()
    );
    let dicom = [&[0; 128], &b"DICM\x02\0\0\0UL\x04\0"[..]].concat();
    assert_snapshot!("dicom_as_image", photo("scan.dcm", &dicom));
    let model = scene.write("scan.onnx", &dicom);
    assert_snapshot!("dicom_as_model", scene.explain(model, cat_and_coffee(), NO_OPTIONS).all());
    assert_snapshot!("avif_as_image", photo("photo.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"));
    assert_snapshot!("heic_as_image", photo("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"));
    assert_snapshot!("jpeg_xl_as_image", photo("photo.jxl", b"\xff\x0a\xfa\x1f"));
    assert_snapshot!("jpeg_2000_as_image", photo("photo.jp2", b"\0\0\0\x0cjP  \r\n\x87\n"));
    let case = |name: &str| file("tests/fixtures/cases").join(name);
    assert_snapshot!("six_bands", scene.explain(lite(), case("six_bands.tiff"), NO_OPTIONS).all());
    let pages = scene.explain(lite(), case("five_pages.tiff"), ["--json"]).ok_with_notes();
    assert!(pages.stderr.ends_with("five_pages.tiff: it has 5 pages: the first is taken\n"), "{}", pages.stderr);
}

#[test]
fn scores_that_are_not_finite_are_an_error() {
    let scene = Scene::new();
    let nan = file("tests/fixtures/cases/nan.onnx");
    assert_snapshot!("scores_are_infinite", scene.explain(&nan, cat_and_coffee(), ["--json"]).all());
    let ran = scene.run(["check".as_ref(), nan.as_os_str()]);
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    assert!(ran.stdout.contains("FAILED  forward"), "{}", ran.all());
    // Found where it begins: in a weight, behind an operator, or in the input itself.
    let mut broken = classifier(3, vec![]);
    let mut values = weights("kernel", &[5, 3, 3, 3]).to_floats().expect("floats");
    values[40] = f64::NAN;
    broken.graph.as_mut().expect("a graph").initializer[0] =
        onnx_grad::proto::TensorProto::floats("kernel", ElemType::Float, &[5, 3, 3, 3], &values);
    let weight = scene.model("weight.onnx", &broken);
    assert_snapshot!("weight_is_nan", scene.explain(weight, cat_and_coffee(), NO_OPTIONS).all());
    let log =
        classifier(3, vec![node("Neg", &["relu"], "negative", vec![]), node("Log", &["negative"], "last", vec![])]);
    assert_snapshot!(
        "logarithm_is_nan",
        scene.explain(scene.model("log.onnx", &log), cat_and_coffee(), NO_OPTIONS).all()
    );
    let plain = scene.model("plain.onnx", &classifier(3, vec![]));
    let mut input = Array::zeros((1, 3, 8, 8));
    input[[0, 1, 2, 3]] = f32::NAN;
    write_floats(&scene.path("nan.npy"), &input);
    assert_snapshot!("input_is_nan", explain_tensor(&scene, &plain, "nan.npy", &[]).all());
    // The good one of two photos goes on.
    let mut command = scene.command();
    write_floats(&scene.path("good.npy"), &Array::ones((1, 3, 8, 8)));
    command.args(["explain", "--ep", "cpu", "--json", "--tensor", "nan.npy", "--tensor", "good.npy"]).arg(&plain);
    let ran = scene.ended(command.output().expect("the binary runs"));
    assert_eq!((ran.status, ran.json().len()), (Some(1), 1), "{}", ran.all());
}

#[test]
fn a_class_that_the_model_rules_out_is_no_error() {
    // Class 2 is −∞ for every photo: a probability of 0, and answers for all others.
    let mut model = classifier(3, vec![]);
    let graph = model.graph.as_mut().expect("a graph");
    graph.node.push(node("Add", &["logits", "mask"], "masked", vec![]));
    let mask = [0.0, 0.0, f64::NEG_INFINITY, 0.0];
    graph.initializer.push(onnx_grad::proto::TensorProto::floats("mask", ElemType::Float, &[1, CLASSES], &mask));
    graph.output = vec![crate::models::float("masked", &[0, CLASSES as usize])];
    let scene = Scene::new();
    let model = scene.model("masked.onnx", &model);
    let ran = scene.explain(model, cat_and_coffee(), ["--json"]).ok_with_notes();
    assert!(ran.json()[0]["probability"].as_f64().is_some_and(|p| p > 0.0), "{}", ran.stdout);
}

#[test]
fn a_scaled_softmax_gets_no_second_one() {
    let scene = Scene::new();
    let ended_by = |nodes: &[(&str, &[&str], &str)]| {
        let mut model = classifier(3, vec![]);
        let graph = model.graph.as_mut().expect("a graph");
        graph.node.extend(nodes.iter().map(|(op, inputs, output)| node(op, inputs, output, vec![])));
        let hundred = onnx_grad::proto::TensorProto::floats("hundred", ElemType::Float, &[], &[100.0]);
        graph.initializer.push(hundred);
        graph.output = vec![crate::models::float(nodes.last().expect("a node").2, &[0, CLASSES as usize])];
        let path = scene.model("ends.onnx", &model);
        let ran = scene.explain(path, cat_and_coffee(), ["--json"]).ok_with_notes();
        let line = &ran.json()[0];
        (line["class"].clone(), line["probability"].clone(), line["logit"].clone())
    };
    let softmax = ended_by(&[("Softmax", &["logits"], "p")]);
    assert!(softmax.1.as_f64().is_some_and(|p| p > 0.3), "{softmax:?}");
    assert_eq!(ended_by(&[("Softmax", &["logits"], "p"), ("Mul", &["p", "hundred"], "percent")]), softmax);
}

#[test]
fn a_reader_of_text_that_reads_nothing_is_no_failure() {
    let scene = Scene::new();
    let bytes = std::fs::read(file("tests/fixtures/tasks/dense/text.ts.onnx")).expect("a fixture");
    let mut model: ModelProto = prost::Message::decode(bytes.as_slice()).expect("a model");
    let graph = model.graph.as_mut().expect("a graph");
    let bias = graph.initializer.iter_mut().find(|tensor| tensor.name == "head.bias").expect("a bias");
    let mut values = bias.to_floats().expect("floats");
    // The blank, which is likeliest everywhere then.
    values[0] += 100.0;
    let dims = bias.dims.clone();
    *bias = onnx_grad::proto::TensorProto::floats("head.bias", ElemType::Float, &dims, &values);
    let model = scene.model("mute.onnx", &model);
    let ran = scene.run(["check".as_ref(), model.as_os_str()]).ok();
    assert!(
        ran.stdout.contains("noted   gradient       not compared: the model reads no character here"),
        "{}",
        ran.all()
    );
    // Asked for, it is.
    let ran = scene.run(["check".as_ref(), model.as_os_str(), "--target".as_ref(), "text:1".as_ref()]);
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    assert!(ran.stdout.contains("FAILED  gradient       cannot explain `text:1`"), "{}", ran.all());
}
