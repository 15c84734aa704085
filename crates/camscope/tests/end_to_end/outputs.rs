//! Files and text: what they are called, and that nothing is overwritten or smuggled into the terminal.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use ndarray::Array;
use onnx_grad::attr;

use crate::{
    common::{Scene, cat_and_coffee, file, mobilenet, write_floats},
    models::{classifier, node},
};

const FIXTURES: &str = "tests/fixtures/classifiers";

/// Replaces numbers that another machine may give: times, and the last digits of results.
fn without_digits(text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let word = |(at, word): (usize, &&str)| {
            let number = word.trim_end_matches([',', ';']);
            let is_result = number.contains('.') && number.parse::<f64>().is_ok();
            if is_result || words.get(at + 1) == Some(&"ms") { word.replace(number, "[N]") } else { (*word).into() }
        };
        words.iter().enumerate().map(word).collect::<Vec<String>>().join(" ")
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_text_says_what_and_where() {
    let scene = Scene::new();
    let options = ["--class", "285", "-o", "out", "--raw", "raw"];
    let ran = scene.explain(file("models/efficientnet-lite0.onnx"), cat_and_coffee(), options).ok();
    assert_snapshot!("one_explanation", without_digits(&ran.all()));
    let ran = scene.explain(mobilenet(), cat_and_coffee(), ["--layer", "@input", "--layer", "features.18"]);
    assert_snapshot!("two_layers_of_a_model_without_sidecar", without_digits(&ran.all()));
}

/// Every file that `--json` names is there, and no two lines name the same.
fn check_files(scene: &Scene, lines: &[serde_json::Value]) -> BTreeSet<String> {
    let mut stems = BTreeSet::new();
    for line in lines {
        let (overlay, raw) = (line["overlay"].as_str().expect("a picture"), line["raw"].as_str().expect("a stem"));
        assert!(scene.path(overlay).is_file(), "{overlay}");
        for what in ["logits", "activations", "gradients", "heatmap"] {
            assert!(scene.path(&format!("{raw}.{what}.npy")).is_file(), "{raw}.{what}.npy");
        }
        assert!(stems.insert(raw.to_owned()), "{raw} is written twice");
    }
    stems
}

#[test]
fn photos_of_one_name_do_not_overwrite_each_other() {
    let scene = Scene::new();
    let photos = [
        scene.copy(&file("samples/chelsea.jpg"), "a/photo.jpg"),
        scene.copy(&file("samples/coffee.jpg"), "b/photo.jpg"),
        scene.copy(&file("samples/rocket.jpg"), "b/photo-2.jpg"),
        scene.copy(&file("tests/fixtures/images/rgb.png"), "a/photo.png"),
    ];
    for order in [[0, 1, 2, 3], [2, 0, 1, 3], [3, 2, 1, 0]] {
        let mut command = scene.command();
        command
            .args(["explain", "--ep", "cpu", "--json", "-o", "out", "--raw", "out", "--class", "3"])
            .arg(mobilenet());
        command.args(order.map(|at| &photos[at]));
        let lines = scene.ended(command.output().expect("the binary runs")).ok_with_notes().json();
        assert_eq!(check_files(&scene, &lines).len(), photos.len());
    }
}

#[test]
fn layers_of_one_module_do_not_overwrite_each_other() {
    let scene = Scene::new();
    let model = file(&format!("{FIXTURES}/resnet18.dynamo.onnx"));
    let layers = scene.run(["layers".as_ref(), model.as_os_str(), "--json".as_ref()]).ok_with_notes().json();
    let mut options = vec!["--json".to_owned(), "-o".into(), "out".into(), "--raw".into(), "out".into()];
    options.extend(layers.iter().flat_map(|layer| ["--layer".to_owned(), layer["index"].to_string()]));
    let lines = scene.explain(model, cat_and_coffee(), &options).ok_with_notes().json();
    assert_eq!(lines.len(), layers.len());
    check_files(&scene, &lines);
}

#[test]
fn escape_sequences_in_a_file_of_labels_are_shown_not_obeyed() {
    let scene = Scene::new();
    let model = scene.model("model.onnx", &classifier(3, vec![]));
    scene.write("model.toml", "[output]\nlabels = \"labels.txt\"\n");
    scene.write("labels.txt", "a\u{1b}[31mred\nb\u{9b}2J\nc\u{202e}txet\nd\u{7f}\u{1b}]0;title\u{7}\n");
    for options in [&[][..], &["--json"]] {
        let all = ["--class", "0", "--class", "1", "--class", "2", "--class", "3"];
        let ran = scene.explain(&model, cat_and_coffee(), all.iter().chain(options)).ok();
        let is_unsafe = |c: &char| c.is_control() && *c != '\n' || *c == '\u{202e}';
        assert_eq!(ran.stdout.chars().find(is_unsafe), None, "{:?}", ran.stdout);
        assert_eq!(ran.stdout.lines().filter(|line| !line.starts_with("  blank: ")).count(), 4);
        if options == ["--json"] {
            assert_eq!(ran.json()[1]["label"], "b\u{9b}2J", "JSON keeps what the label is");
        }
    }
    // An unknown label offers the nearest ones.
    let ran = scene.explain(&model, cat_and_coffee(), ["--class", "redd"]);
    assert!(ran.status == Some(1) && !ran.stderr.contains('\u{1b}'), "{}", ran.all());
}

#[test]
fn arrays_of_doubles_are_taken() {
    let scene = Scene::new();
    let array = Array::from_shape_fn((1, 3, 96, 96), |(_, c, y, x)| ((c + 3 * y + 7 * x) % 11) as f32 / 11.0);
    write_floats(&scene.path("single.npy"), &array);
    ndarray_npy::write_npy(scene.path("double.npy"), &array.mapv(f64::from)).expect("it is written");
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--json", "--tensor", "single.npy", "--tensor", "double.npy"]);
    let lines = scene.ended(command.arg(mobilenet()).output().expect("the binary runs")).ok().json();
    assert_eq!((lines.len(), &lines[0]["logit"]), (2, &lines[1]["logit"]));
}

#[test]
fn a_score_too_flat_for_float32_is_not_taken_for_a_wrong_gradient() {
    let scene = Scene::new();
    let constant = |name, value| node("Constant", &[], name, vec![attr::float("value_float", value)]);
    let flat = vec![
        constant("tiny", 1e-12),
        constant("half", 0.5),
        node("Mul", &["relu", "tiny"], "scaled", vec![]),
        node("Add", &["scaled", "half"], "last", vec![]),
    ];
    for (middle, said) in [(flat, "is flat"), (vec![], "% apart")] {
        let model = scene.model("model.onnx", &classifier(3, middle));
        let ran = scene.run(["check".as_ref(), model.as_os_str()]).ok();
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
    }
}
