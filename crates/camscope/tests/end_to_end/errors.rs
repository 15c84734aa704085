//! What is said when something is wrong: the exit status, what happened, to what, and what to do.

use std::path::{Path, PathBuf};

use camscope_core::runtime::{Known, Provider, Runtime, Search, Vars};
use insta::assert_snapshot;
use ndarray::Array;
use onnx_grad::{attr, registry::lookup};

use crate::{
    common::{RUNTIME, Ran, Scene, cat_and_coffee, file, lite, mobilenet, write_floats},
    models::{self, classifier, float, node},
};

const NO_OPTIONS: [&str; 0] = [];

/// Explains the sample photo with an option that is wrong.
fn with(model: impl AsRef<Path>, options: &[&str]) -> String {
    failed(Scene::new().explain(model, cat_and_coffee(), options))
}

/// Explains a photo with the bundled model.
fn photo(scene: &Scene, path: impl AsRef<Path>) -> String {
    failed(scene.explain(lite(), path, NO_OPTIONS))
}

/// Explains the sample photo with a model.
fn model(scene: &Scene, path: impl AsRef<Path>) -> String {
    failed(scene.explain(path, cat_and_coffee(), NO_OPTIONS))
}

fn failed(ran: Ran) -> String {
    assert!(matches!(ran.status, Some(1 | 2)), "{}", ran.all());
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.all());
    ran.all()
}

#[test]
fn photos_that_cannot_be_read() {
    let scene = Scene::new();
    let images = |name: &str| file("tests/fixtures/images").join(name);
    assert_snapshot!("no_such_image", photo(&scene, "missing.jpg"));
    assert_snapshot!("image_is_a_folder", photo(&scene, "home"));
    assert_snapshot!("not_an_image", photo(&scene, images("not_an_image.txt")));
    assert_snapshot!("truncated_jpeg", photo(&scene, images("truncated.jpg")));
    assert_snapshot!("truncated_png", photo(&scene, images("truncated.png")));
    assert_snapshot!("empty_image", photo(&scene, scene.write("empty.jpg", "")));
    let array = scene.path("array.npy");
    write_floats(&array, &Array::zeros((1, 3, 224, 224)));
    assert_snapshot!("array_as_image", photo(&scene, array));
    assert_snapshot!("model_as_image", photo(&scene, lite()));
}

#[test]
fn files_that_are_no_models() {
    let scene = Scene::new();
    assert_snapshot!("no_such_model", model(&scene, "missing.onnx"));
    assert_snapshot!("model_is_a_folder", model(&scene, "home"));
    assert_snapshot!("image_as_model", model(&scene, cat_and_coffee()));
    assert_snapshot!("text_as_model", model(&scene, scene.write("notes.onnx", "Not a model at all.\n")));
    assert_snapshot!("empty_model", model(&scene, scene.write("empty.onnx", "")));
    let bytes = std::fs::read(lite()).expect("the model");
    assert_snapshot!("truncated_model", model(&scene, scene.write("half.onnx", &bytes[..bytes.len() / 2])));
}

#[test]
fn models_that_cannot_be_used() {
    let scene = Scene::new();
    let refused = |name: &str, proto| model(&scene, scene.model(name, &proto));

    let mut external = classifier(3, vec![]);
    models::externalise(&mut external);
    assert_snapshot!("external_data_missing", refused("external.onnx", external));

    let mut two = classifier(3, vec![]);
    two.graph.as_mut().expect("a graph").input.push(float("mask", &[0, 1, 8, 8]));
    assert_snapshot!("two_inputs", refused("two.onnx", two));

    assert_snapshot!("four_channels", refused("four.onnx", classifier(4, vec![])));

    let mut flat = classifier(3, vec![]);
    flat.graph.as_mut().expect("a graph").input[0] = float("image", &[0, 192]);
    assert_snapshot!("input_is_no_picture", refused("flat.onnx", flat));

    let mut newer = classifier(3, vec![]);
    newer.ir_version = 99;
    assert_snapshot!("ir_version_too_new", refused("newer_ir.onnx", newer));

    let mut newer = classifier(3, vec![]);
    newer.opset_import[0].version = 99;
    assert_snapshot!("opset_too_new", refused("newer_opset.onnx", newer));

    let mut older = classifier(3, vec![]);
    older.opset_import[0].version = 6;
    assert_snapshot!("opset_too_old", refused("older_opset.onnx", older));

    let flatten = vec![node("Flatten", &["image"], "flat", vec![]), node("Relu", &["flat"], "scores", vec![])];
    let perceptron = models::of(flatten, vec![float("image", &[0, 3, 8, 8])], vec![float("scores", &[0, 192])]);
    assert_snapshot!("no_layers", refused("perceptron.onnx", perceptron));
}

