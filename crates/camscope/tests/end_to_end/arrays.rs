//! Arrays in place of photos: volumes, videos, signals, images of six bands.

use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use ndarray::{ArrayD, IxDyn};
use ndarray_npy::NpzReader;

use crate::common::{Ran, Scene, cat_and_coffee, file, floats, mobilenet, relative_error, write_floats};

fn model(name: &str) -> PathBuf {
    file(&format!("tests/fixtures/arrays/{name}.onnx"))
}

/// An array that PyTorch was given, or gave.
fn recorded(name: &str, key: &str) -> ArrayD<f32> {
    let path = file(&format!("tests/fixtures/arrays/{name}.npz"));
    let mut archive = NpzReader::new(std::fs::File::open(path).expect("a recording")).expect("an npz file");
    archive.by_name(&format!("{key}.npy")).or_else(|_| archive.by_name(key)).expect("an array")
}

fn explain(scene: &Scene, model: &Path, tensor: &str, options: &[&str]) -> Ran {
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--tensor", tensor]).args(options).arg(model);
    scene.ended(command.output().expect("the binary runs"))
}

#[test]
fn volumes_become_sheets_signals_curves_and_raw_heat_has_their_axes() {
    for (name, shape, drawn) in [
        ("volume", vec![6, 10, 8], (408, 304)),
        ("video", vec![4, 6, 5], (326, 194)),
        ("signal", vec![40], (960, 194)),
        ("wave", vec![100], (960, 240)),
        ("bands", vec![8, 7], (28, 32)),
    ] {
        let scene = Scene::new();
        let class = if name == "wave" || name == "video" { "1" } else { "0" };
        let class = if name == "volume" { "2" } else { class };
        // The batch may be left out.
        let input = recorded(name, "input");
        let without = input.clone().into_shape_with_order(IxDyn(&input.shape()[1..])).expect("a batch of one");
        write_floats(&scene.path("array.npy"), &if name == "wave" { input } else { without });
        let ran = explain(
            &scene,
            &model(&format!("{name}.ts")),
            "array.npy",
            &["--class", class, "--raw", "raw", "-o", "out", "--json", "--method", "gradcam"],
        );
        let json = ran.ok().json().remove(0);
        assert_eq!(json["heatmap_shape"], serde_json::json!(shape), "{name}");
        let heat = floats(scene.path("raw/array.heatmap.npy"));
        assert!(relative_error(&heat, &recorded(name, "gradcam")) < 1e-4, "{name}");
        let gradient = floats(scene.path("raw/array.gradients.npy"));
        assert!(relative_error(&gradient, &recorded(name, "grad_activation")) < 1e-4, "{name}");
        let picture = image::open(scene.path("out/array.png")).expect("a picture");
        assert_eq!((picture.width(), picture.height()), drawn, "{name}");
    }
}

#[test]
fn axes_in_another_order_are_said() {
    let scene = Scene::new();
    write_floats(&scene.path("rows.npy"), &recorded("rows", "input"));
    write_floats(&scene.path("frames.npy"), &recorded("frames", "input"));
    let notes = ["rows", "frames"].map(|name| {
        let ran = explain(&scene, &model(&format!("{name}.dynamo")), &format!("{name}.npy"), &["--json"]);
        ran.ok_with_notes().stderr
    });
    assert_snapshot!("axes_in_another_order", notes.join(""));
}

#[test]
fn what_does_not_fit_an_array_is_refused() {
    let scene = Scene::new();
    write_floats(&scene.path("signal.npy"), &recorded("signal", "input"));
    write_floats(&scene.path("volume.npy"), &recorded("volume", "input"));
    let refused = |ran: Ran| {
        assert_ne!(ran.status, Some(0), "{}", ran.all());
        ran.all()
    };
    let (volume, signal) = (model("volume.ts"), model("signal.ts"));
    assert_snapshot!("photo_for_a_volume", refused(scene.explain(&volume, cat_and_coffee(), ["--json"])));
    assert_snapshot!("signal_for_a_volume", refused(explain(&scene, &volume, "signal.npy", &[])));
    assert_snapshot!(
        "patches_of_a_volume",
        refused(explain(&scene, &volume, "volume.npy", &["--method", "occlusion"]))
    );
    assert_snapshot!("mean_of_a_signal", refused(explain(&scene, &signal, "signal.npy", &["--mean", "0.5"])));
    let mirrored = refused(explain(&scene, &signal, "signal.npy", &["--smooth", "augment"]));
    assert!(mirrored.contains("smoothing by `augment` is for pictures"), "{mirrored}");
    assert_snapshot!("volume_for_a_photo", refused(explain(&scene, &mobilenet(), "volume.npy", &[])));
}

