//! `camscope demo`, as a newcomer runs it.

use std::path::Path;

use crate::common::{Ran, Scene, file, floats, lite, relative_error};

fn run(scene: &Scene, arrange: impl FnOnce(&mut std::process::Command)) -> Ran {
    let mut command = scene.command();
    command.args(["demo", "--ep", "cpu"]);
    arrange(&mut command);
    scene.ended(command.output().expect("the binary runs"))
}

fn pictures(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const PICTURES: [&str; 5] =
    ["cat_and_coffee._swish_1.285.png", "cat_and_coffee._swish_1.967.png", "chelsea", "coffee", "rocket"];

#[test]
fn without_a_terminal_it_leaves_pictures() {
    let scene = Scene::new();
    let ran = run(&scene, |_| {}).ok();
    let names = pictures(&scene.path("camscope-demo"));
    assert_eq!(names.len(), PICTURES.len(), "{names:?}");
    for (name, expected) in names.iter().zip(PICTURES) {
        assert!(name.starts_with(expected) && name.ends_with(".png"), "{name}");
        image::open(scene.path("camscope-demo").join(name)).expect("a picture");
        assert!(ran.stdout.contains(name.as_str()), "{name} is not named:\n{}", ran.stdout);
    }
    // Its last line is a command that works.
    let line = ran.stdout.lines().last().expect("a line");
    let model = line.strip_prefix("Try your own: camscope explain ").and_then(|rest| rest.strip_suffix(" PHOTO.jpg"));
    assert!(Path::new(model.expect("a hint")).is_file(), "{line}");
}

#[test]
fn a_home_that_cannot_be_written_does_not_matter() {
    let scene = Scene::new();
    let occupied = scene.write("occupied", "a file");
    let ran = run(&scene, |command| {
        command.env("HOME", occupied.join("home")).args(["-o", "pictures"]);
    })
    .ok();
    assert_eq!(pictures(&scene.path("pictures")).len(), PICTURES.len(), "{}", ran.stdout);
    assert!(!scene.path("camscope-demo").exists());
}

#[test]
fn no_home_does_not_matter() {
    let scene = Scene::new();
    run(&scene, |command| {
        command.env_remove("HOME").args(["-o", "pictures"]);
    })
    .ok();
    assert_eq!(pictures(&scene.path("pictures")).len(), PICTURES.len());
}

#[test]
fn damaged_files_of_an_earlier_demo_are_replaced() {
    let scene = Scene::new();
    run(&scene, |_| {}).ok();
    let unpacked = scene.path("home/.local/share/camscope").join(concat!("demo-", env!("CARGO_PKG_VERSION")));
    for name in ["efficientnet-lite0.onnx", "efficientnet-lite0.toml", "chelsea.jpg"] {
        std::fs::write(unpacked.join(name), "damaged").expect("it is there");
    }
    run(&scene, |_| {}).ok();
}

#[test]
fn its_half_precision_weights_change_no_answer() {
    let scene = Scene::new();
    run(&scene, |_| {}).ok();
    let unpacked = scene.path("home/.local/share/camscope").join(concat!("demo-", env!("CARGO_PKG_VERSION")));
    for photo in ["cat_and_coffee", "chelsea", "coffee", "rocket"] {
        let [exact, rounded] =
            [("exact", lite()), ("rounded", unpacked.join("efficientnet-lite0.onnx"))].map(|(folder, model)| {
                let raw = scene.path(folder);
                let image = file(&format!("samples/{photo}.jpg"));
                let line = scene.explain(model, image, ["--json".as_ref(), "--raw".as_ref(), raw.as_os_str()]).ok();
                let [logits, heat] = ["logits", "heatmap"].map(|what| floats(raw.join(format!("{photo}.{what}.npy"))));
                (line.json()[0]["class"].clone(), logits, heat)
            });
        assert_eq!(rounded.0, exact.0, "{photo}: the top class");
        let best = |logits: &ndarray::ArrayD<f32>| {
            let mut classes: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
            classes.sort_by(|a, b| b.1.total_cmp(&a.1));
            classes.iter().take(3).map(|(class, _)| *class).collect::<Vec<_>>()
        };
        assert_eq!(best(&rounded.1), best(&exact.1), "{photo}: the top classes");
        let errors = [relative_error(&rounded.1, &exact.1), relative_error(&rounded.2, &exact.2)];
        println!("{photo}: logits {:.1e}, heat {:.1e}", errors[0], errors[1]);
        // Rounded at all, and not by much.
        assert!(errors.iter().all(|error| *error > 0.0 && *error < 1e-2), "{photo}: {errors:?}");
    }
}