/// Operators that keep their input's shape and that no rule is likely to be written for soon; the two first without one are used.
pub(crate) const OBSCURE: [(&str, &str); 5] = [
    ("com.microsoft", "QuickGelu"),
    ("com.microsoft", "Inverse"),
    ("", "MeanVarianceNormalization"),
    ("", "Shrink"),
    ("", "LpNormalization"),
];

#[test]
fn every_operator_in_the_way_is_listed() {
    let without_rule = OBSCURE.iter().filter(|(domain, op)| lookup(domain, op, 18).is_none());
    let [first, second] = without_rule.copied().take(2).collect::<Vec<_>>()[..] else { return };
    let of = |(domain, op): (&str, &str), input: &str, output: &str| {
        let mut made = node(op, &[input], output, vec![]);
        made.domain = domain.into();
        made
    };
    let scene = Scene::new();
    let explain = |name: &str, middle| {
        let model = scene.model(name, &classifier(3, middle));
        let text = failed(scene.explain(model, cat_and_coffee(), ["--layer", "conv"]));
        let named = |text: String, (domain, op): (&str, &str), name: &str| {
            let domain = if domain.is_empty() { "ai.onnx" } else { domain };
            let text = text.replace(&format!("{op} (domain {domain},"), &format!("[{name}] (domain [DOMAIN],"));
            text.replace(op, &format!("[{name}]"))
        };
        let text = named(named(text, first, "FIRST"), second, "SECOND");
        ["opset 18", "opset 1"].iter().fold(text, |text, opset| text.replace(opset, "opset [OPSET]"))
    };
    assert_snapshot!("one_operator_without_rule", explain("one.onnx", vec![of(first, "relu", "last")]));
    let three = vec![
        of(first, "relu", "a"),
        node("Sigmoid", &["a"], "b", vec![]),
        of(second, "b", "c"),
        of(first, "c", "last"),
    ];
    assert_snapshot!("three_nodes_without_rule", explain("three.onnx", three));
}

#[test]
fn classes_that_the_model_lacks() {
    assert_snapshot!("class_out_of_range", with(lite(), &["--class", "1000"]));
    assert_snapshot!("rank_out_of_range", with(mobilenet(), &["--class", "top11"]));
    assert_snapshot!("unknown_label", with(lite(), &["--class", "Egyptian cats"]));
    assert_snapshot!("label_far_off", with(lite(), &["--class", "qqqq"]));
    assert_snapshot!("labels_not_known", with(mobilenet(), &["--class", "cat"]));
    let scene = Scene::new();
    scene.write("model.toml", "[output]\nlabels = [\"crane\", \"heron\", \"crane, derrick\", \"Crane\"]\n");
    let ran = scene.explain(scene.model("model.onnx", &classifier(3, vec![])), cat_and_coffee(), ["--class", "crane"]);
    assert_snapshot!("label_of_two_classes", failed(ran));
}

#[test]
fn layers_that_the_model_lacks() {
    assert_snapshot!("unknown_layer", with(mobilenet(), &["--layer", "features.81"]));
    assert_snapshot!("layer_far_off", with(mobilenet(), &["--layer", "qqqq"]));
    assert_snapshot!("layer_index_out_of_range", with(mobilenet(), &["--layer", "97"]));
}

#[test]
fn options_that_are_wrong() {
    assert_snapshot!("unknown_method", with(mobilenet(), &["--method", "gradcam+"]));
    assert_snapshot!("unknown_colormap", with(mobilenet(), &["--colormap", "virids"]));
    assert_snapshot!("alpha_out_of_range", with(mobilenet(), &["--alpha", "1.5"]));
    let scene = Scene::new();
    assert_snapshot!("unknown_provider", failed(scene.run(["explain", "model.onnx", "photo.jpg", "--ep", "gpu"])));
    assert_snapshot!("no_image_given", failed(scene.run(["explain", "model.onnx"])));
    let both = ["explain", "model.onnx", "photo.jpg", "--tensor", "array.npy"];
    assert_snapshot!("photo_and_array_given", failed(scene.run(both)));
    assert_snapshot!("no_command_given", failed(scene.run(NO_OPTIONS)));
    assert_snapshot!("unknown_command", failed(scene.run(["explian"])));
}

