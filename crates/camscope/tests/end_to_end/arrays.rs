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

/// A model of the fixtures whose input has an open size, of another than it was exported with.
fn with_open_size(name: &str, to: &Path) {
    let network = camscope_core::model::Network::open(&model(&format!("{name}.ts"))).expect("a network");
    let mut graph = network.model.graph().clone();
    let input = network.input();
    let dim = |(axis, size): (usize, &Option<usize>)| match (axis, size) {
        (1, Some(size)) => onnx_grad::Dim::Fixed(*size),
        _ => onnx_grad::Dim::Free,
    };
    let shape = Some(input.shape.iter().enumerate().map(dim).collect());
    graph.input = vec![onnx_grad::value_info(&input.name, Some(&onnx_grad::ValueType { elem: input.elem, shape }))];
    network.model.with_graph(graph).write(to).expect("written");
}

#[test]
fn an_array_says_how_large_open_axes_are_to_layers_check_and_bench() {
    let scene = Scene::new();
    for (name, shape) in [("signal", &[1, 2, 80][..]), ("volume", &[1, 1, 8, 12, 16]), ("bands", &[1, 6, 24, 20])] {
        let (model, array) = (scene.path(&format!("{name}.onnx")), scene.path(&format!("{name}.npy")));
        with_open_size(name, &model);
        let number = |at: usize| ((at * 7919) % 1009) as f32 / 500.0 - 1.0;
        let values = (0..shape.iter().product::<usize>()).map(number).collect();
        write_floats(&array, &ArrayD::from_shape_vec(IxDyn(shape), values).expect("as many as the shape says"));
        let run = |command: &str, more: &[&str]| {
            let args: [std::ffi::OsString; 4] =
                [command.into(), model.clone().into(), "--tensor".into(), array.clone().into()];
            scene.run(args.into_iter().chain(more.iter().map(Into::into)).chain(["--json".into()])).ok_with_notes()
        };
        let sizes = |value: &serde_json::Value| -> Vec<u64> {
            value.as_array().expect("a shape").iter().filter_map(serde_json::Value::as_u64).collect()
        };
        let first = run("layers", &[]).json().remove(0);
        assert!(first["range"].is_array(), "{first}");
        // The first convolution of each halves the sides, or leaves them.
        let (own, given) = (sizes(&first["shape"]), shape[2..].iter().map(|&size| size as u64));
        let of_sides = own[own.len() + 2 - shape.len()..].iter().zip(given);
        assert!(of_sides.clone().all(|(own, given)| [given, given / 2].contains(own)), "{name}: {own:?}");
        let checked = run("check", &[]).json();
        let gradient = checked.iter().find(|row| row["check"] == "gradient").expect("a row");
        assert_eq!(gradient["outcome"], "passed", "{gradient}");
        let measured = run("bench", &["--rounds", "1", "--ep", "cpu"]).json();
        assert_eq!(sizes(&measured[0]["input_shape"]), shape.iter().map(|&n| n as u64).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_model_without_layers_says_its_answer_all_the_same() {
    let scene = Scene::new();
    let mut g = onnx_grad::Builder::new();
    let x = g.input("x");
    let rows = [1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 1.0, 1.0, 1.0];
    let weights = g.floats(onnx_grad::ElemType::Float, &[4, 3], &rows);
    let y = g.op("MatMul", &[&x, &weights], vec![]);
    let ty = |size| {
        let shape = Some(vec![onnx_grad::Dim::Fixed(1), onnx_grad::Dim::Fixed(size)]);
        onnx_grad::ValueType { elem: onnx_grad::ElemType::Float, shape }
    };
    let output = onnx_grad::value_info(y.name(), Some(&ty(3)));
    let model = g.into_model(vec![onnx_grad::value_info("x", Some(&ty(4)))], vec![output]).expect("a sound model");
    model.write(&scene.path("table.onnx")).expect("written");
    let row = ArrayD::from_shape_vec(IxDyn(&[1, 4]), vec![1.0, 1.0, 1.0, 0.5]).expect("four numbers");
    write_floats(&scene.path("row.npy"), &row);
    let said = scene.run(["predict", "table.onnx", "--tensor", "row.npy", "--json"]).ok_with_notes();
    let first = &said.json()[0]["items"][0];
    assert_eq!((first["class"].as_u64(), first["score"].as_f64()), (Some(2), Some(3.5)), "{first}");
}
