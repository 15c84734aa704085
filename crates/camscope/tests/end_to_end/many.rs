//! Many photos at once: as each by itself, in order, whatever is wrong with some.

use serde_json::Value;

use crate::common::{Scene, file, floats, mobilenet, relative_error};

/// Photos of several sizes, a broken one and a missing one among them.
fn photos(scene: &Scene) -> Vec<std::path::PathBuf> {
    let mut photos: Vec<_> = ["chelsea", "coffee", "rocket", "cat_and_coffee", "astronaut"]
        .iter()
        .map(|name| file(&format!("samples/{name}.jpg")))
        .collect();
    photos.insert(1, scene.write("broken.jpg", "this is no photo"));
    photos.insert(4, scene.path("missing.jpg"));
    photos
}

fn explained(scene: &Scene, folder: &str, options: &[&str]) -> (Vec<Value>, String) {
    let mut command = scene.command();
    command.args(["explain", "--json", "-o", folder, "--raw", folder, "--class", "top1", "--class", "3"]);
    command.args(options).arg(mobilenet()).args(photos(scene));
    let ran = scene.ended(command.output().expect("the binary runs"));
    assert_eq!(ran.status, Some(1), "{}", ran.all());
    (ran.json(), ran.stderr)
}

#[test]
fn photos_that_run_together_come_out_as_each_by_itself() {
    let scene = Scene::new();
    let (alone, errors) = explained(&scene, "alone", &["--ep", "cpu", "--batch", "1"]);
    assert_eq!(alone.len(), 10);
    assert!(errors.contains("broken.jpg") && errors.contains("missing.jpg"), "{errors}");
    // In turn with the model where that takes all processors, beside it where it has one.
    for (folder, options) in [
        ("four", &["--ep", "cpu"][..]),
        ("pairs", &["--ep", "cpu", "--batch", "2"]),
        ("more", &["--ep", "cpu", "--batch", "50"]),
        ("beside", &["--ep", "cpu", "--batch", "3", "--threads", "1"]),
    ] {
        let (lines, said) = explained(&scene, folder, options);
        assert_eq!(said, errors, "{folder}");
        assert_eq!(lines.len(), alone.len());
        for (line, wanted) in lines.iter().zip(&alone) {
            for key in ["image", "class", "layer", "heatmap_shape", "seen"] {
                assert_eq!(line[key], wanted[key], "{folder}");
            }
            assert!(scene.path(line["overlay"].as_str().expect("a picture")).is_file());
            for what in ["logits", "activations", "gradients", "heatmap"] {
                let array =
                    |line: &Value| floats(scene.path(&format!("{}.{what}.npy", line["raw"].as_str().expect("a stem"))));
                let error = relative_error(&array(line), &array(wanted));
                assert!(error <= 1e-5, "{folder}: {what} of {} are {error} off", line["image"]);
            }
        }
    }
}

#[test]
fn a_folder_stands_for_its_photos() {
    let scene = Scene::new();
    for name in ["b.jpg", "a.png", "notes.txt"] {
        scene.copy(&file("samples/chelsea.jpg"), &format!("photos/{name}"));
    }
    let photo = scene.copy(&file("samples/coffee.jpg"), "c.jpg");
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--json", "-o", "out", "--class", "3"]).arg(mobilenet());
    command.arg("photos").arg(photo);
    let lines = scene.ended(command.output().expect("the binary runs")).ok_with_notes().json();
    let overlays: Vec<_> = lines.iter().map(|line| line["overlay"].as_str().expect("a picture")).collect();
    assert_eq!(overlays, ["out/a.features.3.png", "out/b.features.3.png", "out/c.features.3.png"]);
}

#[test]
fn a_batch_of_none_is_refused() {
    let ran = Scene::new().run(["explain", "model.onnx", "photo.jpg", "--batch", "0"]);
    assert_eq!(ran.status, Some(2), "{}", ran.all());
}