#[test]
fn arrays_that_do_not_fit() {
    let scene = Scene::new();
    let with_tensor = |name: &str| {
        let model = lite();
        let arguments: [&Path; 4] = ["explain".as_ref(), &model, "--tensor".as_ref(), name.as_ref()];
        failed(scene.run(arguments))
    };
    assert_snapshot!("no_such_array", with_tensor("missing.npy"));
    write_floats(&scene.path("small.npy"), &Array::zeros((1, 3, 96, 96)));
    assert_snapshot!("array_of_another_size", with_tensor("small.npy"));
    write_floats(&scene.path("two.npy"), &Array::zeros((2, 3, 224, 224)));
    assert_snapshot!("array_of_two_pictures", with_tensor("two.npy"));
    ndarray_npy::write_npy(scene.path("bytes.npy"), &Array::<u8, _>::zeros((1, 3, 224, 224))).expect("it is written");
    assert_snapshot!("array_of_bytes", with_tensor("bytes.npy"));
    scene.write("text.npy", "not an array");
    assert_snapshot!("text_as_array", with_tensor("text.npy"));
}

#[test]
fn sidecars_that_are_wrong() {
    let scene = Scene::new();
    let with_sidecar = |name: &str, text: &str| {
        scene.write(&format!("{name}.toml"), text);
        model(&scene, scene.model(&format!("{name}.onnx"), &classifier(3, vec![])))
    };
    assert_snapshot!("sidecar_unknown_key", with_sidecar("key", "[input]\nsize = 8\nmaen = [0.5, 0.5, 0.5]\n"));
    assert_snapshot!("sidecar_wrong_type", with_sidecar("type", "[input]\nsize = \"large\"\n"));
    assert_snapshot!("sidecar_syntax", with_sidecar("syntax", "[input\nsize = 8\n"));
    assert_snapshot!("sidecar_size_contradicts_model", with_sidecar("size", "[input]\nsize = 224\n"));
    assert_snapshot!("sidecar_labels_missing", with_sidecar("labels", "[output]\nlabels = \"labels.txt\"\n"));
    assert_snapshot!("sidecar_unknown_layer", with_sidecar("layer", "[explain]\nlayer = \"rely\"\n"));
    assert_snapshot!("sidecar_unknown_method", with_sidecar("method", "[explain]\nmethod = \"heat\"\n"));
    assert_snapshot!("sidecar_unknown_output", with_sidecar("output", "[output]\nlogits = \"scores\"\n"));
}

#[test]
fn folders_that_cannot_be_written() {
    let scene = Scene::new();
    scene.write("occupied", "a file");
    assert_snapshot!("output_is_a_file", failed(scene.explain(mobilenet(), cat_and_coffee(), ["-o", "occupied"])));
    assert_snapshot!(
        "raw_below_a_file",
        failed(scene.explain(mobilenet(), cat_and_coffee(), ["--raw", "occupied/raw"]))
    );
}

#[test]
fn a_bad_photo_does_not_stop_the_others() {
    let scene = Scene::new();
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--json", "-o", "out"]).arg(lite());
    command.arg(file("samples/chelsea.jpg")).arg("missing.jpg").arg(file("samples/coffee.jpg"));
    let ran = scene.ended(command.output().expect("the binary runs"));
    assert_eq!(ran.status, Some(1));
    let images: Vec<_> = ran.json().iter().map(|line| line["image"].as_str().expect("a path").to_owned()).collect();
    assert_eq!(images.len(), 2);
    assert!(images[0].ends_with("chelsea.jpg") && images[1].ends_with("coffee.jpg"), "{images:?}");
    // Two pictures and the results.
    assert_eq!(std::fs::read_dir(scene.path("out")).expect("the folder").count(), 3);
    assert_snapshot!("one_bad_photo_of_three", format!("status 1\n--- stderr\n{}", ran.stderr));
}

