//! Inputs whose height or width the model leaves open.

use std::path::PathBuf;

use onnx_grad::{attr, proto::ModelProto};
use serde_json::{Value, json};

use crate::{
    common::{Scene, file},
    models::{classifier, float, node},
};

/// A convolution of stride 2 behind another; all that it gives is a map, as large as a quarter of the input.
fn dense(height: usize, width: usize) -> ModelProto {
    let mut model = classifier(3, vec![]);
    let graph = model.graph.as_mut().expect("a graph");
    let strided = |pads: &[i64]| vec![attr::ints("pads", pads), attr::ints("strides", &[2, 2])];
    graph.node = vec![
        node("Conv", &["image", "kernel"], "conv", strided(&[1, 1, 1, 1])),
        node("Relu", &["conv"], "relu", vec![]),
        node("MaxPool", &["relu"], "map", [vec![attr::ints("kernel_shape", &[2, 2])], strided(&[0, 0, 0, 0])].concat()),
    ];
    graph.initializer.truncate(1);
    graph.input = vec![float("image", &[1, 3, height, width])];
    graph.output = vec![float("map", &[1, 5, 0, 0])];
    model
}

/// Photos of 600 × 400, 400 × 600 and 640 × 427 or so pixels.
fn photo(scene: &Scene, name: &str, width: u32, height: u32) -> PathBuf {
    let path = scene.path(name);
    let level = |x: u32, y: u32| ((x * 7 + y * 13) % 251) as u8;
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([level(x, y), level(y, x), 90]))
        .save(&path)
        .expect("it is written");
    path
}

fn shapes(scene: &Scene, model: &ModelProto, photos: &[PathBuf], options: &[&str]) -> Vec<(String, Value)> {
    let model = scene.model("open.onnx", model);
    let mut command = scene.command();
    command.args(["explain", "--ep", "cpu", "--json", "--target", "output:map[0,0,0,0]", "--layer", "relu"]);
    command.args(options).arg(&model).args(photos);
    let lines = scene.ended(command.output().expect("the binary runs")).ok_with_notes().json();
    let name = |line: &Value| {
        let path = PathBuf::from(line["image"].as_str().expect("a path"));
        path.file_name().expect("a name").to_string_lossy().into_owned()
    };
    lines.iter().map(|line| (name(line), line["heatmap_shape"].clone())).collect()
}

#[test]
fn a_fully_convolutional_model_gets_each_photo_at_its_own_size() {
    let scene = Scene::new();
    let photos = [
        photo(&scene, "a.png", 600, 400),
        photo(&scene, "b.png", 400, 600),
        photo(&scene, "c.png", 601, 401),
        photo(&scene, "d.png", 2000, 1000),
    ];
    let found = shapes(&scene, &dense(0, 0), &photos, &[]);
    let expected =
        [("a", json!([208, 304])), ("b", json!([304, 208])), ("c", json!([208, 304])), ("d", json!([240, 480]))];
    assert_eq!(found, expected.map(|(name, shape)| (format!("{name}.png"), shape)));
    // What is said counts.
    let found = shapes(&scene, &dense(0, 0), &photos[..2], &["--size", "64x96"]);
    assert!(found.iter().all(|(_, shape)| *shape == json!([32, 48])), "{found:?}");
}

#[test]
fn photos_of_many_sizes_go_by_size() {
    let scene = Scene::new();
    let sides = [64, 128, 96, 64, 160, 96, 192];
    let photos: Vec<PathBuf> =
        sides.iter().enumerate().map(|(at, &side)| photo(&scene, &format!("{at}.png"), side, 64)).collect();
    let found = shapes(&scene, &dense(0, 0), &photos, &[]);
    let order: Vec<&str> = found.iter().map(|(name, _)| name.trim_end_matches(".png")).collect();
    assert_eq!(order, ["0", "3", "2", "5", "1", "4", "6"]);
    for (name, shape) in &found {
        let at: usize = name.trim_end_matches(".png").parse().expect("a number");
        assert_eq!(*shape, json!([32, sides[at] / 2]));
    }
}

#[test]
fn an_open_width_keeps_the_photos_proportions() {
    let scene = Scene::new();
    let photos = [photo(&scene, "long.png", 500, 50), photo(&scene, "short.png", 100, 50)];
    let found = shapes(&scene, &dense(32, 0), &photos, &[]);
    assert_eq!(found, [("long.png".into(), json!([16, 160])), ("short.png".into(), json!([16, 32]))]);
}

#[test]
fn what_the_size_follows_is_said() {
    let scene = Scene::new();
    let line = |model: &ModelProto| {
        let path = scene.model("open.onnx", model);
        let ran = scene.run(["layers".as_ref(), path.as_os_str()]).ok_with_notes();
        ran.stderr.lines().find(|line| line.contains("preprocessing")).expect("a note").to_owned()
    };
    assert!(line(&dense(0, 0)).contains("the photo's own size, sides multiples of 32 and at most 960 (squashed)"));
    assert!(line(&dense(32, 0)).contains("32 pixels high, and as wide as keeps the photo's proportions"));
    // One answer a photo, whatever its size: ImageNet's.
    let mut classes = classifier(3, vec![]);
    classes.graph.as_mut().expect("a graph").input = vec![float("image", &[0, 3, 0, 0])];
    assert!(line(&classes).contains("224 × 224 pixels"), "{}", line(&classes));
    // A photo that lies on its side is taken as it stands.
    let model = scene.model("open.onnx", &dense(0, 0));
    let turned = scene.copy(&file("tests/fixtures/images/exif_6.jpg"), "turned.jpg");
    let ran = scene
        .explain(&model, &turned, ["--json", "--target", "output:map[0,0,0,0]", "--layer", "relu"])
        .ok_with_notes();
    let shape: Vec<f64> = serde_json::from_value(ran.json()[0]["heatmap_shape"].clone()).expect("two");
    let seen = &ran.json()[0]["seen"];
    let is_portrait = seen["height"].as_f64() > seen["width"].as_f64();
    assert_eq!(shape[0] > shape[1], is_portrait);
}
