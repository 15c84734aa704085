//! Models that take more than a photo, or something else.

use std::path::PathBuf;

use ndarray::ArrayD;
use onnx_grad::{
    ElemType, attr,
    proto::{ModelProto, NodeProto, TensorProto},
};

use crate::{
    common::{Ran, Scene, cat_and_coffee, file, floats, relative_error},
    models::{classifier, float, node},
};

/// Two pictures `NAMES` of 8 × 8 pixels, each through the same convolution; the features, the second's doubled, are joined and
/// classified.
fn siamese(names: [&str; 2]) -> ModelProto {
    let mut model = classifier(3, vec![]);
    let graph = model.graph.as_mut().expect("a graph");
    let branch = |at: usize| -> Vec<NodeProto> {
        let named = |what: &str| format!("{what}{at}");
        vec![
            node("Conv", &[names[at], "kernel"], &named("conv"), vec![attr::ints("pads", &[1, 1, 1, 1])]),
            node("Relu", &[&named("conv")], &named("relu"), vec![]),
            node("GlobalAveragePool", &[&named("relu")], &named("mean"), vec![]),
            node("Flatten", &[&named("mean")], &named("flat"), vec![]),
        ]
    };
    graph.node = [branch(0), branch(1)].concat();
    graph.node.push(node("Mul", &["flat1", "two"], "twice", vec![]));
    graph.node.push(node("Add", &["flat0", "twice"], "both", vec![]));
    graph.node.push(node("MatMul", &["both", "dense"], "logits", vec![]));
    graph.initializer.push(TensorProto::floats("two", ElemType::Float, &[], &[2.0]));
    graph.input = names.map(|name| float(name, &[0, 3, 8, 8])).to_vec();
    model
}

/// Runs `explain`; the only line of JSON, and an array of `--raw`.
fn raw(scene: &Scene, ran: Ran, what: &str) -> ArrayD<f32> {
    let line = ran.ok_with_notes().json().remove(0);
    floats(scene.path(&format!("{}.{what}.npy", line["raw"].as_str().expect("a stem"))))
}

fn photo(name: &str) -> PathBuf {
    file("samples").join(name)
}

#[test]
fn a_second_photo_is_prepared_as_the_first() {
    let scene = Scene::new();
    let model = scene.model("siamese.onnx", &siamese(["image", "other"]));
    let second = format!("other={}", photo("chelsea.jpg").display());
    let common = ["--class", "1", "--raw", "raw", "--json", "--input", &second];
    let run = |layer: &str, what: &str| {
        let options = [&common[..], &["--layer", layer]].concat();
        raw(&scene, scene.explain(&model, cat_and_coffee(), options), what)
    };
    // What the second input is fed is what the first is fed with the same photo.
    let other = run("@input:other", "activations");
    let first = scene.explain(&model, photo("chelsea.jpg"), [&common[..], &["--layer", "@input"]].concat());
    assert_eq!(raw(&scene, first, "activations"), other);
    // Where both show the same picture, the second's gradient is twice the first's.
    let same = format!("other={}", cat_and_coffee().display());
    let at = |layer: &str| {
        let options = ["--class", "1", "--raw", "raw", "--json", "--input", &same, "--layer", layer];
        raw(&scene, scene.explain(&model, cat_and_coffee(), options), "gradients")
    };
    let (first, second) = (at("@input:image"), at("@input:other"));
    assert!(first.iter().any(|slope| *slope != 0.0));
    assert!(relative_error(&second, &first.mapv(|slope| 2.0 * slope)) < 1e-6);
}

#[test]
fn several_photos_at_once_share_what_the_other_input_is_fed() {
    let scene = Scene::new();
    let model = scene.model("siamese.onnx", &siamese(["image", "other"]));
    let logits = |photos: &[&str], batch: &str| -> Vec<f64> {
        let mut command = scene.command();
        command.args(["explain", "--ep", "cpu", "--json", "--class", "1", "--input", "other=0.25", "--batch", batch]);
        command.arg(&model).args(photos.iter().map(|name| photo(name)));
        let lines = scene.ended(command.output().expect("the binary runs")).ok_with_notes().json();
        lines.iter().map(|line| line["logit"].as_f64().expect("a logit")).collect()
    };
    let names = ["chelsea.jpg", "rocket.jpg", "coffee.jpg"];
    let alone: Vec<f64> = names.iter().flat_map(|name| logits(&[name], "1")).collect();
    for (together, alone) in logits(&names, "3").iter().zip(&alone) {
        assert!((together - alone).abs() < 1e-5, "{together} {alone}");
    }
}

#[test]
fn which_input_takes_the_photo_is_recognised_or_said() {
    let scene = Scene::new();
    let model = scene.model("siamese.onnx", &siamese(["left", "right"]));
    let explain = |options: &[&str]| scene.explain(&model, cat_and_coffee(), options);
    insta::assert_snapshot!("two_pictures", explain(&[]).all());
    insta::assert_snapshot!("no_such_picture", explain(&["--picture", "middle"]).all());
    insta::assert_snapshot!("second_picture_missing", explain(&["--picture", "left"]).all());
    insta::assert_snapshot!(
        "no_such_input_layer",
        explain(&["--picture", "left", "--input", "right=0", "--layer", "@input:meta"]).all()
    );
    let slope = |picture: &str, other: &str| {
        let input = format!("{other}=0");
        let options = ["--picture", picture, "--input", &input, "--layer", "@input", "--raw", "raw", "--json"];
        raw(&scene, scene.explain(&model, cat_and_coffee(), [&options[..], &["--class", "1"]].concat()), "gradients")
    };
    assert!(relative_error(&slope("right", "left"), &slope("left", "right").mapv(|slope| 2.0 * slope)) < 1e-6);
    let model = scene.model("masked.onnx", &siamese(["x", "mask"]));
    let ran = scene.explain(&model, cat_and_coffee(), ["--input", "mask=ones", "--json"]).ok_with_notes();
    assert!(ran.stderr.contains("note: of several inputs `x` is taken for the picture's"), "{}", ran.stderr);
    let check = scene.run(["check".as_ref(), model.as_os_str(), "--input".as_ref(), "mask=ones".as_ref()]);
    assert_eq!(check.status, Some(0), "{}", check.all());
}

#[test]
fn a_sidecar_says_which_input_takes_the_photo() {
    let scene = Scene::new();
    let model = scene.model("pair.onnx", &siamese(["left", "right"]));
    let second = format!("left={}", photo("chelsea.jpg").display());
    let options = ["--class", "1", "--raw", "raw", "--json", "--layer", "@input", "--input", &second];
    let unsaid = scene.explain(&model, cat_and_coffee(), options);
    assert!(unsaid.stderr.contains("`left` and `right`"), "{}", unsaid.stderr);
    let said = [&options[..], &["--picture", "right"]].concat();
    let expected = raw(&scene, scene.explain(&model, cat_and_coffee(), said), "gradients");
    scene.write("pair.toml", "[input]\npicture = \"right\"\n");
    assert_eq!(raw(&scene, scene.explain(&model, cat_and_coffee(), options), "gradients"), expected);
    scene.write("pair.toml", "[input]\npicture = \"middle\"\n");
    let wrong = scene.explain(&model, cat_and_coffee(), options);
    assert!(wrong.stderr.contains("middle"), "{}", wrong.stderr);
}