#[test]
fn no_runtime() {
    let scene = Scene::new();
    // Where the system's loader finds an ONNX Runtime, there is no hiding it.
    let search = Search {
        vars: Vars::of([("HOME", scene.path("home"))]),
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_camscope"))),
        known: Known::none(),
        ..Search::of_process()
    };
    if search.find().is_ok() {
        eprintln!("not tested: this machine has an ONNX Runtime in the system's folders");
        return;
    }
    let mut command = scene.bare();
    let output = command.arg("explain").arg(mobilenet()).arg(cat_and_coffee()).output().expect("the binary runs");
    assert_snapshot!("no_runtime", failed(scene.ended(output)));
    let mut command = scene.bare();
    let output = command.arg("layers").arg(mobilenet()).output().expect("the binary runs");
    assert_snapshot!("no_runtime_for_layers", failed(scene.ended(output)));
    let output = scene.bare().args(["runtime", "install"]).output().expect("the binary runs");
    assert_snapshot!("nothing_to_install_with", failed(scene.ended(output)));
}

#[test]
fn runtimes_that_cannot_be_used() {
    let scene = Scene::new();
    let with_runtime = |path: PathBuf| {
        let mut command = scene.bare();
        command.env("ORT_DYLIB_PATH", path).arg("explain").arg(mobilenet()).arg(cat_and_coffee());
        failed(scene.ended(command.output().expect("the binary runs")))
    };
    assert_snapshot!("runtime_is_a_text", with_runtime(scene.write("libonnxruntime.so", "no library")));
    assert_snapshot!("runtime_is_missing", with_runtime(scene.path("missing.so")));
    assert_snapshot!("runtime_is_a_folder", with_runtime(scene.path("home")));
    let whole = std::fs::read(&RUNTIME.path).expect("the library");
    let half = scene.write("half.so", &whole[..whole.len() / 2]);
    if cfg!(target_os = "linux") {
        assert_snapshot!("runtime_is_cut_short", with_runtime(half));
    }
}

#[test]
fn a_provider_that_is_not_there() {
    let runtime = Runtime::load(&RUNTIME).expect("ONNX Runtime loads");
    let scene = Scene::new();
    let run = |provider: Provider| {
        let mut command = scene.command();
        command.args(["explain", "--ep", provider.name()]).arg(mobilenet()).arg(cat_and_coffee());
        failed(scene.ended(command.output().expect("the binary runs")))
    };
    // The message lists what the library was built with: that is the machine's.
    let known: Vec<&str> =
        Provider::ALL.into_iter().filter(|provider| runtime.is_built_with(*provider)).map(Provider::name).collect();
    for provider in [Provider::Cuda, Provider::CoreMl] {
        if !runtime.is_built_with(provider) {
            let text = run(provider).replace(&format!("it offers {}", known.join(", ")), "it offers [PROVIDERS]");
            assert_snapshot!(format!("provider_{}_not_built_in", provider.name()), text);
        }
    }
}

#[test]
fn escape_sequences_in_names_are_shown_not_obeyed() {
    let scene = Scene::new();
    assert_snapshot!("escapes_in_image_name", photo(&scene, "\u{1b}[31mred.jpg"));
    assert_snapshot!("escapes_in_model_name", model(&scene, "\u{1b}]0;title\u{7}.onnx"));
    assert_snapshot!("escapes_in_layer_name", with(mobilenet(), &["--layer", "\u{1b}[2J"]));
    assert_snapshot!("escapes_in_label", with(lite(), &["--class", "\u{9b}2J"]));
    let odd = vec![node("Identity", &["relu"], "last", vec![attr::int("\u{1b}[5m", 1)])];
    let ran = scene.explain(scene.model("odd.onnx", &classifier(3, odd)), cat_and_coffee(), NO_OPTIONS);
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.all());
    let mut two = classifier(3, vec![]);
    two.graph.as_mut().expect("a graph").input.push(float("\u{1b}[5mmask", &[0, 1, 8, 8]));
    assert_snapshot!("escapes_in_input_name", model(&scene, scene.model("two.onnx", &two)));
    scene.write("sidecar.toml", "[input]\n\"\\u001b[5m\" = 1\n");
    assert_snapshot!("escapes_in_sidecar", model(&scene, scene.model("sidecar.onnx", &classifier(3, vec![]))));
}
