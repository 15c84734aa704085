//! Methods that plugins bring, in every command that takes a method.

use std::{fs::File, path::PathBuf};

use ndarray::{Array2, ArrayD, Ix2};
use ndarray_npy::NpzReader;

use crate::{
    common::{Ran, Scene, cat_and_coffee, file, floats, mobilenet, relative_error, write_floats},
    plugins::{cc, example},
};

fn recording(path: &str) -> NpzReader<File> {
    NpzReader::new(File::open(file(path)).expect("a recording")).expect("an npz file")
}

/// A plugin whose method `faulty-cam` is Grad-CAM, with the product that its heat is the sum of.
fn gradcam_in_c(scene: &Scene) -> PathBuf {
    let library = scene.path("cam.so");
    cc(&file("plugins/faulty/faulty.c"), &library, &["-DWITH_METHOD"]);
    library
}

fn heat(scene: &Scene, name: &str) -> Array2<f32> {
    floats(scene.path(name)).into_dimensionality::<Ix2>().expect("height and width")
}

#[test]
fn norm_grad_equals_the_gradient_of_a_layer_that_changes_nothing() {
    let scene = Scene::new();
    let plugin = example(&scene, "norm_grad");
    let mut network = recording("tests/fixtures/classifiers/resnet18.npz");
    let mut reference = recording("plugins/norm-grad/reference.npz");
    let input: ArrayD<f32> = network.by_name("input").expect("an input");
    let class: ArrayD<i64> = network.by_name("class").expect("a class");
    write_floats(&scene.path("noise.npy"), &input);
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--tensor", "noise.npy", "--raw", "raw", "--plugin"]).arg(&plugin);
    command.args(["--method", "normgrad", "--method", "normgrad-scaling", "--layer", "layer2", "--layer", "layer4"]);
    command.args(["--class", &format!("#{}", class.first().expect("one"))]);
    command.arg(file("tests/fixtures/classifiers/resnet18.ts.onnx"));
    scene.ended(command.output().expect("the binary runs")).ok_with_notes();
    for method in ["normgrad", "normgrad-scaling"] {
        for layer in ["layer2", "layer4"] {
            let expected: Array2<f32> = reference.by_name(&format!("{method}.{layer}")).expect("a heatmap");
            let found = std::fs::read_dir(scene.path("raw")).expect("a folder").filter_map(|entry| {
                let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
                let fits = name.contains(&format!(".{method}.{layer}.")) && name.ends_with(".heatmap.npy");
                fits.then(|| heat(&scene, &format!("raw/{name}")))
            });
            let found: Vec<_> = found.collect();
            assert_eq!(found.len(), 1, "{method} {layer}");
            assert!(relative_error(&found[0], &expected) < 1e-5, "{method} {layer}");
        }
    }
}

#[test]
fn a_method_of_a_plugin_is_one_like_the_built_in_ones() {
    let scene = Scene::new();
    let plugin = gradcam_in_c(&scene);
    let with = |arguments: &[&str]| -> Ran {
        let mut command = scene.command();
        command.args(arguments).arg("--plugin").arg(&plugin);
        scene.ended(command.output().expect("the binary runs"))
    };
    let (model, photo) = (mobilenet(), cat_and_coffee());
    let (model, photo) = (model.to_str().expect("UTF-8"), photo.to_str().expect("UTF-8"));

    // It is listed, with what it comes from; `--json` says so too.
    let listed = with(&["methods"]).ok().stdout;
    assert!(listed.contains("faulty-cam") && listed.contains("[plugin faulty]"), "{listed}");
    let row = with(&["methods", "faulty-cam", "--json"]).ok().json().remove(0);
    assert_eq!((&row["plugin"], &row["family"]), (&"faulty".into(), &"activation and gradient".into()));
    assert_eq!(with(&["methods", "gradcam", "--json"]).ok().json()[0]["plugin"], serde_json::Value::Null);
    let unknown = scene.run(["methods", "faulty-cam"]);
    assert!(unknown.stderr.contains("there is no method `faulty-cam`"), "{}", unknown.stderr);

    // The same program gives the same heat, smoothed by its first component too.
    for smooth in [None, Some("eigen")] {
        let explain = |method: &str| {
            let smooth = smooth.map(|smooth| ["--smooth", smooth]);
            let arguments = ["explain", model, photo, "--ep", "cpu", "--raw", method, "--method", method];
            let arguments: Vec<&str> = arguments.into_iter().chain(smooth.into_iter().flatten()).collect();
            with(&arguments).ok_with_notes();
            heat(&scene, &format!("{method}/cat_and_coffee.heatmap.npy"))
        };
        let (theirs, ours) = (explain("faulty-cam"), explain("gradcam"));
        assert!(ours.iter().any(|&heat| heat > 0.0));
        assert!(relative_error(&theirs, &ours) < 1e-5, "{smooth:?}");
    }

    // `export` writes it into a model that opens without the plugin, and the others take it.
    with(&["export", model, "-o", "cam.onnx", "--method", "faulty-cam"]).ok_with_notes();
    let checked = scene.run(["check", "cam.onnx"]);
    assert_eq!(checked.status, Some(0), "{}{}", checked.stdout, checked.stderr);
    assert!(checked.stderr.contains("faulty-cam at features"), "{}", checked.stderr);
    let bench = with(&["bench", model, "--ep", "cpu", "--rounds", "1", "--method", "faulty-cam", "--json"]);
    assert_eq!(bench.status, Some(0), "{}", bench.stderr);
    let evaluate =
        ["evaluate", model, photo, "--ep", "cpu", "--method", "faulty-cam", "--metric", "deletion", "--json"];
    let evaluated = with(&evaluate);
    assert_eq!(evaluated.status, Some(0), "{}", evaluated.stderr);
    assert_eq!(evaluated.json()[0]["method"], "faulty-cam");
}

#[test]
fn a_method_of_a_plugin_can_be_the_sidecars() {
    let scene = Scene::new();
    let plugin = gradcam_in_c(&scene);
    let model = scene.copy(&mobilenet(), "model.onnx");
    scene.write("model.toml", "[explain]\nmethod = \"faulty-cam\"\n");
    let options = ["--json".as_ref(), "--plugin".as_ref(), plugin.as_os_str()];
    let ran = scene.explain(&model, cat_and_coffee(), options).ok_with_notes();
    assert_eq!(ran.json()[0]["method"], "faulty-cam");
}
