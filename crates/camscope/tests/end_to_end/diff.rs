//! `camscope diff`: two models on the same photos.

use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use onnx_grad::{
    ElemType, attr,
    proto::{ModelProto, TensorProto},
};
use prost::Message;
use serde_json::Value;

use crate::{
    common::{Ran, Scene, cat_and_coffee, file, floats, lite, mobilenet},
    models::{self, classifier, float, node, weights},
};

fn resnet() -> PathBuf {
    file("tests/fixtures/classifiers/resnet18.ts.onnx")
}

fn quantised(name: &str) -> PathBuf {
    file(&format!("tests/fixtures/quantised/{name}.onnx"))
}

fn diff(scene: &Scene, a: &Path, b: &Path, options: &[&str]) -> Ran {
    diff_of(scene, a, b, &[&cat_and_coffee()], options)
}

fn diff_of(scene: &Scene, a: &Path, b: &Path, photos: &[&Path], options: &[&str]) -> Ran {
    let mut command = scene.command();
    command.args(["diff", "--ep", "cpu"]).args([a, b]).args(photos).args(options);
    scene.ended(command.output().expect("the binary runs"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// The layers of `--drift` with their errors.
fn errors(line: &Value) -> Vec<(&str, f64)> {
    let layers = line["drift"]["layers"].as_array().expect("layers");
    layers.iter().map(|layer| (layer["layer"].as_str().expect("a name"), number(&layer["error"]))).collect()
}

#[test]
fn a_model_is_like_itself() {
    let scene = Scene::new();
    let ran = diff(&scene, &mobilenet(), &mobilenet(), &["--json", "--drift", "--fail-below", "0.999999"]);
    let lines = ran.ok_with_notes().json();
    let [line] = lines.as_slice() else { panic!("{} lines", lines.len()) };
    assert!((number(&line["cosine"]) - 1.0).abs() < 1e-9 && (number(&line["rank"]) - 1.0).abs() < 1e-9, "{line}");
    assert_eq!((&line["same_answer"], &line["matched"]), (&true.into(), &"name".into()));
    assert_eq!(line["a"]["class"], line["b"]["class"]);
    assert!(number(&line["difference"]["mean"]) == 0.0 && number(&line["shared"]) > 0.5, "{line}");
    assert!(errors(line).iter().all(|(_, error)| *error == 0.0) && errors(line).len() > 50);
    assert!(line["drift"]["first"].is_null());
}

#[test]
fn integers_are_compared_with_the_floats_that_they_were() {
    let scene = Scene::new();
    // Where QDQ's tools fold the last activation into the sum before it, they give it the activation's name; QOperator's keep the sum's.
    let forms = [
        ("qdq", "/layer4/layer4.1/relu_1/Relu_output_0", "name"),
        ("qoperator", "/layer4/layer4.1/Add_output_0", "folded"),
    ];
    for (form, layer, by) in forms {
        let b = quantised(&format!("resnet18.{form}"));
        let lines = diff(&scene, &resnet(), &b, &["--json", "--drift"]).ok_with_notes().json();
        let line = &lines[0];
        assert_eq!(line["a"]["layer"], "/layer4/layer4.1/relu_1/Relu_output_0", "{form}");
        assert_eq!((&line["b"]["layer"], &line["matched"]), (&layer.into(), &by.into()), "{form}");
        assert_eq!(line["a"]["class"], line["b"]["class"]);
        assert!(number(&line["cosine"]) > 0.9, "{form}: {}", line["cosine"]);
        // Were activations compared with what comes before them, half of the numbers would be others.
        let errors = errors(line);
        assert!(errors.len() > 20, "{form}: {errors:?}");
        assert!(errors.iter().all(|(_, error)| *error < 0.2), "{form}: {errors:?}");
    }
}

#[test]
fn another_export_is_the_same_model() {
    let scene = Scene::new();
    let dynamo = file("tests/fixtures/classifiers/mobilenet_v2.dynamo.onnx");
    let lines = diff(&scene, &mobilenet(), &dynamo, &["--json", "--drift"]).ok_with_notes().json();
    let line = &lines[0];
    assert!(number(&line["cosine"]) > 0.999_99, "{line}");
    let errors = errors(line);
    assert!(errors.len() > 30 && errors.iter().all(|(_, error)| *error < 1e-3), "{errors:?}");
}

#[test]
fn drift_finds_the_layer_whose_scale_was_spoilt() {
    let scene = Scene::new();
    let spoilt = "/layer2/layer2.1/relu/Relu_output_0";
    let bytes = std::fs::read(quantised("resnet18.qdq")).expect("the model");
    let mut model = ModelProto::decode(bytes.as_slice()).expect("a model");
    let graph = model.graph.as_mut().expect("a graph");
    let scale =
        graph.initializer.iter_mut().find(|tensor| tensor.name == format!("{spoilt}_scale")).expect("its scale");
    let value = scale.to_floats().expect("floats")[0];
    *scale = TensorProto::floats(&scale.name, ElemType::Float, &scale.dims, &[value / 16.0]);
    let path = scene.model("spoilt.onnx", &model);

    let lines = diff(&scene, &resnet(), &path, &["--json", "--drift"]).ok_with_notes().json();
    let first = &lines[0]["drift"]["first"];
    assert_eq!((&first["layer"], &first["at_once"]), (&spoilt.into(), &true.into()), "{first}");
    assert!(number(&first["error"]) > 3.0 * number(&first["before"]), "{first}");
    let text = diff(&scene, &resnet(), &path, &["--drift"]).ok_with_notes().stdout;
    assert!(text.contains("<- first") && text.contains("activations first drift apart at"), "{text}");
    diff(&scene, &resnet(), &path, &["--drift", "--plot", "plots"]).ok_with_notes();
    let curve = image::open(scene.path("plots/drift.png")).expect("a picture").into_rgb8();
    // The curve is drawn in its colour, and the highest point is not at the left.
    let drawn = curve.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 == [0, 114, 178]);
    let (x, _, _) = drawn.min_by_key(|(x, y, _)| (*y, *x)).expect("a curve");
    assert!(x > 150, "{x}");
    let svg = std::fs::read_to_string(scene.path("plots/drift.svg")).expect("a picture");
    assert!(svg.contains("layer, in the order of the graph"), "{svg}");
    assert_eq!(diff(&scene, &resnet(), &path, &["--plot", "plots"]).status, Some(2));
}

#[test]
fn a_classifier_that_was_spoilt_is_the_last_to_drift() {
    let scene = Scene::new();
    let mut model = classifier(3, vec![]);
    let a = scene.model("a.onnx", &model);
    let dense = model.graph.as_mut().expect("a graph").initializer.iter_mut().find(|tensor| tensor.name == "dense");
    let dense = dense.expect("the weights");
    let spoilt: Vec<f64> = dense.to_floats().expect("floats").iter().map(|weight| -2.0 * weight).collect();
    *dense = TensorProto::floats("dense", ElemType::Float, &[5, models::CLASSES], &spoilt);
    let b = scene.model("b.onnx", &model);
    let lines = diff(&scene, &a, &b, &["--json", "--drift", "--class", "2"]).ok_with_notes().json();
    let first = &lines[0]["drift"]["first"];
    assert_eq!((&first["layer"], &first["before"]), (&"logits".into(), &0.0.into()), "{first}");
    assert!((number(&first["error"]) - 3.0).abs() < 1e-5, "{first}");
}

#[test]
fn what_is_less_alike_than_wanted_has_a_status_of_its_own() {
    let scene = Scene::new();
    let mut model = classifier(3, vec![]);
    let a = scene.model("a.onnx", &model);
    let kernel = &mut model.graph.as_mut().expect("a graph").initializer[0];
    *kernel = TensorProto { name: "kernel".into(), ..weights("other", &[5, 3, 3, 3]) };
    let reversed: Vec<f64> = kernel.to_floats().expect("floats").into_iter().rev().collect();
    *kernel = TensorProto::floats("kernel", ElemType::Float, &[5, 3, 3, 3], &reversed);
    let b = scene.model("b.onnx", &model);
    let ran = diff(&scene, &a, &b, &["--class", "2", "--fail-below", "0.99"]);
    assert_eq!(ran.status, Some(3), "{}", ran.all());
    assert!(ran.stderr.contains("error: the cosine is") && ran.stderr.contains("1 of 1 are below"), "{}", ran.stderr);
    let ran = diff(&scene, &a, &b, &["--class", "2", "--fail-below", "-1", "--measure", "rank"]);
    assert_eq!(ran.status, Some(0), "{}", ran.all());
    // One that could not be read counts first.
    let missing = scene.path("missing.jpg");
    let ran = diff_of(&scene, &a, &b, &[&missing, &cat_and_coffee()], &["--class", "2", "--fail-below", "0.99"]);
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    let ran = diff(&scene, &a, &b, &["--fail-below", "2"]);
    assert_eq!(ran.status, Some(2), "{}", ran.all());
}

#[test]
fn blank_heat_is_like_blank_heat() {
    let scene = Scene::new();
    // The scores of class 0 depend on nothing.
    let model = scene.model("model.onnx", &classifier(3, vec![]));
    let lines = diff(&scene, &model, &model, &["--json", "--class", "0"]).ok_with_notes().json();
    let line = &lines[0];
    assert_eq!((number(&line["cosine"]), number(&line["rank"])), (1.0, 1.0));
    assert_eq!((&line["a"]["blank"], &line["b"]["blank"]), (&"no-gradient".into(), &"no-gradient".into()));
}

#[test]
fn photos_that_differ_most_come_first_in_the_table() {
    let scene = Scene::new();
    let photos = ["astronaut", "chelsea", "rocket"].map(|name| file(&format!("samples/{name}.jpg")));
    let photos: Vec<&Path> = photos.iter().map(PathBuf::as_path).collect();
    let b = quantised("resnet18.qdq");
    let lines = diff_of(&scene, &resnet(), &b, &photos, &["--json"]).ok_with_notes().json();
    let mut cosines: Vec<(f64, String)> = lines
        .iter()
        .map(|line| (number(&line["cosine"]), line["image"].as_str().expect("a path").to_owned()))
        .collect();
    cosines.sort_by(|one, other| one.0.total_cmp(&other.0));
    let text = diff_of(&scene, &resnet(), &b, &photos, &[]).ok_with_notes().stdout;
    let (_, table) = text.split_once("\nimage").expect("a table");
    let listed: Vec<&str> = table.lines().skip(1).take(3).filter_map(|line| line.split("  ").next()).collect();
    assert_eq!(listed, cosines.iter().map(|(_, image)| image.as_str()).collect::<Vec<_>>());
    assert!(table.contains("the first answer is the same for"), "{table}");
}

#[test]
fn each_model_prepares_photos_in_its_own_way() {
    let scene = Scene::new();
    let small = scene.model("small.onnx", &classifier(3, vec![]));
    let mut model = classifier(3, vec![]);
    model.graph.as_mut().expect("a graph").input = vec![float("image", &[0, 3, 16, 16])];
    let large = scene.model("large.onnx", &model);
    let input = "range = [0, 1]\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n";
    scene.write("small.toml", format!("[input]\ncrop = 0.5\n{input}"));
    scene.write("large.toml", format!("[input]\ncrop = \"squash\"\n{input}"));
    let lines = diff(&scene, &small, &large, &["--json", "--class", "2", "--raw", "raw"]).ok_with_notes().json();
    let line = &lines[0];
    // The middle half of each side is what both see.
    assert!((number(&line["shared"]) - 0.25).abs() < 1e-3, "{line}");
    assert_eq!(line["a"]["heatmap_shape"], serde_json::json!([8, 8]));
    assert_eq!(line["b"]["heatmap_shape"], serde_json::json!([16, 16]));
    let raw = |what: &str| floats(scene.path(&format!("raw/cat_and_coffee.{what}.npy")));
    assert_eq!((raw("a.heatmap").shape(), raw("b.heatmap").shape()), (&[8, 8][..], &[16, 16][..]));
    assert_eq!((raw("a.logits").shape(), raw("b.logits").shape()), (&[1, 4][..], &[1, 4][..]));
    let difference = raw("difference");
    assert_eq!(difference.shape(), [512, 512]);
    assert!(difference[[0, 0]] == 0.0 && difference.iter().any(|value| *value != 0.0));
    // There is no layer of one size to drift in.
    let ran = diff(&scene, &small, &large, &["--class", "2", "--drift"]);
    assert!(ran.stderr.contains("no layer in common"), "{}", ran.stderr);
}

#[test]
fn a_model_without_a_sidecar_is_prepared_as_the_other() {
    let scene = Scene::new();
    let a = scene.model("a.onnx", &classifier(3, vec![]));
    let b = scene.model("b.onnx", &classifier(3, vec![]));
    scene.write(
        "a.toml",
        "[input]\ncrop = \"squash\"\nrange = [0, 255]\n[output]\nlabels = [\"w\", \"x\", \"y\", \"z\"]\n",
    );
    let ran = diff(&scene, &a, &b, &["--json", "--class", "y"]);
    assert!(ran.stderr.contains("[TMP]/b.onnx") || ran.stderr.contains("b.onnx"), "{}", ran.stderr);
    let line = &ran.ok_with_notes().json()[0];
    assert!((number(&line["cosine"]) - 1.0).abs() < 1e-9, "{line}");
    assert_eq!((&line["a"]["score"], &line["b"]["label"]), (&line["b"]["score"], &"y".into()));
    // Said for the second alone.
    let other = scene.write("other.toml", "[input]\ncrop = 0.5\nrange = [0, 1]\n");
    let options = ["--json", "--class", "2", "--sidecar-b", other.to_str().expect("UTF-8")];
    let line = &diff(&scene, &a, &b, &options).ok_with_notes().json()[0];
    assert!(line["a"]["score"] != line["b"]["score"], "{line}");
}

#[test]
fn a_class_goes_by_its_label_in_both() {
    let scene = Scene::new();
    let a = scene.model("a.onnx", &classifier(3, vec![]));
    let b = scene.model("b.onnx", &classifier(3, vec![]));
    let input = "[input]\nrange = [0, 1]\n[output]\nlabels";
    scene.write("a.toml", format!("{input} = [\"w\", \"x\", \"y\", \"z\"]\n"));
    scene.write("b.toml", format!("{input} = [\"background\", \"w\", \"x\", \"y\"]\n"));
    let line = &diff(&scene, &a, &b, &["--json", "--class", "x"]).ok_with_notes().json()[0];
    assert_eq!((&line["a"]["class"], &line["b"]["class"]), (&1.into(), &2.into()));
    assert_eq!(line["b"]["label"], "x");
    let ran = diff(&scene, &a, &b, &["--class", "z"]).ok_with_notes();
    assert!(ran.stderr.contains("the second model has no class `z`"), "{}", ran.stderr);
    let line = &diff(&scene, &a, &b, &["--json", "--target", "contrast:x,w"]).ok_with_notes().json()[0];
    assert_eq!((&line["a"]["target"], &line["b"]["target"]), (&"contrast:1,0".into(), &"contrast:2,1".into()));
    let ran = diff(&scene, &a, &b, &["--target", "not:class:z"]).ok_with_notes();
    assert!(ran.stderr.contains("the second model has no class `z`"), "{}", ran.stderr);
}

#[test]
fn the_picture_has_both_and_the_difference() {
    let scene = Scene::new();
    let options = ["-o", "out", "--layer", "layer3", "--layer", "layer4", "--json"];
    let lines = diff(&scene, &resnet(), &quantised("resnet18.qdq"), &options).ok_with_notes().json();
    assert_eq!(lines.len(), 2);
    for (line, layer) in lines.iter().zip(["layer3", "layer4"]) {
        let class = &line["a"]["class"];
        assert_eq!(
            line["overlay"],
            Path::new("out").join(format!("cat_and_coffee.{layer}.{class}.png")).to_str().expect("UTF-8")
        );
        assert_eq!(line["a"]["module"], layer);
        let picture = image::open(scene.path(line["overlay"].as_str().expect("a path"))).expect("a PNG");
        assert!(picture.width() > 3 * 448 && picture.height() > 448, "{} × {}", picture.width(), picture.height());
    }
}

#[test]
fn an_array_goes_through_both_as_it_is() {
    let scene = Scene::new();
    let a = scene.model("a.onnx", &classifier(5, vec![]));
    let array = ndarray::Array::from_shape_fn((1, 5, 8, 8), |at| (at.1 * 64 + at.2 * 8 + at.3) as f32 / 320.0);
    let path = scene.path("array.npy");
    crate::common::write_floats(&path, &array);
    let options = ["--json", "--class", "1", "-o", "out", "--drift", "--tensor", path.to_str().expect("UTF-8")];
    let line = &diff_of(&scene, &a, &a, &[], &options).ok_with_notes().json()[0];
    assert!((number(&line["cosine"]) - 1.0).abs() < 1e-9 && number(&line["shared"]) == 1.0, "{line}");
    assert!(scene.path("out/array.png").is_file());
}

#[test]
fn models_without_anything_in_common_are_refused() {
    let scene = Scene::new();
    let a = scene.model("a.onnx", &classifier(3, vec![]));
    scene.write("a.toml", "[input]\nrange = [0, 1]\n");
    // Boxes or pixels are other questions than classes.
    let mut dense = classifier(3, vec![]);
    let graph = dense.graph.as_mut().expect("a graph");
    graph.node = vec![node("Conv", &["image", "kernel"], "map", vec![attr::ints("pads", &[1, 1, 1, 1])])];
    graph.output = vec![float("map", &[0, 5, 8, 8])];
    let dense = scene.model("dense.onnx", &dense);
    scene.write("dense.toml", "[input]\nrange = [0, 1]\n[task]\nkind = \"segmentation\"\n");
    let ran = diff(&scene, &a, &dense, &[]);
    assert_eq!(ran.status, Some(1));
    assert_snapshot!("diff_other_task", ran.all());
    // A layer that only one has.
    let pooled = vec![
        node("MaxPool", &["relu"], "pooled", vec![attr::ints("kernel_shape", &[2, 2]), attr::ints("strides", &[2, 2])]),
        node("Relu", &["pooled"], "last", vec![]),
    ];
    let b = scene.model("b.onnx", &classifier(3, pooled));
    scene.write("b.toml", "[input]\nrange = [0, 1]\n");
    let ran = diff(&scene, &b, &a, &["--layer", "pooled"]);
    assert_eq!(ran.status, Some(1));
    assert_snapshot!("diff_no_common_layer", ran.all());
    let line = &diff(&scene, &b, &a, &["--layer", "pooled", "--layer-b", "relu", "--class", "1", "--json"])
        .ok_with_notes()
        .json()[0];
    assert_eq!((&line["b"]["layer"], &line["matched"]), (&"relu".into(), &"asked".into()));
    let ran = diff(&scene, &b, &a, &["--layer", "@input"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("no heat at the input"), "{}", ran.stderr);
    // What is wrong with the second is said of it.
    let broken = scene.write("broken.onnx", "no model");
    let ran = diff(&scene, &a, &broken, &[]);
    assert!(ran.status == Some(1) && ran.stderr.matches("broken.onnx").count() == 1, "{}", ran.stderr);
}

#[test]
fn the_bundled_model_is_compared_by_what_it_says_first() {
    let scene = Scene::new();
    let ran = diff(&scene, &lite(), &lite(), &[]).ok_with_notes();
    assert_snapshot!("diff_lite0", ran.all());
}