#[test]
fn layers_check_and_predict_take_models_of_arrays() {
    let scene = Scene::new();
    for name in ["volume.ts", "signal.dynamo"] {
        let path = model(name);
        let path = path.to_string_lossy();
        assert!(scene.run(["layers", &*path]).ok_with_notes().stdout.contains("NC"), "{name}");
        let ran = scene.run(["check", "--ep", "cpu", &*path]);
        assert_eq!(ran.status, Some(0), "{}", ran.all());
        assert!(ran.stdout.contains("no preprocessing: the input takes an array as it is"), "{}", ran.all());
    }
    write_floats(&scene.path("signal.npy"), &recorded("signal", "input"));
    let path = model("signal.ts");
    let said = scene.run(["predict", "--ep", "cpu", "--tensor", "signal.npy", &*path.to_string_lossy()]);
    assert!(said.ok_with_notes().stdout.contains("classification"));
}

#[test]
fn a_tiff_of_six_bands_is_fed_to_a_model_of_six() {
    let scene = Scene::new();
    let (bands, colours) = (model("bands.ts"), mobilenet());
    let six = file("tests/fixtures/bands/pixels.tiff");
    let options = ["--crop", "squash", "--json", "-o", "out", "--raw", "raw"];
    let ran = scene.explain(&bands, &six, options).ok_with_notes();
    assert!(ran.stderr.contains("it has 6 bands"), "{}", ran.stderr);
    assert_eq!(ran.json()[0]["heatmap_shape"], serde_json::json!([8, 7]));
    let picture = image::open(scene.path("out/pixels.png")).expect("a picture");
    assert_eq!((picture.width(), picture.height()), (7, 5));
    // Another file of the same values has the same scores.
    let logits = floats(scene.path("raw/pixels.logits.npy"));
    scene.explain(&bands, file("tests/fixtures/bands/planes.tiff"), options).ok_with_notes();
    assert_eq!(floats(scene.path("raw/planes.logits.npy")), logits);
    let refused = |model: &Path, photo: &Path| scene.explain(model, photo, ["--json"]).all();
    assert_snapshot!("three_bands_for_six", refused(&bands, &cat_and_coffee()));
    assert_snapshot!("four_bands_for_six", refused(&bands, &file("tests/fixtures/bands/infrared.tiff")));
    assert_snapshot!("six_bands_for_three", refused(&colours, &six));
}

#[test]
fn a_picture_may_be_like_an_array() {
    let scene = Scene::new();
    let folder = file("tests/fixtures/tasks/dense");
    let name = "embedding_unit";
    let photo = folder.join(format!("{name}.png"));
    let model = folder.join(format!("{name}.ts.onnx"));
    // The same picture, as a photo and as the array that it becomes: as like as can be.
    let options = ["--target", &format!("similar:{}", photo.display()), "--json", "--raw", "raw", "--layer", "@input"];
    let by_photo = scene.explain(&model, &photo, options).ok_with_notes().json().remove(0);
    assert!((by_photo["target"]["score"].as_f64().expect("a score") - 1.0).abs() < 1e-5);
    let array = floats(scene.path(&format!("raw/{name}.activations.npy")));
    write_floats(&scene.path("same.npy"), &array);
    let by_array = scene.explain(&model, &photo, ["--target", "similar:same.npy", "--json"]).ok_with_notes().json();
    assert!((by_array[0]["target"]["score"].as_f64().expect("a score") - 1.0).abs() < 1e-5);
    write_floats(&scene.path("small.npy"), &ArrayD::<f32>::zeros(vec![3, 4, 4]));
    let small = scene.explain(&model, &photo, ["--target", "similar:small.npy"]);
    assert!(small.stderr.contains("has shape [1, 3, 4, 4]"), "{}", small.stderr);
}
